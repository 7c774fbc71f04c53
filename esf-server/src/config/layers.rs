//! File, environment and flags on top of each other, each value with where it came from.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Key, Problem, read::Reader};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File { path: Arc<str>, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value of some source. Variables and flags are texts, of which the reader makes what is needed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A text of which the type is not said.
    Untyped(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All that was set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers(BTreeMap<String, Node>);

impl Layers {
    /// What a file says.
    pub(super) fn of_file(path: &Path, text: &str) -> Result<Self, Problem> {
        let name: Arc<str> = path.display().to_string().into();
        let origin = |at: usize| Origin::File { path: name.clone(), line: line_of(text, at) };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map(|span| origin(span.start));
            Problem::about(
                "",
                at.as_ref(),
                format!(
                    "this is no TOML: {}; `esf config example` shows how it looks",
                    error.message().replace('\n', ", ")
                ),
            )
        })?;
        Ok(Self(table_of(table.into_inner(), &origin)?))
    }

    /// Sets a key by a variable; a list is separated by commas.
    pub(super) fn set_by_variable(&mut self, key: &Key, value: &OsString) -> Result<(), Problem> {
        let origin = Origin::Variable(key.variable.clone());
        let Some(text) = value.to_str() else {
            return Err(Problem::about(&key.path, Some(&origin), "its value is no UTF-8"));
        };
        self.set(&key.path, Node { value: Value::Untyped(text.to_owned()), origin });
        Ok(())
    }

    /// Sets a key by a flag, which for a list was given once for each element.
    pub(super) fn set_by_flag(&mut self, key: &Key, values: &[String]) {
        let node = |value| Node { value, origin: Origin::Flag(key.flag.clone()) };
        let mut texts = values.iter().map(|text| node(Value::Untyped(text.clone())));
        let value = if key.is_list() {
            node(Value::List(texts.collect()))
        } else {
            let Some(value) = texts.next_back() else { return };
            value
        };
        self.set(&key.path, value);
    }

    fn set(&mut self, path: &str, node: Node) {
        let (mut table, mut path) = (&mut self.0, path);
        while let Some((part, rest)) = path.split_once('.') {
            let origin = node.origin.clone();
            let inner =
                table.entry(part.to_owned()).or_insert_with(|| Node { value: Value::Table(BTreeMap::new()), origin });
            // The file had a value here, which was refused when the file was read.
            let Value::Table(inner) = &mut inner.value else { return };
            (table, path) = (inner, rest);
        }
        table.insert(path.to_owned(), node);
    }

    /// Where the value of a key came from; `None` if nobody set it.
    pub(crate) fn origin(&self, path: &str) -> Option<&Origin> {
        let (table, last) = match path.rsplit_once('.') {
            Some((tables, last)) => (self.table(tables)?, last),
            None => (&self.0, path),
        };
        table.get(last).map(|node| &node.origin)
    }

    fn table(&self, path: &str) -> Option<&BTreeMap<String, Node>> {
        path.split('.').try_fold(&self.0, |table, part| match &table.get(part)?.value {
            Value::Table(inner) => Some(inner),
            _ => None,
        })
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::of_table(&self.0)
    }
}

fn table_of(table: DeTable<'_>, origin: &impl Fn(usize) -> Origin) -> Result<BTreeMap<String, Node>, Problem> {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let at = origin(key.span().start);
        let key: String = std::borrow::Cow::into_owned(key.into_inner());
        let value = value_of(value, origin).map_err(|problem| problem.under(&key, Some(&at)))?;
        Ok((key, Node { value, origin: at }))
    };
    table.into_iter().map(entry).collect()
}

fn value_of(value: Spanned<DeValue<'_>>, origin: &impl Fn(usize) -> Origin) -> Result<Value, Problem> {
    Ok(match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| Problem::new("this number is too large"))?,
        ),
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| Problem::new("this number is too large"))?)
        }
        DeValue::Datetime(_) => return Err(Problem::new("a date is no setting; put a text in quotes")),
        DeValue::Array(list) => {
            let node = |element: Spanned<DeValue<'_>>| {
                let at = origin(element.span().start);
                Ok(Node { value: value_of(element, origin)?, origin: at })
            };
            Value::List(list.into_iter().map(node).collect::<Result<_, Problem>>()?)
        }
        DeValue::Table(table) => Value::Table(table_of(table, origin)?),
    })
}

/// The line, from 1, of the byte at `at`.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
