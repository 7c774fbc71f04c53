//! The settings of `esf serve`: by flags, by environment, by a file, in that order. docs/CONFIGURATION.md is for people.
//!
//! A setting is a field of [`Settings`] or of a struct in it, and a line in `esf.example.toml` with what it means. Its
//! flag, its variable, its place in the help and its errors follow from these two, and a test holds them together:
//! [`keys`] lists what there is, [`layers`] puts the sources on top of each other and remembers which value came from
//! where, [`read`] makes the structs of it.

mod checks;
mod flags;
mod keys;
mod layers;
mod problem;
mod read;
mod settings;
mod units;
mod values;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;

pub(crate) use self::units::Time;
pub(crate) use self::{
    checks::open_to_strangers,
    flags::Given,
    keys::{EXAMPLE, KEYS, Key, leaves},
    layers::{Layers, Origin},
    problem::Problem,
    settings::{Log, LogFormat, Settings},
    values::{Directory, Level, Listen},
};

/// Where a file is looked for when none is named: the first that is there.
const PLACES: [&str; 2] = ["esf.toml", "/etc/esf/esf.toml"];

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The file that was named, by `--config` or `ESF_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    pub(crate) flags: Given,
    /// The variables of the process whose names begin with `ESF_`.
    pub(crate) environment: Vec<(String, OsString)>,
}

/// Settings, and where each value came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) layers: Layers,
    /// What is odd and no error: for the log.
    pub(crate) warnings: Vec<String>,
}

impl Sources {
    /// The sources of this process.
    pub(crate) fn of_process(file: Option<PathBuf>, flags: Given) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(keys::PREFIX));
        Self { file, flags, environment: environment.collect() }
    }

    /// Reads every source anew.
    pub(crate) fn load(&self) -> Result<Loaded, Problem> {
        let file = self.file.clone().or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.is_file()));
        let mut layers = match &file {
            Some(path) => read_file(path)?,
            None => Layers::default(),
        };
        // By itself as well: what a variable or flag hides today may count tomorrow.
        Settings::deserialize(layers.reader())?;
        let mut warnings = Vec::new();
        for (name, value) in &self.environment {
            match keys::of_variable(name) {
                Ok(Some(key)) => layers.set_by_variable(key, value)?,
                Ok(None) => {}
                Err(nearest) => {
                    warnings.push(format!("the environment has {name}, which is no setting{}", problem::or(&nearest)));
                }
            }
        }
        for (key, values) in &self.flags.0 {
            layers.set_by_flag(key, values);
        }
        let settings = Settings::deserialize(layers.reader())?;
        checks::check(&settings, &layers)?;
        Ok(Loaded { settings, file, layers, warnings })
    }
}

fn read_file(path: &Path) -> Result<Layers, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(format!("{}: it cannot be read: {error}; name another by --config FILE", path.display()))
    })?;
    Layers::of_file(path, &text)
}

#[cfg(test)]
mod tests;
