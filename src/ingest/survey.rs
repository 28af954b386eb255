//! Statistics of the events of a file, gathered block by block, with the limits on event types and days.

use std::collections::HashSet;

use super::value_warnings::ValueWarnings;
use crate::model::{Columns, EventBlock, Identity, receipt::Warning};

/// Microseconds in a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Which limit is exceeded, and the line that exceeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// The events have more types than `EVENT_TYPES_LIMIT`.
    EventTypes {
        /// The physical line.
        line: u32,
    },
    /// The events have more days than `DAYS_LIMIT`.
    Days {
        /// The physical line.
        line: u32,
    },
}

/// Statistics of the events of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventStatistics {
    /// The first and the last instant, in microseconds since 1970 (UTC); both 0 without events.
    pub event_time: (i64, i64),
    /// The number of distinct event types.
    pub event_types: u32,
    /// The number of distinct days (UTC).
    pub days: u32,
    /// Whether any event has an identity.
    pub has_identities: bool,
    /// Warnings about stored values.
    pub warnings: Vec<Warning>,
}

/// Gathers the statistics of a batch while its events are written.
#[derive(Debug)]
pub struct Survey {
    types: HashSet<Box<[u8]>>,
    days: HashSet<i64>,
    max_types: usize,
    max_days: usize,
    last_day: i64,
    first_instant: i64,
    last_instant: i64,
    identity: Option<Identity>,
    has_identities: bool,
    /// Whether the column of ids may name something other than the event.
    has_doubtful_id: bool,
    values: ValueWarnings,
}

impl Survey {
    /// `now` is the present, in microseconds since 1970.
    pub(super) fn new(max_types: usize, max_days: usize, now: i64) -> Self {
        Self {
            types: HashSet::new(),
            days: HashSet::new(),
            max_types,
            max_days,
            last_day: i64::MIN,
            first_instant: i64::MAX,
            last_instant: i64::MIN,
            identity: None,
            has_identities: false,
            has_doubtful_id: false,
            values: ValueWarnings::new(now),
        }
    }

    /// Sets the identity rule, by which later blocks are searched for events with an identity.
    pub fn set_identity(&mut self, identity: Option<Identity>) {
        self.identity = identity;
    }

    /// Records that the column of ids may name something other than the event.
    pub(super) fn doubt_id(&mut self) {
        self.has_doubtful_id = true;
    }

    /// Adds a block.
    ///
    /// # Errors
    /// [`LimitExceeded`] at the first line that exceeds a limit.
    pub fn add(&mut self, block: &EventBlock) -> Result<(), LimitExceeded> {
        if let (Some(identity), false) = (&mut self.identity, self.has_identities) {
            self.has_identities = identity.any(block);
        }
        self.values.add(block, self.identity.as_mut());
        for (at, &instant) in block.timestamp.iter().enumerate() {
            let line = block.lines[at];
            self.first_instant = self.first_instant.min(instant);
            self.last_instant = self.last_instant.max(instant);
            let day = instant.div_euclid(DAY_MICROS);
            if day != self.last_day {
                self.last_day = day;
                if self.days.insert(day) && self.days.len() > self.max_days {
                    return Err(LimitExceeded::Days { line });
                }
            }
            let event_type = block.event_type.get(at);
            if !self.types.contains(event_type) {
                self.types.insert(event_type.into());
                if self.types.len() > self.max_types {
                    return Err(LimitExceeded::EventTypes { line });
                }
            }
        }
        Ok(())
    }

    /// Returns the statistics of all blocks.
    #[must_use]
    pub fn statistics(&self, columns: &Columns) -> EventStatistics {
        let is_empty = self.first_instant > self.last_instant;
        EventStatistics {
            event_time: if is_empty {
                (0, 0)
            } else {
                (self.first_instant, self.last_instant)
            },
            event_types: u32::try_from(self.types.len()).unwrap_or(u32::MAX),
            days: u32::try_from(self.days.len()).unwrap_or(u32::MAX),
            // Such a column is no id of events if its values say so.
            has_identities: self.has_identities
                && !(self.has_doubtful_id && self.values.has_repeated_ids()),
            warnings: self.values.warnings(columns, self.has_doubtful_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exceeded_at_the_first_line_beyond_them() {
        let mut block = EventBlock::default();
        for row in 0..4u32 {
            block.rows.push(row + 1);
            block.lines.push(row + 2);
            block.event_id.push(b"");
            block.user_id.push(b"u");
            block.event_type.push(&[b'a' + (row % 3) as u8]);
            block.timestamp.push(i64::from(row % 2) * DAY_MICROS);
        }
        assert_eq!(
            Survey::new(2, 9, i64::MAX / 2).add(&block),
            Err(LimitExceeded::EventTypes { line: 4 })
        );
        assert_eq!(
            Survey::new(9, 1, i64::MAX / 2).add(&block),
            Err(LimitExceeded::Days { line: 3 })
        );
        let mut survey = Survey::new(3, 2, i64::MAX / 2);
        assert_eq!(survey.add(&block), Ok(()));
        let expected = EventStatistics {
            event_time: (0, DAY_MICROS),
            event_types: 3,
            days: 2,
            ..EventStatistics::default()
        };
        assert_eq!(survey.statistics(&Columns::default()), expected);
    }
}
