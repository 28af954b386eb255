//! Proposes values of `columns=` for a file whose columns are not settled: of columns that may be a field, and of labels
//! similar to the known ones, as far as the values below them fit. Never assigns a column by itself.

use super::{
    HeaderContext,
    assign::Assignment,
    names::{Labels, join_words},
    normalize_label,
    source::{ColumnSource, FieldSource, Mapping, write_mapping},
};
use crate::{
    model::{Evidence, Proposal, ProposalScope},
    parse::{error::ParseError, options::HeaderOption, value::field::EventField},
};

/// Maximum values of `columns=` that are proposed.
const CHOICES: usize = 6;

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
            "type",
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
            "created",
            "timestamp",
            "datum",
            "buchungstag",
            "fecha",
            "hora",
            "data",
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
            "employee",
            "assignee",
            "person",
            "cliente",
            "usuario",
            "visitor",
            "kunde",
            "kundennummer",
            "benutzer",
            "nutzer",
        ],
    ),
];

/// What may be meant by each field that has no column.
type Choices = Vec<(EventField, Vec<ColumnSource>)>;

/// Returns the error of a header whose columns are not settled, with all that would settle them and their timestamps.
pub(super) fn unsettled(
    labels: &Labels,
    assignment: &Assignment,
    context: &HeaderContext<'_>,
) -> ParseError {
    let lacking = EventField::ALL.into_iter();
    let lacking = lacking.filter(|field| !field.is_optional() && assignment.lacks(*field));
    let (missing, ambiguous): (Vec<_>, Vec<_>) =
        lacking.partition(|field| assignment.is_missing(*field));
    let nearest = nearest_labels(labels, &missing, assignment, context);
    let source = |source: &FieldSource| named(labels, source);
    let mut choices: Choices = Vec::new();
    for (field, sources) in &assignment.ambiguous {
        if !field.is_optional() {
            choices.push((*field, sources.iter().map(source).collect()));
        }
    }
    for (field, at) in &nearest {
        choices.push((*field, vec![source(&FieldSource::Column(*at))]));
    }
    choices.sort_by_key(|(field, _)| *field as usize);
    if is_row(labels, &missing, context) {
        choices = positions(labels, assignment, context);
    }
    let columns = columns_options(context.mapped, &choices);
    let proposals = proposals(labels, assignment, &choices, &columns, context);
    if missing.is_empty() {
        let field = ambiguous.first().copied().unwrap_or(EventField::Timestamp);
        let sources = choices.into_iter().find(|(of, _)| *of == field);
        let sources = sources.map(|(_, sources)| sources).unwrap_or_default();
        return ParseError::AmbiguousColumns {
            field,
            labels: sources.iter().map(ToString::to_string).collect(),
            proposals,
        };
    }
    if is_row(labels, &missing, context) {
        return ParseError::NoHeader { proposals };
    }
    ParseError::MissingColumns {
        missing,
        separator: separator(labels),
        found: labels.labels.clone(),
        nearest: nearest
            .into_iter()
            .map(|(field, at)| (field, labels.labels[at].clone()))
            .collect(),
        proposed: columns
            .first()
            .cloned()
            .filter(|_| !choices.is_empty())
            .map(String::into_boxed_str),
        proposals: proposals.into(),
        tried: false,
        other_table: None,
    }
}

/// Returns the error of a header that is a row, though the fields have columns by their positions or values: the label of
/// the timestamps is a timestamp.
pub(super) fn row_as_header(
    labels: &Labels,
    assignment: &Assignment,
    context: &HeaderContext<'_>,
) -> Option<ParseError> {
    let Some(FieldSource::Column(at)) = assignment.fields[EventField::Timestamp as usize] else {
        return None;
    };
    let label = &labels.labels[at];
    let is_timestamp = context.header == HeaderOption::Detect
        && !label.bytes().all(|byte| byte.is_ascii_digit())
        && context
            .sample
            .timestamps
            .is_some_and(|timestamps| timestamps.read(label.as_bytes()).is_ok());
    is_timestamp.then(|| ParseError::NoHeader {
        proposals: vec![Proposal {
            option: "header".to_owned(),
            value: "none".to_owned(),
            scope: ProposalScope::File,
            proven: false,
            rows: context.sample.rows.len() as u64 + 1,
            evidence: None,
            reason: format!("`{label}` in the first row is a timestamp, not a label"),
        }],
    })
}

/// Whether what should be the header is a row: no field has a label, and one of the cells is a timestamp.
fn is_row(labels: &Labels, missing: &[EventField], context: &HeaderContext<'_>) -> bool {
    let is_timestamp = |label: &String| {
        let timestamps = context.sample.timestamps;
        timestamps.is_some_and(|timestamps| timestamps.read(label.as_bytes()).is_ok())
    };
    context.header == HeaderOption::Detect
        && missing.contains(&EventField::EventType)
        && missing.contains(&EventField::UserId)
        && labels.labels.len() > 1
        && labels.labels.iter().any(is_timestamp)
}

/// Returns what may be meant in a file without a header, by positions: the timestamps by their values, and the other
/// fields in each order.
fn positions(labels: &Labels, assignment: &Assignment, context: &HeaderContext<'_>) -> Choices {
    let position = |at: usize| ColumnSource::Named(format!("#{}", at + 1));
    let reads = |at: &usize| {
        let label = labels.labels[*at].as_bytes();
        let timestamps = context.sample.timestamps;
        let is_digits = label.iter().all(u8::is_ascii_digit);
        !is_digits && timestamps.is_some_and(|timestamps| timestamps.read(label).is_ok())
    };
    let Some(timestamp) = (0..labels.labels.len()).find(reads) else {
        return Vec::new();
    };
    let may_be = |field: EventField| {
        let columns = 0..labels.labels.len();
        let fitting = columns.filter(|at| {
            *at != timestamp && !assignment.is_assigned(*at) && context.sample.fits(&[*at], field)
        });
        fitting.take(3).collect::<Vec<_>>()
    };
    let (types, users) = (may_be(EventField::EventType), may_be(EventField::UserId));
    let mut choices = vec![
        (
            EventField::EventType,
            types.into_iter().map(position).collect::<Vec<_>>(),
        ),
        (EventField::Timestamp, vec![position(timestamp)]),
        (
            EventField::UserId,
            users.into_iter().map(position).collect(),
        ),
    ];
    choices.retain(|(_, sources)| !sources.is_empty());
    choices
}

/// Returns a source as `columns=` names it.
fn named(labels: &Labels, source: &FieldSource) -> ColumnSource {
    match source {
        FieldSource::Column(at) => ColumnSource::Named(labels.labels[*at].clone()),
        FieldSource::Joined(columns) => ColumnSource::Joined(
            columns
                .iter()
                .map(|at| labels.labels[*at].clone())
                .collect(),
        ),
        FieldSource::Constant(value) => ColumnSource::Constant(value.clone()),
    }
}

/// Returns the complete values of `columns=` that add one choice for each field to what is stated.
fn columns_options(mapped: &Mapping, choices: &Choices) -> Vec<String> {
    let mut all = vec![mapped.clone()];
    for (field, sources) in choices {
        let with = |mapping: &Mapping| {
            let unused = sources
                .iter()
                .filter(|source| mapping.iter().all(|(_, other)| other != *source));
            let extended =
                unused.map(|source| [&mapping[..], &[(*field, source.clone())]].concat());
            extended.collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).take(CHOICES).collect();
    }
    all.retain(|mapping| mapping.len() > mapped.len());
    all.iter().map(|mapping| write_mapping(mapping)).collect()
}

/// Returns the columns, and the formats that their timestamps need, as proposals.
fn proposals(
    labels: &Labels,
    assignment: &Assignment,
    choices: &Choices,
    columns: &[String],
    context: &HeaderContext<'_>,
) -> Vec<Proposal> {
    let column = |source: &ColumnSource| match source {
        ColumnSource::Named(label) => labels.find(label).map(|at| vec![at]),
        ColumnSource::Joined(parts) => parts.iter().map(|part| labels.find(part)).collect(),
        ColumnSource::Constant(_) => None,
    };
    let evidence =
        |source: &ColumnSource| column(source).and_then(|at| context.sample.evidence(&at));
    let shown = choices
        .first()
        .and_then(|(field, sources)| Some((field, sources.first()?)));
    let evidence: Option<Evidence> = shown.and_then(|(_, source)| evidence(source));
    let reason = match &evidence {
        Some(Evidence { line, value, .. }) => {
            let (field, source) = shown.expect("there is evidence of a choice");
            format!("line {line} has `{value}` in `{source}`, which may be the {field}")
        }
        None => "these labels may be meant".to_owned(),
    };
    let rows = context.sample.rows.len() as u64;
    let proposal = |option: &str, value: &str| Proposal {
        option: option.to_owned(),
        value: value.to_owned(),
        scope: ProposalScope::File,
        proven: false,
        rows,
        evidence: evidence.clone(),
        reason: reason.clone(),
    };
    let mut all: Vec<_> = columns
        .iter()
        .map(|value| proposal("columns", value))
        .collect();
    let by_position = |(_, sources): &(EventField, Vec<ColumnSource>)| {
        sources.iter().any(|source| column(source).is_none())
    };
    if context.header == HeaderOption::Detect && choices.iter().any(by_position) {
        all.insert(0, proposal("header", "none"));
    }
    let timestamps = choices
        .iter()
        .find(|(field, _)| *field == EventField::Timestamp);
    let columns = match (
        timestamps,
        &assignment.fields[EventField::Timestamp as usize],
    ) {
        (Some((_, sources)), _) => sources.first().and_then(column),
        (None, Some(FieldSource::Column(at))) => Some(vec![*at]),
        (None, Some(FieldSource::Joined(columns))) => Some(columns.clone()),
        (None, _) => None,
    };
    let formats = columns.map(|columns| {
        context
            .sample
            .format_proposals(&columns, context.timestamp_format)
    });
    all.extend(formats.unwrap_or_default());
    all
}

/// Returns the delimiter that a label seems to contain: another program saved the file again with a delimiter of its own.
/// A single label is a title, or a header with another delimiter, whatever it is similar to.
fn separator(labels: &Labels) -> Option<char> {
    let names = |label: &str, separator: char| {
        let parts: Vec<_> = label
            .split(separator)
            .map(|part| join_words(&normalize_label(part)))
            .collect();
        let is_name = |part: &String| {
            let mut names = EventField::ALL.into_iter().flat_map(EventField::names);
            names.any(|name| join_words(name) == *part)
        };
        parts.iter().filter(|part| is_name(part)).count()
    };
    match labels.labels.as_slice() {
        [only] => SEPARATORS.into_iter().find(|c| only.contains(*c)),
        several => SEPARATORS
            .into_iter()
            .find(|separator| several.iter().any(|label| names(label, *separator) >= 2)),
    }
}

/// Returns the most similar column for each field that has one. Better pairs win, since a column is proposed only once.
fn nearest_labels(
    labels: &Labels,
    fields: &[EventField],
    assignment: &Assignment,
    context: &HeaderContext<'_>,
) -> Vec<(EventField, usize)> {
    if labels.labels.len() < 2 {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for (order, field) in fields.iter().enumerate() {
        for (at, label) in labels.labels.iter().enumerate() {
            let is_free = !assignment.is_assigned(at) && !labels.appended.contains(&at);
            let similarity = if is_free {
                similarity(label, *field)
            } else {
                0.0
            };
            if similarity >= MIN_SIMILARITY && context.sample.fits(&[at], *field) {
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
    proposed
        .into_iter()
        .map(|(order, at)| (fields[order], at))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::header::{Header, source::parse_mapping, tests::context};

    fn missing(labels: &[&str], mapped: &[(EventField, ColumnSource)]) -> (String, Option<String>) {
        let mapped = mapped.to_vec();
        let error = Header::read(labels, &context(&mapped)).expect_err("missing");
        let text = error.to_string();
        let ParseError::MissingColumns { proposed, .. } = error else {
            panic!("{text}");
        };
        let proposed = proposed.map(String::from);
        if let Some(proposed) = &proposed {
            assert!(text.contains(&format!("`columns={proposed}`")), "{text}");
        }
        (text, proposed)
    }

    fn proposal(labels: &[&str]) -> Option<String> {
        missing(labels, &[]).1
    }

    #[test]
    fn common_labels_are_proposed_together() {
        for (labels, proposed) in [
            (["User ID", "When", "Action"], "timestamp:When"),
            (["Date/Time", "Event Name", "E-Mail"], "user_id:E-Mail"),
            (
                ["Kunde", "Datum", "Aktion"],
                "event_type:Aktion,timestamp:Datum,user_id:Kunde",
            ),
            (
                ["Customer Name", "Order date", "Kind of activity"],
                "event_type:Kind of activity,timestamp:Order date,user_id:Customer Name",
            ),
            (["eventTyp", "userId", "eventTime"], "event_type:eventTyp"),
        ] {
            assert_eq!(proposal(&labels).as_deref(), Some(proposed), "{labels:?}");
            let mapped = parse_mapping(proposed).expect("a mapping");
            let header = Header::read(&labels, &context(&mapped));
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
        assert_eq!(proposed, "user_id:Customer ID");
    }

    #[test]
    fn proposals_include_mapped_labels_and_omit_unmatched_fields() {
        let mapped = [(EventField::UserId, ColumnSource::Named("Wer".to_owned()))];
        let (text, proposed) = missing(&["Wer", "When", "Farbe"], &mapped);
        assert_eq!(proposed.as_deref(), Some("user_id:Wer,timestamp:When"));
        assert!(
            text.contains("and which column is the event_type"),
            "{text}"
        );
    }

    #[test]
    fn labels_with_commas_are_proposed() {
        let (text, proposed) = missing(&["event_type", "timestamp", "Customer, ID"], &[]);
        assert_eq!(proposed.as_deref(), Some("user_id:Customer, ID"));
        assert!(text.contains("`Customer, ID` is the user_id"), "{text}");
        assert_eq!(proposal(&["event_type", "timestamp", "colour"]), None);
    }

    #[test]
    fn single_labels_are_never_proposed() {
        for labels in [&["Events of November"], &["Kunde;Datum;Aktion"]] {
            assert_eq!(proposal(labels), None);
        }
    }
}
