//! Random histories of the processing protocol, driven through the real engine and the real embedded store.
//!
//! At every store verb another actor may step, a worker may crash, or its lease may expire while it runs or is frozen
//! until newer runs exist. Once nothing is left to do, the figures must equal a plain oracle
//! over the live published batches. `TALLYMILL_SEEDS=N` runs N seeds, `TALLYMILL_SEED=S` replays one;
//! `tests/long` runs ten thousand, and searches the seeds of the mutants.

mod backend;
mod generated_file;
mod mutants;
mod oracle;
mod step_gate;
mod world;

use std::{
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::helpers::{interceptor::Observation, mutant::Mutant};
use backend::SimulatedBackend;
use world::SimulationWorld;

/// Seeds of an ordinary run: some seconds.
const SEEDS: u64 = 300;
/// Seeds over MongoDB, which answers over a socket: some seconds too.
const MONGO_SEEDS: u64 = 20;

/// The number of each observation over all histories.
#[derive(Default)]
pub(crate) struct ObservationCounts([AtomicU64; Observation::ALL.len()]);

impl ObservationCounts {
    fn count(&self, seen: Observation) {
        self.0[seen as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, seen: Observation) -> u64 {
        self.0[seen as usize].load(Ordering::Relaxed)
    }
}

/// Runs one seed over the embedded store; returns the broken invariant, if any.
fn simulate(seed: u64, mutant: Option<Mutant>, counts: &Arc<ObservationCounts>) -> Option<String> {
    simulate_on(&SimulatedBackend::embedded, seed, mutant, counts)
}

fn simulate_on(
    backend: &dyn Fn(&Path) -> SimulatedBackend,
    seed: u64,
    mutant: Option<Mutant>,
    counts: &Arc<ObservationCounts>,
) -> Option<String> {
    let root = if Path::new("/dev/shm").is_dir() {
        Path::new("/dev/shm").into()
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::tempdir_in(root).expect("temporary directory");
    std::panic::catch_unwind(AssertUnwindSafe(|| {
        let backend = backend(dir.path());
        SimulationWorld::new(seed, dir.path(), backend, mutant, Arc::clone(counts))
            .run()
            .err()
    }))
    .unwrap_or_else(|_| Some("panicked".into()))
}

fn text(name: &str) -> Option<String> {
    std::env::vars()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn number(name: &str) -> Option<u64> {
    text(name).map(|value| value.parse().expect("a number"))
}

/// Runs `work` for each number on all cores, until one returns a value.
fn on_all_cores<T: Send>(
    numbers: std::ops::Range<u64>,
    work: impl Fn(u64) -> Option<T> + Sync,
) -> Option<T> {
    let (next, found) = (AtomicU64::new(numbers.start), Mutex::new(None));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                while found.lock().expect("no panics").is_none() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    if let Some(what) = work(number) {
                        found.lock().expect("no panics").get_or_insert(what);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panics")
}

fn first_broken(
    seeds: std::ops::Range<u64>,
    mutant: Option<Mutant>,
    counts: &Arc<ObservationCounts>,
) -> Option<(u64, String)> {
    on_all_cores(seeds, |seed| {
        simulate(seed, mutant, counts).map(|why| (seed, why))
    })
}

#[test]
fn every_history_counts_each_event_once() {
    let one = number("TALLYMILL_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_SEEDS").unwrap_or(SEEDS),
    };
    let counts = Arc::default();
    if let Some((seed, why)) = first_broken(seeds.clone(), None, &counts) {
        panic!("seed {seed}: {why}; replay with TALLYMILL_SEED={seed}");
    }
    for seen in Observation::ALL {
        println!("{seen:?}: {} in {seeds:?}", counts.of(seen));
        assert!(
            one.is_some() || counts.of(seen) > 0,
            "{seen:?} never happened: these histories prove nothing about it"
        );
    }
}

#[test]
fn every_history_over_mongodb_counts_each_event_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let seeds = match number("TALLYMILL_MONGO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_MONGO_SEEDS").unwrap_or(MONGO_SEEDS),
    };
    let counts = Arc::default();
    let backend = |_: &Path| SimulatedBackend::mongo(&runtime);
    let broken = on_all_cores(seeds.clone(), |seed| {
        simulate_on(&backend, seed, None, &counts).map(|why| (seed, why))
    });
    if let Some((seed, why)) = broken {
        panic!("seed {seed}: {why}; begin with TALLYMILL_MONGO_SEED={seed}");
    }
    for seen in Observation::ALL {
        println!("{seen:?}: {} in {seeds:?}", counts.of(seen));
    }
}
