//! Each rule of the protocol removed once, with a history that breaks without it.

use std::sync::{Arc, Mutex};

use super::{first_broken, number, on_all_cores, simulate, text};
use crate::helpers::mutant::Mutant;

/// A mutant, a seed whose history catches it, and what breaks there.
const CAUGHT: [(Mutant, u64, &str); Mutant::ALL.len()] = [
    (
        Mutant::NoFence,
        157,
        "readers get the partials of a stale run in place of those of a newer one",
    ),
    (
        Mutant::FailAnyway,
        9,
        "a stale run fails the batch of a newer run, and no dead job shows it",
    ),
    (
        Mutant::NoOverlap,
        55,
        "no batch counts the identities of a deleted one",
    ),
    (
        Mutant::NoRecheck,
        3397,
        "an owner is deleted between the claim and the overlap, and the loser is not requeued",
    ),
    (
        Mutant::RecheckFirst,
        3141,
        "an owner is deleted between the second read and the overlap",
    ),
    (
        Mutant::NoTakeOver,
        6,
        "a run repeats its claims for ever, refused by a deleted owner",
    ),
    (
        Mutant::NoMark,
        0,
        "a published batch is missing from the figures of its day",
    ),
    (
        Mutant::NoAbandonMark,
        7,
        "a batch fails between its publication and its marks",
    ),
    (
        Mutant::MarkFirst,
        58,
        "a rollup answers a mark before the partials are published",
    ),
    (
        Mutant::EarlyPublish,
        28,
        "a crash leaves a published run without its partials",
    ),
    (
        Mutant::NoRollupGuard,
        104,
        "a slow rollup replaces newer figures by older ones",
    ),
    (
        Mutant::LateWanted,
        146,
        "a rollup claims to answer a mark that it has not read",
    ),
    (
        Mutant::NoWanted,
        89,
        "a batch is completed although an owner was deleted during the run",
    ),
    (
        Mutant::NoBatchReconcile,
        81,
        "a batch waits for ever for a job that was not armed",
    ),
    (
        Mutant::NoDeletionReconcile,
        1,
        "the deletion of a batch never ends",
    ),
    (Mutant::NoDayReconcile, 3, "a day stays stale for ever"),
    (
        Mutant::NoLeaseReconcile,
        2,
        "a job keeps the lease of a dead worker for ever",
    ),
    (
        Mutant::NoRecount,
        55,
        "no batch counts the identities of a deleted one",
    ),
    (
        Mutant::NoDeletionMark,
        7,
        "the events of a deleted batch stay in the figures",
    ),
    (
        Mutant::BuryFirst,
        8,
        "a deletion that crashed is not resumed",
    ),
    (
        Mutant::RemoveInFlight,
        59,
        "a run is published after its partials were removed",
    ),
    (
        Mutant::RemovePublished,
        3,
        "a published run loses its partials",
    ),
    (
        Mutant::TwoReads,
        458,
        "a run is published between the two reads, and its partials are removed",
    ),
    (
        Mutant::ContentRetained,
        10,
        "a deleted file cannot be uploaded again",
    ),
];

#[test]
fn every_mutant_is_caught_by_its_seed() {
    let survivors = Mutex::new(Vec::new());
    on_all_cores::<()>(0..CAUGHT.len() as u64, |row| {
        let (mutant, seed, breaks) = CAUGHT[row as usize];
        let whole = simulate(seed, None, &Arc::default());
        assert_eq!(whole, None, "seed {seed} breaks with all rules in place");
        if simulate(seed, Some(mutant), &Arc::default()).is_none() {
            let line = format!("{mutant:?} survives seed {seed}, where {breaks}");
            survivors.lock().expect("no panics").push(line);
        }
        None
    });
    let survivors = survivors.into_inner().expect("no panics");
    assert!(
        survivors.is_empty(),
        "{survivors:#?}: the engine takes other steps than when these seeds were found; \
         `TALLYMILL_MUTANT=<its name> tests/long mutants` prints a seed that catches it now"
    );
}

#[test]
fn every_mutant_has_a_seed() {
    let listed = CAUGHT.map(|(mutant, ..)| mutant);
    assert_eq!(listed, Mutant::ALL);
}

/// Searches the first seed that catches each mutant, which takes minutes. `TALLYMILL_MUTANT` selects one.
#[test]
fn seeds_of_all_mutants_are_searched_by_tests_long() {
    let Some(seeds) = number("TALLYMILL_SEARCH") else {
        println!(
            "the search runs in tests/long (TALLYMILL_SEARCH=N tries N seeds for each mutant)"
        );
        return;
    };
    let mut survivors = Vec::new();
    let one = text("TALLYMILL_MUTANT");
    let asked = |m: &Mutant| one.as_ref().is_none_or(|one| *one == format!("{m:?}"));
    for mutant in Mutant::ALL.into_iter().filter(asked) {
        match first_broken(0..seeds, Some(mutant), &Arc::default()) {
            Some((seed, why)) => println!("Mutant::{mutant:?}, {seed}: {why}"),
            None => survivors.push(mutant),
        }
    }
    assert!(
        survivors.is_empty(),
        "not caught within {seeds} seeds: {survivors:?}"
    );
}
