//! errors.csv: the export of rejected rows, and the upload of the corrected file.

use reqwest::Method;

use crate::helpers::app::TestApp;

const HEADER: &str = "user_id,event_type,timestamp,note,=sum\n";

/// One row of each fault, each with a cell that a spreadsheet would execute, and the corrected line of the export.
fn faulty() -> Vec<(&'static [u8], &'static str)> {
    vec![
        (
            b"u1,login,yesterday,=1+1,a\n",
            "u1,login,2025-11-10,'=1+1,a",
        ),
        (
            b"-u2,login,2025-11-10,'=2\n",
            "'-u2,login,2025-11-10,''=2,b",
        ),
        (
            b"@u3,login,2025-11-10,=3,c,d\n",
            "'@u3,login,2025-11-10,'=3,c d",
        ),
        (
            b"u4,login,2025-11-10,\"+4\"x,\te\n",
            "u4,login,2025-11-10,'+4,'\te",
        ),
        (b"u5,,2025-11-10,-5,f\n", "u5,login,2025-11-10,'-5,f"),
        (
            b"u6,login,2025-11-10,+\xff6,g\n",
            "u6,login,2025-11-10,'+6,g",
        ),
        (b"u7,login,2025-11-10,+7,\"h\n", "u7,login,2025-11-10,'+7,h"),
    ]
}

fn file() -> Vec<u8> {
    let rows: Vec<_> = faulty().iter().map(|(row, _)| *row).collect();
    let good = b"u0,login,2025-11-10,-0,z\n";
    // The unclosed quote must not include the last row.
    [HEADER.as_bytes(), &rows.concat(), good].concat()
}

/// Uploads a file. Returns the batch and its errors.csv.
async fn rejected(app: &TestApp, query: &str, file: Vec<u8>) -> (String, String) {
    let answer = app.upload(query, file).await.json();
    let id = answer["batch_id"].as_str().expect("an id").to_owned();
    let reply = app
        .request(Method::GET, &format!("/batches/{id}/errors"))
        .header("accept", "text/csv")
        .send()
        .await
        .expect("answers");
    assert_eq!(reply.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(
        reply.headers()["x-errors-failed"],
        answer["failed_count"].to_string()
    );
    (id, reply.text().await.expect("text"))
}

#[tokio::test]
async fn exported_rows_contain_no_formula_of_a_spreadsheet() {
    let app = TestApp::start().await;
    let (id, text) = rejected(&app, "?encoding=utf-8", file()).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "\u{feff}\"user_id\",\"event_type\",\"timestamp\",\"note\",\"'=sum\",\"_line\",\"_error_code\",\"_error\""
    );
    assert_eq!(lines.len(), 1 + faulty().len(), "{text}");
    let dangerous = text
        .split(['"', ',', '\n'])
        .find(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.len() > 1);
    assert_eq!(dangerous, None);
    assert!(
        lines[1].contains("\"'=1+1\",\"a\",\"2\",\"invalid-timestamp\""),
        "{}",
        lines[1]
    );
    let by_path = app.get(&format!("/batches/{id}/errors.csv")).await;
    assert_eq!(by_path.text, text);
    app.stop().await;
}

#[tokio::test]
async fn uncorrected_rows_are_refused_again() {
    let app = TestApp::start().await;
    let (_, text) = rejected(&app, "?encoding=utf-8", file()).await;
    let answer = app.upload("", text.into_bytes()).await;
    let reply = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &reply["code"]),
        (422, &"no-valid-rows".into())
    );
    assert_eq!(reply["failed_count"], faulty().len());
    let codes: Vec<_> = reply["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|e| e["faults"][0]["code"].clone())
        .collect();
    let marked = codes.iter().filter(|code| **code == "not-mended").count();
    assert_eq!(marked, 5, "{codes:?}");
    app.stop().await;
}

#[tokio::test]
async fn corrected_rows_keep_their_cells_and_all_are_counted() {
    let app = TestApp::start().await;
    let (_, text) = rejected(&app, "?encoding=utf-8", file()).await;
    let lines = text.lines().skip(1);
    let mended: String = lines
        .zip(faulty())
        .map(|(line, (_, mended))| {
            let added: Vec<_> = line.split("\",\"").collect();
            let at = added
                .iter()
                .rposition(|cell| cell.bytes().all(|b| b.is_ascii_digit()))
                .expect("a line");
            format!("{mended},\"{}\n", added[at..].join("\",\""))
        })
        .collect();
    let head = text.lines().next().expect("a header");
    let answer = app
        .upload("", format!("{head}\n{mended}").into_bytes())
        .await
        .json();
    assert_eq!(
        (&answer["inserted_count"], &answer["failed_count"]),
        (&faulty().len().into(), &0.into()),
        "{answer}"
    );
    let roles: Vec<_> = answer["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|c| c["role"].clone())
        .collect();
    assert_eq!(roles[5..], ["ignored", "ignored", "ignored"]);
    assert_eq!(answer["columns"][4]["name"], "=sum");
    app.stop().await;
}

#[tokio::test]
async fn an_errors_csv_is_recognised_in_any_order_of_columns() {
    let app = TestApp::start().await;
    let (parent, text) = rejected(&app, "?encoding=utf-8", file()).await;
    let cells: Vec<Vec<&str>> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.trim_matches('"').split("\",\"").collect())
        .collect();
    let written = |columns: &[usize]| {
        let line = |row: &Vec<&str>| {
            let cells: Vec<_> = columns
                .iter()
                .map(|at| format!("\"{}\"", row[*at]))
                .collect();
            cells.join(",") + "\n"
        };
        cells.iter().map(line).collect::<String>()
    };
    let of_parent = format!("?parent={parent}");
    for (query, columns) in [
        ("", &[5, 0, 1, 2, 3, 4, 6, 7][..]),
        ("", &[0, 1, 2, 3, 4, 5, 6]),
        (&of_parent, &[0, 1, 2, 3, 4, 5]),
        (&of_parent, &[0, 1, 2, 3, 4]),
    ] {
        let reply = app
            .upload(query, written(columns).into_bytes())
            .await
            .json();
        assert_eq!(reply["code"], "no-valid-rows", "{columns:?}: {reply}");
        let errors = reply["errors"].as_array().expect("errors");
        let marked = errors
            .iter()
            .filter(|e| e["faults"][0]["code"] == "not-mended")
            .count();
        assert_eq!(marked, 5, "{columns:?}");
        assert_eq!(errors[0]["fields"]["note"], "=1+1", "{columns:?}");
        assert_eq!(errors[0]["fields"].get("'=sum"), None, "{columns:?}");
    }
    app.stop().await;
}

#[tokio::test]
async fn error_pages_report_how_many_rejections_are_stored() {
    let app = TestApp::start().await;
    let rows: String = (0..1_100)
        .map(|n| format!("u{n},login,never,x,y\n"))
        .collect();
    let (id, text) = rejected(
        &app,
        "",
        format!("{HEADER}{rows}u,login,2025-11-10,x,y\n").into_bytes(),
    )
    .await;
    assert_eq!(text.lines().count(), 1_101);
    let page = app
        .get(&format!("/batches/{id}/errors?limit=10"))
        .await
        .json();
    assert_eq!(
        (
            &page["failed_count"],
            &page["errors_kept"],
            &page["errors_capped"]
        ),
        (&1_100.into(), &1_100.into(), &false.into())
    );
    app.stop().await;
}

#[tokio::test]
async fn corrected_rows_inherit_the_options_of_their_parent() {
    let app = TestApp::start().await;
    let file = "When;Who;What;Order\n10.11.2025 09:00;u1;buy;7\n10.11.2025 25:00;u2;buy;8\n";
    let query = "?source=shop&key=Order&time_zone=Europe/Berlin&timestamp_format=%25d.%25m.%25Y+%25H:%25M&columns=timestamp:When,user_id:Who,event_type:What";
    let (parent, text) = rejected(&app, query, file.as_bytes().to_vec()).await;
    let mended = text.replace("25:00", "15:00");

    let alone = app.upload("", mended.clone().into_bytes()).await;
    assert_eq!(alone.problem().1, "missing-columns");
    let child = app
        .upload(&format!("?parent={parent}"), mended.clone().into_bytes())
        .await
        .json();
    assert_eq!(
        (&child["parent"], &child["source"]),
        (&parent.clone().into(), &"shop".into())
    );
    assert_eq!(
        (&child["inserted_count"], &child["failed_count"]),
        (&1.into(), &0.into()),
        "{child}"
    );
    assert_eq!(child["event_time"]["min"], "2025-11-10T14:00:00Z");
    assert_eq!(child["identity"]["columns"], serde_json::json!(["Order"]));
    let known = app
        .get(&format!(
            "/batches/{}",
            child["batch_id"].as_str().expect("an id")
        ))
        .await
        .json();
    assert_eq!(known["parent"], parent);

    let listed = app.get(&format!("/batches?parent={parent}")).await.json();
    assert_eq!(listed["data"][0]["batch_id"], child["batch_id"]);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));

    let stated = app
        .upload(
            &format!("?parent={parent}&source=other"),
            mended.clone().into_bytes(),
        )
        .await
        .json();
    assert_eq!(stated["source"], "other");
    let again = app.upload("?parent=", mended.clone().into_bytes()).await;
    assert_eq!(again.problem().1, "bad-option");
    let file = "user_id,event_type,timestamp\nu,login,2025-11-10\n";
    app.upload("?source=shop&key=user_id", file.as_bytes().to_vec())
        .await;
    let known = app
        .upload(
            &format!("?key=user_id&columns=&timestamp_format=&time_zone=&parent={parent}"),
            file.as_bytes().to_vec(),
        )
        .await
        .json();
    assert!(
        known["note"]
            .as_str()
            .is_some_and(|note| note.contains(&parent)),
        "{known}"
    );
    for wrong in ["17", "01a1faf9-1753-78e0-a8f6-49c3dc141d6f"] {
        let answer = app
            .upload(&format!("?parent={wrong}"), mended.clone().into_bytes())
            .await;
        assert_eq!(answer.problem(), (400, "bad-option".into()));
    }
    app.stop().await;
}

#[tokio::test]
async fn head_requests_return_the_length_without_a_body() {
    let app = TestApp::start().await;
    let (id, csv) = rejected(&app, "", file()).await;
    let head = async |path: &str| {
        let reply = app.request(Method::HEAD, path).send().await;
        let reply = reply.expect("answers");
        assert_eq!(reply.status(), 200, "{path}");
        let length = reply.headers().get("content-length").cloned();
        assert_eq!(reply.text().await.expect("ends"), "", "{path}");
        length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
    };
    let errors = format!("/batches/{id}/errors.csv");
    assert_eq!(head(&errors).await, Some(csv.len()));
    let events = format!("/batches/{id}/events.parquet");
    let parquet = app.request(Method::GET, &events).send().await;
    let known = parquet.expect("answers").content_length();
    assert_eq!(head(&events).await, known.map(|bytes| bytes as usize));
    for path in [
        "/",
        "/health",
        "/batches",
        "/metrics",
        "/events",
        "/profiles",
    ] {
        assert!(head(path).await.is_some(), "{path}");
    }
    assert!(head(&format!("/batches/{id}")).await.is_some());
    let missing = app.request(Method::HEAD, "/nothing").send().await;
    assert_eq!(missing.expect("answers").status(), 404);
    app.stop().await;
}
