//! Spans: runs of neighbours among the batches of a day, whose sums a store keeps. A day of many batches is folded from the
//! sums of its spans and the partials of the few batches in none, so that the cost of a batch hardly grows with those
//! before it.
//!
//! A span ends after a batch that a hash of its number selects. So neither a new batch nor a removed one changes the spans
//! that it is not part of. The sum of a span is valid for exactly the members that its fingerprint names: a batch that is
//! removed or counted again makes another fingerprint, and so another sum.

use std::collections::HashMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{DayFigures, DayFold, Partial};

/// A published run with events on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// The number by which the store orders its batches.
    pub batch: u128,
    /// The job token of the run, under which its partials are stored.
    pub token: i64,
}

/// The place of a span in its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanKey {
    /// 1, or 2 for a span of spans.
    pub level: u8,
    /// The batch of its last member.
    pub last: u128,
}

/// A hash of the members of a span.
pub type Fingerprint = u128;

/// The kept sums of a day.
pub type KeptSums = HashMap<SpanKey, Fingerprint>;

/// A sum to be kept.
#[derive(Debug)]
pub struct SpanSum {
    /// The span.
    pub key: SpanKey,
    /// Its members.
    pub fingerprint: Fingerprint,
    /// Their figures.
    pub figures: DayFigures,
}

/// A step of the fold of a day. Steps are in the order of the batches.
#[derive(Debug, PartialEq, Eq)]
pub enum FoldStep<'a> {
    /// Adds the partials of these members.
    Members(&'a [Member]),
    /// Adds a kept sum.
    Sum(SpanKey, Fingerprint),
    /// Begins a span.
    Begin,
    /// Ends the last span that has begun; its sum is to be kept.
    End(SpanKey, Fingerprint),
}

/// How many batches a span has on average; a span of spans has as many spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanSize(u64);

impl SpanSize {
    /// For a store whose days may have many thousand batches.
    pub const NORMAL: Self = Self(32);
    /// For a simulation, whose days have a handful.
    pub const SMALL: Self = Self(2);

    /// Returns the steps that fold the members of a day, which are in the order of their batches.
    #[must_use]
    pub fn steps<'a>(self, members: &'a [Member], kept: &KeptSums) -> Vec<FoldStep<'a>> {
        let mut steps = Vec::new();
        self.add_steps(2, members, kept, &mut steps);
        steps
    }

    fn add_steps<'a>(
        self,
        level: u8,
        members: &'a [Member],
        kept: &KeptSums,
        steps: &mut Vec<FoldStep<'a>>,
    ) {
        let batches = self.0.pow(level.into());
        let is_last =
            |member: &Member| xxh3_64(&member.batch.to_le_bytes()).is_multiple_of(batches);
        for span in members.split_inclusive(is_last) {
            let last = span.last().filter(|last| is_last(last));
            // The sum of a few partials is not smaller than they are.
            let few = span.len() < self.0.div_ceil(2).max(2) as usize;
            let key = last.filter(|_| !few).map(|last| SpanKey {
                level,
                last: last.batch,
            });
            let fingerprint = key.map(|key| (key, fingerprint(span)));
            match fingerprint {
                Some((key, print)) if kept.get(&key) == Some(&print) => {
                    steps.push(FoldStep::Sum(key, print));
                }
                Some((key, print)) => {
                    steps.push(FoldStep::Begin);
                    self.add_parts(level, span, kept, steps);
                    steps.push(FoldStep::End(key, print));
                }
                None => self.add_parts(level, span, kept, steps),
            }
        }
    }

    fn add_parts<'a>(
        self,
        level: u8,
        span: &'a [Member],
        kept: &KeptSums,
        steps: &mut Vec<FoldStep<'a>>,
    ) {
        if level > 1 {
            self.add_steps(level - 1, span, kept, steps);
        } else {
            steps.push(FoldStep::Members(span));
        }
    }
}

fn fingerprint(members: &[Member]) -> Fingerprint {
    let mut bytes = Vec::with_capacity(members.len() * 24);
    for member in members {
        bytes.extend_from_slice(&member.batch.to_le_bytes());
        bytes.extend_from_slice(&member.token.to_le_bytes());
    }
    xxh3_128(&bytes)
}

/// Most bytes of new sums that one fold returns. The next fold of the day returns more.
const NEW_SUM_BYTES: usize = 32 << 20;

/// A fold along the steps of a day.
#[derive(Debug, Default)]
pub struct SpanFold {
    day: DayFold,
    /// The spans that have begun and not ended, the innermost last.
    open: Vec<DayFold>,
    sums: Vec<SpanSum>,
    sum_bytes: usize,
}

impl SpanFold {
    /// Adds a partial of a member, or of the kept sum of a span.
    pub fn add(&mut self, event_type: &str, partial: &Partial) {
        self.innermost().add(event_type, partial);
    }

    /// Begins a span.
    pub fn begin(&mut self) {
        self.open.push(DayFold::default());
    }

    /// Ends the innermost span.
    pub fn end(&mut self, key: SpanKey, fingerprint: Fingerprint) {
        let figures = self.open.pop().unwrap_or_default().finish();
        let outer = self.innermost();
        for (event_type, partial) in &figures.types {
            outer.add(event_type, partial);
        }
        self.sum_bytes += figures.estimated_size();
        if self.sum_bytes <= NEW_SUM_BYTES {
            self.sums.push(SpanSum {
                key,
                fingerprint,
                figures,
            });
        }
    }

    /// Returns the figures of the day, and the new sums.
    #[must_use]
    pub fn finish(self) -> (DayFigures, Vec<SpanSum>) {
        (self.day.finish(), self.sums)
    }

    fn innermost(&mut self) -> &mut DayFold {
        self.open.last_mut().unwrap_or(&mut self.day)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a store has of one day: a partial per member, and sums.
    #[derive(Default)]
    struct StoredDay {
        members: Vec<Member>,
        sums: HashMap<SpanKey, (Fingerprint, DayFigures)>,
    }

    fn partial(member: &Member) -> Partial {
        let mut partial = Partial::default();
        for n in 0..3 {
            let user = (member.batch * 2 + n) % 40 + u128::from(member.token.unsigned_abs()) * 100;
            partial.add((n as i64) * 3_600_000_000, &user.to_le_bytes());
        }
        partial
    }

    impl StoredDay {
        /// Folds the day and keeps the new sums. Returns how many partials were read.
        fn fold(&mut self, size: SpanSize) -> (DayFigures, usize) {
            let kept = self.sums.iter().map(|(key, sum)| (*key, sum.0)).collect();
            let (mut fold, mut read) = (SpanFold::default(), 0);
            for step in size.steps(&self.members, &kept) {
                match step {
                    FoldStep::Members(members) => {
                        read += members.len();
                        members.iter().for_each(|m| fold.add("a", &partial(m)));
                    }
                    FoldStep::Sum(key, _) => {
                        read += 1;
                        let figures = &self.sums[&key].1;
                        figures.types.iter().for_each(|(t, p)| fold.add(t, p));
                    }
                    FoldStep::Begin => fold.begin(),
                    FoldStep::End(key, fingerprint) => fold.end(key, fingerprint),
                }
            }
            let (figures, sums) = fold.finish();
            for sum in sums {
                self.sums.insert(sum.key, (sum.fingerprint, sum.figures));
            }
            (figures, read)
        }
    }

    fn same(one: &DayFigures, other: &DayFigures) -> bool {
        one.types.len() == other.types.len()
            && (one.types.iter().zip(&other.types))
                .all(|(a, b)| a.0 == b.0 && a.1.same_figures(b.1))
    }

    proptest! {
        #[test]
        fn sums_change_no_figure_however_batches_come_and_go(
            changes in prop::collection::vec((0u128..60, 0i64..3), 1..80),
        ) {
            let (mut members, mut day) = (BTreeMap::new(), StoredDay::default());
            for (batch, token) in changes {
                match token {
                    0 => drop(members.remove(&batch)),
                    token => drop(members.insert(batch, Member { batch, token })),
                }
                day.members = members.values().copied().collect();
                let (figures, _) = day.fold(SpanSize::SMALL);
                let mut plain = DayFold::default();
                day.members.iter().for_each(|m| plain.add("a", &partial(m)));
                prop_assert!(same(&figures, &plain.finish()));
            }
        }
    }

    #[test]
    fn a_batch_beside_ten_thousand_reads_a_few_parts() {
        let member = |batch| Member { batch, token: 1 };
        let mut day = StoredDay {
            members: (0..10_000).map(member).collect(),
            ..StoredDay::default()
        };
        assert_eq!(day.fold(SpanSize::NORMAL).1, 10_000);
        let mut most = 0;
        for batch in 10_000..10_100 {
            day.members.push(member(batch));
            most = most.max(day.fold(SpanSize::NORMAL).1);
        }
        assert!(most < 300, "{most} parts");
        // A batch in the middle of the day is taken back: its own spans are folded anew.
        day.members.remove(5_000);
        let (_, read) = day.fold(SpanSize::NORMAL);
        assert!(read < 600, "{read} parts");
    }

    #[test]
    fn a_fold_returns_a_bounded_number_of_bytes_in_new_sums() {
        let mut fold = SpanFold::default();
        let big = partial(&Member { batch: 1, token: 1 });
        for span in 0..5 {
            fold.begin();
            for n in 0..NEW_SUM_BYTES / 400 {
                fold.add(&n.to_string(), &big);
            }
            fold.end(
                SpanKey {
                    level: 1,
                    last: span,
                },
                0,
            );
        }
        let (figures, sums) = fold.finish();
        assert_eq!(figures.types.len(), NEW_SUM_BYTES / 400);
        assert!(sums.len() < 5, "{}", sums.len());
    }
}
