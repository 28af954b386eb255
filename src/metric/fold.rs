//! Folds blocks of events into one partial per day and event type.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::{DayZone, Partial};
use crate::model::{Day, EventBlock};

/// The partial of one day and event type.
#[derive(Debug, Clone)]
pub struct Group {
    /// The day, in the time zone of the store.
    pub day: Day,
    /// The event type.
    pub event_type: String,
    /// The partial.
    pub partial: Partial,
}

/// A fold in bounded memory. If there are too many groups it drops the latest days, and returns the day at which another
/// pass over the same events must start.
#[derive(Debug)]
pub struct Fold {
    zone: DayZone,
    first_day: Day,
    /// The first day that is left to the next pass.
    next_pass: Option<Day>,
    max_groups: usize,
    group_count: usize,
    types: HashMap<Box<[u8]>, usize>,
    last_type: usize,
    names: Vec<Box<[u8]>>,
    groups: BTreeMap<Day, Vec<Option<Box<Partial>>>>,
}

impl Fold {
    /// Creates a fold of the days from `first_day`, with at most `max_groups` groups, but at least one day.
    #[must_use]
    pub fn new(zone: DayZone, first_day: Day, max_groups: usize) -> Self {
        Self {
            zone,
            first_day,
            next_pass: None,
            max_groups,
            group_count: 0,
            types: HashMap::new(),
            last_type: 0,
            names: Vec::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Adds the events of a block in the rows for which `counts` returns true.
    pub fn add(&mut self, block: &EventBlock, counts: impl Fn(u32) -> bool) {
        let mut at = 0;
        while at < block.len() {
            // Rows of one day are adjacent in most files, so the day is determined once per run of rows.
            let day = self.zone.day(block.timestamp[at]);
            let end = (at + 1..block.len())
                .find(|next| self.zone.day(block.timestamp[*next]) != day)
                .unwrap_or(block.len());
            if day >= self.first_day && self.next_pass.is_none_or(|next| day < next) {
                self.add_day(day, block, at..end, &counts);
            }
            at = end;
        }
    }

    fn add_day(
        &mut self,
        day: Day,
        block: &EventBlock,
        rows: Range<usize>,
        counts: &impl Fn(u32) -> bool,
    ) {
        let mut types = self.groups.remove(&day).unwrap_or_default();
        for at in rows {
            if !counts(block.rows[at]) {
                continue;
            }
            let index = self.type_index(block.event_type.get(at));
            if types.len() <= index {
                types.resize_with(index + 1, || None);
            }
            let partial = types[index].get_or_insert_with(|| {
                self.group_count += 1;
                Box::default()
            });
            partial.add(block.timestamp[at], block.user_id.get(at));
        }
        if types.iter().any(Option::is_some) {
            self.groups.insert(day, types);
        }
        while self.group_count > self.max_groups && self.groups.len() > 1 {
            if let Some((last, types)) = self.groups.pop_last() {
                self.group_count -= types.iter().flatten().count();
                self.next_pass = Some(last);
            }
        }
    }

    #[inline]
    fn type_index(&mut self, name: &[u8]) -> usize {
        if self
            .names
            .get(self.last_type)
            .is_some_and(|last| **last == *name)
        {
            return self.last_type;
        }
        self.last_type = if let Some(index) = self.types.get(name) {
            *index
        } else {
            self.names.push(name.into());
            self.types.insert(name.into(), self.names.len() - 1);
            self.names.len() - 1
        };
        self.last_type
    }

    /// Returns the groups by day and type, and the first day of another pass, if one is needed.
    #[must_use]
    pub fn finish(self) -> (Vec<Group>, Option<Day>) {
        let Self {
            names,
            groups,
            next_pass,
            ..
        } = self;
        let mut all: Vec<Group> = groups
            .into_iter()
            .flat_map(|(day, types)| {
                types
                    .into_iter()
                    .enumerate()
                    .filter_map(move |(index, partial)| Some((day, index, partial?)))
            })
            .map(|(day, index, partial)| Group {
                day,
                event_type: String::from_utf8_lossy(&names[index]).into_owned(),
                partial: *partial,
            })
            .collect();
        all.sort_unstable_by(|a, b| (a.day, &a.event_type).cmp(&(b.day, &b.event_type)));
        (all, next_pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    fn block(events: &[(u32, &str, i64)]) -> EventBlock {
        let mut block = EventBlock::default();
        for (row, kind, at) in events {
            block.rows.push(*row);
            block.lines.push(row + 1);
            block.event_id.push(b"");
            block.user_id.push(b"u");
            block.event_type.push(kind.as_bytes());
            block.timestamp.push(*at);
        }
        block
    }

    #[test]
    fn counting_events_are_grouped_by_local_day_and_type() {
        let day = 86_400_000_000;
        let mut fold = Fold::new(DayZone::new(Tz::Asia__Kolkata), Day(0), 100);
        let late = day - 1;
        fold.add(
            &block(&[
                (1, "a", 0),
                (2, "b", late),
                (3, "a", 1),
                (4, "a", -day),
                (5, "b", late),
            ]),
            |row| row != 5,
        );
        let (groups, next) = fold.finish();
        let groups: Vec<_> = groups
            .into_iter()
            .map(|g| (g.day.0, g.event_type, g.partial.count))
            .collect();
        assert_eq!(
            (groups, next),
            (vec![(0, "a".into(), 2), (1, "b".into(), 1)], None)
        );
    }

    #[test]
    fn several_passes_return_the_groups_of_one_pass() {
        let day = 86_400_000_000;
        let events: Vec<_> = (0..300u32)
            .map(|row| {
                (
                    row,
                    ["a", "b", "c"][row as usize % 3],
                    i64::from(row * 7 % 40) * day,
                )
            })
            .collect();
        let pass = |from: Day, limit: usize| {
            let mut fold = Fold::new(DayZone::new(Tz::UTC), from, limit);
            for block in events.chunks(17).map(block) {
                fold.add(&block, |_| true);
            }
            fold.finish()
        };
        let figures = |groups: &[Group]| {
            groups
                .iter()
                .map(|g| (g.day, g.event_type.clone(), g.partial.count))
                .collect::<Vec<_>>()
        };
        let (whole, none) = pass(Day(0), 1_000);
        assert_eq!(none, None);
        let (mut parts, mut from, mut passes) = (Vec::new(), Some(Day(0)), 0);
        while let Some(start) = from {
            let (groups, next) = pass(start, 8);
            assert!(groups.len() <= 8);
            parts.extend(groups);
            (from, passes) = (next, passes + 1);
        }
        assert_eq!(figures(&parts), figures(&whole));
        assert!(passes > 5, "{passes}");
    }
}
