//! Parses the values of upload options.

use std::collections::HashSet;

use super::{Dedupe, OptionFault, OptionName};
use crate::{
    model::BatchId,
    parse::{self, Dialect, Escape, EventField, HeaderOption, Mapping, parse_mapping},
    receive::Encoding,
};

/// Maximum bytes of a source and of a file name.
pub(super) const NAME_BYTES: usize = 255;
/// Maximum bytes of the other values that are stored.
const VALUE_BYTES: usize = 4_096;
/// Maximum characters of a value in an error.
const SHOWN_CHARS: usize = 80;

/// An option with its value.
#[derive(Clone, Copy)]
pub(super) struct Stated<'a> {
    pub(super) option: OptionName,
    pub(super) value: &'a str,
}

type Result<T> = std::result::Result<T, OptionFault>;

/// Returns the beginning of a text, for an error.
pub(in crate::ingest) fn clip(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

impl<'a> Stated<'a> {
    fn invalid(self, expected: impl Into<String>) -> OptionFault {
        OptionFault::Value {
            name: self.option,
            value: clip(self.value),
            expected: expected.into(),
        }
    }

    fn at_most(self, bytes: usize) -> Result<&'a str> {
        if self.value.len() > bytes {
            return Err(self.invalid(format!("at most {bytes} bytes are taken")));
        }
        Ok(self.value)
    }

    pub(super) fn source(self) -> Result<String> {
        let source = self.at_most(NAME_BYTES)?.trim();
        if source.chars().any(is_invisible) {
            return Err(self.invalid("it has a control character, or one that is not visible"));
        }
        Ok(source.to_owned())
    }

    /// Returns the labels of a key: each once, and none of them blank.
    pub(super) fn key(self) -> Result<Vec<String>> {
        let labels: Vec<_> = self
            .at_most(VALUE_BYTES)?
            .split(',')
            .map(|label| label.trim().to_owned())
            .collect();
        let mut seen = HashSet::new();
        let repeated = labels
            .iter()
            .find(|label| !seen.insert(parse::normalize_label(label)));
        match repeated {
            Some(label) if !label.is_empty() => Err(OptionFault::KeyTwice(label.clone())),
            Some(_) | None if seen.contains("") => {
                Err(self.invalid("it is a list of columns such as `order_id,event_type`"))
            }
            Some(_) | None => Ok(labels),
        }
    }

    pub(super) fn dedupe(self) -> Result<Dedupe> {
        match self.value {
            "auto" | "" => Ok(Dedupe::Auto),
            "row" => Ok(Dedupe::Row),
            "none" => Ok(Dedupe::None),
            _ => Err(self.invalid("it is `auto`, `row` or `none`")),
        }
    }

    pub(super) fn encoding(self) -> Result<Encoding> {
        let expected = "it is a label of the Encoding Standard, such as utf-8, utf-16le, windows-1252 or shift_jis";
        Encoding::of_label(self.value.trim()).ok_or_else(|| self.invalid(expected))
    }

    pub(super) fn delimiter(self) -> Result<u8> {
        let expected = "it is one ASCII character, or comma, semicolon, tab, pipe, space, or ^A to ^_ for a control character";
        self.character(expected)
    }

    pub(super) fn quote(self) -> Result<u8> {
        match self.value.trim() {
            "none" => Ok(Dialect::NO_QUOTE),
            _ => self.character("it is `none`, or one ASCII character, such as \" or '"),
        }
    }

    /// Returns an ASCII character, stated by itself or by its name.
    fn character(self, expected: &str) -> Result<u8> {
        match self.value {
            "comma" => Ok(b','),
            "semicolon" => Ok(b';'),
            "tab" | "\\t" => Ok(b'\t'),
            "pipe" => Ok(b'|'),
            "space" => Ok(b' '),
            control if is_caret_form(control) => Ok(control.as_bytes()[1] - b'@'),
            other => match other.as_bytes() {
                [one] if one.is_ascii() => Ok(*one),
                _ => Err(self.invalid(expected)),
            },
        }
    }

    pub(super) fn escape(self) -> Result<Escape> {
        let escape = Escape::of_name(self.value.trim());
        escape.ok_or_else(|| self.invalid("it is `doubled` or `backslash`"))
    }

    /// Returns a format; `None` if the value is empty.
    pub(super) fn timestamp_format(self) -> Result<Option<String>> {
        let format = self.at_most(VALUE_BYTES)?;
        Ok(Some(format).filter(|v| !v.is_empty()).map(str::to_owned))
    }

    /// Returns a time zone; `None` if the value is empty.
    pub(super) fn time_zone(self) -> Result<Option<chrono_tz::Tz>> {
        if self.value.is_empty() {
            return Ok(None);
        }
        let zone = self.value.parse();
        zone.map(Some)
            .map_err(|_| self.invalid("it is an IANA name such as `Europe/Berlin`"))
    }

    /// Returns the label of each mapped column.
    pub(super) fn columns(self) -> Result<Mapping> {
        let mapping = parse_mapping(self.at_most(VALUE_BYTES)?);
        mapping.ok_or_else(|| {
            let names = EventField::ALL.map(|field| field.name()).join(", ");
            self.invalid(format!(
                "it is a list such as `user_id:candidate_id,timestamp:Date+Time,event_type:=\"call\"`, or an object in JSON, of {names}"
            ))
        })
    }

    pub(super) fn header(self) -> Result<HeaderOption> {
        let named = HeaderOption::ALL
            .iter()
            .find(|(name, _)| *name == self.value.trim());
        let names = HeaderOption::ALL
            .map(|(name, _)| format!("`{name}`"))
            .join(", ");
        named
            .map(|(_, option)| *option)
            .ok_or_else(|| self.invalid(format!("it is one of {names}")))
    }

    /// Returns what stands for a missing value; nothing does if the value is empty.
    pub(super) fn null_values(self) -> Result<Vec<String>> {
        let markers = self.at_most(VALUE_BYTES)?.split(',').map(str::trim);
        Ok(markers
            .filter(|marker| !marker.is_empty())
            .map(str::to_owned)
            .collect())
    }

    pub(super) fn anonymous(self) -> Result<bool> {
        match self.value.trim() {
            "keep" => Ok(true),
            "reject" => Ok(false),
            _ => Err(self.invalid("it is `reject` or `keep`")),
        }
    }

    pub(super) fn on_error(self) -> Result<bool> {
        match self.value.trim() {
            "abort" => Ok(true),
            "skip" => Ok(false),
            _ => Err(self.invalid("it is `skip` or `abort`")),
        }
    }

    pub(super) fn max_errors(self) -> Result<u64> {
        let max = self.value.trim().parse();
        max.map_err(|_| self.invalid("it is a whole number of rows"))
    }

    /// Returns a ratio as a number in a million.
    pub(super) fn max_per_million(self) -> Result<u32> {
        let ratio = self.value.trim().parse();
        let ratio: Option<f64> = ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        let expected = "it is a part of the rows from 0 to 1, such as 0.01";
        let ratio = ratio.ok_or_else(|| self.invalid(expected))?;
        Ok((ratio * 1e6).round() as u32)
    }

    pub(super) fn parent(self) -> Result<BatchId> {
        let parent = self.value.trim().parse();
        parent.map_err(|_| OptionFault::NoParent(clip(self.value)))
    }

    pub(super) fn dry_run(self) -> Result<bool> {
        let flag = self.value.trim().parse();
        flag.map_err(|_| self.invalid("it is `true` or `false`"))
    }
}

/// Whether a character is not seen, or changes the order in which others are seen: controls, marks of direction, zero width.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a text stands for a control character, such as `^A` for U+0001.
fn is_caret_form(text: &str) -> bool {
    matches!(text.as_bytes(), [b'^', b'A'..=b'_'])
}

/// Returns a file name to show to people: without folders and characters that are not seen, and not too long. Returns
/// `None` if nothing remains.
pub(super) fn clean_file_name(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base.chars().filter(|c| !is_invisible(*c)).collect();
    let mut end = clean.len().min(NAME_BYTES);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    Some(clean[..end].trim().to_owned()).filter(|name| !name.is_empty())
}
