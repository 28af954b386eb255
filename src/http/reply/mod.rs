//! The JSON bodies of successful replies: one type a noun, built from a reference to the model.
//!
//! Fields are serialized in the order of their declaration, which is part of the interface. Each constructor
//! destructures its model, so a field added there has to be published or left out explicitly.

mod batch;
mod dead_letter;
mod dry_run;
mod event;
mod health;
mod job;
mod metrics;
mod profile;
mod receipt;
mod rejection;
mod settings;
mod transfer;

use chrono::DateTime;
use serde::Serialize;

use crate::{model::Instant, query};

pub(super) use batch::{
    BatchDetailReply, BatchReply, BatchWithErrors, DeletionReply, ProcessReply, UploadReply,
};
pub(super) use dead_letter::{DeadLettersReply, RetryAllReply};
pub(super) use dry_run::DryRunReply;
pub(super) use event::EventListReply;
pub(super) use health::{
    DrainingReply, HealthReply, QueueReply, ReadyReply, ScratchReply, StoreReply,
};
pub(super) use job::JobReply;
pub(super) use metrics::MetricsReply;
pub(super) use profile::ProfileReply;
pub(super) use receipt::ProposalReply;
pub(super) use rejection::{RejectionPageReply, RejectionReply};
pub(super) use settings::SettingsReply;
pub(super) use transfer::TransferReply;

/// Largest number of rejections in a receipt.
pub(super) const RECEIPT_ERRORS: usize = 100;

/// One page of a list.
#[derive(Debug, Serialize)]
pub(super) struct PageReply<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> PageReply<T> {
    pub(super) fn new<'a, M>(page: &'a query::Page<M>, reply: impl Fn(&'a M) -> T) -> Self {
        let query::Page { data, next } = page;
        Self {
            data: data.iter().map(reply).collect(),
            next_cursor: next.as_ref().map(ToString::to_string),
        }
    }
}

/// Converts microseconds since 1970.
fn instant(micros: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(micros)
}
