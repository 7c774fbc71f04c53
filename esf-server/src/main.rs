//! `esf`: the ESF server and its command line. docs/CLI.md says what each command does.

mod accounts;
mod auth;
mod cli;
mod commands;
mod config;
mod connect;
mod exit;
mod files;
mod output;
mod password;
mod progress;
mod serve;
mod signals;
mod store;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime;

use crate::{
    cli::{Cli, Command},
    exit::Exit,
};

/// Gives pages back that nobody uses any more, which the system's allocator does not: after large messages on many connections
/// their memory would stay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            if let Some(reason) = exit.reason() {
                output::note(reason);
            }
            ExitCode::from(exit.code() as u8)
        }
    }
}

fn run(command: Command) -> Result<(), Exit> {
    // A command waits for one connection, which needs no threads; a server uses all processors.
    let runtime = match command {
        Command::Serve(_) => runtime::Builder::new_multi_thread().enable_all().build(),
        _ => runtime::Builder::new_current_thread().enable_all().build(),
    };
    let runtime = runtime.map_err(|error| Exit::internal(format!("the runtime does not start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Config(args) => commands::config::run(args.command),
            Command::User(args) => commands::user::run(args),
            Command::Contact(args) => commands::contact::run(args),
            Command::Group(args) => commands::group::run(args),
            Command::Store(args) => commands::store::run(args),
            Command::Listen(args) => commands::listen::run(args).await,
            Command::Send(args) => commands::send::run(args).await,
            Command::Broadcast(args) => commands::broadcast::run(args).await,
            Command::Blob(args) => commands::blob::run(args).await,
            Command::Query(args) => commands::query::run(args).await,
            Command::Ping(args) => commands::ping::run(args).await,
            Command::Online(args) => commands::online::run(args).await,
            Command::Watch(args) => commands::watch::run(args).await,
            Command::Kick(args) => commands::kick::run(args).await,
            Command::Chat(args) => commands::chat::run(args).await,
        }
    })
}
