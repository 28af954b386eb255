//! A day's figures out of the partials of every batch that adds to it, and totals over several days.

use std::collections::BTreeMap;

use super::{Partial, Sketch};

/// What all published batches come to on one day.
#[derive(Debug, Clone, Default)]
pub struct DayFigures {
    /// By event type.
    pub types: BTreeMap<String, Partial>,
}

impl DayFigures {
    /// Adds what one batch adds.
    pub fn add(&mut self, event_type: &str, partial: &Partial) {
        match self.types.get_mut(event_type) {
            Some(known) => known.merge(partial),
            None => {
                self.types.insert(event_type.into(), partial.clone());
            }
        }
    }

    /// All types as one: what the day comes to.
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

/// Totals over days: users are those of any day, not the sum of the days.
#[derive(Debug, Clone, Default)]
pub struct RangeTotals {
    /// Events.
    pub events: u64,
    /// Users.
    pub users: Sketch,
    /// The last instant, microseconds since 1970 (UTC).
    pub last: Option<i64>,
}

impl RangeTotals {
    /// Adds a day (or a part of one).
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
    fn a_user_of_two_types_or_two_days_is_one_user() {
        let mut login = Partial::default();
        login.add(10, b"ann");
        let mut logout = Partial::default();
        logout.add(20, b"ann");
        logout.add(30, b"bob");
        let mut day = DayFigures::default();
        day.add("login", &login);
        day.add("logout", &logout);
        day.add("login", &login);
        let total = day.total();
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
