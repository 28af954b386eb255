//! The figures of a day, merged from the partials of all batches, and totals of several days.

use std::collections::BTreeMap;

use super::{Partial, Sketch, SketchUnion};

/// The figures of one day over all published batches.
#[derive(Debug, Clone, Default)]
pub struct DayFigures {
    /// The figures by event type.
    pub types: BTreeMap<String, Partial>,
}

/// A fold of partials into the figures of one day.
#[derive(Debug, Default)]
pub struct DayFold {
    types: BTreeMap<String, (Partial, SketchUnion)>,
}

impl DayFold {
    /// Merges a partial.
    pub fn add(&mut self, event_type: &str, partial: &Partial) {
        if !self.types.contains_key(event_type) {
            self.types.insert(event_type.into(), Default::default());
        }
        if let Some((merged, users)) = self.types.get_mut(event_type) {
            merged.merge_counts(partial);
            users.add(&partial.users);
        }
    }

    /// Returns the figures.
    #[must_use]
    pub fn finish(self) -> DayFigures {
        let with_users = |(event_type, (mut partial, users)): (String, (Partial, SketchUnion))| {
            partial.users = users.into_sketch();
            (event_type, partial)
        };
        DayFigures {
            types: self.types.into_iter().map(with_users).collect(),
        }
    }
}

impl DayFigures {
    /// Returns the size of the stored form in bytes, about.
    #[must_use]
    pub fn estimated_size(&self) -> usize {
        let sizes = self.types.iter().map(|(event_type, partial)| {
            event_type.len() + 16 * partial.hours.len() + partial.users.estimated_size()
        });
        sizes.sum()
    }

    /// Returns the figures of all types together, without hours.
    #[must_use]
    pub fn total(&self) -> Partial {
        let mut all = Partial::default();
        for partial in self.types.values() {
            all.count += partial.count;
            all.last = all.last.max(partial.last);
        }
        all.first = self
            .types
            .values()
            .map(|p| p.first)
            .min()
            .unwrap_or_default();
        all.users = Sketch::union(self.types.values().map(|p| &p.users));
        all
    }
}

/// Totals of several days. A user of several days counts once.
#[derive(Debug, Clone, Default)]
pub struct RangeTotals {
    /// The number of events.
    pub events: u64,
    /// The users.
    pub users: Sketch,
    /// The last instant, in microseconds since 1970 (UTC).
    pub last: Option<i64>,
}

impl RangeTotals {
    /// Adds the figures of a day, or of some of its types.
    pub fn add(&mut self, partial: &Partial) {
        if partial.count > 0 {
            self.events += partial.count;
            self.users.merge(&partial.users);
            self.last = self.last.max(Some(partial.last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_several_types_or_days_count_once() {
        let mut login = Partial::default();
        login.add(10, b"ann");
        let mut logout = Partial::default();
        logout.add(20, b"ann");
        logout.add(30, b"bob");
        let mut day = DayFold::default();
        day.add("login", &login);
        day.add("logout", &logout);
        day.add("login", &login);
        let total = day.finish().total();
        assert_eq!(
            (total.count, total.users.estimate(), total.first, total.last),
            (4, 2, 10, 30)
        );
        let mut range = RangeTotals::default();
        range.add(&total);
        range.add(&login);
        assert_eq!(
            (range.events, range.users.estimate(), range.last),
            (5, 2, Some(30))
        );
    }
}
