//! The mapping between columns and the fields of an event's document, and the conversion of documents to blocks.

use std::collections::HashSet;

use mongodb::bson::{Document, RawDocument, doc, raw::CString};

use super::document::corrupt;
use crate::{
    model::{Columns, EventBlock},
    store::{Projection, Result},
};

/// Returns the field names of the attributes. MongoDB gives a dot or a leading dollar sign a meaning, so each is stored
/// as its full-width form; names that become equal get `_2`, `_3`, ….
pub(super) fn attribute_names(columns: &Columns) -> Result<Vec<CString>> {
    let mut used = HashSet::new();
    let name_of = |label: String| {
        let label = label.replace('.', "．");
        let label = match label.strip_prefix('$') {
            Some(rest) => format!("＄{rest}"),
            None => label,
        };
        let numbered = (2..).map(|n: u32| format!("{label}_{n}"));
        let free = std::iter::once(label.clone())
            .chain(numbered)
            .find(|name| used.insert(name.clone()));
        CString::try_from(free.expect("some number is free"))
            .map_err(|why| corrupt("the name of a column", &why))
    };
    columns
        .stored_attributes()
        .into_iter()
        .map(name_of)
        .collect()
}

/// The fields that a query reads.
pub(super) struct EventFields {
    projection: Projection,
    /// All attributes of the batch, and whether each is selected.
    attributes: Vec<(String, bool)>,
}

impl EventFields {
    pub(super) fn new(columns: &Columns, projection: &Projection) -> Result<Self> {
        let names = attribute_names(columns)?.into_iter().enumerate();
        let selected = |(at, name): (usize, CString)| {
            (name.as_str().to_owned(), projection.attributes.contains(at))
        };
        Ok(Self {
            attributes: names.map(selected).collect(),
            projection: projection.clone(),
        })
    }

    /// Returns the projection of a query.
    pub(super) fn projection(&self) -> Document {
        let mut fields = doc! { "_id": 0, "row": 1, "event_type": 1, "ts_us": 1 };
        for (name, selected) in [
            ("line", self.projection.line),
            ("event_id", self.projection.event_id),
            ("user_id", self.projection.user_id),
        ] {
            if selected {
                fields.insert(name, 1);
            }
        }
        if self.attributes.iter().all(|(_, selected)| *selected) {
            fields.insert("attributes", 1);
        } else {
            let selected = self.attributes.iter().filter(|(_, selected)| *selected);
            fields.extend(selected.map(|(name, _)| (format!("attributes.{name}"), 1.into())));
        }
        fields
    }

    /// Returns an empty block for these fields.
    pub(super) fn empty_block(&self) -> EventBlock {
        let any = self.attributes.iter().any(|(_, selected)| *selected);
        EventBlock::new(if any { self.attributes.len() } else { 0 })
    }

    /// Appends an event to a block.
    pub(super) fn push(&self, block: &mut EventBlock, event: &RawDocument) -> Result<()> {
        let damaged = |why: mongodb::bson::error::Error| corrupt("an event", &why);
        let number = |name: &str| {
            let number = event.get_i64(name).map_err(damaged)?;
            u32::try_from(number).map_err(|why| corrupt("an event", &why))
        };
        let text = |name: &str| event.get_str(name).map_err(damaged);
        let row = number("row")?;
        let timestamp = event.get_i64("ts_us").map_err(damaged)?;
        let event_type = text("event_type")?;
        if self.projection.line {
            block.lines.push(number("line")?);
        }
        if self.projection.user_id {
            block.user_id.push(text("user_id")?.as_bytes());
        }
        if self.projection.event_id {
            // An event without an id has no such field.
            let id = event.get_str("event_id").unwrap_or_default();
            block.event_id.push(id.as_bytes());
        }
        self.push_attributes(block, event)?;
        block.rows.push(row);
        block.timestamp.push(timestamp);
        block.event_type.push(event_type.as_bytes());
        Ok(())
    }

    /// Appends the attributes, which are stored in the order of their columns; an empty cell has no field.
    fn push_attributes(&self, block: &mut EventBlock, event: &RawDocument) -> Result<()> {
        if block.attributes.is_empty() {
            return Ok(());
        }
        let damaged = |why: &dyn std::fmt::Display| corrupt("an event", why);
        let mut next = 0;
        if let Ok(cells) = event.get_document("attributes") {
            for field in cells {
                let (name, value) = field.map_err(|why| damaged(&why))?;
                let ahead = &self.attributes[next..];
                let skipped = ahead.iter().position(|(own, _)| own == name.as_str());
                let at = next + skipped.ok_or_else(|| damaged(&"an attribute of no column"))?;
                self.push_empty(block, next..at);
                let value = value
                    .as_str()
                    .ok_or_else(|| damaged(&"an attribute is no text"))?;
                if self.attributes[at].1 {
                    block.attributes[at].push(value.as_bytes());
                }
                next = at + 1;
            }
        }
        self.push_empty(block, next..self.attributes.len());
        Ok(())
    }

    fn push_empty(&self, block: &mut EventBlock, indices: std::ops::Range<usize>) {
        for at in indices.filter(|at| self.attributes[*at].1) {
            block.attributes[at].push(b"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ColumnRole;

    #[test]
    fn names_with_a_meaning_to_mongodb_are_escaped() {
        let labels = ["a.b", "a．b", "$x", "", "plain"]
            .map(str::to_owned)
            .to_vec();
        let columns = Columns {
            roles: vec![ColumnRole::Attribute; labels.len()],
            labels,
            hint: None,
        };
        let names = attribute_names(&columns).expect("names");
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["a．b", "a．b_2", "＄x", "", "plain"]);
    }
}
