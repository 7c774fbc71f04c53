//! The server is killed again and again while people write to each other: what was answered is there, once and in order.
//!
//! A few times as a test; `cargo xtask killloop --times 100` for longer.
#![expect(clippy::print_stdout, reason = "the figures are printed for whoever runs it")]

mod server;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use esf_tokio::{Bytes, CallError, Client, Config, Context, Credential, CredentialKind, Handlers, Source, To, UserId};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use server::{Data, password};

const PEOPLE: [&str; 4] = ["ann", "ben", "cleo", "dan"];
/// Messages of one to another that wait for their answer.
const IN_FLIGHT: usize = 16;
/// Between two messages of one to another.
const PACE: Duration = Duration::from_millis(2);
/// How long a server that was just started lives at most, once all are back.
const LIFE_MS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(60);

/// What one has sent to another: its number, and whether the sender was told that it is there.
type Sent = Vec<(u64, Result<(), CallError>)>;
/// What a handler has seen, in that order: of whom, and the number.
type Heard = Arc<Mutex<Vec<(String, u64)>>>;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_server_that_is_killed() {
    let times: u64 = std::env::var("ESF_KILL_TIMES").map_or(3, |times| times.parse().expect("a number of times"));
    let data = Data::with(&PEOPLE);
    let mut server = data.serve();
    let mut clients = Vec::new();
    for name in PEOPLE {
        clients.push(join(&data, name).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for (from, (client, _)) in PEOPLE.into_iter().zip(&clients) {
        for to in PEOPLE.into_iter().filter(|to| *to != from) {
            let (client, stop) = (client.clone(), stop.clone());
            writers.spawn(async move { ((from, to), write(client, to, &stop).await) });
        }
    }
    let begin = Instant::now();
    for time in 0..times {
        wait(|| clients.iter().all(|(client, _)| client.is_connected())).await;
        // At no fixed moment of what is under way.
        sleep(Duration::from_millis(20 + time.wrapping_mul(7919) % LIFE_MS)).await;
        server.kill();
        server = data.serve();
    }
    stop.store(true, Ordering::SeqCst);
    let sent: BTreeMap<(&str, &str), Sent> = writers.join_all().await.into_iter().collect();
    let answered = |sent: &Sent| sent.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let all: usize = sent.values().map(answered).sum();
    // A message is answered before its handler ran.
    wait(|| {
        let heard: usize = clients.iter().map(|(_, heard)| heard.lock().unwrap().len()).sum();
        heard >= all
    })
    .await;
    sleep(PACE * 10).await;
    let (mut unanswered, mut unanswered_heard) = (0, 0);
    for ((from, to), sent) in &sent {
        let at = PEOPLE.iter().position(|name| name == to).unwrap();
        let heard = clients[at].1.lock().unwrap();
        let of_it: Vec<u64> = heard.iter().filter(|(name, _)| name == from).map(|(_, number)| *number).collect();
        assert!(of_it.is_sorted_by(|one, next| one < next), "{from} to {to}: out of order, or twice");
        for (number, outcome) in sent {
            let is_there = of_it.binary_search(number).is_ok();
            match outcome {
                Ok(()) => assert!(is_there, "{from} to {to}: {number} was answered and is lost"),
                Err(_) => {
                    unanswered += 1;
                    unanswered_heard += usize::from(is_there);
                }
            }
        }
        assert!(answered(sent) as u64 >= times * 5, "{from} to {to}: {} answered in {times} lives", answered(sent));
    }
    println!(
        "killed {times} times in {:.0?}: {all} messages answered, and each was handled once and in order; {unanswered} \
         not answered, of which {unanswered_heard} were handled once",
        begin.elapsed()
    );
}

/// Sends one message after the other until it is to stop, and waits for their answers.
async fn write(client: Client, to: &str, stop: &AtomicBool) -> Sent {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (mut sent, mut open) = (Sent::new(), JoinSet::new());
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let place = room.clone().acquire_owned().await.unwrap();
        number += 1;
        let (client, to) = (client.clone(), To::User(user(to)));
        let mut call = Box::pin(async move { client.send_certainly(to, 1, number.to_string()).await });
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

async fn join(data: &Data, name: &str) -> (Client, Heard) {
    let heard = Heard::default();
    let hears = heard.clone();
    let handlers = Handlers::new().information(move |context: Context, _: u32, body: Bytes| {
        let Source::Engine(engine) = context.source else { panic!("{context:?}") };
        let number = std::str::from_utf8(&body).unwrap().parse().unwrap();
        hears.lock().unwrap().push((engine.user.to_string(), number));
        std::future::ready(())
    });
    let mut config = Config::new(user(name));
    config.credential = Credential { kind: CredentialKind::Password, bytes: password(name).into() };
    let client = esf_tokio::client(&data.url(), config).handler(handlers).connect().await.expect("a login");
    (client, heard)
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}

async fn wait(done: impl Fn() -> bool) {
    let done = async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, done).await.expect("it comes to that in a minute");
}
