//! Batches, jobs and admin routes over HTTP.

use reqwest::Method;

use crate::helpers::{
    app::{Answer, TOKEN, TestApp, distributed},
    process::eventually,
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
const UNKNOWN: &str = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";

#[tokio::test]
async fn unknown_and_malformed_ids_are_client_errors() {
    let app = TestApp::start().await;
    for (path, expected) in [
        (format!("/batches/{UNKNOWN}"), (404, "batch-missing")),
        (format!("/batches/{UNKNOWN}/errors"), (404, "batch-missing")),
        ("/batches/17".into(), (400, "bad-id")),
        ("/batches/%00/errors".into(), (400, "bad-id")),
        ("/batches?status=lost".into(), (400, "bad-query")),
        ("/batches?limit=0".into(), (400, "bad-query")),
        ("/batches?limit=100000".into(), (400, "bad-query")),
        ("/batches?limit=x".into(), (400, "bad-query")),
        ("/batches?cursor=1abc".into(), (400, "bad-cursor")),
        (format!("/jobs/process:{UNKNOWN}"), (404, "job-missing")),
        ("/jobs/nap".into(), (400, "bad-id")),
        ("/nowhere".into(), (404, "not-found")),
        ("/assets/../Cargo.toml".into(), (404, "not-found")),
    ] {
        let (status, code) = app.get(&path).await.problem();
        assert_eq!((status, code.as_str()), expected, "{path}");
    }
    assert_eq!(
        app.post(&format!("/batches/{UNKNOWN}/process"))
            .await
            .problem(),
        (404, "batch-missing".into())
    );
    assert_eq!(
        app.post("/batches/17/process").await.problem(),
        (400, "bad-id".into())
    );
    app.stop().await;
}

#[tokio::test]
async fn every_reply_has_a_request_id_and_valid_ones_are_echoed() {
    let app = TestApp::start().await;
    assert!(
        app.get("/nowhere")
            .await
            .headers
            .contains_key("x-request-id")
    );
    let answer = app
        .request(Method::GET, "/health")
        .header("x-request-id", "abc-1")
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.headers()["x-request-id"], "abc-1");
    let answer = app
        .request(Method::GET, "/health")
        .header("x-request-id", "a b\"c")
        .send()
        .await
        .expect("answers");
    assert_ne!(answer.headers()["x-request-id"], "a b\"c");
    app.stop().await;
}

#[tokio::test]
async fn hundred_concurrent_requests_to_process_make_one_job() {
    let app = TestApp::start().await;
    let batch = app.uploaded("", CSV).await;
    let path = format!("/batches/{batch}/process");
    let answers = futures_util::future::join_all((0..100).map(|_| app.post(&path))).await;
    let mut jobs: Vec<_> = answers
        .iter()
        .map(|a| (a.status.as_u16(), a.json()["job_id"].to_string()))
        .collect();
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    app.until(&batch, "completed").await;
    // The job is settled after the batch is completed.
    let job = app
        .until_job(&format!("process:{batch}"), "completed")
        .await;
    let claims = job["history"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|h| h["reason"] == "claimed")
        .count();
    assert_eq!(
        (job["state"].as_str(), claims),
        (Some("completed"), 1),
        "{job:#}"
    );
    assert_eq!(
        app.post(&path).await.status,
        202,
        "a later request returns the same job"
    );
    let again = app.get(&format!("/jobs/process:{batch}")).await.json();
    assert_eq!(
        again["history"], job["history"],
        "the job has no second run"
    );
    app.stop().await;
}

#[tokio::test]
async fn deleted_batches_remain_visible_and_their_data_is_deleted() {
    let app = TestApp::start().await;
    let batch = app.uploaded("", CSV).await;
    app.process(&batch).await;
    app.undo(&batch).await;
    assert_eq!(app.get("/metrics").await.json()["count"], 0);
    let tombstone = app.get(&format!("/batches/{batch}")).await.json();
    assert_eq!(
        (
            tombstone["status"].as_str(),
            tombstone["published"].is_null()
        ),
        (Some("deleted"), true)
    );
    assert_eq!(
        app.get(&format!("/batches/{batch}/errors")).await.problem(),
        (410, "batch-deleted".into())
    );
    assert_eq!(
        app.post(&format!("/batches/{batch}/process"))
            .await
            .problem(),
        (410, "batch-deleted".into())
    );
    let again = app
        .request(Method::DELETE, &format!("/batches/{batch}"))
        .send()
        .await
        .expect("answers");
    assert_eq!(
        Answer::of(again).await.problem(),
        (410, "batch-deleted".into())
    );
    assert_eq!(app.batches_with_events().await, 0);
    app.stop().await;
}

#[tokio::test]
async fn lists_are_newest_first_in_pages_and_filtered_by_status() {
    let app = TestApp::start().await;
    let mut batches = Vec::new();
    for n in 0..5 {
        batches.push(app.uploaded(&format!("?source={n}"), CSV).await);
    }
    app.process(&batches[1]).await;
    let ids = |page: &serde_json::Value| {
        page["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|b| b["batch_id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    let first = app.get("/batches?limit=3").await.json();
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = app
        .get(&format!("/batches?limit=3&cursor={cursor}"))
        .await
        .json();
    let mut all = ids(&first);
    all.extend(ids(&second));
    all.reverse();
    assert_eq!(all, batches);
    assert!(second["next_cursor"].is_null());
    assert_eq!(
        ids(&app.get("/batches?status=completed").await.json()),
        [batches[1].clone()]
    );
    let foreign = app
        .get(&format!("/batches?status=completed&cursor={cursor}"))
        .await;
    assert_eq!(foreign.problem(), (400, "bad-cursor".into()));
    app.stop().await;
}

#[tokio::test]
async fn dead_letters_can_be_listed_retried_and_discarded() {
    let app = TestApp::start().await;
    let (first, remedy) = app.dead_letter("1", CSV).await;
    let (second, _) = app.dead_letter("2", CSV).await;
    let list = app.admin(Method::GET, "").await.json();
    assert_eq!(
        (list["queue"].as_str(), list["failed_count"].as_u64()),
        (Some("event-processing"), Some(2))
    );
    let letter = &list["jobs"][0];
    assert_eq!(letter["data"]["batchId"], second.as_str());
    assert!(
        letter["failedReason"]
            .as_str()
            .is_some_and(|why| why.contains("damaged") || why.contains("is missing")),
        "{letter}"
    );
    assert!(letter["timestamp"].is_u64());

    app.repair(&first, remedy).await;
    assert_eq!(
        app.admin(Method::POST, &format!("/process:{first}/retry"))
            .await
            .status,
        200
    );
    app.until(&first, "completed").await;
    assert_eq!(
        app.figures("").await,
        [("2025-11-10".into(), "login".into(), 1, 1)]
    );

    assert_eq!(
        app.admin(Method::POST, &format!("/process:{second}/discard"))
            .await
            .json()["state"],
        "discarded"
    );
    assert_eq!(
        app.admin(Method::POST, &format!("/process:{second}/retry"))
            .await
            .problem(),
        (409, "job-not-dead".into())
    );
    assert_eq!(app.admin(Method::GET, "").await.json()["failed_count"], 0);
    let (third, remedy) = app.dead_letter("3", CSV).await;
    app.repair(&third, remedy).await;
    let accepted = app.admin(Method::POST, "/retry").await;
    assert_eq!(accepted.status, 202);
    let retry = accepted.json()["job_id"].clone();
    let retry = retry.as_str().expect("a job id");
    assert!(retry.starts_with("retry:all-"), "{retry}");
    app.until_job(retry, "completed").await;
    app.until(&third, "completed").await;
    app.stop().await;
}

#[tokio::test]
async fn admin_routes_require_the_complete_token() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let path = "/admin/queues/event-processing/dlq";
    let (shorter, longer) = (
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {TOKEN}x"),
    );
    // Each wrong token comes from another address, so that none is slowed down.
    let mut address = 0;
    for header in [
        "",
        "Bearer ",
        "Bearer wrong",
        &shorter,
        &longer,
        TOKEN,
        &format!("Basic {TOKEN}"),
    ] {
        for (method, sub) in [
            (Method::GET, ""),
            (Method::POST, "/retry"),
            (Method::POST, "/process:x/discard"),
        ] {
            let request = app
                .request(method, &format!("{path}{sub}"))
                .header("authorization", header)
                .header("x-forwarded-for", format!("192.0.2.{address}"));
            address += 1;
            let answer = Answer::of(request.send().await.expect("answers")).await;
            assert_eq!(answer.problem(), (401, "unauthorized".into()), "{header}");
        }
    }
    let other = app
        .request(Method::GET, "/admin/queues/other/dlq")
        .bearer_auth(TOKEN)
        .send()
        .await
        .expect("answers");
    assert_eq!(
        Answer::of(other).await.problem(),
        (404, "queue-missing".into())
    );
    app.stop().await;

    let without_token = TestApp::with(&[("ADMIN_TOKEN", "")]).await;
    let answer = without_token.admin(Method::GET, "").await;
    assert_eq!(answer.problem(), (503, "admin-disabled".into()));
    assert_eq!(answer.json()["retryable"], false);
    without_token.stop().await;
}

#[tokio::test]
async fn health_and_readiness_are_reported() {
    let app = TestApp::start().await;
    let health = app.get("/health").await.json();
    assert_eq!(
        (health["status"].as_str(), health["uptime"].is_f64()),
        (Some("ok"), true)
    );
    let ready = app.get("/ready").await;
    assert_eq!(
        (ready.status.as_u16(), ready.json()["store"]["ok"].as_bool()),
        (200, Some(true))
    );
    app.stop().await;
}

#[tokio::test]
async fn a_retry_starts_when_it_is_due_and_not_at_the_next_sweep() {
    if distributed() {
        return; // Events in MongoDB cannot be made unreadable for a while.
    }
    let settings = [("SWEEP_SECONDS", "3600"), ("JOB_BACKOFF_SECONDS", "1")];
    let app = TestApp::with(&settings).await;
    let batch = app.uploaded("", CSV).await;
    let file = app.dir.path().join(format!("batches/{batch}.parquet"));
    let aside = app.dir.path().join("aside");
    std::fs::rename(&file, &aside).expect("renames");
    // A link to itself can't be opened, which is an outage, not damage.
    std::os::unix::fs::symlink(&file, &file).expect("links");
    let asked = app.post(&format!("/batches/{batch}/process")).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let job = format!("/jobs/process:{batch}");
    eventually("a delayed run", async || {
        let job = app.get(&job).await.json();
        (!job["last_error"].is_null()).then_some(())
    })
    .await;
    std::fs::rename(&aside, &file).expect("renames");
    app.until(&batch, "completed").await;
    app.stop().await;
}
