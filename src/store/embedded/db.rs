//! A SQLite database: one writer thread and a pool of read-only connections, each call one short transaction.
//! No connection leaves this folder.

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::store::{Result, StoreError};

/// Concurrent reads; further ones wait.
const READERS: usize = 4;
/// Writes queued for the writer thread; callers of further ones wait.
const QUEUED_WRITES: usize = 64;
/// Longest wait for a lock of another connection (a checkpoint, a backup tool).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, ReadOnly,
            SystemIoFailure,
        };
        let what = super::DATABASE_FILE;
        match source.sqlite_error_code() {
            Some(
                CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | OutOfMemory | ReadOnly
                | SystemIoFailure,
            ) => Self::Unavailable {
                what,
                source: Box::new(source),
            },
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
    },
    /// For simulations: in memory, on the caller's thread.
    Memory(Mutex<Connection>),
}

/// Read-only connections, opened on demand.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
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
            permits: Semaphore::new(READERS),
        };
        Ok(Self::File {
            writer: Some(writer),
            thread: Some(thread),
            readers: Arc::new(readers),
        })
    }

    pub(super) fn memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        super::migrate::run(&mut connection)?;
        Ok(Self::Memory(Mutex::new(connection)))
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
            Self::File { writer, .. } => {
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
                outcome.await.map_err(|_| stopped())?
            }
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
            Self::File { readers, .. } => {
                let readers = Arc::clone(readers);
                let _permit = readers.permits.acquire().await.map_err(|_| stopped())?;
                let pool = Arc::clone(&readers);
                tokio::task::spawn_blocking(move || pool.run(query))
                    .await
                    .map_err(|_| stopped())?
            }
        }
    }
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
