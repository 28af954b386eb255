use chrono::NaiveDate;
use chrono_tz::TZ_VARIANTS;

use super::*;

#[test]
fn offsets_equal_those_of_another_implementation_until_2199() {
    // The offsets of Python's `zoneinfo`, which computes them from the rules in the footers of the files of tzdata 2025b.
    let mut lines = include_str!("offsets.csv").lines();
    let header = lines.next().expect("a header");
    let zones: Vec<Tz> = header
        .split(',')
        .skip(1)
        .map(|name| name.parse().expect("a zone"))
        .collect();
    assert_eq!(zones.len(), 10);
    for line in lines {
        let mut cells = line.split(',');
        let text = cells.next().expect("an instant");
        let at = DateTime::parse_from_rfc3339(text).expect("an instant");
        for (zone, offset) in zones.iter().zip(cells) {
            let actual = offset_at(*zone, at.timestamp());
            assert_eq!(actual.to_string(), offset, "{zone} {text}");
        }
    }
}

#[test]
fn summer_time_goes_on_after_the_tables() {
    for (zone, summer, winter, hours) in [
        (Tz::Europe__Berlin, 7, 1, (2, 1)),
        (Tz::America__New_York, 7, 1, (-4, -5)),
        (Tz::Australia__Sydney, 1, 7, (11, 10)),
    ] {
        let noon = |month| {
            let date = NaiveDate::from_ymd_opt(2150, month, 1).expect("a date");
            let noon = date.and_hms_opt(12, 0, 0).expect("noon");
            noon.and_utc().timestamp()
        };
        let single = |month| offset_of_wall(zone, noon(month)).single();
        assert_eq!(offset_at(zone, noon(summer)), hours.0 * 3600, "{zone}");
        assert_eq!(offset_at(zone, noon(winter)), hours.1 * 3600, "{zone}");
        assert_eq!(single(summer), Some(hours.0 * 3600), "{zone}");
        assert_eq!(single(winter), Some(hours.1 * 3600), "{zone}");
    }
}

#[test]
fn every_later_date_has_an_earlier_one_on_its_day_of_the_week() {
    let first = NaiveDate::from_ymd_opt(2100, 1, 1).expect("a date");
    let days = first.iter_days().take_while(|date| date.year() < 2200);
    for date in days {
        let same = within_tables(date.and_hms_opt(12, 0, 0).expect("noon")).date();
        assert!((2088..2100).contains(&same.year()), "{date}");
        if (date.month(), date.day()) == (2, 29) {
            continue;
        }
        let parts = |date: NaiveDate| (date.month(), date.day(), date.weekday());
        assert_eq!(parts(same), parts(date));
    }
}

/// Wall times have exactly the offsets of the instants that show them, around every change of every zone.
#[test]
fn offsets_of_wall_times_and_of_instants_agree() {
    for zone in TZ_VARIANTS {
        for at in transitions(zone) {
            let (before, after) = (offset_at(zone, at - 1), offset_at(zone, at));
            let mut walls: Vec<_> = [-1, 0, 1, 1_800]
                .iter()
                .flat_map(|n| [at + before + n, at + after + n])
                .collect();
            walls.push(at + i64::midpoint(before, after));
            for wall in walls {
                let shows = |offset: i64| offset_at(zone, wall - offset) == offset;
                let expected = match (before == after, shows(before), shows(after)) {
                    (true, ..) => unreachable!("an offset changes at {at}"),
                    (_, true, true) => vec![before.max(after), before.min(after)],
                    (_, true, false) => vec![before],
                    (_, false, true) => vec![after],
                    (_, false, false) => vec![],
                };
                let actual = match offset_of_wall(zone, wall) {
                    MappedLocalTime::None => vec![],
                    MappedLocalTime::Single(offset) => vec![offset],
                    MappedLocalTime::Ambiguous(earliest, latest) => vec![earliest, latest],
                };
                assert_eq!(actual, expected, "{zone} {at} {wall}");
            }
        }
    }
}
