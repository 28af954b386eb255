//! The options of an upload. This is the only module that parses their names and values.

mod name;
mod value;

use std::collections::BTreeMap;

use super::ErrorTolerance;
use crate::{
    model::{BatchId, ProfileName},
    parse::{self, ParseOptionError, Parser},
    receive,
};
pub use name::{OptionName, OptionScope};
use value::Stated;
pub(super) use value::clip;

/// Why an option is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionFault {
    /// The option does not exist.
    #[error("there is no option `{0}`: the options are {list}", list = OptionName::list())]
    Unknown(String),
    /// The value is not UTF-8.
    #[error("the option `{0}` is not UTF-8 text")]
    NotText(String),
    /// A profile has an option that belongs to a single upload.
    #[error(
        "the option `{0}` is of one file, so it can't be in a profile: send it with each upload"
    )]
    OfOneFile(OptionName),
    /// The profile does not exist.
    #[error("there is no profile `{name}`{}", if .there.is_empty() { ": put one with PUT /profiles/<name>".into() } else { format!(": there are {}", .there.join(", ")) })]
    NoProfile {
        /// The name as sent, clipped.
        name: String,
        /// Some profiles that exist.
        there: Vec<String>,
    },
    /// The parent does not exist.
    #[error("`parent` can't be `{0}`: there is no such batch, or it was deleted")]
    NoParent(String),
    /// The option is stated twice.
    #[error("the option `{0}` is given twice")]
    Twice(OptionName),
    /// The value is invalid.
    #[error("the option `{name}` can't be `{value}`: {expected}")]
    Value {
        /// The option.
        name: OptionName,
        /// The value as sent, clipped.
        value: String,
        /// The values that are valid.
        expected: String,
    },
    /// Both a key and `dedupe` are stated.
    #[error(
        "`key` and `dedupe={0}` contradict each other: with a key its columns tell events apart, so leave one of them out"
    )]
    KeyAndDedupe(&'static str),
    /// The key has a column twice.
    #[error("`key` names the column `{0}` twice: name it once")]
    KeyTwice(String),
    /// The parser refuses its options.
    #[error(transparent)]
    Parse(#[from] ParseOptionError),
}

/// What identifies an event if no key is stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dedupe {
    /// The event id, if the event has one.
    #[default]
    Auto,
    /// All cells of the row.
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

/// The options of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// The namespace of the event ids.
    pub source: String,
    /// The labels of the columns that identify an event; empty if none are stated.
    pub key: Vec<String>,
    /// What identifies an event, if `key` is empty.
    pub dedupe: Dedupe,
    /// The profile that supplied options, if any.
    pub profile: Option<ProfileName>,
    /// The name of the file, to show to people.
    pub file_name: Option<String>,
    /// The packing and the encoding of the file.
    pub receive: receive::Options,
    /// How the file is parsed.
    pub parse: parse::Options,
    /// How many rejected rows the file may have.
    pub tolerance: ErrorTolerance,
    /// The batch whose rejected rows were corrected in this file, if any.
    pub parent: Option<BatchId>,
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// The options of [`OptionScope::Meaning`], as stated. Corrected rows of the file inherit them.
    pub meaning: BTreeMap<String, String>,
}

impl UploadOptions {
    /// Parses names and values, in any order.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and its valid values.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, OptionFault> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for (name, value) in pairs {
            let value = value.as_ref();
            let option = options.set(name.as_ref(), value)?;
            if seen.contains(&option) {
                return Err(OptionFault::Twice(option));
            }
            seen.push(option);
            if option.scope() == OptionScope::Meaning && !value.is_empty() {
                let meaning = &mut options.meaning;
                meaning.insert(option.as_str().into(), value.into());
            }
        }
        if !options.key.is_empty() && options.dedupe != Dedupe::Auto {
            return Err(OptionFault::KeyAndDedupe(options.dedupe.as_str()));
        }
        // Only the parser can check formats and mappings.
        Parser::new(options.parse.clone(), parse::Limits::default())?;
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<OptionName, OptionFault> {
        // A decoder writes this character in place of bytes that are not UTF-8.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(OptionFault::NotText(clip(name)));
        }
        let unknown = || OptionFault::Unknown(clip(name));
        let option = OptionName::of(name).ok_or_else(unknown)?;
        let stated = Stated { option, value };
        match option {
            OptionName::Source => self.source = stated.source()?,
            OptionName::Key => self.key = stated.key()?,
            OptionName::Dedupe => self.dedupe = stated.dedupe()?,
            OptionName::Encoding => self.receive.encoding = Some(stated.encoding()?),
            OptionName::Delimiter => self.parse.dialect.delimiter = Some(stated.delimiter()?),
            OptionName::Quote => self.parse.dialect.quote = Some(stated.quote()?),
            OptionName::Escape => self.parse.dialect.escape = Some(stated.escape()?),
            OptionName::TimestampFormat => {
                self.parse.timestamp_format = stated.timestamp_format()?;
            }
            OptionName::TimeZone => {
                self.parse.time_zone = stated.time_zone()?;
            }
            OptionName::Columns => self.parse.columns = stated.columns()?,
            OptionName::Header => self.parse.header = stated.header()?,
            OptionName::NullValues => self.parse.null_values = Some(stated.null_values()?),
            OptionName::Anonymous => self.parse.keeps_anonymous = stated.anonymous()?,
            OptionName::OnError => self.tolerance.abort = stated.on_error()?,
            OptionName::MaxErrors => self.tolerance.max_errors = Some(stated.max_errors()?),
            OptionName::MaxErrorRatio => {
                self.tolerance.max_per_million = Some(stated.max_per_million()?);
            }
            OptionName::Name => self.file_name = Self::clean_file_name(value),
            // `Ingest::resolve_options` has replaced it by the options of the profile.
            OptionName::Profile => return Err(unknown()),
            OptionName::Parent => {
                self.parent = Some(stated.parent()?);
                self.parse.from_errors_csv = true;
            }
            OptionName::DryRun => self.dry_run = stated.dry_run()?,
        }
        Ok(option)
    }

    /// Returns a file name to show to people; `None` if it has no visible character.
    #[must_use]
    pub fn clean_file_name(name: &str) -> Option<String> {
        value::clean_file_name(name)
    }
}

#[cfg(test)]
mod tests;
