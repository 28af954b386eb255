//! The verbs for requests, and the time.

use async_trait::async_trait;
use bytes::Bytes;
use tallymill::{
    model::{
        BatchId, IdempotencyEntry, IdempotencyKey, Instant, Profile, ProfileName, Transfer,
        TransferId, TransferOutcome,
    },
    store::{
        AppendPartOutcome, ClockReading, IdempotencyStore, OpenTransferOutcome, ProfileStore,
        PutProfileOutcome, Result, TimeStore, TransferLimits, TransferPart, TransferStore,
    },
};

use super::InterceptedStore;

// No step of a history: only expiry depends on it.
#[async_trait]
impl TimeStore for InterceptedStore {
    async fn certain_time(&self, reading: ClockReading) -> Result<Instant> {
        self.inner.certain_time(reading).await
    }
}

#[async_trait]
impl IdempotencyStore for InterceptedStore {
    async fn idempotency_entry(&self, key: IdempotencyKey) -> Result<Option<IdempotencyEntry>> {
        self.gate.before_verb("idempotency_entry").await?;
        self.inner.idempotency_entry(key).await
    }

    async fn add_idempotency_entry(
        &self,
        key: IdempotencyKey,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        self.gate.before_verb("add_idempotency_entry").await?;
        self.inner.add_idempotency_entry(key, entry).await
    }

    async fn replace_idempotency_entry(
        &self,
        key: IdempotencyKey,
        batch: BatchId,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        self.gate.before_verb("replace_idempotency_entry").await?;
        self.inner
            .replace_idempotency_entry(key, batch, entry)
            .await
    }

    async fn release_idempotency_key(&self, key: IdempotencyKey, batch: BatchId) -> Result<()> {
        self.gate.before_verb("release_idempotency_key").await?;
        self.inner.release_idempotency_key(key, batch).await
    }

    async fn prune_idempotency_entries(&self, before: Instant) -> Result<bool> {
        // Not a step of any history: a gate here would only move the seeds that catch mutants.
        self.inner.prune_idempotency_entries(before).await
    }
}

#[async_trait]
impl ProfileStore for InterceptedStore {
    async fn put_profile(&self, profile: &Profile, most: u64) -> Result<PutProfileOutcome> {
        self.gate.before_verb("put_profile").await?;
        self.inner.put_profile(profile, most).await
    }

    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>> {
        self.gate.before_verb("profile").await?;
        self.inner.profile(name).await
    }

    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>> {
        self.gate.before_verb("profiles").await?;
        self.inner.profiles(after, limit).await
    }

    async fn drop_profile(&self, name: &ProfileName) -> Result<bool> {
        self.gate.before_verb("drop_profile").await?;
        self.inner.drop_profile(name).await
    }
}

#[async_trait]
impl TransferStore for InterceptedStore {
    async fn open_transfer(
        &self,
        transfer: &Transfer,
        room: TransferLimits,
    ) -> Result<OpenTransferOutcome> {
        self.gate.before_verb("open_transfer").await?;
        self.inner.open_transfer(transfer, room).await
    }

    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>> {
        self.gate.before_verb("transfer").await?;
        self.inner.transfer(id).await
    }

    async fn append_part(
        &self,
        id: TransferId,
        part: TransferPart,
        room: TransferLimits,
    ) -> Result<AppendPartOutcome> {
        self.gate.before_verb("append_part").await?;
        self.inner.append_part(id, part, room).await
    }

    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>> {
        self.gate.before_verb("part").await?;
        self.inner.part(id, start).await
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        self.gate.before_verb("settle_transfer").await?;
        self.inner.settle_transfer(id, outcome).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        self.gate.before_verb("drop_parts").await?;
        self.inner.drop_parts(id).await
    }

    async fn prune_transfers(&self, now: Instant) -> Result<bool> {
        // As with keys.
        self.inner.prune_transfers(now).await
    }
}
