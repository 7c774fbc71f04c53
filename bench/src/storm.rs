//! Everybody comes back at once: the server is killed and started again, and its clients find it by themselves.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use esf_tokio::{Client, Config, Credential, CredentialKind, UserId};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    Plan, Problem,
    process::{LOAD_CORE, Running, SERVER_CORE, pinned},
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
/// The password of every account.
const PASSWORD: &str = "storm";
/// It as the store keeps it, at the lowest cost that there is. The first logins are not what is measured, and at the
/// usual cost ten thousand of them take minutes; those that are measured are by ticket.
const CHEAP_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$ZXNmLWJlbmNoLXN0b3JtIQ$rhvmkKKv6rU76uZJBRnrRBnAeUGENyjnplTkIxMZJ3k";

/// What the clients' process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StormSpec {
    /// The server, before and after.
    pub address: SocketAddr,
    /// Clients.
    pub clients: usize,
    /// Whether they log in with a password the first time, and with their tickets after that.
    pub accounts: bool,
}

/// Seconds from the moment that the server listens again until the last client is logged in.
///
/// # Errors
/// A server or the clients fail.
pub fn run(plan: &Plan, report: &mut Report) -> Result<(), Problem> {
    let runs = plan.runs.min(MOST_RUNS);
    let data = plan.esf.as_deref().map(|esf| Data::with_accounts(esf, plan.clients)).transpose()?;
    let mut seconds = Vec::new();
    for run in 0..runs {
        seconds.push(storm(plan, data.as_ref())?);
        eprintln!("run {} of {runs}: {} clients back after {:.2} s", run + 1, plan.clients, seconds[run]);
    }
    // The server of the library has no accounts.
    let name = if data.is_some() { "storm" } else { "storm/open" };
    report.results.push(Row::new(format!("{name}/{}", plan.clients), median(&seconds), "s"));
    Ok(())
}

fn storm(plan: &Plan, data: Option<&Data>) -> Result<f64, Problem> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = serve(plan, data, address)?;
    let spec = StormSpec { address, clients: plan.clients, accounts: data.is_some() };
    let mut command = pinned(LOAD_CORE, std::env::current_exe()?);
    let mut clients = Running::start(command.arg("load-storm").arg(serde_json::to_string(&spec)?))?;
    clients.word_after("ready")?;
    // What ends here is killed without a word.
    drop(server);
    clients.word_after("gone")?;
    let _server = serve(plan, data, address)?;
    let begin = Instant::now();
    clients.word_after("back")?;
    Ok(begin.elapsed().as_secs_f64())
}

fn serve(plan: &Plan, data: Option<&Data>, address: SocketAddr) -> Result<Subject, Problem> {
    let (Some(esf), Some(Data(data))) = (&plan.esf, data) else { return Subject::esf_on(plan, address) };
    let mut command = pinned(SERVER_CORE, esf);
    command.args(["serve", "--log", "error", "--data"]).arg(data).arg("--listen").arg(address.to_string());
    Subject::start(&mut command, "ws://")
}

/// A store with accounts, which is gone when this is dropped.
struct Data(PathBuf);

impl Data {
    /// The first account is made as ever, the others like it.
    fn with_accounts(esf: &Path, accounts: usize) -> Result<Self, Problem> {
        let data = Self(std::env::temp_dir().join(format!("esf-bench-storm-{}", std::process::id())));
        let mut add = Command::new(esf);
        add.args(["user", "add", "s0", "--data"]).arg(&data.0).env("ESF_PASSWORD", PASSWORD);
        if !add.stdin(Stdio::null()).stdout(Stdio::null()).status()?.success() {
            return Err("`esf user add` failed; its reason is above".into());
        }
        let store = fs::read_dir(&data.0)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
            .ok_or("there is no store in the data directory")?;
        Connection::open(store)?.execute(
            "WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < ?1)
             INSERT OR REPLACE INTO account (name, password, role, version, made_at, changed_at)
             SELECT 's' || i, ?2, 'user', version, made_at, changed_at FROM number, account WHERE name = 's0'",
            params![i64::try_from(accounts)?, CHEAP_HASH],
        )?;
        Ok(data)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
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
        let (gate, url, accounts) = (gate.clone(), format!("ws://{}", spec.address), spec.accounts);
        joining.push(tokio::spawn(async move {
            let _turn = gate.acquire().await?;
            let mut config = Config::new(UserId::parse(&format!("s{at}"), 64)?);
            if accounts {
                config.credential = Credential { kind: CredentialKind::Password, bytes: PASSWORD.into() };
            }
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
