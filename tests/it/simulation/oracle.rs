//! The invariants of a simulation at rest. The expected figures follow only from which batches are live and published.

use std::collections::{BTreeMap, BTreeSet};

use tallymill::{
    model::{Batch, BatchStatus, Day, JobId},
    store::{Projection, StoreError},
};

use super::{
    generated_file::{DAY, PLAIN, Row, rows, seed_of},
    world::SimulationWorld,
};

type Verdict = std::result::Result<(), String>;

/// Checks that each identity counts once, on a day on which a live batch has it; that each row without identity counts;
/// that sums add up; that no batch failed; and that deleted batches leave nothing.
pub(super) fn judge(world: &SimulationWorld) -> Verdict {
    let batches: Vec<Batch> = world
        .batches
        .iter()
        .filter_map(|id| world.now(world.inner.batch(*id)).expect("reads"))
        .collect();
    for batch in &batches {
        sums(batch)?;
        if batch.status.is_void() {
            nothing_left(world, batch)?;
        } else {
            no_stale_partials(world, batch)?;
        }
        if batch.status == BatchStatus::Failed {
            return Err(format!(
                "{} is failed, although its dead job was retried",
                batch.id
            ));
        }
    }
    figures(world, &batches)
}

fn sums(batch: &Batch) -> Verdict {
    let Some(counts) = batch.published.as_ref().map(|p| p.counts) else {
        return Ok(());
    };
    if counts.inserted == counts.counted + counts.duplicate + counts.conflict {
        Ok(())
    } else {
        Err(format!("{counts:?} do not add up"))
    }
}

fn nothing_left(world: &SimulationWorld, batch: &Batch) -> Verdict {
    let id = batch.id;
    let edges = world
        .now(world.inner.overlaps_of_loser(id, None, 1))
        .expect("reads")
        .len()
        + world
            .now(world.inner.overlaps_of_owner(id, None, 1))
            .expect("reads")
            .len();
    let events = world.now(async {
        let mut scan = world.inner.scan_events(id, Projection::USERS).await?;
        scan.next().await
    });
    let partials = tokens(world, batch).any(|t| {
        !world
            .now(world.inner.partials(id, t))
            .expect("reads")
            .is_empty()
    });
    if edges == 0 && matches!(events, Err(StoreError::Missing { .. })) && !partials {
        return Ok(());
    }
    let events = events.is_ok();
    Err(format!(
        "{id} is deleted, but has {edges} overlaps, events: {events}, partials: {partials}"
    ))
}

fn no_stale_partials(world: &SimulationWorld, batch: &Batch) -> Verdict {
    let published = batch.published.as_ref().map(|p| p.token);
    let stale = tokens(world, batch)
        .filter(|t| Some(*t) != published)
        .find(|t| {
            !world
                .now(world.inner.partials(batch.id, *t))
                .expect("reads")
                .is_empty()
        });
    match stale {
        Some(token) => Err(format!("{} has stale partials of run {token}", batch.id)),
        None => Ok(()),
    }
}

fn tokens(world: &SimulationWorld, batch: &Batch) -> std::ops::RangeInclusive<i64> {
    let job = world
        .now(world.inner.job(JobId::Process(batch.id)))
        .expect("reads");
    1..=job.map_or(0, |j| j.token)
}

fn figures(world: &SimulationWorld, batches: &[Batch]) -> Verdict {
    let mut identities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut possible: BTreeMap<(String, i64), BTreeSet<String>> = BTreeMap::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut counted = 0;
    for batch in batches {
        let Some(published) = &batch.published else {
            continue;
        };
        counted += published.counts.counted;
        for row in rows(seed_of(batch)) {
            let Row {
                event_id,
                event_type,
                at,
                ..
            } = row;
            if event_id.is_empty() {
                *expected.entry(event_type).or_default() += 1;
            } else {
                let on_day = (event_type.clone(), at / DAY);
                possible.entry(on_day).or_default().insert(event_id.clone());
                identities.entry(event_type).or_default().insert(event_id);
            }
        }
    }
    expected.extend(
        identities
            .into_iter()
            .map(|(kind, ids)| (kind, ids.len() as u64)),
    );
    let mut figures: BTreeMap<String, u64> = BTreeMap::new();
    for day in world
        .now(world.inner.days(Day(0), Day(100_000), None, 1_000))
        .expect("reads")
    {
        for figure in day.types.into_iter().filter(|f| f.count > 0) {
            *figures.entry(figure.event_type.clone()).or_default() += figure.count;
            let on_day = (figure.event_type, i64::from(day.day.0));
            let most = possible.get(&on_day).map_or(0, BTreeSet::len) as u64;
            let plain = on_day.0 == PLAIN;
            if !plain && (figure.count > most || figure.unique_users != figure.count) {
                let (count, users) = (figure.count, figure.unique_users);
                return Err(format!(
                    "{on_day:?}: {count} events of {users} users, {most} possible"
                ));
            }
        }
    }
    if figures != expected {
        return Err(format!("figures {figures:?}, expected {expected:?}"));
    }
    if counted != expected.values().sum::<u64>() {
        return Err(format!(
            "receipts count {counted}, the figures {expected:?}"
        ));
    }
    Ok(())
}
