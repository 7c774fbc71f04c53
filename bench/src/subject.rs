//! What is measured, and the limits beside it, each as a process on the server's core.

use std::{net::SocketAddr, path::Path, process::Command};

use serde::de::DeserializeOwned;

use crate::{
    Plan, Problem,
    limits::Limit,
    process::{LOAD_CORE, Running, SERVER_CORE, pinned},
};

/// A server that runs.
#[derive(Debug)]
pub struct Subject {
    /// Its process.
    pub process: Running,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a server of the library does, beside what every server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Library {
    /// Nothing.
    Plain,
    /// Puts frames that are ready at the same time into one WebSocket message.
    Coalescing,
    /// Answers each query with its own body.
    Answering,
    /// Has whoever is called m… in one group.
    Grouping,
    /// Keeps messages in memory for whoever is away.
    Keeping,
}

/// What a server of the library runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// tokio, with a thread for each core.
    Tokio,
    /// smol, with as many.
    Smol,
    /// Two threads for each connection.
    Threads,
}

impl Runtime {
    /// What it adds to the name of a row.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Tokio => "",
            Self::Smol => "/smol",
            Self::Threads => "/threads",
        }
    }
}

impl Subject {
    /// `esf serve --open`, or without the binary a plain server of the library.
    ///
    /// # Errors
    /// It does not start.
    pub fn esf(plan: &Plan) -> Result<Self, Problem> {
        Self::esf_on(plan, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The same at this address.
    ///
    /// # Errors
    /// It does not start.
    pub fn esf_on(plan: &Plan, address: SocketAddr) -> Result<Self, Problem> {
        let Some(esf) = &plan.esf else {
            let mut command = pinned(SERVER_CORE, std::env::current_exe()?);
            command.arg("serve").arg("plain").arg(address.to_string());
            return Self::start(&mut command, "listening on ");
        };
        let mut command = pinned(SERVER_CORE, esf);
        command.args(["serve", "--open", "--log", "error", "--listen"]).arg(address.to_string());
        Self::start(&mut command, "ws://")
    }

    /// `esf serve --open` that keeps its things in this directory.
    ///
    /// # Errors
    /// It does not start.
    pub fn esf_keeping(esf: &Path, data: &Path) -> Result<Self, Problem> {
        let mut command = pinned(SERVER_CORE, esf);
        command.args(["serve", "--open", "--log", "error", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        Self::start(&mut command, "ws://")
    }

    /// A small server of the library.
    ///
    /// # Errors
    /// It does not start.
    pub fn library(kind: Library, runtime: Runtime) -> Result<Self, Problem> {
        Self::serve(pinned(SERVER_CORE, std::env::current_exe()?), kind, runtime, 1)
    }

    /// The same on all cores, which it then shares with its load.
    ///
    /// # Errors
    /// It does not start.
    pub fn library_anywhere(kind: Library, runtime: Runtime) -> Result<Self, Problem> {
        let cores = std::thread::available_parallelism()?.get();
        Self::serve(Command::new(std::env::current_exe()?), kind, runtime, cores)
    }

    fn serve(mut command: Command, kind: Library, runtime: Runtime, cores: usize) -> Result<Self, Problem> {
        // tokio counts the cores itself.
        command.env("SMOL_THREADS", cores.to_string());
        command.args(["serve", "--runtime", &word(&runtime)?, &word(&kind)?]);
        Self::start(&mut command, "listening on ")
    }

    /// What the machine allows.
    ///
    /// # Errors
    /// It does not start.
    pub fn limit(limit: Limit) -> Result<Self, Problem> {
        let mut command = pinned(SERVER_CORE, std::env::current_exe()?);
        Self::start(command.args(["limit", &word(&limit)?]), "listening on ")
    }

    /// A server that says `mark` and its address.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(command: &mut Command, mark: &str) -> Result<Self, Problem> {
        let mut process = Running::start(command)?;
        let address = process.word_after(mark)?.parse()?;
        Ok(Self { process, address })
    }
}

/// How it is written on the command line.
fn word(choice: &impl clap::ValueEnum) -> Result<String, Problem> {
    Ok(choice.to_possible_value().ok_or("a choice without a name")?.get_name().to_owned())
}

/// Runs this program once more on the load's core, with a spec, and reads what it found.
///
/// # Errors
/// It fails.
pub fn load<T: DeserializeOwned>(subcommand: &str, spec: &impl serde::Serialize) -> Result<T, Problem> {
    load_by(pinned(LOAD_CORE, std::env::current_exe()?), subcommand, spec)
}

/// The same on any core.
///
/// # Errors
/// It fails.
pub fn load_anywhere<T: DeserializeOwned>(subcommand: &str, spec: &impl serde::Serialize) -> Result<T, Problem> {
    load_by(Command::new(std::env::current_exe()?), subcommand, spec)
}

fn load_by<T: DeserializeOwned>(
    mut command: Command,
    subcommand: &str,
    spec: &impl serde::Serialize,
) -> Result<T, Problem> {
    let told = Running::start(command.arg(subcommand).arg(serde_json::to_string(spec)?))?.finish()?;
    Ok(serde_json::from_str(&told)?)
}
