//! One SQLite file: one thread that writes, readers beside it, each verb one short transaction.
//! Nothing outside this folder sees a connection.

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

/// Readers that work at once; further ones wait.
const READERS: usize = 4;
/// Writes that wait for the writer before callers are held up.
const WAITING_WRITES: usize = 64;
/// Longest wait for a lock of another connection (a checkpoint, a backup tool).
const BUSY: Duration = Duration::from_secs(5);

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, ReadOnly,
            SystemIoFailure,
        };
        let what = "SQLite";
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

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// How the database is run.
pub(super) enum Db {
    /// A file: a writer thread and readers beside it.
    File {
        writer: Option<mpsc::Sender<Work>>,
        thread: Option<JoinHandle<()>>,
        readers: Arc<Readers>,
    },
    /// In memory, on the caller's thread: for simulations.
    Memory(Mutex<Connection>),
}

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Db {
    pub(super) fn file(path: &Path) -> Result<Self> {
        let mut writing = Connection::open(path)?;
        writing.busy_timeout(BUSY)?;
        // FULL: a reply means that the change is on disk. The cache serves claims in random key order.
        writing.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;",
        )?;
        super::migrate::run(&mut writing)?;
        let (writer, mut work) = mpsc::channel::<Work>(WAITING_WRITES);
        let run = move || {
            while let Some(work) = work.blocking_recv() {
                // A change that panics is rolled back by its transaction; the next must still be made.
                let done = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut writing)));
                if done.is_err() {
                    tracing::error!("a change of the store panicked");
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
            places: Semaphore::new(READERS),
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

    /// Runs `change` in one transaction, alone, and makes it durable.
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
                let (reply, answer) = oneshot::channel();
                let work: Work = Box::new(move |connection| {
                    // Nobody may wait any more: the change is made all the same.
                    let _ = reply.send(transact(connection, change));
                });
                let sent = match writer {
                    Some(writer) => writer.send(work).await.is_ok(),
                    None => false,
                };
                if !sent {
                    return Err(stopped());
                }
                answer.await.map_err(|_| stopped())?
            }
        }
    }

    /// Runs `look` on one snapshot.
    pub(super) async fn read<T, F>(&self, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        match self {
            Self::Memory(connection) => {
                look(&connection.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Self::File { readers, .. } => {
                let readers = Arc::clone(readers);
                let _place = readers.places.acquire().await.map_err(|_| stopped())?;
                let working = Arc::clone(&readers);
                tokio::task::spawn_blocking(move || working.look(look))
                    .await
                    .map_err(|_| stopped())?
            }
        }
    }
}

impl Readers {
    fn look<T>(&self, look: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
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
                connection.busy_timeout(BUSY)?;
                connection.execute_batch("PRAGMA cache_size = -2048")?;
                connection
            }
        };
        connection.execute_batch("BEGIN")?;
        let found = look(&connection);
        connection.execute_batch("COMMIT")?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        found
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Self::File { writer, thread, .. } = self {
            drop(writer.take());
            if let Some(thread) = thread.take() {
                // A panic of the writer has been logged where it happened.
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
        what: "SQLite",
        source: "the store is closing".into(),
    }
}
