//! The invariants of a simulation at rest. The expected figures follow only from which batches are live and published.

use std::collections::{BTreeMap, BTreeSet};

use tallymill::{
    model::{Batch, BatchStatus, Day, JobId, JobState},
    store::{Projection, StoreError},
};

use super::{
    generated_file::{DAY, PLAIN, Row, rows, seed_of},
    world::SimulationWorld,
};

type CheckResult = std::result::Result<(), String>;

/// Checks that each identity counts once, on a day on which a live batch has it; that each row without identity counts;
/// that sums add up; that no batch failed whose job was retried; and that deleted batches leave nothing.
pub(super) fn check_invariants(world: &SimulationWorld) -> CheckResult {
    let batches: Vec<Batch> = world
        .batches
        .iter()
        .filter_map(|id| world.now(world.inner.batch(*id)).expect("reads"))
        .collect();
    for batch in &batches {
        check_sums(batch)?;
        if batch.status.is_void() {
            check_deleted(world, batch)?;
        } else if batch.status != BatchStatus::Failed {
            check_partials(world, batch)?;
        } else if world.retries {
            let id = batch.id;
            return Err(format!("{id} is failed, although its dead job was retried"));
        } else {
            check_dead_letter(world, batch)?;
        }
    }
    figures(world, &batches)
}

fn check_sums(batch: &Batch) -> CheckResult {
    let Some(counts) = batch.published.as_ref().map(|p| p.counts) else {
        return Ok(());
    };
    if counts.inserted == counts.counted + counts.duplicate + counts.conflict {
        Ok(())
    } else {
        Err(format!("{counts:?} do not add up"))
    }
}

fn check_deleted(world: &SimulationWorld, batch: &Batch) -> CheckResult {
    let id = batch.id;
    let overlaps = world
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
            .now(world.inner.partials(id, t, None, 1_000))
            .expect("reads")
            .is_empty()
    });
    if overlaps == 0 && matches!(events, Err(StoreError::Missing { .. })) && !partials {
        return Ok(());
    }
    let events = events.is_ok();
    Err(format!(
        "{id} is deleted, but has {overlaps} overlaps, events: {events}, partials: {partials}"
    ))
}

/// A failed batch has a dead job, which its owner can see and act on.
fn check_dead_letter(world: &SimulationWorld, batch: &Batch) -> CheckResult {
    let job = world.now(world.inner.job(JobId::Process(batch.id)));
    match job.expect("reads").map(|job| job.state) {
        Some(JobState::Dead) => Ok(()),
        other => Err(format!("{} is failed, but its job is {other:?}", batch.id)),
    }
}

fn check_partials(world: &SimulationWorld, batch: &Batch) -> CheckResult {
    let published = batch.published.as_ref().map(|p| p.token);
    let stale = tokens(world, batch)
        .filter(|t| Some(*t) != published)
        .find(|t| {
            !world
                .now(world.inner.partials(batch.id, *t, None, 1_000))
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

fn figures(world: &SimulationWorld, batches: &[Batch]) -> CheckResult {
    let mut identities: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut possible: BTreeMap<(String, i64), BTreeSet<String>> = BTreeMap::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    // A failed batch keeps its claims until it is retried or deleted, so its identities may count nowhere.
    let mut withheld: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut counted = 0;
    for batch in batches {
        if batch.status == BatchStatus::Failed {
            for row in rows(seed_of(batch)) {
                withheld
                    .entry(row.event_type)
                    .or_default()
                    .insert(row.event_id);
            }
        }
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
    let mut least = expected.clone();
    for (kind, ids) in identities {
        let withheld = withheld
            .get(&kind)
            .map_or(0, |held| held.intersection(&ids).count());
        least.insert(kind.clone(), (ids.len() - withheld) as u64);
        expected.insert(kind, ids.len() as u64);
    }
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
    let kinds: BTreeSet<_> = figures.keys().chain(expected.keys()).collect();
    let of = |counts: &BTreeMap<String, u64>, kind: &String| counts.get(kind).copied().unwrap_or(0);
    let is_expected =
        |kind: &&String| (of(&least, kind)..=of(&expected, kind)).contains(&of(&figures, kind));
    if !kinds.into_iter().all(|kind| is_expected(&kind)) {
        return Err(format!(
            "figures {figures:?}, expected {least:?} to {expected:?}"
        ));
    }
    if counted != figures.values().sum::<u64>() {
        return Err(format!("receipts count {counted}, the figures {figures:?}"));
    }
    Ok(())
}
