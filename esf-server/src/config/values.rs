//! The types of settings that are more than a number or a word. In a file each is a text.

use std::{fmt, path::Path};

use esf_tokio::{Network, UserId};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::cli::{self, DEFAULT_ADDRESS};

/// A host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Listen(String);

impl Listen {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self(DEFAULT_ADDRESS.to_owned())
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.strip_prefix("ws://").unwrap_or(&text).trim_end_matches('/');
        let parts = address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
        match parts.map(|(_, port)| port.parse::<u16>()) {
            Some(Ok(_)) => Ok(Self(address.to_owned())),
            _ => Err(format!("`{text}` is no address to listen on; one looks like {DEFAULT_ADDRESS}")),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.0
    }
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Directory(String);

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self("./esf-data".to_owned())
    }
}

impl TryFrom<String> for Directory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() { Err("the name of a directory is not empty".to_owned()) } else { Ok(Self(text)) }
    }
}

impl From<Directory> for String {
    fn from(directory: Directory) -> Self {
        directory.0
    }
}

/// The name of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(pub(crate) UserId);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        cli::user_id(&text).map(Self).map_err(|error| format!("`{text}` is no user name: {error}"))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.to_string()
    }
}

/// What to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Level(String);

impl Level {
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for Level {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // A word that is no level would be taken as the name of a module, and nothing would be logged.
        if let Some(word) = text.split(',').find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err()) {
            return Err(format!("`{word}` is no level: use off, error, warn, info, debug or trace"));
        }
        text.parse::<EnvFilter>().map_err(|error| error.to_string())?;
        Ok(Self(text))
    }
}

impl From<Level> for String {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Range(pub(crate) Network);

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: esf_tokio::NetworkError| error.to_string())
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.0.to_string()
    }
}

#[cfg(test)]
mod tests;
