//! Makes structs of the layers, by serde. An error knows its key and where its value came from.

use std::collections::{BTreeMap, btree_map};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer as _, Unexpected, Visitor,
        value::{SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    Problem,
    layers::{Node, Value},
};

/// Reads one value.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'de>(What<'de>);

#[derive(Clone, Copy)]
enum What<'de> {
    Root(&'de BTreeMap<String, Node>),
    Value(&'de Value),
    Text(&'de str),
}

impl<'de> Reader<'de> {
    pub(super) const fn of_table(table: &'de BTreeMap<String, Node>) -> Self {
        Self(What::Root(table))
    }

    /// The text of a variable, flag, or element of a variable's list.
    fn untyped(self) -> Option<&'de str> {
        match self.0 {
            What::Text(text) => Some(text),
            What::Value(Value::Untyped(text)) => Some(text.as_str()),
            _ => None,
        }
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Some(text) = self.untyped() else { return self.deserialize_any(visitor) };
        if let Ok(number) = text.trim().parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.trim().parse::<i64>() {
            visitor.visit_i64(number)
        } else {
            Err(de::Error::invalid_type(Unexpected::Str(text), &visitor))
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> { self.number(visitor) })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value = match self.0 {
            What::Root(table) => return visitor.visit_map(Entries { rest: table.iter(), current: None }),
            What::Text(text) => return visitor.visit_borrowed_str(text),
            What::Value(value) => value,
        };
        match value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(*number),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) | Value::Untyped(text) => visitor.visit_borrowed_str(text),
            Value::List(list) => visitor.visit_seq(Elements(list.iter())),
            Value::Table(table) => visitor.visit_map(Entries { rest: table.iter(), current: None }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.untyped().map(str::trim) {
            Some("true" | "1" | "yes" | "on") => visitor.visit_bool(true),
            Some("false" | "0" | "no" | "off") => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.untyped().map(|text| text.trim().parse()) {
            Some(Ok(number)) => visitor.visit_f64(number),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Some(text) = self.untyped() else { return self.deserialize_any(visitor) };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        visitor.visit_seq(SeqDeserializer::new(parts.map(|part| Reader(What::Text(part)))))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        // A variable that is empty is as good as none.
        if self.untyped() == Some("") { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let text = match self.0 {
            What::Value(Value::Text(text) | Value::Untyped(text)) => text,
            What::Text(text) => text,
            _ => return Err(Problem::new(format!("one of these is needed here: {}", variants.join(", ")))),
        };
        let text: StrDeserializer<'_, Problem> = text.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> de::IntoDeserializer<'de, Problem> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The entries of a table.
struct Entries<'de> {
    rest: btree_map::Iter<'de, String, Node>,
    current: Option<(&'de str, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.current = Some((key, node));
        let read = seed.deserialize(Reader(What::Text(key)));
        read.map(Some).map_err(|problem| problem.under(key, Some(&node.origin)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((key, node)) = self.current.take() else {
            return Err(Problem::new("a value was asked for before its key"));
        };
        seed.deserialize(Reader(What::Value(&node.value))).map_err(|problem| problem.under(key, Some(&node.origin)))
    }
}

/// The elements of a list.
struct Elements<'de>(std::slice::Iter<'de, Node>);

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(What::Value(&node.value))).map(Some).map_err(|problem| problem.from(&node.origin))
    }
}
