//! Which options are valid, and the errors of those that are not.

use super::{value::NAME_BYTES, *};
use crate::parse::ColumnSource;
use crate::parse::EventField;

#[test]
fn options_are_parsed_and_invalid_ones_refused() {
    let options = UploadOptions::from_pairs([
        ("source", "crm"),
        ("columns", "user_id:Who, timestamp:When"),
        ("time_zone", "Europe/Berlin"),
    ]);
    let options = options.expect("valid options");
    assert_eq!(options.source, "crm");
    assert_eq!(
        options.parse.columns,
        [
            (EventField::UserId, ColumnSource::Named("Who".into())),
            (EventField::Timestamp, ColumnSource::Named("When".into()))
        ]
    );
    for (pairs, reason) in [
        (
            vec![("sauce", "crm")],
            "`sauce`: the options are source, key, ",
        ),
        (vec![("dedupe", "perhaps")], "`auto`, `row` or `none`"),
        (vec![("key", " ")], "a list of columns"),
        (vec![("key", "a,,b")], "a list of columns"),
        (vec![("key", "Order, user,order ")], "twice"),
        (vec![("key", "a"), ("dedupe", "none")], "`dedupe=none`"),
        (vec![("dedupe", "row"), ("key", "a")], "`dedupe=row`"),
        (vec![("time_zone", "Mars/Olympus")], "IANA"),
        (vec![("columns", "who:user_id")], "user_id"),
        (vec![("source", "a"), ("source", "b")], "twice"),
        (vec![("source", "a\u{1b}[31m")], "control character"),
        (vec![("source", "a\u{202e}b")], "not visible"),
        (vec![("timestamp_format", "%Q")], "strftime"),
    ] {
        let error = UploadOptions::from_pairs(pairs)
            .expect_err("an invalid option")
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn file_names_have_no_folders_and_no_control_characters() {
    assert_eq!(
        UploadOptions::clean_file_name("../../etc/pass\0wd"),
        Some("passwd".into())
    );
    assert_eq!(
        UploadOptions::clean_file_name("C:\\data\\June.csv"),
        Some("June.csv".into())
    );
    // Shown as `June.csv` backwards, or with parts that are not seen.
    for hidden in [
        "June\u{202e}.csv",
        "\u{200b}June.csv",
        "June\u{feff}.csv",
        "\u{1b}June.csv",
    ] {
        assert_eq!(
            UploadOptions::clean_file_name(hidden),
            Some("June.csv".into())
        );
    }
    assert_eq!(UploadOptions::clean_file_name(".."), Some("..".into()));
    assert_eq!(UploadOptions::clean_file_name("a/"), None);
    assert!(
        UploadOptions::clean_file_name(&"ä".repeat(300))
            .is_some_and(|name| name.len() <= NAME_BYTES)
    );
}
