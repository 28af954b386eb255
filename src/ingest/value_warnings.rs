//! Warnings about the values of events that are stored as received, and are probably not meant so: ids that a spreadsheet
//! changed, times in the future or far apart, and ids that repeat with other content.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};

use crate::model::{
    ColumnRole, Columns, Content, EventBlock, Evidence, Identity, IdentityKey, Proposal,
    ProposalScope, TextColumn,
    receipt::{Sightings, Warning},
};

/// Rows among which repeated ids are searched.
const ROWS_COMPARED: usize = 100_000;
/// Microseconds by which clocks may differ.
const CLOCK_SKEW: i64 = 5 * 60 * 1_000_000;
/// Microseconds between events that are hardly of one file: 30 years.
const FAR_APART: i64 = 30 * 31_557_600 * 1_000_000;
/// Digits to which a spreadsheet is exact.
const EXACT_DIGITS: usize = 15;

/// The ids of one column that look changed.
#[derive(Debug, Default)]
struct IdWarnings {
    scientific: Sightings,
    formula: Sightings,
    hashes: Sightings,
    rounded: Sightings,
    decimal: Sightings,
    /// Whether an id is a whole number, so that `123.0` may be the same as another `123`.
    has_numbers: bool,
    /// Whether a long number does not end in zeros, so that none was rounded.
    has_exact: bool,
}

/// The ids that occur more than once with other content.
#[derive(Debug, Default)]
struct RepeatedIds {
    seen: HashMap<IdentityKey, Content>,
    compared: usize,
    repeats: Sightings,
}

/// Searches the events of a batch for values that are probably not meant so.
#[derive(Debug)]
pub(super) struct ValueWarnings {
    /// The present, in microseconds since 1970.
    now: i64,
    ids: [IdWarnings; 2],
    future: Sightings,
    earliest: Option<(i64, Evidence)>,
    latest: Option<(i64, Evidence)>,
    repeated: RepeatedIds,
}

impl ValueWarnings {
    pub(super) fn new(now: i64) -> Self {
        Self {
            now,
            ids: Default::default(),
            future: Sightings::default(),
            earliest: None,
            latest: None,
            repeated: RepeatedIds::default(),
        }
    }

    /// Adds a block.
    pub(super) fn add(&mut self, block: &EventBlock, identity: Option<&mut Identity>) {
        let columns = [&block.user_id, &block.event_id];
        for (warnings, column) in self.ids.iter_mut().zip(columns) {
            warnings.add(column, block);
        }
        self.add_times(block);
        if let Some(identity) = identity {
            self.repeated.add(block, identity);
        }
    }

    fn add_times(&mut self, block: &EventBlock) {
        let evidence = |at: usize| Evidence {
            row: block.rows[at],
            line: block.lines[at],
            value: written(block.timestamp[at]),
        };
        let times = || block.timestamp.iter().copied().enumerate();
        let first = times().min_by_key(|(_, instant)| *instant);
        let last = times().max_by_key(|(_, instant)| *instant);
        if let Some((at, instant)) = first
            && self
                .earliest
                .as_ref()
                .is_none_or(|(earliest, _)| instant < *earliest)
        {
            self.earliest = Some((instant, evidence(at)));
        }
        if let Some((at, instant)) = last
            && self
                .latest
                .as_ref()
                .is_none_or(|(latest, _)| instant > *latest)
        {
            self.latest = Some((instant, evidence(at)));
        }
        if last.is_some_and(|(_, instant)| instant > self.now + CLOCK_SKEW) {
            for (at, _) in times().filter(|(_, instant)| *instant > self.now + CLOCK_SKEW) {
                let value = written(block.timestamp[at]);
                self.future
                    .add(block.rows[at], block.lines[at], value.as_bytes());
            }
        }
    }

    /// Whether ids repeat with other content.
    pub(super) fn has_repeated_ids(&self) -> bool {
        self.repeated.repeats.rows > 0
    }

    /// Returns the warnings. `doubtful_id` means that the column of ids may name something other than the event.
    pub(super) fn warnings(&self, columns: &Columns, doubtful_id: bool) -> Vec<Warning> {
        let label = |role: ColumnRole| {
            let at = columns.roles.iter().position(|other| *other == role);
            at.map(|at| columns.labels[at].as_str())
        };
        let roles = [ColumnRole::UserId, ColumnRole::EventId];
        let ids = self
            .ids
            .iter()
            .zip(roles)
            .filter_map(|(ids, role)| Some(ids.warnings(label(role)?)));
        let mut all: Vec<_> = ids.flatten().collect();
        let column = label(ColumnRole::Timestamp).unwrap_or("timestamp");
        all.extend(self.future.warning("timestamp-in-future", column, |first| {
            format!(
                "line {} has the time {}, which lies in the future: correct the year, or state `time_zone` or \
                 `timestamp_format` if the times are read wrongly",
                first.line, first.value
            )
        }));
        all.extend(self.far_apart(column));
        all.extend(
            self.repeated
                .warning(label(ColumnRole::EventId), doubtful_id),
        );
        all
    }

    fn far_apart(&self, column: &str) -> Option<Warning> {
        let ((earliest, first), (latest, last)) = (self.earliest.as_ref()?, self.latest.as_ref()?);
        if latest - earliest <= FAR_APART {
            return None;
        }
        Some(Warning {
            code: "timestamps-far-apart".to_owned(),
            column: column.to_owned(),
            rows: 2,
            line: first.line,
            value: first.value.clone(),
            message: format!(
                "the events lie more than 30 years apart: line {} has {}, line {} has {}; correct the one that is wrong",
                first.line, first.value, last.line, last.value
            ),
            examples: vec![first.clone(), last.clone()],
            proposals: Vec::new(),
        })
    }
}

fn written(instant: i64) -> String {
    let at = DateTime::from_timestamp_micros(instant);
    at.map_or_else(String::new, |at| {
        at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    })
}

impl IdWarnings {
    fn add(&mut self, column: &TextColumn, block: &EventBlock) {
        let bytes = &column.bytes;
        // Most blocks have none of these, and one search of all their text proves it.
        let may_be = memchr::memchr3(b'+', b'=', b'#', bytes).is_some()
            || memchr::memmem::find(bytes, b".0").is_some()
            || memchr::memmem::find(bytes, b"000").is_some();
        if !self.has_numbers {
            self.has_numbers = (0..column.len().min(64)).any(|at| is_number(column.get(at)));
        }
        if !may_be {
            return;
        }
        for at in 0..block.len() {
            let value = column.get(at);
            let kind = match value {
                [b'=', b'"', .., b'"'] => &mut self.formula,
                [b'#', b'#', ..] if value.iter().all(|byte| *byte == b'#') => &mut self.hashes,
                [whole @ .., b'.', b'0'] if is_number(whole) => &mut self.decimal,
                value if is_scientific(value) => &mut self.scientific,
                value if value.len() > EXACT_DIGITS && is_number(value) => {
                    if value[EXACT_DIGITS..].iter().any(|digit| *digit != b'0') {
                        self.has_exact = true;
                        continue;
                    }
                    &mut self.rounded
                }
                value => {
                    self.has_numbers |= is_number(value);
                    continue;
                }
            };
            kind.add(block.rows[at], block.lines[at], value);
        }
    }

    fn warnings(&self, column: &str) -> Vec<Warning> {
        let kinds = [
            (
                Some(&self.scientific),
                "id-in-scientific-notation",
                "as a spreadsheet writes long numbers when it has rounded them: different ids may have become one; format \
                 the column as text and export it again",
            ),
            (
                Some(&self.rounded).filter(|_| !self.has_exact),
                "id-rounded",
                "all of whose digits beyond the fifteenth are zero, as a spreadsheet rounds long numbers: different ids may \
                 have become one; import the column as text and export it again",
            ),
            (
                Some(&self.decimal).filter(|_| self.has_numbers),
                "id-with-decimal",
                "beside whole numbers: the same id may be written in two ways, which count as two users or events; write \
                 the column as whole numbers (pandas: dtype Int64 or str)",
            ),
            (
                Some(&self.formula),
                "id-as-formula",
                "as exports protect ids from a spreadsheet: `=` and quotes are part of the id as stored; remove them, or \
                 export without them",
            ),
            (
                Some(&self.hashes),
                "id-not-exported",
                "as a spreadsheet shows a value in a column that is too narrow: the ids are lost; widen the column and \
                 export it again",
            ),
        ];
        let found = kinds.into_iter().filter_map(|(seen, code, why)| {
            seen?.warning(code, column, |first| {
                format!("`{column}` has ids such as `{}`, {why}", first.value)
            })
        });
        found.collect()
    }
}

impl RepeatedIds {
    fn add(&mut self, block: &EventBlock, identity: &mut Identity) {
        for at in 0..block.len() {
            if self.compared == ROWS_COMPARED {
                self.seen = HashMap::new();
                return;
            }
            self.compared += 1;
            let Some(key) = identity.key(block, at) else {
                continue;
            };
            let content = Content::of(
                block.event_type.get(at),
                block.timestamp[at],
                block.user_id.get(at),
            );
            if *self.seen.entry(key).or_insert(content) != content {
                let id = block.event_id.get(at);
                self.repeats.add(block.rows[at], block.lines[at], id);
            }
        }
    }

    fn warning(&self, column: Option<&str>, doubtful: bool) -> Option<Warning> {
        let name = column.unwrap_or("key");
        let mut warning = self.repeats.warning("ids-repeat", name, |first| {
            let id = if first.value.is_empty() {
                format!("the key of line {}", first.line)
            } else {
                format!("the id `{}` of line {}", first.value, first.line)
            };
            let outcome = if doubtful {
                "so that it is not taken as the id of the event: every row counts, unless `columns=event_id:uuid` says otherwise"
            } else {
                "and only its first row will count; if the rows are different events, delete this batch and send the file again"
            };
            format!("{id} was there before with another type, time or user, {outcome}")
        })?;
        let proposal = |option: &str, value: &str| Proposal {
            option: option.to_owned(),
            value: value.to_owned(),
            scope: ProposalScope::File,
            proven: false,
            rows: self.repeats.rows,
            evidence: self.repeats.first.first().cloned(),
            reason: warning.message.clone(),
        };
        warning.proposals = if doubtful {
            vec![proposal("columns", &format!("event_id:{name}"))]
        } else {
            vec![proposal("dedupe", "none"), proposal("dedupe", "row")]
        };
        Some(warning)
    }
}

fn is_number(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// Returns whether a value is a number such as `9.91E+15`.
fn is_scientific(value: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(value, b"E+") else {
        return false;
    };
    let (number, power) = (&value[..at], &value[at + 2..]);
    let is_decimal = |text: &[u8]| {
        text.iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
    };
    number.first().is_some_and(u8::is_ascii_digit)
        && is_decimal(number)
        && (1..=3).contains(&power.len())
        && power.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IdentityBy;

    #[test]
    fn only_numbers_with_an_exponent_are_scientific() {
        for (value, scientific) in [
            ("9.91E+15", true),
            ("1E+20", true),
            ("4,5E+07", true),
            ("1e5", false),
            ("E+5", false),
            ("userE+1", false),
            ("9.91E+", false),
            ("9E+1x", false),
        ] {
            assert_eq!(is_scientific(value.as_bytes()), scientific, "{value}");
        }
    }

    /// The codes of the warnings about events with these users, ids and instants.
    fn codes(events: &[(&str, &str, i64)], doubtful: bool) -> Vec<(String, u64)> {
        let labels = ["user_id", "uuid", "timestamp"].map(str::to_owned).to_vec();
        let roles = vec![
            ColumnRole::UserId,
            ColumnRole::EventId,
            ColumnRole::Timestamp,
        ];
        let columns = Columns {
            labels,
            roles,
            hint: None,
        };
        let mut block = EventBlock::default();
        for (at, (user, id, instant)) in (1..).zip(events) {
            block.rows.push(at);
            block.lines.push(at + 1);
            block.event_id.push(id.as_bytes());
            block.user_id.push(user.as_bytes());
            block.event_type.push(b"a");
            block.timestamp.push(*instant);
        }
        let mut identity = Identity::new("", &IdentityBy::EventId, &columns);
        let mut warnings = ValueWarnings::new(1_000_000_000);
        warnings.add(&block, identity.as_mut());
        let warnings = warnings.warnings(&columns, doubtful);
        assert!(
            warnings
                .iter()
                .all(|w| w.examples.len() as u64 <= w.rows && w.line > 1)
        );
        warnings.into_iter().map(|w| (w.code, w.rows)).collect()
    }

    #[test]
    fn each_kind_is_warned_of_and_no_other() {
        for (events, expected) in [
            (&[("u1", "e1", 0), ("u2", "e2", 0)][..], &[][..]),
            (
                &[("123", "", 0), ("123.0", "", 0)],
                &[("id-with-decimal", 1)],
            ),
            (&[("1.0", "", 0), ("v2.0", "", 0)], &[]),
            (&[("=\"0012\"", "", 0)], &[("id-as-formula", 1)]),
            (&[("####", "", 0)], &[("id-not-exported", 1)]),
            (&[("9.91E+15", "", 0)], &[("id-in-scientific-notation", 1)]),
            (&[("1234567890123450000", "", 0)], &[("id-rounded", 1)]),
            (
                &[
                    ("1234567890123450000", "", 0),
                    ("1234567890123450001", "", 0),
                ],
                &[],
            ),
            (&[("u", "", 2_000_000_000)], &[("timestamp-in-future", 1)]),
            (
                &[("u", "", -FAR_APART), ("u", "", 1)],
                &[("timestamps-far-apart", 2)],
            ),
            (
                &[("u", "g", 1), ("u", "g", 2), ("u", "g", 1)],
                &[("ids-repeat", 1)],
            ),
            (
                &[("u", "g", 1), ("u", "g", 1), ("u", "", 2), ("u", "", 3)],
                &[],
            ),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(code, rows)| ((*code).to_owned(), *rows))
                .collect();
            assert_eq!(codes(events, false), expected, "{events:?}");
        }
    }
}
