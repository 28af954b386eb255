//! The receiver of parsed rows: a batch of the store, or the sample of a dry run.

use super::rejection_tally::RejectionTally;
use crate::{
    model::{Columns, EventBlock, Rejection},
    store::StoreError,
};

/// Receives the rows of a file in their order.
pub(super) trait EventSink {
    /// Declares the columns. Called once, before all rows.
    async fn open(&mut self, columns: &Columns) -> Result<(), StoreError>;
    /// Receives events.
    async fn append(&mut self, events: EventBlock) -> Result<(), StoreError>;
    /// Receives rejected rows.
    async fn reject(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError>;
    /// Makes the rows durable. Called once, after all rows.
    async fn finish(&mut self) -> Result<(), StoreError>;
    /// Returns the rejections received so far.
    fn rejections(&mut self) -> &mut RejectionTally;
}
