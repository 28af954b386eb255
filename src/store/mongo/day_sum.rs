//! The fold of a day: the published runs on it, and the kept sums of spans of them.
//!
//! A sum is a document that names the members of its span by their fingerprint and says how many types it has, and a
//! document per type. A sum whose types are not all there, since another process replaces it, counts as not kept.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use uuid::Uuid;

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, count, figures, number, parsed, partial, text},
    metric::published_token,
};
use crate::{
    metric::{
        DayFigures, DayFold, Fingerprint, FoldStep, KeptSums, Member, SpanFold, SpanKey, SpanSum,
    },
    model::{BatchId, Day},
    store::{Result, StoreError},
};

/// Attempts to fold a day while batches publish.
const FOLD_ATTEMPTS: usize = 5;
/// Batches named in one query.
const MEMBERS_AT_ONCE: usize = 1_000;

impl MongoStore {
    /// Folds the published partials of a day, and keeps the sums of its spans.
    pub(super) async fn fold_published(&self, day: Day) -> Result<DayFigures> {
        let mut members = self.members(day).await?;
        let mut kept = self.kept_sums(day).await?;
        for _ in 0..FOLD_ATTEMPTS {
            let fold = match self.fold_members(day, &members, &kept).await {
                Ok(fold) => fold,
                Err(Unread::Sum(key)) => {
                    kept.remove(&key);
                    continue;
                }
                Err(Unread::Store(why)) => return Err(why),
            };
            let now = self.members(day).await?;
            if now == members {
                let (figures, sums) = fold.finish();
                for sum in sums {
                    self.keep(day, &sum).await?;
                }
                return Ok(figures);
            }
            // Partials of a batch that published during the fold may be incomplete.
            members = now;
        }
        // Each batch marks the day again after it publishes, so a later rollup corrects this fold.
        let fold = self.fold_members(day, &members, &KeptSums::new()).await;
        Ok(fold.map_err(Unread::into_store_error)?.finish().0)
    }

    async fn fold_members(
        &self,
        day: Day,
        members: &[Member],
        kept: &KeptSums,
    ) -> std::result::Result<SpanFold, Unread> {
        let mut fold = SpanFold::default();
        for step in self.db.options.span_size.steps(members, kept) {
            match step {
                FoldStep::Members(members) => {
                    for some in members.chunks(MEMBERS_AT_ONCE) {
                        self.add_partials(day, some, &mut fold).await?;
                    }
                }
                FoldStep::Sum(key, fingerprint) => {
                    let sum = self.sum(day, key, fingerprint).await?;
                    for (event_type, partial) in &sum.ok_or(Unread::Sum(key))?.types {
                        fold.add(event_type, partial);
                    }
                }
                FoldStep::Begin => fold.begin(),
                FoldStep::End(key, fingerprint) => fold.end(key, fingerprint),
            }
        }
        Ok(fold)
    }

    async fn add_partials(&self, day: Day, members: &[Member], fold: &mut SpanFold) -> Result<()> {
        let tokens: HashMap<String, i64> = (members
            .iter()
            .map(|member| (batch_of(member.batch), member.token)))
        .collect();
        let batches: Vec<_> = tokens.keys().collect();
        let find = Find {
            filter: doc! { "day": day.to_string(), "batch": { "$in": batches } },
            ..Find::default()
        };
        self.for_each("partials", find, |found| {
            if tokens.get(text(&found, "batch")?) == Some(&number(&found, "token")?) {
                fold.add(text(&found, "event_type")?, &partial(&found)?);
            }
            Ok(())
        })
        .await
    }

    /// Returns the published runs with events on a day, by batch.
    async fn members(&self, day: Day) -> Result<Vec<Member>> {
        let find = Find {
            filter: doc! { "published_days": day.to_string() },
            fields: doc! { "published.token": 1 },
            ..Find::default()
        };
        let mut members = Vec::new();
        self.for_each("batches", find, |batch| {
            if let Some(token) = published_token(&batch)? {
                let batch = parsed::<Uuid>(&batch, "_id")?.as_u128();
                members.push(Member { batch, token });
            }
            Ok(())
        })
        .await?;
        members.sort_unstable_by_key(|member| member.batch);
        Ok(members)
    }

    async fn kept_sums(&self, day: Day) -> Result<KeptSums> {
        let find = Find {
            filter: doc! { "day": day.to_string() },
            ..Find::default()
        };
        let mut kept = KeptSums::new();
        self.for_each("day_sums", find, |sum| {
            let level = number(&sum, "level")?;
            let key = SpanKey {
                level: u8::try_from(level).map_err(|why| corrupt("a sum", &why))?,
                last: parsed::<Uuid>(&sum, "last")?.as_u128(),
            };
            let fingerprint = Fingerprint::from_str_radix(text(&sum, "fingerprint")?, 16)
                .map_err(|why| corrupt("a sum", &why))?;
            kept.insert(key, fingerprint);
            Ok(())
        })
        .await?;
        Ok(kept)
    }

    /// Returns a kept sum, if all of it is there.
    async fn sum(
        &self,
        day: Day,
        key: SpanKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<DayFigures>> {
        let (id, fingerprint) = (sum_id(day, key), hex(fingerprint));
        let filter = doc! { "_id": &id, "fingerprint": &fingerprint };
        let Some(sum) = self.db.one("day_sums", filter).await? else {
            return Ok(None);
        };
        let find = Find {
            filter: doc! { "sum": &id, "fingerprint": &fingerprint },
            ..Find::default()
        };
        let (mut types, mut fold) = (0, DayFold::default());
        let read = self
            .for_each("day_sum_types", find, |found| {
                types += 1;
                fold.add(text(&found, "event_type")?, &partial(&found)?);
                Ok(())
            })
            .await;
        match read {
            // A sum can be made again, unlike the partials.
            Err(why @ StoreError::Corrupt { .. }) => {
                tracing::warn!(sum = id, error = %why, "the sum {id} could not be read, it is computed again");
                Ok(None)
            }
            Err(why) => Err(why),
            Ok(()) => Ok((number(&sum, "types")? == types).then(|| fold.finish())),
        }
    }

    /// Keeps a sum in the place of the one before.
    async fn keep(&self, day: Day, sum: &SpanSum) -> Result<()> {
        let (id, fingerprint) = (sum_id(day, sum.key), hex(sum.fingerprint));
        let last = batch_of(sum.key.last);
        let put = |(event_type, partial)| {
            let mut fields = doc! { "sum": &id, "last": &last, "fingerprint": &fingerprint, "event_type": event_type };
            fields.extend(figures(partial));
            let filter = doc! { "_id": format!("{id}/{fingerprint}/{event_type}") };
            (filter, doc! { "$set": fields }, true)
        };
        let types = sum.figures.types.iter().map(put).collect::<Vec<_>>();
        let fields = doc! {
            "day": day.to_string(), "level": i64::from(sum.key.level), "last": &last, "fingerprint": &fingerprint,
            "types": count(types.len() as u64),
        };
        if !types.is_empty() {
            self.db.update_each("day_sum_types", types).await?;
        }
        let named = (doc! { "_id": &id }, doc! { "$set": fields }, true);
        self.db.update_each("day_sums", vec![named]).await?;
        let replaced = doc! { "sum": &id, "fingerprint": { "$ne": &fingerprint } };
        self.drop_all("day_sum_types", replaced).await
    }

    /// Deletes the sums of spans that end after a batch which is no longer published.
    pub(super) async fn drop_sums(&self, id: BatchId) -> Result<()> {
        let of_batch = doc! { "last": id.to_string() };
        self.drop_all("day_sums", of_batch.clone()).await?;
        self.drop_all("day_sum_types", of_batch).await
    }

    async fn drop_all(&self, collection: &'static str, filter: Document) -> Result<()> {
        while (self.db.delete_some(collection, filter.clone(), doc! {})).await? {}
        Ok(())
    }

    /// Calls `visit` for each document of a query with many results.
    pub(super) async fn for_each(
        &self,
        collection: &'static str,
        find: Find,
        mut visit: impl FnMut(Document) -> Result<()> + Send,
    ) -> Result<()> {
        let mut cursor = self.db.cursor(collection, find).await?;
        loop {
            let next = async { cursor.try_next().await };
            let Some(raw) = self.db.run(collection, next).await? else {
                return Ok(());
            };
            visit(Document::try_from(raw).map_err(|why| corrupt(collection, &why))?)?;
        }
    }
}

/// Why a day could not be folded.
enum Unread {
    /// This sum is not kept, or not all of it.
    Sum(SpanKey),
    Store(StoreError),
}

impl From<StoreError> for Unread {
    fn from(why: StoreError) -> Self {
        Self::Store(why)
    }
}

impl Unread {
    fn into_store_error(self) -> StoreError {
        match self {
            Self::Store(why) => why,
            Self::Sum(key) => corrupt("a sum", &format!("{key:?} was not asked for")),
        }
    }
}

fn sum_id(day: Day, key: SpanKey) -> String {
    format!("{day}/{}/{}", key.level, batch_of(key.last))
}

/// Returns the id of the batch that a number stands for; batches are ordered by their ids as numbers.
fn batch_of(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

fn hex(fingerprint: Fingerprint) -> String {
    format!("{fingerprint:032x}")
}
