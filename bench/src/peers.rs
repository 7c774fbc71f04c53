//! Other servers that relay messages, loaded by the same generator in the same pattern.
//!
//! Each is what it is by default, but for what keeps a message waiting: Nagle's algorithm and compression are off.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Problem,
    load::Talk,
    process::{Running, SERVER_CORE, pinned},
    subject::Subject,
};

/// Their sources, where they are not programs of the distribution.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
/// How long one may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that can be started.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it is called in the results.
    pub name: &'static str,
    /// What is spoken to it.
    pub talk: Talk,
    kind: Kind,
    program: PathBuf,
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Nats,
    Mosquitto,
    /// A script of node that tells its address.
    Script(&'static str),
    /// A program that tells its address.
    Socketioxide,
}

const ALL: [(&str, Talk, Kind); 5] = [
    ("nats-server", Talk::Nats, Kind::Nats),
    ("mosquitto", Talk::Mqtt, Kind::Mosquitto),
    ("node-ws", Talk::WebSocketRelay, Kind::Script("ws.js")),
    ("socket.io", Talk::SocketIo, Kind::Script("socket.io.js")),
    ("socketioxide", Talk::SocketIo, Kind::Socketioxide),
];

/// Finds or builds all of them; those that cannot be had are named in `not_run` with the reason.
pub fn prepare(not_run: &mut Vec<String>) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (name, talk, kind) in ALL {
        eprintln!("preparing {name}");
        match kind.prepare() {
            Ok((program, folder)) => peers.push(Peer { name, talk, kind, program, folder }),
            Err(problem) => not_run.push(format!("peer/{name}: {problem}")),
        }
    }
    peers
}

impl Kind {
    /// The program, and the folder to run it in.
    fn prepare(self) -> Result<(PathBuf, PathBuf), Problem> {
        let folder = workshop()?;
        Ok(match self {
            Self::Nats => (installed("nats-server", "--version")?, folder),
            Self::Mosquitto => (installed("mosquitto", "-h")?, folder),
            Self::Script(_) => {
                let node = installed("node", "--version")?;
                let folder = folder.join("node");
                fs::create_dir_all(&folder)?;
                for file in ["package.json", "ws.js", "socket.io.js"] {
                    fs::copy(Path::new(SOURCES).join("node").join(file), folder.join(file))?;
                }
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
                succeed(&mut npm)?;
                (node, folder)
            }
            Self::Socketioxide => {
                let mut cargo = Command::new("cargo");
                cargo.args(["build", "--release", "--locked", "--quiet", "--target-dir"]).arg(&folder);
                succeed(cargo.current_dir(Path::new(SOURCES).join("socketioxide")))?;
                (folder.join("release/socketioxide-relay"), folder)
            }
        })
    }
}

impl Peer {
    /// Starts it on the server's core.
    ///
    /// # Errors
    /// It does not listen.
    pub fn start(&self) -> Result<Subject, Problem> {
        let mut command = pinned(SERVER_CORE, &self.program);
        command.current_dir(&self.folder);
        match self.kind {
            Kind::Script(script) => Subject::start(command.arg(script), "listening on "),
            Kind::Socketioxide => Subject::start(&mut command, "listening on "),
            Kind::Nats => {
                let address = free_address()?;
                let port = address.port().to_string();
                listens(command.args(["-a", "127.0.0.1", "-l", "nats.log", "-p", &port]), address)
            }
            Kind::Mosquitto => {
                let address = free_address()?;
                let settings = self.folder.join("mosquitto.conf");
                let listener = format!("listener {} 127.0.0.1", address.port());
                let text = format!("{listener}\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest none\n");
                fs::write(&settings, text)?;
                listens(command.arg("-c").arg(settings), address)
            }
        }
    }
}

/// Where peers are built, beside what cargo builds.
fn workshop() -> Result<PathBuf, Problem> {
    let programs = std::env::current_exe()?;
    let target = programs.parent().and_then(Path::parent).ok_or("this program has no folder")?;
    let folder = target.join("bench-peers");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A program of the distribution, also where only an administrator's path has it.
fn installed(name: &str, harmless: &str) -> Result<PathBuf, Problem> {
    let runs = |program: &Path| {
        Command::new(program).arg(harmless).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    [PathBuf::from(name), Path::new("/usr/sbin").join(name)]
        .into_iter()
        .find(|program| runs(program))
        .ok_or_else(|| format!("{name} is not installed").into())
}

fn succeed(command: &mut Command) -> Result<(), Problem> {
    let told = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if told.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&told.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{:?} ended with {}: {last}", command.get_program(), told.status).into())
}

/// A port that nobody has at present, for programs that do not tell which one they took.
fn free_address() -> Result<SocketAddr, Problem> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn listens(command: &mut Command, address: SocketAddr) -> Result<Subject, Problem> {
    let process = Running::start(command)?;
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{command:?} does not listen on {address}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(Subject { process, address })
}
