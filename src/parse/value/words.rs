//! The words of dates: months, days of the week, halves of the day. Compared in lower case, by their beginning.

/// The names of the months in one language. A name matches in full, or by at least the letters before the `|`.
type Months = [&'static str; 12];

/// The months of each language; English first, since only its names are read without a declared format.
const MONTHS: [Months; 7] = [
    [
        "jan|uary",
        "feb|ruary",
        "mar|ch",
        "apr|il",
        "may|",
        "jun|e",
        "jul|y",
        "aug|ust",
        "sep|tember",
        "oct|ober",
        "nov|ember",
        "dec|ember",
    ],
    [
        "jan|uar",
        "feb|ruar",
        "mär|z",
        "apr|il",
        "mai|",
        "jun|i",
        "jul|i",
        "aug|ust",
        "sep|tember",
        "okt|ober",
        "nov|ember",
        "dez|ember",
    ],
    [
        "janv|ier",
        "févr|ier",
        "mars|",
        "avr|il",
        "mai|",
        "juin|",
        "juil|let",
        "août|",
        "sept|embre",
        "oct|obre",
        "nov|embre",
        "déc|embre",
    ],
    [
        "ene|ro",
        "feb|rero",
        "mar|zo",
        "abr|il",
        "may|o",
        "jun|io",
        "jul|io",
        "ago|sto",
        "sep|tiembre",
        "oct|ubre",
        "nov|iembre",
        "dic|iembre",
    ],
    [
        "gen|naio",
        "feb|braio",
        "mar|zo",
        "apr|ile",
        "mag|gio",
        "giu|gno",
        "lug|lio",
        "ago|sto",
        "set|tembre",
        "ott|obre",
        "nov|embre",
        "dic|embre",
    ],
    [
        "jan|eiro",
        "fev|ereiro",
        "mar|ço",
        "abr|il",
        "mai|o",
        "jun|ho",
        "jul|ho",
        "ago|sto",
        "set|embro",
        "out|ubro",
        "nov|embro",
        "dez|embro",
    ],
    [
        "jan|uari",
        "feb|ruari",
        "mrt|",
        "apr|il",
        "mei|",
        "jun|i",
        "jul|i",
        "aug|ustus",
        "sep|tember",
        "okt|ober",
        "nov|ember",
        "dec|ember",
    ],
];

/// Months written otherwise: without accents, by other abbreviations.
const OTHER_MONTHS: [(&str, u32); 12] = [
    ("maart", 3),
    ("maerz", 3),
    ("mrz", 3),
    ("fevr", 2),
    ("fév", 2),
    ("fevrier", 2),
    ("aout", 8),
    ("decembre", 12),
    ("jän", 1),
    ("jänner", 1),
    ("marco", 3),
    ("mart", 3),
];

/// The days of the week from Monday, by the same rule.
const WEEKDAYS: [[&str; 7]; 7] = [
    [
        "mon|day",
        "tue|sday",
        "wed|nesday",
        "thu|rsday",
        "fri|day",
        "sat|urday",
        "sun|day",
    ],
    [
        "mo|ntag",
        "di|enstag",
        "mi|ttwoch",
        "do|nnerstag",
        "fr|eitag",
        "sa|mstag",
        "so|nntag",
    ],
    [
        "lun|di",
        "mar|di",
        "mer|credi",
        "jeu|di",
        "ven|dredi",
        "sam|edi",
        "dim|anche",
    ],
    [
        "lun|es",
        "mar|tes",
        "mié|rcoles",
        "jue|ves",
        "vie|rnes",
        "sáb|ado",
        "dom|ingo",
    ],
    [
        "lun|edì",
        "mar|tedì",
        "mer|coledì",
        "gio|vedì",
        "ven|erdì",
        "sab|ato",
        "dom|enica",
    ],
    [
        "seg|unda", "ter|ça", "qua|rta", "qui|nta", "sex|ta", "sáb|ado", "dom|ingo",
    ],
    [
        "ma|andag",
        "di|nsdag",
        "wo|ensdag",
        "do|nderdag",
        "vr|ijdag",
        "za|terdag",
        "zo|ndag",
    ],
];

/// What stands for the halves of the day, and whether it is the second.
const HALVES: [(&str, bool); 18] = [
    ("a.\u{a0}m.", false),
    ("p.\u{a0}m.", true),
    ("a.\u{202f}m.", false),
    ("p.\u{202f}m.", true),
    ("a. m.", false),
    ("p. m.", true),
    ("a.m.", false),
    ("p.m.", true),
    ("a m", false),
    ("p m", true),
    ("am", false),
    ("pm", true),
    ("上午", false),
    ("下午", true),
    ("午前", false),
    ("午後", true),
    ("오전", false),
    ("오후", true),
];

/// Maximum bytes of a word. None is longer.
const WORD_BYTES: usize = 32;

/// Returns the word at the start of a text in lower case, and its length in bytes; none if there is no letter.
fn word(text: &str) -> Option<(String, usize)> {
    let length = text
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(text.len());
    (1..=WORD_BYTES)
        .contains(&length)
        .then(|| (text[..length].to_lowercase(), length))
}

/// Whether a word is a name in full, or an abbreviation of at least the letters before the `|`.
fn is_name(word: &str, name: &str) -> bool {
    let (least, rest) = name.split_once('|').unwrap_or((name, ""));
    word.strip_prefix(least)
        .is_some_and(|end| rest.starts_with(end))
}

/// Returns the month that an English name at the start of a text means, and the length of the name.
pub(super) fn english_month(text: &[u8]) -> Option<(u32, usize)> {
    let length = text
        .iter()
        .take(WORD_BYTES)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let mut lower = [0; WORD_BYTES];
    lower[..length].copy_from_slice(&text[..length]);
    lower.make_ascii_lowercase();
    let word = std::str::from_utf8(&lower[..length])
        .ok()
        .filter(|word| word.len() >= 3)?;
    let at = MONTHS[0].iter().position(|name| is_name(word, name))?;
    Some((at as u32 + 1, length))
}

/// Returns the month that a name at the start of a text means in any of the languages, and the length of the name.
pub(super) fn month(text: &str) -> Option<(u32, usize)> {
    if let Some(found) = english_month(text.as_bytes()) {
        return Some(found);
    }
    let (word, length) = word(text)?;
    let mut tables = MONTHS.iter().flat_map(|months| (1..).zip(months));
    let named = tables.find(|(_, name)| is_name(&word, name));
    let other = || {
        OTHER_MONTHS
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, month)| *month)
    };
    let month = named.map(|(month, _)| month).or_else(other)?;
    Some((month, length))
}

/// Returns the days of the week that a name at the start of a text may mean (from 0, Monday, one bit each), and the
/// length of the name. An abbreviation may mean two days in two languages.
pub(super) fn weekdays(text: &str) -> Option<(u8, usize)> {
    let (word, length) = word(text)?;
    let tables = WEEKDAYS.iter().flat_map(|days| days.iter().enumerate());
    let days = tables
        .filter(|(_, name)| is_name(&word, name))
        .fold(0_u8, |days, (at, _)| days | 1 << at);
    (days != 0).then_some((days, length))
}

/// Returns the day of the week that an English word means, as [`weekdays`] does.
pub(super) fn english_weekday(word: &str) -> Option<u8> {
    let word = word.to_ascii_lowercase();
    let mut names = WEEKDAYS[0].iter();
    let at = names.position(|name| is_name(&word, name))?;
    Some(1 << at)
}

/// Returns whether the marker at the start of a text means the second half of the day, and the length of the marker.
pub(super) fn half_of_day(text: &str) -> Option<(bool, usize)> {
    HALVES.iter().find_map(|(marker, second)| {
        let head = text.get(..marker.len())?;
        let ends = text[marker.len()..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphabetic() || !marker.is_ascii());
        (head.eq_ignore_ascii_case(marker) && ends).then_some((*second, marker.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_months() {
        for (at, months) in MONTHS.iter().enumerate() {
            for (month, name) in (1..).zip(months) {
                let (least, rest) = name.split_once('|').expect("a mark");
                for end in 0..=rest.chars().count() {
                    let word: String = least.chars().chain(rest.chars().take(end)).collect();
                    assert_eq!(month_of(&word), Some(month), "{word} of language {at}");
                }
            }
        }
    }

    fn month_of(word: &str) -> Option<u32> {
        month(word).map(|(month, _)| month)
    }

    #[test]
    fn words_are_read_in_any_case_and_only_in_whole() {
        assert_eq!(english_month(b"NOVember 1"), Some((11, 8)));
        assert_eq!(english_month(b"Sept."), Some((9, 4)));
        assert_eq!(english_month(b"Novel"), None);
        assert_eq!(english_month(b"No"), None);
        assert_eq!(month_of("MÄRZ"), Some(3));
        assert_eq!(month_of("août"), Some(8));
        assert_eq!(weekdays("Tuesday, 1"), Some((2, 7)));
        assert_eq!(weekdays("dimanche"), Some((64, 8)));
        assert_eq!(half_of_day("P. M."), Some((true, 5)));
        assert_eq!(half_of_day("pm"), Some((true, 2)));
        assert_eq!(half_of_day("pmx"), None);
        assert_eq!(half_of_day("午後3時"), Some((true, 6)));
    }
}
