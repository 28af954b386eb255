//! What is seen of all events while they pass: the span of time, how many types and days.

use std::collections::HashSet;

use crate::model::EventBlock;

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
    with_id: bool,
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
            with_id: false,
        }
    }

    /// Looks at a block.
    ///
    /// # Errors
    /// [`TooMany`] with the line that passed a limit.
    pub(super) fn add(&mut self, block: &EventBlock) -> Result<(), TooMany> {
        self.with_id |= !block.event_id.bytes.is_empty();
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

    /// Whether any event has an id of its own.
    pub(super) fn with_id(&self) -> bool {
        self.with_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                survey.with_id()
            ),
            (3, 2, (0, DAY), false)
        );
    }
}
