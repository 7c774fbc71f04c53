//! The directory of a server, as commands find it that act on it.

use std::path::PathBuf;

use crate::{
    config::{Given, Sources},
    exit::Exit,
    store::Problem,
};

/// The directory that was named; else that of the server which would be started here.
pub(super) fn directory(named: Option<PathBuf>) -> Result<PathBuf, Exit> {
    if let Some(directory) = named {
        return Ok(directory);
    }
    let loaded = Sources::of_process(std::env::var_os("ESF_CONFIG").map(PathBuf::from), Given::default()).load();
    Ok(loaded.map_err(|problem| Exit::of_config(&problem))?.settings.data.path().to_owned())
}

/// What the store says, as the end of a command.
pub(super) fn told<T>(outcome: Result<T, Problem>) -> Result<T, Exit> {
    outcome.map_err(|problem| Exit::of_store(&problem))
}
