//! Folds events into partials, and partials into the figures of days. The folds are pure, commutative and associative,
//! so neither order nor grouping changes a figure. Knows neither the store nor claims: the caller selects the rows.

mod day;
mod fold;
mod partial;
mod sketch;
mod span;
mod zone;

pub use day::{DayFigures, DayFold, RangeTotals};
pub use fold::{Fold, Group};
pub use partial::{BadPartial, Partial};
pub use sketch::Sketch;
use sketch::SketchUnion;
pub use span::{Fingerprint, FoldStep, KeptSums, Member, SpanFold, SpanKey, SpanSize, SpanSum};
pub use zone::DayZone;
