//! What is measured, and the limits beside it, each as a process on the server's core.

use std::{net::SocketAddr, process::Command};

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

    /// A small server of the library.
    ///
    /// # Errors
    /// It does not start.
    pub fn library(kind: Library) -> Result<Self, Problem> {
        Self::own(pinned(SERVER_CORE, std::env::current_exe()?), "serve", &kind)
    }

    /// The same on all cores, which it then shares with its load.
    ///
    /// # Errors
    /// It does not start.
    pub fn library_anywhere(kind: Library) -> Result<Self, Problem> {
        Self::own(Command::new(std::env::current_exe()?), "serve", &kind)
    }

    /// What the machine allows.
    ///
    /// # Errors
    /// It does not start.
    pub fn limit(limit: Limit) -> Result<Self, Problem> {
        Self::own(pinned(SERVER_CORE, std::env::current_exe()?), "limit", &limit)
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

    fn own(mut command: Command, subcommand: &str, kind: &impl clap::ValueEnum) -> Result<Self, Problem> {
        let name = kind.to_possible_value().ok_or("a server without a name")?;
        Self::start(command.arg(subcommand).arg(name.get_name()), "listening on ")
    }
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
