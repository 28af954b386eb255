//! The harness of engine tests: a store, a ledger, a clock that tests advance, and workers that they run, stop and freeze.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use chrono_tz::Tz;
use tallymill::{
    clock::{Clock, Fixed},
    ingest::{self, Ingest},
    job::{
        Dispatch, DispatchError, JobBodies, JobLimits, JobQueue, JobService, NudgeResult,
        Reconciler, Runner, work::Bodies,
    },
    model::{Batch, BatchId, BatchStatus, Day, Job, JobId},
    parse, receive,
    store::{Result, Store, StoreError, StoredDay, embedded::Mode},
    transfer::Transfers,
};
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    intercepted_store::InterceptedStore,
    interceptor::VerbInterceptor,
    mutant::Mutant,
    now,
    store_fixtures::{Event, TestStore, uploaded},
};

/// Faults and blocks of verbs by name.
#[derive(Default)]
pub(super) struct Script {
    failing: Mutex<HashMap<&'static str, Fault>>,
    frozen: Mutex<Option<&'static str>>,
    passed: Mutex<HashMap<&'static str, u32>>,
}

/// How a verb fails.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    Failed,
    Unavailable,
    Blocked,
    Corrupt,
}

impl Script {
    pub(super) fn fail(&self, verb: &'static str, fault: Option<Fault>) {
        let mut failing = self.failing.lock().expect("one thread");
        match fault {
            Some(fault) => drop(failing.insert(verb, fault)),
            None => drop(failing.remove(verb)),
        }
    }

    pub(super) fn freeze(&self, verb: Option<&'static str>) {
        *self.frozen.lock().expect("one thread") = verb;
    }

    pub(super) fn passed(&self, verb: &'static str) -> u32 {
        let passed = self.passed.lock().expect("one thread");
        passed.get(verb).copied().unwrap_or(0)
    }
}

#[async_trait]
impl VerbInterceptor for Script {
    async fn before_verb(&self, verb: &'static str) -> Result<()> {
        let frozen = || *self.frozen.lock().expect("one thread") == Some(verb);
        poll_fn(|_| {
            if frozen() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        *self
            .passed
            .lock()
            .expect("one thread")
            .entry(verb)
            .or_default() += 1;
        let source = "planned".into();
        match self.failing.lock().expect("one thread").get(verb) {
            None => Ok(()),
            Some(Fault::Failed) => Err(StoreError::Failed { what: verb, source }),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable { what: verb, source }),
            Some(Fault::Corrupt) => Err(StoreError::Corrupt {
                what: verb.into(),
                why: "planned".into(),
            }),
            Some(Fault::Blocked) => Err(StoreError::Blocked { what: verb, source }),
        }
    }
}

/// A queue that records nudges.
#[derive(Default)]
struct Nudges(Mutex<Vec<JobId>>);

#[async_trait]
impl Dispatch for Nudges {
    async fn nudge(&self, job: JobId) -> std::result::Result<(), DispatchError> {
        self.0.lock().expect("one thread").push(job);
        Ok(())
    }
}

/// A run of a worker, polled by hand.
pub(super) struct PausedRun {
    run: Pin<Box<dyn Future<Output = NudgeResult>>>,
    pub(super) stop: CancellationToken,
}

impl PausedRun {
    /// Polls the run once; returns its result if it ended.
    pub(super) fn resume(&mut self) -> Option<NudgeResult> {
        let mut context = Context::from_waker(Waker::noop());
        match self.run.as_mut().poll(&mut context) {
            Poll::Ready(ran) => Some(ran),
            Poll::Pending => None,
        }
    }
}

pub(super) struct Harness {
    home: TestStore,
    pub(super) clock: Fixed,
    pub(super) script: Arc<Script>,
    nudges: Arc<Nudges>,
    sweep: Reconciler,
    mutant: Option<Mutant>,
}

impl Harness {
    pub(super) fn new() -> Self {
        let home = now(TestStore::open(Mode::Simulated));
        let (clock, nudges) = (Fixed::default(), Arc::new(Nudges::default()));
        let limits = limits(&home);
        let sweep = sweep(&home, &clock, &nudges, limits, None);
        Self {
            home,
            clock,
            script: Arc::default(),
            nudges,
            sweep,
            mutant: None,
        }
    }

    /// Returns the harness without one rule of the protocol.
    pub(super) fn without(self, mutant: Mutant) -> Self {
        let mutant = Some(mutant);
        Self { mutant, ..self }
    }

    /// Returns the harness after a restart of the process.
    pub(super) fn restarted(self, prefix: &str) -> Self {
        let prefix = Some(prefix.to_owned());
        let limits = limits(&self.home);
        let sweep = sweep(&self.home, &self.clock, &self.nudges, limits, prefix);
        Self { sweep, ..self }
    }

    pub(super) fn dir(&self) -> &Path {
        self.home.dir.path()
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.home.store
    }

    pub(super) fn service(&self) -> JobService {
        let clock = Arc::new(self.clock.clone());
        JobService::new(self.home.store.clone(), clock, self.nudges.clone())
    }

    /// Returns a service whose store fails as the script says.
    pub(super) fn scripted_service(&self) -> JobService {
        let store =
            InterceptedStore::new(self.home.store.clone(), self.script.clone(), self.mutant);
        let clock = Arc::new(self.clock.clone());
        JobService::new(Arc::new(store), clock, self.nudges.clone())
    }

    pub(super) fn ingest(&self) -> Ingest {
        self.ingest_into(self.home.store.clone())
    }

    /// Returns an ingest whose store fails as the script says.
    pub(super) fn scripted_ingest(&self) -> Ingest {
        let store =
            InterceptedStore::new(self.home.store.clone(), self.script.clone(), self.mutant);
        self.ingest_into(Arc::new(store))
    }

    fn ingest_into(&self, store: Arc<dyn Store>) -> Ingest {
        let clock = Arc::new(self.clock.clone());
        let limits = ingest::Limits {
            receive: receive::Limits::default(),
            parse: parse::Limits::default(),
            time_zone: chrono_tz::Tz::UTC,
            rejections: 100,
            event_types: 1_000,
            days: 4_000,
            batch_ttl: Some(Duration::from_secs(3_600)),
            lease: Duration::from_secs(30),
        };
        Ingest::new(store, clock, limits, "boot-1/up".into())
    }

    /// Returns transfers of files of at most `max_length` bytes.
    pub(super) fn transfers(&self, max_length: u64) -> Transfers {
        let clock = Arc::new(self.clock.clone());
        Transfers::new(self.home.store.clone(), clock, self.ingest(), max_length)
    }

    pub(super) fn jobs(&self) -> JobQueue {
        let clock = Arc::new(self.clock.clone());
        JobQueue::new(self.home.store.clone(), clock, self.nudges.clone())
    }

    /// Uploads the nth batch.
    pub(super) fn upload(&self, n: u64, events: &[Event<'_>]) -> BatchId {
        now(uploaded(self.store(), n, events))
    }

    /// Uploads the nth batch and requests its figures.
    pub(super) fn ask(&self, n: u64, events: &[Event<'_>]) -> (BatchId, JobId) {
        let id = self.upload(n, events);
        let asked = now(self.service().process(id, false)).expect("the ledger is here");
        (id, asked.done().expect("is uploaded"))
    }

    /// Returns a runner whose store fails as the script says.
    pub(super) fn runner(
        &self,
        bodies: Arc<dyn JobBodies>,
        owner: &str,
        stop: CancellationToken,
    ) -> Runner {
        self.runner_by(self.clock.clone(), bodies, owner, stop)
    }

    fn runner_by(
        &self,
        clock: impl Clock + 'static,
        bodies: Arc<dyn JobBodies>,
        owner: &str,
        stop: CancellationToken,
    ) -> Runner {
        let store =
            InterceptedStore::new(self.home.store.clone(), self.script.clone(), self.mutant);
        Runner::new(
            Arc::new(store),
            Arc::new(clock),
            self.nudges.clone(),
            bodies,
            limits(&self.home),
            owner.into(),
            stop,
        )
    }

    /// Starts a run that blocks at a frozen verb. A frozen process has its own clock.
    pub(super) fn begin(&self, job: JobId, owner: &str, clock: Fixed) -> PausedRun {
        let stop = CancellationToken::new();
        let runner = self
            .runner_by(clock, Arc::new(Bodies), owner, stop.clone())
            .renewing_inline();
        let run = Box::pin(async move { runner.run(job).await });
        let mut work = PausedRun { run, stop };
        assert_eq!(work.resume(), None, "it should wait for the script");
        work
    }

    /// Runs a job to its end.
    pub(super) fn run(&self, job: JobId) -> NudgeResult {
        let stop = CancellationToken::new();
        let runner = self.runner(Arc::new(Bodies), "boot-1/w", stop);
        now(runner.renewing_inline().run(job))
    }

    /// Runs a job to its end in a process with another clock.
    pub(super) fn run_by(&self, job: JobId, clock: impl Clock + 'static) -> NudgeResult {
        let stop = CancellationToken::new();
        let runner = self.runner_by(clock, Arc::new(Bodies), "boot-1/w", stop);
        now(runner.renewing_inline().run(job))
    }

    /// Runs nudged jobs in order until none is left.
    pub(super) fn drain(&self) {
        loop {
            let next = std::mem::take(&mut *self.nudges.0.lock().expect("one thread"));
            if next.is_empty() {
                return;
            }
            for job in next {
                self.run(job);
            }
        }
    }

    pub(super) fn nudged(&self) -> Vec<JobId> {
        std::mem::take(&mut *self.nudges.0.lock().expect("one thread"))
    }

    pub(super) fn pass(&mut self) {
        now(self.sweep.pass()).expect("the store is here");
    }

    /// Lets every lease expire that is not renewed.
    pub(super) fn expire(&mut self) {
        self.pass();
        self.clock.advance(Duration::from_secs(30));
        self.pass();
    }

    /// Advances the clock to the time at which the job is due.
    pub(super) fn wait_for(&self, job: JobId) -> Duration {
        let wait = self.job(job).run_at - self.clock.now();
        let wait = wait.to_std().unwrap_or_default();
        self.clock.advance(wait);
        wait
    }

    pub(super) fn job(&self, job: JobId) -> Job {
        now(self.home.store.job(job))
            .expect("reads")
            .expect("is there")
    }

    pub(super) fn batch(&self, id: BatchId) -> Batch {
        now(self.home.store.batch(id))
            .expect("reads")
            .expect("is there")
    }

    pub(super) fn status(&self, id: BatchId) -> BatchStatus {
        self.batch(id).status
    }

    /// Returns all figures as (day, type, events, users).
    pub(super) fn figures(&self) -> Vec<(i32, String, u64, u64)> {
        let days = now(self.home.store.days(Day(0), Day(99_999), None, 1_000)).expect("reads");
        let of_day = |day: StoredDay| {
            let types = day.types.into_iter();
            types.map(move |t| (day.day.0, t.event_type, t.count, t.unique_users))
        };
        days.into_iter().flat_map(of_day).collect()
    }
}

fn sweep(
    home: &TestStore,
    clock: &Fixed,
    nudges: &Arc<Nudges>,
    limits: JobLimits,
    prefix: Option<String>,
) -> Reconciler {
    let (store, clock) = (home.store.clone(), Arc::new(clock.clone()));
    Reconciler::new(store, clock, nudges.clone(), limits, prefix)
}

fn limits(home: &TestStore) -> JobLimits {
    JobLimits {
        attempts: 4,
        crashes: 5,
        backoff: Duration::from_secs(5),
        lease: Duration::from_secs(30),
        sweep: Duration::from_secs(5),
        batch_ttl: Some(Duration::from_secs(3_600)),
        tombstone_retention: Some(Duration::from_secs(90 * 86_400)),
        audit_retention: None,
        reprocess_budget: Duration::from_secs(600),
        time_zone: Tz::UTC,
        scratch: home.dir.path().into(),
        sort_memory: 1 << 20,
        fold_groups: 1_000,
        claims_at_once: 1_000,
    }
}
