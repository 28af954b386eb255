//! Events to partials to days: pure, associative folds, so that any order of any grouping gives the same figures.
//! Knows neither the store nor who counts an event; the caller says which rows are its own.

mod day;
mod fold;
mod partial;
mod sketch;
mod zone;

pub use day::{DayFigures, RangeTotals};
pub use fold::{Fold, Group};
pub use partial::{BadPartial, Partial};
pub use sketch::Sketch;
pub use zone::DayZone;
