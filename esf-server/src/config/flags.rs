//! A flag for each setting.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{KEYS, Key};

/// The flags that were given, with their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(pub(super) Vec<(&'static Key, Vec<String>)>);

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command.args(KEYS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = KEYS.iter().filter_map(|key| {
            let values = matches.get_many::<String>(&key.path)?;
            Some((key, values.cloned().collect()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(key: &'static Key) -> Arg {
    let mut arg = Arg::new(key.path.as_str()).long(key.flag.as_str()).help(help(key));
    if !key.table().is_empty() {
        arg = arg.help_heading(key.table());
    }
    if key.is_switch() {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
    } else if key.is_list() {
        arg.action(ArgAction::Append).value_name("VALUE")
    } else {
        arg.value_name("VALUE")
    }
}

/// The first sentence of the comment, and what is used if nothing is said.
fn help(key: &Key) -> String {
    let first = key.about.split_once(". ").map_or(key.about.as_str(), |(first, _)| first);
    let default = match &key.default {
        serde_json::Value::String(text) => format!("default: {text}; "),
        serde_json::Value::Number(number) => format!("default: {number}; "),
        serde_json::Value::Bool(true) => "default: true; ".to_owned(),
        _ if key.is_list() => "may be repeated; ".to_owned(),
        _ => String::new(),
    };
    format!("{} [{default}env: {}]", first.trim_end_matches('.'), key.variable)
}
