//! Those who do harm, by the protocol and against it.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use esf_tokio::{BlobChoice, BlobStream, Bytes, Client, Context, Handler, Handlers, To, UserId};
use tokio::{net::TcpListener, sync::broadcast, time::sleep};

use super::{Random, Stage, config};
use crate::wire;

const SLOW_READERS: usize = 4;
const STOPPED_READERS: usize = 8;
const FLOODERS: usize = 6;
const CUT_PAIRS: usize = 20;
const CHURNERS: usize = 4;
const STRANGERS: usize = 4;
const BLOB_PAIRS: usize = 3;

/// Starts all of them; they end when the stage is over.
pub(super) fn begin(stage: &Arc<Stage>, random: &mut Random) {
    for number in 0..SLOW_READERS {
        tokio::spawn(slow_reader(stage.clone(), number));
    }
    for number in 0..STOPPED_READERS {
        tokio::spawn(stopped_reader(stage.clone(), number, random.child()));
    }
    for number in 0..FLOODERS {
        tokio::spawn(flooder(stage.clone(), number, random.child()));
    }
    for number in 0..CHURNERS {
        tokio::spawn(churner(stage.clone(), number, random.child()));
    }
    for _ in 0..STRANGERS {
        tokio::spawn(stranger(stage.clone(), random.child()));
    }
    for number in 0..BLOB_PAIRS {
        tokio::spawn(blob_receiver(stage.clone(), number));
        tokio::spawn(blob_sender(stage.clone(), number, random.child()));
    }
    tokio::spawn(behind_a_bad_line(stage.clone(), random.child()));
}

fn to(name: &str) -> To {
    To::User(UserId::parse(name, 64).unwrap_or_else(|_| unreachable!("{name} is a name")))
}

fn over(stage: &Stage) -> bool {
    stage.over.load(Relaxed)
}

/// A client that is there until the stage is over; it comes back whatever ends it.
async fn stay(stage: &Stage, name: &str, handler: impl Fn() -> Handlers) {
    while !over(stage) {
        if let Ok(client) = esf_tokio::client(&stage.url, config(name)).handler(handler()).connect().await {
            stage.done.connections.fetch_add(1, Relaxed);
            while !over(stage) && client.is_connected() {
                sleep(Duration::from_millis(200)).await;
            }
            client.close();
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Takes a message each 20 ms, and never answers a query.
async fn slow_reader(stage: Arc<Stage>, number: usize) {
    let handlers = || {
        Handlers::new()
            .information(|_: Context, _: u32, _: Bytes| sleep(Duration::from_millis(20)))
            .query(|_: Context, _: u32, _: Bytes| std::future::pending())
    };
    stay(&stage, &format!("slow-{number}"), handlers).await;
}

/// Logs in and reads nothing, until it breaks off without a word and comes again.
async fn stopped_reader(stage: Arc<Stage>, number: usize, mut random: Random) {
    while !over(&stage) {
        let (address, name, instance) = (stage.address, format!("stopped-{number}"), random.next());
        let opened = tokio::task::spawn_blocking(move || wire::log_in(address, &name, instance)).await;
        if let Ok(Ok(stream)) = opened {
            stage.done.connections.fetch_add(1, Relaxed);
            sleep(Duration::from_millis(5_000 + random.below(60_000))).await;
            drop(stream);
            stage.done.cuts.fetch_add(1, Relaxed);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Sends to slow and stopped readers, to nobody and to the server, as fast as it is let.
async fn flooder(stage: Arc<Stage>, number: usize, mut random: Random) {
    let name = format!("flood-{number}");
    while !over(&stage) {
        let Ok(client) = esf_tokio::connect(&stage.url, config(&name)).await else {
            sleep(Duration::from_millis(500)).await;
            continue;
        };
        stage.done.connections.fetch_add(1, Relaxed);
        while !over(&stage) && client.is_connected() {
            for _ in 0..64 {
                flood(&stage, &client, &mut random);
            }
            sleep(Duration::from_millis(5)).await;
        }
        client.close();
    }
}

fn flood(stage: &Stage, client: &Client, random: &mut Random) {
    let target = match random.below(10) {
        0..=3 => to(&format!("slow-{}", random.below(SLOW_READERS as u64))),
        4..=7 => to(&format!("stopped-{}", random.below(STOPPED_READERS as u64))),
        8 => to("nobody"),
        _ => To::Server,
    };
    let body = Bytes::from(vec![7; usize::try_from(random.below(4096)).unwrap_or(0)]);
    if random.below(4) > 0 {
        let sent = client.send(target, 1, body);
        stage.done.sent.fetch_add(sent.is_ok().into(), Relaxed);
        stage.done.refused.fetch_add(sent.is_err().into(), Relaxed);
        return;
    }
    let (client, certain) = (client.clone(), random.below(2) == 0);
    // What they come to is not waited for: dropping it cancels nothing.
    tokio::spawn(async move {
        let wait = Duration::from_secs(2);
        if certain {
            let _ = client.send_certainly_within(target, 1, body, wait).await;
        } else {
            let _ = client.query_within(target, 1, body, wait).await;
        }
    });
    stage.done.sent.fetch_add(1, Relaxed);
}

/// Comes, says something, and goes: with a word, or without.
async fn churner(stage: Arc<Stage>, number: usize, mut random: Random) {
    while !over(&stage) {
        let name = format!("churn-{number}-{}", random.below(500));
        if random.below(2) == 0 {
            if let Ok(client) = esf_tokio::connect(&stage.url, config(&name)).await {
                let _ = client.send(to("slow-0"), 1, Bytes::from_static(b"hello"));
                client.log_off().await;
            }
        } else {
            let (address, instance) = (stage.address, random.next());
            let opened = tokio::task::spawn_blocking(move || wire::log_in(address, &name, instance).map(drop)).await;
            stage.done.cuts.fetch_add(opened.is_ok().into(), Relaxed);
        }
        stage.done.connections.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(random.below(100))).await;
    }
}

/// Connects and says what has no place there.
async fn stranger(stage: Arc<Stage>, mut random: Random) {
    while !over(&stage) {
        let (address, mut choice) = (stage.address, random.child());
        let said = tokio::task::spawn_blocking(move || nonsense(address, &mut choice)).await;
        drop(said);
        stage.done.connections.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(random.below(200))).await;
    }
}

fn nonsense(address: SocketAddr, random: &mut Random) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    match random.below(4) {
        0 => stream.write_all(b"GET / HTTP/1.1\r\nhost: ")?,
        1 => stream.write_all(&[b'x'; 20_000])?,
        2 if wire::upgrade(&mut stream, "/", Some("esf.v1")).is_ok() => {
            let garbage: Vec<u8> = (0..random.below(300)).map(|_| random.next().to_le_bytes()[0]).collect();
            stream.write_all(&wire::message(&garbage))?;
        }
        _ => {}
    }
    std::thread::sleep(Duration::from_millis(random.below(2_000)));
    Ok(())
}

/// Pairs behind a line that is cut every few seconds: their sessions are resumed each time.
async fn behind_a_bad_line(stage: Arc<Stage>, mut random: Random) {
    let Ok(line) = TcpListener::bind("127.0.0.1:0").await else { return };
    let Ok(own) = line.local_addr() else { return };
    let (cut, _) = broadcast::channel::<()>(1);
    let address = stage.address;
    let each = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = line.accept().await {
            let mut cut = each.subscribe();
            tokio::spawn(async move {
                let Ok(mut far) = tokio::net::TcpStream::connect(address).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.recv() => {}
                }
            });
        }
    });
    let url = format!("ws://{own}");
    let mut clients = Vec::new();
    for number in 0..CUT_PAIRS * 2 {
        if let Ok(client) = esf_tokio::connect(&url, config(&format!("line-{number}"))).await {
            clients.push(client);
        }
    }
    while !over(&stage) {
        for (number, client) in clients.iter().enumerate() {
            let sent = client.send(to(&format!("line-{}", number ^ 1)), 1, Bytes::from(vec![1; 200]));
            stage.done.sent.fetch_add(sent.is_ok().into(), Relaxed);
        }
        if random.below(100) == 0 {
            let _ = cut.send(());
            stage.done.cuts.fetch_add(clients.len() as u64, Relaxed);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Takes blobs whole, as a stream, slowly, or not at all, as they come.
struct Taker;

impl Handler for Taker {
    fn blob_offered(&self, _: &Context, offer: &esf_tokio::BlobOffer) -> BlobChoice {
        match offer.info_type % 4 {
            0 => BlobChoice::Whole,
            1 => BlobChoice::Refuse(esf_tokio::Failure::Rejected),
            _ => BlobChoice::Stream,
        }
    }

    async fn blob_stream(&self, _: Context, mut stream: BlobStream) {
        let slow = stream.offer().info_type % 4 == 3;
        while let Ok(Some(_)) = stream.next().await {
            if slow {
                sleep(Duration::from_millis(50)).await;
            }
        }
        stream.finish();
    }
}

async fn blob_receiver(stage: Arc<Stage>, number: usize) {
    let name = format!("take-{number}");
    while !over(&stage) {
        if let Ok(client) = esf_tokio::client(&stage.url, config(&name)).handler(Taker).connect().await {
            while !over(&stage) && client.is_connected() {
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Sends blobs, and takes some of them back.
async fn blob_sender(stage: Arc<Stage>, number: usize, mut random: Random) {
    let Ok(client) = esf_tokio::connect(&stage.url, config(&format!("give-{number}"))).await else { return };
    while !over(&stage) {
        let size = usize::try_from(random.below(4 << 20)).unwrap_or(0);
        let kind = u32::try_from(random.below(4)).unwrap_or(0);
        if let Ok(blob) = client.send_blob(to(&format!("take-{number}")), kind, "soak", Bytes::from(vec![5; size])) {
            if random.below(5) == 0 {
                sleep(Duration::from_millis(random.below(200))).await;
                blob.cancel();
            }
            let _ = blob.outcome().await;
            stage.done.blobs.fetch_add(1, Relaxed);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
