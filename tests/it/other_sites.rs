//! Pages of other sites, in a real browser: they can neither read, plant, process nor delete, nor tell a batch that
//! exists from one that does not.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use crate::helpers::{app::TestApp, browser::Browser};

const CSV: &str = "user_id,event_type,timestamp\nu1,click,2025-11-10\n";
/// Names that the browser takes for those of the machine itself, as a rebound name or a public page would be.
const NAMES: &str =
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1";

/// A server of empty pages.
struct OtherSite {
    port: u16,
    _serving: JoinSet<()>,
}

impl OtherSite {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                drop(stream.read(&mut head).await);
                let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<title>x</title";
                drop(stream.write_all(page.as_bytes()).await);
            }
        });
        Self {
            port,
            _serving: serving,
        }
    }
}

/// What a page can find out about a URL, by each element that loads one and by `fetch`.
const PROBES: &str = r#"
const [url, done] = arguments;
const element = (tag, attribute, more = {}) => new Promise(resolve => {
  const node = Object.assign(document.createElement(tag), more);
  node.onload = () => resolve('load');
  node.onerror = () => resolve('error');
  setTimeout(() => resolve('nothing'), 700);
  node[attribute] = url;
  (document.body ?? document.documentElement).append(node);
});
const outcome = async options => {
  try {
    const reply = await fetch(url, options);
    return [reply.type, reply.status, (await reply.text()).length];
  } catch { return 'refused'; }
};
Promise.all([
  element('img', 'src'), element('script', 'src'), element('link', 'href', { rel: 'stylesheet' }),
  element('iframe', 'src'), element('object', 'data'), element('embed', 'src'), element('video', 'src'),
  outcome({}), outcome({ mode: 'no-cors' }), outcome({ mode: 'no-cors', method: 'HEAD' }),
]).then(done);
"#;

/// Requests that would change something, as forms and scripts send them without asking first.
const ATTACKS: &str = r#"
const [base, batch, csv, done] = arguments;
const send = (path, options) => fetch(base + path, { mode: 'no-cors', ...options }).catch(() => {});
const form = new FormData();
form.append('file', new Blob([csv], { type: 'text/csv' }), 'planted.csv');
const frame = document.createElement('iframe');
frame.name = 'target';
(document.body ?? document.documentElement).append(frame);
const real = document.createElement('form');
Object.assign(real, { method: 'post', action: `${base}/uploads`, enctype: 'text/plain', target: 'target' });
const field = Object.assign(document.createElement('input'), { name: csv, value: '' });
real.append(field);
(document.body ?? document.documentElement).append(real);
real.submit();
Promise.all([
  send('/uploads', { method: 'POST', body: form }),
  send('/uploads', { method: 'POST', body: csv, headers: { 'Content-Type': 'text/plain' } }),
  send(`/batches/${batch}/process`, { method: 'POST' }),
  fetch(`${base}/batches/${batch}`, { method: 'DELETE' }).catch(() => {}),
  fetch(`${base}/profiles/planted`, { method: 'PUT', body: '{}' }).catch(() => {}),
]).then(() => setTimeout(done, 300));
"#;

async fn probe(browser: &Browser, url: &str) -> Value {
    let probed = browser.page.execute_async(PROBES, vec![json!(url)]).await;
    probed.expect("runs")
}

#[tokio::test]
async fn pages_of_other_sites_neither_change_nor_learn_anything() {
    let (app, other) = (TestApp::start().await, OtherSite::start().await);
    let browser = Browser::start_with(&[NAMES]).await;
    let batch = app.uploaded("", CSV).await;
    let port = app.url.rsplit(':').next().expect("a port");
    let missing = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";
    for origin in [
        format!("http://127.0.0.1:{}", other.port),
        format!("http://evil.example:{}", other.port),
    ] {
        for base in [app.url.clone(), format!("http://localhost:{port}")] {
            browser.page.goto(&origin).await.expect("opens");
            for path in ["", "/errors.csv"] {
                let [found, absent] =
                    [&batch, missing].map(|id| format!("{base}/batches/{id}{path}"));
                let found = probe(&browser, &found).await;
                assert_eq!(found, probe(&browser, &absent).await, "{origin} {path}");
                assert_eq!(found[7], "refused", "{origin} {path} is not readable");
            }
            let arguments = vec![json!(base), json!(batch), json!(CSV)];
            let attacked = browser.page.execute_async(ATTACKS, arguments).await;
            attacked.expect("runs");
        }
    }
    // A name of an attacker that now leads to this service: same origin for the browser.
    let rebound = format!("http://rebound.example:{port}");
    browser.page.goto(&rebound).await.expect("opens");
    let text = browser.page.source().await.expect("a page");
    assert!(text.contains("host-not-allowed"), "{text}");
    let arguments = vec![json!(rebound), json!(batch), json!(CSV)];
    let attacked = browser.page.execute_async(ATTACKS, arguments).await;
    attacked.expect("runs");

    let batches = app.get("/batches").await.json();
    let batches = batches["data"].as_array().expect("a list").clone();
    assert_eq!(batches.len(), 1, "nothing is planted: {batches:?}");
    assert_eq!(
        batches[0]["status"], "uploaded",
        "nothing is processed or deleted"
    );
    assert_eq!(app.get("/profiles").await.json()["data"], json!([]));
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn a_listed_site_may_use_the_service() {
    let other = OtherSite::start().await;
    let origin = format!("http://evil.example:{}", other.port);
    let app = TestApp::with(&[("CORS_ORIGINS", &origin)]).await;
    let browser = Browser::start_with(&[NAMES]).await;
    browser.page.goto(&origin).await.expect("opens");
    let script = r#"
        const [url, csv, done] = arguments;
        fetch(`${url}/uploads`, { method: 'POST', body: csv, headers: { 'Content-Type': 'text/csv' } })
            .then(async reply => [reply.status, reply.headers.get('Location') !== null, (await reply.json()).inserted_count])
            .then(done, error => done(String(error)));"#;
    let arguments = vec![json!(app.url), json!(CSV)];
    let sent = browser.page.execute_async(script, arguments).await;
    assert_eq!(sent.expect("runs"), json!([201, true, 1]));
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn every_reply_has_the_security_headers() {
    let app = TestApp::start().await;
    let replies = [
        app.get("/").await,
        app.get("/assets/app.js").await,
        app.get("/health").await,
        app.get("/metrics").await,
        app.get("/nothing").await,
        app.get("/batches/none").await,
        app.upload("", "no csv").await,
        app.post("/health").await,
        app.admin(Method::GET, "").await,
    ];
    for reply in replies {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(reply.headers[name], value, "{}", reply.text);
        }
        let policy = reply.headers["content-security-policy"].to_str();
        assert!(policy.is_ok_and(|policy| policy.contains("frame-ancestors 'none'")));
    }
    let foreign = app
        .request(Method::GET, "/metrics")
        .header("host", "evil.example");
    let foreign = foreign.send().await.expect("answers");
    assert_eq!(foreign.status(), 421);
    assert_eq!(foreign.headers()["x-frame-options"], "DENY");
    assert!(foreign.headers().contains_key("x-request-id"));
    app.stop().await;
}

#[tokio::test]
async fn wrong_tokens_slow_their_address_down() {
    let app = TestApp::start().await;
    let dlq = "/admin/queues/event-processing/dlq";
    let guess = async |token: &str| {
        let request = app.request(Method::GET, dlq).bearer_auth(token);
        request.send().await.expect("answers")
    };
    for _ in 0..4 {
        assert_eq!(guess("wrong").await.status(), 401);
    }
    let slowed = guess("wrong").await;
    assert_eq!(slowed.status(), 429);
    assert_eq!(slowed.headers()["retry-after"], "1");
    let right = app.admin(Method::GET, "").await;
    assert_eq!(
        right.problem(),
        (429, "too-many-attempts".into()),
        "it is not compared"
    );
    app.stop().await;
}
