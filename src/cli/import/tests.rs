//! `import` against a server with canned responses.

use std::{
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
};

use super::*;

/// A server that sends one canned response per connection, in order, and passes on the requests that it received.
struct Stub {
    url: String,
    requests: mpsc::Receiver<(String, Vec<u8>)>,
    serving: JoinHandle<()>,
}

fn stub(answers: Vec<(u16, &'static str, serde_json::Value)>) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (sender, requests) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        for (status, extra, body) in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            sender.send(request(&stream)).expect("the test reads");
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).expect("sent");
        }
    });
    Stub {
        url,
        requests,
        serving,
    }
}

/// Reads a request. Returns its first line and its body.
fn request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (first.trim().to_owned(), body)
}

fn options(url: &str, file: &Path) -> Import {
    Import {
        files: vec![file.into()],
        upload: UploadArgs {
            source: Some("shop & co".into()),
            ..UploadArgs::default()
        },
        errors: None,
        server: Some(url.into()),
        follow_proposals: false,
        force: false,
    }
}

fn config() -> Config {
    Config::from_lookup(|_| None).expect("defaults")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

#[tokio::test]
async fn a_file_is_uploaded_processed_and_its_days_are_asked_for() {
    use serde_json::json;
    let stub = stub(vec![
        (429, "Retry-After: 0\r\n", json!({"detail": "wait"})),
        (
            201,
            "",
            json!({"batch_id": "b1", "received_count": 1, "inserted_count": 1}),
        ),
        (202, "", json!({"job_id": "process:b1"})),
        (
            200,
            "",
            json!({"status": "processing", "job": {"progress": {"phase": "fold", "done": 1, "total": 2}}}),
        ),
        (
            200,
            "",
            json!({"status": "completed", "days": ["2025-11-02", "2025-11-01"],
            "published": {"counted": 1, "duplicate": 0, "conflict": 0}}),
        ),
        (200, "", json!({"count": 0, "data": []})),
    ]);
    let csv = file("event_type,timestamp,user_id\na,2025-11-01,u\n");
    import(&options(&stub.url, csv.path()), config())
        .await
        .expect("imported");
    stub.serving.join().expect("served");
    let requests: Vec<_> = stub.requests.iter().collect();
    let name = csv.path().file_name().expect("a name").to_string_lossy();
    assert!(
        requests[0].0.starts_with("POST /uploads?name="),
        "{}",
        requests[0].0
    );
    assert!(requests[1].0.contains(&*name) && requests[1].0.contains("source=shop+%26+co"));
    assert_eq!(
        requests[1].1,
        b"event_type,timestamp,user_id\na,2025-11-01,u\n"
    );
    let lines: Vec<_> = requests[2..]
        .iter()
        .map(|(line, _)| line.as_str())
        .collect();
    assert_eq!(
        lines,
        [
            "POST /batches/b1/process HTTP/1.1",
            "GET /batches/b1 HTTP/1.1",
            "GET /batches/b1 HTTP/1.1",
            "GET /metrics?from=2025-11-01&to=2025-11-02 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_refused_file_is_named_with_the_detail_and_its_rows() {
    let problem = serde_json::json!({
        "title": "no valid rows", "detail": "not one row could be used", "code": "no-valid-rows",
        "errors": [{"line": 2, "faults": [{"column": null, "code": "missing-cell", "message": "2 cells, not 3"}]}],
    });
    let stub = stub(vec![(422, "", problem)]);
    let csv = file("event_type,timestamp,user_id\na,b\n");
    let why = import(&options(&stub.url, csv.path()), config()).await;
    let Err(ImportError::Refused(why)) = why else {
        panic!("{why:?}")
    };
    assert!(
        why.contains("not one row could be used (no-valid-rows)"),
        "{why}"
    );
    assert!(
        why.contains("line 2: 2 cells, not 3 (missing-cell)"),
        "{why}"
    );
}

#[tokio::test]
async fn server_address_without_scheme_is_refused() {
    let csv = file("");
    let result = import(&options("x:3000", csv.path()), config()).await;
    let refused =
        matches!(&result, Err(ImportError::Refused(why)) if why.contains("http://host:port"));
    assert!(refused, "{result:?}");
}
