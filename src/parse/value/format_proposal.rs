//! Finds the `timestamp_format` that timestamps which could not be read prove by their values.
//! Stores a bounded sample of them.

use super::{
    format::TimestampFormat,
    numeric_date::{DayMonthOrder, NumericDate},
    timestamp::TimestampFault,
    zone::CachedZone,
};
use crate::model::{Fault, receipt::FormatProposal};

/// Maximum distinct forms of numeric dates. A file has one or two.
const FORMS: usize = 8;
/// Maximum other values stored. A proposed format must read all of them.
const SAMPLE: usize = 64;
/// Maximum bytes of a stored value.
const VALUE_BYTES: usize = 64;

/// Formats of dates in which day and month cannot be confused, so that any value proves them.
const DATES: [&str; 9] = [
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%Y-%m-%d",
];
/// Formats of the time of day after such a date.
const TIMES: [&str; 10] = [
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S%.f",
    " %H:%M:%S,%3f",
    "T%H:%M:%S",
    "T%H%M%SZ",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H:%M:%S %z",
];
/// Formats that are not a date followed by a time of day.
const COMPLETE_FORMATS: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    TimestampFormat::EXCEL,
];

/// What the values of one form of numeric date prove.
#[derive(Debug)]
struct NumericForm {
    /// The first date of the form.
    date: NumericDate,
    rows: u64,
    /// Line and value of the first date that can only have the day first.
    day_first: Option<(u32, String)>,
    /// Line and value of the first date that can only have the month first.
    month_first: Option<(u32, String)>,
}

/// The timestamps of a file that could not be read.
#[derive(Debug, Default)]
pub(crate) struct UnparsedTimestamps {
    numeric_forms: Vec<NumericForm>,
    /// Number of values that are not numeric dates.
    others: u64,
    /// Line and value of the first of the others.
    sample: Vec<(u32, String)>,
}

impl UnparsedTimestamps {
    /// Adds a timestamp that could not be read without a format.
    pub(crate) fn add(&mut self, line: u32, value: &[u8], found: TimestampFault) {
        let text = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= VALUE_BYTES => text,
            _ => return,
        };
        match (found, NumericDate::recognize(value)) {
            (TimestampFault::Ambiguous, Some(date)) => self.add_numeric(line, text, date),
            (TimestampFault::UnknownForm | TimestampFault::BadOffset, _) => {
                self.others += 1;
                if self.sample.len() < SAMPLE {
                    self.sample.push((line, text.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn add_numeric(&mut self, line: u32, text: &str, date: NumericDate) {
        let order = date.order();
        let mut forms = self.numeric_forms.iter();
        let known = forms.position(|form| form.date.has_form_of(&date));
        let at = known.unwrap_or(self.numeric_forms.len());
        if at == FORMS {
            return;
        }
        if known.is_none() {
            self.numeric_forms.push(NumericForm {
                date,
                rows: 0,
                day_first: None,
                month_first: None,
            });
        }
        let form = &mut self.numeric_forms[at];
        form.rows += 1;
        let proof = || (line, text.to_owned());
        match order {
            DayMonthOrder::DayFirst => drop(form.day_first.get_or_insert_with(proof)),
            DayMonthOrder::MonthFirst => drop(form.month_first.get_or_insert_with(proof)),
            DayMonthOrder::Either | DayMonthOrder::Neither => {}
        }
    }

    /// Returns the format that most of the timestamps prove. None if their values allow two formats or contradict each
    /// other.
    pub(crate) fn proposal(&self) -> Option<FormatProposal> {
        let most = self.numeric_forms.iter().max_by_key(|form| form.rows);
        match most {
            Some(form) if form.rows >= self.others => form.proposal(),
            _ => self.proposal_from_sample(),
        }
    }

    fn proposal_from_sample(&self) -> Option<FormatProposal> {
        let (line, value) = self.sample.first()?;
        let dates_and_times = DATES
            .iter()
            .flat_map(|date| TIMES.map(|time| format!("{date}{time}")));
        let mut formats = dates_and_times.chain(COMPLETE_FORMATS.map(str::to_owned));
        let format = formats.find(|format| {
            let format = TimestampFormat::new(format);
            let reads = |text: &str| format.as_ref().is_ok_and(|format| reads(format, text));
            self.sample.iter().all(|(_, text)| reads(text))
        })?;
        Some(proposal(format, *line, value, self.others))
    }
}

impl NumericForm {
    fn proposal(&self) -> Option<FormatProposal> {
        let (day_first, (line, value)) = match (&self.day_first, &self.month_first) {
            (Some(proof), None) => (true, proof),
            (None, Some(proof)) => (false, proof),
            _ => return None,
        };
        let text = self.date.format(day_first);
        let is_valid = TimestampFormat::new(&text).is_ok_and(|format| reads(&format, value));
        is_valid.then(|| proposal(text, *line, value, self.rows))
    }
}

fn proposal(format: String, line: u32, value: &str, rows: u64) -> FormatProposal {
    FormatProposal {
        format,
        line,
        value: Fault::clip(value.as_bytes()),
        rows,
    }
}

fn reads(format: &TimestampFormat, text: &str) -> bool {
    let utc = CachedZone::new(chrono_tz::Tz::UTC);
    format.read(text.as_bytes(), &utc).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::value::timestamp::TimestampParser;

    fn proposed(values: &[&str]) -> Option<(String, u32, u64)> {
        let parser = TimestampParser::new(chrono_tz::Tz::UTC, None);
        let mut unparsed = UnparsedTimestamps::default();
        for (line, value) in (2..).zip(values) {
            let found = parser
                .read(value.as_bytes())
                .expect_err("has no accepted form");
            unparsed.add(line, value.as_bytes(), found);
        }
        let FormatProposal {
            format, line, rows, ..
        } = unparsed.proposal()?;
        Some((format, line, rows))
    }

    #[test]
    fn a_value_with_one_possible_order_proves_the_format() {
        let proves = |values: &[&str], format: &str, line| {
            let all = u64::try_from(values.len()).expect("few");
            assert_eq!(
                proposed(values),
                Some((format.into(), line, all)),
                "{values:?}"
            );
        };
        proves(&["10/11/2025", "25/11/2025"], "%d/%m/%Y", 3);
        proves(&["11/10/2025", "11/25/2025"], "%m/%d/%Y", 3);
        proves(&["25.11.2025 14:30", "1.2.2025 1:05"], "%d.%m.%Y %H:%M", 2);
        proves(&["25-11-25 14:30:15"], "%d-%m-%y %H:%M:%S", 2);
        proves(&["11/25/2025 2:30 PM"], "%m/%d/%Y %I:%M %p", 2);
        proves(&["25/11/2025T14:30:15.5"], "%d/%m/%YT%H:%M:%S%.f", 2);
    }

    #[test]
    fn ambiguous_or_contradictory_values_prove_no_format() {
        assert_eq!(proposed(&["03/04/2025", "04/03/2025"]), None);
        assert_eq!(proposed(&["25/11/2025", "11/25/2025"]), None);
        assert_eq!(proposed(&["yesterday"]), None);
        assert_eq!(proposed(&["10 Nov 2025", "2025/11/10"]), None);
        assert_eq!(proposed(&[]), None);
    }

    #[test]
    fn unambiguous_formats_are_recognized() {
        for (values, format) in [
            (&["2025/11/10", "2025/11/09"][..], "%Y/%m/%d"),
            (&["2025/11/10 14:30"], "%Y/%m/%d %H:%M"),
            (&["20251110"], "%Y%m%d"),
            (&["20251110T143015Z"], "%Y%m%dT%H%M%SZ"),
            (&["10-NOV-2025 14:30:15"], "%d-%b-%Y %H:%M:%S"),
            (&["Nov 10, 2025"], "%b %d, %Y"),
            (&["November 10, 2025"], "%B %d, %Y"),
            (&["2025-11-10 14:30:15 +0100"], "%Y-%m-%d %H:%M:%S %z"),
            (&["2025-11-10 14:30:15,123"], "%Y-%m-%d %H:%M:%S,%3f"),
            (&["2025-11-10 02:30:15 PM"], "%Y-%m-%d %I:%M:%S %p"),
            (
                &["Mon, 10 Nov 2025 14:30:15 +0000"],
                "%a, %d %b %Y %H:%M:%S %z",
            ),
            (&["45971", "45971.5"], "excel"),
        ] {
            let found = proposed(values).map(|(format, ..)| format);
            assert_eq!(found.as_deref(), Some(format), "{values:?}");
        }
    }

    #[test]
    fn stored_values_are_bounded() {
        let mut unparsed = UnparsedTimestamps::default();
        for line in 0..10_000 {
            unparsed.add(line, b"2025/11/10", TimestampFault::UnknownForm);
            let odd = format!("1/1/{}", 2000 + line % 100);
            unparsed.add(line, odd.as_bytes(), TimestampFault::Ambiguous);
        }
        assert_eq!(
            (unparsed.sample.len(), unparsed.numeric_forms.len()),
            (SAMPLE, 1)
        );
    }
}
