//! What the log of the real binary says: one line for each request that changes something, and one pair of lines for an
//! outage.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::helpers::{
    app::TOKEN,
    http_client,
    mongo::Mongo,
    process::{Service, eventually},
    sample::json,
    servers::Redis,
};

const CSV: &str = "event_type,timestamp,user_id\nclick,2025-03-04T05:06:07Z,u1\nclick,never,u1\n";
const CLIENT: &str = "203.0.113.9";
const SECRETS: [&str; 4] = [
    TOKEN,
    "a-wrong-token",
    "a-key-of-a-client",
    "a-secret-source",
];

/// Returns the lines of a JSON log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["message"] == message).collect()
}

/// Returns the only line with this message, which is of the client behind the proxy.
fn one(log: &str, message: &str) -> Value {
    let mut found = lines(log, message);
    assert_eq!(found.len(), 1, "`{message}` in {log}");
    let line = found.remove(0);
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["client"], CLIENT, "{line}");
    line
}

async fn status(request: RequestBuilder) -> u16 {
    let request = request.header("x-forwarded-for", CLIENT);
    request.send().await.expect("answers").status().as_u16()
}

#[tokio::test]
async fn each_request_that_changes_something_has_one_line() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let settings = [
        ("LOG_FORMAT", "json"),
        ("ADMIN_TOKEN", TOKEN),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let mut service = Service::start(&data, &settings).await;
    let (client, url) = (http_client(), service.url.clone());
    let to = |method: Method, path: &str| client.request(method, format!("{url}{path}"));
    let upload = |body: &'static str| {
        let request = to(Method::POST, "/uploads?source=a-secret-source");
        request.header("content-type", "text/csv").body(body)
    };
    let keyed = upload(CSV).header("idempotency-key", "a-key-of-a-client");
    assert_eq!(status(keyed).await, 201);
    assert_eq!(status(upload(CSV)).await, 200);
    assert_eq!(status(upload("no,csv\n")).await, 422);
    let list = json(&client, &format!("{url}/batches")).await;
    let batch = list["data"][0]["batch_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        status(to(Method::POST, &format!("/batches/{batch}/process"))).await,
        202
    );
    eventually("figures", async || {
        let found = json(&client, &format!("{url}/batches/{batch}")).await;
        (found["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(
        status(to(Method::DELETE, &format!("/batches/{batch}"))).await,
        202
    );
    let tus = to(Method::POST, "/uploads/tus")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", CSV.len())
        .header("content-type", "application/offset+octet-stream");
    assert_eq!(status(tus.body(CSV)).await, 201);
    let retry = "/admin/queues/event-processing/dlq/retry";
    let accepted = to(Method::POST, retry)
        .bearer_auth(TOKEN)
        .header("x-forwarded-for", CLIENT);
    let accepted = accepted.send().await.expect("answers");
    assert_eq!(accepted.status().as_u16(), 202);
    let accepted: Value = accepted.json().await.expect("JSON");
    let retry_job = accepted["job_id"].as_str().expect("a job id");
    assert_eq!(
        status(to(Method::POST, retry).bearer_auth("a-wrong-token")).await,
        401
    );
    assert_eq!(status(to(Method::POST, retry)).await, 401);
    service.terminate();
    assert!(service.ended().await.success());

    let log = service.log();
    let stored = lines(&log, "upload stored");
    assert_eq!(
        stored.len(),
        2,
        "a file sent at once, and a resumable upload: {log}"
    );
    for line in &stored {
        assert_eq!(line["client"], CLIENT);
        assert_eq!((&line["rows"], &line["rejected"]), (&2.into(), &1.into()));
        assert_eq!(line["bytes"], CSV.len());
        assert!(line["ms"].is_u64(), "{line}");
    }
    assert_eq!(stored[0]["batch.id"], *batch);
    assert_eq!(one(&log, "upload is a duplicate")["batch.id"], *batch);
    assert_eq!(
        one(&log, "upload refused: missing-columns")["code"],
        "missing-columns"
    );
    assert_eq!(one(&log, "process batch: accepted")["batch.id"], *batch);
    assert_eq!(one(&log, "delete batch: accepted")["batch.id"], *batch);
    let admin = one(
        &log,
        &format!("admin action `retry all`: queued as {retry_job}"),
    );
    assert_eq!(admin["subject"], "all");
    one(&log, "admin token refused: it is wrong");
    one(&log, "admin token refused: it is missing");
    let completed = lines(&log, &format!("job process:{batch} completed"));
    assert_eq!(completed.len(), 1, "{log}");
    assert_eq!(completed[0]["rows"], 1, "{}", completed[0]);
    assert!(completed[0]["ms"].is_u64(), "{}", completed[0]);
    let start = lines(&log, &format!("tallymill answers at {url}"));
    assert_eq!(start[0]["version"], tallymill::model::version());
    for secret in SECRETS {
        assert!(!log.contains(secret), "{secret} in {log}");
    }

    let database = rusqlite::Connection::open(data.join("tallymill.db")).expect("opens");
    let sql = "SELECT count(*) FROM audit WHERE json_extract(doc, '$.actor') = ?1";
    let acts: u32 = database
        .query_row(sql, [CLIENT], |row| row.get(0))
        .expect("reads");
    assert_eq!(acts, 2, "before and after the only act of an admin");
}

#[tokio::test]
async fn a_full_redis_is_one_outage_until_a_write_succeeds() {
    let home = tempfile::tempdir().expect("a directory");
    let redis = Redis::start().await;
    let (uri, url) = (Mongo::shared().database(), redis.url());
    let settings = [("MONGO_URI", &*uri), ("REDIS_URL", &*url)];
    let service = Service::start(&home.path().join("data"), &settings).await;
    let client = http_client();
    let post = async |path: &str, body: &'static str| {
        let request = client.post(format!("{}{path}", service.url));
        let request = request.header("content-type", "text/csv").body(body);
        request.send().await.expect("answers")
    };
    let uploaded: Value = post("/uploads", CSV).await.json().await.expect("JSON");
    let batch = uploaded["batch_id"].as_str().expect("an id");
    let process = format!("/batches/{batch}/process?force=true");
    let maxmemory = async |bytes: &str| {
        let mut redis = redis.connection().await;
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set.query_async::<()>(&mut redis).await.expect("set");
    };
    let ready = async || {
        let answer = client.get(format!("{}/ready", service.url)).send().await;
        let ready: Value = answer.expect("answers").json().await.expect("JSON");
        ready["queue"]["ok"] == true
    };
    maxmemory("1").await;
    eventually("the beginning of the outage", async || {
        assert_eq!(post(&process, "").await.status(), 202);
        service.log().contains("refuses writes").then_some(())
    })
    .await;
    let refused_writes = async || {
        let mut redis = redis.connection().await;
        let mut info = redis::cmd("INFO");
        info.arg("errorstats");
        let stats: String = info.query_async(&mut redis).await.expect("statistics");
        let count = stats.split_once("errorstat_OOM:count=");
        let count = count.map_or("0", |(_, rest)| rest.trim());
        let digits = count.split(|c: char| !c.is_ascii_digit()).next();
        digits
            .and_then(|digits| digits.parse::<u64>().ok())
            .expect("a number")
    };
    // A ping, and then a write: the server would answer the first, and refuses the second.
    for _ in 0..5 {
        assert!(!ready().await);
        let before = refused_writes().await;
        eventually("another write that is refused", async || {
            assert_eq!(post(&process, "").await.status(), 202);
            (refused_writes().await > before).then_some(())
        })
        .await;
    }
    maxmemory("0").await;
    eventually("a service that is ready", async || {
        (ready().await).then_some(())
    })
    .await;
    let log = service.log();
    let of_redis = log.lines().filter(|line| line.contains("Redis at "));
    let of_redis: Vec<_> = of_redis.filter(|line| !line.contains("store: ")).collect();
    assert_eq!(of_redis.len(), 2, "{of_redis:#?}");
    assert!(
        of_redis[0].contains("WARN") && of_redis[0].contains("OOM"),
        "{of_redis:#?}"
    );
    assert!(of_redis[1].contains("answers again after"), "{of_redis:#?}");
}
