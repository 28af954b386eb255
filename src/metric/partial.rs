//! The contribution of one batch to the figures of one day and event type, and its stored form.

use super::Sketch;

/// The bytes are not the stored form of a partial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored partial is damaged or of another version")]
pub struct BadPartial;

/// The figures of a set of events, which can be merged with those of others.
#[derive(Debug, Clone, Default)]
pub struct Partial {
    /// The number of events.
    pub count: u64,
    /// The first instant, in microseconds since 1970 (UTC); 0 without events.
    pub first: i64,
    /// The last instant; 0 without events.
    pub last: i64,
    /// The number of events by UTC hour since 1970, in ascending order.
    pub hours: Vec<(i32, u64)>,
    /// The users.
    pub users: Sketch,
}

/// Microseconds in an hour.
const HOUR: i64 = 3_600_000_000;

/// The first byte of the stored form.
const VERSION: u8 = 1;

impl Partial {
    /// Adds one event. An event without a user counts as an event only.
    #[inline]
    pub fn add(&mut self, at: i64, user: &[u8]) {
        if self.count == 0 {
            (self.first, self.last) = (at, at);
        }
        self.count += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.add_hour(hour_of(at), 1);
        if !user.is_empty() {
            self.users.add(user);
        }
    }

    /// Adds all events of another partial.
    pub fn merge(&mut self, other: &Self) {
        self.merge_counts(other);
        self.users.merge(&other.users);
    }

    /// Adds all events of another partial, but not their users.
    pub(super) fn merge_counts(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            (self.first, self.last) = (other.first, other.last);
        }
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for &(hour, count) in &other.hours {
            self.add_hour(hour, count);
        }
    }

    #[inline]
    fn add_hour(&mut self, hour: i32, count: u64) {
        // Most files are in order of time, so the last hour is the likely one.
        if let Some((last, n)) = self.hours.last_mut()
            && *last == hour
        {
            *n += count;
            return;
        }
        match self.hours.binary_search_by_key(&hour, |(h, _)| *h) {
            Ok(at) => self.hours[at].1 += count,
            Err(at) => self.hours.insert(at, (hour, count)),
        }
    }

    /// Returns whether both have the same figures, even if their sketches differ in their internal order.
    #[must_use]
    pub fn same_figures(&self, other: &Self) -> bool {
        (
            self.count,
            self.first,
            self.last,
            &self.hours,
            self.users.estimate(),
        ) == (
            other.count,
            other.first,
            other.last,
            &other.hours,
            other.users.estimate(),
        )
    }

    /// Returns the stored form: version, count, first, last, number of hours, (hour, count) pairs, sketch; little endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(
            &u32::try_from(self.hours.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        for (hour, count) in &self.hours {
            out.extend_from_slice(&hour.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
        out.extend_from_slice(&self.users.to_bytes());
        out
    }

    /// Parses the stored form.
    ///
    /// # Errors
    /// [`BadPartial`] for bytes of another version or shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPartial> {
        let mut rest = bytes.strip_prefix(&[VERSION]).ok_or(BadPartial)?;
        let count = u64::from_le_bytes(read(&mut rest)?);
        let first = i64::from_le_bytes(read(&mut rest)?);
        let last = i64::from_le_bytes(read(&mut rest)?);
        let hours = (0..u32::from_le_bytes(read(&mut rest)?))
            .map(|_| {
                Ok((
                    i32::from_le_bytes(read(&mut rest)?),
                    u64::from_le_bytes(read(&mut rest)?),
                ))
            })
            .collect::<Result<_, BadPartial>>()?;
        Ok(Self {
            count,
            first,
            last,
            hours,
            users: Sketch::from_bytes(rest).ok_or(BadPartial)?,
        })
    }
}

/// Returns the UTC hour of an instant, counted from 1970.
#[inline]
fn hour_of(at: i64) -> i32 {
    i32::try_from(at.div_euclid(HOUR)).unwrap_or(i32::MAX)
}

fn read<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadPartial> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(BadPartial)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(events: &[(i64, u8)]) -> Partial {
        let mut partial = Partial::default();
        events
            .iter()
            .for_each(|(at, user)| partial.add(*at, &[*user]));
        partial
    }

    proptest! {
        #[test]
        fn merged_partials_equal_a_fold_of_all_events(
            events in prop::collection::vec((0i64..400 * HOUR, any::<u8>()), 0..200), cut in 0usize..200, second in 0usize..200,
        ) {
            let cut = cut.min(events.len());
            let second = second.clamp(cut, events.len().max(cut)).min(events.len());
            let (a, b, c) = (of(&events[..cut]), of(&events[cut..second]), of(&events[second..]));
            let mut forth = a.clone();
            forth.merge(&b);
            forth.merge(&c);
            let mut back = c;
            back.merge(&a);
            back.merge(&b);
            let all = of(&events);
            prop_assert!(forth.same_figures(&all));
            prop_assert!(back.same_figures(&all));
            prop_assert!(Partial::from_bytes(&all.to_bytes()).is_ok_and(|p| p.same_figures(&all)));
        }

        #[test]
        fn damaged_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Partial::from_bytes(&bytes);
            prop_assert!(Partial::from_bytes(&of(&[(5, 1)]).to_bytes()[..20]).is_err());
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let mut bytes = of(&[(5, 1)]).to_bytes();
        bytes[0] = 2;
        assert_eq!(Partial::from_bytes(&bytes).err(), Some(BadPartial));
    }
}
