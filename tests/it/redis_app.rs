//! The service with queue and upload limit in Redis, and during an outage of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::helpers::{
    app::TestApp,
    process::{eventually, tallymill},
    servers::Redis,
};

const CSV: &str = "event_type,timestamp,user_id\nclick,2025-03-04T05:06:07Z,u1\n";

/// Returns the nth file; no two are equal.
fn csv(n: usize) -> String {
    format!("{CSV}view,2025-03-04T05:06:07Z,u{n}\n")
}

/// Waits for a state of readiness. While Redis is away, uploads can be stored, so the status is always 200.
async fn until_ready(app: &TestApp, status: &str) -> serde_json::Value {
    eventually("another state of readiness", async || {
        let answer = app.get("/ready").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let ready = answer.json();
        (ready["status"] == status).then_some(ready)
    })
    .await
}

#[tokio::test]
async fn readiness_names_store_and_queue_and_follows_redis() {
    let mut redis = Redis::start().await;
    let app = TestApp::with_redis(&redis.url(), &[]).await;
    let ready = until_ready(&app, "ready").await;
    assert_eq!(ready["store"]["kind"], "embedded");
    assert_eq!(ready["queue"]["kind"], "redis");
    assert_eq!(ready["queue"]["ok"], true);
    let batch = app.uploaded("", csv(1)).await;
    app.process(&batch).await;
    for held_up in [false, true] {
        if held_up {
            redis.pause();
        } else {
            redis.stop();
        }
        let killed_at = Instant::now();
        let degraded = until_ready(&app, "degraded").await;
        assert!(killed_at.elapsed() < Duration::from_secs(5));
        assert_eq!(degraded["queue"]["ok"], false);
        assert_eq!(degraded["store"]["ok"], true);
        if held_up {
            redis.resume();
        } else {
            redis.restart().await;
        }
        let back = Instant::now();
        until_ready(&app, "ready").await;
        assert!(back.elapsed() < Duration::from_secs(5));
    }
    app.stop().await;
}

#[tokio::test]
async fn uploads_and_requests_survive_an_outage_of_redis() {
    let mut redis = Redis::down();
    let app = TestApp::with_redis(&redis.url(), &[("UPLOAD_LIMIT", "1000")]).await;
    let mut batches = Vec::new();
    for n in 0..20 {
        let batch = app.uploaded("", csv(n)).await;
        let asked = Instant::now();
        let answer = app.post(&format!("/batches/{batch}/process")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert!(asked.elapsed() < Duration::from_millis(1_000));
        batches.push(batch);
    }
    redis.restart().await;
    let back = Instant::now();
    app.until(&batches[0], "completed").await;
    assert!(back.elapsed() < Duration::from_secs(10));
    for batch in &batches {
        app.until(batch, "completed").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_hundred_batches_are_processed_under_flushes() {
    let redis = Redis::start().await;
    let app = TestApp::with_redis(&redis.url(), &[]).await;
    let mut batches = Vec::new();
    for n in 0..100 {
        let batch = app.uploaded("", csv(n)).await;
        let answer = app.post(&format!("/batches/{batch}/process")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        batches.push(batch);
        if n % 10 == 9 {
            redis.flush().await;
        }
    }
    for batch in &batches {
        app.until(batch, "completed").await;
    }
    let figures = app.figures("").await;
    let counts: Vec<_> = figures
        .iter()
        .map(|(_, kind, n, _)| (kind.as_str(), *n))
        .collect();
    assert_eq!(counts, [("click", 100), ("view", 100)]);
    app.stop().await;
}

#[tokio::test]
async fn the_limit_counts_the_client_named_by_a_trusted_proxy() {
    let redis = Redis::start().await;
    let settings = [("UPLOAD_LIMIT", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let app = TestApp::with_redis(&redis.url(), &settings).await;
    let upload = async |n: usize, client: &str| {
        let request = app
            .request(reqwest::Method::POST, "/uploads")
            .header("content-type", "text/csv")
            .header("x-forwarded-for", client);
        let answer = request.body(csv(n)).send().await.expect("answers");
        let after = answer.headers().get("retry-after").cloned();
        (answer.status().as_u16(), after.is_some())
    };
    assert_eq!(upload(1, "203.0.113.9").await, (201, false));
    assert_eq!(upload(2, "198.51.100.1, 203.0.113.9").await, (429, true));
    assert_eq!(upload(3, "203.0.113.8").await, (201, false));
    let counted = redis.keys().await;
    assert!(counted.contains(&"tallymill:uploads:203.0.113.9".into()));
    app.stop().await;
}

#[test]
fn an_invalid_redis_url_is_reported_without_its_password() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [
        ("MONGO_URI", "mongodb://127.0.0.1:1/tallymill"),
        ("REDIS_URL", "http://me:hunter2@cache"),
    ];
    let ended = tallymill(&dir.path().join("data"), &settings)
        .arg("serve")
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("REDIS_URL"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
#[ignore = "measures: prints how long jobs wait to be picked up, and requests for a reply without Redis"]
async fn latencies() {
    let mut redis = Redis::start().await;
    let app = TestApp::with_redis(&redis.url(), &[("SWEEP_SECONDS", "60")]).await;
    let mut waits = Vec::new();
    for n in 0..200 {
        let batch = app.uploaded("", csv(n)).await;
        let asked = Instant::now();
        let answer = app.post(&format!("/batches/{batch}/process")).await;
        let job = answer.json()["job_id"].as_str().expect("an id").to_owned();
        let path = format!("/jobs/{job}");
        eventually("a job under way", async || {
            let state = app.get(&path).await.json()["state"].clone();
            (state != "queued").then_some(())
        })
        .await;
        waits.push(asked.elapsed());
    }
    print("pick-up", waits);
    for (first, away) in [(1_000, "held up"), (2_000, "down")] {
        if away == "down" {
            redis.stop();
        } else {
            redis.pause();
        }
        let mut replies = Vec::new();
        for n in 0..200 {
            let batch = app.uploaded("", csv(first + n)).await;
            let batch = format!("/batches/{batch}/process?force=true");
            let asked = Instant::now();
            assert_eq!(app.post(&batch).await.status, 202);
            replies.push(asked.elapsed());
        }
        print(&format!("replies to process, Redis {away}"), replies);
    }
    app.stop().await;
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100];
    let (p50, p95, p99) = (at(50), at(95), at(99));
    println!(
        "{what}, {} times: p50 {p50:?}, p95 {p95:?}, p99 {p99:?}",
        times.len()
    );
}
