//! Every key there is, with its flag, its variable and what it means.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use super::{Settings, problem::nearest};

/// Every key with its default and what it means; for people, and for the help of the flags.
pub(crate) const EXAMPLE: &str = include_str!("../../esf.example.toml");

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "ESF_";

/// Variables that are no settings of the server.
const OTHER_VARIABLES: [&str; 6] = ["ESF_CONFIG", "ESF_PASSWORD", "ESF_TOKEN", "ESF_TOKEN_FILE", "ESF_URL", "ESF_USER"];

/// Flags that are named otherwise than their key.
const SHORT: [(&str, &str); 4] = [
    ("log.level", "log"),
    ("admins", "admin"),
    ("allow_origins", "allow-origin"),
    ("trusted_proxies", "trusted-proxy"),
];

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its place in the file, such as `log.level`.
    pub(crate) path: String,
    /// The flag, without its dashes.
    pub(crate) flag: String,
    /// The environment variable.
    pub(crate) variable: String,
    /// `null` where there is none.
    pub(crate) default: Value,
    /// The comment above it in the example.
    pub(crate) about: String,
}

impl Key {
    pub(crate) fn is_list(&self) -> bool {
        self.default.is_array()
    }

    /// The table that it stands in; empty for none.
    pub(crate) fn table(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name within its table.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(self.path.as_str(), |(_, name)| name)
    }

    pub(crate) fn is_switch(&self) -> bool {
        self.default.is_boolean()
    }
}

/// All keys, in the order of the example.
pub(crate) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let lines = comments(EXAMPLE);
    let key = |(path, default): (String, Value)| {
        let short = SHORT.iter().find(|(long, _)| *long == path).map(|(_, short)| (*short).to_owned());
        Key {
            flag: short.unwrap_or_else(|| path.replace(['.', '_'], "-")),
            variable: format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase()),
            default,
            about: lines.iter().find(|(key, _)| *key == path).map(|(_, words)| words.clone()).unwrap_or_default(),
            path,
        }
    };
    let mut keys: Vec<Key> = leaves(&Settings::default()).into_iter().map(key).collect();
    keys.sort_by_key(|key| lines.iter().position(|(line, _)| *line == key.path));
    keys
});

/// The values of settings by their paths. What is unset is `null`.
pub(crate) fn leaves(settings: &Settings) -> BTreeMap<String, Value> {
    fn walk(value: Value, path: &str, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    walk(value, &path, into);
                }
            }
            leaf => {
                into.insert(path.to_owned(), leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    // Settings are plain values under texts: this cannot fail.
    walk(serde_json::to_value(settings).unwrap_or_default(), "", &mut leaves);
    leaves
}

/// The setting of a variable; `None` if it is something else's; what it may have meant if nobody knows it.
pub(super) fn of_variable(name: &str) -> Result<Option<&'static Key>, Option<&'static str>> {
    if OTHER_VARIABLES.contains(&name) {
        return Ok(None);
    }
    let found = KEYS.iter().find(|key| key.variable == name).map(Some);
    found.ok_or_else(|| nearest(name, KEYS.iter().map(|key| key.variable.as_str())))
}

/// The comment above each key of an example: `# words`, then `key = value`, or `#key = value` for one without a default.
fn comments(example: &str) -> Vec<(String, String)> {
    let (mut table, mut words, mut about) = (String::new(), Vec::new(), Vec::new());
    for line in example.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            words.push(comment);
            continue;
        }
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((name, _)) = line.split_once(" = ") {
            about.push((format!("{table}{name}"), words.join(" ")));
        }
        words.clear();
    }
    about
}
