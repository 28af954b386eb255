//! The verbs for what is kept of requests.

use async_trait::async_trait;
use bytes::Bytes;
use tallymill::{
    model::{
        BatchId, Instant, KeyEntry, Profile, ProfileName, RequestKey, Transfer, TransferId,
        TransferOutcome,
    },
    store::{
        AppendPartOutcome, IdempotencyStore, OpenTransferOutcome, ProfileStore, PutProfileOutcome,
        Result, TransferLimits, TransferPart, TransferStore,
    },
};

use super::Staged;

#[async_trait]
impl IdempotencyStore for Staged {
    async fn idempotency_entry(&self, key: RequestKey) -> Result<Option<KeyEntry>> {
        self.gate.pass("idempotency_entry").await?;
        self.inner.idempotency_entry(key).await
    }

    async fn add_idempotency_entry(&self, key: RequestKey, entry: &KeyEntry) -> Result<bool> {
        self.gate.pass("add_idempotency_entry").await?;
        self.inner.add_idempotency_entry(key, entry).await
    }

    async fn replace_idempotency_entry(
        &self,
        key: RequestKey,
        batch: BatchId,
        entry: &KeyEntry,
    ) -> Result<bool> {
        self.gate.pass("replace_idempotency_entry").await?;
        self.inner
            .replace_idempotency_entry(key, batch, entry)
            .await
    }

    async fn release_idempotency_key(&self, key: RequestKey, batch: BatchId) -> Result<()> {
        self.gate.pass("release_idempotency_key").await?;
        self.inner.release_idempotency_key(key, batch).await
    }

    async fn prune_idempotency_entries(&self, before: Instant) -> Result<bool> {
        // Not a step of any history: a gate here would only move the seeds that catch mutants.
        self.inner.prune_idempotency_entries(before).await
    }
}

#[async_trait]
impl ProfileStore for Staged {
    async fn put_profile(&self, profile: &Profile, most: u64) -> Result<PutProfileOutcome> {
        self.gate.pass("put_profile").await?;
        self.inner.put_profile(profile, most).await
    }

    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>> {
        self.gate.pass("profile").await?;
        self.inner.profile(name).await
    }

    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>> {
        self.gate.pass("profiles").await?;
        self.inner.profiles(after, limit).await
    }

    async fn drop_profile(&self, name: &ProfileName) -> Result<bool> {
        self.gate.pass("drop_profile").await?;
        self.inner.drop_profile(name).await
    }
}

#[async_trait]
impl TransferStore for Staged {
    async fn open_transfer(
        &self,
        transfer: &Transfer,
        room: TransferLimits,
    ) -> Result<OpenTransferOutcome> {
        self.gate.pass("open_transfer").await?;
        self.inner.open_transfer(transfer, room).await
    }

    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>> {
        self.gate.pass("transfer").await?;
        self.inner.transfer(id).await
    }

    async fn append_part(
        &self,
        id: TransferId,
        part: TransferPart,
        room: TransferLimits,
    ) -> Result<AppendPartOutcome> {
        self.gate.pass("append_part").await?;
        self.inner.append_part(id, part, room).await
    }

    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>> {
        self.gate.pass("part").await?;
        self.inner.part(id, start).await
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        self.gate.pass("settle_transfer").await?;
        self.inner.settle_transfer(id, outcome).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        self.gate.pass("drop_parts").await?;
        self.inner.drop_parts(id).await
    }

    async fn prune_transfers(&self, now: Instant) -> Result<bool> {
        // As with keys.
        self.inner.prune_transfers(now).await
    }
}
