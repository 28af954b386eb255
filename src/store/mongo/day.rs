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

    /// Returns the figures of these days by event type.
    pub(super) async fn days_of_all_types(
        &self,
        mut days: Vec<Document>,
    ) -> Result<Vec<StoredDay>> {
        let mut stored_days = Vec::with_capacity(days.len());
        for _ in 0..READ_ATTEMPTS {
            let mut types = self.types(&days).await?;
            let mut missed = Vec::new();
            for day in &days {
                let types = types.remove(version(day)?).unwrap_or_default();
                let has_all = count(types.len() as u64) == type_count(day)?;
                match inline_types(day)? {
                    Some(types) => stored_days.push(stored_day(day, types)?),
                    None if has_all => stored_days.push(stored_day(day, types)?),
                    None => missed.push(text(day, "_id")?.to_owned()),
                }
            }
            if missed.is_empty() {
                stored_days.sort_unstable_by_key(|stored: &StoredDay| stored.day);
                return Ok(stored_days);
            }
            // Replaced between the two reads.
            days = self.days_by_id(missed).await?;
        }
        Err(replaced())
    }

    /// Returns the figures of one event type on those of these days that have it.
    pub(super) async fn days_of_type(
        &self,
        mut days: Vec<Document>,
        event_type: &str,
    ) -> Result<Vec<StoredDay>> {
        let mut stored_days = Vec::with_capacity(days.len());
        for _ in 0..READ_ATTEMPTS {
            let sketches = self.sketches(&days, event_type).await?;
            let mut missed = HashMap::new();
            for day in &days {
                let id = type_id(text(day, "_id")?, version(day)?, event_type);
                match sketches.get(&id) {
                    Some(partial) => stored_days.push(day_of_type(day, event_type, partial)?),
                    None => drop(missed.insert(text(day, "_id")?, version(day)?)),
                }
            }
            if missed.is_empty() {
                break;
            }
            // A day that still names the same version does not have the type. Others were replaced between the reads.
            let ids = missed.keys().map(|id| (*id).to_owned()).collect();
            let mut now = self.days_by_id(ids).await?;
            now.retain(|day| match (text(day, "_id"), version(day)) {
                (Ok(id), Ok(version)) => missed.get(id) != Some(&version),
                (_, _) => true,
            });
            if now.is_empty() {
                break;
            }
            days = now;
        }
        stored_days.sort_unstable_by_key(|stored: &StoredDay| stored.day);
        Ok(stored_days)
    }

    async fn days_by_id(&self, ids: Vec<String>) -> Result<Vec<Document>> {
        let find = Find {
            filter: doc! { "_id": { "$in": ids }, "data": { "$exists": true } },
            ..Find::default()
        };
        self.db.find("days", find).await
    }

    /// Returns the figures of the types that these days name, without their sketches, by version.
    async fn types(&self, days: &[Document]) -> Result<HashMap<String, Vec<TypeFigure>>> {
        let mut ids = Vec::with_capacity(days.len());
        let mut versions = Vec::with_capacity(days.len());
        for day in days {
            if inline_types(day)?.is_none() {
                ids.push(text(day, "_id")?);
                versions.push(version(day)?);
            }
        }
        let mut types: HashMap<String, Vec<TypeFigure>> = HashMap::new();
        if ids.is_empty() {
            return Ok(types);
        }
        let find = Find {
            filter: doc! { "day": { "$in": ids }, "version": { "$in": versions } },
            fields: doc! { "version": 1, "event_type": 1, "count": 1, "unique_users": 1 },
            ..Find::default()
        };
        self.for_each("day_types", find, |found| {
            let of_day = types.entry(text(&found, "version")?.to_owned());
            of_day.or_default().push(type_figure(&found)?);
            Ok(())
        })
        .await?;
        for of_day in types.values_mut() {
            of_day.sort_unstable_by(|a, b| a.event_type.cmp(&b.event_type));
        }
        Ok(types)
    }

    /// Returns the sketches that these days name, by `_id`.
    async fn sketches(
        &self,
        days: &[Document],
        event_type: &str,
    ) -> Result<HashMap<String, Partial>> {
        let id = |day: &Document| Ok(type_id(text(day, "_id")?, version(day)?, event_type));
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
    // The types are documents of their own: a day of some 100,000 would exceed the size of a document. The empty list is
    // for processes of an older version.
    let mut set = doc! {
        "computed": computed, "computed_at": date(at), "version": version, "metrics": [],
        "types": count(all.types.len() as u64),
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

fn stored_day(day: &Document, types: Vec<TypeFigure>) -> Result<StoredDay> {
    let damaged = |why: mongodb::bson::error::Error| corrupt("a day", &why);
    let DayState { wanted, computed } = state(day)?;
    Ok(StoredDay {
        day: parsed(day, "_id")?,
        stale: wanted > computed,
        computed_at: instant(*day.get_datetime("computed_at").map_err(damaged)?),
        total: partial(day)?,
        types,
    })
}

fn day_of_type(day: &Document, event_type: &str, of_type: &Partial) -> Result<StoredDay> {
    let figure = TypeFigure {
        event_type: event_type.to_owned(),
        count: of_type.count,
        unique_users: of_type.users.estimate(),
    };
    let mut stored = stored_day(day, vec![figure])?;
    stored.total = of_type.clone();
    Ok(stored)
}

/// Returns the version of the sketches that a day names.
fn version(day: &Document) -> Result<&str> {
    text(day, "version")
}

/// Returns the number of types that a day has as documents of their own.
fn type_count(day: &Document) -> Result<i64> {
    match day.get("types") {
        Some(_) => number(day, "types"),
        None => Ok(0),
    }
}

/// Returns the types that an older version stored within the day; none if they are documents of their own.
fn inline_types(day: &Document) -> Result<Option<Vec<TypeFigure>>> {
    let types = day.get_array("metrics");
    let types = types.map_err(|why| corrupt("a day", &why))?;
    if types.is_empty() && day.contains_key("types") {
        return Ok(None);
    }
    let types = types.iter();
    let figure = |figure: &Bson| {
        let figure = figure.as_document();
        type_figure(
            figure.ok_or_else(|| corrupt("a day", &"`metrics` is not a list of documents"))?,
        )
    };
    types.map(figure).collect::<Result<_>>().map(Some)
}

fn replaced() -> StoreError {
    StoreError::Unavailable {
        what: "reading days",
        source: "they keep being replaced".into(),
    }
}

fn type_figure(figure: &Document) -> Result<TypeFigure> {
    let n = |name: &str| u64::try_from(number(figure, name)?).map_err(|why| corrupt("a day", &why));
    Ok(TypeFigure {
        event_type: text(figure, "event_type")?.into(),
        count: n("count")?,
        unique_users: n("unique_users")?,
    })
}
