//! A session over real sockets that is cut after each of its bytes, once in each run: every command has the outcome that it
//! has without a cut, no handler runs twice, and the order holds.

mod proxy;
mod session;

use std::{sync::Arc, time::Duration};

use esf_driver::{client::ClientBuilder, server::ServerBuilder};
use esf_tokio::{Config, UserId};
use proxy::{Cut, Proxy, Way};
use session::{Application, live};
use tokio::{sync::Semaphore, task::JoinSet};

/// Runs at the same time.
const TOGETHER: usize = 48;
/// How long one run may take. Nothing waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The runtime that client and server run on. The proxy and the tests themselves are always on tokio.
#[derive(Clone, Copy)]
struct Adapter {
    client: fn(&str, Config) -> ClientBuilder,
    server: fn() -> ServerBuilder,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_tokio_survives_a_cut_after_each_of_its_bytes() {
    cut_everywhere(Adapter { client: esf_tokio::client, server: esf_tokio::server }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_smol_survives_a_cut_after_each_of_its_bytes() {
    cut_everywhere(Adapter { client: esf_smol::client, server: esf_smol::server }).await;
}

async fn cut_everywhere(adapter: Adapter) {
    let application = Application::default();
    let server = (adapter.server)().open().handler(application.clone());
    let server = server.listen("127.0.0.1:0").await.expect("a free port");
    application.serve(&server);
    let address = server.local_addr().expect("an address");

    // What is sent depends a little on what comes together in time, so one recording is not as long as the other.
    let mut recorded = Vec::new();
    for number in 0..5 {
        let proxy = Proxy::start(address, None).await.expect("a proxy");
        live(adapter, &application, &proxy, &format!("recorded-{number}")).await;
        recorded.push(proxy.passed());
    }
    let shortest = |way: Way| recorded.iter().map(|passed| passed[way as usize]).min().expect("a recording");
    let cuts: Vec<Cut> = [Way::Up, Way::Down]
        .into_iter()
        .flat_map(|way| (0..=shortest(way)).map(move |after| Cut { way, after }))
        .collect();
    assert!(cuts.len() > 2_000, "the session is too small: {recorded:?}");

    let (places, mut runs, mut missed) = (Arc::new(Semaphore::new(TOGETHER)), JoinSet::new(), Vec::new());
    for (number, cut) in cuts.iter().copied().enumerate() {
        let place = places.clone().acquire_owned().await.expect("a place");
        let application = application.clone();
        runs.spawn(async move {
            let proxy = Proxy::start(address, Some(cut)).await.expect("a proxy");
            let name = format!("run-{number}");
            let session = live(adapter, &application, &proxy, &name);
            assert!(tokio::time::timeout(PATIENCE, session).await.is_ok(), "hangs when cut {cut:?}");
            drop(place);
            (!proxy.was_cut()).then_some(cut)
        });
        while let Some(ended) = runs.try_join_next() {
            missed.extend(ended.expect("a run that holds"));
        }
    }
    while let Some(ended) = runs.join_next().await {
        missed.extend(ended.expect("a run that holds"));
    }
    assert!(
        missed.len() * 20 < cuts.len(),
        "{} of {} sessions ended before their cut: {missed:?}",
        missed.len(),
        cuts.len()
    );
    server.shut_down(Duration::ZERO).await;
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a name")
}
