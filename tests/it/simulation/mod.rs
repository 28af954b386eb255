//! Random histories of the processing protocol, driven through the real engine and the real embedded store.
//!
//! Every store verb is a point where another actor may step, a worker may crash, or its lease may lapse while
//! it goes on or stands still to wake among newer runs. After quiescence the figures must equal a plain oracle
//! over the live published batches. `TALLYMILL_SEEDS=N` runs N seeds, `TALLYMILL_SEED=S` replays one;
//! `tests/long` runs ten thousand, and looks for the seeds of the mutants.

mod file;
mod ground;
mod mutants;
mod oracle;
mod turnstile;
mod world;

use std::{
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::helpers::{gate::Seen, mutant::Mutant};
use ground::Ground;
use world::World;

/// Seeds of an ordinary run: some seconds.
const SEEDS: u64 = 300;
/// Seeds over MongoDB, which answers over a socket: some seconds too.
const MONGO_SEEDS: u64 = 20;

/// How often something happened, over all histories.
#[derive(Default)]
pub(crate) struct Census([AtomicU64; Seen::ALL.len()]);

impl Census {
    fn count(&self, seen: Seen) {
        self.0[seen as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, seen: Seen) -> u64 {
        self.0[seen as usize].load(Ordering::Relaxed)
    }
}

/// What one seed comes to over the embedded store: none if every invariant holds.
fn simulate(seed: u64, mutant: Option<Mutant>, census: &Arc<Census>) -> Option<String> {
    simulate_on(&Ground::embedded, seed, mutant, census)
}

fn simulate_on(
    ground: &dyn Fn(&Path) -> Ground,
    seed: u64,
    mutant: Option<Mutant>,
    census: &Arc<Census>,
) -> Option<String> {
    let root = if Path::new("/dev/shm").is_dir() {
        Path::new("/dev/shm").into()
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::tempdir_in(root).expect("temporary directory");
    std::panic::catch_unwind(AssertUnwindSafe(|| {
        let ground = ground(dir.path());
        World::new(seed, dir.path(), ground, mutant, Arc::clone(census))
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

/// Runs `work` on all cores until the numbers are used up or it has found something.
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
    census: &Arc<Census>,
) -> Option<(u64, String)> {
    on_all_cores(seeds, |seed| {
        simulate(seed, mutant, census).map(|why| (seed, why))
    })
}

#[test]
fn no_history_loses_doubles_or_strands_an_event() {
    let one = number("TALLYMILL_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_SEEDS").unwrap_or(SEEDS),
    };
    let census = Arc::default();
    if let Some((seed, why)) = first_broken(seeds.clone(), None, &census) {
        panic!("seed {seed}: {why}; replay with TALLYMILL_SEED={seed}");
    }
    for seen in Seen::ALL {
        println!("{seen:?}: {} in {seeds:?}", census.of(seen));
        assert!(
            one.is_some() || census.of(seen) > 0,
            "{seen:?} never happened: these histories prove nothing about it"
        );
    }
}

#[test]
fn nor_does_one_over_mongodb_where_a_crash_may_come_between_any_two_documents() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let seeds = match number("TALLYMILL_MONGO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_MONGO_SEEDS").unwrap_or(MONGO_SEEDS),
    };
    let census = Arc::default();
    let ground = |_: &Path| Ground::mongo(&runtime);
    let broken = on_all_cores(seeds.clone(), |seed| {
        simulate_on(&ground, seed, None, &census).map(|why| (seed, why))
    });
    if let Some((seed, why)) = broken {
        panic!("seed {seed}: {why}; begin with TALLYMILL_MONGO_SEED={seed}");
    }
    for seen in Seen::ALL {
        println!("{seen:?}: {} in {seeds:?}", census.of(seen));
    }
}
