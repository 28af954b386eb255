//! Profiles over HTTP: named sets of options, and uploads that use them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::app::{Answer, TestApp};

const CSV: &str = "User ID;When;Action\nu1;2025-11-10 00:30;login\nu2;2025-11-10 12:00;login\n";

fn crm() -> Value {
    json!({
        "columns": "user_id:User ID,timestamp:When,event_type:Action", "delimiter": ";",
        "time_zone": "Europe/Berlin", "max_errors": 5, "source": "crm",
    })
}

async fn send(app: &TestApp, method: Method, path: &str) -> Answer {
    let request = app.request(method, &format!("/profiles/{path}"));
    Answer::of(request.send().await.expect("answers")).await
}

async fn put(app: &TestApp, name: &str, body: impl Into<String>) -> Answer {
    let request = app.request(Method::PUT, &format!("/profiles/{name}"));
    let request = request.body(body.into());
    Answer::of(request.send().await.expect("answers")).await
}

#[tokio::test]
async fn uploads_use_the_options_of_their_profile_and_own_options_win() {
    let app = TestApp::start().await;
    assert_eq!(put(&app, "crm", crm().to_string()).await.status, 201);
    let first = app.upload("?profile=crm", CSV).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let receipt = first.json();
    assert_eq!(
        (&receipt["profile"], &receipt["source"]),
        (&json!("crm"), &json!("crm"))
    );
    assert_eq!(receipt["event_time"]["min"], "2025-11-09T23:30:00Z");
    let explicit = app
        .upload(
            "?columns=event_type:Action,timestamp:When,user_id:User%20ID&delimiter=;&time_zone=Europe/Berlin&source=crm",
            CSV,
        )
        .await;
    assert_eq!(explicit.status, 200, "{}", explicit.text);
    assert_eq!(explicit.json()["duplicate_of"], receipt["batch_id"]);
    let own = app
        .upload("?source=shop&time_zone=UTC&profile=crm", CSV)
        .await;
    assert_eq!(own.status, 201, "{}", own.text);
    assert_eq!(own.json()["source"], "shop");
    assert_eq!(own.json()["event_time"]["min"], "2025-11-10T00:30:00Z");
    let form = reqwest::multipart::Form::new()
        .text("profile", "crm")
        .text("source", "form")
        .part(
            "file",
            reqwest::multipart::Part::text(CSV).file_name("a.csv"),
        );
    let form = app.request(Method::POST, "/uploads").multipart(form);
    let form = Answer::of(form.send().await.expect("answers")).await;
    assert_eq!(form.status, 201, "{}", form.text);
    assert_eq!(form.json()["profile"], "crm");
    let shown = app
        .get(receipt["links"]["self"].as_str().expect("a link"))
        .await
        .json();
    assert_eq!(shown["profile"], "crm");
    app.stop().await;
}

#[tokio::test]
async fn profiles_can_be_put_read_listed_and_deleted() {
    let app = TestApp::start().await;
    for name in ["b", "a.2", "c_3-x"] {
        assert_eq!(put(&app, name, crm().to_string()).await.status, 201);
    }
    let again = put(&app, "b", "{\"dedupe\":\"none\"}").await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["options"], json!({ "dedupe": "none" }));
    assert_eq!(send(&app, Method::GET, "b").await.json(), again.json());
    let first = app.get("/profiles?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = app.get(&format!("/profiles?cursor={cursor}")).await.json();
    let names: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["data"].as_array().expect("a list"))
        .map(|profile| profile["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["a.2", "b", "c_3-x"]);
    assert!(second["next_cursor"].is_null());
    assert_eq!(first["data"][0]["options"]["max_errors"], "5");
    assert_eq!(send(&app, Method::DELETE, "b").await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        let missing = send(&app, method, "b").await;
        assert_eq!(missing.problem(), (404, "profile-missing".into()));
    }
    app.stop().await;
}

#[tokio::test]
async fn invalid_profiles_are_rejected_with_the_name_of_the_option() {
    let app = TestApp::start().await;
    for (body, code, says) in [
        ("{\"sauce\":\"crm\"}", "bad-option", "`sauce`"),
        (
            "{\"name\":\"a.csv\"}",
            "bad-option",
            "`name` is of one file",
        ),
        (
            "{\"profile\":\"b\"}",
            "bad-option",
            "`profile` is of one file",
        ),
        ("{\"time_zone\":\"Mars\"}", "bad-option", "IANA"),
        (
            "{\"columns\":{\"user_id\":\"a\"}}",
            "bad-profile",
            "`columns`",
        ),
        ("{}", "bad-profile", "no option"),
        ("[1]", "bad-profile", "JSON object"),
        ("{", "bad-profile", "JSON object"),
    ] {
        let rejected = put(&app, "a", body).await;
        assert_eq!(rejected.problem(), (400, code.into()), "{body}");
        assert!(rejected.text.contains(says), "{}", rejected.text);
    }
    for name in ["A", "a%20b", &"a".repeat(65)] {
        let rejected = put(&app, name, crm().to_string()).await;
        assert_eq!(rejected.problem(), (400, "bad-id".into()), "{name}");
    }
    let long = json!({ "source": "a".repeat(9_000) }).to_string();
    let rejected = put(&app, "a", long).await;
    assert_eq!(rejected.problem(), (413, "too-large".into()));
    assert_eq!(app.get("/profiles").await.json()["data"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn unknown_profiles_are_reported_with_the_existing_ones() {
    let app = TestApp::start().await;
    let none = app.upload("?profile=crm", CSV).await;
    assert_eq!(none.problem(), (400, "bad-option".into()));
    assert!(none.text.contains("PUT /profiles"), "{}", none.text);
    put(&app, "shop", crm().to_string()).await;
    for wrong in ["?profile=crm", "?profile=", "?profile=A%20b"] {
        let unknown = app.upload(wrong, CSV).await;
        assert_eq!(unknown.problem(), (400, "bad-option".into()), "{wrong}");
        assert!(unknown.text.contains("there are shop"), "{}", unknown.text);
    }
    let twice = app.upload("?profile=shop&profile=shop", CSV).await;
    assert!(twice.text.contains("given twice"), "{}", twice.text);
    app.stop().await;
}

#[tokio::test]
async fn proposed_columns_make_the_file_acceptable() {
    let app = TestApp::start().await;
    const UNNAMED: &str = "Customer;When;Activity\nu1;2025-11-10;login\nu2;2025-11-10;view\n";
    let rejected = app.upload("", UNNAMED).await;
    assert_eq!(rejected.problem(), (422, "missing-columns".into()));
    let proposed = rejected.json()["proposed"].as_str().map(str::to_owned);
    let proposed = proposed.expect("near names");
    assert!(
        rejected.text.contains(&format!("`columns={proposed}`")),
        "{}",
        rejected.text
    );
    let options = json!({ "columns": proposed }).to_string();
    assert_eq!(put(&app, "near", options).await.status, 201);
    let accepted = app.upload("?profile=near", UNNAMED).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    assert_eq!(accepted.json()["inserted_count"], 2);
    app.stop().await;
}
