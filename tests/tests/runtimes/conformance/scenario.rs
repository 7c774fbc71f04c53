//! The form of the scenarios in tests/scenarios, which tests/scenarios/README.md describes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::kit::spec::{Call, ClientSpec, ServerSpec};

/// A file of scenarios.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) scenarios: Vec<Scenario>,
}

/// One scenario: a server, and what happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// A sentence; its words joined by `_` are the name of the test.
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) server: ServerSpec,
    pub(crate) steps: Vec<Value>,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// The client that does it or sees it; empty for none. `server` is the server.
    pub(crate) on: String,
    /// The outcome is looked at by a later step, under this name.
    pub(crate) later: Option<String>,
    /// Nobody waits for the outcome.
    pub(crate) abandon: bool,
    /// What must come of it, as [`fits`] compares it.
    pub(crate) expect: Value,
    pub(crate) act: Act,
}

/// What is done in a step.
#[derive(Debug)]
pub(crate) enum Act {
    Call(Call),
    Scene(Scene),
}

/// What is done beside calls.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Scene {
    /// A client logs in.
    Connect {
        /// Through a line of its own, which can be cut.
        #[serde(default)]
        line: bool,
        #[serde(default)]
        with: ClientSpec,
    },
    /// The last handle of a client goes.
    Drop,
    /// The next that its handlers got.
    Gets,
    /// The next things that its handlers got, in any order.
    GetsAll,
    /// Something that its handlers got; what came before it is passed over.
    GetsPast,
    /// Nothing else has come.
    GetsNoMore,
    /// An event; others before it are passed over.
    Event,
    /// The very next event.
    NextEvent,
    /// What it shows now.
    Look,
    /// What it shows sooner or later.
    Until,
    /// How many messages its store keeps, sooner or later.
    Keeps,
    /// Lets its handlers go on that wait.
    Release,
    /// The outcome of an earlier step.
    End { of: String },
    /// Breaks its connection.
    Cut,
    /// Breaks its connection, and lets none through.
    Down,
    /// Lets connections through again.
    Up,
    /// Its connection carries nothing any more, and nobody is told.
    Hush,
    /// The same steps again and again; `{n}` in their texts is the number of the round, from 0.
    Repeat { times: usize, steps: Vec<Value> },
    /// The server stops, and one with the same settings listens at its address.
    Restart,
}

/// The words that are scenes; all others are calls.
const SCENES: &[&str] = &[
    "connect",
    "drop",
    "gets",
    "gets_all",
    "gets_past",
    "gets_no_more",
    "event",
    "next_event",
    "look",
    "until",
    "keeps",
    "release",
    "end",
    "cut",
    "down",
    "up",
    "hush",
    "repeat",
    "restart",
];

impl Step {
    pub(crate) fn read(step: &Value) -> Result<Self, String> {
        let Value::Object(mut fields) = step.clone() else { return Err("a step is an object".into()) };
        let on = text(&mut fields, "on")?.unwrap_or_default();
        let later = text(&mut fields, "as")?;
        let abandon = fields.remove("abandon") == Some(json!(true));
        let expected = fields.remove("expect");
        let word = fields.get("do").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (fields, is_scene) = (Value::Object(fields), SCENES.contains(&word.as_str()));
        let act = if is_scene {
            serde_json::from_value(fields).map(Act::Scene)
        } else {
            serde_json::from_value(fields).map(Act::Call)
        };
        let looks =
            ["gets", "gets_all", "gets_past", "event", "next_event", "look", "until", "keeps"].contains(&word.as_str());
        if looks && expected.is_none() {
            return Err(format!("`{word}` says what it expects"));
        }
        let expect = expected.unwrap_or(json!("ok"));
        Ok(Self { on, later, abandon, expect, act: act.map_err(|error| error.to_string())? })
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{name}` is a text, not {other}")),
    }
}

/// The same steps with `{n}` replaced in every text.
pub(crate) fn numbered(step: &Value, n: usize) -> Value {
    match step {
        Value::String(text) => json!(text.replace("{n}", &n.to_string())),
        Value::Array(items) => items.iter().map(|item| numbered(item, n)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), numbered(value, n))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Whether this is what was expected: an object may have more fields, a text that begins with `~` stands in what was
/// found, and everything else is equal.
pub(crate) fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| fits(expected, found))
        }
        (Value::String(expected), Value::String(found)) => {
            expected.strip_prefix('~').map_or(expected == found, |part| found.contains(part))
        }
        _ => expected == found,
    }
}
