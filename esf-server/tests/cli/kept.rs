//! Messages for those who are away, at a server whose store is full, slow, gone, or told nonsense.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use esf_proto::wire::Kind;
use esf_tokio::{
    Bytes, CertainOptions, Client, Config, Context, Credential, CredentialKind, Delivered, Failure, Handlers, To,
    UserId,
};
use rusqlite::Connection;
use tokio::time::{sleep, timeout};

use crate::{
    accounts::Data,
    by_hand::Link,
    esf::{Esf, Server},
};

const PATIENCE: Duration = Duration::from_secs(30);
const STORED: Result<Delivered, Option<Failure>> = Ok(Delivered::Stored);
const INTERNAL: Result<Delivered, Option<Failure>> = Err(Some(Failure::Internal));

/// The texts that a handler has seen.
type Heard = Arc<Mutex<Vec<String>>>;

/// A client whose handler notes what comes, at a server of this URL.
async fn join(url: &str, user: &str) -> (Client, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let handlers = Handlers::new().information(move |_: Context, _: u32, body: Bytes| {
        hears.lock().unwrap().push(String::from_utf8_lossy(&body).into_owned());
        std::future::ready(())
    });
    let mut config = Config::new(name(user));
    // A server that is open does not look at it.
    config.credential = Credential { kind: CredentialKind::Password, bytes: format!("{user}!").into() };
    let client = esf_tokio::client(url, config).handler(handlers).connect().await.expect("a login");
    (client, heard)
}

async fn store(from: &Client, to: &str, text: &'static str) -> Result<Delivered, Option<Failure>> {
    let options = CertainOptions { store_if_offline: true, ..CertainOptions::default() };
    let outcome = from.send_certainly_with(To::User(name(to)), 1, text, options).await;
    outcome.map_err(|error| error.failure())
}

fn name(user: &str) -> UserId {
    UserId::parse(user, 64).unwrap()
}

async fn hears(heard: &Heard, texts: &[&str]) {
    let done = async {
        while heard.lock().unwrap().len() < texts.len() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, done).await.is_ok(), "{:?} and not {texts:?}", heard.lock().unwrap());
    assert_eq!(*heard.lock().unwrap(), texts);
}

/// Logs in as `user`: hears these, and then nothing but what is sent now.
async fn takes(url: &str, user: &str, sender: &Client, texts: &[&str]) {
    let (client, heard) = join(url, user).await;
    hears(&heard, texts).await;
    assert_eq!(store(sender, user, "now").await, Ok(Delivered::Acked));
    hears(&heard, &[texts, &["now"]].concat()).await;
    client.log_off().await;
}

/// Messages in the store.
fn waiting(data: &Data) -> u64 {
    Connection::open(data.file()).unwrap().query_row("SELECT count(*) FROM message", [], |row| row.get(0)).unwrap()
}

async fn comes_to(data: &Data, count: u64) {
    let done = async {
        while waiting(data) != count {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, done).await.is_ok(), "{} messages wait", waiting(data));
}

#[tokio::test]
async fn a_full_box_is_told_harms_nobody_else_and_has_room_again() {
    let data = Data::new("full-box");
    let server = Server::start(&format!("--data {} --store-max-messages 3", data.path()));
    let (ann, _) = join(&server.url, "ann").await;
    for text in ["1", "2", "3"] {
        assert_eq!(store(&ann, "ben", text).await, STORED);
    }
    assert_eq!(store(&ann, "ben", "4").await, Err(Some(Failure::QuotaFull)));
    assert_eq!(store(&ann, "cleo", "1").await, STORED);
    takes(&server.url, "ben", &ann, &["1", "2", "3"]).await;
    comes_to(&data, 1).await;
    assert_eq!(store(&ann, "ben", "5").await, STORED);
    takes(&server.url, "ben", &ann, &["5"]).await;
}

#[tokio::test]
async fn what_waits_too_long_is_gone() {
    let data = Data::new("too-old");
    let server = Server::start(&format!("--data {} --store-max-age 1s", data.path()));
    let (ann, _) = join(&server.url, "ann").await;
    assert_eq!(store(&ann, "ben", "old").await, STORED);
    sleep(Duration::from_millis(1100)).await;
    takes(&server.url, "ben", &ann, &[]).await;
    // Nobody has to ask for it.
    comes_to(&data, 0).await;
}

#[tokio::test]
async fn what_was_stored_outlives_its_sender_and_not_its_receiver() {
    let data = Data::with("removed", &["ann", "ben", "cleo", "dan"]);
    let mut process = Esf::start("serve --log off --listen 127.0.0.1:0", &["--data", data.path()]);
    let url = process.line().strip_prefix("listening on ").unwrap().to_owned();
    let (ann, _) = join(&url, "ann").await;
    let (dan, _) = join(&url, "dan").await;
    assert_eq!(store(&ann, "ben", "for ben").await, STORED);
    assert_eq!(store(&ann, "cleo", "for cleo").await, STORED);
    assert_eq!(store(&dan, "nobody", "?").await, Err(Some(Failure::NoSuchUser)));
    data.user("remove ann", "").fine();
    timeout(PATIENCE, ann.closed()).await.expect("she is logged off");
    data.user("remove ben", "").fine();
    assert_eq!(waiting(&data), 1);
    assert_eq!(store(&dan, "ben", "late").await, Err(Some(Failure::NoSuchUser)));
    takes(&url, "cleo", &dan, &["for cleo"]).await;
    // The next one of that name is somebody else.
    data.user("add ben", "ben!").fine();
    takes(&url, "ben", &dan, &[]).await;
    assert_eq!(store(&dan, "ben", "again").await, STORED);
    takes(&url, "ben", &dan, &["again"]).await;
}

#[tokio::test]
async fn a_store_that_another_program_has_locked_is_waited_for_so_long_and_keeps_nobody_else() {
    let data = Data::new("locked");
    let server = Server::start(&format!("--data {}", data.path()));
    let (ann, _) = join(&server.url, "ann").await;
    assert_eq!(store(&ann, "ben", "1").await, STORED);
    let other = Connection::open(data.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (sender, begin) = (ann.clone(), Instant::now());
    let slow = tokio::spawn(async move { store(&sender, "ben", "2").await });
    // Who reads and who is there need not wait.
    let (cleo, heard) = join(&server.url, "cleo").await;
    assert_eq!(store(&ann, "cleo", "live").await, Ok(Delivered::Acked));
    hears(&heard, &["live"]).await;
    let (_dan, dan_heard) = join(&server.url, "dan").await;
    assert_eq!(store(&cleo, "dan", "to dan").await, Ok(Delivered::Acked));
    hears(&dan_heard, &["to dan"]).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!slow.is_finished(), "somebody else writes");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(slow.await.unwrap(), STORED);

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(store(&ann, "ben", "never").await, INTERNAL);
    assert!(begin.elapsed() < Duration::from_secs(20), "it is waited for 5 s");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(store(&ann, "ben", "3").await, STORED);
    takes(&server.url, "ben", &ann, &["1", "2", "3"]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_that_is_moved_or_replaced_keeps_nothing_until_it_is_back() {
    let data = Data::new("moved");
    let server = Server::start(&format!("--data {}", data.path()));
    let (ann, _) = join(&server.url, "ann").await;
    assert_eq!(store(&ann, "ben", "1").await, STORED);
    let away = data.0.join("away");
    fs::rename(data.file(), &away).unwrap();
    assert_eq!(store(&ann, "ben", "moved").await, INTERNAL);
    fs::write(data.file(), "another").unwrap();
    assert_eq!(store(&ann, "ben", "replaced").await, INTERNAL);
    let (_cleo, heard) = join(&server.url, "cleo").await;
    assert_eq!(store(&ann, "cleo", "live").await, Ok(Delivered::Acked));
    hears(&heard, &["live"]).await;
    fs::rename(&away, data.file()).unwrap();
    assert_eq!(store(&ann, "ben", "2").await, STORED);
    takes(&server.url, "ben", &ann, &["1", "2"]).await;
}

#[tokio::test]
async fn a_confirm_twice_of_nothing_or_of_anothers_message_changes_nothing() {
    let data = Data::new("confirms");
    let server = Server::start(&format!("--data {}", data.path()));
    let (ann, _) = join(&server.url, "ann").await;
    assert_eq!(store(&ann, "ben", "for ben").await, STORED);
    assert_eq!(store(&ann, "cleo", "for cleo").await, STORED);
    assert_eq!(store(&ann, "mallory", "for mallory").await, STORED);
    let address = server.address().to_owned();
    let mallory = tokio::task::spawn_blocking(move || {
        let mut link = Link::log_in(&address, "mallory", 7);
        let own = link.next_of(Kind::Stored);
        let mut confirm = |id| {
            link.confirm(id);
            assert_eq!(link.next_of(Kind::Confirm), id);
        };
        // Another's, nobody's, the own one, and that once more.
        [1, 2, 99, own, own].into_iter().for_each(&mut confirm);
        (link, own)
    });
    let (_link, own) = mallory.await.unwrap();
    assert_eq!(own, 3);
    comes_to(&data, 2).await;
    takes(&server.url, "ben", &ann, &["for ben"]).await;
    takes(&server.url, "cleo", &ann, &["for cleo"]).await;
    comes_to(&data, 0).await;
}
