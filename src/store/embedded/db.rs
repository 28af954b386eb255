//! A SQLite database: one writer thread and a pool of read-only connections, each call one short transaction.
//! No connection leaves this folder.

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use crate::store::{Result, StoreError, corrupt};

/// Concurrent reads; further ones wait.
const READERS: usize = 4;
/// Writes queued for the writer thread; callers of further ones wait.
const QUEUED_WRITES: usize = 64;
/// Time after which a long change lets other writes run, such as renewals of leases and seals.
const TURN: Duration = Duration::from_millis(50);
/// Longest wait for a lock of another connection (a checkpoint, a backup tool).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How errors name the database.
pub(super) const DATABASE: &str = "the database tallymill.db";

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
            OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let what = super::DATABASE_FILE;
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => corrupt(DATABASE, &source),
            Some(CannotOpen | DiskFull | PermissionDenied | ReadOnly) => Self::Blocked {
                what,
                source: Box::new(source),
            },
            Some(DatabaseBusy | DatabaseLocked | OutOfMemory | SystemIoFailure) => {
                Self::Unavailable {
                    what,
                    source: Box::new(source),
                }
            }
            _ => Self::Failed {
                what,
                source: Box::new(source),
            },
        }
    }
}

type WriteTask = Box<dyn FnOnce(&mut Connection) + Send>;

/// A database.
pub(super) enum Db {
    /// A file, with a writer thread and concurrent readers.
    File {
        writer: Option<mpsc::Sender<WriteTask>>,
        thread: Option<JoinHandle<()>>,
        readers: Arc<Readers>,
        /// Set once SQLite has reported damage. It stays until a restart: the damaged page may be read rarely.
        damaged: AtomicBool,
    },
    /// For simulations: in memory, on the caller's thread.
    Memory(Mutex<Connection>),
}

/// Read-only connections, opened on demand.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// The time of one transaction of a long change. Rows say little about time: each may read a page from a cold disk.
pub(super) struct Turn(Instant);

impl Turn {
    /// Whether the transaction has taken its time.
    pub(super) fn is_over(&self) -> bool {
        self.0.elapsed() >= TURN
    }
}

impl Db {
    pub(super) fn file(path: &Path) -> Result<Self> {
        let mut writing = Connection::open(path)?;
        writing.busy_timeout(BUSY_TIMEOUT)?;
        // FULL: a reply means that the change is on disk. The cache serves claims in random key order.
        writing.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;",
        )?;
        super::migrate::run(&mut writing)?;
        let (writer, mut tasks) = mpsc::channel::<WriteTask>(QUEUED_WRITES);
        let run = move || {
            while let Some(task) = tasks.blocking_recv() {
                // The transaction of a task that panics is rolled back; later tasks must still run.
                let done = std::panic::catch_unwind(AssertUnwindSafe(|| task(&mut writing)));
                if done.is_err() {
                    tracing::error!("a write transaction panicked and was rolled back");
                }
            }
            // A failed checkpoint costs nothing: the next start reads the log.
            let _ = writing.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(run)
            .map_err(|source| StoreError::Unavailable {
                what: "a thread for SQLite",
                source: Box::new(source),
            })?;
        let readers = Readers {
            path: path.into(),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(READERS)),
        };
        Ok(Self::File {
            writer: Some(writer),
            thread: Some(thread),
            readers: Arc::new(readers),
            damaged: AtomicBool::new(false),
        })
    }

    pub(super) fn memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        super::migrate::run(&mut connection)?;
        Ok(Self::Memory(Mutex::new(connection)))
    }

    /// Returns whether SQLite has reported damage since the start.
    pub(super) fn is_damaged(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::File { damaged, .. } => damaged.load(Ordering::Relaxed),
        }
    }

    /// Runs `change` in an exclusive transaction and makes it durable.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Memory(connection) => transact(
                &mut connection.lock().unwrap_or_else(PoisonError::into_inner),
                change,
            ),
            Self::File {
                writer, damaged, ..
            } => {
                let (reply, outcome) = oneshot::channel();
                let task: WriteTask = Box::new(move |connection| {
                    // The change is made even if the caller no longer waits for it.
                    let _ = reply.send(transact(connection, change));
                });
                let sent = match writer {
                    Some(writer) => writer.send(task).await.is_ok(),
                    None => false,
                };
                if !sent {
                    return Err(stopped());
                }
                note_damage(damaged, outcome.await.unwrap_or_else(|_| Err(panicked())))
            }
        }
    }

    /// Runs a change that may be interrupted anywhere, in transactions of bounded time: `step` advances `state` until it
    /// is done, which it returns, or until its turn is over. It advances at least once.
    pub(super) async fn write_in_turns<S: Send + 'static>(
        &self,
        mut state: S,
        step: fn(&Transaction<'_>, &mut S, &Turn) -> Result<bool>,
    ) -> Result<S> {
        loop {
            let turn = move |db: &Transaction<'_>| {
                let is_done = step(db, &mut state, &Turn(Instant::now()))?;
                Ok((state, is_done))
            };
            let (advanced, is_done) = self.write(turn).await?;
            if is_done {
                return Ok(advanced);
            }
            state = advanced;
        }
    }

    /// Runs `query` on one snapshot.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Memory(connection) => {
                query(&connection.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Self::File {
                readers, damaged, ..
            } => {
                let permit = Arc::clone(&readers.permits).acquire_owned().await;
                let permit = permit.map_err(|_| stopped())?;
                let pool = Arc::clone(readers);
                let run = move || {
                    // A query runs to its end even if nobody waits for it any more.
                    let _permit = permit;
                    pool.run(query)
                };
                let read = tokio::task::spawn_blocking(run).await;
                note_damage(damaged, read.unwrap_or_else(|_| Err(panicked())))
            }
        }
    }
}

/// Records that SQLite has reported damage.
fn note_damage<T>(damaged: &AtomicBool, result: Result<T>) -> Result<T> {
    if let Err(StoreError::Corrupt { what, why }) = &result
        && what == DATABASE
        && !damaged.swap(true, Ordering::Relaxed)
    {
        tracing::error!(
            error = why,
            "the database is damaged, /ready is 503 until a restart: stop the service, run `PRAGMA integrity_check`, and restore a backup"
        );
    }
    result
}

impl Readers {
    fn run<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.busy_timeout(BUSY_TIMEOUT)?;
                connection.execute_batch("PRAGMA cache_size = -2048")?;
                connection
            }
        };
        connection.execute_batch("BEGIN")?;
        let result = query(&connection);
        connection.execute_batch("COMMIT")?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Self::File { writer, thread, .. } = self {
            drop(writer.take());
            if let Some(thread) = thread.take() {
                // The thread catches and logs panics of its tasks.
                let _ = thread.join();
            }
        }
    }
}

fn transact<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = change(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn stopped() -> StoreError {
    StoreError::Unavailable {
        what: super::DATABASE_FILE,
        source: "the store is closing".into(),
    }
}

/// A transaction that panicked is rolled back. Another attempt may meet the same fault, so it counts as a failure.
fn panicked() -> StoreError {
    StoreError::Failed {
        what: "SQLite",
        source: "the transaction panicked and was rolled back".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc as blocking};

    use futures_util::FutureExt;

    use super::*;

    fn database() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Db::file(&dir.path().join("test.db")).expect("opens");
        (dir, db)
    }

    #[tokio::test]
    async fn abandoned_queries_count_until_they_end() {
        let (_dir, db) = database();
        let started = Arc::new(AtomicUsize::new(0));
        let mut gates = Vec::new();
        for _ in 0..3 * READERS {
            let (open, gate) = blocking::channel::<()>();
            gates.push(open);
            let count = Arc::clone(&started);
            let query = db.read(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = gate.recv();
                Ok(())
            });
            // Polled once, as by a client that leaves.
            assert!(query.now_or_never().is_none());
        }
        let Db::File { readers, .. } = &db else {
            unreachable!("it is a file")
        };
        while started.load(Ordering::SeqCst) < READERS {
            tokio::task::yield_now().await;
        }
        assert_eq!(readers.permits.available_permits(), 0);
        drop(gates);
        db.read(|_| Ok(())).await.expect("has its turn");
        assert_eq!(started.load(Ordering::SeqCst), READERS);
    }

    #[tokio::test]
    async fn a_long_change_lets_others_write_between_its_turns() {
        let (_dir, db) = database();
        let log = Arc::new(Mutex::new(Vec::<&'static str>::new()));
        let long = db.write_in_turns((Arc::clone(&log), 0), move |_, (log, turns), turn| {
            while !turn.is_over() {
                std::thread::yield_now();
            }
            *turns += 1;
            log.lock().expect("no panic").push("long");
            Ok(*turns == 3)
        });
        let other = async {
            let log = Arc::clone(&log);
            db.write(move |_| {
                log.lock().expect("no panic").push("other");
                Ok(())
            })
            .await
        };
        let (long, other) = tokio::join!(long, other);
        long.expect("is done");
        other.expect("is done");
        let order = log.lock().expect("no panic").clone();
        assert_eq!(order, ["long", "other", "long", "long"]);
    }
}
