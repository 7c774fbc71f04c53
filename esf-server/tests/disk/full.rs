//! What everybody sees of a disk that is full.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use esf_tokio::{
    Bytes, CallError, CertainOptions, Client, Config, Context, Credential, CredentialKind, Delivered, Event, Failure,
    Handlers, To, UserId,
};
use tokio::time::{sleep, timeout};

use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are not stored.
const REFUSED: usize = 300;

/// The numbers that a handler has seen.
type Heard = Arc<Mutex<Vec<usize>>>;

#[tokio::main]
pub(crate) async fn run() {
    let server = Server::start();
    let (ann, _) = join(&server, "ann").await;
    let (ben, ben_heard) = join(&server, "ben").await;
    let mut stored = Vec::new();
    for number in 0..5 {
        assert_eq!(store(&ann, "dan", number, 16).await, Ok(Delivered::Stored));
        assert_eq!(store(&ann, "eve", number, 16).await, Ok(Delivered::Stored));
        stored.push(number);
    }

    server.fill();
    // Some pages may be there already.
    let mut next = 100;
    let failure = loop {
        match store(&ann, "dan", next, 16 * 1024).await {
            Ok(Delivered::Stored) => stored.push(next),
            other => break other,
        }
        next += 1;
        assert!(next < 1000, "the disk is never full");
    };
    assert_eq!(failure.unwrap_err().failure(), Some(Failure::Internal));
    for number in 2000..2000 + REFUSED {
        let failure = store(&ann, "dan", number, 16 * 1024).await.unwrap_err().failure();
        assert_eq!(failure, Some(Failure::Internal), "{number}");
    }

    // Nobody else notices: messages, queries, lists, logins, contacts, and those for whom something was stored.
    ann.send_certainly(to("ben"), 1, "1").await.unwrap();
    wait(|| *ben_heard.lock().unwrap() == [1]).await;
    ben.ping(to("ann")).await.unwrap();
    let mut events = ann.events();
    let (cleo, _) = join(&server, "cleo").await;
    let seen = async {
        while !matches!(events.next().await, Some(Event::ContactConnected { user }) if user == name("cleo")) {}
    };
    timeout(PATIENCE, seen).await.expect("a contact who comes is seen");
    assert_eq!(ben.is_online(&[name("cleo"), name("dan")]).await.unwrap(), [true, false]);
    let (eve, eve_heard) = join(&server, "eve").await;
    wait(|| *eve_heard.lock().unwrap() == [0, 1, 2, 3, 4]).await;
    cleo.send_certainly(to("eve"), 1, "5").await.unwrap();
    wait(|| eve_heard.lock().unwrap().len() == 6).await;
    assert_eq!(server.told("messages are not kept at present"), 1, "{:#?}", server.warnings());
    assert_eq!(server.told("the store fails"), 1, "{:#?}", server.warnings());
    assert!(server.told("there is no space left on its disk") >= 1, "{:#?}", server.warnings());
    assert!(server.warnings().len() < 5, "{:#?}", server.warnings());

    server.make_room();
    for number in 3000..3005 {
        assert_eq!(store(&ann, "dan", number, 16 * 1024).await, Ok(Delivered::Stored));
        stored.push(number);
    }
    assert_eq!(server.told("the store keeps messages again"), 1);
    let (_dan, dan_heard) = join(&server, "dan").await;
    wait(|| dan_heard.lock().unwrap().len() >= stored.len()).await;
    assert_eq!(*dan_heard.lock().unwrap(), stored, "what was answered, and nothing else");

    // What could not be deleted then comes to another client of the same person, and goes.
    eve.log_off().await;
    let (eve, again) = join(&server, "eve").await;
    cleo.send_certainly(to("eve"), 1, "6").await.unwrap();
    wait(|| again.lock().unwrap().last() == Some(&6)).await;
    let mut again = again.lock().unwrap().clone();
    again.pop();
    // What was confirmed when there was room already is gone.
    assert!(again.is_sorted_by(|one, next| one < next) && again.iter().all(|number| *number < 5), "{again:?}");
    sleep(Duration::from_millis(300)).await;
    eve.log_off().await;
    let (_eve, nothing) = join(&server, "eve").await;
    cleo.send_certainly(to("eve"), 1, "7").await.unwrap();
    wait(|| !nothing.lock().unwrap().is_empty()).await;
    assert_eq!(*nothing.lock().unwrap(), [7]);
}

/// Sends a number that is stored if its receiver is away, in a message of so many bytes.
async fn store(from: &Client, receiver: &str, number: usize, bytes: usize) -> Result<Delivered, CallError> {
    let options = CertainOptions { store_if_offline: true, ..CertainOptions::default() };
    from.send_certainly_with(to(receiver), 1, format!("{number:<bytes$}"), options).await
}

async fn join(server: &Server, user: &str) -> (Client, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let handlers = Handlers::new().information(move |_: Context, _: u32, body: Bytes| {
        hears.lock().unwrap().push(std::str::from_utf8(&body).unwrap().trim().parse().unwrap());
        std::future::ready(())
    });
    let mut config = Config::new(name(user));
    config.credential = Credential { kind: CredentialKind::Password, bytes: format!("{user}!").into() };
    let client = esf_tokio::client(&server.url, config).handler(handlers).connect().await.expect("a login");
    (client, heard)
}

fn name(user: &str) -> UserId {
    UserId::parse(user, 64).unwrap()
}

fn to(user: &str) -> To {
    To::User(name(user))
}

async fn wait(done: impl Fn() -> bool) {
    let done = async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, done).await.expect("it comes to that");
}
