//! Partials: a document each. Their fold: see [`super::day_sum`]. Days: see [`super::day`].

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, doc};
use uuid::Uuid;

use super::{
    MongoStore,
    day::{replace_figures, state},
    db::Find,
    document::{figures, number, parsed, partial, text},
};
use crate::{
    metric::{DayFigures, Group},
    model::{BatchId, Day, Instant},
    store::{DayState, MetricStore, Result, StoredDay},
};

/// Days read in one step to find those of an event type.
const DAYS_AT_ONCE: usize = 200;

#[async_trait]
impl MetricStore for MongoStore {
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()> {
        let batch = id.to_string();
        let put = |group: &Group| {
            let Group {
                day,
                event_type,
                partial,
            } = group;
            let mut fields = doc! {
                "day": day.to_string(), "batch": &batch, "token": token, "event_type": event_type,
            };
            fields.extend(figures(partial));
            let id = format!("{day}/{batch}/{token}/{event_type}");
            (doc! { "_id": id }, doc! { "$set": fields }, true)
        };
        let changes = groups.iter().map(put).collect();
        self.db.update_each("partials", changes).await
    }

    async fn partials(
        &self,
        id: BatchId,
        token: i64,
        after: Option<(Day, &str)>,
        limit: usize,
    ) -> Result<Vec<Group>> {
        let mut filter = doc! { "batch": id.to_string(), "token": token };
        if let Some((day, event_type)) = after {
            let day = day.to_string();
            let same = doc! { "day": &day, "event_type": { "$gt": event_type } };
            filter.insert("$or", vec![doc! { "day": { "$gt": day } }, same]);
        }
        let find = Find {
            filter,
            sort: doc! { "day": 1, "event_type": 1 },
            limit,
            ..Find::default()
        };
        let found = self.db.find("partials", find).await?;
        found.iter().map(group).collect()
    }

    async fn drop_stale_partials(&self, id: BatchId) -> Result<bool> {
        // One query reads fence and published token: between two reads the batch could publish.
        let find = Find {
            filter: doc! { "_id": id.to_string() },
            limit: 1,
            fields: doc! { "fence": 1, "published.token": 1 },
            ..Find::default()
        };
        let found = self.db.find("batches", find).await?;
        let Some(batch) = found.first() else {
            return Ok(false);
        };
        let fence = number(batch, "fence")?;
        let mut old = doc! { "batch": id.to_string() };
        let tokens = match published_token(batch)? {
            Some(published) => doc! { "$lt": fence, "$ne": published },
            None => doc! { "$lt": fence },
        };
        old.insert("token", tokens);
        if published_token(batch)?.is_none() {
            self.drop_sums(id).await?;
        }
        self.db.delete_some("partials", old, doc! {}).await
    }

    async fn mark_days(&self, days: &[Day]) -> Result<()> {
        let mark = |day: &Day| {
            let change = doc! {
                "$inc": { "wanted": 1_i64 },
                "$set": { "stale": true },
                "$setOnInsert": { "computed": 0_i64, "metrics": [] },
            };
            (doc! { "_id": day.to_string() }, change, true)
        };
        let changes = days.iter().map(mark).collect();
        self.db.update_each("days", changes).await
    }

    async fn day(&self, day: Day) -> Result<DayState> {
        let found = self.db.one("days", doc! { "_id": day.to_string() }).await?;
        found.as_ref().map_or(Ok(DayState::default()), state)
    }

    async fn fold_day(&self, day: Day) -> Result<DayFigures> {
        self.fold_published(day).await
    }

    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool> {
        // Checked before the update below too, to save writing sketches that no day would name.
        if self.day(day).await?.computed < computed {
            let version = Uuid::now_v7().to_string();
            self.put_types(day, &version, computed, figures).await?;
            let older = doc! { "_id": day.to_string(), "computed": { "$lt": computed } };
            let newer = replace_figures(computed, at, &version, figures);
            if self.db.update("days", older, newer).await? {
                self.clear_stale(day, computed).await?;
                self.drop_types(day, &version, computed).await?;
                return Ok(true);
            }
        }
        // The process that replaced the figures may have died before it cleared the flag.
        self.clear_stale(day, computed).await?;
        Ok(false)
    }

    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>> {
        let Some(event_type) = event_type else {
            let days = self.computed_days(from, to, limit).await?;
            return self.days_of_all_types(days).await;
        };
        let (mut from, mut of_type) = (from, Vec::new());
        loop {
            let page = self.computed_days(from, to, DAYS_AT_ONCE).await?;
            let last: Option<Day> = page.last().map(|day| parsed(day, "_id")).transpose()?;
            let is_last = page.len() < DAYS_AT_ONCE;
            of_type.extend(self.days_of_type(page, event_type).await?);
            match last {
                Some(last) if !is_last && of_type.len() < limit => from = Day(last.0 + 1),
                Some(_) | None => {
                    of_type.truncate(limit);
                    return Ok(of_type);
                }
            }
        }
    }

    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>> {
        let mut filter = doc! { "stale": true };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.to_string() });
        }
        let find = Find {
            filter,
            sort: doc! { "_id": 1 },
            limit,
            fields: doc! { "_id": 1 },
        };
        let found = self.db.find("days", find).await?;
        found.iter().map(|found| parsed(found, "_id")).collect()
    }
}

impl MongoStore {
    /// Returns the documents of days with events in a range, in order.
    async fn computed_days(&self, from: Day, to: Day, limit: usize) -> Result<Vec<Document>> {
        let range = doc! { "$gte": from.to_string(), "$lte": to.to_string() };
        let find = Find {
            filter: doc! { "_id": range, "data": { "$exists": true } },
            sort: doc! { "_id": 1 },
            limit,
            ..Find::default()
        };
        self.db.find("days", find).await
    }
}

fn group(found: &Document) -> Result<Group> {
    Ok(Group {
        day: parsed(found, "day")?,
        event_type: text(found, "event_type")?.into(),
        partial: partial(found)?,
    })
}

pub(super) fn published_token(batch: &Document) -> Result<Option<i64>> {
    match batch.get("published") {
        Some(Bson::Document(published)) => number(published, "token").map(Some),
        Some(_) | None => Ok(None),
    }
}
