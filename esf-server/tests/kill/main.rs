//! The server is killed again and again while people write to each other and to some who come and go: what was answered
//! is there, in order, and once for each client that lives.
//!
//! A few times as a test; `cargo xtask killloop --times 100` for longer.
#![expect(clippy::print_stdout, reason = "the figures are printed for whoever runs it")]

mod coming;
mod people;
mod server;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use esf_tokio::Delivered;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use coming::Comer;
use people::{Heard, Sent, join, of_sender, write};
use server::Data;

const PEOPLE: [&str; 4] = ["ann", "ben", "cleo", "dan"];
const COMERS: [&str; 2] = ["eve", "finn"];
/// How long a server that was just started lives at most, once all are back.
const LIFE_MS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_server_that_is_killed() {
    let times: u64 = std::env::var("ESF_KILL_TIMES").map_or(3, |times| times.parse().expect("a number of times"));
    let data = Arc::new(Data::with(&[&PEOPLE[..], &COMERS].concat()));
    let mut server = data.serve();
    let mut clients = Vec::new();
    for name in PEOPLE {
        let heard = Heard::default();
        clients.push((join(&data, name, &heard, Duration::ZERO).await.expect("a login"), heard));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let comers = COMERS.map(|name| Arc::new(Comer::new(name)));
    let mut coming = JoinSet::new();
    for comer in &comers {
        coming.spawn(comer.clone().come_and_go(data.clone(), stop.clone()));
    }
    let mut writers = JoinSet::new();
    for (from, (client, _)) in PEOPLE.into_iter().zip(&clients) {
        for to in PEOPLE.into_iter().filter(|to| *to != from) {
            let (client, stop) = (client.clone(), stop.clone());
            // Who is back sooner than the other has some of it stored.
            writers.spawn(async move { (from, to, write(client, to, &stop, |number| number % 2 == 0, |_| {}).await) });
        }
        for comer in &comers {
            let (client, stop, comer) = (client.clone(), stop.clone(), comer.clone());
            writers.spawn(async move {
                let (to, stored) = (comer.name, move |number| comer.store(from, number));
                (from, to, write(client, to, &stop, |_| true, stored).await)
            });
        }
    }
    let begin = Instant::now();
    let mut cut_tails = 0;
    for time in 0..times {
        wait("all are connected", || clients.iter().all(|(client, _)| client.is_connected())).await;
        if time % 2 == 0 {
            // Somebody is in the middle of what was stored for them.
            wait("somebody gets what was stored", || comers.iter().any(|comer| comer.is_in_tail())).await;
        } else {
            // At no fixed moment of what is under way.
            sleep(Duration::from_millis(20 + time.wrapping_mul(7919) % LIFE_MS)).await;
        }
        server.kill();
        cut_tails += comers.iter().filter(|comer| comer.is_in_tail()).count();
        server = data.serve();
    }
    stop.store(true, Ordering::SeqCst);
    let all_sent = writers.join_all().await;
    for comer in &comers {
        // The last of their lives is a long one.
        let is_through = try_wait(|| comer.waiting().is_empty()).await;
        assert!(
            is_through,
            "{} do not come: {}; the store has {:?}",
            comer.waiting().len(),
            comer.state(),
            data.waiting()
        );
    }
    let answered = |sent: &Sent| sent.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let to_people: usize =
        all_sent.iter().filter(|(_, to, _)| PEOPLE.contains(to)).map(|(_, _, sent)| answered(sent)).sum();
    // A message is answered before its handler ran.
    wait("all is handled", || clients.iter().map(|(_, heard)| heard.lock().unwrap().len()).sum::<usize>() >= to_people)
        .await;
    sleep(Duration::from_millis(50)).await;

    let mut told = Told::default();
    for (from, to, sent) in &all_sent {
        let lives: Vec<Vec<u64>> = match PEOPLE.iter().position(|name| name == to) {
            Some(at) => vec![of_sender(&clients[at].1, from)],
            None => comers.iter().find(|comer| comer.name == *to).expect("a comer").of_sender(from),
        };
        told.judge(&format!("{from} to {to}"), sent, &lives, PEOPLE.contains(to));
        assert!(answered(sent) as u64 >= times * 5, "{from} to {to}: {} answered in {times} lives", answered(sent));
    }
    assert!(told.stored > 0 && told.acked > 0 && cut_tails > 0, "{told:?}, {cut_tails} tails were cut");
    // Each of those was confirmed, but for what its receiver was cut off from saying again and again.
    let is_empty = try_wait(|| data.waiting().0 == 0).await;
    let (waiting, dead) = data.waiting();
    assert!(is_empty, "{waiting} messages wait yet");
    drop(server);
    println!(
        "killed {times} times in {:.0?}, {cut_tails} times with somebody in the middle of what was stored for them: {} messages \
         acknowledged and {} stored, and each was handled, in order and once by each client that lived; in {} lives of \
         those who came and went {} were handled again by the next, and {} had been acknowledged by one that ended before its \
         handler ran; {} not answered, of which {} were handled; {dead} dead letters",
        begin.elapsed(),
        told.acked,
        told.stored,
        comers.iter().map(|comer| comer.lives()).sum::<usize>(),
        told.again,
        told.acked_unhandled,
        told.unanswered,
        told.unanswered_handled,
    );
    coming.shutdown().await;
}

/// What became of all messages.
#[derive(Debug, Default)]
struct Told {
    acked: usize,
    /// By one that ended before its handler ran.
    acked_unhandled: usize,
    stored: usize,
    /// Handled by a later client of the same person once more.
    again: usize,
    unanswered: usize,
    unanswered_handled: usize,
}

impl Told {
    /// Of what one sent to another, and what the other's clients have handled, each in its life. What a client has
    /// acknowledged that ended before its handler ran is the end of that.
    fn judge(&mut self, what: &str, sent: &Sent, lives: &[Vec<u64>], lives_on: bool) {
        let mut all = BTreeSet::new();
        for life in lives {
            assert!(life.is_sorted_by(|one, next| one < next), "{what}: out of order, or twice: {life:?}");
            self.again += life.iter().filter(|number| !all.insert(**number)).count();
        }
        for (number, outcome) in sent {
            let is_there = all.contains(number);
            match outcome {
                Ok(Delivered::Stored) => {
                    assert!(is_there, "{what}: {number} was stored and is lost");
                    self.stored += 1;
                }
                Ok(_) => {
                    assert!(is_there || !lives_on, "{what}: {number} was acknowledged and is lost");
                    self.acked += 1;
                    self.acked_unhandled += usize::from(!is_there);
                }
                Err(_) => {
                    self.unanswered += 1;
                    self.unanswered_handled += usize::from(is_there);
                }
            }
        }
    }
}

async fn wait(what: &str, done: impl Fn() -> bool) {
    assert!(try_wait(done).await, "it does not come to that: {what}");
}

/// Whether it comes to that in a minute.
async fn try_wait(done: impl Fn() -> bool) -> bool {
    let done = async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, done).await.is_ok()
}
