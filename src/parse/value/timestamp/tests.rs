//! Tables of accepted and rejected timestamps, and a comparison of the ISO 8601 forms with chrono.

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::*;

fn parser(zone: Tz, format: Option<&str>) -> TimestampParser {
    TimestampParser::new(
        zone,
        format.map(|format| TimestampFormat::new(format).expect("a format")),
    )
}

fn read(value: &str) -> Result<i64, TimestampFault> {
    parser(Tz::UTC, None).read(value.as_bytes())
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
        ("2025-11-10+05:30", "2025-11-09T18:30:00Z"),
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
                "2025-11-1",
                "2025-1-10",
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
                "2025-11-10T12:30:15,5",
                "2025-11-10T12:30 Z",
                "2025-11-10T12:30ZZ",
                "2025-11-10_12:30",
                "2025-11-10T12:30 UTC",
            ],
            UnknownForm,
        ),
        (
            &[
                "-762732800",
                "17627328001",
                "176273280x",
                "45971.5",
                "2025/11/10",
                "10 Nov 2025",
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
fn numeric_dates_return_the_format_that_reads_them() {
    for (value, order, format) in [
        ("25/11/2025", DayMonthOrder::DayFirst, "%d/%m/%Y"),
        ("25.11.25 14:30", DayMonthOrder::DayFirst, "%d.%m.%y %H:%M"),
        (
            "11-25-2025 14:30:15",
            DayMonthOrder::MonthFirst,
            "%m-%d-%Y %H:%M:%S",
        ),
    ] {
        let date = NumericDate::recognize(value.as_bytes()).expect("a numeric date");
        assert_eq!(date.order(), order);
        assert_eq!(date.format(order == DayMonthOrder::DayFirst), format);
        assert!(parser(Tz::UTC, Some(format)).read(value.as_bytes()).is_ok());
    }
    assert_eq!(
        NumericDate::recognize(b"03/04/2025").map(|numeric| numeric.order()),
        Some(DayMonthOrder::Either)
    );
}

#[test]
fn wall_times_are_converted_by_the_time_zone() {
    let berlin = parser(Tz::Europe__Berlin, None);
    for (value, means) in [
        ("2025-11-10", Ok("2025-11-09T23:00:00Z")),
        ("2025-07-10T12:00", Ok("2025-07-10T10:00:00Z")),
        ("2025-07-10T12:00Z", Ok("2025-07-10T12:00:00Z")),
        ("2025-10-26T02:30", Ok("2025-10-26T00:30:00Z")),
        ("2025-03-30T02:30", Err(TimestampFault::SkippedByClocks)),
        ("1752148800", Ok("2025-07-10T12:00:00Z")),
    ] {
        assert_eq!(berlin.read(value.as_bytes()), means.map(instant), "{value}");
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
        let parser = parser(Tz::Europe__Berlin, Some(format));
        assert_eq!(parser.read(value.as_bytes()), means.map(instant), "{value}");
    }
}

#[test]
fn formats_without_a_full_date_are_rejected() {
    for format in ["%Q", "%", "%H:%M", "%d/%m", "%d/%m/%Y %I:%M", "", "noon"] {
        assert!(TimestampFormat::new(format).is_err(), "{format}");
    }
    assert!(TimestampFormat::new(&"%d".repeat(65)).is_err());
}

proptest! {
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
        let _ = NumericDate::recognize(value.as_bytes()).map(|numeric| numeric.format(true));
    }
}
