//! Timestamps that could not be read, and the `timestamp_format` that the values themselves prove. Keeps a few of them,
//! however many there are.

use super::{
    format::Format,
    timestamp::{Numeric, Order, TimeFault},
    zone::Zone,
};
use crate::model::{Fault, receipt::FormatProposal};

/// Different shapes of numeric dates told apart; a file has one or two.
const SHAPES: usize = 8;
/// Other values kept, which have to be read all by a format that is proposed.
const SAMPLE: usize = 64;
/// Longest value kept.
const VALUE_BYTES: usize = 64;

/// Dates that are written in one way only, so that any value proves them.
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
/// What may follow such a date.
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
/// Forms whose date is not in one piece.
const WHOLE: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    Format::EXCEL,
];

/// Values of one form of numeric date.
#[derive(Debug)]
struct Shape {
    form: Numeric,
    rows: u64,
    day_first: Option<(u32, String)>,
    month_first: Option<(u32, String)>,
}

/// What was seen of timestamps that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    shapes: Vec<Shape>,
    others: u64,
    sample: Vec<(u32, String)>,
}

impl Unread {
    /// Takes in one that could not be read without a format.
    pub(crate) fn add(&mut self, line: u32, value: &[u8], found: TimeFault) {
        let text = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= VALUE_BYTES => text,
            _ => return,
        };
        match (found, Numeric::of(value)) {
            (TimeFault::Ambiguous, Some(form)) => self.numeric(line, text, form),
            (TimeFault::Shape | TimeFault::BadOffset, _) => {
                self.others += 1;
                if self.sample.len() < SAMPLE {
                    self.sample.push((line, text.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn numeric(&mut self, line: u32, text: &str, form: Numeric) {
        let order = form.order();
        let known = self.shapes.iter().position(|s| s.form.is_like(&form));
        let at = known.unwrap_or(self.shapes.len());
        if at == SHAPES {
            return;
        }
        if known.is_none() {
            self.shapes.push(Shape {
                form,
                rows: 0,
                day_first: None,
                month_first: None,
            });
        }
        let shape = &mut self.shapes[at];
        shape.rows += 1;
        let proof = || (line, text.to_owned());
        match order {
            Order::DayFirst => drop(shape.day_first.get_or_insert_with(proof)),
            Order::MonthFirst => drop(shape.month_first.get_or_insert_with(proof)),
            Order::Either | Order::Neither => {}
        }
    }

    /// The format that most of them prove; none if their values allow two, or speak for two.
    pub(crate) fn proposal(&self) -> Option<FormatProposal> {
        let most = self.shapes.iter().max_by_key(|shape| shape.rows);
        match most {
            Some(shape) if shape.rows >= self.others => shape.proposal(),
            _ => self.of_sample(),
        }
    }

    fn of_sample(&self) -> Option<FormatProposal> {
        let (line, value) = self.sample.first()?;
        let pieces = DATES
            .iter()
            .flat_map(|date| TIMES.map(|time| format!("{date}{time}")));
        let mut forms = pieces.chain(WHOLE.map(str::to_owned));
        let format = forms.find(|format| {
            let format = Format::new(format);
            let reads = |text: &str| format.as_ref().is_ok_and(|f| reads(f, text));
            self.sample.iter().all(|(_, text)| reads(text))
        })?;
        Some(proposal(format, *line, value, self.others))
    }
}

impl Shape {
    fn proposal(&self) -> Option<FormatProposal> {
        let (day_first, (line, value)) = match (&self.day_first, &self.month_first) {
            (Some(proof), None) => (true, proof),
            (None, Some(proof)) => (false, proof),
            _ => return None,
        };
        let format = self.form.format(day_first);
        let read = Format::new(&format).is_ok_and(|format| reads(&format, value));
        read.then(|| proposal(format, *line, value, self.rows))
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

fn reads(format: &Format, text: &str) -> bool {
    let utc = Zone::new(chrono_tz::Tz::UTC);
    format.read(text.as_bytes(), &utc).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::value::timestamp::Timestamps;

    fn proposed(values: &[&str]) -> Option<(String, u32, u64)> {
        let times = Timestamps::new(chrono_tz::Tz::UTC, None);
        let mut unread = Unread::default();
        for (line, value) in (2..).zip(values) {
            let found = times.read(value.as_bytes()).expect_err("is not read");
            unread.add(line, value.as_bytes(), found);
        }
        let FormatProposal {
            format, line, rows, ..
        } = unread.proposal()?;
        Some((format, line, rows))
    }

    #[test]
    fn a_value_that_leaves_no_choice_proves_the_order() {
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
    fn what_is_open_or_contradicts_itself_proves_nothing() {
        assert_eq!(proposed(&["03/04/2025", "04/03/2025"]), None);
        assert_eq!(proposed(&["25/11/2025", "11/25/2025"]), None);
        assert_eq!(proposed(&["yesterday"]), None);
        assert_eq!(proposed(&["10 Nov 2025", "2025/11/10"]), None);
        assert_eq!(proposed(&[]), None);
    }

    #[test]
    fn forms_that_can_be_read_in_one_way_only_are_recognised() {
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
    fn little_is_kept_of_much() {
        let mut unread = Unread::default();
        for line in 0..10_000 {
            unread.add(line, b"2025/11/10", TimeFault::Shape);
            let odd = format!("1/1/{}", 2000 + line % 100);
            unread.add(line, odd.as_bytes(), TimeFault::Ambiguous);
        }
        assert_eq!((unread.sample.len(), unread.shapes.len()), (SAMPLE, 1));
    }
}
