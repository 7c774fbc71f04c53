//! Measures the store of `esf serve` without the server. `esf-bench` starts it.
#![expect(clippy::print_stdout, reason = "its result is read from there")]

#[path = "../../../esf-server/src/store/mod.rs"]
#[expect(dead_code, unused_imports, reason = "accounts and what is for operators are not measured")]
mod store;

use std::{
    sync::mpsc::{Sender, channel},
    time::Instant,
};

use bytes::Bytes;
use esf_bench::{
    Problem, process,
    stored::alone::{AloneOutcome, AloneSpec, fsyncs},
    wire,
};
use esf_tokio::{
    InstanceId, MessageId, Store as _, StoreLimits, UserId,
    store::{StoreAnswer, StoreKey, StoreRequest, StoreResponse},
};

use store::{SqliteStore, Users};

/// That of `esf`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SENDERS: usize = 10;
/// After how long without an answer something is wrong.
const STALLED: std::time::Duration = std::time::Duration::from_secs(5);

fn main() -> Result<(), Problem> {
    let spec = std::env::args().nth(1).ok_or("started by esf-bench, with what is to be measured")?;
    println!("{}", serde_json::to_string(&measure(&serde_json::from_str(&spec)?)?)?);
    Ok(())
}

/// Keeps as many requests open as the spec says.
fn measure(spec: &AloneSpec) -> Result<AloneOutcome, Problem> {
    let fsyncs = fsyncs(&spec.directory)?;
    let opened = SqliteStore::open(&spec.directory, StoreLimits::default(), Users::Everybody);
    let store = opened.map_err(|problem| problem.to_string())?;
    let mut asker = Asker::new(spec)?;
    let (answered, answers) = channel();
    let begin = Instant::now();
    for _ in 0..spec.in_flight {
        asker.ask(&store, &answered);
    }
    let own = || process::cpu_ns(std::process::id());
    let mut waits: Vec<u32> = Vec::new();
    let mut window: Option<(Instant, u64)> = None;
    loop {
        let (asked, stored) = answers.recv_timeout(STALLED)?;
        if !stored {
            return Err("a message was not stored".into());
        }
        asker.ask(&store, &answered);
        let now = Instant::now();
        waits.push(u32::try_from((now - asked).as_micros())?);
        match window {
            None if now - begin >= spec.warm_up => {
                waits.clear();
                window = Some((now, own()));
            }
            Some((since, cpu)) if now - since >= spec.measure => {
                return Ok(AloneOutcome::new(&mut waits, now - since, own() - cpu, &fsyncs));
            }
            _ => {}
        }
    }
}

/// Makes requests as a server has them.
struct Asker {
    frame: Bytes,
    senders: Vec<UserId>,
    receivers: Vec<UserId>,
    asked: usize,
}

impl Asker {
    fn new(spec: &AloneSpec) -> Result<Self, Problem> {
        let names = |prefix: char, count: usize| {
            (0..count).map(|at| UserId::parse(&format!("{prefix}{at:08}"), 64)).collect::<Result<Vec<_>, _>>()
        };
        let frame = wire::storable(("s00000000", 1), "r00000000", 1, spec.body);
        Ok(Self { frame, senders: names('s', SENDERS)?, receivers: names('r', spec.receivers)?, asked: 0 })
    }

    fn ask(&mut self, store: &SqliteStore, answered: &Sender<(Instant, bool)>) {
        let at = self.asked;
        self.asked += 1;
        let sender = self.senders[at % SENDERS].clone();
        let id = MessageId((at / SENDERS) as u64 + 1);
        let request = StoreRequest::Put {
            key: StoreKey { user: Some(sender), instance: InstanceId(1), id },
            user: self.receivers[at % self.receivers.len()].clone(),
            device: None,
            frame: self.frame.clone(),
        };
        let (answered, asked) = (answered.clone(), Instant::now());
        store.submit(
            request,
            StoreAnswer::new(move |answer| {
                // Nobody listens after the last one.
                let _ = answered.send((asked, answer == Ok(StoreResponse::Stored)));
            }),
        );
    }
}
