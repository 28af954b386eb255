//! Tests of labels and of the columns that they name.

use super::{sample::SampleRow, source::ColumnSource, *};
use crate::parse::value::timestamp::TimestampParser;

/// A context without rows.
pub(super) fn context(mapped: &Mapping) -> HeaderContext<'_> {
    HeaderContext {
        mapped,
        limits: Limits::default(),
        from_errors_csv: false,
        header: HeaderOption::Detect,
        timestamp_format: None,
        sample: Sample::NONE,
    }
}

fn read(labels: &[&str]) -> Result<Header, ParseError> {
    read_mapped(labels, &Mapping::new())
}

fn read_mapped(labels: &[&str], mapped: &Mapping) -> Result<Header, ParseError> {
    Header::read(labels, &context(mapped))
}

/// Reads a header with rows below it.
fn read_rows(
    labels: &[&str],
    rows: &[&[&str]],
    option: HeaderOption,
) -> Result<Header, ParseError> {
    let parser = TimestampParser::new(chrono_tz::Tz::UTC, chrono_tz::Tz::UTC, Vec::new());
    let row = |(line, cells): (u32, &&[&str])| SampleRow {
        line,
        cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
    };
    let rows: Vec<_> = (2..).zip(rows).map(row).collect();
    let sample = Sample {
        rows: &rows,
        timestamps: Some(&parser),
        budget: None,
    };
    let mapped = Mapping::new();
    let context = HeaderContext {
        sample,
        header: option,
        ..context(&mapped)
    };
    Header::read(labels, &context)
}

fn columns_of(header: &Header) -> [Option<usize>; 4] {
    EventField::ALL.map(|field| header.column(field))
}

#[test]
fn fields_are_found_in_any_order_case_and_space() {
    let header = read(&["\u{feff} USER_ID", "plan", "Event_Type ", "TimeStamp"]).expect("ok");
    assert_eq!(columns_of(&header), [Some(2), Some(3), Some(0), None]);
    assert_eq!(header.attributes, [1]);
    assert_eq!(
        header.labels,
        ["USER_ID", "plan", "Event_Type", "TimeStamp"]
    );
}

#[test]
fn every_alias_is_accepted() {
    for column in EventField::ALL {
        for alias in column.aliases() {
            let labels =
                EventField::ALL.map(|other| if other == column { alias } else { other.name() });
            let header = read(&labels).expect("ok");
            assert_eq!(header.labels[header.column(column).expect("found")], *alias);
        }
    }
}

#[test]
fn canonical_names_win_then_the_order_of_aliases() {
    let header = read(&["actor", "uid", "ts", "timestamp", "action", "event"]).expect("ok");
    assert_eq!(columns_of(&header), [Some(5), Some(3), Some(1), None]);
    assert_eq!(header.attributes, [0, 2, 4]);
}

#[test]
fn mapped_labels_win_over_every_name() {
    let labels = ["user_id", "action", "timestamp", "type"];
    let named = |label: &str| ColumnSource::Named(label.to_owned());
    let mapped = vec![(EventField::UserId, named(" Action"))];
    let header = read_mapped(&labels, &mapped).expect("ok");
    assert_eq!(columns_of(&header), [Some(3), Some(2), Some(1), None]);
    assert_eq!(header.attributes, [0]);
    let mapped = vec![(EventField::EventId, named("nope"))];
    let error = read_mapped(&labels, &mapped).expect_err("unknown");
    assert!(
        matches!(error, ParseError::UnknownMappedColumn { .. }),
        "{error}"
    );
}

#[test]
fn columns_are_found_by_label_and_by_field_name() {
    let header = read(&["type", "time", "Uid", " Order  No", "user"]).expect("ok");
    let found = ["order  NO ", "user_id", "USER", "uid", "event_type"];
    let found = found.map(|label| header.find_column(label).expect("is there"));
    assert_eq!(found, [3, 4, 4, 2, 0]);
    let why = header.find_column("event_id").expect_err("no such column");
    assert!(why.to_string().contains("`Uid`"), "{why}");
}

#[test]
fn a_mapped_label_no_longer_counts_as_an_alias() {
    let mapped = vec![(EventField::UserId, ColumnSource::Named("action".to_owned()))];
    let error = read_mapped(&["action", "timestamp"], &mapped);
    assert!(
        matches!(error, Err(ParseError::MissingColumns { missing, .. }) if missing == [EventField::EventType])
    );
}

#[test]
fn labels_that_repeat_are_numbered_unless_they_are_of_a_field() {
    let header = read(&[
        "event_type",
        "user_id",
        "timestamp",
        "Plan",
        "plan ",
        "Plan_2",
        "PLAN",
    ]);
    let labels = header.expect("ok").labels;
    assert_eq!(labels[3..], ["Plan", "plan_3", "Plan_2", "PLAN_4"]);
    for labels in [
        ["type", "user", "time", "User"],
        ["Type", "user", "time", "type"],
    ] {
        let error = read(&labels);
        assert!(
            matches!(error, Err(ParseError::DuplicateColumn { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn labels_are_known_in_every_spelling() {
    for labels in [
        ["eventType", "TimeGenerated", "User Id"],
        ["Operation(s)", "@timestamp", "distinct_id"],
        ["Event Name", "Created At", "anonymousId"],
        ["$event", "Date", "USER-ID"],
    ] {
        let header = read(&labels).expect("ok");
        assert_eq!(
            columns_of(&header),
            [Some(0), Some(1), Some(2), None],
            "{labels:?}"
        );
    }
}

#[test]
fn of_two_columns_for_a_field_the_one_whose_values_fit_is_taken() {
    let rows: &[&[&str]] = &[
        &["login", "u1", "00:32", "2025-11-10 09:00"],
        &["view", "u2", "01:10", "2025-11-10 10:00"],
    ];
    let header = read_rows(
        &["type", "user", "time", "datetime"],
        rows,
        HeaderOption::Detect,
    );
    assert_eq!(columns_of(&header.expect("ok"))[1], Some(3));
}

#[test]
fn two_columns_that_fit_are_a_question() {
    let rows: &[&[&str]] = &[&["login", "u1", "u2", "2025-11-10"]];
    let error = read_rows(
        &["type", "user", "actor", "time"],
        rows,
        HeaderOption::Detect,
    );
    let Err(ParseError::AmbiguousColumns {
        field, proposals, ..
    }) = error
    else {
        panic!("{error:?}");
    };
    let values: Vec<_> = proposals
        .iter()
        .map(|proposal| proposal.value.as_str())
        .collect();
    assert_eq!(
        (field, &values[..]),
        (EventField::UserId, &["user_id:user", "user_id:actor"][..])
    );
}

#[test]
fn a_date_beside_a_time_is_a_question_with_both_joined() {
    let rows: &[&[&str]] = &[&["login", "u1", "2025-11-10", "09:00:01"]];
    let error = read_rows(
        &["type", "user", "date", "time"],
        rows,
        HeaderOption::Detect,
    );
    let Err(ParseError::AmbiguousColumns { proposals, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(proposals[0].value, "timestamp:date+time");
}

#[test]
fn a_timestamp_is_found_by_its_values() {
    let rows: &[&[&str]] = &[&["login", "u1", "1234567890", "2025-11-10 09:00:01"]];
    let header = read_rows(
        &["type", "user", "电话", "时间"],
        rows,
        HeaderOption::Detect,
    );
    assert_eq!(columns_of(&header.expect("ok"))[1], Some(3));
}

#[test]
fn columns_whose_values_do_not_fit_are_not_proposed() {
    let rows: &[&[&str]] = &[&["login", "10.5", "2025-11-10", "u1"]];
    let error = read_rows(&["type", "Timing", "x", "y"], rows, HeaderOption::Detect);
    let error = error.expect_err("no user").to_string();
    assert!(!error.contains("Timing` is"), "{error}");
}

#[test]
fn a_missing_label_is_placed_by_the_timestamps() {
    let labels = ["user_id", "event_type", "timestamp"];
    let first: &[&[&str]] = &[
        &["1", "u1", "login", "2025-11-10"],
        &["1", "u1", "login", "2025-11-10"],
    ];
    let last: &[&[&str]] = &[
        &["u1", "login", "2025-11-10", "x"],
        &["u1", "login", "2025-11-10", "x"],
    ];
    for (rows, columns) in [
        (first, [Some(2), Some(3), Some(1), None]),
        (last, [Some(1), Some(2), Some(0), None]),
    ] {
        let header = read_rows(&labels, rows, HeaderOption::Detect).expect("ok");
        assert_eq!(columns_of(&header), columns);
    }
    let both: &[&[&str]] = &[
        &["1", "u1", "2025-11-10", "2025-11-11"],
        &["1", "u1", "2025-11-10", "2025-11-11"],
    ];
    let error = read_rows(&labels, both, HeaderOption::Detect);
    assert!(
        matches!(error, Err(ParseError::LabelMissing { labels: 3 })),
        "{error:?}"
    );
    let header = read_rows(&labels, both, HeaderOption::UnnamedLast).expect("ok");
    assert_eq!(header.labels[3], "column_4");
}

#[test]
fn joined_columns_constants_and_positions_are_found() {
    let mapped =
        source::parse_mapping("timestamp:Start Date+Start Time,event_type:=\"call\",user_id:#3")
            .expect("ok");
    let header = read_mapped(&["Start Date", "Start Time", "Who"], &mapped).expect("ok");
    assert_eq!(
        header.source(EventField::Timestamp),
        Some(&FieldSource::Joined(vec![0, 1]))
    );
    assert_eq!(
        header.source(EventField::EventType),
        Some(&FieldSource::Constant("call".into()))
    );
    assert_eq!(header.column(EventField::UserId), Some(2));
    assert_eq!(header.attributes, [0, 1]);
    assert_eq!(header.label(EventField::Timestamp), "Start Date+Start Time");
}

#[test]
fn a_row_in_place_of_the_header_is_told() {
    let rows: &[&[&str]] = &[&["u2", "login", "2025-11-10 09:05:00", ""]];
    let error = read_rows(
        &["u1", "login", "2025-11-10 09:00:00", ""],
        rows,
        HeaderOption::Detect,
    );
    let Err(ParseError::NoHeader { proposals }) = error else {
        panic!("{error:?}");
    };
    let values: Vec<_> = proposals
        .iter()
        .map(|proposal| proposal.value.as_str())
        .collect();
    assert_eq!(values[0], "none");
    assert!(
        values.contains(&"event_type:#2,timestamp:#3,user_id:#1"),
        "{values:?}"
    );
}

#[test]
fn blank_labels_get_unique_names() {
    let header = read(&["type", "", "time", "user", "column_2", " "]).expect("ok");
    assert_eq!(
        header.labels,
        ["type", "column_2_", "time", "user", "column_2", "column_6"]
    );
}

#[test]
fn missing_columns_are_reported_with_the_nearest_label() {
    let error = read(&["Event kind", "when", "customer", "timestamp"]).expect_err("missing");
    let ParseError::MissingColumns {
        missing, nearest, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(missing, &[EventField::EventType, EventField::UserId]);
    let near = |column, label: &str| (column, label.to_owned());
    assert_eq!(
        nearest,
        &[
            near(EventField::EventType, "Event kind"),
            near(EventField::UserId, "customer")
        ]
    );
    assert!(
        error
            .to_string()
            .contains("columns=event_type:Event kind,user_id:customer"),
        "{error}"
    );
}

#[test]
fn labels_that_are_barely_similar_are_not_proposed() {
    for labels in [
        &["candidate_id", "test_id", "event_type"][..],
        &["e1", "u1", "login", "2025-11-10"],
        &["Events of November"],
    ] {
        let error = read(labels).expect_err("missing").to_string();
        assert!(!error.contains("columns=timestamp:"), "{error}");
        assert!(!error.contains("columns=event_type:"), "{error}");
    }
}

#[test]
fn first_lines_without_any_field_are_reported_as_no_header() {
    for labels in [&["e1", "u1", "login"][..], &["Events of November"]] {
        let error = read(labels).expect_err("missing").to_string();
        assert!(error.contains("the first line must name"), "{error}");
    }
}

#[test]
fn another_delimiter_is_recognized() {
    let error = read(&["event_type;user_id;timestamp"]).expect_err("one column");
    assert!(
        error.to_string().contains("looks separated by `;`"),
        "{error}"
    );
}

#[test]
fn an_id_column_is_unused_only_without_an_event_id() {
    assert!(
        read(&["id", "type", "time", "user"])
            .expect("ok")
            .has_unused_id_column
    );
    assert!(
        !read(&["id", "uuid", "type", "time", "user"])
            .expect("ok")
            .has_unused_id_column
    );
}

#[test]
fn the_number_of_columns_is_limited() {
    let many: Vec<_> = (0..513).map(|_| "").collect();
    assert_eq!(
        read(&many),
        Err(ParseError::TooManyColumns {
            found: 513,
            limit: 512
        })
    );
}

#[test]
fn a_row_in_place_of_the_header_is_not_lost_though_columns_are_stated() {
    let parser = TimestampParser::new(chrono_tz::Tz::UTC, chrono_tz::Tz::UTC, Vec::new());
    let rows = [SampleRow {
        line: 2,
        cells: ["u2", "view", "2025-11-11"].map(str::to_owned).to_vec(),
    }];
    let mapped: Mapping = [
        EventField::UserId,
        EventField::EventType,
        EventField::Timestamp,
    ]
    .into_iter()
    .zip(["#1", "#2", "#3"])
    .map(|(field, at)| (field, ColumnSource::Named(at.to_owned())))
    .collect();
    let read = |header| {
        let context = HeaderContext {
            header,
            sample: Sample {
                rows: &rows,
                timestamps: Some(&parser),
                budget: None,
            },
            ..context(&mapped)
        };
        Header::read(&["u1", "click", "2025-11-10"], &context)
    };
    assert!(matches!(
        read(HeaderOption::Detect),
        Err(ParseError::NoHeader { .. })
    ));
}

#[test]
fn a_day_beside_a_time_of_day_is_a_question() {
    let read = read_rows(
        &["action", "date", "clock", "user"],
        &[
            &["buy", "2025-11-10", "10:00", "u1"],
            &["buy", "2025-11-10", "11:30", "u2"],
        ],
        HeaderOption::Detect,
    );
    assert!(matches!(read, Err(ParseError::AmbiguousColumns { .. })));
}
