//! A session over real sockets that is cut after each of its bytes, once in each run: every command has the outcome that it
//! has without a cut, no handler runs twice, and the order holds.

mod proxy;
mod session;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use esf_driver::{client::ClientBuilder, server::ServerBuilder};
use esf_tokio::{Config, UserId};
use proxy::{Cut, Proxy, Way};
use session::{Application, Serving, live};
use tokio::{sync::Semaphore, task::JoinSet};

/// Runs at the same time.
const TOGETHER: usize = 48;
/// How long one run may take. Nothing waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// The client of a runtime. The proxy and the tests themselves are always on tokio.
type Client = fn(&str, Config) -> ClientBuilder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_tokio_survives_a_cut_after_each_of_its_bytes() {
    on_one_runtime(esf_tokio::client, esf_tokio::server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_smol_survives_a_cut_after_each_of_its_bytes() {
    on_one_runtime(esf_smol::client, esf_smol::server()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_server_on_threads_survives_a_cut_after_each_of_its_bytes() {
    let application = Application::default();
    let server = esf_sync::server().open().handler(application.blocking());
    let server = server.listen("127.0.0.1:0").expect("a free port");
    application.serve(Serving::Threads(server.clone()));
    cut_everywhere(esf_tokio::client, &application, server.local_addr().expect("an address")).await;
    server.shut_down(Duration::ZERO);
}

async fn on_one_runtime(client: Client, server: ServerBuilder) {
    let application = Application::default();
    let server = server.open().handler(application.clone());
    let server = server.listen("127.0.0.1:0").await.expect("a free port");
    application.serve(Serving::Tasks(server.clone()));
    cut_everywhere(client, &application, server.local_addr().expect("an address")).await;
    server.shut_down(Duration::ZERO).await;
}

async fn cut_everywhere(client: Client, application: &Application, address: SocketAddr) {
    // What is sent depends a little on what comes together in time, so one recording is not as long as the other.
    let mut recorded = Vec::new();
    for number in 0..5 {
        let proxy = Proxy::start(address, None).await.expect("a proxy");
        live(client, application, &proxy, &format!("recorded-{number}")).await;
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
            let session = live(client, &application, &proxy, &name);
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
}

fn user(name: &str) -> UserId {
    UserId::parse(name, 64).expect("a name")
}
