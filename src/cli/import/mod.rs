//! `import`: uploads files to a service, processes them, and prints the counts and the daily figures. Uses a running
//! service, or starts one for the duration of the import.

mod client;
mod options;
mod report;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use chrono::NaiveDate;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{failed, refused};
use crate::{
    app::{App, AppError, Role},
    config::Config,
    model::with_causes,
    store::embedded::EmbeddedStore,
};
use client::{Client, ImportError};
pub use options::UploadArgs;
use wire::{Batch, Receipt};

/// Time between two reads of a batch.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Reads of a lock file whose owner has not yet written its URL.
const LOCK_READS: u32 = 50;

/// Options of `import`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Sends each file to --server, else to the server that runs on this DATA_DIR, else to one that it starts for
as long as the import takes. Rejected rows are listed and do not fail the import (exit code 0); a file that
is refused does (exit code 2). The same file twice is one batch, and known events are not counted again.

Examples:
  tallymill import events.csv
  tallymill import --source shop --columns user_id:candidate_id,timestamp:when jan.csv feb.csv
  tallymill import --profile shop --time-zone UTC jan.csv
  tallymill import --server http://127.0.0.1:3000 --time-zone Europe/Berlin events.csv
  tallymill import --errors bad.csv events.csv     then correct bad.csv, and: import --parent BATCH bad.csv
  tallymill import --dry-run --key order_id,user_id events.csv
  tallymill import --encoding windows-1252 --delimiter semicolon --on-error abort export.csv.gz
  psql -c 'COPY events TO STDOUT CSV HEADER' | tallymill import -")]
pub struct Import {
    /// CSV files; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the files are read and stored
    #[command(flatten)]
    pub upload: UploadArgs,
    /// Write the rejected rows to this file, to be corrected and imported with --parent
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// URL of the service
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// If a file is refused, send it again with the options that its values prove
    #[arg(long)]
    pub follow_proposals: bool,
    /// Process batches again that are completed
    #[arg(long)]
    pub force: bool,
}

/// Longest range of days in one request for metrics.
const DAYS_PER_REQUEST: i64 = 366;

/// Imports the files.
pub async fn run(options: &Import, config: Config) -> ExitCode {
    match import(options, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why @ (ImportError::Refused(_) | ImportError::Proposed { .. })) => refused(&why),
        Err(why @ ImportError::Failed(_)) => failed(&why),
    }
}

async fn import(options: &Import, config: Config) -> Result<(), ImportError> {
    let is_url = |file: &&PathBuf| {
        let name = file.to_string_lossy();
        name.starts_with("http://") || name.starts_with("https://")
    };
    if let Some(url) = options.files.iter().find(is_url) {
        let url = url.display();
        return Err(ImportError::Refused(format!(
            "{url} is no file: name the service with --server {url}, or import what is there with: curl -sS '{url}' | tallymill import -"
        )));
    }
    if options.errors.is_some() && options.files.len() > 1 {
        let why = "--errors takes the rejected rows of one file: import the files one by one";
        return Err(ImportError::Refused(why.into()));
    }
    if let Some(to) = &options.errors
        && options.files.iter().any(|file| is_same_file(file, to))
    {
        let why =
            "--errors names the file that is imported: name another one, so that it is not lost";
        return Err(ImportError::Refused(why.into()));
    }
    let running = match &options.server {
        Some(url) => Some(url.clone()),
        // A server on this DATA_DIR has another store.
        None if config.has_shared_store() => None,
        None => find_server(&config.data_dir).await?,
    };
    if let Some(url) = running {
        return import_files(&Client::new(&url)?, options).await;
    }
    let (service, url) = TemporaryService::start(config).await?;
    let imported = match Client::new(&url) {
        Ok(client) => import_files(&client, options).await,
        Err(why) => Err(why),
    };
    imported.and(service.stop().await)
}

/// Returns whether two paths lead to one existing file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

/// Returns the URL of the server that owns a data directory, if one runs.
async fn find_server(dir: &Path) -> Result<Option<String>, ImportError> {
    for _ in 0..LOCK_READS {
        match EmbeddedStore::holder(dir) {
            None => return Ok(None),
            Some(holder) if holder.url.is_some() => return Ok(holder.url),
            Some(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
    Err(ImportError::Refused(format!(
        "{} is in use by another process that does not answer: stop it, or name a server with --server",
        dir.display()
    )))
}

/// A service in this process for the duration of the import.
struct TemporaryService {
    stop: CancellationToken,
    serving: JoinSet<Result<(), AppError>>,
}

impl TemporaryService {
    async fn start(config: Config) -> Result<(Self, String), ImportError> {
        let config = Config {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            upload_limit: 0,
            ..config
        };
        let app = App::build(config, Role::Full)
            .await
            .map_err(|why| ImportError::Refused(with_causes(&why)))?;
        let (url, stop) = (app.url().to_owned(), CancellationToken::new());
        let mut serving = JoinSet::new();
        serving.spawn(app.run(stop.clone()));
        Ok((Self { stop, serving }, url))
    }

    async fn stop(mut self) -> Result<(), ImportError> {
        self.stop.cancel();
        match self.serving.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(why))) => Err(ImportError::Failed(with_causes(&why))),
            Some(Err(why)) => Err(ImportError::Failed(why.to_string())),
        }
    }
}

async fn import_files(client: &Client, options: &Import) -> Result<(), ImportError> {
    let (mut first_error, mut sums) = (None, report::Sums::default());
    for file in &options.files {
        let name = file.display().to_string();
        let imported = if file.as_os_str() == "-" {
            let spooled = spool_stdin().await?;
            import_file(client, options, "stdin", spooled.path(), &mut sums).await
        } else {
            import_file(client, options, &name, file, &mut sums).await
        };
        let Err(why) = imported else { continue };
        let why = match why {
            ImportError::Refused(why) | ImportError::Proposed { text: why, .. } => {
                ImportError::Refused(format!("{name}: {why}"))
            }
            ImportError::Failed(why) => ImportError::Failed(format!("{name}: {why}")),
        };
        // The other files are imported nevertheless; the first error decides the exit code.
        match first_error {
            None => first_error = Some(why),
            Some(_) => super::print_error(&why),
        }
    }
    print(&sums.text());
    first_error.map_or(Ok(()), Err)
}

/// Copies standard input to a file, since an upload states its length and may be sent twice.
async fn spool_stdin() -> Result<tempfile::NamedTempFile, ImportError> {
    let copied = tokio::task::spawn_blocking(|| {
        let mut file = tempfile::NamedTempFile::new()?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        file.flush()?;
        Ok(file)
    });
    let copied: io::Result<_> = copied
        .await
        .unwrap_or_else(|why| Err(io::Error::other(why)));
    copied.map_err(|why| ImportError::Failed(format!("can't store standard input: {why}")))
}

async fn import_file(
    client: &Client,
    options: &Import,
    name: &str,
    path: &Path,
    sums: &mut report::Sums,
) -> Result<(), ImportError> {
    // The bar hides itself if stderr is not a terminal.
    let bar = ProgressBar::new(0).with_style(style("{msg} {wide_bar} {bytes}/{total_bytes} {eta}"));
    bar.set_message(format!("uploading {}", report::plain(name)));
    let receipt = upload(client, options, path, &bar).await?;
    bar.finish_and_clear();
    print(&report::receipt(name, &receipt));
    sums.add(&receipt);
    if receipt.dry_run {
        return Ok(());
    }
    if let (Some(to), true) = (&options.errors, receipt.failed_count > 0) {
        client.save_errors(&receipt.batch_id, to).await?;
        print(&report::saved_errors(to, &receipt.batch_id));
    }
    let bar =
        ProgressBar::new(0).with_style(style("{spinner} {msg} {wide_bar} {human_pos}/{human_len}"));
    bar.set_message(format!("processing {}", report::plain(name)));
    client
        .process(&receipt.batch_id, options.force, &bar)
        .await?;
    let batch = wait_until_processed(client, &receipt.batch_id, &bar).await?;
    let mut days = Vec::new();
    // A batch may span more days than one reply has.
    for (from, to) in day_ranges(&batch.days) {
        match client.metrics(from, to, &bar).await {
            Ok(metrics) => days.extend(metrics.data),
            Err(why) => {
                let why = format!("the figures from {from} to {to} can't be shown: {why}");
                super::print_error(&why);
            }
        }
    }
    bar.finish_and_clear();
    days.retain(|day| batch.days.contains(&day.date));
    if let Some(counts) = &batch.published {
        print(&report::published(counts));
    }
    if !days.is_empty() {
        print(&format!("\n{}\n", report::table(&days)));
    }
    Ok(())
}

/// Uploads a file. With `--follow-proposals` a refused file is sent again with the options that its values prove.
async fn upload(
    client: &Client,
    options: &Import,
    path: &Path,
    bar: &ProgressBar,
) -> Result<Receipt, ImportError> {
    let mut query = query(options, path);
    loop {
        match client.upload(path, &query, bar).await {
            Err(ImportError::Proposed { text, proven }) if options.follow_proposals => {
                let before = query.len();
                for (name, value) in &proven {
                    let known = FOLLOWED.iter().find(|known| **known == name.as_str());
                    let is_new = query.iter().all(|(stated, _)| *stated != name.as_str());
                    if let (Some(known), true) = (known, is_new) {
                        query.push((*known, value.clone()));
                        bar.suspend(|| eprintln!("following a proposal: {known}={value}"));
                    }
                }
                if query.len() == before {
                    return Err(ImportError::Refused(text));
                }
            }
            uploaded => return uploaded,
        }
    }
}

/// Options that `--follow-proposals` adds. What is stated is never changed.
const FOLLOWED: [&str; 4] = ["timestamp_format", "columns", "quote", "header"];

/// Groups days into ranges of at most a year; returns the first and the last day of each.
fn day_ranges(days: &[String]) -> Vec<(&String, &String)> {
    let date = |day: &String| day.parse::<NaiveDate>().unwrap_or_default();
    let mut ranges: Vec<(&String, &String)> = Vec::new();
    let mut days: Vec<&String> = days.iter().collect();
    days.sort_unstable();
    for day in days {
        match ranges.last_mut() {
            Some((from, to)) if (date(day) - date(from)).num_days() < DAYS_PER_REQUEST => *to = day,
            Some(_) | None => ranges.push((day, day)),
        }
    }
    ranges
}

/// Waits until a batch is processed.
async fn wait_until_processed(
    client: &Client,
    id: &str,
    bar: &ProgressBar,
) -> Result<Batch, ImportError> {
    loop {
        let batch = client.batch(id, bar).await?;
        let job = batch.job.clone().unwrap_or_default();
        match batch.status.as_str() {
            "completed" => return Ok(batch),
            "failed" => {
                let why = job.last_error.unwrap_or_else(|| "no reason given".into());
                return Err(ImportError::Failed(format!(
                    "batch {id} could not be processed: {why}; the file stays stored, try `POST /batches/{id}/process` once the cause is removed"
                )));
            }
            "deleting" | "deleted" => {
                return Err(ImportError::Failed(format!(
                    "batch {id} was deleted meanwhile"
                )));
            }
            _ => {}
        }
        if let Some(progress) = job.progress {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.set_message(progress.phase);
        } else if let (Some(why), "queued") = (&job.last_error, job.state.as_str()) {
            let (attempt, of) = (job.attempt, job.max_attempts);
            bar.set_message(format!("attempt {attempt} of {of} failed: {why}"));
        }
        bar.tick();
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn query(options: &Import, path: &Path) -> Vec<(&'static str, String)> {
    let name = match options.files.iter().any(|file| file == path) {
        true => path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        false => Some("stdin.csv".into()),
    };
    let name = name.map(|name| ("name", name));
    name.into_iter().chain(options.upload.pairs()).collect()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template of this file")
}

/// Prints to stdout. A closed pipe is no error, as with `head`.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
