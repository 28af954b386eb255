//! Conversions between model types and readable documents: field names are those of serde, instants are BSON dates.

use mongodb::bson::{
    Binary, Bson, DateTime, Document, deserialize_from_document, doc, serde_helpers::HumanReadable,
    serialize_to_document, spec::BinarySubtype,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{metric::Partial, model::Instant, store::Result};

pub(super) use crate::store::corrupt;

/// Converts a value to a document without `_id`. `instants` names its top-level fields that are instants.
pub(super) fn document<T: Serialize>(value: &T, instants: &[&str]) -> Result<Document> {
    let mut document =
        serialize_to_document(&HumanReadable(value)).map_err(|why| corrupt("a document", &why))?;
    for name in instants {
        if let Some(Bson::String(text)) = document.get(*name) {
            let at = text.parse::<Instant>();
            let at = at.map_err(|why| corrupt("an instant", &why))?;
            document.insert(*name, date(at));
        }
    }
    Ok(document)
}

/// Converts a document to a value; ignores unknown fields.
pub(super) fn model<T: DeserializeOwned>(
    what: &str,
    mut document: Document,
    instants: &[&str],
) -> Result<T> {
    for name in instants {
        if let Some(Bson::DateTime(at)) = document.get(*name) {
            let at = instant(*at);
            document.insert(*name, at.to_rfc3339());
        }
    }
    let value: HumanReadable<T> =
        deserialize_from_document(document).map_err(|why| corrupt(what, &why))?;
    Ok(value.0)
}

/// Converts an instant to a date, which has milliseconds.
pub(super) fn date(at: Instant) -> DateTime {
    DateTime::from_millis(at.timestamp_millis())
}

pub(super) fn instant(at: DateTime) -> Instant {
    Instant::from_timestamp_millis(at.timestamp_millis()).unwrap_or_default()
}

pub(super) fn binary(bytes: Vec<u8>) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes,
    }
}

/// Reads the partial in the field `data`.
pub(super) fn partial(document: &Document) -> Result<Partial> {
    let what = "a partial";
    let bytes = document
        .get_binary_generic("data")
        .map_err(|why| corrupt(what, &why))?;
    Partial::from_bytes(bytes).map_err(|why| corrupt(what, &why))
}

pub(super) fn text<'a>(document: &'a Document, name: &str) -> Result<&'a str> {
    document
        .get_str(name)
        .map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}

/// Reads an integer of either width.
pub(super) fn number(document: &Document, name: &str) -> Result<i64> {
    match document.get(name) {
        Some(Bson::Int64(n)) => Ok(*n),
        Some(Bson::Int32(n)) => Ok(i64::from(*n)),
        other => Err(corrupt(
            &format!("`{name}` of a document"),
            &format!("{other:?} is no whole number"),
        )),
    }
}

/// Reads a text field and parses it.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    document: &Document,
    name: &str,
) -> Result<T> {
    let value = text(document, name)?;
    value
        .parse()
        .map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}

/// Converts a count of rows or users, which fits 63 bits.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Returns the fields of a partial: readable figures, and its encoded form as `data`.
pub(super) fn figures(partial: &Partial) -> Document {
    let at = |us: i64| mongodb::bson::DateTime::from_millis(us.div_euclid(1_000));
    doc! {
        "count": count(partial.count),
        "unique_users": count(partial.users.estimate()),
        "first": at(partial.first),
        "last": at(partial.last),
        "data": binary(partial.to_bytes()),
    }
}
