//! What is seen of all events while they pass: the span of time, how many types and days.

use std::collections::HashSet;

use crate::model::{
    ColumnRole, Columns, EventBlock, Fault, Identity, TextColumn, receipt::Warning,
};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMany {
    /// Event types; the line that passed it.
    Types(u32),
    /// Days; the line that passed it.
    Days(u32),
}

/// Looks at blocks as they pass.
#[derive(Debug)]
pub(super) struct Survey {
    types: HashSet<Box<[u8]>>,
    days: HashSet<i64>,
    max_types: usize,
    max_days: usize,
    last_day: i64,
    first: i64,
    last: i64,
    identity: Option<Identity>,
    with_identity: bool,
    /// Ids that a spreadsheet has made numbers of: of users, and of events.
    rounded: [Option<Rounded>; 2],
}

/// Ids that a spreadsheet has made numbers of.
#[derive(Debug)]
struct Rounded {
    rows: u64,
    line: u32,
    value: String,
}

impl Survey {
    /// With these limits.
    pub(super) fn new(max_types: usize, max_days: usize) -> Self {
        Self {
            types: HashSet::new(),
            days: HashSet::new(),
            max_types,
            max_days,
            last_day: i64::MIN,
            first: i64::MAX,
            last: i64::MIN,
            identity: None,
            with_identity: false,
            rounded: [None, None],
        }
    }

    /// Looks out for events with this identity from now on.
    pub(super) fn look_for(&mut self, identity: Option<Identity>) {
        self.identity = identity;
    }

    /// Looks at a block.
    ///
    /// # Errors
    /// [`TooMany`] with the line that passed a limit.
    pub(super) fn add(&mut self, block: &EventBlock) -> Result<(), TooMany> {
        if let (Some(identity), false) = (&mut self.identity, self.with_identity) {
            self.with_identity = identity.any(block);
        }
        for (seen, column) in self
            .rounded
            .iter_mut()
            .zip([&block.user_id, &block.event_id])
        {
            look_for_rounded(seen, column, &block.lines);
        }
        for (at, &instant) in block.timestamp.iter().enumerate() {
            self.first = self.first.min(instant);
            self.last = self.last.max(instant);
            let day = instant.div_euclid(DAY);
            if day != self.last_day {
                self.last_day = day;
                if self.days.insert(day) && self.days.len() > self.max_days {
                    return Err(TooMany::Days(block.lines[at]));
                }
            }
            let kind = block.event_type.get(at);
            if !self.types.contains(kind) {
                self.types.insert(kind.into());
                if self.types.len() > self.max_types {
                    return Err(TooMany::Types(block.lines[at]));
                }
            }
        }
        Ok(())
    }

    /// First and last instant; both 0 before any event.
    pub(super) fn span(&self) -> (i64, i64) {
        if self.first > self.last {
            (0, 0)
        } else {
            (self.first, self.last)
        }
    }

    /// Different event types.
    pub(super) fn types(&self) -> u32 {
        u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    /// Different days (UTC).
    pub(super) fn days(&self) -> u32 {
        u32::try_from(self.days.len()).unwrap_or(u32::MAX)
    }

    /// What looks damaged.
    pub(super) fn warnings(&self, columns: &Columns) -> Vec<Warning> {
        let roles = [ColumnRole::UserId, ColumnRole::EventId];
        let seen = self.rounded.iter().zip(roles);
        seen.filter_map(|(seen, role)| {
            let Rounded { rows, line, value } = seen.as_ref()?;
            let at = columns.roles.iter().position(|other| *other == role)?;
            let column = &columns.labels[at];
            Some(Warning {
                code: "id-in-scientific-notation".into(),
                column: column.clone(),
                rows: *rows,
                line: *line,
                value: value.clone(),
                message: format!(
                    "`{column}` has ids such as `{value}`, as a spreadsheet writes long numbers when it has rounded them: \
                     different ids may have become one; format the column as text and export it again"
                ),
            })
        })
        .collect()
    }

    /// Whether any event has the identity that was looked for.
    pub(super) fn with_identity(&self) -> bool {
        self.with_identity
    }
}

fn look_for_rounded(seen: &mut Option<Rounded>, column: &TextColumn, lines: &[u32]) {
    // Most blocks have none, which one look at all their text tells.
    if memchr::memmem::find(&column.bytes, b"E+").is_none() {
        return;
    }
    for (at, line) in lines.iter().enumerate() {
        let value = column.get(at);
        if is_scientific(value) {
            let first = || Rounded {
                rows: 0,
                line: *line,
                value: Fault::clip(value),
            };
            seen.get_or_insert_with(first).rows += 1;
        }
    }
}

/// A number such as `9.91E+15`.
fn is_scientific(value: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(value, b"E+") else {
        return false;
    };
    let (number, power) = (&value[..at], &value[at + 2..]);
    let digits = |text: &[u8]| {
        text.iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
    };
    number.first().is_some_and(u8::is_ascii_digit)
        && digits(number)
        && (1..=3).contains(&power.len())
        && power.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_spreadsheet_has_rounded_are_told_from_ids() {
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

    #[test]
    fn a_limit_is_passed_by_the_first_one_too_many() {
        let mut block = EventBlock::default();
        for row in 0..4u32 {
            block.rows.push(row + 1);
            block.lines.push(row + 2);
            block.event_id.push(b"");
            block.user_id.push(b"u");
            block.event_type.push(&[b'a' + (row % 3) as u8]);
            block.timestamp.push(i64::from(row % 2) * DAY);
        }
        assert_eq!(Survey::new(2, 9).add(&block), Err(TooMany::Types(4)));
        assert_eq!(Survey::new(9, 1).add(&block), Err(TooMany::Days(3)));
        let mut survey = Survey::new(3, 2);
        assert_eq!(survey.add(&block), Ok(()));
        assert_eq!(
            (
                survey.types(),
                survey.days(),
                survey.span(),
                survey.with_identity()
            ),
            (3, 2, (0, DAY), false)
        );
    }
}
