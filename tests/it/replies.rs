//! The reply of every route, byte for byte, against `snapshots/replies.txt`: status, headers and body, with ids, times
//! and other values that differ between runs replaced by placeholders. `TALLYMILL_SNAPSHOT=write` replaces the file.

use std::{collections::HashMap, fmt::Write, path::Path};

use regex_lite::{Captures, Regex};
use reqwest::Method;

use crate::helpers::app::{Answer, TOKEN, TestApp};

const CSV: &str = "event_id,user_id,event_type,timestamp,plan\n\
    e1,u1,login,2025-11-10T08:00:00Z,pro\n\
    e2,u2,click,2025-11-10 09:30:00,\n\
    e2,u3,click,2025-11-10 09:30:00,free\n\
    e3,u1,click,2025-11-11,pro\n\
    e4,,click,2025-11-11,pro\n\
    e5,u5,click,never,pro\n\
    e6,u6,=cmd(),11.11.2025,pro,more\n";
const UNKNOWN: &str = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";
const DLQ: &str = "/admin/queues/event-processing/dlq";

/// Headers of every reply: those that differ between runs, and those of `other_sites.rs`.
const UNIFORM: [&str; 9] = [
    "connection",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
];

/// The text of a snapshot under way.
struct Transcript<'a> {
    app: &'a TestApp,
    text: String,
    ids: HashMap<String, usize>,
    patterns: Vec<(Regex, &'static str)>,
    id: Regex,
}

impl<'a> Transcript<'a> {
    fn new(app: &'a TestApp) -> Self {
        let patterns = [
            (r"20(2[6-9]|[3-9]\d)-\d\d-\d\dT[0-9:.]+Z", "<now>"),
            (r#""uptime":[0-9.e-]+"#, r#""uptime":<seconds>"#),
            (r#""version":"[^"]+""#, r#""version":"<version>""#),
            (r#""timestamp":1[7-9]\d{11}"#, r#""timestamp":<millis>"#),
            (r#""next_cursor":"[^"]+""#, r#""next_cursor":"<cursor>""#),
            (r"\w{3}, \d\d \w{3} 20\d\d [0-9:]{8} GMT", "<date>"),
            (r"127\.0\.0\.1:\d+", "<host>"),
            (r"pid-\d+", "pid-<pid>"),
        ];
        let regex = |pattern| Regex::new(pattern).expect("a pattern");
        Self {
            app,
            text: String::new(),
            ids: HashMap::new(),
            patterns: patterns.map(|(from, to)| (regex(from), to)).into(),
            id: regex(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"),
        }
    }

    /// Replaces what differs between runs; an id has the same number wherever it occurs.
    fn stable(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, placeholder) in &self.patterns {
            text = pattern.replace_all(&text, *placeholder).into_owned();
        }
        let ids = &mut self.ids;
        let number = |found: &Captures<'_>| {
            let next = ids.len() + 1;
            let number = ids.entry(found[0].to_owned()).or_insert(next);
            format!("<id {number}>")
        };
        self.id.replace_all(&text, number).into_owned()
    }

    /// Sends a request and records its reply.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = self.app.request(method.clone(), path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_owned()).send().await.expect("answers");
        let is_text = response
            .headers()
            .get("content-type")
            .is_none_or(|kind| !kind.to_str().is_ok_and(|kind| kind.contains("parquet")));
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = self.stable(&format!("## {method} {path}\n{status}\n"));
        self.text += &line;
        let mut shown: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !UNIFORM.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        shown.sort();
        // The length follows from the body, in which values of other lengths are replaced.
        shown.retain(|line| !line.starts_with("content-length"));
        let shown = self.stable(&shown.concat());
        let body = if path == "/" || path.starts_with("/assets/") {
            "<a file of the page>".into()
        } else if is_text {
            self.stable(&text)
        } else {
            format!("<{} magic bytes>", String::from_utf8_lossy(&bytes[..4]))
        };
        writeln!(self.text, "{shown}\n{body}\n").expect("grows");
        Answer {
            status,
            headers,
            text,
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    async fn admin(&mut self, method: Method, path: &str) -> Answer {
        let token = format!("Bearer {TOKEN}");
        self.send(method, path, &[("authorization", &token)], "")
            .await
    }

    async fn upload(&mut self, options: &str, csv: &str) -> String {
        let path = format!("/uploads{options}");
        let kind = [("content-type", "text/csv")];
        let answer = self.send(Method::POST, &path, &kind, csv).await;
        let id = serde_json::from_str::<serde_json::Value>(&answer.text).ok();
        let id = id.and_then(|reply| reply["batch_id"].as_str().map(str::to_owned));
        id.unwrap_or_default()
    }
}

async fn uploads(it: &mut Transcript<'_>) -> String {
    let batch = it.upload("?source=shop&name=a.csv", CSV).await;
    it.upload("?source=shop&name=a.csv", CSV).await;
    it.upload("?source=shop&dry_run=true", CSV).await;
    it.upload("?key=user_id,plan&time_zone=Europe/Berlin", CSV)
        .await;
    it.upload("?dedupe=row&on_error=abort", CSV).await;
    it.upload("?max_errors=1", CSV).await;
    it.upload("?colour=red", CSV).await;
    it.upload("?encoding=klingon", CSV).await;
    it.upload("?source=a&parent=7", CSV).await;
    it.upload(&format!("?source=m&parent={batch}"), CSV).await;
    it.upload("", "").await;
    it.upload("", "user_id,event_type,timestamp\n").await;
    it.upload("", "person,what,when\nu1,login,2025-11-10\n")
        .await;
    it.upload("", "user_id,event_type,timestamp\nu1,login,03/04/2025\n")
        .await;
    it.upload(
        "",
        "user_id,user_id,event_type,timestamp\nu,u,a,2025-11-10\n",
    )
    .await;
    it.upload("", "{\"a\": 1}").await;
    it.upload(
        "?source=k",
        "uid,action,ts,id\n7,buy,1762765200,1\n8,buy,1762765201,2\n",
    )
    .await;
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"x.csv\"\r\n\r\nuser_id,event_type,timestamp\nu1,login,2025-11-10\n\r\n";
    let field = "Content-Disposition: form-data; name=\"source\"\r\n\r\nform\r\n";
    for parts in [
        format!("--b\r\n{field}--b\r\n{file}--b--\r\n"),
        format!("--b\r\n{file}--b\r\n{field}--b--\r\n"),
        format!("--b\r\n{file}--b\r\n{file}--b--\r\n"),
        format!("--b\r\n{field}--b--\r\n"),
        format!("--b\r\n{file}"),
    ] {
        it.send(Method::POST, "/uploads", &form, &parts).await;
    }
    let json = [("content-type", "application/json")];
    it.send(Method::POST, "/uploads", &json, "{}").await;
    for csv in [
        CSV,
        CSV,
        "user_id,event_type,timestamp\nu1,login,2025-11-10\n",
    ] {
        let keyed = [("content-type", "text/csv"), ("idempotency-key", "\"k-1\"")];
        it.send(Method::POST, "/uploads?source=keyed", &keyed, csv)
            .await;
    }
    let bad = [("content-type", "text/csv"), ("idempotency-key", "")];
    it.send(Method::POST, "/uploads?source=keyed", &bad, CSV)
        .await;
    batch
}

async fn resumable_uploads(it: &mut Transcript<'_>) {
    let tus = ("tus-resumable", "1.0.0");
    it.send(Method::OPTIONS, "/uploads/tus", &[], "").await;
    it.send(Method::POST, "/uploads/tus", &[], "").await;
    it.send(Method::POST, "/uploads/tus", &[tus], "").await;
    let csv = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
    let length = csv.len().to_string();
    let create = [
        tus,
        ("upload-length", &*length),
        ("upload-metadata", "source dHVz"),
    ];
    let created = it.send(Method::POST, "/uploads/tus", &create, "").await;
    let at = created.headers["location"]
        .to_str()
        .expect("text")
        .to_owned();
    it.send(Method::HEAD, &at, &[tus], "").await;
    let chunk = |offset| {
        [
            tus,
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", offset),
        ]
    };
    it.send(Method::PATCH, &at, &[tus, ("upload-offset", "0")], csv)
        .await;
    it.send(Method::PATCH, &at, &chunk("9"), csv).await;
    it.send(Method::PATCH, &at, &chunk("0"), &csv[..20]).await;
    it.send(Method::PATCH, &at, &chunk("20"), &csv[20..]).await;
    it.send(Method::HEAD, &at, &[tus], "").await;
    it.send(Method::DELETE, &at, &[tus], "").await;
    it.send(Method::HEAD, "/uploads/tus/nothing", &[tus], "")
        .await;
    let abandoned = it.send(Method::POST, "/uploads/tus", &create, "").await;
    let at = abandoned.headers["location"]
        .to_str()
        .expect("text")
        .to_owned();
    it.send(Method::DELETE, &at, &[tus], "").await;
}

async fn profiles(it: &mut Transcript<'_>) {
    let json = [("content-type", "application/json")];
    it.get("/profiles").await;
    it.send(
        Method::PUT,
        "/profiles/shop",
        &json,
        r#"{"source":"shop","time_zone":"Europe/Berlin"}"#,
    )
    .await;
    it.send(Method::PUT, "/profiles/shop", &json, r#"{"colour":"red"}"#)
        .await;
    it.send(Method::PUT, "/profiles/a%20b", &json, "{}").await;
    it.send(Method::PUT, "/profiles/shop", &json, "{").await;
    it.get("/profiles").await;
    it.get("/profiles/shop").await;
    it.upload("?profile=shop&name=p.csv", CSV).await;
    it.upload("?profile=none", CSV).await;
    it.send(Method::DELETE, "/profiles/shop", &[], "").await;
    it.get("/profiles/shop").await;
}

async fn batches(it: &mut Transcript<'_>, batch: &str) {
    let at = format!("/batches/{batch}");
    it.get(&at).await;
    for query in ["", "?accept", "?limit=1", "?limit=0", "?cursor=x"] {
        it.get(&format!("{at}/errors{query}")).await;
    }
    it.send(
        Method::GET,
        &format!("{at}/errors"),
        &[("accept", "text/csv")],
        "",
    )
    .await;
    it.send(Method::HEAD, &format!("{at}/errors.csv"), &[], "")
        .await;
    it.get(&format!("{at}/errors.csv")).await;
    it.get(&format!("{at}/events?limit=2")).await;
    it.get(&format!("{at}/events.parquet")).await;
    it.send(Method::POST, &format!("{at}/process?force=maybe"), &[], "")
        .await;
    it.send(Method::POST, &format!("{at}/process"), &[], "")
        .await;
    it.app.until(batch, "completed").await;
    it.app
        .until_job(&format!("process:{batch}"), "completed")
        .await;
    it.send(Method::POST, &format!("{at}/process"), &[], "")
        .await;
    it.get(&at).await;
    it.get(&format!("/jobs/process:{batch}")).await;
    for query in [
        "?status=completed",
        "?limit=2",
        "?status=lost",
        "?limit=x",
        "?cursor=1abc",
        "?parent=7",
        "?colour=red",
    ] {
        it.get(&format!("/batches{query}")).await;
    }
    for path in [
        format!("/batches/{UNKNOWN}"),
        format!("/batches/{UNKNOWN}/errors"),
        format!("/batches/{UNKNOWN}/events"),
        format!("/batches/{UNKNOWN}/events.parquet"),
        "/batches/17".into(),
        format!("/jobs/process:{UNKNOWN}"),
        "/jobs/nap".into(),
        "/nowhere".into(),
    ] {
        it.get(&path).await;
    }
    it.send(
        Method::POST,
        &format!("/batches/{UNKNOWN}/process"),
        &[],
        "",
    )
    .await;
    it.send(Method::DELETE, &format!("/batches/{UNKNOWN}"), &[], "")
        .await;
}

async fn figures(it: &mut Transcript<'_>) {
    for query in [
        "",
        "?date=2025-11-10",
        "?from=2025-11-11",
        "?from=2025-11-10&to=2025-11-11&event_type=click",
        "?date=2030-01-01",
        "?date=2025-02-30",
        "?from=2025-11-11&to=2025-11-10",
        "?date=2025-11-10&to=2025-11-11",
        "?from=1990-01-01&to=2020-01-01",
        "?colour=red",
    ] {
        it.get(&format!("/metrics{query}")).await;
    }
    for query in [
        "?limit=2",
        "?user_id=u1",
        "?event_type=click&from=2025-11-10&to=2025-11-10",
        "?from=never",
        "?limit=0",
        "?batch_id=7",
    ] {
        it.get(&format!("/events{query}")).await;
    }
}

async fn dead_letters(it: &mut Transcript<'_>) {
    let (batch, _) = it
        .app
        .dead_letter(
            "dead",
            "user_id,event_type,timestamp\nu1,login,2025-11-10\n",
        )
        .await;
    it.get(DLQ).await;
    it.send(Method::GET, DLQ, &[("authorization", "Bearer wrong")], "")
        .await;
    it.admin(Method::GET, DLQ).await;
    it.admin(Method::GET, &format!("{DLQ}?limit=0")).await;
    it.admin(Method::GET, "/admin/queues/other/dlq").await;
    it.get(&format!("/jobs/process:{batch}")).await;
    it.get(&format!("/batches/{batch}")).await;
    it.admin(Method::POST, &format!("{DLQ}/retry?colour=red"))
        .await;
    it.admin(Method::POST, &format!("{DLQ}/nap/retry")).await;
    it.admin(Method::POST, &format!("{DLQ}/process:{UNKNOWN}/retry"))
        .await;
    it.admin(Method::POST, &format!("{DLQ}/process:{batch}/discard"))
        .await;
    it.admin(Method::POST, &format!("{DLQ}/process:{batch}/retry"))
        .await;
    it.admin(Method::POST, &format!("{DLQ}/retry")).await;
}

async fn deletion(it: &mut Transcript<'_>, batch: &str) {
    let at = format!("/batches/{batch}");
    it.send(Method::DELETE, &at, &[], "").await;
    it.app.until(batch, "deleted").await;
    it.app
        .until_job(&format!("undo:{batch}"), "completed")
        .await;
    it.get(&at).await;
    it.send(Method::DELETE, &at, &[], "").await;
    it.send(Method::POST, &format!("{at}/process"), &[], "")
        .await;
    for sub in ["errors", "errors.csv", "events", "events.parquet"] {
        it.get(&format!("{at}/{sub}")).await;
    }
}

async fn wrong_methods(it: &mut Transcript<'_>) {
    for (method, path) in [
        (Method::GET, "/uploads"),
        (Method::PUT, "/uploads/tus"),
        (Method::POST, "/batches"),
        (Method::PATCH, "/profiles/shop"),
        (Method::HEAD, "/admin/queues/event-processing/dlq/retry"),
        (Method::OPTIONS, "/metrics"),
        (Method::DELETE, "/assets/style.css"),
    ] {
        it.send(method, path, &[], "").await;
    }
}

#[tokio::test]
async fn replies_of_every_route_equal_their_snapshot() {
    let app = TestApp::start().await;
    let mut it = Transcript::new(&app);
    for path in [
        "/health",
        "/ready",
        "/",
        "/assets/style.css",
        "/assets/none.js",
    ] {
        it.get(path).await;
    }
    let batch = uploads(&mut it).await;
    resumable_uploads(&mut it).await;
    profiles(&mut it).await;
    batches(&mut it, &batch).await;
    figures(&mut it).await;
    dead_letters(&mut it).await;
    deletion(&mut it, &batch).await;
    wrong_methods(&mut it).await;
    let text = std::mem::take(&mut it.text);
    app.stop().await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots/replies.txt");
    let mode = std::env::vars().find(|(key, _)| key == "TALLYMILL_SNAPSHOT");
    if mode.is_some_and(|(_, mode)| mode == "write") {
        std::fs::write(&path, &text).expect("writes");
    }
    let expected = std::fs::read_to_string(&path).expect("a snapshot");
    for (expected, found) in expected.split("\n## ").zip(text.split("\n## ")) {
        assert_eq!(expected, found);
    }
    assert_eq!(expected.len(), text.len(), "the same requests");
}
