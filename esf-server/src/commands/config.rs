//! `esf config`: what a server would make of its settings.

use serde_json::Value;

use crate::{
    cli::ConfigCommand,
    config::{self, EXAMPLE, Given, KEYS, Loaded, Sources},
    exit::Exit,
    output,
};

pub(crate) fn run(command: ConfigCommand) -> Result<(), Exit> {
    let load = |file| Sources::of_process(file, Given::default()).load().map_err(|problem| Exit::of_config(&problem));
    match command {
        ConfigCommand::Check { file, origins } => check(&load(file)?, origins),
        ConfigCommand::Show { file } => show(&load(file)?),
        ConfigCommand::Example => print(EXAMPLE.trim_end()),
    }
}

fn check(loaded: &Loaded, origins: bool) -> Result<(), Exit> {
    for warning in &loaded.warnings {
        output::note(warning);
    }
    let set = KEYS.iter().filter_map(|key| Some((key, loaded.layers.origin(&key.path)?)));
    print(&match &loaded.file {
        Some(file) => format!("{}: good; {} of {} keys are set", file.display(), set.clone().count(), KEYS.len()),
        None => format!("there is no file; {} of {} keys are set", set.clone().count(), KEYS.len()),
    })?;
    if origins {
        let values = config::leaves(&loaded.settings);
        for (key, origin) in set {
            print(&format!("{} = {} ({origin})", key.path, values.get(&key.path).unwrap_or(&Value::Null)))?;
        }
    }
    Ok(())
}

/// The texts, numbers and lists of JSON are those of TOML.
fn show(loaded: &Loaded) -> Result<(), Exit> {
    let values = config::leaves(&loaded.settings);
    let mut table = "";
    for key in KEYS.iter() {
        if key.table() != table {
            table = key.table();
            print(&format!("\n[{table}]"))?;
        }
        match values.get(&key.path) {
            None | Some(Value::Null) => print(&format!("# {} is not set", key.name()))?,
            Some(value) => print(&format!("{} = {value}", key.name()))?,
        }
    }
    Ok(())
}

fn print(line: &str) -> Result<(), Exit> {
    output::line(line)
}
