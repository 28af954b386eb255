//! The names and scopes of the upload options, in one table.

use std::fmt;

/// What an option applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionScope {
    /// The meaning of rows. These options also hold for corrected rows of the same file.
    Meaning,
    /// How a file is read, and how many rejected rows it may have.
    Reading,
    /// One upload only. These options cannot be in a profile.
    Upload,
}

/// The name of an upload option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "docs/uploads.md and `UploadOptions` describe them"
)]
pub enum OptionName {
    Source,
    Key,
    Dedupe,
    Encoding,
    Delimiter,
    Quote,
    Escape,
    TimestampFormat,
    TimeZone,
    Columns,
    Header,
    NullValues,
    Anonymous,
    OnError,
    MaxErrors,
    MaxErrorRatio,
    Name,
    Profile,
    Parent,
    DryRun,
}

impl OptionName {
    /// Every option, with its name and scope, in the order of the reply to an unknown one.
    const TABLE: [(Self, &'static str, OptionScope); 20] = [
        (Self::Source, "source", OptionScope::Meaning),
        (Self::Key, "key", OptionScope::Meaning),
        (Self::Dedupe, "dedupe", OptionScope::Meaning),
        (Self::Encoding, "encoding", OptionScope::Reading),
        (Self::Delimiter, "delimiter", OptionScope::Reading),
        (Self::Quote, "quote", OptionScope::Reading),
        (Self::Escape, "escape", OptionScope::Reading),
        (
            Self::TimestampFormat,
            "timestamp_format",
            OptionScope::Meaning,
        ),
        (Self::TimeZone, "time_zone", OptionScope::Meaning),
        (Self::Columns, "columns", OptionScope::Meaning),
        (Self::Header, "header", OptionScope::Reading),
        (Self::NullValues, "null_values", OptionScope::Meaning),
        (Self::Anonymous, "anonymous", OptionScope::Meaning),
        (Self::OnError, "on_error", OptionScope::Reading),
        (Self::MaxErrors, "max_errors", OptionScope::Reading),
        (Self::MaxErrorRatio, "max_error_ratio", OptionScope::Reading),
        (Self::Name, "name", OptionScope::Upload),
        (Self::Profile, "profile", OptionScope::Upload),
        (Self::Parent, "parent", OptionScope::Upload),
        (Self::DryRun, "dry_run", OptionScope::Upload),
    ];

    /// Returns the option with a name, if there is one.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let row = Self::TABLE.iter().find(|(_, known, _)| *known == name);
        row.map(|(option, _, _)| *option)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns what the option applies to.
    #[must_use]
    pub fn scope(self) -> OptionScope {
        self.row().2
    }

    /// Returns all names, separated by commas.
    pub(super) fn list() -> String {
        Self::TABLE.map(|(_, name, _)| name).join(", ")
    }

    fn row(self) -> &'static (Self, &'static str, OptionScope) {
        let row = Self::TABLE.iter().find(|(option, _, _)| *option == self);
        row.expect("the table has every option")
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
