//! Proposes a value of `columns=` for a file that lacks required columns, from labels similar to the known ones.
//! Never assigns a column by itself.

use std::collections::HashMap;

use super::normalize_label;
use crate::parse::{error::ParseError, value::field::EventField};

/// Minimum similarity of a label to a name for the label to be proposed (Jaro-Winkler, 1 = equal).
const MIN_SIMILARITY: f64 = 0.85;
/// Similarity of a label that is a common word for a field, and of one that contains such a word.
const IS_COMMON_WORD: f64 = 0.97;
const CONTAINS_COMMON_WORD: f64 = 0.9;
/// Added for the word `id` in a label that contains a word for the user: `Customer ID` rather than `Customer Name`.
const ID_BONUS: f64 = 0.01;
/// Maximum ratio of the lengths of a label and a similar name.
const MAX_LENGTH_RATIO: usize = 2;
/// Maximum bytes of a label that is compared. Longer ones are similar to none, and cost no time.
const COMPARED_BYTES: usize = 64;

/// Delimiters that are searched in the label of a file with one column.
const SEPARATORS: [char; 4] = [';', '\t', '|', ','];

/// Common words for the fields, beside their names and aliases.
const COMMON_WORDS: [(EventField, &[&str]); 3] = [
    (
        EventField::EventType,
        &[
            "what",
            "kind",
            "activity",
            "action",
            "event",
            "events",
            "operation",
            "ereignis",
            "aktion",
            "typ",
            "art",
        ],
    ),
    (
        EventField::Timestamp,
        &[
            "when",
            "date",
            "time",
            "day",
            "datum",
            "zeit",
            "zeitpunkt",
            "zeitstempel",
            "uhrzeit",
        ],
    ),
    (
        EventField::UserId,
        &[
            "who",
            "customer",
            "account",
            "email",
            "mail",
            "user",
            "username",
            "member",
            "client",
            "person",
            "visitor",
            "kunde",
            "kundennummer",
            "benutzer",
            "nutzer",
        ],
    ),
];

/// Returns the error of a header that lacks columns. `mapped` are the labels that the upload maps, `assigned` the columns
/// of the fields that were found.
pub(super) fn missing_columns(
    labels: Vec<String>,
    mapped: &[(EventField, String)],
    assigned: &HashMap<EventField, usize>,
) -> ParseError {
    let missing: Vec<_> = EventField::ALL
        .into_iter()
        .filter(|column| !column.is_optional() && !assigned.contains_key(column))
        .collect();
    // A single label is a title, or a header with another delimiter, whatever it is similar to.
    let separator = match labels.as_slice() {
        [only] => SEPARATORS.into_iter().find(|c| only.contains(*c)),
        _ => None,
    };
    let free: Vec<&str> = (0..labels.len())
        .filter(|at| labels.len() > 1 && !assigned.values().any(|column| column == at))
        .map(|at| labels[at].as_str())
        .collect();
    let nearest = nearest_labels(&free, &missing);
    let proposed = columns_option(mapped, &nearest);
    ParseError::MissingColumns {
        missing,
        found: labels,
        nearest,
        proposed,
        separator,
        tried: false,
    }
}

/// Returns the most similar label for each field that has one. Better pairs win, since a label is proposed only once.
fn nearest_labels(labels: &[&str], fields: &[EventField]) -> Vec<(EventField, String)> {
    let mut pairs = Vec::new();
    for (order, field) in fields.iter().enumerate() {
        for (at, label) in labels.iter().enumerate() {
            let similarity = similarity(label, *field);
            if similarity >= MIN_SIMILARITY {
                pairs.push((similarity, order, at));
            }
        }
    }
    // The sort is stable: of two equally similar labels, the left one wins.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut proposed: Vec<(usize, usize)> = Vec::new();
    for (_, order, at) in pairs {
        if !proposed.iter().any(|(o, a)| *o == order || *a == at) {
            proposed.push((order, at));
        }
    }
    proposed.sort_unstable();
    let named = |(order, at): (usize, usize)| (fields[order], labels[at].to_owned());
    proposed.into_iter().map(named).collect()
}

/// Returns the complete value of `columns=` that adds the nearest labels to the mapped ones; none if there are none.
fn columns_option(
    mapped: &[(EventField, String)],
    nearest: &[(EventField, String)],
) -> Option<String> {
    // A comma ends a label in `columns=`.
    let new = nearest.iter().filter(|(_, label)| !label.contains(','));
    let all = mapped.iter().chain(new);
    let all: Vec<_> = all.map(|(to, label)| format!("{to}:{label}")).collect();
    (all.len() > mapped.len()).then(|| all.join(","))
}

/// Returns the similarity of a label to the names of a field and to the common words for it.
fn similarity(label: &str, field: EventField) -> f64 {
    let label = normalize_label(label);
    if label.len() > COMPARED_BYTES {
        return 0.0;
    }
    let joined = join_words(&label);
    let is_comparable = |name: &&str| {
        let (a, b) = (label.chars().count(), name.len());
        a <= b * MAX_LENGTH_RATIO && b <= a * MAX_LENGTH_RATIO
    };
    let by_name = field.names().filter(is_comparable).map(|name| {
        if join_words(name) == joined {
            1.0
        } else {
            strsim::jaro_winkler(&label, name)
        }
    });
    by_name.fold(similarity_to_words(&label, &joined, field), f64::max)
}

fn similarity_to_words(label: &str, joined: &str, field: EventField) -> f64 {
    let words = COMMON_WORDS.iter().find(|(of, _)| *of == field);
    let Some((_, words)) = words else { return 0.0 };
    if words.contains(&joined) {
        return IS_COMMON_WORD;
    }
    let parts: Vec<_> = label.split(|c: char| !c.is_alphanumeric()).collect();
    if !parts.iter().any(|part| words.contains(part)) {
        return 0.0;
    }
    let has_id = field == EventField::UserId && parts.contains(&"id");
    CONTAINS_COMMON_WORD + if has_id { ID_BONUS } else { 0.0 }
}

/// Returns a label without the characters between its words.
fn join_words(label: &str) -> String {
    label.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Limits, header::Header};

    fn missing(labels: &[&str], mapped: &[(EventField, String)]) -> (String, Option<String>) {
        let error = Header::read(labels, mapped, &Limits::default(), false).expect_err("missing");
        let text = error.to_string();
        let ParseError::MissingColumns { proposed, .. } = error else {
            panic!("{text}");
        };
        if let Some(proposed) = &proposed {
            assert!(text.contains(&format!("`columns={proposed}`")), "{text}");
        }
        (text, proposed)
    }

    fn proposal(labels: &[&str]) -> Option<String> {
        missing(labels, &[]).1
    }

    fn mapping(columns: &str) -> Vec<(EventField, String)> {
        let part = |part: &str| {
            let (to, label) = part.split_once(':').expect("a pair");
            let column = EventField::ALL.into_iter().find(|c| c.name() == to);
            (column.expect("a column"), label.to_owned())
        };
        columns.split(',').map(part).collect()
    }

    #[test]
    fn common_labels_are_proposed_together() {
        for (labels, proposed) in [
            (
                ["User ID", "When", "Action"],
                "timestamp:When,user_id:User ID",
            ),
            (
                ["Event-Type", "Created At", "User.Id"],
                "event_type:Event-Type,timestamp:Created At,user_id:User.Id",
            ),
            (
                ["Date/Time", "Event Name", "E-Mail"],
                "event_type:Event Name,timestamp:Date/Time,user_id:E-Mail",
            ),
            (
                ["Kunde", "Datum", "Aktion"],
                "event_type:Aktion,timestamp:Datum,user_id:Kunde",
            ),
            (
                ["Customer Name", "Order date", "Kind of activity"],
                "event_type:Kind of activity,timestamp:Order date,user_id:Customer Name",
            ),
            (
                ["eventType", "userId", "eventTime"],
                "event_type:eventType,timestamp:eventTime",
            ),
        ] {
            assert_eq!(proposal(&labels).as_deref(), Some(proposed), "{labels:?}");
            let header = Header::read(&labels, &mapping(proposed), &Limits::default(), false);
            assert!(header.is_ok(), "{header:?}");
        }
    }

    #[test]
    fn labels_are_proposed_for_the_most_similar_field() {
        let labels = [
            "Event Time",
            "Event",
            "Customer Name",
            "Customer ID",
            "Due date",
        ];
        let proposed = proposal(&labels).expect("near");
        assert_eq!(proposed, "timestamp:Event Time,user_id:Customer ID");
    }

    #[test]
    fn proposals_include_mapped_labels_and_omit_unmatched_fields() {
        let mapped = [(EventField::UserId, "Wer".to_owned())];
        let (text, proposed) = missing(&["Wer", "When", "Farbe"], &mapped);
        assert_eq!(proposed.as_deref(), Some("user_id:Wer,timestamp:When"));
        assert!(
            text.contains("and which column is the event_type"),
            "{text}"
        );
    }

    #[test]
    fn labels_that_the_option_cannot_express_are_not_proposed() {
        let (text, proposed) = missing(&["event_type", "timestamp", "User, ID"], &[]);
        assert_eq!(proposed, None);
        assert!(
            text.contains("`User, ID` is the user_id, rename it"),
            "{text}"
        );
        assert!(!text.contains("columns="), "{text}");
        assert_eq!(proposal(&["event_type", "timestamp", "colour"]), None);
    }

    #[test]
    fn single_labels_are_never_proposed() {
        for labels in [&["Events of November"], &["Kunde;Datum;Aktion"]] {
            assert_eq!(proposal(labels), None);
        }
    }
}
