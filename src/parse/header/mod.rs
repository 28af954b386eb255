//! From the labels of the first record to the meaning of each column.
//! Canonical names win over aliases, `columns=` over both; all other columns are attributes.

mod column_proposal;

use std::collections::{HashMap, HashSet};

use column_proposal::missing;

use super::{Limits, error::ParseError, value::field::Required};
use crate::export::errors_csv::{appended_positions, is_errors_csv, strip_apostrophe};

/// What the columns of a file mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The labels as in the file, without space around them, made up where blank.
    pub labels: Vec<String>,
    /// Column of the event type.
    pub event_type: usize,
    /// Column of the timestamp.
    pub timestamp: usize,
    /// Column of the user id.
    pub user_id: usize,
    /// Column of the event id, if there is one.
    pub event_id: Option<usize>,
    /// All other columns.
    pub attributes: Vec<usize>,
    /// Whether these are rows that went out to be mended.
    pub mended: bool,
    /// The columns that were added to them, which mean nothing; none if they are not.
    pub added: Vec<usize>,
    /// Whether there is no event id but a column `id`, which may be meant as one.
    pub hint_id_column: bool,
}

impl Header {
    /// Reads the cells of the header record; `mapped` is what `columns=` says, `mended` whether the sender says that the
    /// rows went out to be mended.
    pub(crate) fn read(
        cells: &[&str],
        mapped: &[(Required, String)],
        limits: &Limits,
        mended: bool,
    ) -> Result<Self, ParseError> {
        if cells.len() > limits.columns {
            return Err(ParseError::TooManyColumns {
                found: cells.len(),
                limit: limits.columns,
            });
        }
        let (labels, folded, added) = read_labels(cells, mended)?;
        let chosen = choose(&labels, &folded, mapped)?;
        let of = |column| chosen.get(&column).copied();
        let (Some(event_type), Some(timestamp), Some(user_id)) = (
            of(Required::EventType),
            of(Required::Timestamp),
            of(Required::UserId),
        ) else {
            return Err(missing(labels, mapped, &chosen));
        };
        let taken: HashSet<_> = chosen.values().copied().collect();
        let event_id = of(Required::EventId);
        Ok(Self {
            event_type,
            timestamp,
            user_id,
            event_id,
            attributes: (0..labels.len())
                .filter(|at| !taken.contains(at) && !added.contains(at))
                .collect(),
            mended: mended || !added.is_empty(),
            added,
            hint_id_column: event_id.is_none() && folded.iter().any(|label| label == "id"),
            labels,
        })
    }

    /// The column of a meaning.
    #[must_use]
    pub fn column(&self, column: Required) -> Option<usize> {
        match column {
            Required::EventType => Some(self.event_type),
            Required::Timestamp => Some(self.timestamp),
            Required::UserId => Some(self.user_id),
            Required::EventId => self.event_id,
        }
    }
}

impl Header {
    /// The column with a label; without such a label, the column that stands for a canonical name.
    ///
    /// # Errors
    /// [`ParseError::UnknownKeyColumn`] with the labels that there are.
    pub fn find(&self, label: &str) -> Result<usize, ParseError> {
        let wanted = fold(label);
        let labelled = self.labels.iter().position(|label| fold(label) == wanted);
        let labelled = labelled.filter(|at| !self.added.contains(at));
        let standing = || {
            let canonical = Required::ALL.into_iter().find(|c| c.name() == wanted);
            canonical.and_then(|column| self.column(column))
        };
        labelled
            .or_else(standing)
            .ok_or_else(|| ParseError::UnknownKeyColumn {
                label: label.into(),
                found: self.labels.clone(),
            })
    }
}

/// Longest label: it stands in every fault of its column, so a long one would swell every rejection.
const LABEL_BYTES: usize = 256;

/// A label as labels are compared: neither case nor space around it matters.
#[must_use]
pub fn fold(label: &str) -> String {
    clean(label).to_lowercase()
}

fn clean(label: &str) -> &str {
    label.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Labels, the same as they are compared, and which of them were added to rows that went out to be mended.
type Labels = (Vec<String>, Vec<String>, Vec<usize>);

fn read_labels(cells: &[&str], mended: bool) -> Result<Labels, ParseError> {
    let mut labels = name_all(cells)?;
    let mut folded: Vec<_> = labels.iter().map(|label| fold(label)).collect();
    let mut added = appended_positions(folded.iter().map(String::as_str));
    if mended || is_errors_csv(added.len()) {
        for label in labels.iter_mut().chain(&mut folded) {
            if strip_apostrophe(label.as_bytes()).len() < label.len() {
                label.remove(0);
            }
        }
    } else {
        added.clear();
    }
    Ok((labels, folded, added))
}

/// Every column's label: its own, or `column_N` where it is blank.
fn name_all(cells: &[&str]) -> Result<Vec<String>, ParseError> {
    if let Some(at) = cells
        .iter()
        .position(|cell| clean(cell).len() > LABEL_BYTES)
    {
        let (column, limit) = (at + 1, LABEL_BYTES);
        return Err(ParseError::LabelTooLong { column, limit });
    }
    let mut seen = HashSet::new();
    for cell in cells.iter().copied().filter(|cell| !clean(cell).is_empty()) {
        if !seen.insert(fold(cell)) {
            let label = clean(cell).to_owned();
            return Err(ParseError::DuplicateColumn { label });
        }
    }
    let name = |(at, cell): (usize, &&str)| {
        let label = clean(cell);
        if !label.is_empty() {
            return label.to_owned();
        }
        let mut made = format!("column_{}", at + 1);
        while !seen.insert(made.clone()) {
            made.push('_');
        }
        made
    };
    Ok(cells.iter().enumerate().map(name).collect())
}

fn choose(
    labels: &[String],
    folded: &[String],
    mapped: &[(Required, String)],
) -> Result<HashMap<Required, usize>, ParseError> {
    let at = |name: &str| folded.iter().position(|label| label == name);
    let mut chosen = HashMap::new();
    for (column, label) in mapped {
        let unknown = || ParseError::UnknownMappedColumn {
            column: *column,
            label: label.clone(),
            found: labels.to_vec(),
        };
        chosen.insert(*column, at(&fold(label)).ok_or_else(unknown)?);
    }
    for column in Required::ALL {
        if chosen.contains_key(&column) {
            continue;
        }
        let free = |at: &usize| !chosen.values().any(|taken| taken == at);
        if let Some(found) = column.names().filter_map(at).find(free) {
            chosen.insert(column, found);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[&str]) -> Result<Header, ParseError> {
        Header::read(labels, &[], &Limits::default(), false)
    }

    #[test]
    fn names_are_found_in_any_order_case_and_space() {
        let header = read(&["\u{feff} USER_ID", "plan", "Event_Type ", "TimeStamp"]).expect("ok");
        assert_eq!((header.event_type, header.timestamp), (2, 3));
        assert_eq!((header.user_id, header.event_id), (0, None));
        assert_eq!(header.attributes, [1]);
        assert_eq!(
            header.labels,
            ["USER_ID", "plan", "Event_Type", "TimeStamp"]
        );
    }

    #[test]
    fn every_alias_is_accepted() {
        for column in Required::ALL {
            for alias in column.aliases() {
                let labels =
                    Required::ALL.map(|other| if other == column { alias } else { other.name() });
                let header = read(&labels).expect("ok");
                assert_eq!(header.labels[header.column(column).expect("found")], *alias);
            }
        }
    }

    #[test]
    fn the_canonical_name_wins_then_the_order_of_the_aliases() {
        let header = read(&["actor", "uid", "ts", "timestamp", "action", "event"]).expect("ok");
        assert_eq!(header.user_id, 1);
        assert_eq!(header.timestamp, 3);
        assert_eq!(header.event_type, 5);
        assert_eq!(header.attributes, [0, 2, 4]);
    }

    #[test]
    fn a_mapping_wins_over_every_name() {
        let labels = ["user_id", "action", "timestamp", "type"];
        let mapped = [(Required::UserId, " Action".to_owned())];
        let header = Header::read(&labels, &mapped, &Limits::default(), false).expect("ok");
        assert_eq!((header.user_id, header.event_type), (1, 3));
        assert_eq!(header.attributes, [0]);
        let mapped = [(Required::EventId, "nope".to_owned())];
        let error = Header::read(&labels, &mapped, &Limits::default(), false).expect_err("unknown");
        assert!(
            matches!(error, ParseError::UnknownMappedColumn { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_column_is_found_by_its_label_and_by_the_name_it_stands_for() {
        let header = read(&["type", "time", "Uid", " Order  No", "user"]).expect("ok");
        let found = ["order  NO ", "user_id", "USER", "uid", "event_type"];
        let found = found.map(|label| header.find(label).expect("is there"));
        assert_eq!(found, [3, 4, 4, 2, 0]);
        let why = header.find("event_id").expect_err("no such column");
        assert!(why.to_string().contains("`Uid`"), "{why}");
    }

    #[test]
    fn a_name_taken_by_a_mapping_is_no_alias() {
        let mapped = [(Required::UserId, "action".to_owned())];
        let error = Header::read(&["action", "timestamp"], &mapped, &Limits::default(), false);
        assert!(
            matches!(error, Err(ParseError::MissingColumns { missing, .. }) if missing == [Required::EventType])
        );
    }

    #[test]
    fn the_same_name_twice_is_refused() {
        let error = read(&["event_type", "user_id", "timestamp", "Plan", "plan "]);
        assert_eq!(
            error,
            Err(ParseError::DuplicateColumn {
                label: "plan".to_owned()
            })
        );
    }

    #[test]
    fn blank_labels_get_names_of_their_own() {
        let header = read(&["type", "", "time", "user", "column_2", " "]).expect("ok");
        assert_eq!(
            header.labels,
            ["type", "column_2_", "time", "user", "column_2", "column_6"]
        );
    }

    #[test]
    fn a_missing_column_is_told_with_the_nearest_label() {
        let error = read(&["Event Type", "when", "user-id", "timestamp"]).expect_err("missing");
        let ParseError::MissingColumns {
            missing, nearest, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(missing, &[Required::EventType, Required::UserId]);
        let near = |column, label: &str| (column, label.to_owned());
        assert_eq!(
            nearest,
            &[
                near(Required::EventType, "Event Type"),
                near(Required::UserId, "user-id")
            ]
        );
        assert!(
            error
                .to_string()
                .contains("columns=event_type:Event Type,user_id:user-id"),
            "{error}"
        );
    }

    #[test]
    fn labels_that_are_merely_somewhat_alike_are_not_offered() {
        for labels in [
            &["candidate_id", "test_id", "event_type"][..],
            &["e1", "u1", "login", "2025-11-10"],
            &["Events of November"],
        ] {
            let error = read(labels).expect_err("missing").to_string();
            assert!(!error.contains("columns=timestamp:"), "{error}");
            assert!(!error.contains("columns=event_type:"), "{error}");
        }
    }

    #[test]
    fn a_first_line_that_names_nothing_is_told_to_be_no_header() {
        for labels in [&["e1", "u1", "login"][..], &["Events of November"]] {
            let error = read(labels).expect_err("missing").to_string();
            assert!(error.contains("the first line must name"), "{error}");
        }
    }

    #[test]
    fn another_separator_is_recognised() {
        let error = read(&["event_type;user_id;timestamp"]).expect_err("one column");
        assert!(
            error.to_string().contains("looks separated by `;`"),
            "{error}"
        );
    }

    #[test]
    fn an_id_column_is_hinted_at_only_without_an_event_id() {
        assert!(
            read(&["id", "type", "time", "user"])
                .expect("ok")
                .hint_id_column
        );
        assert!(
            !read(&["id", "uuid", "type", "time", "user"])
                .expect("ok")
                .hint_id_column
        );
    }

    #[test]
    fn columns_are_bounded() {
        let many: Vec<_> = (0..513).map(|_| "").collect();
        assert_eq!(
            read(&many),
            Err(ParseError::TooManyColumns {
                found: 513,
                limit: 512
            })
        );
    }
}
