//! Options of `import` that go with each file, as the service takes them.

/// Options of an upload.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UploadArgs {
    /// Take the options of this profile of the service for those that are not given here
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Only look: what would be stored, and which rows would be rejected; nothing is stored
    #[arg(long)]
    pub dry_run: bool,
    /// Where the events come from; the same identity in two sources is two events
    #[arg(long)]
    pub source: Option<String>,
    /// What makes two events the same: these columns together
    #[arg(long, value_name = "COLUMN,…")]
    pub key: Option<String>,
    /// What makes two events the same: auto (the event id), row (the whole row) or none
    #[arg(long, value_parser = ["auto", "row", "none"])]
    pub dedupe: Option<String>,
    /// The form of all timestamps, such as %d/%m/%Y; `excel` for the numbers of a spreadsheet
    #[arg(long, value_name = "STRFTIME")]
    pub timestamp_format: Option<String>,
    /// Where timestamps without an offset were written
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Columns by another name, such as `user_id:candidate_id,timestamp:when`
    #[arg(long, value_name = "NAME:COLUMN,…")]
    pub columns: Option<String>,
    /// The encoding, such as windows-1252; found out if not stated
    #[arg(long, value_name = "LABEL")]
    pub encoding: Option<String>,
    /// What separates cells: a character, or comma, semicolon, tab, pipe or space; found out if not stated
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<String>,
    /// What encloses cells, " or '; found out if not stated
    #[arg(long, value_name = "CHAR")]
    pub quote: Option<String>,
    /// How a quote within quotes is written: doubled or backslash; found out if not stated
    #[arg(long, value_parser = ["doubled", "backslash"])]
    pub escape: Option<String>,
    /// What a bad row does: skip (it is kept apart) or abort (nothing is stored)
    #[arg(long, value_parser = ["skip", "abort"])]
    pub on_error: Option<String>,
    /// Store nothing if more rows than this are bad
    #[arg(long, value_name = "ROWS")]
    pub max_errors: Option<u64>,
    /// Store nothing if a larger part of the rows is bad, such as 0.01
    #[arg(long, value_name = "RATIO")]
    pub max_error_ratio: Option<f64>,
    /// The batch whose rejected rows these are, mended
    #[arg(long, value_name = "BATCH")]
    pub parent: Option<String>,
}

impl UploadArgs {
    /// Those that are given, by the names that the service knows.
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
