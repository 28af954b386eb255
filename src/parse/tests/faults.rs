//! Tests of the faults of rows, files and options, and of their messages.

use super::*;

#[test]
fn rows_of_the_wrong_shape_are_rejected_alone() {
    let long = "x".repeat(300_000);
    for (bad, code, value) in [
        ("e,u,login\n", FaultCode::MissingCell, None),
        (
            "e,u,login,2025-11-10,n,p,q\n",
            FaultCode::ExtraCell,
            Some("q"),
        ),
        (
            "e,u\0,login,2025-11-10,n,p\n",
            FaultCode::NulByte,
            Some("u\0"),
        ),
        (
            "e,u,login,2025-11-10,\"n\"x,p\n",
            FaultCode::StrayQuote,
            None,
        ),
        ("e,u,,2025-11-10,n,p\n", FaultCode::MissingValue, Some("")),
        (
            "e,u,login,yesterday,n,p\n",
            FaultCode::InvalidTimestamp,
            Some("yesterday"),
        ),
        (
            "e,u,login,03/04/2025,n,p\n",
            FaultCode::AmbiguousTimestamp,
            Some("03/04/2025"),
        ),
        (
            "e,u,login,1925-01-01,n,p\n",
            FaultCode::TimestampOutOfRange,
            Some("1925-01-01"),
        ),
    ] {
        let parsed = parsed(&file(3, 2, bad));
        assert_eq!(parsed.summary.inserted, 2, "{bad}");
        assert_eq!(codes(&parsed.rejections[0]), [code], "{bad}");
        let fault = &parsed.rejections[0].faults[0];
        assert_eq!(fault.value.as_deref(), value, "{bad}");
        assert!(fault.hint.is_some());
    }
    for (bad, code) in [
        (
            format!("e,u,login,2025-11-10,{long},p\n"),
            FaultCode::CellTooLong,
        ),
        (
            format!("e,{},login,2025-11-10,n,p\n", &long[..257]),
            FaultCode::ValueTooLong,
        ),
        (
            format!("{},u,login,2025-11-10,n,p\n", &long[..257]),
            FaultCode::ValueTooLong,
        ),
        (
            format!("e,u,login,2025-11-10,{},p\n", long.repeat(4)),
            FaultCode::RecordTooLong,
        ),
    ] {
        let parsed = parsed(&file(3, 2, &bad));
        assert_eq!(
            (parsed.summary.inserted, codes(&parsed.rejections[0])),
            (2, vec![code])
        );
        let stored: usize = parsed.rejections[0].cells.iter().map(String::len).sum();
        assert!(stored <= Rejection::CELLS_BYTES);
        assert_eq!(parsed.rejections[0].clipped, bad.len() > 20_000);
    }
}

#[test]
fn invalid_utf_8_costs_only_its_row() {
    // Two cells with one half of a character each are valid UTF-8 only together.
    let bad = b"e,u\xc3,\xa9login,2025-11-10,n,p\n";
    let text = [file(3, 0, "").as_bytes(), bad, row(5).as_bytes()].concat();
    let parsed =
        parse_with(&text, usize::MAX, Options::default(), Limits::default()).expect("parses");
    assert_eq!((parsed.summary.inserted, parsed.summary.failed), (4, 1));
    assert_eq!(codes(&parsed.rejections[0]), [FaultCode::EncodingError; 2]);
    assert_eq!(
        parsed.rejections[0].faults[0].column.as_deref(),
        Some("user_id")
    );
}

#[test]
fn three_faults_in_one_row_are_one_rejection() {
    let parsed = parsed(&format!(
        "{HEADER}e,  ,{},25/11/2025 14:30,n,p\n",
        "t".repeat(129)
    ));
    let rejection = &parsed.rejections[0];
    let expected = [
        FaultCode::ValueTooLong,
        FaultCode::AmbiguousTimestamp,
        FaultCode::MissingValue,
    ];
    assert_eq!(codes(rejection), expected);
    let hint = rejection.faults[1].hint.as_deref().expect("a hint");
    assert!(
        hint.ends_with("`timestamp_format=%d/%m/%Y %H:%M`"),
        "{hint}"
    );
    assert_eq!((rejection.row, rejection.line), (1, 2));
}

#[test]
fn invalid_files_are_rejected_with_the_right_error() {
    let error = |text: &str| parse(text).expect_err("a file fault");
    assert_eq!(error(""), ParseError::Empty);
    assert_eq!(error("\n \r\n,,\n"), ParseError::Empty);
    assert_eq!(error(HEADER), ParseError::HeaderOnly);
    assert_eq!(error(&format!("{HEADER}\n,,,,,\n")), ParseError::HeaderOnly);
    assert_eq!(
        error("a,\"b\n1,2\n"),
        ParseError::HeaderUnclosedQuote { line: 1 }
    );
    assert_eq!(error("\na\0,b\n"), ParseError::HeaderNotText { line: 2 });
    assert_eq!(
        error("type,user,time\rlogin,u,2025-11-10\r\n"),
        ParseError::CarriageReturnOnly { line: 1 }
    );
    let (line, limit) = (1, 1024 * 1024);
    assert_eq!(
        error(&"x".repeat(2_000_000)),
        ParseError::HeaderTooLong { line, limit }
    );
    let old_mac = parsed("type,user,time\rlogin,u,2025-11-10\r");
    assert_eq!(old_mac.summary.line_ending, LineEnding::Cr);
    assert_eq!(old_mac.summary.inserted, 1);
    assert!(matches!(
        error("a,b\n1,2\n"),
        ParseError::MissingColumns { .. }
    ));
    assert_eq!(
        error(&",x".repeat(600)),
        ParseError::TooManyColumns {
            found: 601,
            limit: 512
        }
    );
    assert!(matches!(
        parse_with(b"a,\xff\n", 1, Options::default(), Limits::default()),
        Err(ParseError::HeaderNotText { line: 1 })
    ));
}

#[test]
fn invalid_options_are_rejected_before_any_text() {
    let error = |options| Parser::new(options, Limits::default()).err();
    let columns = |columns: &[(EventField, &str)]| Options {
        columns: columns
            .iter()
            .map(|(column, label)| (*column, ColumnSource::Named((*label).to_owned())))
            .collect(),
        ..Options::default()
    };
    let twice = columns(&[(EventField::UserId, "a"), (EventField::UserId, "b")]);
    assert!(matches!(
        error(twice),
        Some(ParseOptionError::ColumnMappedTwice { .. })
    ));
    let shared = columns(&[(EventField::UserId, "a"), (EventField::EventId, " A")]);
    assert!(matches!(
        error(shared),
        Some(ParseOptionError::LabelMappedTwice { .. })
    ));
    let format = Options {
        timestamp_format: Some("%H:%M".to_owned()),
        ..Options::default()
    };
    assert!(matches!(
        error(format),
        Some(ParseOptionError::TimestampFormatIncomplete { .. })
    ));
    let dialect = DialectOptions {
        delimiter: Some(b'"'),
        quote: Some(b'"'),
        escape: None,
    };
    assert_eq!(
        error(Options {
            dialect,
            ..Options::default()
        }),
        Some(ParseOptionError::Dialect)
    );
}

#[test]
fn faults_of_wide_rows_are_bounded() {
    let labels: Vec<_> = (0..500)
        .map(|at| format!("{at}{}", "x".repeat(200)))
        .collect();
    let header = format!("type,time,user,{}\n", labels.join(","));
    let row = format!("{}\0\n", "\0,".repeat(502));
    let text = header + &row.repeat(300);
    let mut parser = Parser::new(Options::default(), Limits::default()).expect("options");
    parser.feed(text.as_bytes()).expect("reads");
    parser.finish().expect("rows");
    let mut rejections = 0;
    while let Some(ParsedRows {
        rejections: bad, ..
    }) = parser.next_rows()
    {
        let text: usize = bad.iter().map(Rejection::text_bytes).sum();
        assert!(text < 5 * 1024 * 1024, "{text} bytes in one block");
        assert!(bad.iter().all(|bad| (30..40).contains(&bad.faults.len())));
        rejections += bad.len();
    }
    assert_eq!(rejections, 300);
}

/// Two rows whose quoted cell spans lines and closes, but which do not have six cells; the lines within look like rows.
const MISFITS: &str = "e1,u1,a,2025-11-10,n,p\n\
    e2,u2,a,2025-11-10,\"x\ne3,u3,a,2025-11-10,n,p\ny\",p,extra\n\
    \n\
    e4,u4,a,2025-11-10,\"two\nlines\",p\n\
    e5,\"u5\n\ne6,u6,a,2025-11-10,n,p\n\"\n\
    e7,u7,a,2025-11-10,n,p\n";

#[test]
fn lines_of_a_quoted_cell_in_a_row_of_the_wrong_width_are_no_events() {
    for crlf in [false, true] {
        let text = format!("{HEADER}{MISFITS}");
        let text = if crlf {
            text.replace('\n', "\r\n")
        } else {
            text
        };
        for text in [text.as_str(), text.trim_end()] {
            for size in [1, 2, 7, text.len()] {
                let limits = Limits::default();
                let parsed = parse_with(text.as_bytes(), size, Options::default(), limits);
                let parsed = parsed.expect("reads");
                let events: Vec<_> = parsed.events.iter().map(|e| (e.0, e.1)).collect();
                assert_eq!(events, [(1, 2), (3, 7), (5, 13)], "{text:?} by {size}");
                let lines: Vec<_> = parsed
                    .rejections
                    .iter()
                    .map(|r| (r.row, r.line, r.last_line, r.byte_offset))
                    .collect();
                let byte = |id| text.find(id).expect("is there") as u64;
                let expected = [(2, 3, 5, byte("e2,")), (4, 9, 12, byte("e5,"))];
                assert_eq!(lines, expected, "{text:?} by {size}");
                let summary = parsed.summary;
                assert_eq!((summary.received, summary.blank), (6, 1));
                let line_ending = if crlf {
                    LineEnding::CrLf
                } else {
                    LineEnding::Lf
                };
                assert_eq!(summary.line_ending, line_ending);
            }
        }
    }
}

#[test]
fn rejections_of_rows_of_the_wrong_width_name_first_and_last_line() {
    let parsed = parsed(&format!("{HEADER}{MISFITS}"));
    let messages: Vec<_> = parsed
        .rejections
        .iter()
        .map(|r| (codes(r), r.faults[0].message.as_str()))
        .collect();
    let code = vec![FaultCode::UnclosedQuote];
    assert_eq!(
        messages,
        [
            (
                code.clone(),
                "a quote opened on line 3 runs into other lines, which do not make a row of 6 cells with it; lines 4 to 5 are lost with it"
            ),
            (
                code,
                "a quote opened on line 9 runs into other lines, which do not make a row of 6 cells with it; lines 10 to 12 are lost with it"
            ),
        ]
    );
}

/// Beyond the limits of a record nobody knows whether its quote was forgotten, so the lines after it are read as rows.
#[test]
fn lines_of_a_cell_over_the_limits_of_a_record_may_be_rows() {
    let row = "e2,u2,a,2025-11-10,n,p\n";
    let text = format!("{HEADER}e1,u1,a,2025-11-10,\"x\ny\n{row}z\",p\n{row}");
    let limits = |record_lines, record_bytes| Limits {
        record_lines,
        record_bytes,
        ..Limits::default()
    };
    let read = |limits| {
        let parsed = parse_with(text.as_bytes(), 7, Options::default(), limits);
        let parsed = parsed.expect("reads");
        let events: Vec<_> = parsed.events.iter().map(|e| e.1).collect();
        let rejections = parsed.rejections.into_iter();
        let rejections: Vec<_> = rejections
            .map(|r| (r.line, r.last_line, r.faults[0].message.clone()))
            .collect();
        (events, rejections)
    };
    assert_eq!(read(limits(4, 100)), (vec![2, 6], vec![]));
    for (limits, limit) in [(limits(3, 100), "3 lines"), (limits(4, 50), "50 bytes")] {
        let (events, rejections) = read(limits);
        assert_eq!(events, [4, 6], "{limit}");
        let lines: Vec<_> = rejections.iter().map(|r| (r.0, r.1)).collect();
        assert_eq!(lines, [(2, 3), (5, 5)], "{limit}");
        let message = format!(
            "a quote opened on line 2 is not closed within {limit}; line 3 is lost with it"
        );
        assert_eq!(rejections[0].2, message);
    }
}

#[test]
fn files_of_hardly_more_than_blank_lines_are_refused() {
    let (header, row) = ("user_id,event_type,timestamp\n", "u1,a,2025-11-10\n");
    for blank in ["\n", ",,\n"] {
        let mut parser = Parser::new(Options::default(), Limits::default()).expect("valid");
        parser
            .feed(format!("{header}{row}").as_bytes())
            .expect("fine");
        let lines = blank.repeat(100_000);
        let refused = (0..40).find_map(|_| parser.feed(lines.as_bytes()).err());
        let limit = 2_000_000;
        assert_eq!(
            refused,
            Some(ParseError::TooManyBlankLines { limit }),
            "{blank:?}"
        );
        // A spreadsheet with a million empty rows, and any number beside as many others.
        let mut parser = Parser::new(Options::default(), Limits::default()).expect("valid");
        parser
            .feed(format!("{header}{row}").as_bytes())
            .expect("fine");
        let mixed = format!("{}{}", blank.repeat(30_000), row.repeat(10_000));
        for _ in 0..100 {
            parser.feed(mixed.as_bytes()).expect("fine");
            while parser.next_rows().is_some() {}
        }
        let summary = parser.finish().expect("fine");
        assert_eq!((summary.blank, summary.inserted), (3_000_000, 1_000_001));
    }
}
