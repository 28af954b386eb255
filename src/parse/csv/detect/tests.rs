//! Tests of the detection of header, delimiter, quote and escape.

use super::*;
use crate::parse::Escape;

fn detection(head: &str) -> Detection {
    let timestamps = TimestampParser::new(chrono_tz::Tz::UTC, chrono_tz::Tz::UTC, Vec::new());
    let requirements = HeaderRequirements {
        columns: &Vec::new(),
        header: HeaderOption::Detect,
        from_errors_csv: false,
        limits: Limits::default(),
        timestamps: &timestamps,
        budget: None,
    };
    detect(head.as_bytes(), DialectOptions::default(), requirements).detection
}

/// Delimiter, quote, bytes and lines above the header.
fn detected(head: &str) -> (char, char, usize, u32) {
    let Detection {
        dialect,
        preamble_bytes,
        preamble_lines,
        columns: _,
    } = detection(head);
    let (delimiter, quote) = (dialect.delimiter.into(), dialect.quote.into());
    (delimiter, quote, preamble_bytes, preamble_lines)
}

#[test]
fn delimiter_is_detected_from_the_header() {
    for delimiter in [',', ';', '\t', '|'] {
        let head = ["event_type", "timestamp", "user_id"].join(&delimiter.to_string());
        assert_eq!(detected(&format!("{head}\nx\n")), (delimiter, '"', 0, 0));
        let quoted = format!(
            "\"{}\"\n",
            head.replace(delimiter, &format!("\"{delimiter}\""))
        );
        assert_eq!(detected(&quoted), (delimiter, '"', 0, 0));
        assert_eq!(detected(&quoted.replace('"', "'")), (delimiter, '\'', 0, 0));
    }
}

#[test]
fn lines_above_the_header_are_skipped_but_for_blank_first_lines() {
    let header = "type,time,user\n";
    assert_eq!(detected(&format!("\n \n{header}")), (',', '"', 0, 0));
    assert_eq!(
        detected(&format!("Events of May\n\n{header}")),
        (',', '"', 15, 2)
    );
    assert_eq!(
        detected(&format!("# a, b\r\n# c\r\n{header}")),
        (',', '"', 13, 2)
    );
    assert_eq!(
        detected(&format!("sep=;\r\n{}", header.replace(',', ";"))),
        (';', '"', 7, 1)
    );
    assert_eq!(
        detected(&format!("sep=^\n{}", header.replace(',', "^"))),
        ('^', '"', 6, 1)
    );
    let long = "title\n".repeat(40);
    assert_eq!(detected(&format!("{long}{header}")), (',', '"', 0, 0));
}

#[test]
fn apostrophe_as_quote_is_detected_from_the_rows() {
    let header = "type,time,user,note\n";
    let row = |note: &str| format!("{header}a,2025-11-10,u,{note}\n'b',2025-11-10,'u',x\n");
    assert_eq!(detected(&row("'n'")).1, '\'');
    assert_eq!(detected(&row("'tis so")).1, '"');
    assert_eq!(detected(&row("\"n\"")).1, '"');
    assert_eq!(
        detected(&format!("{header}a,b,c,'n'\n")).1,
        '"',
        "one quoted cell does not suffice"
    );
}

#[test]
fn backslash_escape_is_detected_from_the_rows() {
    let escape = |rows: &str| {
        let head = format!("type,time,user,note\n{rows}");
        detection(&head).dialect.escape
    };
    for (rows, expected) in [
        ("a,b,c,\"x \\\"y\\\" z\"\n", Escape::Backslash),
        ("a,b,c,\"x \\\", y\"\n", Escape::Backslash),
        ("a,b,c,\"C:\\dir\\\"\n", Escape::Doubled),
        ("a,b,\"C:\\\",\"D:\\\"\n", Escape::Doubled),
        ("a,b,c,\"x \"\"y\"\"\"\n", Escape::Doubled),
        ("a,b,c,x \\\"y\n", Escape::Doubled),
    ] {
        assert_eq!(escape(rows), expected, "{rows}");
    }
}

#[test]
fn header_without_every_required_column_is_not_detected() {
    assert_eq!(detected("a;b;c\n1;2;3\n"), (';', '"', 0, 0));
    assert_eq!(detected(""), (',', '"', 0, 0));
    assert_eq!(detected("type;time,user\n"), (',', '"', 0, 0));
}
