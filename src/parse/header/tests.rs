//! Tests of labels and of the columns that they name.

use super::*;

fn read(labels: &[&str]) -> Result<Header, ParseError> {
    Header::read(labels, &[], &Limits::default(), false)
}

#[test]
fn fields_are_found_in_any_order_case_and_space() {
    let header = read(&["\u{feff} USER_ID", "plan", "Event_Type ", "TimeStamp"]).expect("ok");
    assert_eq!((header.event_type, header.timestamp), (2, 3));
    assert_eq!((header.user_id, header.event_id), (0, None));
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
    assert_eq!(header.user_id, 1);
    assert_eq!(header.timestamp, 3);
    assert_eq!(header.event_type, 5);
    assert_eq!(header.attributes, [0, 2, 4]);
}

#[test]
fn mapped_labels_win_over_every_name() {
    let labels = ["user_id", "action", "timestamp", "type"];
    let mapped = [(EventField::UserId, " Action".to_owned())];
    let header = Header::read(&labels, &mapped, &Limits::default(), false).expect("ok");
    assert_eq!((header.user_id, header.event_type), (1, 3));
    assert_eq!(header.attributes, [0]);
    let mapped = [(EventField::EventId, "nope".to_owned())];
    let error = Header::read(&labels, &mapped, &Limits::default(), false).expect_err("unknown");
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
    let mapped = [(EventField::UserId, "action".to_owned())];
    let error = Header::read(&["action", "timestamp"], &mapped, &Limits::default(), false);
    assert!(
        matches!(error, Err(ParseError::MissingColumns { missing, .. }) if missing == [EventField::EventType])
    );
}

#[test]
fn duplicate_labels_are_rejected() {
    let error = read(&["event_type", "user_id", "timestamp", "Plan", "plan "]);
    assert_eq!(
        error,
        Err(ParseError::DuplicateColumn {
            label: "plan".to_owned()
        })
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
    let error = read(&["Event Type", "when", "user-id", "timestamp"]).expect_err("missing");
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
            near(EventField::EventType, "Event Type"),
            near(EventField::UserId, "user-id")
        ]
    );
    assert!(
        error
            .to_string()
            .contains("columns=event_type:Event Type,user_id:user-id"),
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
