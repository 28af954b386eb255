//! Each rule of the protocol taken out once, and a history that breaks without it.

use std::sync::Arc;

use super::{first_broken, number, on_all_cores, simulate};
use crate::helpers::mutant::Mutant;

/// A mutant, a seed whose history catches it, and what breaks there.
const CAUGHT: [(Mutant, u64, &str); Mutant::ALL.len()] = [
    (Mutant::NoFence, 0, "?"),
    (Mutant::FailAnyway, 0, "?"),
    (Mutant::NoEdge, 0, "?"),
    (Mutant::NoRecheck, 0, "?"),
    (Mutant::RecheckFirst, 0, "?"),
    (Mutant::NoTakeOver, 0, "?"),
    (Mutant::NoMark, 0, "?"),
    (Mutant::MarkFirst, 0, "?"),
    (Mutant::EarlyPublish, 0, "?"),
    (Mutant::SharedPartials, 0, "?"),
    (Mutant::NoRollupGuard, 0, "?"),
    (Mutant::LateWish, 0, "?"),
    (Mutant::NoWanted, 0, "?"),
    (Mutant::NoSweep, 0, "?"),
    (Mutant::NoUndoSweep, 0, "?"),
    (Mutant::NoDaySweep, 0, "?"),
    (Mutant::NoLeaseSweep, 0, "?"),
    (Mutant::NoRecount, 0, "?"),
    (Mutant::NoUndoMark, 0, "?"),
    (Mutant::BuryFirst, 0, "?"),
    (Mutant::SweepInFlight, 0, "?"),
    (Mutant::SweepPublished, 0, "?"),
    (Mutant::TwoReads, 0, "?"),
    (Mutant::ContentKept, 0, "?"),
];

#[test]
fn each_rule_of_the_protocol_is_needed() {
    let rows = 0..CAUGHT.len() as u64;
    let survivor = on_all_cores(rows, |row| {
        let (mutant, seed, breaks) = CAUGHT[row as usize];
        let whole = simulate(seed, None, &Arc::default());
        assert_eq!(whole, None, "seed {seed} breaks with all rules in place");
        let caught = simulate(seed, Some(mutant), &Arc::default());
        caught
            .is_none()
            .then(|| format!("{mutant:?} survives seed {seed}, where {breaks}"))
    });
    if let Some(survivor) = survivor {
        panic!(
            "{survivor}: the engine takes other steps than when the seed was found; \
             `tests/long mutants` prints the seeds that catch it now"
        );
    }
}

#[test]
fn every_mutant_has_its_seed() {
    let listed = CAUGHT.map(|(mutant, ..)| mutant);
    assert_eq!(listed, Mutant::ALL);
}

/// Looks for the first seeds that catch each mutant: minutes, so only `tests/long` asks for it.
#[test]
fn seeds_that_catch_each_missing_rule_are_searched_by_tests_long() {
    let Some(seeds) = number("TALLYMILL_SEARCH") else {
        println!(
            "the search runs in tests/long (TALLYMILL_SEARCH=N tries N seeds for each mutant)"
        );
        return;
    };
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
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
