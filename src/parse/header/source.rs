//! Where the values of an event field come from: what `columns=` states, and what it means in a file.

use std::fmt;

use serde_json::Value;

use crate::parse::value::field::EventField;

/// What `columns=` states for a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// A label; or `#N`, a position; or labels with `+` between them, if no label has this text.
    Named(String),
    /// Several columns, whose values are joined with a space.
    Joined(Vec<String>),
    /// The same value for every row.
    Constant(String),
}

impl fmt::Display for ColumnSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(label) => f.write_str(label),
            Self::Joined(labels) => f.write_str(&labels.join("+")),
            Self::Constant(value) => write!(f, "={value}"),
        }
    }
}

/// The stated sources, in the order of the option.
pub type Mapping = Vec<(EventField, ColumnSource)>;

/// Parses the value of `columns=`: a list such as `user_id:Customer,timestamp:Date+Time,event_type:="call"`, or an object
/// in JSON. Returns none if it is neither.
#[must_use]
pub fn parse_mapping(text: &str) -> Option<Mapping> {
    if text.trim_start().starts_with('{') {
        return parse_object(text);
    }
    let mut mapping = Mapping::new();
    for part in split_list(text) {
        let (field, source) = part.split_once(':')?;
        let source = source.trim();
        if source.is_empty() {
            return None;
        }
        mapping.push((field_of(field)?, list_source(source)));
    }
    Some(mapping)
}

fn field_of(name: &str) -> Option<EventField> {
    let mut fields = EventField::ALL.into_iter();
    fields.find(|field| field.name() == name.trim())
}

/// Splits a list at its commas. A comma that no name of a field follows is part of a label.
fn split_list(text: &str) -> Vec<&str> {
    let starts_part = |rest: &str| {
        let name = rest.split_once(':').map(|(name, _)| name);
        rest.trim().is_empty() || name.is_some_and(is_identifier)
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        if starts_part(&text[at + 1..]) {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Whether a text could be meant as the name of a field, so that a misspelt one is not read as part of a label.
fn is_identifier(text: &str) -> bool {
    let text = text.trim();
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_of_name)
}

fn list_source(source: &str) -> ColumnSource {
    let unquoted = |text: &str| {
        let inner = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        inner.unwrap_or(text).to_owned()
    };
    match source.strip_prefix('=') {
        Some(constant) => ColumnSource::Constant(unquoted(constant)),
        None => ColumnSource::Named(unquoted(source)),
    }
}

fn parse_object(text: &str) -> Option<Mapping> {
    let Value::Object(object) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let source = |value: Value| match value {
        Value::String(label) => Some(ColumnSource::Named(label)),
        Value::Number(position) => Some(ColumnSource::Named(format!("#{}", position.as_u64()?))),
        Value::Array(labels) => {
            let labels = labels
                .into_iter()
                .map(|label| Some(label.as_str()?.to_owned()));
            Some(ColumnSource::Joined(labels.collect::<Option<_>>()?))
        }
        Value::Object(constant) => {
            let value = constant.get("value").filter(|_| constant.len() == 1)?;
            Some(ColumnSource::Constant(value.as_str()?.to_owned()))
        }
        Value::Null | Value::Bool(_) => None,
    };
    let pairs = object
        .into_iter()
        .map(|(field, value)| Some((field_of(&field)?, source(value)?)));
    pairs.collect()
}

/// Writes a value of `columns=`: a list, or an object in JSON if a list can't express it.
pub(crate) fn write_mapping(mapping: &[(EventField, ColumnSource)]) -> String {
    let parts = mapping.iter().map(|(field, source)| match source {
        ColumnSource::Constant(value) => format!("{field}:=\"{value}\""),
        source => format!("{field}:{source}"),
    });
    let list = parts.collect::<Vec<_>>().join(",");
    let as_read = |source: &ColumnSource| match source {
        ColumnSource::Joined(_) => ColumnSource::Named(source.to_string()),
        source => source.clone(),
    };
    let expected: Mapping = mapping
        .iter()
        .map(|(field, source)| (*field, as_read(source)))
        .collect();
    if parse_mapping(&list).as_ref() == Some(&expected) {
        return list;
    }
    let value = |source: &ColumnSource| match source {
        ColumnSource::Named(label) => Value::from(label.as_str()),
        ColumnSource::Joined(labels) => Value::from(labels.as_slice()),
        ColumnSource::Constant(value) => serde_json::json!({ "value": value }),
    };
    let object: serde_json::Map<_, _> = mapping
        .iter()
        .map(|(field, source)| (field.name().to_owned(), value(source)))
        .collect();
    Value::Object(object).to_string()
}

/// Where the values of a field are in the rows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSource {
    /// In the column at this position, from 0.
    Column(usize),
    /// In several columns.
    Joined(Vec<usize>),
    /// In no column: every row has this value.
    Constant(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(label: &str) -> ColumnSource {
        ColumnSource::Named(label.to_owned())
    }

    #[test]
    fn lists_and_objects_are_parsed() {
        for (text, mapping) in [
            (
                "user_id:a, event_type: b c ,",
                vec![
                    (EventField::UserId, named("a")),
                    (EventField::EventType, named("b c")),
                ],
            ),
            (
                "user_id:User,event_type:Which event, and why?,timestamp:Date+Time",
                vec![
                    (EventField::UserId, named("User")),
                    (EventField::EventType, named("Which event, and why?")),
                    (EventField::Timestamp, named("Date+Time")),
                ],
            ),
            (
                "event_type:=\"attended, late\",user_id:\"a\"",
                vec![
                    (
                        EventField::EventType,
                        ColumnSource::Constant("attended, late".into()),
                    ),
                    (EventField::UserId, named("a")),
                ],
            ),
            (
                r#"{"user_id":"User, ID","timestamp":["Date","Time"],"event_type":{"value":"x"},"event_id":4}"#,
                vec![
                    (EventField::UserId, named("User, ID")),
                    (
                        EventField::Timestamp,
                        ColumnSource::Joined(vec!["Date".into(), "Time".into()]),
                    ),
                    (EventField::EventType, ColumnSource::Constant("x".into())),
                    (EventField::EventId, named("#4")),
                ],
            ),
        ] {
            let mut parsed = parse_mapping(text).expect("a mapping");
            let mut mapping = mapping;
            parsed.sort_by_key(|(field, _)| *field as usize);
            mapping.sort_by_key(|(field, _)| *field as usize);
            assert_eq!(parsed, mapping, "{text}");
        }
        for text in [
            "user_id",
            "user_id:",
            "nobody:a",
            "user_id:a,usr_id:b",
            "{",
            "{\"user_id\":null}",
        ] {
            assert_eq!(parse_mapping(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_parsed_again() {
        for label in [
            "a",
            "a, b",
            "a,user_id:b",
            "=x",
            "\"q\"",
            "#1",
            "a+b",
            " ",
            "ü",
        ] {
            let mapping = vec![
                (EventField::UserId, named(label)),
                (EventField::Timestamp, named("t")),
            ];
            let written = write_mapping(&mapping);
            let mut parsed = parse_mapping(&written).expect("is parsed");
            parsed.sort_by_key(|(field, _)| *field != EventField::UserId);
            assert_eq!(parsed, mapping, "{written}");
        }
    }
}
