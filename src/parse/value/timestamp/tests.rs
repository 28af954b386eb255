//! Tables of accepted and rejected timestamps, and a comparison of the ISO 8601 forms with chrono.

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::*;

fn parser(zone: Tz, formats: &str) -> TimestampParser {
    let formats = match formats {
        "" => Vec::new(),
        formats => TimestampFormat::list(formats).expect("formats"),
    };
    TimestampParser::new(zone, zone, formats)
}

fn read_by(parser: &TimestampParser, value: &str) -> Result<i64, TimestampFault> {
    parser.read(value.as_bytes()).map(|reading| reading.instant)
}

fn read(value: &str) -> Result<i64, TimestampFault> {
    read_by(&parser(Tz::UTC, ""), value)
}

fn instant(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .expect("an instant")
        .timestamp_micros()
}

#[test]
fn accepted_forms_are_read() {
    for (value, means) in [
        ("2025-11-10", "2025-11-10T00:00:00Z"),
        ("2025-11-10Z", "2025-11-10T00:00:00Z"),
        ("2025-11-10+05:30", "2025-11-10T00:00:00Z"),
        ("2025-11-10-05:00", "2025-11-10T00:00:00Z"),
        ("2025-11-10T23:30", "2025-11-10T23:30:00Z"),
        ("2025-11-10 23:30", "2025-11-10T23:30:00Z"),
        ("2025-11-10t23:30:15z", "2025-11-10T23:30:15Z"),
        ("2025-11-10T23:30-05", "2025-11-11T04:30:00Z"),
        ("2025-11-10 23:30:15-0500", "2025-11-11T04:30:15Z"),
        ("2025-11-10T23:30:15.5+05:30", "2025-11-10T18:00:15.5Z"),
        (
            "2025-11-10T23:30:15.123456789Z",
            "2025-11-10T23:30:15.123456Z",
        ),
        ("2025-11-10T23:30:15.0000009999999", "2025-11-10T23:30:15Z"),
        ("2025-11-10T00:00:00-00:00", "2025-11-10T00:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2000-02-29", "2000-02-29T00:00:00Z"),
        ("1970-01-01", "1970-01-01T00:00:00Z"),
        ("1969-12-31T23:00-01:00", "1970-01-01T00:00:00Z"),
        ("2199-12-31T23:59:59.999999", "2199-12-31T23:59:59.999999Z"),
        ("1762732800", "2025-11-10T00:00:00Z"),
        ("1762732800123", "2025-11-10T00:00:00.123Z"),
        ("1762732800123456", "2025-11-10T00:00:00.123456Z"),
    ] {
        assert_eq!(read(value), Ok(instant(means)), "{value}");
    }
}

#[test]
fn other_forms_are_rejected_with_a_reason() {
    use TimestampFault::*;
    for (values, fault) in [
        (
            &[
                "",
                "x",
                "now",
                "2025",
                "2025-11",
                "20251110",
                "2025-11-10T",
                "2025-11-10 ",
            ][..],
            UnknownForm,
        ),
        (
            &[
                "2025-11-10T12",
                "2025-11-10T12:3",
                "2025-11-10T12:30:",
                "2025-11-10T12:30:1",
                "2025-11-10T12:30:15.",
            ],
            UnknownForm,
        ),
        (
            &[
                "2025-11-10T12:30ZZ",
                "2025-11-10_12:30",
                "2025-11-10T12:30 GMT+1",
                "2025-11-10T12:30 X",
            ],
            UnknownForm,
        ),
        (
            &[
                "-762732800",
                "17627328001",
                "176273280x",
                "45971.5",
                "2025 11 10",
                "10 Nvo 2025",
                "٢٠٢٥-11-10",
            ],
            UnknownForm,
        ),
        (
            &[
                "2025-00-10",
                "2025-13-10",
                "2025-02-29",
                "1900-02-29",
                "2025-04-31",
                "2025-11-00",
                "45/13/2025",
            ],
            NoSuchDate,
        ),
        (
            &[
                "2025-11-10T25:00",
                "2025-11-10T24:01",
                "2025-11-10T12:60",
                "2025-11-10T12:00:61",
            ],
            NoSuchTime,
        ),
        (
            &["2025-11-10T24:00", "2025-11-10T24:00:00Z"],
            HourTwentyFour,
        ),
        (&["2025-12-31T23:59:60Z"], LeapSecond),
        (
            &[
                "2025-11-10T12:30+",
                "2025-11-10T12:30+5",
                "2025-11-10T12:30+05:",
                "2025-11-10T12:30+24:00",
                "2025-11-10T12:30+0x:00",
            ],
            BadOffset,
        ),
        (
            &[
                "0205-11-10",
                "1969-12-31",
                "1970-01-01T00:00+01:00",
                "2200-01-01",
                "9999999999",
                "9999-12-31",
            ],
            OutOfRange,
        ),
        (
            &[
                "03/04/2025",
                "3/4/25",
                "3.4.2025",
                "03-04-2025",
                "25/11/2025",
                "11/25/2025 14:30",
                "03/04/2025 14:30:15",
            ],
            Ambiguous,
        ),
    ] {
        for value in values {
            assert_eq!(read(value), Err(fault), "{value:?}");
        }
    }
}

#[test]
fn wall_times_are_converted_by_the_time_zone() {
    let berlin = parser(Tz::Europe__Berlin, "");
    for (value, means) in [
        ("2025-11-10", Ok("2025-11-09T23:00:00Z")),
        ("2025-07-10T12:00", Ok("2025-07-10T10:00:00Z")),
        ("2025-07-10T12:00Z", Ok("2025-07-10T12:00:00Z")),
        ("2025-10-26T02:30", Ok("2025-10-26T00:30:00Z")),
        ("2025-03-30T02:30", Err(TimestampFault::SkippedByClocks)),
        ("1752148800", Ok("2025-07-10T12:00:00Z")),
    ] {
        assert_eq!(read_by(&berlin, value), means.map(instant), "{value}");
    }
}

#[test]
fn declared_formats_are_read() {
    for (format, value, means) in [
        ("%d/%m/%Y", "03/04/2025", Ok("2025-04-02T22:00:00Z")),
        (
            "%d/%m/%Y %H:%M",
            "03/04/2025 14:30",
            Ok("2025-04-03T12:30:00Z"),
        ),
        ("%d/%m/%Y %H", "03/04/2025 14", Ok("2025-04-03T12:00:00Z")),
        (
            "%m/%d/%Y %I:%M %p",
            "03/04/2025 2:30 PM",
            Ok("2025-03-04T13:30:00Z"),
        ),
        (
            "%d/%m/%Y %H:%M %z",
            "03/04/2025 14:30 -0500",
            Ok("2025-04-03T19:30:00Z"),
        ),
        ("%d/%m/%Y%z", "03/04/2025+0200", Ok("2025-04-02T22:00:00Z")),
        (
            "%d/%m/%Y %H:%M %Z",
            "03/04/2025 14:30 GMT+1",
            Ok("2025-04-03T13:30:00Z"),
        ),
        (
            "%d/%m/%Y %I:%M %p",
            "25/11/2025 3:04 p.\u{a0}m.",
            Ok("2025-11-25T14:04:00Z"),
        ),
        (
            "%Y-%m-%d %H:%M:%S.%f",
            "2025-11-10 01:00:00.5",
            Ok("2025-11-10T00:00:00.5Z"),
        ),
        (
            "%d/%m/%Y|%Y-%m-%d",
            "2025-04-03",
            Ok("2025-04-02T22:00:00Z"),
        ),
        (
            "%d/%m/%Y|auto",
            "2025-04-03 02:00",
            Ok("2025-04-03T00:00:00Z"),
        ),
        (
            r#"["%d/%m/%Y","%d.%m.%Y"]"#,
            "03.04.2025",
            Ok("2025-04-02T22:00:00Z"),
        ),
        (
            "%b %d %Y %I:%M%p",
            "Nov 10 2025  3:04PM",
            Ok("2025-11-10T14:04:00Z"),
        ),
        ("%d %b %Y", "10 nov. 2025", Ok("2025-11-09T23:00:00Z")),
        ("%Y-%j", "2025-093", Ok("2025-04-02T22:00:00Z")),
        (
            "%a %b %d %H:%M:%S %Z %Y",
            "Thu Apr 03 14:30:15 UTC 2025",
            Ok("2025-04-03T14:30:15Z"),
        ),
        (
            "%Y-%m-%d %H:%M:%S %Z",
            "2025-04-03 14:30:15 America/New_York",
            Ok("2025-04-03T18:30:15Z"),
        ),
        (
            "%Y-%m-%d %H:%M:%S %Z",
            "2025-04-03 14:30:15 XYZ",
            Err(TimestampFault::UnknownZone),
        ),
        ("%s", "1762732800", Ok("2025-11-10T00:00:00Z")),
        (
            "%Y-%m-%d %H:%M:%S%.f",
            "2025-11-10 01:00:00.1234567",
            Ok("2025-11-10T00:00:00.123456Z"),
        ),
        (
            "%d/%m/%Y",
            "2025-04-03",
            Err(TimestampFault::FormatMismatch),
        ),
        (
            "%d/%m/%Y",
            "1762732800",
            Err(TimestampFault::FormatMismatch),
        ),
        (
            "%d/%m/%Y",
            "03/04/2025 14:30",
            Err(TimestampFault::FormatMismatch),
        ),
        ("%d/%m/%Y", "03/04/1925", Err(TimestampFault::OutOfRange)),
        (
            "%d/%m/%Y %H:%M:%S",
            "31/12/2025 23:59:60",
            Err(TimestampFault::LeapSecond),
        ),
        (
            "%d/%m/%Y %H:%M",
            "30/03/2025 02:30",
            Err(TimestampFault::SkippedByClocks),
        ),
    ] {
        let parser = parser(Tz::Europe__Berlin, format);
        assert_eq!(
            read_by(&parser, value),
            means.map(instant),
            "{format}, {value}"
        );
    }
}

#[test]
fn native_forms_are_read() {
    for (value, means) in [
        (
            "2025-11-10T10:11:12+01:00[Europe/Berlin]",
            "2025-11-10T09:11:12Z",
        ),
        (
            "2025-11-10T10:11+01:00[Europe/Berlin][u-ca=gregory]",
            "2025-11-10T09:11:00Z",
        ),
        ("2025-11-10T10:11:12[Europe/Berlin]", "2025-11-10T09:11:12Z"),
        (
            "2025-11-10T10:11:12Z[Europe/Berlin]",
            "2025-11-10T10:11:12Z",
        ),
        (
            "2025-11-10 10:11:12.123456789 +0000 UTC",
            "2025-11-10T10:11:12.123456Z",
        ),
        (
            "2025-11-10 10:11:12.5 +0100 CET m=+0.000012",
            "2025-11-10T09:11:12.5Z",
        ),
        ("2025-11-10 10:11:12 +0300 +03", "2025-11-10T07:11:12Z"),
        ("2025-11-10 10:11:12 UTC", "2025-11-10T10:11:12Z"),
        ("2025-11-10 10:11:12 GMT", "2025-11-10T10:11:12Z"),
        ("2025-11-10 10:11:12 Z", "2025-11-10T10:11:12Z"),
        ("2025-11-10 10:11:12,345", "2025-11-10T10:11:12.345Z"),
        ("2025-11-10 9:05", "2025-11-10T09:05:00Z"),
        ("2025-11-10 3:04:05\u{202f}PM", "2025-11-10T15:04:05Z"),
        ("2025-1-5", "2025-01-05T00:00:00Z"),
        ("2025/11/10 09:00:00", "2025-11-10T09:00:00Z"),
        ("2025.11.10 09:00", "2025-11-10T09:00:00Z"),
        ("2025/11/10", "2025-11-10T00:00:00Z"),
        ("20251110T010112Z", "2025-11-10T01:01:12Z"),
        ("20251110T0101+0100", "2025-11-10T00:01:00Z"),
        ("20251110 01:01:12", "2025-11-10T01:01:12Z"),
        ("2025-11-10-10.11.12.123456", "2025-11-10T10:11:12.123456Z"),
        ("Mon, 10 Nov 2025 10:11:12 +0100", "2025-11-10T09:11:12Z"),
        (
            "Mon, 10 Nov 2025 10:11:12 +0100 (CET)",
            "2025-11-10T09:11:12Z",
        ),
        ("10 Nov 2025 10:11 GMT", "2025-11-10T10:11:00Z"),
        (
            "Mon Nov 10 2025 10:11:12 GMT+0100 (Central European Standard Time)",
            "2025-11-10T09:11:12Z",
        ),
        ("Mon Nov 10 10:11:12 2025", "2025-11-10T10:11:12Z"),
        ("Mon Nov 10 10:11:12 UTC 2025", "2025-11-10T10:11:12Z"),
        ("Mon Nov 10 10:11:12 +0000 2025", "2025-11-10T10:11:12Z"),
        ("10/Nov/2025:10:11:12 +0100", "2025-11-10T09:11:12Z"),
        ("[10/Nov/2025:10:11:12 +0100]", "2025-11-10T09:11:12Z"),
        ("Nov 10, 2025 @ 10:11:12.123", "2025-11-10T10:11:12.123Z"),
        ("Nov 10, 2025, 3:04:05 PM", "2025-11-10T15:04:05Z"),
        ("Nov 10 2025  3:04PM", "2025-11-10T15:04:00Z"),
        ("Sept 10th, 2025 at 12:04 am", "2025-09-10T00:04:00Z"),
        ("Tuesday, 25 November 2025, 3:04 PM", "2025-11-25T15:04:00Z"),
        ("15-Aug-2025 18:12:11", "2025-08-15T18:12:11Z"),
        ("10NOV2025", "2025-11-10T00:00:00Z"),
        ("1762765872.123", "2025-11-10T09:11:12.123Z"),
        ("1762765872123.5", "2025-11-10T09:11:12.1235Z"),
        ("1762765872123456789", "2025-11-10T09:11:12.123456Z"),
    ] {
        assert_eq!(read(value), Ok(instant(means)), "{value}");
    }
}

#[test]
fn what_may_be_meant_otherwise_is_not_read() {
    use TimestampFault::*;
    for (value, fault) in [
        ("2025111010", DateOrEpoch),
        ("2511101011", DateOrEpoch),
        ("10-NOV-25", Ambiguous),
        ("Nov 10, 25", Ambiguous),
        ("September 27, 2025 05:48:41 PM ICT", ZoneAbbreviation),
        ("2025-11-10 10:11:12 CST", ZoneAbbreviation),
        ("Tue, 10 Nov 2025 10:11:12 +0000", Contradiction),
        ("2025-11-10T10:11:12+02:00[Europe/Berlin]", Contradiction),
        ("2025-11-10 10:11:12 +0100 UTC", Contradiction),
        ("2025-11-10T10:11:12[Mars/Olympus]", UnknownZone),
        ("########", Hashes),
        ("2025/13/10", NoSuchDate),
        ("2025-11-10 13:04 PM", NoSuchTime),
        ("20251110", UnknownForm),
        ("20251110101112", UnknownForm),
        ("10 nov. 2025 15.04", UnknownForm),
    ] {
        assert_eq!(read(value), Err(fault), "{value}");
    }
}

#[test]
fn days_start_in_the_zone_of_the_service() {
    let parser = TimestampParser::new(Tz::Asia__Tokyo, Tz::America__New_York, Vec::new());
    for (value, means) in [
        ("2025-11-10", "2025-11-10T05:00:00Z"),
        ("10 Nov 2025", "2025-11-10T05:00:00Z"),
        ("2025-11-10 00:00", "2025-11-09T15:00:00Z"),
        ("2025-11-10T00:00Z", "2025-11-10T00:00:00Z"),
    ] {
        assert_eq!(read_by(&parser, value), Ok(instant(means)), "{value}");
    }
    // The clocks of Cairo skip midnight; Samoa skipped a whole day.
    for (zone, means) in [
        (Tz::Africa__Cairo, Ok("2025-04-24T22:00:00Z")),
        (Tz::Pacific__Apia, Ok("2025-04-24T11:00:00Z")),
    ] {
        assert_eq!(
            read_by(&super::tests::parser(zone, ""), "2025-04-25"),
            means.map(instant)
        );
    }
    let apia = super::tests::parser(Tz::Pacific__Apia, "");
    assert_eq!(
        read_by(&apia, "2011-12-30"),
        Err(TimestampFault::SkippedByClocks)
    );
    assert_eq!(
        read_by(&apia, "2011-12-31"),
        Ok(instant("2011-12-30T10:00:00Z"))
    );
}

#[test]
fn formats_with_zones_as_plain_text_are_rejected() {
    for format in [
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M 'UTC'",
        "%d/%m/%Y %H:%M GMT",
    ] {
        assert!(TimestampFormat::new(format).is_err(), "{format}");
    }
}

#[test]
fn formats_without_a_full_date_are_rejected() {
    for format in ["%Q", "%", "%H:%M", "%d/%m", "%d/%m/%Y %I:%M", "", "noon"] {
        assert!(TimestampFormat::new(format).is_err(), "{format}");
    }
    assert!(TimestampFormat::new(&"%d".repeat(65)).is_err());
}

/// The native forms as chrono writes them, each with the microseconds to which it is exact.
const FORMS: [(&str, i64); 16] = [
    ("%Y-%m-%dT%H:%M:%S%.6f%:z", 1),
    ("%Y-%m-%d %H:%M:%S%.9f %z", 1),
    ("%Y-%m-%d %H:%M:%S,%3f%z", 1_000),
    ("%Y/%m/%d %H:%M:%S%.3f%z", 1_000),
    ("%Y.%m.%d %-H:%M:%S %z", SECOND),
    ("%Y/%m/%d %-I:%M:%S %p %z", SECOND),
    ("%Y%m%dT%H%M%S%z", SECOND),
    ("%a, %d %b %Y %H:%M:%S %z", SECOND),
    ("%a %b %d %Y %H:%M:%S GMT%z (Some Zone)", SECOND),
    ("%a %b %e %H:%M:%S %z %Y", SECOND),
    ("%d/%b/%Y:%H:%M:%S %z", SECOND),
    ("%b %-d, %Y @ %H:%M:%S%.3f %z", 1_000),
    ("%d-%b-%Y %-I:%M:%S%.6f %p %z", 1),
    ("%A, %-d %B %Y, %-I:%M:%S %p %z", SECOND),
    ("%Y-%b-%d %H:%M:%S %z", SECOND),
    ("%d%b%Y %H:%M:%S%.6f%:z", 1),
];

/// The forms without an offset, which are in UTC here.
const LOCAL_FORMS: [(&str, i64); 5] = [
    ("%Y-%m-%d-%H.%M.%S%.6f", 1),
    ("%a %b %e %H:%M:%S %Y", SECOND),
    ("%b %-d %Y %l:%M:%S%p", SECOND),
    ("%Y-%m-%d %H:%M:%S UTC", SECOND),
    ("%Y-%m-%dT%H:%M:%SZ[Europe/Berlin]", SECOND),
];

proptest! {
    #[test]
    fn instants_in_every_native_form_come_back(micros in 0..END, minutes in -720_i32..=840, form in 0..FORMS.len()) {
        let (format, unit) = FORMS[form];
        let micros = micros - micros % unit;
        let zone = chrono::FixedOffset::east_opt(minutes * 60).expect("under a day");
        let written = DateTime::from_timestamp_micros(micros).expect("in range").with_timezone(&zone);
        let text = written.format(format).to_string();
        prop_assert_eq!(read(&text), Ok(micros), "{}", text);
    }

    #[test]
    fn instants_without_an_offset_come_back_in_the_zone(micros in 0..END, form in 0..LOCAL_FORMS.len()) {
        let (format, unit) = LOCAL_FORMS[form];
        let micros = micros - micros % unit;
        let text = DateTime::from_timestamp_micros(micros).expect("in range").format(format).to_string();
        prop_assert_eq!(read(&text), Ok(micros), "{}", text);
    }

    #[test]
    fn numbers_since_1970_come_back_or_are_a_question(micros in 1_000_000_000 * SECOND..END, digits in 0_usize..5) {
        let (text, unit) = match digits {
            0 => ((micros / SECOND).to_string(), SECOND),
            1 => ((micros / 1_000).to_string(), 1_000),
            2 => (micros.to_string(), 1),
            3 => (format!("{micros}123"), 1),
            _ => (format!("{}.{:06}", micros / SECOND, micros % SECOND), 1),
        };
        match read(&text) {
            Ok(read) => prop_assert_eq!(read, micros - micros % unit, "{}", text),
            Err(fault) => prop_assert_eq!(fault, TimestampFault::DateOrEpoch, "{}", text),
        }
    }

    #[test]
    fn no_form_reads_the_text_of_another_as_another_instant(
        micros in 0..END, minutes in -720_i32..=840, form in 0..FORMS.len(), other in 0..FORMS.len(),
    ) {
        let (format, unit) = FORMS[form];
        let micros = micros - micros % unit;
        let zone = chrono::FixedOffset::east_opt(minutes * 60).expect("under a day");
        let written = DateTime::from_timestamp_micros(micros).expect("in range").with_timezone(&zone);
        let text = written.format(format).to_string();
        if let Ok(read) = read_by(&parser(Tz::UTC, FORMS[other].0), &text) {
            prop_assert_eq!(read, micros, "{} as {}", text, FORMS[other].0);
        }
    }

    #[test]
    fn days_since_1970_equal_those_of_chrono(year in 0_u32..10_000, month in 0_u32..14, day in 0_u32..33) {
        let days = date_days(format!("{year:04}-{month:02}-{day:02}").as_bytes()).ok();
        let date = NaiveDate::from_ymd_opt(year.cast_signed(), month, day);
        prop_assert_eq!(days, date.map(|date| (date - NaiveDate::default()).num_days()));
    }

    #[test]
    fn instants_equal_those_of_chrono(micros in 0..END, offset in -86_399_i32 / 60..86_400 / 60, form in 0_usize..3) {
        let zone = chrono::FixedOffset::east_opt(offset * 60).expect("under a day");
        let written = DateTime::from_timestamp_micros(micros).expect("in range").with_timezone(&zone);
        let format = ["%Y-%m-%dT%H:%M:%S%.6f%:z", "%Y-%m-%d %H:%M:%S%.9f%z", "%Y-%m-%dT%H:%M:%S%.f%:z"][form];
        prop_assert_eq!(read(&written.format(format).to_string()), Ok(micros));
    }

    #[test]
    fn reading_any_value_never_panics(value in "[0-9TZtz:+./ -]{0,30}") {
        let _ = read(&value);
        let _ = NumericDate::recognize(value.as_bytes()).map(|numeric| numeric.order());
    }
}

#[test]
fn what_is_no_offset_of_a_day_is_not_dropped() {
    let parser = TimestampParser::new(chrono_tz::Tz::UTC, chrono_tz::Tz::UTC, Vec::new());
    for value in [
        "2025-11-10-10:11",
        "2025-11-10-23:15",
        "2025-11-10-1011",
        "2025/11/10-13",
        "Nov 10 2025-11:20",
        "2025-11-10 03:00:00 +0000 PM",
        "Nov 10 2025 3:00:00 UTC PM",
        "2025-11-10T10:00+00:00[Europe/Berlin]",
    ] {
        assert!(parser.read(value.as_bytes()).is_err(), "{value}");
    }
    for value in [
        "2025-11-10T10:00Z[Europe/Berlin]",
        "2025-07-10T10:00+00:00[Europe/London]",
    ] {
        let read = parser.read(value.as_bytes());
        assert_eq!(read.is_ok(), value.contains('Z'), "{value}");
    }
}

#[test]
fn a_literal_zone_is_refused_wherever_it_stands() {
    for format in [
        "%a %b %d %H:%M:%S UTC %Y",
        "%Y-%m-%dT%H:%M:%SZ",
        "%H:%M 'GMT' %d.%m.%Y",
    ] {
        assert!(TimestampFormat::new(format).is_err(), "{format}");
    }
}
