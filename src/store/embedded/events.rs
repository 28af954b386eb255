//! Events of a batch: encoded and decoded on a thread of their own, a bounded channel between.
//! A file has its name only when it is whole and durable.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{EmbeddedStore, Mode, corrupt, io};
use crate::{
    model::{BatchId, Columns, EventBlock, Rejection},
    store::{
        EventFile, EventFilter, EventScan, EventStore, EventWriter, Found, Position, Projection,
        Result, StoreError, aside,
        parquet_file::{self, BlockReader},
    },
};

type BlockWriter = parquet_file::BlockWriter<fs::File>;

/// Blocks that wait between two stages: enough to keep both busy, little to hold.
const WAITING_BLOCKS: usize = 4;

#[async_trait]
impl EventStore for EmbeddedStore {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        let place = Place {
            unfinished: self.dir.join("tmp").join(format!("{id}.parquet")),
            whole: self.events_file(id),
            mode: self.mode,
        };
        let file = fs::File::create(&place.unfinished).map_err(|why| io("an event file", why))?;
        let file = BlockWriter::new(file, columns)?;
        Ok(match self.mode {
            Mode::Simulated => Box::new(InlineWriter { file, place }),
            Mode::Durable => Box::new(ThreadWriter::start(file, place)?),
        })
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        let path = self.events_file(id);
        Ok(match self.mode {
            Mode::Simulated => Box::new(InlineScan(BlockReader::open(&path, &projection)?)),
            Mode::Durable => Box::new(ThreadScan::start(path, projection)?),
        })
    }

    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Found> {
        let (path, filter) = (self.events_file(id), filter.clone());
        let find = move || parquet_file::newest(&path, &filter, after, limit);
        match self.mode {
            Mode::Simulated => find(),
            Mode::Durable => aside(find).await,
        }
    }

    async fn event_file(&self, id: BatchId) -> Result<EventFile> {
        let path = self.events_file(id);
        let (file, bytes) = aside(move || whole(&path)).await?;
        // An open file can be read to its end, whether or not it still has a name.
        let pieces = futures_util::stream::try_unfold(file, |file| {
            aside(move || Ok(piece(&file)?.map(|piece| (piece, file))))
        });
        Ok(EventFile {
            bytes: Some(bytes),
            pieces: Box::pin(pieces),
        })
    }

    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        self.put_rejections(id, rejections).await
    }

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        self.list_rejections(id, after, limit).await
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        self.remove_rejections(id).await
    }

    async fn drop_events(&self, id: BatchId) -> Result<()> {
        match fs::remove_file(self.events_file(id)) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                Err(io("removing an event file", why))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Bytes of a file read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A file and its length.
fn whole(path: &Path) -> Result<(fs::File, u64)> {
    let file = parquet_file::open(path)?;
    let known = file.metadata().map_err(|why| io("an event file", why))?;
    Ok((file, known.len()))
}

/// The next bytes of a file; none at its end.
fn piece(mut file: &fs::File) -> Result<Option<Bytes>> {
    let mut bytes = vec![0; PIECE_BYTES];
    let read = file
        .read(&mut bytes)
        .map_err(|why| io("an event file", why))?;
    bytes.truncate(read);
    Ok((read > 0).then(|| bytes.into()))
}

/// Where a file is made, and where it is put when it is whole.
struct Place {
    unfinished: PathBuf,
    whole: PathBuf,
    mode: Mode,
}

impl Place {
    fn finish(&self, file: BlockWriter) -> Result<()> {
        let sync = self.mode == Mode::Durable;
        let file = file.finish()?;
        if sync {
            file.sync_all().map_err(|why| io("an event file", why))?;
        }
        fs::rename(&self.unfinished, &self.whole)
            .map_err(|why| io("renaming an event file", why))?;
        if sync {
            sync_directory(self.whole.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a finish there is nothing of this name; else the upload was given up.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// A rename is durable only when the directory is.
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|why| io("a directory of the store", why))
}

struct InlineWriter {
    file: BlockWriter,
    place: Place,
}

#[async_trait]
impl EventWriter for InlineWriter {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        self.file.write(block)
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.place.finish(self.file)
    }
}

/// What the encoder is told.
enum Order {
    Write(Box<EventBlock>),
    Finish,
}

struct ThreadWriter {
    orders: mpsc::Sender<Order>,
    outcome: oneshot::Receiver<Result<()>>,
}

impl ThreadWriter {
    fn start(file: BlockWriter, place: Place) -> Result<Self> {
        let (orders, waiting) = mpsc::channel(WAITING_BLOCKS);
        let (done, outcome) = oneshot::channel();
        thread("parquet-writer", move || {
            // Nobody listens if the upload was given up.
            let _ = done.send(encode(waiting, file, &place));
        })?;
        Ok(Self { orders, outcome })
    }

    async fn outcome(&mut self) -> StoreError {
        match (&mut self.outcome).await {
            Ok(Err(why)) => why,
            Ok(Ok(())) | Err(_) => lost(),
        }
    }
}

/// Writes until told to finish; without that word the upload was given up, and the file with it.
fn encode(mut orders: mpsc::Receiver<Order>, mut file: BlockWriter, place: &Place) -> Result<()> {
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Write(block) => file.write(*block)?,
            Order::Finish => return place.finish(file),
        }
    }
    Ok(())
}

#[async_trait]
impl EventWriter for ThreadWriter {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        match self.orders.send(Order::Write(Box::new(block))).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.outcome().await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if self.orders.send(Order::Finish).await.is_err() {
            return Err(self.outcome().await);
        }
        self.outcome.await.unwrap_or_else(|_| Err(lost()))
    }
}

struct InlineScan(BlockReader);

#[async_trait]
impl EventScan for InlineScan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        self.0.next()
    }
}

/// Ends with a word of its own: a channel that merely closes means that the decoder panicked.
struct ThreadScan(mpsc::Receiver<Result<Option<EventBlock>>>);

impl ThreadScan {
    fn start(path: PathBuf, projection: Projection) -> Result<Self> {
        let (blocks, waiting) = mpsc::channel(WAITING_BLOCKS);
        thread("parquet-reader", move || {
            let mut reader = match BlockReader::open(&path, &projection) {
                Ok(reader) => reader,
                Err(why) => return drop(blocks.blocking_send(Err(why))),
            };
            // A refused send means that the run has stopped.
            loop {
                let block = reader.next();
                let more = matches!(block, Ok(Some(_)));
                if blocks.blocking_send(block).is_err() || !more {
                    return;
                }
            }
        })?;
        Ok(Self(waiting))
    }
}

#[async_trait]
impl EventScan for ThreadScan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        let broken = || Err(corrupt("an event file", &"its decoder broke down"));
        self.0.recv().await.unwrap_or_else(broken)
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    // It ends by itself when its channel closes, which the owner of the other end does by dropping it.
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|why| io("a thread for events", why))
}

fn lost() -> StoreError {
    StoreError::Unavailable {
        what: "writing an event file",
        source: "its thread ended early".into(),
    }
}
