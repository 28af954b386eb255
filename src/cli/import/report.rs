//! Formats the output of `import`: receipts, the first errors, the daily table, as aligned plain text.

use std::{fmt::Write, path::Path};

use super::wire::{Day, Event, Problem, Published, Receipt, RowError};

/// Rejected rows that are printed.
pub(super) const PRINTED_ERRORS: usize = 10;

/// Returns the counts of an upload, the first errors and the hints.
pub(super) fn receipt(name: &str, receipt: &Receipt) -> String {
    let Receipt {
        batch_id,
        received_count,
        inserted_count,
        failed_count,
        blank_count,
        errors,
        identity,
        duplicate_of,
        dry_run,
        sample,
        proposals,
        warnings,
    } = receipt;
    let mut text = if *dry_run {
        format!("{}: dry run, nothing stored\n", plain(name))
    } else {
        format!("{}: batch {}\n", plain(name), plain(batch_id))
    };
    if duplicate_of.is_some() {
        text += "  the same file was uploaded before, as this batch\n";
    }
    for (label, count) in [
        ("received", received_count),
        ("inserted", inserted_count),
        ("failed", failed_count),
        ("blank", blank_count),
    ] {
        let _ = writeln!(text, "  {label:<9} {:>13}", grouped(*count));
    }
    text += &row_errors(errors, *failed_count);
    let hints = identity.hint.iter();
    let hints = hints.chain(proposals.iter().map(|proposal| &proposal.detail));
    for hint in hints.chain(warnings.iter().map(|warning| &warning.message)) {
        let _ = writeln!(text, "  hint: {}", as_argument(&plain(hint)));
    }
    text + &events(sample)
}

/// The counts of several files.
#[derive(Debug, Default)]
pub(super) struct Sums {
    files: u64,
    counts: [u64; 4],
}

impl Sums {
    /// Adds a file.
    pub(super) fn add(&mut self, receipt: &Receipt) {
        self.files += 1;
        let Receipt {
            received_count,
            inserted_count,
            failed_count,
            blank_count,
            ..
        } = receipt;
        let counts = [received_count, inserted_count, failed_count, blank_count];
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    /// Returns the sums of all files; nothing for a single one.
    pub(super) fn text(&self) -> String {
        if self.files < 2 {
            return String::new();
        }
        let mut text = format!("\n{} files\n", grouped(self.files));
        for (label, count) in ["received", "inserted", "failed", "blank"]
            .iter()
            .zip(self.counts)
        {
            let _ = writeln!(text, "  {label:<9} {:>13}", grouped(count));
        }
        text
    }
}

/// Returns where the rejected rows were saved, and how to import them.
pub(super) fn saved_errors(to: &Path, batch_id: &str) -> String {
    format!(
        "  the rejected rows are in {}: correct them, then import that file with --parent {}\n",
        to.display(),
        plain(batch_id)
    )
}

/// Returns the events of a dry run, one a line.
fn events(sample: &[Event]) -> String {
    let mut text = String::new();
    for event in sample {
        let Event {
            line,
            event_id,
            event_type,
            user_id,
            timestamp,
        } = event;
        let id = event_id.as_deref().unwrap_or("-");
        let cells = [timestamp, event_type, user_id, id].map(plain).join("  ");
        let _ = writeln!(text, "  line {line:<6} {cells}");
    }
    text
}

/// Returns the first errors, one a line, and the number of the others.
pub(super) fn row_errors(errors: &[RowError], all: u64) -> String {
    let (mut text, mut printed) = (String::new(), None);
    for error in errors.iter().take(PRINTED_ERRORS) {
        let line = error.line;
        if error.faults.is_empty() {
            let _ = writeln!(text, "  line {line}: {}", plain(&error.error_reason));
        }
        for fault in &error.faults {
            let column = fault.column.as_ref();
            let column = column.map_or(String::new(), |c| format!(", column {}", plain(c)));
            let (message, code) = (plain(&fault.message), plain(&fault.code));
            let value = fault.value.as_deref().map_or("", str::trim);
            let value = match value {
                "" => String::new(),
                value => format!(": {}", plain(value)),
            };
            let _ = writeln!(text, "  line {line}{column}: {message}{value} ({code})");
            // Faults of one kind come in runs; their hint is printed once.
            if let Some(hint) = &fault.hint
                && printed != Some(hint)
            {
                let _ = writeln!(text, "    → {}", as_argument(&plain(hint)));
                printed = Some(hint);
            }
        }
    }
    let shown = errors.len().min(PRINTED_ERRORS) as u64;
    if all > shown && shown > 0 {
        let _ = writeln!(text, "  … and {} more", grouped(all - shown));
    }
    text
}

/// Returns the counts of a processed batch.
pub(super) fn published(counts: &Published) -> String {
    let Published {
        counted,
        duplicate,
        conflict,
    } = counts;
    let mut text = String::new();
    for (label, count) in [
        ("counted", counted),
        ("duplicate", duplicate),
        ("conflict", conflict),
    ] {
        let _ = writeln!(text, "  {label:<9} {:>13}", grouped(*count));
    }
    text
}

/// Returns the text of a problem with the rows that it lists.
pub(super) fn problem(problem: &Problem) -> String {
    let Problem {
        title,
        detail,
        code,
        errors,
        proposals: _,
    } = problem;
    let what = if detail.is_empty() { title } else { detail };
    let mut text = as_argument(&plain(what));
    if !code.is_empty() {
        let _ = write!(text, " ({})", plain(code));
    }
    let rows = row_errors(errors, errors.len() as u64);
    if !rows.is_empty() {
        let _ = write!(text, "\n{}", rows.trim_end());
    }
    text
}

/// Returns the figures of days as a table: a row per event type and a total per day.
pub(super) fn table(days: &[Day]) -> String {
    let head = ["date", "event type", "count", "unique users"].map(str::to_owned);
    let mut rows = vec![head];
    for day in days {
        for figure in &day.metrics {
            rows.push([
                plain(&day.date),
                plain(&figure.event_type),
                grouped(figure.count),
                grouped(figure.unique_users),
            ]);
        }
        rows.push([
            plain(&day.date),
            "total".into(),
            grouped(day.total),
            grouped(day.unique_users),
        ]);
    }
    let widths: [usize; 4] =
        std::array::from_fn(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for [date, kind, count, users] in &rows {
        let [a, b, c, d] = widths;
        let _ = writeln!(text, "{date:<a$}  {kind:<b$}  {count:>c$}  {users:>d$}");
    }
    text
}

/// Replaces options of the service in a hint by the arguments of the command, quoted for a shell.
fn as_argument(text: &str) -> String {
    let mut parts = text.split('`');
    let mut hint = parts.next().unwrap_or_default().to_owned();
    let mut is_inside = true;
    let rest: Vec<_> = parts.collect();
    for (at, part) in rest.iter().enumerate() {
        let is_closed = at + 1 < rest.len();
        match part.split_once('=') {
            Some((name, value)) if is_inside && is_closed && ARGUMENTS.contains(&name) => {
                let argument = name.replace('_', "-");
                hint += &format!("`--{argument} {}`", quoted(value));
            }
            _ if is_inside && is_closed => hint += &format!("`{part}`"),
            _ if is_inside => hint += &format!("`{part}"),
            _ => hint += part,
        }
        is_inside = !is_inside;
    }
    hint.replace("send `--", "pass `--")
}

/// The options of the service that are arguments of the command.
const ARGUMENTS: [&str; 12] = [
    "columns",
    "timestamp_format",
    "time_zone",
    "key",
    "dedupe",
    "delimiter",
    "quote",
    "encoding",
    "header",
    "anonymous",
    "null_values",
    "parent",
];

/// Returns a value as one word of a shell.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// Formats `1234567` as `1,234,567`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Replaces control characters, since text of a file must not control the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_hints_are_quoted_for_a_shell() {
        for (hint, text) in [
            (
                "send `timestamp_format=%d/%m/%Y %H:%M`",
                "pass `--timestamp-format '%d/%m/%Y %H:%M'`",
            ),
            (
                "x: send `columns=user_id:Who's`, or rename it",
                "x: pass `--columns 'user_id:Who'\\''s'`, or rename it",
            ),
            (
                "`time_zone=Asia/Tokyo` and `a=b`",
                "`--time-zone Asia/Tokyo` and `a=b`",
            ),
            ("a lone ` stays", "a lone ` stays"),
            ("plain", "plain"),
        ] {
            assert_eq!(as_argument(hint), text);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn table_is_aligned_with_totals_of_each_day() {
        let days = serde_json::json!([
            {"date": "2025-11-01", "total": 1010, "unique_users": 7, "metrics": [
                {"event_type": "login", "count": 10, "unique_users": 5},
                {"event_type": "achat_\u{1b}é", "count": 1000, "unique_users": 4}]},
        ]);
        let days: Vec<Day> = serde_json::from_value(days).expect("days");
        assert_eq!(
            table(&days),
            "date        event type  count  unique users\n\
             2025-11-01  login          10             5\n\
             2025-11-01  achat_\u{fffd}é    1,000             4\n\
             2025-11-01  total       1,010             7\n"
        );
    }

    #[test]
    fn first_errors_are_listed_with_line_and_column() {
        let error = |line: u64| {
            serde_json::json!({"line": line, "faults": [
                {"column": "timestamp", "code": "invalid-timestamp", "message": "not a date"}]})
        };
        let json = serde_json::json!({
            "batch_id": "b", "received_count": 100, "inserted_count": 88, "failed_count": 12,
            "errors": (1..=12).map(error).collect::<Vec<_>>(), "identity": {"hint": "use key=id"},
        });
        let text = receipt("x.csv", &serde_json::from_value(json).expect("a receipt"));
        assert!(text.contains("  line 1, column timestamp: not a date (invalid-timestamp)\n"));
        assert!(!text.contains("line 11,"));
        assert!(
            text.contains("  … and 2 more\n  hint: use key=id\n"),
            "{text}"
        );
    }
}
