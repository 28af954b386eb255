//! A wrong method is 405 on every route, with the methods of the route in the `Allow` header.

use reqwest::Method;

use crate::helpers::app::{Answer, TestApp};

const DLQ: &str = "/admin/queues/event-processing/dlq";
const ID: &str = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";

/// Every route with its methods, as the `Allow` header lists them.
fn routes() -> Vec<(String, &'static str)> {
    let below = |root: &str, paths: &[(&str, &'static str)]| -> Vec<_> {
        let route = |(path, allow): &(&str, &'static str)| (format!("{root}{path}"), *allow);
        paths.iter().map(route).collect()
    };
    let uploads = below(
        "/uploads",
        &[
            ("", "POST"),
            ("/tus", "OPTIONS, POST"),
            (
                &format!("/tus/{ID}"),
                "OPTIONS, GET, HEAD, PATCH, DELETE, POST",
            ),
        ],
    );
    let batch = below(
        &format!("/batches/{ID}"),
        &[
            ("", "GET, HEAD, DELETE"),
            ("/process", "POST"),
            ("/errors", "GET, HEAD"),
            ("/errors.csv", "GET, HEAD"),
            ("/events", "GET, HEAD"),
            ("/events.parquet", "GET, HEAD"),
        ],
    );
    let dlq = below(
        DLQ,
        &[
            ("", "GET, HEAD"),
            ("/retry", "POST"),
            (&format!("/process:{ID}/retry"), "POST"),
            (&format!("/process:{ID}/discard"), "POST"),
        ],
    );
    let others = below(
        "",
        &[
            ("/batches", "GET, HEAD"),
            ("/events", "GET, HEAD"),
            ("/profiles", "GET, HEAD"),
            ("/profiles/shop", "GET, HEAD, PUT, DELETE"),
            ("/metrics", "GET, HEAD"),
            (&format!("/jobs/process:{ID}"), "GET, HEAD"),
            ("/health", "GET, HEAD"),
            ("/ready", "GET, HEAD"),
            ("/", "GET, HEAD"),
            ("/assets/app.js", "GET, HEAD"),
            ("/assets/none.js", "GET, HEAD"),
        ],
    );
    [uploads, batch, dlq, others].concat()
}

async fn send(app: &TestApp, method: &Method, path: &str) -> Answer {
    let request = app.request(method.clone(), path);
    Answer::of(request.send().await.expect("answers")).await
}

#[tokio::test]
async fn wrong_methods_are_405_and_allow_lists_the_right_ones() {
    let app = TestApp::start().await;
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    for (path, allow) in routes() {
        for method in &methods {
            let answer = send(&app, method, &path).await;
            if allow.split(", ").any(|allowed| allowed == method.as_str()) {
                assert_ne!(answer.status, 405, "{method} {path}");
                continue;
            }
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.headers["allow"], allow, "{method} {path}");
            let kind = &answer.headers["content-type"];
            assert_eq!(kind, "application/problem+json", "{method} {path}");
            if method != Method::HEAD {
                let expected = (405, "method-not-allowed".to_owned());
                assert_eq!(answer.problem(), expected, "{method} {path}");
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn paths_without_a_route_are_404_for_every_method() {
    let app = TestApp::start().await;
    for path in ["/nowhere", "/uploads/tus/a/b", "/admin", "/assets/a/b"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = send(&app, &method, path).await;
            assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{path}");
        }
    }
    app.stop().await;
}
