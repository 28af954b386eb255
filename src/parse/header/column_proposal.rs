//! Which labels a file without its required columns may mean, and the `columns=` that would say so. Only proposals:
//! what is merely near is never taken.

use std::collections::HashMap;

use super::fold;
use crate::parse::{error::ParseError, value::field::Required};

/// How alike a label and a name must be for the label to be offered (Jaro-Winkler, 1 = equal).
const NEAREST: f64 = 0.85;
/// A label that is a common word for a column, and one that has such a word in it.
const IS_WORD: f64 = 0.97;
const HAS_WORD: f64 = 0.9;
/// What the word `id` adds to a label that has a word for the user: «Customer ID» rather than «Customer Name».
const HAS_ID: f64 = 0.01;
/// How many times as long as a name a label may be, or the other way round, to be like it.
const STRETCH: usize = 2;
/// Longest label that is compared: a longer one is like none, and costs nothing.
const COMPARED_BYTES: usize = 64;

/// Separators to look for in the label of a file that seems to have one column.
const SEPARATORS: [char; 4] = [';', '\t', '|', ','];

/// What people call the columns beside their names and aliases.
const WORDS: [(Required, &[&str]); 3] = [
    (
        Required::EventType,
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
        Required::Timestamp,
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
        Required::UserId,
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

/// The fault of a header that lacks columns; `mapped` is what `columns=` says, `chosen` what is known by name.
pub(crate) fn missing(
    labels: Vec<String>,
    mapped: &[(Required, String)],
    chosen: &HashMap<Required, usize>,
) -> ParseError {
    let missing: Vec<_> = Required::ALL
        .into_iter()
        .filter(|column| !column.is_optional() && !chosen.contains_key(column))
        .collect();
    // One label is a title line or that of another separator, whatever it is like.
    let separator = match labels.as_slice() {
        [only] => SEPARATORS.into_iter().find(|c| only.contains(*c)),
        _ => None,
    };
    let free: Vec<&str> = (0..labels.len())
        .filter(|at| labels.len() > 1 && !chosen.values().any(|taken| taken == at))
        .map(|at| labels[at].as_str())
        .collect();
    let nearest = nearest(&free, &missing);
    let proposed = proposed(mapped, &nearest);
    ParseError::MissingColumns {
        missing,
        found: labels,
        nearest,
        proposed,
        separator,
        tried: false,
    }
}

/// For each column the label most like it, the best pair first: no label is offered for two.
fn nearest(labels: &[&str], columns: &[Required]) -> Vec<(Required, String)> {
    let mut pairs = Vec::new();
    for (order, column) in columns.iter().enumerate() {
        for (at, label) in labels.iter().enumerate() {
            let likeness = likeness(label, *column);
            if likeness >= NEAREST {
                pairs.push((likeness, order, at));
            }
        }
    }
    // Stable: of two that are as like, the one further left.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut offered: Vec<(usize, usize)> = Vec::new();
    for (_, order, at) in pairs {
        if !offered.iter().any(|(o, a)| *o == order || *a == at) {
            offered.push((order, at));
        }
    }
    offered.sort_unstable();
    let named = |(order, at): (usize, usize)| (columns[order], labels[at].to_owned());
    offered.into_iter().map(named).collect()
}

/// The whole value of `columns=` with these columns in it; none if it would say nothing new.
fn proposed(mapped: &[(Required, String)], nearest: &[(Required, String)]) -> Option<String> {
    // A comma ends a label in `columns=`.
    let new = nearest.iter().filter(|(_, label)| !label.contains(','));
    let all = mapped.iter().chain(new);
    let all: Vec<_> = all.map(|(to, label)| format!("{to}:{label}")).collect();
    (all.len() > mapped.len()).then(|| all.join(","))
}

/// How much a label is like a column, by its names or by common words.
fn likeness(label: &str, column: Required) -> f64 {
    let label = fold(label);
    if label.len() > COMPARED_BYTES {
        return 0.0;
    }
    let plain = joined(&label);
    let near = |name: &&str| {
        let (a, b) = (label.chars().count(), name.len());
        a <= b * STRETCH && b <= a * STRETCH
    };
    let named = column.names().filter(near).map(|name| {
        if joined(name) == plain {
            1.0
        } else {
            strsim::jaro_winkler(&label, name)
        }
    });
    named.fold(by_word(&label, &plain, column), f64::max)
}

fn by_word(label: &str, plain: &str, column: Required) -> f64 {
    let words = WORDS.iter().find(|(of, _)| *of == column);
    let Some((_, words)) = words else { return 0.0 };
    if words.contains(&plain) {
        return IS_WORD;
    }
    let parts: Vec<_> = label.split(|c: char| !c.is_alphanumeric()).collect();
    if !parts.iter().any(|part| words.contains(part)) {
        return 0.0;
    }
    let id = column == Required::UserId && parts.contains(&"id");
    HAS_WORD + if id { HAS_ID } else { 0.0 }
}

/// Without what people put between words.
fn joined(label: &str) -> String {
    label.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use crate::parse::{Limits, header::Header};
    use super::*;

    fn fault(labels: &[&str], mapped: &[(Required, String)]) -> (String, Option<String>) {
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
        fault(labels, &[]).1
    }

    fn mapping(columns: &str) -> Vec<(Required, String)> {
        let part = |part: &str| {
            let (to, label) = part.split_once(':').expect("a pair");
            let column = Required::ALL.into_iter().find(|c| c.name() == to);
            (column.expect("a column"), label.to_owned())
        };
        columns.split(',').map(part).collect()
    }

    #[test]
    fn labels_as_people_write_them_are_proposed_at_once() {
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
            let settled = Header::read(&labels, &mapping(proposed), &Limits::default(), false);
            assert!(settled.is_ok(), "{settled:?}");
        }
    }

    #[test]
    fn a_label_goes_to_the_column_that_it_is_most_like() {
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
    fn what_was_mapped_stays_in_the_proposal_and_what_is_like_nothing_is_left_open() {
        let mapped = [(Required::UserId, "Wer".to_owned())];
        let (text, proposed) = fault(&["Wer", "When", "Farbe"], &mapped);
        assert_eq!(proposed.as_deref(), Some("user_id:Wer,timestamp:When"));
        assert!(
            text.contains("and which column is the event_type"),
            "{text}"
        );
    }

    #[test]
    fn what_columns_can_not_say_is_not_proposed() {
        let (text, proposed) = fault(&["event_type", "timestamp", "User, ID"], &[]);
        assert_eq!(proposed, None);
        assert!(
            text.contains("`User, ID` is the user_id, rename it"),
            "{text}"
        );
        assert!(!text.contains("columns="), "{text}");
        assert_eq!(proposal(&["event_type", "timestamp", "colour"]), None);
    }

    #[test]
    fn a_single_label_is_like_nothing() {
        for labels in [&["Events of November"], &["Kunde;Datum;Aktion"]] {
            assert_eq!(proposal(labels), None);
        }
    }
}
