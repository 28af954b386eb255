//! Options of an upload: names and values as a client sends them, checked once.

use std::collections::{BTreeMap, HashSet};

use super::Strictness;
use crate::{
    model::{BatchId, ProfileName},
    parse::{self, Escape, EventField, ParseOptionError, Parser},
    receive::{self, Encoding},
};

/// Longest text of one option.
const VALUE_BYTES: usize = 4_096;
/// Longest source and file name.
const NAME_BYTES: usize = 255;
/// The options there are, for the reply to one that isn't.
const KNOWN: &str = "source, key, dedupe, encoding, delimiter, quote, escape, timestamp_format, time_zone, columns, on_error, max_errors, max_error_ratio, name, profile, parent, dry_run";

/// Options that say what the rows of a file mean.
const MEANING: [&str; 6] = [
    "source",
    "key",
    "dedupe",
    "timestamp_format",
    "time_zone",
    "columns",
];

/// An option that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionFault {
    /// No such option.
    #[error("there is no option `{0}`: the options are {KNOWN}")]
    Unknown(String),
    /// Bytes that are not text.
    #[error("the option `{0}` is not UTF-8 text")]
    NotText(String),
    /// An option of one file, in a profile.
    #[error(
        "the option `{0}` is of one file, so it can't be in a profile: send it with each upload"
    )]
    OfOneFile(&'static str),
    /// A profile that is not there.
    #[error("there is no profile `{name}`{}", if .there.is_empty() { ": put one with PUT /profiles/<name>".into() } else { format!(": there are {}", .there.join(", ")) })]
    NoProfile {
        /// What was asked for, clipped.
        name: String,
        /// Some that are there.
        there: Vec<String>,
    },
    /// A parent that is not there.
    #[error("`parent` can't be `{0}`: there is no such batch, or it was deleted")]
    NoParent(String),
    /// Given twice.
    #[error("the option `{0}` is given twice")]
    Twice(&'static str),
    /// A value that makes no sense.
    #[error("the option `{name}` can't be `{value}`: {expected}")]
    Value {
        /// The option.
        name: &'static str,
        /// What was given, clipped.
        value: String,
        /// What would be taken.
        expected: String,
    },
    /// Two ways to tell events apart.
    #[error(
        "`key` and `dedupe={0}` contradict each other: with a key its columns tell events apart, so leave one of them out"
    )]
    KeyAndDedupe(&'static str),
    /// Two labels of a key for one column.
    #[error("`key` names the column `{0}` twice: name it once")]
    KeyTwice(String),
    /// What the parser says to its options.
    #[error(transparent)]
    Parse(#[from] ParseOptionError),
}

/// What tells events apart, where no key does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dedupe {
    /// Their ids, as far as they have any.
    #[default]
    Auto,
    /// The whole row.
    Row,
    /// Nothing: every row counts.
    None,
}

impl Dedupe {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Row => "row",
            Self::None => "none",
        }
    }
}

/// How a file is to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// Namespace of the event ids.
    pub source: String,
    /// The columns that tell events apart, by their labels in the file; none if it is not by a key.
    pub key: Vec<String>,
    /// What tells events apart where it is not a key.
    pub dedupe: Dedupe,
    /// Where its defaults come from, if from a profile.
    pub profile: Option<ProfileName>,
    /// Name of the file, for people.
    pub file_name: Option<String>,
    /// How it is packed and encoded.
    pub receive: receive::Options,
    /// How it is read.
    pub parse: parse::Options,
    /// How many bad rows it may have.
    pub strictness: Strictness,
    /// The batch whose rejected rows these are, mended.
    pub parent: Option<BatchId>,
    /// Whether it is only looked at, and nothing stored.
    pub dry_run: bool,
    /// The options, as they are stated, that say what rows mean: they hold for rows that are mended, too.
    pub meaning: BTreeMap<String, String>,
}

impl UploadOptions {
    /// Reads options in any order.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and what it takes.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, OptionFault> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for (name, value) in pairs {
            let value = value.as_ref();
            let name = options.set(name.as_ref(), value)?;
            if seen.contains(&name) {
                return Err(OptionFault::Twice(name));
            }
            seen.push(name);
            if MEANING.contains(&name) && !value.is_empty() {
                options.meaning.insert(name.into(), value.into());
            }
        }
        if !options.key.is_empty() && options.dedupe != Dedupe::Auto {
            return Err(OptionFault::KeyAndDedupe(options.dedupe.as_str()));
        }
        // The parser knows which formats and mappings make sense.
        Parser::new(options.parse.clone(), parse::Limits::default())?;
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<&'static str, OptionFault> {
        let bad = |name, expected: String| OptionFault::Value {
            name,
            value: value.chars().take(80).collect(),
            expected,
        };
        let too_long = |name, limit: usize| bad(name, format!("at most {limit} bytes are taken"));
        // How a decoder marks bytes that are not text: stored, they would change what the option says.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            let shown = name.chars().take(80).collect();
            return Err(OptionFault::NotText(shown));
        }
        match name {
            "source" if value.len() > NAME_BYTES => return Err(too_long("source", NAME_BYTES)),
            "timestamp_format" if value.len() > VALUE_BYTES => {
                return Err(too_long("timestamp_format", VALUE_BYTES));
            }
            "columns" if value.len() > VALUE_BYTES => return Err(too_long("columns", VALUE_BYTES)),
            "key" if value.len() > VALUE_BYTES => return Err(too_long("key", VALUE_BYTES)),
            "key" => {
                let expected = "it is a list of columns such as `order_id,event_type`";
                self.key = labels(value)?.ok_or_else(|| bad("key", expected.into()))?;
            }
            "source" => value.trim().clone_into(&mut self.source),
            "on_error" => {
                self.strictness.abort = match value.trim() {
                    "abort" => true,
                    "skip" => false,
                    _ => return Err(bad("on_error", "it is `skip` or `abort`".into())),
                };
            }
            "max_errors" => {
                let most = value
                    .trim()
                    .parse()
                    .map_err(|_| bad("max_errors", "it is a whole number of rows".into()))?;
                self.strictness.errors = Some(most);
            }
            "max_error_ratio" => {
                let ratio = value
                    .trim()
                    .parse()
                    .ok()
                    .filter(|r| (0.0..=1.0).contains(r));
                let ratio: f64 = ratio.ok_or_else(|| {
                    bad(
                        "max_error_ratio",
                        "it is a part of the rows from 0 to 1, such as 0.01".into(),
                    )
                })?;
                self.strictness.per_million = Some((ratio * 1e6).round() as u32);
            }
            "delimiter" => {
                let expected = "it is one ASCII character, or comma, semicolon, tab, pipe or space";
                let one = character(value).ok_or_else(|| bad("delimiter", expected.into()))?;
                self.parse.dialect.delimiter = Some(one);
            }
            "quote" => {
                let expected = "it is one ASCII character, such as \" or '";
                let one = character(value).ok_or_else(|| bad("quote", expected.into()))?;
                self.parse.dialect.quote = Some(one);
            }
            "escape" => {
                let expected = "it is `doubled` or `backslash`";
                let escape = Escape::of_name(value.trim());
                self.parse.dialect.escape =
                    Some(escape.ok_or_else(|| bad("escape", expected.into()))?);
            }
            "encoding" => {
                let encoding = Encoding::of_label(value.trim()).ok_or_else(|| {
                    let expected = "it is a label of the Encoding Standard, such as utf-8, utf-16le, windows-1252 or shift_jis";
                    bad("encoding", expected.into())
                })?;
                self.receive.encoding = Some(encoding);
            }
            "dedupe" => {
                self.dedupe = match value {
                    "auto" | "" => Dedupe::Auto,
                    "row" => Dedupe::Row,
                    "none" => Dedupe::None,
                    _ => return Err(bad("dedupe", "it is `auto`, `row` or `none`".into())),
                }
            }
            "timestamp_format" => {
                self.parse.timestamp_format =
                    Some(value).filter(|v| !v.is_empty()).map(str::to_owned)
            }
            "time_zone" if value.is_empty() => {}
            "time_zone" => {
                self.parse.time_zone = value.parse().map_err(|_| {
                    bad(
                        "time_zone",
                        "it is an IANA name such as `Europe/Berlin`".into(),
                    )
                })?;
            }
            "columns" => {
                self.parse.columns = mapping(value).ok_or_else(|| bad("columns", columns_form()))?
            }
            "parent" => {
                let parent = value.trim().parse();
                let clipped = || OptionFault::NoParent(value.chars().take(80).collect());
                self.parent = Some(parent.map_err(|_| clipped())?);
                self.parse.from_errors_csv = true;
            }
            "dry_run" => {
                let flag = value.trim().parse();
                self.dry_run =
                    flag.map_err(|_| bad("dry_run", "it is `true` or `false`".into()))?;
            }
            "name" => self.file_name = Self::clean_name(value),
            _ => return Err(OptionFault::Unknown(name.chars().take(80).collect())),
        }
        Ok([
            "source",
            "key",
            "dedupe",
            "encoding",
            "delimiter",
            "quote",
            "escape",
            "timestamp_format",
            "time_zone",
            "columns",
            "on_error",
            "max_errors",
            "max_error_ratio",
            "parent",
            "dry_run",
            "name",
        ]
        .into_iter()
        .find(|known| *known == name)
        .expect("matched above"))
    }

    /// A name for people: no folders, no control characters, bounded; none if nothing is left.
    #[must_use]
    pub fn clean_name(given: &str) -> Option<String> {
        let base = given.rsplit(['/', '\\']).next().unwrap_or_default();
        let clean: String = base.chars().filter(|c| !c.is_control()).collect();
        let mut end = clean.len().min(NAME_BYTES);
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        Some(clean[..end].trim().to_owned()).filter(|name| !name.is_empty())
    }
}

/// A character by itself or by its name.
fn character(value: &str) -> Option<u8> {
    match value {
        "comma" => Some(b','),
        "semicolon" => Some(b';'),
        "tab" | "\\t" => Some(b'\t'),
        "pipe" => Some(b'|'),
        "space" => Some(b' '),
        _ => match value.as_bytes() {
            [one] if one.is_ascii() => Some(*one),
            _ => None,
        },
    }
}

/// Labels by commas, each once; none if one is blank.
fn labels(value: &str) -> Result<Option<Vec<String>>, OptionFault> {
    let labels: Vec<_> = value
        .split(',')
        .map(|label| label.trim().to_owned())
        .collect();
    let mut seen = HashSet::new();
    match labels
        .iter()
        .find(|label| !seen.insert(parse::normalize_label(label)))
    {
        Some(twice) if !twice.is_empty() => Err(OptionFault::KeyTwice(twice.clone())),
        Some(_) | None => Ok((!seen.contains("")).then_some(labels)),
    }
}

fn mapping(value: &str) -> Option<Vec<(EventField, String)>> {
    let parts = value.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (to, label) = part.split_once(':')?;
            let to = EventField::ALL
                .into_iter()
                .find(|required| required.name() == to.trim())?;
            Some((to, label.trim().to_owned())).filter(|(_, label)| !label.is_empty())
        })
        .collect()
}

fn columns_form() -> String {
    let names: Vec<_> = EventField::ALL.iter().map(|r| r.name()).collect();
    format!(
        "it is a list such as `user_id:candidate_id,event_type:action`, of {}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests;
