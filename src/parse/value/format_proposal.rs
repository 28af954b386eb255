//! Finds the values of `timestamp_format` that read the timestamps which could not be read. Every format is tried on all
//! of them. Stores no more than the formats and their first values.

use super::{
    format::TimestampFormat,
    timestamp::{TimestampFault, TimestampParser},
    vendor_forms::{formats_of, zones_of},
};
use crate::model::{Evidence, Fault, Proposal, ProposalScope};

/// Maximum formats that are tried. A file has one form of timestamps or two.
const CANDIDATES: usize = 24;
/// Maximum sets of formats that read the same values.
const GROUPS: usize = 64;
/// Maximum values from which formats are put together.
const SEARCHES: usize = 64;
/// Maximum bytes of a value that is tried.
const VALUE_BYTES: usize = 96;
/// Maximum values proposed for one option.
const CHOICES: usize = 6;

/// A format that reads some of the values.
#[derive(Debug)]
struct Candidate {
    text: String,
    format: TimestampFormat,
    /// The format without the order of its numbers: of its family, at most one format is meant.
    family: String,
}

/// The values that the same candidates read, one bit each.
#[derive(Debug)]
struct Group {
    readers: u32,
    rows: u64,
    first: Evidence,
}

/// The timestamps of a file that could not be read.
#[derive(Debug, Default)]
pub(crate) struct UnparsedTimestamps {
    candidates: Vec<Candidate>,
    groups: Vec<Group>,
    searches: usize,
}

impl UnparsedTimestamps {
    /// Adds a timestamp that could not be read. Returns the formats that read it.
    pub(crate) fn add(
        &mut self,
        (row, line): (u32, u32),
        value: &[u8],
        found: TimestampFault,
        parser: &TimestampParser,
    ) -> Vec<&str> {
        let is_of_form = !matches!(
            found,
            TimestampFault::OutOfRange | TimestampFault::SkippedByClocks | TimestampFault::Hashes
        );
        let text = match std::str::from_utf8(value) {
            Ok(text) if text.len() <= VALUE_BYTES && is_of_form => text,
            _ => return Vec::new(),
        };
        let mut readers = self.readers(text, parser);
        if readers == 0 && self.searches < SEARCHES {
            self.searches += 1;
            self.search(text, parser);
            readers = self.readers(text, parser);
        }
        if readers != 0 {
            let known = self
                .groups
                .iter()
                .position(|group| group.readers == readers);
            match known {
                Some(at) => self.groups[at].rows += 1,
                None if self.groups.len() < GROUPS => self.groups.push(Group {
                    readers,
                    rows: 1,
                    first: Evidence {
                        row,
                        line,
                        value: Fault::clip(value),
                    },
                }),
                None => {}
            }
        }
        let reads = |at: &usize| readers >> at & 1 == 1;
        let formats = (0..self.candidates.len()).filter(reads);
        formats
            .map(|at| self.candidates[at].text.as_str())
            .collect()
    }

    fn readers(&self, text: &str, parser: &TimestampParser) -> u32 {
        let reads =
            |candidate: &Candidate| parser.read_as(&candidate.format, text.as_bytes()).is_ok();
        let all = self.candidates.iter().enumerate();
        all.fold(0, |readers, (at, candidate)| {
            readers | u32::from(reads(candidate)) << at
        })
    }

    /// Adds the formats that read a value. Beside declared formats, the native forms are one more.
    fn search(&mut self, text: &str, parser: &TimestampParser) {
        let mut found = formats_of(text);
        if !parser.formats.is_empty() {
            found.insert(0, TimestampFormat::NATIVE.to_owned());
        }
        for text in found {
            let Ok(format) = TimestampFormat::new(&text) else {
                continue;
            };
            if self.candidates.len() < CANDIDATES && self.candidates.iter().all(|c| c.text != text)
            {
                let family = family(&text);
                self.candidates.push(Candidate {
                    text,
                    format,
                    family,
                });
            }
        }
    }

    /// Returns the proposals: the formats that read all values of their form, and the zone of an abbreviation. `stated` are
    /// the formats that are stated already, `read` is the number of timestamps that were read without one of these.
    pub(crate) fn proposals(&self, stated: Option<&str>, read: u64) -> Vec<Proposal> {
        let mut families: Vec<Family> = Vec::new();
        for candidate in &self.candidates {
            if families
                .iter()
                .all(|family| family.name != candidate.family)
            {
                families.extend(self.family(&candidate.family));
            }
        }
        families.sort_by_key(|family| std::cmp::Reverse(family.rows));
        let mut covered = 0;
        families.retain(|family| {
            let new = self
                .groups
                .iter()
                .filter(|group| group.readers & covered == 0);
            let adds = new
                .into_iter()
                .any(|group| group.readers & family.best != 0);
            covered |= family.best;
            adds
        });
        let Some(first) = families.first() else {
            return Vec::new();
        };
        let zones = families
            .iter()
            .map(|family| zones_of(&self.candidates[family.first()].text));
        let zones: Vec<_> = zones.filter(|zones| !zones.is_empty()).collect();
        if zones.windows(2).any(|pair| pair[0] != pair[1]) {
            // Two abbreviations need two zones: only the file can say their offsets.
            return Vec::new();
        }
        let before = match stated {
            Some(stated) => format!("{stated}{}", TimestampFormat::SEPARATOR),
            None if read > 0 => {
                format!("{}{}", TimestampFormat::NATIVE, TimestampFormat::SEPARATOR)
            }
            None => String::new(),
        };
        let rows = families.iter().map(|family| family.rows).sum();
        let proven =
            families.iter().all(|family| family.best.count_ones() == 1) && zones.is_empty();
        let proposal = |option: &str, value: String| Proposal {
            option: option.to_owned(),
            reason: format!(
                "line {} has `{}`",
                first.evidence.line, first.evidence.value
            ),
            value,
            scope: ProposalScope::RejectedRows,
            proven,
            rows,
            evidence: Some(first.evidence.clone()),
        };
        let formats = self.choices(&families).into_iter().take(CHOICES);
        let formats = formats.map(|value| proposal("timestamp_format", format!("{before}{value}")));
        let zones = zones.first().map_or(&[][..], |zones| zones);
        let zones = zones
            .iter()
            .map(|zone| proposal("time_zone", (*zone).to_owned()));
        formats.chain(zones).collect()
    }

    /// Returns the formats of all families, joined, in each combination.
    fn choices(&self, families: &[Family]) -> Vec<String> {
        let mut all = vec![String::new()];
        for family in families {
            let members = (0..self.candidates.len()).filter(|at| family.best >> at & 1 == 1);
            let members: Vec<_> = members.map(|at| &self.candidates[at].text).collect();
            let extend = |joined: &String| {
                let separator = if joined.is_empty() { "" } else { "|" };
                let with = |member: &&String| format!("{joined}{separator}{member}");
                members.iter().map(with).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(extend).take(CHOICES).collect();
        }
        all
    }

    /// Returns the best formats of a family; none if its values contradict each other.
    fn family(&self, name: &str) -> Option<Family> {
        let members = (0..self.candidates.len()).filter(|at| self.candidates[*at].family == name);
        let members: Vec<usize> = members.collect();
        let rows_of = |mask: u32| {
            let groups = self.groups.iter().filter(|group| group.readers & mask != 0);
            groups.map(|group| group.rows).sum::<u64>()
        };
        let most = members.iter().map(|at| rows_of(1 << at)).max()?;
        let all = members.iter().fold(0, |mask, at| mask | 1 << at);
        if most == 0 || rows_of(all) > most {
            return None;
        }
        let best = members.iter().filter(|at| rows_of(1 << **at) == most);
        let best = best.fold(0, |mask, at| mask | 1_u32 << at);
        let proof = self.groups.iter().find(|group| group.readers & all == best);
        let any = || self.groups.iter().find(|group| group.readers & best != 0);
        Some(Family {
            name: name.to_owned(),
            best,
            rows: most,
            evidence: proof.or_else(any)?.first.clone(),
        })
    }
}

/// The best formats of one family.
struct Family {
    name: String,
    best: u32,
    rows: u64,
    evidence: Evidence,
}

impl Family {
    fn first(&self) -> usize {
        self.best.trailing_zeros() as usize
    }
}

/// Returns a format without the order of its numbers.
fn family(format: &str) -> String {
    let digits_only = format.split('%').all(|part| part.len() <= 1);
    if digits_only && format.starts_with('%') {
        return "digits".to_owned();
    }
    let parts = ["%d", "%m", "%Y", "%y", "%b"];
    parts
        .iter()
        .fold(format.to_owned(), |text, part| text.replace(part, "#"))
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn proposed(values: &[&str]) -> Vec<(String, bool, u32)> {
        let parser = TimestampParser::new(Tz::UTC, Tz::UTC, Vec::new());
        let mut unparsed = UnparsedTimestamps::default();
        for (line, value) in (2..).zip(values) {
            if let Err(found) = parser.read(value.as_bytes()) {
                unparsed.add((line - 1, line), value.as_bytes(), found, &parser);
            }
        }
        let proposals = unparsed.proposals(None, 0);
        let line = |p: &Proposal| p.evidence.as_ref().map_or(0, |evidence| evidence.line);
        let shown = proposals
            .iter()
            .map(|p| (p.value.clone(), p.proven, line(p)));
        shown.collect()
    }

    #[test]
    fn day_and_month_order_is_proven_by_one_value() {
        let proves = |values: &[&str], format: &str, line| {
            assert_eq!(
                proposed(values),
                [(format.to_owned(), true, line)],
                "{values:?}"
            );
        };
        proves(&["10/11/2025", "25/11/2025"], "%d/%m/%Y", 3);
        proves(&["11/10/2025", "11/25/2025"], "%m/%d/%Y", 3);
        proves(&["25.11.2025 14:30", "1.2.2025 1:05"], "%d.%m.%Y %H:%M", 2);
        proves(&["11/25/2025 2:30 PM"], "%m/%d/%Y %I:%M %p", 2);
        proves(&["25/11/2025T14:30:15.5"], "%d/%m/%YT%H:%M:%S%.f", 2);
        proves(&["45971", "45971.5"], "excel", 2);
        proves(&["20251110"], "%Y%m%d", 2);
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_a_question() {
        for (values, formats) in [
            (
                &["03/04/2025", "04/03/2025"][..],
                &["%d/%m/%Y", "%m/%d/%Y"][..],
            ),
            (
                &["25-11-25 14:30:15"],
                &["%d-%m-%y %H:%M:%S%.f", "%y-%m-%d %H:%M:%S%.f"],
            ),
            (&["10-NOV-25", "25-DEC-25"], &["%d-%b-%y", "%y-%b-%d"]),
            (&["2025111010", "2025111011"], &["%Y%m%d%H", "%s"]),
        ] {
            let found = proposed(values);
            assert!(found.iter().all(|(_, proven, _)| !proven), "{values:?}");
            let found: Vec<_> = found.iter().map(|(format, ..)| format.as_str()).collect();
            assert_eq!(found, formats, "{values:?}");
        }
    }

    #[test]
    fn contradictory_or_unknown_values_prove_no_format() {
        assert_eq!(proposed(&["25/11/2025", "11/25/2025"]), []);
        assert_eq!(proposed(&["yesterday"]), []);
        assert_eq!(proposed(&[]), []);
    }

    #[test]
    fn several_forms_need_several_formats() {
        let found = proposed(&["25/11/2025", "26/11/2025", "25.11.2025 15.04"]);
        assert_eq!(found, [("%d/%m/%Y|%d.%m.%Y %H.%M".to_owned(), true, 2)]);
    }

    #[test]
    fn an_abbreviation_needs_a_zone() {
        let found = proposed(&["September 27, 2025 05:48:41 PM CST"]);
        let values: Vec<_> = found.iter().map(|(value, ..)| value.as_str()).collect();
        let zones = ["Etc/GMT+6", "Asia/Shanghai", "Etc/GMT+5"];
        assert_eq!(
            values,
            [&["%b %d, %Y %I:%M:%S%.f %p CST"], &zones[..]].concat()
        );
    }

    #[test]
    fn stored_values_are_bounded() {
        let parser = TimestampParser::new(Tz::UTC, Tz::UTC, Vec::new());
        let mut unparsed = UnparsedTimestamps::default();
        for line in 0..10_000_u32 {
            for value in [
                format!("{line}th of May"),
                format!("{}/1/{}", line % 28 + 1, 2000 + line % 100),
            ] {
                unparsed.add(
                    (line, line),
                    value.as_bytes(),
                    TimestampFault::UnknownForm,
                    &parser,
                );
            }
        }
        assert!(unparsed.candidates.len() <= CANDIDATES && unparsed.groups.len() <= GROUPS);
    }
}
