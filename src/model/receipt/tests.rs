//! The stored form of receipts never changes.

use super::*;
use crate::model::{ColumnRole, ProposalScope};

/// Every field of a file, as the service stores it in SQLite since these fields exist.
const FILE: &str = r#"{"rows":{"received":9,"inserted":6,"failed":2,"blank":1},"errors_by_code":{"missing-value":2},"rejections_kept":2,"file_name":"june.csv","profile":"crm","bytes":321,"sha256":"00ff","bom":true,"encoding":"utf-16le","encoding_known":"set","packing":"gzip","line_ending":"crlf","delimiter":";","quote":"'","escape":"backslash","preamble_lines":3,"repeated_headers":1,"columns":{"labels":["ts"],"roles":["timestamp"],"hint":null},"event_time":[1,2],"event_types":1,"days":1,"proposals":[{"option":"timestamp_format","value":"%d","scope":"rejected_rows","proven":true,"rows":2,"evidence":{"row":3,"line":4,"value":"x"},"reason":"line 4 has `x`"}],"values":{"time_zone":"UTC","local_times":1,"days":0,"null_values":0,"marks_removed":0,"anonymous":0},"warnings":[{"code":"c","column":"ts","rows":1,"line":2,"value":"v","message":"m"}],"identity":"row","parent":"07070707-0707-7707-0707-070707070707","options":{"source":"crm"},"claims":true,"expires_at":"2025-11-10T00:00:00Z"}"#;

/// The same file without a name, packing and all that is optional.
const PLAIN_FILE: &str = r#"{"rows":{"received":9,"inserted":6,"failed":2,"blank":1},"errors_by_code":{},"rejections_kept":2,"file_name":null,"bytes":321,"sha256":"00ff","bom":true,"encoding":"utf-16le","encoding_known":"set","packing":null,"line_ending":"crlf","delimiter":";","quote":"'","escape":"backslash","preamble_lines":3,"repeated_headers":1,"columns":{"labels":["ts"],"roles":["timestamp"],"hint":null},"event_time":[1,2],"event_types":1,"days":1,"identity":"row","claims":true,"expires_at":null}"#;

/// The proposal of the versions that had only one.
const ONE_PROPOSAL: &str = r#""proposal":{"format":"%d","line":4,"value":"x","rows":2}"#;

/// A receipt of the first version, which stored fewer fields.
const FIRST_VERSION: &str = r#"{"rows":{"received":1,"inserted":1,"failed":0,"blank":0},"errors_by_code":{},"rejections_kept":0,"file_name":"a.csv","bytes":5,"sha256":"00","bom":false,"line_ending":"lf","columns":{"labels":["ts"],"roles":["timestamp"],"hint":null},"event_time":[1,2],"event_types":1,"days":1,"claims":true,"expires_at":null}"#;

fn receipt() -> Receipt {
    Receipt {
        rows: RowCounts {
            received: 9,
            inserted: 6,
            failed: 2,
            blank: 1,
        },
        errors_by_code: BTreeMap::from([(FaultCode::MissingValue, 2)]),
        rejections_kept: 2,
        origin: Origin::File(FileOrigin {
            name: Some("june.csv".into()),
            bytes: 321,
            sha256: "00ff".into(),
            bom: true,
            encoding: "utf-16le".into(),
            encoding_source: "set".into(),
            packing: Some("gzip".into()),
            line_ending: "crlf".into(),
            delimiter: ';',
            quote: '\'',
            escape: "backslash".into(),
            preamble_lines: 3,
            repeated_headers: 1,
        }),
        profile: Some("crm".parse().expect("a name")),
        columns: Columns {
            labels: vec!["ts".into()],
            roles: vec![ColumnRole::Timestamp],
            hint: None,
        },
        event_time: (1, 2),
        event_types: 1,
        days: 1,
        proposals: vec![Proposal {
            option: "timestamp_format".into(),
            value: "%d".into(),
            scope: ProposalScope::RejectedRows,
            proven: true,
            rows: 2,
            evidence: Some(Evidence {
                row: 3,
                line: 4,
                value: "x".into(),
            }),
            reason: "line 4 has `x`".into(),
        }],
        values: Some(ValueCounts {
            time_zone: "UTC".into(),
            local_times: 1,
            ..ValueCounts::default()
        }),
        warnings: vec![Warning {
            code: "c".into(),
            column: "ts".into(),
            rows: 1,
            line: 2,
            value: "v".into(),
            message: "m".into(),
            ..Warning::default()
        }],
        identity: IdentityBy::Row,
        parent: Some(BatchId::from_bytes([7; 16])),
        options: BTreeMap::from([("source".into(), "crm".into())]),
        event_digest: None,
        claims: true,
        expires_at: Some("2025-11-10T00:00:00Z".parse().expect("an instant")),
    }
}

fn plain() -> Receipt {
    let mut plain = Receipt {
        errors_by_code: BTreeMap::new(),
        profile: None,
        proposals: Vec::new(),
        values: None,
        warnings: Vec::new(),
        parent: None,
        options: BTreeMap::new(),
        expires_at: None,
        ..receipt()
    };
    if let Origin::File(file) = &mut plain.origin {
        (file.name, file.packing) = (None, None);
    }
    plain
}

fn read(text: &str) -> Receipt {
    serde_json::from_str(text).expect("a receipt")
}

fn text(receipt: &Receipt) -> String {
    serde_json::to_string(receipt).expect("is JSON")
}

#[test]
fn receipts_of_files_keep_their_stored_form() {
    for (receipt, stored) in [(receipt(), FILE), (plain(), PLAIN_FILE)] {
        assert_eq!(text(&receipt), stored);
        assert_eq!(read(stored), receipt);
    }
}

#[test]
fn receipts_of_the_first_version_are_read_with_its_only_dialect() {
    let receipt = read(FIRST_VERSION);
    let file = receipt.origin.file().expect("a file");
    assert_eq!(
        (file.encoding.as_str(), file.encoding_source.as_str()),
        ("utf-8", "detected")
    );
    assert_eq!((file.delimiter, file.quote), (',', '"'));
    assert_eq!(
        (file.escape.as_str(), file.packing.as_deref()),
        ("doubled", None)
    );
    assert_eq!(receipt.identity, IdentityBy::EventId);
}

#[test]
fn the_proposal_of_an_older_receipt_is_read() {
    let stored = PLAIN_FILE.replace(r#""identity""#, &format!(r#"{ONE_PROPOSAL},"identity""#));
    let mut expected = receipt().proposals;
    expected[0].evidence.as_mut().expect("evidence").row = 0;
    assert_eq!(read(&stored).proposals, expected);
}

#[test]
fn receipts_of_streams_are_stored_without_the_fields_of_a_file() {
    let stream = Receipt {
        origin: Origin::Stream(StreamOrigin {
            name: "clicks".into(),
        }),
        ..plain()
    };
    let stored = text(&stream);
    assert!(stored.contains(r#""stream":{"name":"clicks"}"#), "{stored}");
    assert!(!stored.contains("sha256") && !stored.contains("file_name"));
    assert_eq!(read(&stored), stream);
}

#[test]
fn receipts_of_neither_a_file_nor_a_stream_are_refused() {
    let stored = PLAIN_FILE.replace(r#""sha256":"00ff","#, "");
    let error = serde_json::from_str::<Receipt>(&stored).expect_err("no digest");
    assert!(error.to_string().contains("`sha256`"), "{error}");
}
