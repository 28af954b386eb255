//! Events: one Parquet file per batch, encoded and decoded on a thread of its own behind a bounded channel.
//! A file gets its final name only when it is complete and durable.

use std::{
    fs,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use rusqlite::OptionalExtension;
use tokio::sync::{mpsc, oneshot};

use super::{EmbeddedStore, Mode, corrupt, io, io_at};
use crate::{
    model::{BatchId, Columns, EventBlock, EventDigest},
    store::{
        EventFile, EventFilter, EventPage, EventPosition, EventScan, EventStore, EventWriter,
        Projection, Result, StoreError,
        parquet_file::{self, BlockReader, CheckedChunks, DigestWriter, of_file, open_checked},
        run_blocking,
    },
};

type BlockWriter = parquet_file::BlockWriter<DigestWriter<fs::File>>;

/// Blocks queued between two threads: enough to keep both busy in little memory.
const QUEUED_BLOCKS: usize = 3;

#[async_trait]
impl EventStore for EmbeddedStore {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        let paths = EventFilePaths {
            unfinished: self.dir.join("tmp").join(format!("{id}.parquet")),
            complete: self.event_file_path(id),
            sync: self.mode == Mode::Durable,
        };
        let columns = columns.clone();
        let create = move || {
            let file = fs::File::create(&paths.unfinished)
                .map_err(|why| io_at("creating an event file", &paths.unfinished, why))?;
            let file = BlockWriter::new(DigestWriter::new(file), &columns)?;
            Ok((file, paths))
        };
        let (file, paths) = self.run_on_files(create).await?;
        Ok(match self.mode {
            Mode::Simulated => Box::new(InlineWriter { file, paths }),
            Mode::Durable => Box::new(ThreadWriter::start(file, paths)?),
        })
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        let file = StoredFile {
            path: self.event_file_path(id),
            digest: self.event_digest(id).await?,
        };
        Ok(match self.mode {
            Mode::Simulated => Box::new(InlineScan(file.reader(&projection)?)),
            Mode::Durable => Box::new(ThreadScan::start(file, projection)?),
        })
    }

    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<EventPage> {
        let (path, filter) = (self.event_file_path(id), filter.clone());
        let find = move || {
            let found = parquet_file::find_events(&path, &filter, after, limit);
            found.map_err(|error| of_file(&path, error))
        };
        self.run_on_files(find).await
    }

    async fn event_file(&self, id: BatchId) -> Result<EventFile> {
        let (path, digest) = (self.event_file_path(id), self.event_digest(id).await?);
        let open = move || {
            let chunks = CheckedChunks::open(&path, digest)?;
            let length = chunks.length()?;
            Ok((chunks, length))
        };
        let (chunks, length) = run_blocking(open).await?;
        // An open file stays readable after it is deleted.
        let chunks = futures_util::stream::try_unfold(chunks, |mut chunks| {
            run_blocking(move || Ok(chunks.next()?.map(|chunk| (chunk, chunks))))
        });
        Ok(EventFile {
            length: Some(length),
            chunks: Box::pin(chunks),
        })
    }

    async fn drop_events(&self, id: BatchId) -> Result<()> {
        let path = self.event_file_path(id);
        let remove = move || match fs::remove_file(&path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                Err(io_at("removing an event file", &path, why))
            }
            Ok(()) | Err(_) => Ok(()),
        };
        self.run_on_files(remove).await
    }
}

impl EmbeddedStore {
    /// Returns the digest from the receipt of a batch; none for a batch of an older version, or without a receipt.
    async fn event_digest(&self, id: BatchId) -> Result<Option<EventDigest>> {
        let sql = "SELECT json_extract(doc, '$.receipt.event_digest') FROM batches WHERE id = ?1";
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(sql)?;
                let digest = query.query_row([id.to_string()], |row| row.get(0));
                Ok(digest.optional()?.flatten().map(EventDigest))
            })
            .await
    }
}

/// A complete event file.
struct StoredFile {
    path: PathBuf,
    digest: Option<EventDigest>,
}

impl StoredFile {
    fn check(&self) -> Result<()> {
        open_checked(&self.path, self.digest.as_ref()).map(drop)
    }

    /// Checks the file and opens it for reading by blocks.
    fn reader(&self, projection: &Projection) -> Result<BlockReader> {
        self.check()?;
        self.unchecked_reader(projection)
    }

    fn unchecked_reader(&self, projection: &Projection) -> Result<BlockReader> {
        let file = open_checked(&self.path, None)?;
        BlockReader::new(file, projection).map_err(|error| of_file(&self.path, error))
    }
}

/// The path of an event file while it is written, and its final one.
struct EventFilePaths {
    unfinished: PathBuf,
    complete: PathBuf,
    /// Whether to fsync.
    sync: bool,
}

impl EventFilePaths {
    /// Makes the file durable and gives it its final name.
    fn finish(&self, file: BlockWriter) -> Result<EventDigest> {
        let (file, digest) = file.finish()?.finish();
        if self.sync {
            file.sync_all()
                .map_err(|why| io_at("writing an event file", &self.unfinished, why))?;
        }
        fs::rename(&self.unfinished, &self.complete)
            .map_err(|why| io_at("renaming an event file", &self.complete, why))?;
        if self.sync {
            sync_directory(self.complete.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(digest)
    }
}

impl Drop for EventFilePaths {
    fn drop(&mut self) {
        // After `finish` no file has this name; before it the upload was abandoned.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Syncs a directory: a rename is durable only after that.
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|why| io_at("syncing a directory", dir, why))
}

struct InlineWriter {
    file: BlockWriter,
    paths: EventFilePaths,
}

#[async_trait]
impl EventWriter for InlineWriter {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        self.file.write(block)
    }

    async fn finish(self: Box<Self>) -> Result<Option<EventDigest>> {
        self.paths.finish(self.file).map(Some)
    }
}

/// A message to the encoder thread.
enum EncoderMessage {
    Append(Box<EventBlock>),
    Finish,
}

struct ThreadWriter {
    messages: mpsc::Sender<EncoderMessage>,
    outcome: oneshot::Receiver<Result<Option<EventDigest>>>,
}

impl ThreadWriter {
    fn start(file: BlockWriter, paths: EventFilePaths) -> Result<Self> {
        let (messages, receiver) = mpsc::channel(QUEUED_BLOCKS);
        let (done, outcome) = oneshot::channel();
        thread("parquet-writer", move || {
            // Nobody receives it if the upload was abandoned.
            let _ = done.send(encode(receiver, file, &paths));
        })?;
        Ok(Self { messages, outcome })
    }

    /// Returns why the thread ended early.
    async fn failure(&mut self) -> StoreError {
        match (&mut self.outcome).await {
            Ok(Err(why)) => why,
            Ok(Ok(_)) | Err(_) => ended_early(),
        }
    }
}

/// Writes blocks until the finish message. If the channel closes without it, the upload was abandoned and the file is
/// dropped.
fn encode(
    mut messages: mpsc::Receiver<EncoderMessage>,
    mut file: BlockWriter,
    paths: &EventFilePaths,
) -> Result<Option<EventDigest>> {
    while let Some(message) = messages.blocking_recv() {
        match message {
            EncoderMessage::Append(block) => file.write(*block)?,
            EncoderMessage::Finish => return paths.finish(file).map(Some),
        }
    }
    Ok(None)
}

#[async_trait]
impl EventWriter for ThreadWriter {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        match self
            .messages
            .send(EncoderMessage::Append(Box::new(block)))
            .await
        {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<EventDigest>> {
        if self.messages.send(EncoderMessage::Finish).await.is_err() {
            return Err(self.failure().await);
        }
        self.outcome.await.unwrap_or_else(|_| Err(ended_early()))
    }
}

struct InlineScan(BlockReader);

#[async_trait]
impl EventScan for InlineScan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        self.0.next()
    }
}

/// Receives blocks from a decoder thread, which sends none at the end. A channel that closes before means that the
/// thread panicked.
struct ThreadScan {
    path: PathBuf,
    blocks: mpsc::Receiver<Result<Option<EventBlock>>>,
}

impl ThreadScan {
    fn start(file: StoredFile, projection: Projection) -> Result<Self> {
        let (blocks, receiver) = mpsc::channel(QUEUED_BLOCKS);
        let path = file.path.clone();
        thread("parquet-reader", move || {
            decode(&file, &projection, &blocks)
        })?;
        Ok(Self {
            path,
            blocks: receiver,
        })
    }
}

/// Sends the blocks of a file, then the end. The digest is checked beside the decoding, and its verdict comes first: what a
/// damaged file is decoded to is not the cause of its fault.
fn decode(
    file: &StoredFile,
    projection: &Projection,
    blocks: &mpsc::Sender<Result<Option<EventBlock>>>,
) {
    let end = std::thread::scope(|threads| {
        let check = threads.spawn(|| file.check());
        let end = send_blocks(file, projection, blocks);
        let checked = check.join();
        let checked =
            checked.unwrap_or_else(|_| Err(corrupt("an event file", &"its check broke down")));
        checked.and(end)
    });
    // A refused send means that the scan was dropped.
    let _ = blocks.blocking_send(end);
}

/// Sends the blocks of a file; returns its end.
fn send_blocks(
    file: &StoredFile,
    projection: &Projection,
    blocks: &mpsc::Sender<Result<Option<EventBlock>>>,
) -> Result<Option<EventBlock>> {
    let mut reader = file.unchecked_reader(projection)?;
    while let Some(block) = reader.next()? {
        if blocks.blocking_send(Ok(Some(block))).is_err() {
            break;
        }
    }
    Ok(None)
}

#[async_trait]
impl EventScan for ThreadScan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        let broken = || Err(corrupt("an event file", &"its decoder broke down"));
        let next = self.blocks.recv().await.unwrap_or_else(broken);
        next.map_err(|error| of_file(&self.path, error))
    }
}

/// Spawns a thread that ends when its channel closes.
fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|why| io("a thread for events", why))
}

fn ended_early() -> StoreError {
    StoreError::Unavailable {
        what: "writing an event file",
        source: "its thread ended early".into(),
    }
}
