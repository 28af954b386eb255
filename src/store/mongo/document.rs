//! Documents that a person can read, out of the model's types and back: names as they are, instants as dates.

use mongodb::bson::{
    Binary, Bson, DateTime, Document, deserialize_from_document, doc, serde_helpers::HumanReadable,
    serialize_to_document, spec::BinarySubtype,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{metric::Partial, model::Instant, store::Result};

pub(super) use crate::store::corrupt;

/// The document of `it`, without `_id`; the named fields of the top level hold instants.
pub(super) fn document<T: Serialize>(it: &T, instants: &[&str]) -> Result<Document> {
    let mut document =
        serialize_to_document(&HumanReadable(it)).map_err(|why| corrupt("a document", &why))?;
    for name in instants {
        if let Some(Bson::String(text)) = document.get(*name) {
            let at = text.parse::<Instant>();
            let at = at.map_err(|why| corrupt("an instant", &why))?;
            document.insert(*name, date(at));
        }
    }
    Ok(document)
}

/// The way back; fields that it does not know are ignored.
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
    let it: HumanReadable<T> =
        deserialize_from_document(document).map_err(|why| corrupt(what, &why))?;
    Ok(it.0)
}

/// Milliseconds are what the server keeps of an instant.
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

/// A partial out of its stored form under `data`.
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

/// A whole number, however the server keeps it.
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

/// A name in its text form.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    document: &Document,
    name: &str,
) -> Result<T> {
    let value = text(document, name)?;
    value
        .parse()
        .map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}

/// Counts of rows and users fit 63 bits.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What a partial comes to for a person, and the whole of it for a program.
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
