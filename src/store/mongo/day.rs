//! Days: a document each with its figures, and a document per event type with its sketch. A day names the version of
//! its sketches; a reader that misses one reads the day again.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document, doc};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, count, date, figures, instant, number, parsed, partial, text},
};
use crate::{
    metric::{DayFigures, Partial},
    model::{Day, Instant},
    store::{DayState, Result, StoreError, StoredDay, TypeFigure},
};

/// Attempts to read days that are being replaced.
const READ_ATTEMPTS: usize = 5;

impl MongoStore {
    /// Clears the `stale` flag of a day if its counters are equal.
    pub(super) async fn clear_stale(&self, day: Day, computed: i64) -> Result<()> {
        let met = doc! { "_id": day.to_string(), "wanted": computed, "computed": computed };
        let change = doc! { "$set": { "stale": false } };
        self.db.update("days", met, change).await.map(drop)
    }

    /// Stores the sketches of a day under a version.
    pub(super) async fn put_types(
        &self,
        day: Day,
        version: &str,
        computed: i64,
        all: &DayFigures,
    ) -> Result<()> {
        let put = |(event_type, partial): (&String, &Partial)| {
            let mut fields = doc! {
                "day": day.to_string(), "version": version, "computed": computed, "event_type": event_type,
            };
            fields.extend(figures(partial));
            let filter = doc! { "_id": type_id(&day.to_string(), version, event_type) };
            (filter, doc! { "$set": fields }, true)
        };
        let changes = all.types.iter().map(put).collect::<Vec<_>>();
        if changes.is_empty() {
            return Ok(());
        }
        self.db.update_each("day_types", changes).await
    }

    /// Deletes the sketches of versions that the day can no longer name.
    pub(super) async fn drop_types(&self, day: Day, version: &str, computed: i64) -> Result<()> {
        let old = doc! {
            "day": day.to_string(), "computed": { "$lte": computed }, "version": { "$ne": version },
        };
        while self
            .db
            .delete_some("day_types", old.clone(), doc! {})
            .await?
        {}
        Ok(())
    }

    /// Returns the figures of one event type on these days.
    pub(super) async fn days_of_type(
        &self,
        mut days: Vec<Document>,
        event_type: &str,
    ) -> Result<Vec<StoredDay>> {
        let mut stored_days = Vec::with_capacity(days.len());
        for _ in 0..READ_ATTEMPTS {
            let sketches = self.sketches(&days, event_type).await?;
            let mut missed = Vec::new();
            for day in &days {
                let id = type_id(text(day, "_id")?, text(day, "version")?, event_type);
                match sketches.get(&id) {
                    Some(partial) => stored_days.push(day_of_type(day, event_type, partial)?),
                    None => missed.push(day.get("_id").cloned().unwrap_or(Bson::Null)),
                }
            }
            if missed.is_empty() {
                stored_days.sort_unstable_by_key(|stored: &StoredDay| stored.day);
                return Ok(stored_days);
            }
            // Replaced between the two reads.
            let find = Find {
                filter: doc! { "_id": { "$in": missed }, "metrics.event_type": event_type },
                ..Find::default()
            };
            days = self.db.find("days", find).await?;
        }
        Err(StoreError::Unavailable {
            what: "reading days",
            source: "they keep being replaced".into(),
        })
    }

    /// Returns the sketches that these days name, by `_id`.
    async fn sketches(
        &self,
        days: &[Document],
        event_type: &str,
    ) -> Result<HashMap<String, Partial>> {
        let id = |day: &Document| {
            Ok(type_id(
                text(day, "_id")?,
                text(day, "version")?,
                event_type,
            ))
        };
        let ids = days.iter().map(id).collect::<Result<Vec<_>>>()?;
        let mut sketches = HashMap::new();
        for chunk in ids.chunks(self.db.options.bulk_documents) {
            let find = Find {
                filter: doc! { "_id": { "$in": chunk } },
                ..Find::default()
            };
            for found in self.db.find("day_types", find).await? {
                sketches.insert(text(&found, "_id")?.to_owned(), partial(&found)?);
            }
        }
        Ok(sketches)
    }
}

fn type_id(day: &str, version: &str, event_type: &str) -> String {
    format!("{day}/{version}/{event_type}")
}

/// Returns the update that replaces the figures of a day.
pub(super) fn replace_figures(
    computed: i64,
    at: Instant,
    version: &str,
    all: &DayFigures,
) -> Document {
    let metrics: Vec<Document> = all
        .types
        .iter()
        .map(|(event_type, partial)| {
            doc! {
                "event_type": event_type,
                "count": count(partial.count),
                "unique_users": count(partial.users.estimate()),
            }
        })
        .collect();
    let mut set = doc! {
        "computed": computed, "computed_at": date(at), "version": version, "metrics": metrics,
    };
    if all.types.is_empty() {
        let removed = doc! { "count": "", "unique_users": "", "first": "", "last": "", "data": "" };
        return doc! { "$set": set, "$unset": removed };
    }
    set.extend(figures(&all.total()));
    doc! { "$set": set }
}

pub(super) fn state(day: &Document) -> Result<DayState> {
    Ok(DayState {
        wanted: number(day, "wanted")?,
        computed: number(day, "computed")?,
    })
}

pub(super) fn stored_day(day: &Document) -> Result<StoredDay> {
    let damaged = |why: mongodb::bson::error::Error| corrupt("a day", &why);
    let DayState { wanted, computed } = state(day)?;
    let types = day.get_array("metrics").map_err(damaged)?;
    Ok(StoredDay {
        day: parsed(day, "_id")?,
        stale: wanted > computed,
        computed_at: instant(*day.get_datetime("computed_at").map_err(damaged)?),
        total: partial(day)?,
        types: types.iter().map(type_figure).collect::<Result<_>>()?,
    })
}

fn day_of_type(day: &Document, event_type: &str, of_type: &Partial) -> Result<StoredDay> {
    let mut stored = stored_day(day)?;
    stored.total = of_type.clone();
    stored
        .types
        .retain(|figure| figure.event_type == event_type);
    Ok(stored)
}

fn type_figure(figure: &Bson) -> Result<TypeFigure> {
    let what = "a day";
    let figure = figure
        .as_document()
        .ok_or_else(|| corrupt(what, &"`metrics` is not a list of documents"))?;
    let n = |name: &str| u64::try_from(number(figure, name)?).map_err(|why| corrupt(what, &why));
    Ok(TypeFigure {
        event_type: text(figure, "event_type")?.into(),
        count: n("count")?,
        unique_users: n("unique_users")?,
    })
}
