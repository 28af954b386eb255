//! The options of `import` that are sent with each file.

/// Options of an upload.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UploadArgs {
    /// Use this profile of the service for options that are not given here
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Report what would be stored and rejected, without storing anything
    #[arg(long)]
    pub dry_run: bool,
    /// Namespace of event identities: the same identity in two sources is two events
    #[arg(long)]
    pub source: Option<String>,
    /// Columns that together identify an event
    #[arg(long, value_name = "COLUMN,…")]
    pub key: Option<String>,
    /// What identifies an event: auto (the event id), row (all columns) or none
    #[arg(long, value_parser = ["auto", "row", "none"])]
    pub dedupe: Option<String>,
    /// Formats of the timestamps, such as %d/%m/%Y, with | between them; `excel` for spreadsheet numbers
    #[arg(long, value_name = "STRFTIME")]
    pub timestamp_format: Option<String>,
    /// Time zone of times without an offset; by default that of the service
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// The known columns, such as `user_id:candidate_id,timestamp:date+time,event_type:="call"`
    #[arg(long, value_name = "NAME:COLUMN,…")]
    pub columns: Option<String>,
    /// Whether the first line names the columns, or which column it leaves out
    #[arg(long, value_parser = ["auto", "none", "unnamed-first", "unnamed-last"])]
    pub header: Option<String>,
    /// What stands for a missing value in the known columns
    #[arg(long, value_name = "TEXT,…")]
    pub null_values: Option<String>,
    /// Effect of a row without a user: reject, or keep (an event without a user)
    #[arg(long, value_parser = ["reject", "keep"])]
    pub anonymous: Option<String>,
    /// Encoding, such as windows-1252; detected by default
    #[arg(long, value_name = "LABEL")]
    pub encoding: Option<String>,
    /// Delimiter: a character, or comma, semicolon, tab, pipe or space; detected by default
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<String>,
    /// Quote character, " or ', or none; detected by default
    #[arg(long, value_name = "CHAR")]
    pub quote: Option<String>,
    /// Escape of a quote within quotes: doubled or backslash; detected by default
    #[arg(long, value_parser = ["doubled", "backslash"])]
    pub escape: Option<String>,
    /// Effect of an invalid row: skip (reject the row) or abort (store nothing)
    #[arg(long, value_parser = ["skip", "abort"])]
    pub on_error: Option<String>,
    /// Store nothing if more rows than this are invalid
    #[arg(long, value_name = "ROWS")]
    pub max_errors: Option<u64>,
    /// Store nothing if a larger share of the rows is invalid, such as 0.01
    #[arg(long, value_name = "RATIO")]
    pub max_error_ratio: Option<f64>,
    /// Batch whose rejected rows this file corrects
    #[arg(long, value_name = "BATCH")]
    pub parent: Option<String>,
}

impl UploadArgs {
    /// Returns the given options by the names of the service.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            profile,
            dry_run,
            source,
            key,
            dedupe,
            timestamp_format,
            time_zone,
            columns,
            header,
            null_values,
            anonymous,
            encoding,
            delimiter,
            quote,
            escape,
            on_error,
            max_errors,
            max_error_ratio,
            parent,
        } = self.clone();
        let given = [
            ("profile", profile),
            ("dry_run", dry_run.then(|| "true".into())),
            ("source", source),
            ("key", key),
            ("dedupe", dedupe),
            ("timestamp_format", timestamp_format),
            ("time_zone", time_zone),
            ("columns", columns),
            ("header", header),
            ("null_values", null_values),
            ("anonymous", anonymous),
            ("encoding", encoding),
            ("delimiter", delimiter),
            ("quote", quote),
            ("escape", escape),
            ("on_error", on_error),
            ("max_errors", max_errors.map(|most| most.to_string())),
            (
                "max_error_ratio",
                max_error_ratio.map(|most| most.to_string()),
            ),
            ("parent", parent),
        ];
        let stated = |(name, value): (_, Option<String>)| Some((name, value?));
        given.into_iter().filter_map(stated).collect()
    }
}
