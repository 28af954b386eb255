//! The forms in which programs write timestamps, beyond those that are read without a declared format: tables of their
//! parts, from which the formats that read a value are put together. A format is only ever proposed, never applied.

use std::sync::OnceLock;

use super::{
    format::TimestampFormat,
    pattern::{Parts, Pattern},
};

/// The day of the week before a date.
const WEEKDAYS: [&str; 3] = ["", "%a, ", "%a "];

/// Dates. Those whose numbers may stand in another order are listed in each order, the most common first.
const DATES: [&str; 61] = [
    // Excel, Google Sheets, SharePoint, bank statements, Strava, Moodle.
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%m.%d.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %m %Y",
    "%m %d %Y",
    "%d. %m. %Y",
    "%d.%m.%Y.",
    "%d/%m %Y",
    // The same with a year of two digits.
    "%d/%m/%y",
    "%m/%d/%y",
    "%y/%m/%d",
    "%d.%m.%y",
    "%m.%d.%y",
    "%y.%m.%d",
    "%d-%m-%y",
    "%m-%d-%y",
    "%y-%m-%d",
    "%d. %m. %y",
    // Oracle, SAS, Jira, mail programs, Apple Numbers.
    "%d-%b-%Y",
    "%d/%b/%Y",
    "%d.%b.%Y",
    "%d %b %Y",
    "%d. %b %Y",
    "%d %b, %Y",
    "%d%b%Y",
    "%d-%b-%y",
    "%y-%b-%d",
    "%d/%b/%y",
    "%y/%b/%d",
    "%d.%b.%y",
    "%d %b %y",
    "%y %b %d",
    "%d. %b %y",
    "%d%b%y",
    "%d %b '%y",
    "%b %d, %Y",
    "%b %d %Y",
    "%b-%d-%Y",
    "%b/%d/%Y",
    "%b %d, %y",
    "%b %d %y",
    "%b-%d-%y",
    "%Y %b %d",
    "%Y-%b-%d",
    "%d de %b de %Y",
    "%d de %b %Y",
    "%dº de %b de %Y",
    "%Y年%m月%d日",
    "%Y년 %m월 %d일",
    "%Y. %m. %d.",
    "%Y. %m. %d",
    // Times that are not read without a format stand after these.
    "%Y/%m/%d",
    "%Y-%m-%d",
    "%Y.%m.%d",
    // Digits alone: SAP, banks, log files.
    "%Y%m%d",
    "%d%m%Y",
    "%m%d%Y",
    "%y%m%d",
];

/// What stands between a date and a time.
const GAPS: [&str; 18] = [
    " ", "", "T", ", ", ",", ":", "-", " - ", "_", " @ ", " at ", ", at ", " à ", " um ", ", um ",
    " alle ", " a las ", " kl. ",
];

/// Times of day.
const TIMES: [&str; 33] = [
    "%H:%M:%S%.f",
    "%H:%M",
    "%H:%M:%S,%f",
    "%H:%M:%S:%f",
    "%I:%M:%S%.f %p",
    "%I:%M:%S%.f%p",
    "%I:%M %p",
    "%I:%M%p",
    "%I %p",
    "%I%p",
    "%H.%M.%S.%f",
    "%H.%M.%S,%f",
    "%H.%M.%S",
    "%H.%M",
    "%I.%M.%S.%f %p",
    "%I.%M.%S %p",
    "%I.%M %p",
    "%I.%M.%S%p",
    "%I.%M%p",
    "%H%M%S",
    "%H%M%S%3f",
    "%H%M%S.%f",
    "%H%M",
    "%H",
    "%Hh%M",
    "%H h %M",
    "%Hh%Mm%Ss",
    "%H:%M Uhr",
    "%H.%M Uhr",
    "%H:%M:%S Uhr",
    "%p %I:%M:%S",
    "%p %I:%M",
    "%p%I:%M:%S",
];

/// Offsets and zones after a time.
const ZONES: [&str; 7] = ["", " %z", "%z", " %Z", "%Z", " (%z)", " (%Z)"];

/// Forms that are not a date followed by a time.
const COMPLETE: [&str; 7] = [
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %Z %Y",
    "%b %d %H:%M:%S %Y",
    "%b %d %Y %a %H:%M:%S",
    "%H:%M:%S %d/%m/%Y",
    "%H:%M:%S %m/%d/%Y",
    "%H:%M %d.%m.%Y",
];

/// What an abbreviation of a zone means, as zones without summer time: several, if several zones use it.
const ABBREVIATIONS: [(&str, &[&str]); 34] = [
    ("ICT", &["Asia/Bangkok"]),
    ("WIB", &["Asia/Jakarta"]),
    ("SGT", &["Asia/Singapore"]),
    ("HKT", &["Asia/Hong_Kong"]),
    ("JST", &["Asia/Tokyo"]),
    ("KST", &["Asia/Seoul"]),
    ("PKT", &["Asia/Karachi"]),
    ("GST", &["Asia/Dubai"]),
    ("IST", &["Asia/Kolkata", "Etc/GMT-1", "Etc/GMT-2"]),
    ("BST", &["Etc/GMT-1", "Asia/Dhaka"]),
    ("WET", &["Etc/GMT"]),
    ("WEST", &["Etc/GMT-1"]),
    ("CET", &["Etc/GMT-1"]),
    ("CEST", &["Etc/GMT-2"]),
    ("MEZ", &["Etc/GMT-1"]),
    ("MESZ", &["Etc/GMT-2"]),
    ("EET", &["Etc/GMT-2"]),
    ("EEST", &["Etc/GMT-3"]),
    ("MSK", &["Europe/Moscow"]),
    ("SAST", &["Africa/Johannesburg"]),
    ("EST", &["Etc/GMT+5", "Etc/GMT-10"]),
    ("EDT", &["Etc/GMT+4"]),
    ("CST", &["Etc/GMT+6", "Asia/Shanghai", "Etc/GMT+5"]),
    ("CDT", &["Etc/GMT+5", "Etc/GMT+4"]),
    ("MST", &["Etc/GMT+7"]),
    ("MDT", &["Etc/GMT+6"]),
    ("PST", &["Etc/GMT+8", "Asia/Manila"]),
    ("PDT", &["Etc/GMT+7"]),
    ("AEST", &["Etc/GMT-10"]),
    ("AEDT", &["Etc/GMT-11"]),
    ("NZST", &["Etc/GMT-12"]),
    ("NZDT", &["Etc/GMT-13"]),
    ("BRT", &["America/Sao_Paulo"]),
    ("ART", &["America/Argentina/Buenos_Aires"]),
];

/// A part of a table, compiled.
struct Compiled {
    text: &'static str,
    pattern: Pattern,
}

struct Tables {
    weekdays: Vec<Compiled>,
    dates: Vec<Compiled>,
    gaps: Vec<Compiled>,
    times: Vec<Compiled>,
    zones: Vec<Compiled>,
}

impl Tables {
    fn get() -> &'static Self {
        static TABLES: OnceLock<Tables> = OnceLock::new();
        TABLES.get_or_init(|| {
            let all = |texts: &[&'static str]| {
                let compiled = texts.iter().filter_map(|text| {
                    let pattern = Pattern::part(text).ok()?;
                    Some(Compiled { text, pattern })
                });
                compiled.collect()
            };
            Self {
                weekdays: all(&WEEKDAYS),
                dates: all(&DATES),
                gaps: all(&GAPS),
                times: all(&TIMES),
                zones: all(&ZONES),
            }
        })
    }
}

/// Returns the starts of a text that the parts of a table read, with the rest.
fn starts<'a>(
    parts: &'a [Compiled],
    text: &'a str,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    parts.iter().filter_map(move |part| {
        let rest = part.pattern.read_start(text, &mut Parts::default()).ok()?;
        Some((part.text, rest))
    })
}

/// Returns the formats that read a value.
pub(super) fn formats_of(value: &str) -> Vec<String> {
    let tables = Tables::get();
    let mut found: Vec<String> = Vec::new();
    let mut add = |format: String| {
        let reads = |format: &str| {
            let format = TimestampFormat::new(format);
            format.is_ok_and(|format| format.read(value.as_bytes()).is_ok())
        };
        if !found.contains(&format) && reads(&format) {
            found.push(format);
        }
    };
    for (weekday, rest) in starts(&tables.weekdays, value) {
        for (date, rest) in starts(&tables.dates, rest) {
            if rest.is_empty() {
                add(format!("{weekday}{date}"));
            }
            for (gap, rest) in starts(&tables.gaps, rest) {
                for (time, rest) in starts(&tables.times, rest) {
                    let ends = starts(&tables.zones, rest).filter(|(_, rest)| rest.is_empty());
                    ends.for_each(|(zone, _)| add(format!("{weekday}{date}{gap}{time}{zone}")));
                }
            }
        }
    }
    COMPLETE.iter().for_each(|format| add((*format).to_owned()));
    if is_serial_day(value) {
        add(TimestampFormat::EXCEL.to_owned());
    }
    if value.len() == 10 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        add("%s".to_owned());
    }
    if found.is_empty()
        && let Some((rest, abbreviation)) = abbreviated_zone(value)
    {
        let formats = formats_of(rest.trim_end());
        let gap = &value[rest.trim_end().len()..value.len() - abbreviation.len()];
        found.extend(
            formats
                .into_iter()
                .map(|format| format!("{format}{gap}{abbreviation}")),
        );
    }
    found
}

/// Whether a value is the number of a day from 1970 to 2119, perhaps with a part of it.
fn is_serial_day(value: &str) -> bool {
    let days = value.split(['.', ',']).next().unwrap_or(value);
    days.len() == 5
        && days
            .parse()
            .is_ok_and(|days: u32| (25_569..80_000).contains(&days))
}

/// Returns the text before the abbreviation of a zone that ends a value, and the abbreviation.
fn abbreviated_zone(value: &str) -> Option<(&str, &'static str)> {
    let (rest, last) = value.rsplit_once(' ')?;
    let known = ABBREVIATIONS.iter().find(|(name, _)| *name == last)?;
    Some((rest, known.0))
}

/// Returns the zones that the abbreviation at the end of a format may mean; none if it ends in none.
pub(super) fn zones_of(format: &str) -> &'static [&'static str] {
    let last = format.rsplit(' ').next().unwrap_or(format);
    let known = ABBREVIATIONS.iter().find(|(name, _)| *name == last);
    known.map_or(&[], |(_, zones)| zones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_the_tables_compile() {
        let tables = Tables::get();
        let compiled = [
            &tables.weekdays,
            &tables.dates,
            &tables.gaps,
            &tables.times,
            &tables.zones,
        ];
        let listed = [
            WEEKDAYS.len(),
            DATES.len(),
            GAPS.len(),
            TIMES.len(),
            ZONES.len(),
        ];
        assert_eq!(compiled.map(Vec::len), listed);
        for format in COMPLETE {
            assert!(TimestampFormat::new(format).is_ok(), "{format}");
        }
        for (_, zones) in ABBREVIATIONS {
            for zone in zones {
                assert!(zone.parse::<chrono_tz::Tz>().is_ok(), "{zone}");
            }
        }
    }

    #[test]
    fn formats_of_vendors_are_found() {
        for (value, formats) in [
            ("25/11/2025 3:04 p. m.", &["%d/%m/%Y %I:%M %p"][..]),
            ("03/04/2025", &["%d/%m/%Y", "%m/%d/%Y"]),
            (
                "01-MAY-25 05.01.22.213763000 PM",
                &["%d-%b-%y %I.%M.%S.%f %p", "%y-%b-%d %I.%M.%S.%f %p"],
            ),
            (
                "2025/11/10 3:04:05 PM GMT+1",
                &["%Y/%m/%d %I:%M:%S%.f %p %Z"],
            ),
            ("25.11.2025 15.04", &["%d.%m.%Y %H.%M"]),
            ("20251110101112", &["%Y%m%d%H%M%S"]),
            ("2025111010", &["%Y%m%d%H", "%s"]),
            ("mardi 25 novembre 2025 à 15:04", &["%a %d %b %Y à %H:%M"]),
            ("25. November 2025 um 15:04", &["%d. %b %Y um %H:%M"]),
            ("25/Nov/25 12:17", &["%d/%b/%y %H:%M", "%y/%b/%d %H:%M"]),
            ("2025年11月10日 15:04", &["%Y年%m月%d日 %H:%M"]),
            ("11/25/2025, 9:58:10 AM", &["%m/%d/%Y, %I:%M:%S%.f %p"]),
            (
                "September 27, 2025 05:48:41 PM ICT",
                &["%b %d, %Y %I:%M:%S%.f %p ICT"],
            ),
            ("45971.5", &["excel"]),
            ("yesterday", &[]),
        ] {
            assert_eq!(formats_of(value), formats, "{value}");
        }
    }
}
