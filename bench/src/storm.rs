//! Everybody comes back at once: the server is killed and started again, and its clients find it by themselves.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use esf_tokio::{Client, Config, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    Plan, Problem,
    process::{LOAD_CORE, Running, pinned},
    report::{Report, Row, median},
    subject::Subject,
};

/// Clients that connect at the same time for the first time.
const FIRST_LOGINS: usize = 64;
/// How often it is looked whether all are back.
const LOOK: Duration = Duration::from_millis(20);
/// When they will not come any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// A storm takes long and differs little.
const MOST_RUNS: usize = 3;

/// What the clients' process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StormSpec {
    /// The server, before and after.
    pub address: SocketAddr,
    /// Clients.
    pub clients: usize,
}

/// Seconds from the moment that the server listens again until the last client is logged in.
///
/// # Errors
/// A server or the clients fail.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let runs = plan.runs.min(MOST_RUNS);
    let mut seconds = Vec::new();
    for run in 0..runs {
        seconds.push(storm(plan)?);
        eprintln!("run {} of {runs}: {} clients back after {:.2} s", run + 1, plan.clients, seconds[run]);
    }
    report.results.push(Row::new(format!("storm/{}/open", plan.clients), median(&seconds), "s"));
    Ok(())
}

fn storm(plan: &Plan) -> Result<f64, Problem> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Subject::esf_on(plan, address)?;
    let spec = StormSpec { address, clients: plan.clients };
    let mut command = pinned(LOAD_CORE, std::env::current_exe()?);
    let mut clients = Running::start(command.arg("load-storm").arg(serde_json::to_string(&spec)?))?;
    clients.word_after("ready")?;
    // What ends here is killed without a word.
    drop(server);
    clients.word_after("gone")?;
    let _server = Subject::esf_on(plan, address)?;
    let begin = Instant::now();
    clients.word_after("back")?;
    Ok(begin.elapsed().as_secs_f64())
}

/// The clients: the library's own, with its settings. Says when all are logged in, when no connection is left, and when
/// all are logged in again.
///
/// # Errors
/// One of them ends, or does not come back.
pub async fn clients(spec: &StormSpec, tell: impl Fn(&str)) -> Result<(), Problem> {
    let gate = Arc::new(Semaphore::new(FIRST_LOGINS));
    let mut joining = Vec::with_capacity(spec.clients);
    for at in 0..spec.clients {
        let (gate, url) = (gate.clone(), format!("ws://{}", spec.address));
        joining.push(tokio::spawn(async move {
            let _turn = gate.acquire().await?;
            let config = Config::new(UserId::parse(&format!("s{at}"), 64)?);
            Ok::<Client, Problem>(esf_tokio::connect(&url, config).await?)
        }));
    }
    let mut clients = Vec::with_capacity(spec.clients);
    for client in joining {
        clients.push(client.await??);
    }
    tell("ready");
    wait(|| !clients.iter().any(Client::is_connected)).await?;
    tell("gone");
    wait(|| clients.iter().all(Client::is_connected)).await?;
    tell("back");
    // The clients end with their process, as they would if they were people's.
    std::future::pending().await
}

async fn wait(done: impl Fn() -> bool) -> Result<(), Problem> {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("not all of the clients within {PATIENCE:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
