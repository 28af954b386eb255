//! The MongoDB driver without the service, as the limit of uploads: `cargo bench --bench mongo -- MODE URI …`.
//!
//! MODE is `bare` with a CSV file (inserts the documents that an upload of it makes, all built before the clock starts,
//! into the collection that the service would use; with `plain` behind it, into one without its index),
//! `held` (counts the events that are there, and their bytes), or `drop` (removes the database). One JSON line each.

use std::{
    fs::File,
    io::BufReader,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::{
    Client, Collection,
    bson::{
        DateTime, RawDocumentBuf, doc,
        raw::{CString, cstr},
    },
    options::{Acknowledgment, ClientOptions, WriteConcern},
};
use tallymill::{
    model::EventBlock,
    parse::{self, Parser},
    receive::{self, TextReader},
    store::{
        Backend,
        mongo::{MongoOptions, MongoStore},
    },
};

const CHUNK: usize = 64 << 10;
/// As long as a batch id, which every event document has.
const BATCH: &str = "019aa000-0000-7000-8000-000000000000";

async fn client(uri: &str) -> (Client, String) {
    let mut options = ClientOptions::parse(uri)
        .await
        .expect("a connection string");
    // What the service asks for.
    let concern = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(Duration::from_secs(15))
        .build();
    options.write_concern = Some(concern);
    let database = options.default_database.clone().expect("a database");
    (Client::with_options(options).expect("options"), database)
}

async fn events(uri: &str) -> Collection<RawDocumentBuf> {
    let (client, database) = client(uri).await;
    client.database(&database).collection("events")
}

/// Returns the documents of a file, in its order.
fn documents(file: &str) -> Vec<RawDocumentBuf> {
    let file = BufReader::with_capacity(CHUNK, File::open(file).expect("a file"));
    let mut text = TextReader::open(
        file,
        receive::Options::default(),
        receive::Limits::default(),
    )
    .expect("a CSV file");
    let mut parser =
        Parser::new(parse::Options::default(), parse::Limits::default()).expect("default options");
    let mut made = Vec::new();
    while let Some(piece) = text.next_chunk().expect("a CSV file") {
        parser.feed(piece).expect("a CSV file");
        take(&mut parser, &mut made);
    }
    parser.finish().expect("a CSV file");
    take(&mut parser, &mut made);
    made
}

fn take(parser: &mut Parser, made: &mut Vec<RawDocumentBuf>) {
    while let Some(parsed) = parser.next_rows() {
        // The columns of `tallymill generate` that are not the service's own.
        let names = ["test_id", "country"].map(|name| CString::try_from(name).expect("a name"));
        let block = &parsed.events;
        made.extend((0..block.len()).map(|at| document(block, at, &names)));
    }
}

fn document(block: &EventBlock, at: usize, names: &[CString]) -> RawDocumentBuf {
    let text = |bytes| std::str::from_utf8(bytes).expect("checked by the parser");
    let mut event = RawDocumentBuf::new();
    event.append(cstr!("_id"), format!("{BATCH}:{:010}", block.rows[at]));
    event.append(cstr!("batch"), BATCH);
    event.append(cstr!("row"), i64::from(block.rows[at]));
    event.append(cstr!("line"), i64::from(block.lines[at]));
    let event_id = text(block.event_id.get(at));
    if !event_id.is_empty() {
        event.append(cstr!("event_id"), event_id);
    }
    event.append(cstr!("event_type"), text(block.event_type.get(at)));
    event.append(cstr!("user_id"), text(block.user_id.get(at)));
    let timestamp = block.timestamp[at];
    let date = DateTime::from_millis(timestamp.div_euclid(1_000));
    event.append(cstr!("timestamp"), date);
    event.append(cstr!("ts_us"), timestamp);
    let mut kept = RawDocumentBuf::new();
    for (name, column) in names.iter().zip(&block.attributes) {
        let value = text(column.get(at));
        if !value.is_empty() {
            kept.append(name, value);
        }
    }
    event.append(cstr!("attributes"), kept);
    event
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is about real time")]
fn now() -> Instant {
    Instant::now()
}

async fn bare(uri: &str, file: &str, plain: bool) {
    if !plain {
        let store = MongoStore::open(uri, chrono_tz::Tz::UTC).await;
        let store = store.expect("a database of its own");
        store.close().await.expect("closes");
    }
    let events = events(uri).await;
    let MongoOptions {
        bulk_documents: most,
        bulks_in_flight: in_flight,
        span_size: _,
        command_hook: _,
    } = MongoOptions::default();
    let all = documents(file);
    let rows = all.len();
    let mut all = all.into_iter().peekable();
    let mut bulks: Vec<Vec<_>> = Vec::new();
    while all.peek().is_some() {
        bulks.push(all.by_ref().take(most).collect());
    }
    let tasks = tokio_util::task::TaskTracker::new();
    let started = now();
    let inserts = stream::iter(bulks).map(|bulk| {
        let events = events.clone();
        // Tasks, so that two bulks can be encoded at once.
        tasks.spawn(async move { events.insert_many(bulk).ordered(false).await })
    });
    let done = inserts
        .buffer_unordered(in_flight)
        .try_for_each(async |done| {
            done.expect("inserted");
            Ok(())
        });
    done.await.expect("no task panics");
    let seconds = started.elapsed().as_secs_f64();
    println!("{{\"rows\":{rows},\"seconds\":{seconds:.4}}}");
}

async fn held(uri: &str) {
    let found = events(uri).await.find(doc! {}).await.expect("a cursor");
    let (rows, bytes) = found
        .try_fold((0_u64, 0), async |(rows, bytes), event| {
            Ok((rows + 1, bytes + event.as_bytes().len()))
        })
        .await
        .expect("all events");
    println!("{{\"rows\":{rows},\"bytes\":{bytes}}}");
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["bare", uri, file] => bare(uri, file, false).await,
        ["bare", uri, file, "plain"] => bare(uri, file, true).await,
        ["held", uri] => held(uri).await,
        ["drop", uri] => {
            let (client, database) = client(uri).await;
            let dropped = client.database(&database).drop().await;
            dropped.expect("dropped");
            println!("{{}}");
        }
        _ => println!(
            "usage: cargo bench --bench mongo -- bare URI FILE [plain] | held URI | drop URI"
        ),
    }
}
