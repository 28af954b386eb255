//! Random histories of the processing protocol, driven through the real engine and the real embedded store.
//!
//! Every store verb is a point where another actor may step, a worker may crash, or its lease may lapse while
//! it goes on. After quiescence the figures must equal a plain oracle over the live published batches.
//! `TALLYMILL_SEEDS=N` runs N seeds (a few hundred by default), `TALLYMILL_SEED=S` replays one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    panic::AssertUnwindSafe,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use chrono_tz::Tz;
use tallymill::{
    clock::{Clock, Fixed},
    job::{Desk, Dispatch, DispatchError, Limits, Runner, Sweep},
    model::{
        Batch, BatchId, BatchStatus, ColumnRole, Columns, Day, EventBlock, JobChange, JobId,
        JobState, Receipt, Slot, receipt::RowCounts,
    },
    store::{
        BatchFilter, BatchStore, JobStore, MetricStore, Result, Store, StoreError,
        embedded::{EmbeddedStore, Mode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::helpers::staged::{Gate, Mutant, Staged};

const DAY: i64 = 86_400_000_000;
/// Steps of disorder, then steps in which everything is left to come to rest.
const CHAOS: usize = 700;
const REST: usize = 30_000;
const KEYS: u64 = 4;

/// `SplitMix64` (Steele, Lea, Flood 2014): small, seeded, good enough to choose with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Stops each actor once before each verb, and makes some verbs fail while there is disorder.
struct Turnstile {
    chaos: Arc<AtomicBool>,
    faults: Arc<AtomicU64>,
    faulty: bool,
}

#[async_trait]
impl Gate for Turnstile {
    async fn pass(&self, verb: &'static str) -> Result<()> {
        let mut stopped = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut stopped, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        if self.faulty && self.chaos.load(Ordering::Relaxed) {
            let dice = Dice(self.faults.fetch_add(1, Ordering::Relaxed)).next();
            if dice % 100 < 2 {
                let source = "planned".into();
                return Err(if dice & 1024 == 0 {
                    StoreError::Failed { what: verb, source }
                } else {
                    StoreError::Unavailable { what: verb, source }
                });
            }
        }
        Ok(())
    }
}

/// A queue that keeps nudges until the scheduler delivers, doubles or loses them.
#[derive(Default)]
struct Nudges(Mutex<Vec<JobId>>);

#[async_trait]
impl Dispatch for Nudges {
    async fn nudge(&self, job: JobId) -> std::result::Result<(), DispatchError> {
        self.0.lock().expect("one thread").push(job);
        Ok(())
    }
}

struct Actor {
    future: Pin<Box<dyn Future<Output = ()>>>,
    sweep: bool,
}

struct World {
    dice: Dice,
    inner: Arc<EmbeddedStore>,
    clock: Fixed,
    nudges: Arc<Nudges>,
    chaos: Arc<AtomicBool>,
    faults: Arc<AtomicU64>,
    mutant: Option<Mutant>,
    limits: Limits,
    actors: Vec<Actor>,
    sweep: Arc<tokio::sync::Mutex<Sweep>>,
    batches: Vec<BatchId>,
    workers: u64,
}

/// Polls a future that never waits for anything but the store on this thread.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a simulated store never waits"),
    }
}

impl World {
    fn new(seed: u64, dir: &Path, mutant: Option<Mutant>) -> Self {
        let inner =
            Arc::new(now(EmbeddedStore::open(dir, Tz::UTC, Mode::Simulated)).expect("opens"));
        let (chaos, faults) = (
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicU64::new(seed << 20)),
        );
        let (clock, nudges) = (Fixed::default(), Arc::new(Nudges::default()));
        let limits = Limits {
            attempts: 2,
            crashes: 5,
            backoff: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            sweep: Duration::from_secs(5),
            batch_ttl: Some(Duration::from_secs(120)),
            reprocess_budget: Duration::from_secs(3_600),
            time_zone: Tz::UTC,
            scratch: dir.into(),
            sort_memory: 64,
            fold_groups: 3,
            claims_at_once: 2,
        };
        let gate = Arc::new(Turnstile {
            chaos: Arc::clone(&chaos),
            faults: Arc::clone(&faults),
            faulty: true,
        });
        let staged = Arc::new(Staged::new(inner.clone(), gate, mutant));
        let sweep = Sweep::new(
            staged,
            Arc::new(clock.clone()),
            nudges.clone(),
            limits.clone(),
            None,
        );
        let sweep = Arc::new(tokio::sync::Mutex::new(sweep));
        Self {
            dice: Dice(seed),
            inner,
            clock,
            nudges,
            chaos,
            faults,
            mutant,
            limits,
            actors: vec![],
            sweep,
            batches: vec![],
            workers: 0,
        }
    }

    fn store(&self, faulty: bool) -> Arc<dyn Store> {
        let gate = Turnstile {
            chaos: Arc::clone(&self.chaos),
            faults: Arc::clone(&self.faults),
            faulty,
        };
        Arc::new(Staged::new(self.inner.clone(), Arc::new(gate), self.mutant))
    }

    fn desk(&self) -> Desk {
        Desk::new(
            self.store(false),
            Arc::new(self.clock.clone()),
            self.nudges.clone(),
        )
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.actors.push(Actor {
            future: Box::pin(future),
            sweep: false,
        });
    }

    fn work(&mut self, job: JobId) {
        self.workers += 1;
        let (owner, stop) = (format!("w{}", self.workers), CancellationToken::new());
        let clock = Arc::new(self.clock.clone());
        let runner = Runner::new(
            self.store(true),
            clock,
            self.nudges.clone(),
            self.limits.clone(),
            owner,
            stop,
        );
        self.spawn(async move { drop(runner.run(job).await) });
    }

    fn sweep(&mut self) {
        if !self.actors.iter().any(|a| a.sweep) {
            let sweep = Arc::clone(&self.sweep);
            let pass = async move { drop(sweep.lock().await.pass().await) };
            self.actors.push(Actor {
                future: Box::pin(pass),
                sweep: true,
            });
        }
    }

    fn upload(&mut self) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(self.batches.len() as u64).to_be_bytes());
        let id = BatchId::from_bytes(bytes);
        let again = self.batches.len() > 1 && self.dice.chance(15);
        let seed = if again {
            self.dice.below(self.batches.len() as u64)
        } else {
            1_000 + self.dice.next()
        };
        self.batches.push(id);
        let (store, at) = (self.store(false), self.clock.now());
        self.spawn(async move { drop(upload(store, id, at, seed).await) });
    }

    fn disturb(&mut self) {
        let live = now(self.inner.list_batches(&BatchFilter::default(), 100))
            .expect("lists")
            .iter()
            .filter(|b| !b.status.is_void())
            .count();
        let pick = self.dice.below(100);
        if self.batches.is_empty() || (pick < 25 && live < 4) {
            return self.upload();
        }
        let id = self.batches[self.dice.below(self.batches.len() as u64) as usize];
        let (desk, slot) = (
            self.desk(),
            Slot(self.clock.now().timestamp() + pick as i64 % 4),
        );
        match pick {
            0..55 => self.spawn(async move { drop(desk.process(id, false).await) }),
            55..65 => self.spawn(async move { drop(desk.process(id, true).await) }),
            65..75 => self.spawn(async move { drop(desk.undo(id).await) }),
            75..80 => self.spawn(async move { drop(desk.retry(JobId::Process(id)).await) }),
            80..84 => self.spawn(async move { drop(desk.arm_slot(JobId::Cleanup(slot)).await) }),
            84..88 => self.spawn(async move { drop(desk.arm_slot(JobId::Reprocess(slot)).await) }),
            88..94 => self.clock.advance(Duration::from_secs(self.dice.below(40))),
            _ => self.sweep(),
        }
    }

    /// An observer takes a worker for lost that may be alive.
    fn lapse(&self, job: JobId) {
        let found = now(self.inner.job(job)).expect("reads").expect("is there");
        let lapse = JobChange::Lapse {
            token: found.token,
            renewals: found.lease.map_or(0, |l| l.renewals),
            run_at: self.clock.now(),
        };
        let _ = now(self.inner.change_job(job, &lapse, self.clock.now())).expect("lapses");
    }

    fn step(&mut self, chaos: bool) {
        if chaos && self.dice.chance(20) {
            self.disturb();
        }
        if self.dice.chance(40) {
            let mut nudges = self.nudges.0.lock().expect("one thread");
            if !nudges.is_empty() {
                let at = self.dice.below(nudges.len() as u64) as usize;
                let doubled = chaos && self.dice.chance(10);
                let job = if doubled {
                    nudges[at]
                } else {
                    nudges.swap_remove(at)
                };
                drop(nudges);
                if !chaos || self.dice.chance(90) {
                    self.work(job);
                }
            }
        }
        if chaos && self.dice.chance(3) {
            let running = now(self.inner.jobs_in(JobState::Running, None, 100)).expect("lists");
            if !running.is_empty() {
                let at = self.dice.below(running.len() as u64) as usize;
                self.lapse(running[at].id);
            }
        }
        if self.actors.is_empty() {
            return;
        }
        let at = self.dice.below(self.actors.len() as u64) as usize;
        if chaos && self.dice.chance(2) {
            drop(self.actors.swap_remove(at));
        } else if self.actors[at]
            .future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
        {
            drop(self.actors.swap_remove(at));
        }
    }

    /// Whether nothing is left to do.
    fn at_rest(&self) -> bool {
        let idle = [JobState::Queued, JobState::Running]
            .into_iter()
            .all(|s| now(self.inner.count_jobs(s)).expect("counts") == 0);
        idle && self.actors.is_empty()
            && self.unfinished().is_empty()
            && now(self.inner.stale_days(None, 1))
                .expect("lists")
                .is_empty()
    }

    fn unfinished(&self) -> Vec<(BatchId, BatchStatus)> {
        let statuses = vec![
            BatchStatus::Queued,
            BatchStatus::Processing,
            BatchStatus::Deleting,
        ];
        let found = now(self.inner.list_batches(
            &BatchFilter {
                statuses,
                before: None,
            },
            100,
        ))
        .expect("lists");
        found.into_iter().map(|b| (b.id, b.status)).collect()
    }

    fn dead(&self) -> Vec<JobId> {
        now(self.inner.jobs_in(JobState::Dead, None, 100))
            .expect("lists")
            .into_iter()
            .map(|j| j.id)
            .collect()
    }

    /// Lets everything come to rest: no faults, no crashes; an admin retries what died.
    fn rest(&mut self) -> std::result::Result<(), String> {
        self.chaos.store(false, Ordering::Relaxed);
        for step in 0..REST {
            if self.at_rest() {
                let dead = self.dead();
                if dead.is_empty() {
                    return Ok(());
                }
                for job in dead {
                    let desk = self.desk();
                    self.spawn(async move { drop(desk.retry(job).await) });
                }
            }
            if self.actors.is_empty() || step % 200 == 0 {
                self.clock.advance(Duration::from_secs(16));
                self.sweep();
            }
            self.step(false);
        }
        Err(format!(
            "not at rest: {:?}, {} actors",
            self.unfinished(),
            self.actors.len()
        ))
    }

    fn run(&mut self) -> std::result::Result<(), String> {
        for _ in 0..CHAOS {
            self.step(true);
        }
        self.rest()?;
        self.check()
    }

    /// The figures against a plain oracle; sums; nothing left of what is gone.
    fn check(&self) -> std::result::Result<(), String> {
        let mut keyed: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for id in &self.batches {
            let Some(batch) = now(self.inner.batch(*id)).expect("reads") else {
                continue;
            };
            let Some(published) = &batch.published else {
                continue;
            };
            let counts = published.counts;
            if counts.inserted != counts.counted + counts.duplicate + counts.conflict {
                return Err(format!("{counts:?} do not add up"));
            }
            for row in rows(batch.receipt.as_ref().expect("published").bytes) {
                if row.event_id.is_empty() {
                    *expected.entry(row.event_type.clone()).or_default() += 1;
                } else {
                    keyed
                        .entry(row.event_type.clone())
                        .or_default()
                        .insert(row.at / DAY);
                    expected.insert(row.event_type, 1);
                }
            }
        }
        let mut figures: BTreeMap<String, u64> = BTreeMap::new();
        for day in now(self.inner.days(Day(0), Day(100_000), None, 1_000)).expect("reads") {
            for figure in day.types {
                if keyed
                    .get(&figure.event_type)
                    .is_some_and(|days| !days.contains(&i64::from(day.day.0)))
                {
                    return Err(format!(
                        "{} counts on {}, where no live batch has it",
                        figure.event_type, day.day
                    ));
                }
                *figures.entry(figure.event_type).or_default() += figure.count;
            }
        }
        if figures == expected {
            Ok(())
        } else {
            Err(format!("figures {figures:?}, expected {expected:?}"))
        }
    }
}

struct Row {
    event_id: String,
    event_type: String,
    user_id: String,
    at: i64,
}

/// The rows that a seed stands for: a few of a handful of identities, now and then in another version
/// (on another day), and some without identity.
fn rows(seed: u64) -> Vec<Row> {
    let mut dice = Dice(seed);
    (0..=dice.below(4))
        .map(|_| {
            let key = dice.below(KEYS + 1);
            let version = i64::from(dice.chance(15));
            if key == KEYS {
                return Row {
                    event_id: String::new(),
                    event_type: "plain".into(),
                    user_id: "u".into(),
                    at: dice.below(3) as i64 * DAY,
                };
            }
            let at = (key as i64 % 2 + 2 * version) * DAY;
            Row {
                event_id: format!("e{key}"),
                event_type: format!("t{key}"),
                user_id: format!("u{version}"),
                at,
            }
        })
        .collect()
}

async fn upload(
    store: Arc<dyn Store>,
    id: BatchId,
    at: tallymill::model::Instant,
    seed: u64,
) -> Result<()> {
    store
        .create_batch(&Batch::receiving(
            id,
            String::new(),
            true,
            "uploader".into(),
            at,
        ))
        .await?;
    let columns = Columns {
        labels: ["event_id", "user_id", "event_type", "timestamp"]
            .map(str::to_owned)
            .to_vec(),
        roles: vec![
            ColumnRole::EventId,
            ColumnRole::UserId,
            ColumnRole::EventType,
            ColumnRole::Timestamp,
        ],
        hint: None,
    };
    let mut writer = store.write_events(id, &columns).await?;
    let mut block = EventBlock::default();
    for (at, row) in rows(seed).into_iter().enumerate() {
        block.rows.push(at as u32 + 1);
        block.lines.push(at as u32 + 2);
        block.event_id.push(row.event_id.as_bytes());
        block.user_id.push(row.user_id.as_bytes());
        block.event_type.push(row.event_type.as_bytes());
        block.timestamp.push(row.at);
    }
    let inserted = block.len() as u64;
    writer.append(block).await?;
    writer.finish().await?;
    let receipt = Receipt {
        rows: RowCounts {
            received: inserted,
            inserted,
            failed: 0,
            blank: 0,
        },
        errors_by_code: BTreeMap::new(),
        rejections_kept: 0,
        file_name: None,
        bytes: seed,
        sha256: String::new(),
        bom: false,
        line_ending: "lf".into(),
        columns,
        event_time: (0, 4 * DAY),
        event_types: 1,
        days: 1,
        claims: true,
        expires_at: None,
    };
    let mut content = [0; 32];
    content[..8].copy_from_slice(&seed.to_be_bytes());
    store.seal(id, receipt, content).await.map(drop)
}

/// What one seed comes to: none if every invariant holds.
fn simulate(seed: u64, mutant: Option<Mutant>) -> Option<String> {
    let root = if Path::new("/dev/shm").is_dir() {
        Path::new("/dev/shm").into()
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::tempdir_in(root).expect("temporary directory");
    std::panic::catch_unwind(AssertUnwindSafe(|| {
        World::new(seed, dir.path(), mutant).run().err()
    }))
    .unwrap_or_else(|_| Some("panicked".into()))
}

fn number(name: &str) -> Option<u64> {
    std::env::vars()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.parse().expect("a number"))
}

/// Runs seeds on all cores; the first that breaks, if one does.
fn first_broken(seeds: std::ops::Range<u64>, mutant: Option<Mutant>) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(None));
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                while found.lock().expect("no panics").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Some(why) = simulate(seed, mutant) {
                        found.lock().expect("no panics").get_or_insert((seed, why));
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panics")
}

#[test]
fn no_history_loses_doubles_or_strands_an_event() {
    let seeds = match number("TALLYMILL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_SEEDS").unwrap_or(300),
    };
    if let Some((seed, why)) = first_broken(seeds, None) {
        panic!("seed {seed}: {why}; replay with TALLYMILL_SEED={seed}");
    }
}

#[test]
fn each_rule_of_the_protocol_is_needed() {
    let seeds = number("TALLYMILL_SEEDS").unwrap_or(300).max(300) * 10;
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        match first_broken(0..seeds, Some(mutant)) {
            Some((seed, why)) => println!("{mutant:?}: caught by seed {seed}: {why}"),
            None => survivors.push(mutant),
        }
    }
    assert!(
        survivors.is_empty(),
        "not caught within {seeds} seeds: {survivors:?}"
    );
}
