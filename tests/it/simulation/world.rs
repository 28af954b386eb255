//! One history: a store, workers, clients and a reconciler, stepped one store verb at a time by a seeded generator.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono_tz::Tz;
use tallymill::{
    clock::{Clock, Fixed},
    job::{JobLimits, JobQueue, JobService, Reconciler, Runner, work::Bodies},
    model::{BatchId, BatchStatus, Job, JobChange, JobId, JobState, Slot},
    store::{BatchFilter, Store},
};
use tokio_util::sync::CancellationToken;

use super::{
    ObservationCounts,
    backend::SimulatedBackend,
    generated_file::{Random, upload},
    oracle::check_invariants,
    step_gate::{Nudges, SharedSteps, StepGate},
};
use crate::helpers::{
    intercepted_store::InterceptedStore, interceptor::Observation, mutant::Mutant,
};

/// Steps with faults, and the most steps without faults until nothing is left to do.
const CHAOS_STEPS: u64 = 700;
const REST_STEPS: u64 = 30_000;
/// Longest freeze of an actor in steps: long enough for several runs of others.
const FREEZE_STEPS: u64 = 300;

#[derive(Clone, PartialEq)]
enum Role {
    Client,
    Reconciler,
    Worker(JobId),
}

struct Actor {
    future: Pin<Box<dyn Future<Output = ()>>>,
    role: Role,
    stop: CancellationToken,
    /// The step at which it continues.
    wakes: u64,
}

pub(super) struct SimulationWorld {
    pub(super) inner: Arc<dyn Store>,
    backend: SimulatedBackend,
    pub(super) batches: Vec<BatchId>,
    random: Random,
    clock: Fixed,
    nudges: Arc<Nudges>,
    shared: Arc<SharedSteps>,
    mutant: Option<Mutant>,
    limits: JobLimits,
    /// Whether an admin retries the dead jobs of batches.
    pub(super) retries: bool,
    actors: Vec<Actor>,
    sweep: Arc<tokio::sync::Mutex<Reconciler>>,
    workers: u64,
    steps: u64,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// Limits so small that spills, passes and chunks happen with a handful of rows.
fn limits(dir: &Path, crashes: u32) -> JobLimits {
    JobLimits {
        attempts: 2,
        crashes,
        backoff: Duration::from_secs(1),
        lease: Duration::from_secs(30),
        sweep: Duration::from_secs(5),
        batch_ttl: Some(Duration::from_secs(120)),
        tombstone_retention: Some(Duration::from_secs(90 * 86_400)),
        audit_retention: None,
        reprocess_budget: Duration::from_secs(3_600),
        time_zone: Tz::UTC,
        scratch: dir.into(),
        sort_memory: 64,
        fold_groups: 3,
        claims_at_once: 2,
    }
}

impl SimulationWorld {
    pub(super) fn new(
        seed: u64,
        dir: &Path,
        backend: SimulatedBackend,
        mutant: Option<Mutant>,
        counts: Arc<ObservationCounts>,
    ) -> Self {
        let inner = backend.store();
        let shared = Arc::new(SharedSteps {
            chaos: AtomicBool::new(true),
            faults: AtomicU64::new(seed << 20),
            counts,
            turn: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
        });
        let (clock, nudges) = (Fixed::default(), Arc::new(Nudges::default()));
        // In a third of the histories the first crash is the last one allowed, and in half of them no admin retries.
        let limits = limits(dir, if seed.is_multiple_of(3) { 1 } else { 5 });
        let gate = StepGate {
            shared: Arc::clone(&shared),
            faulty: true,
        };
        let sweep = Reconciler::new(
            Arc::new(InterceptedStore::new(
                backend.behind(&gate),
                Arc::new(gate),
                mutant,
            )),
            Arc::new(clock.clone()),
            nudges.clone(),
            limits.clone(),
            None,
        );
        Self {
            inner,
            backend,
            batches: vec![],
            random: Random(seed),
            clock,
            nudges,
            shared,
            mutant,
            limits,
            retries: seed.is_multiple_of(2),
            actors: vec![],
            sweep: Arc::new(tokio::sync::Mutex::new(sweep)),
            workers: 0,
            steps: 0,
            complaints: Arc::default(),
        }
    }

    /// Runs the chaos phase, the rest, cleanup and verification, and then the oracle.
    pub(super) fn run(&mut self) -> std::result::Result<(), String> {
        while self.steps < CHAOS_STEPS {
            self.step(true);
        }
        self.rest()?;
        self.night()?;
        if let Some(complaint) = self.complaints.lock().expect("one thread").first() {
            return Err(complaint.clone());
        }
        check_invariants(self)
    }

    fn store(&self, faulty: bool) -> Arc<dyn Store> {
        let gate = StepGate {
            shared: Arc::clone(&self.shared),
            faulty,
        };
        let inner = self.backend.behind(&gate);
        Arc::new(InterceptedStore::new(inner, Arc::new(gate), self.mutant))
    }

    /// Runs a future that no gate stops.
    pub(super) fn now<T>(&self, future: impl Future<Output = T>) -> T {
        self.backend.now(future)
    }

    fn service(&self) -> JobService {
        let clock = Arc::new(self.clock.clone());
        JobService::new(self.store(false), clock, self.nudges.clone())
    }

    fn jobs(&self) -> JobQueue {
        let clock = Arc::new(self.clock.clone());
        JobQueue::new(self.store(false), clock, self.nudges.clone())
    }

    fn enter(
        &mut self,
        role: Role,
        stop: CancellationToken,
        future: impl Future<Output = ()> + 'static,
    ) {
        self.actors.push(Actor {
            future: Box::pin(future),
            role,
            stop,
            wakes: 0,
        });
    }

    fn client(&mut self, future: impl Future<Output = ()> + 'static) {
        self.enter(Role::Client, CancellationToken::new(), future);
    }

    fn work(&mut self, job: JobId) {
        self.workers += 1;
        let stop = CancellationToken::new();
        let runner = Runner::new(
            self.store(true),
            Arc::new(self.clock.clone()),
            self.nudges.clone(),
            Arc::new(Bodies),
            self.limits.clone(),
            format!("w{}", self.workers),
            stop.clone(),
        )
        .renewing_inline();
        self.enter(Role::Worker(job), stop, async move {
            let _ = runner.run(job).await;
        });
    }

    fn sweep(&mut self) {
        if !self.actors.iter().any(|a| a.role == Role::Reconciler) {
            let sweep = Arc::clone(&self.sweep);
            self.enter(Role::Reconciler, CancellationToken::new(), async move {
                drop(sweep.lock().await.pass().await);
            });
        }
    }

    fn upload(&mut self) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(self.batches.len() as u64).to_be_bytes());
        let id = BatchId::from_bytes(bytes);
        let again = self.batches.len() > 1 && self.random.chance(15);
        let seed = if again {
            self.random.below(self.batches.len() as u64)
        } else {
            1_000 + self.random.next()
        };
        self.batches.push(id);
        let (store, at) = (self.store(false), self.clock.now());
        let unstaged = self.backend.ungated(&self.shared);
        let complaints = Arc::clone(&self.complaints);
        self.client(async move { drop(upload(store, unstaged, id, at, seed, complaints).await) });
    }

    fn live(&self) -> usize {
        let live = |id: &&BatchId| {
            let batch = self.now(self.inner.batch(**id)).expect("reads");
            batch.is_some_and(|b| !b.status.is_void() && b.status != BatchStatus::Receiving)
        };
        self.batches.iter().filter(live).count()
    }

    fn disturb(&mut self) {
        let pick = self.random.below(100);
        if self.batches.is_empty() || (pick < 25 && self.live() < 4) {
            return self.upload();
        }
        let id = self.batches[self.random.below(self.batches.len() as u64) as usize];
        let slot = Slot(self.clock.now().timestamp() + pick as i64 % 4);
        let (service, jobs) = (self.service(), self.jobs());
        match pick {
            0..53 => self.client(async move { drop(service.process(id, false).await) }),
            53..65 => self.client(async move { drop(service.process(id, true).await) }),
            65..75 => self.client(async move { drop(service.delete(id).await) }),
            75..79 if self.retries => {
                self.client(async move { drop(service.retry(JobId::Process(id)).await) })
            }
            75..79 => {}
            79..83 => self.client(async move { drop(jobs.arm_once(JobId::Cleanup(slot)).await) }),
            83..87 => self.client(async move { drop(jobs.arm_once(JobId::Reprocess(slot)).await) }),
            87..92 => self
                .clock
                .advance(Duration::from_secs(self.random.below(40))),
            92..94 => {
                if let Some(actor) = self.pick_actor() {
                    self.actors[actor].stop.cancel();
                }
            }
            _ => self.sweep(),
        }
    }

    /// Lets the lease of a worker expire that may still be alive: it continues at once, or is frozen at its present verb and
    /// wakes after newer runs.
    fn expire(&mut self) {
        let running = self
            .now(self.inner.jobs_in(JobState::Running, None, 100))
            .expect("lists");
        if running.is_empty() {
            return;
        }
        let found = &running[self.random.below(running.len() as u64) as usize];
        let expire = JobChange::Expire {
            token: found.token,
            renewals: found.lease.as_ref().map_or(0, |l| l.renewals),
            run_at: self.clock.now(),
        };
        self.shared.counts.count(Observation::Expire);
        drop(
            self.now(self.inner.change_job(found.id, &expire, self.clock.now()))
                .expect("expires"),
        );
        if self.random.chance(70) {
            let wakes = self.steps + self.random.below(FREEZE_STEPS);
            for actor in &mut self.actors {
                if actor.role == Role::Worker(found.id) && actor.wakes == 0 {
                    actor.wakes = wakes;
                }
            }
        }
    }

    /// Picks an actor that is not frozen.
    fn pick_actor(&mut self) -> Option<usize> {
        let awake: Vec<usize> = (0..self.actors.len())
            .filter(|at| self.actors[*at].wakes <= self.steps)
            .collect();
        if awake.is_empty() {
            return None;
        }
        Some(awake[self.random.below(awake.len() as u64) as usize])
    }

    fn deliver(&mut self, chaos: bool) {
        let mut nudges = self.nudges.0.lock().expect("one thread");
        if nudges.is_empty() {
            return;
        }
        let at = self.random.below(nudges.len() as u64) as usize;
        let doubled = chaos && self.random.chance(10);
        let job = if doubled {
            nudges[at]
        } else {
            nudges.swap_remove(at)
        };
        drop(nudges);
        if !chaos || self.random.chance(90) {
            self.work(job);
        }
    }

    fn step(&mut self, chaos: bool) {
        self.steps += 1;
        if chaos && self.random.chance(20) {
            self.disturb();
        }
        if self.random.chance(40) {
            self.deliver(chaos);
        }
        if chaos && self.random.chance(3) {
            self.expire();
        }
        let Some(at) = self.pick_actor() else {
            return;
        };
        let crashes = chaos && self.random.chance(2);
        if crashes || self.backend.step(&mut self.actors[at].future, &self.shared) {
            drop(self.actors.swap_remove(at));
        }
    }

    /// Returns whether no actor runs and no nudge waits.
    fn idle(&self) -> bool {
        let none = |state| self.now(self.inner.count_jobs(state)).expect("counts") == 0;
        self.actors.is_empty() && none(JobState::Queued) && none(JobState::Running)
    }

    fn finished(&self) -> bool {
        let stale = self.now(self.inner.stale_days(None, 1)).expect("lists");
        stale.is_empty() && self.unfinished().is_empty()
    }

    fn unfinished(&self) -> Vec<(BatchId, BatchStatus)> {
        let statuses = vec![
            BatchStatus::Receiving,
            BatchStatus::Queued,
            BatchStatus::Processing,
            BatchStatus::Deleting,
        ];
        let filter = BatchFilter {
            statuses,
            parent: None,
            before: None,
        };
        let found = self
            .now(self.inner.list_batches(&filter, 100))
            .expect("lists");
        found.into_iter().map(|b| (b.id, b.status)).collect()
    }

    /// Runs without faults and crashes until nothing is left to do. An admin retries dead jobs, but not those of batches if
    /// the history has no retries.
    fn rest(&mut self) -> std::result::Result<(), String> {
        self.shared.chaos.store(false, Ordering::Relaxed);
        for step in 0..REST_STEPS {
            if self.idle() {
                let mut dead = self
                    .now(self.inner.jobs_in(JobState::Dead, None, 100))
                    .expect("lists");
                let is_final = |job: &Job| matches!(job.id, JobId::Process(_)) && !self.retries;
                dead.retain(|job| !is_final(job));
                if dead.is_empty() && self.finished() {
                    return Ok(());
                }
                for job in dead {
                    let service = self.service();
                    self.client(async move { drop(service.retry(job.id).await) });
                }
            }
            if self.actors.is_empty() || step % 200 == 0 {
                self.clock.advance(Duration::from_secs(16));
                self.sweep();
            }
            self.step(false);
        }
        let (unfinished, actors) = (self.unfinished(), self.actors.len());
        Err(format!("not at rest: {unfinished:?}, {actors} actors"))
    }

    /// Runs cleanup, which removes rows of late writers, and verification, which must find no difference.
    fn night(&mut self) -> std::result::Result<(), String> {
        self.clock.advance(Duration::from_secs(7_200));
        let slot = Slot(self.clock.now().timestamp());
        let wanted = self.wanted();
        for job in [JobId::Cleanup(slot), JobId::Reprocess(slot)] {
            let jobs = self.jobs();
            self.client(async move { drop(jobs.arm_once(job).await) });
            self.rest()?;
        }
        if self.wanted() == wanted {
            Ok(())
        } else {
            Err("verification found a difference".into())
        }
    }

    fn wanted(&self) -> Vec<i64> {
        let wanted = |id: &BatchId| {
            self.now(self.inner.batch(*id))
                .expect("reads")
                .map(|b| b.wanted)
        };
        // The cleanup forgets uploads that were never sealed, for which nothing was ever wanted.
        let figures = self.batches.iter().filter_map(wanted);
        figures.filter(|wanted| *wanted > 0).collect()
    }
}
