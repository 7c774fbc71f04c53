//! Those who write, and what those who are written to have handled.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use esf_tokio::{
    Bytes, CallError, CertainOptions, Client, Config, ConnectError, Context, Credential, CredentialKind, Delivered,
    Handlers, Source, To, UserId,
};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::server::{Data, password};

/// Messages of one to another that wait for their answer.
const IN_FLIGHT: usize = 16;
/// Between two messages of one to another.
const PACE: Duration = Duration::from_millis(4);

/// What one has sent to another: its number, and what the sender was told of it.
pub(crate) type Sent = Vec<(u64, Result<Delivered, CallError>)>;
/// What a handler has seen, in that order: of whom, and the number.
pub(crate) type Heard = Arc<Mutex<Vec<(String, u64)>>>;

/// Sends one message after the other until it is to stop, and waits for their answers. `is_storable` says of each number
/// whether the message is stored if the other is away; `stored` hears of those that were.
pub(crate) async fn write(
    client: Client,
    to: &str,
    stop: &AtomicBool,
    is_storable: fn(u64) -> bool,
    stored: impl Fn(u64) + Clone + Send + 'static,
) -> Sent {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (mut sent, mut open) = (Sent::new(), JoinSet::new());
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let place = room.clone().acquire_owned().await.unwrap();
        number += 1;
        let (client, to, stored) = (client.clone(), To::User(user(to)), stored.clone());
        let options = CertainOptions { store_if_offline: is_storable(number), ..CertainOptions::default() };
        let mut call = Box::pin(async move {
            let outcome = client.send_certainly_with(to, 1, number.to_string(), options).await;
            if outcome == Ok(Delivered::Stored) {
                stored(number);
            }
            outcome
        });
        // It is sent here, so that the next is sent after it.
        match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => sent.push((number, outcome)),
            Poll::Pending => drop(open.spawn(async move {
                let outcome = call.await;
                drop(place);
                (number, outcome)
            })),
        }
        sleep(PACE).await;
    }
    sent.extend(open.join_all().await);
    sent
}

/// A client whose handler notes what comes, and takes this long over each message of a sender.
pub(crate) async fn join(data: &Data, name: &str, heard: &Heard, slow: Duration) -> Result<Client, ConnectError> {
    let heard = heard.clone();
    let handlers = Handlers::new().information(move |context: Context, _: u32, body: Bytes| {
        let Source::Engine(engine) = context.source else { panic!("{context:?}") };
        let number = std::str::from_utf8(&body).unwrap().parse().unwrap();
        heard.lock().unwrap().push((engine.user.to_string(), number));
        async move {
            if !slow.is_zero() {
                sleep(slow).await;
            }
        }
    });
    let mut config = Config::new(user(name));
    config.credential = Credential { kind: CredentialKind::Password, bytes: password(name).into() };
    esf_tokio::client(&data.url(), config).handler(handlers).connect().await
}

/// The numbers that came from one.
pub(crate) fn of_sender(heard: &Heard, from: &str) -> Vec<u64> {
    heard.lock().unwrap().iter().filter(|(name, _)| name == from).map(|(_, number)| *number).collect()
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}
