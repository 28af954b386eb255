//! Single stages on one file, for profiles and as limits of the service: `cargo bench --bench stages -- MODE FILE`.
//!
//! MODE is `parse` (receive and parse, rows discarded), `store` (the upload pipeline into a batch, without HTTP),
//! or `process` (the same, then a run with claims, and one without). One JSON line a measurement.

use std::{fs::File, io::BufReader, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use chrono_tz::Tz;
use futures_util::stream;
use tallymill::{
    clock::System,
    ingest::{self, BodyError, Ingest, UploadOptions, UploadOutcome},
    job::{Dispatch, DispatchError, JobLimits, JobService, Runner, work::Bodies},
    model::{BatchId, JobId},
    parse::{self, Parser},
    receive::{self, TextReader},
    store::embedded::{EmbeddedStore, Mode},
};
use tokio_util::sync::CancellationToken;

const CHUNK: usize = 64 << 10;

struct Nowhere;

#[async_trait::async_trait]
impl Dispatch for Nowhere {
    async fn nudge(&self, _: JobId) -> Result<(), DispatchError> {
        Ok(())
    }
}

fn report(name: &str, rows: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"stage\":\"{name}\",\"rows\":{rows},\"seconds\":{seconds:.3},\"mrows_per_s\":{:.3}}}",
        rows as f64 / seconds / 1e6
    );
}

fn chunks(file: &Path) -> impl Iterator<Item = Bytes> {
    let mut file = std::fs::File::open(file).expect("a file");
    std::iter::from_fn(move || {
        let mut chunk = vec![0; CHUNK];
        let read = std::io::Read::read(&mut file, &mut chunk).expect("readable");
        chunk.truncate(read);
        (read > 0).then(|| Bytes::from(chunk))
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is about real time")]
fn now() -> Instant {
    Instant::now()
}

fn parse(file: &Path) {
    let started = now();
    let file = BufReader::with_capacity(CHUNK, File::open(file).expect("a file"));
    let mut text = TextReader::open(
        file,
        receive::Options::default(),
        receive::Limits::default(),
    )
    .expect("a CSV file");
    let mut parser =
        Parser::new(parse::Options::default(), parse::Limits::default()).expect("default options");
    while let Some(piece) = text.next_chunk().expect("a CSV file") {
        parser.feed(piece).expect("a CSV file");
        while parser.next_rows().is_some() {}
    }
    let summary = parser.finish().expect("a CSV file");
    report("receive + parse", summary.received, started);
}

async fn store(file: &Path, dir: &Path, dedupe: &str) -> (Arc<EmbeddedStore>, BatchId, u64) {
    let store = Arc::new(
        EmbeddedStore::open(dir, Tz::UTC, Mode::Durable)
            .await
            .expect("opens"),
    );
    let limits = ingest::Limits {
        receive: receive::Limits::default(),
        parse: parse::Limits::default(),
        rejections: 100_000,
        event_types: 1_000,
        days: 4_000,
        batch_ttl: None,
        lease: std::time::Duration::from_secs(30),
        time_zone: Tz::UTC,
    };
    let ingest = Ingest::new(
        store.clone(),
        Arc::new(System::start()),
        limits,
        "bench".into(),
    );
    let options = UploadOptions::from_pairs([("dedupe", dedupe)]).expect("an option");
    let started = now();
    let body = stream::iter(chunks(file).map(Ok::<_, BodyError>));
    let outcome = ingest.upload(&options, None, body).await;
    let UploadOutcome::Stored { batch, .. } = outcome.expect("stored") else {
        panic!("the directory was empty")
    };
    let rows = batch.receipt.as_ref().expect("sealed").rows.received;
    report("receive + parse + Parquet", rows, started);
    (store, batch.id, rows)
}

async fn process(file: &Path, dedupe: &str) {
    let dir =
        tempfile::tempdir_in(std::env::current_dir().expect("a directory")).expect("a directory");
    let (store, id, rows) = store(file, dir.path(), dedupe).await;
    let limits = JobLimits {
        attempts: 1,
        crashes: 1,
        backoff: std::time::Duration::from_secs(5),
        lease: std::time::Duration::from_secs(30),
        sweep: std::time::Duration::from_secs(5),
        batch_ttl: None,
        tombstone_retention: None,
        audit_retention: None,
        reprocess_budget: std::time::Duration::from_secs(600),
        time_zone: Tz::UTC,
        scratch: dir.path().join("tmp"),
        sort_memory: 32 << 20,
        fold_groups: 8_192,
        claims_at_once: 25_000,
    };
    let clock = Arc::new(System::start());
    let service = JobService::new(store.clone(), clock.clone(), Arc::new(Nowhere));
    service.process(id, false).await.expect("queued");
    let runner = Runner::new(
        store.clone(),
        clock,
        Arc::new(Nowhere),
        Arc::new(Bodies),
        limits,
        "bench".into(),
        CancellationToken::new(),
    );
    let started = now();
    runner.run(JobId::Process(id)).await;
    report(
        if dedupe == "none" {
            "process without claims"
        } else {
            "process with claims"
        },
        rows,
        started,
    );
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    let events = size(&dir.path().join("batches").join(format!("{id}.parquet")));
    let database =
        size(&dir.path().join("tallymill.db")) + size(&dir.path().join("tallymill.db-wal"));
    println!(
        "{{\"events_bytes_per_row\":{:.1},\"database_bytes_per_row\":{:.1}}}",
        events as f64 / rows as f64,
        database as f64 / rows as f64
    );
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [mode, file] = args.as_slice() else {
        println!("usage: cargo bench --bench stages -- parse|store|process FILE");
        return;
    };
    let file = Path::new(file);
    match mode.as_str() {
        "parse" => parse(file),
        "store" => {
            let dir = tempfile::tempdir_in(std::env::current_dir().expect("a directory"))
                .expect("a directory");
            store(file, dir.path(), "auto").await;
        }
        _ => {
            process(file, "auto").await;
            process(file, "none").await;
        }
    }
}
