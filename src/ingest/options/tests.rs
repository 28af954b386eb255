//! Which options are taken, and what is said of those that are not.

use super::*;

#[test]
fn options_are_read_and_unknown_ones_refused() {
    let options = UploadOptions::from_pairs([
        ("source", "crm"),
        ("columns", "user_id:Who, timestamp:When"),
        ("time_zone", "Europe/Berlin"),
    ]);
    let options = options.expect("all known");
    assert_eq!(options.source, "crm");
    assert_eq!(
        options.parse.columns,
        [
            (EventField::UserId, "Who".into()),
            (EventField::Timestamp, "When".into())
        ]
    );
    for (pairs, says) in [
        (vec![("sauce", "crm")], "`sauce`"),
        (vec![("dedupe", "perhaps")], "`auto`, `row` or `none`"),
        (vec![("key", " ")], "a list of columns"),
        (vec![("key", "a,,b")], "a list of columns"),
        (vec![("key", "Order, user,order ")], "twice"),
        (vec![("key", "a"), ("dedupe", "none")], "`dedupe=none`"),
        (vec![("dedupe", "row"), ("key", "a")], "`dedupe=row`"),
        (vec![("time_zone", "Mars/Olympus")], "IANA"),
        (vec![("columns", "who:user_id")], "user_id"),
        (vec![("source", "a"), ("source", "b")], "twice"),
        (vec![("timestamp_format", "%Q")], "strftime"),
    ] {
        let why = UploadOptions::from_pairs(pairs)
            .expect_err("not an option")
            .to_string();
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn file_names_have_no_folders_and_no_control_characters() {
    assert_eq!(
        UploadOptions::clean_name("../../etc/pass\0wd"),
        Some("passwd".into())
    );
    assert_eq!(
        UploadOptions::clean_name("C:\\data\\June.csv"),
        Some("June.csv".into())
    );
    assert_eq!(UploadOptions::clean_name(".."), Some("..".into()));
    assert_eq!(UploadOptions::clean_name("a/"), None);
    assert!(
        UploadOptions::clean_name(&"ä".repeat(300)).is_some_and(|name| name.len() <= NAME_BYTES)
    );
}
