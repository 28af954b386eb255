//! The HTTP client: one method per request. Waits as `Retry-After` asks, and separates refusals from failures.

use std::{path::Path, time::Duration};

use futures_util::TryStreamExt;
use indicatif::ProgressBar;
use reqwest::{Body, RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::{
    report,
    wire::{Batch, Metrics, Problem, Receipt},
};
use crate::model::with_causes;

/// Attempts of one request while the server is unavailable or busy.
const ATTEMPTS: u32 = 8;
/// First wait after a failure; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// Bytes of a file in one chunk.
const CHUNK_BYTES: usize = 256 * 1024;
/// Longest problem body that is read.
const PROBLEM_BYTES: usize = 1024 * 1024;

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImportError {
    /// The request can't be fulfilled: wrong arguments, settings or file.
    #[error("{0}")]
    Refused(String),
    /// The service refuses the file, and the values of the file prove the options that would change that.
    #[error("{text}")]
    Proposed {
        /// The problem in words.
        text: String,
        /// Names and values of the options.
        proven: Vec<(String, String)>,
    },
    /// The request failed.
    #[error("{0}")]
    Failed(String),
}

/// A client of one service.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, ImportError> {
        let refused =
            |why: &str| ImportError::Refused(format!("can't use the server {url}: {why}"));
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(refused(
                "give its address as http://host:port or https://host",
            ));
        }
        // `Err` only means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(10));
        if url.starts_with("http://") {
            // Plain HTTP has to work on a machine without certificate authorities.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|why| ImportError::Failed(with_causes(&why)))?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    pub(super) async fn upload(
        &self,
        path: &Path,
        query: &[(&str, String)],
        bar: &ProgressBar,
    ) -> Result<Receipt, ImportError> {
        let unreadable = |why| ImportError::Refused(format!("can't be read: {why}"));
        loop {
            let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
            let metadata = file.metadata().await.map_err(unreadable)?;
            if metadata.is_dir() {
                return Err(ImportError::Refused(
                    "is a directory: name the files in it".into(),
                ));
            }
            let bytes = metadata.len();
            bar.set_length(bytes);
            bar.set_position(0);
            let progress = bar.clone();
            let stream = ReaderStream::with_capacity(file, CHUNK_BYTES)
                .inspect_ok(move |chunk| progress.inc(chunk.len() as u64));
            let request = self
                .http
                .post(format!("{}/uploads", self.url))
                .query(query)
                .header(header::CONTENT_TYPE, "text/csv")
                .header(header::CONTENT_LENGTH, bytes)
                .body(Body::wrap_stream(stream));
            // Not sent again automatically, since the file may have been stored.
            let response = request.send().await.map_err(|why| self.no_reply(&why))?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                return read_json(response).await;
            }
            wait_retry_after(&response, bar).await;
        }
    }

    /// Saves the `errors.csv` of a batch.
    pub(super) async fn save_errors(&self, batch: &str, path: &Path) -> Result<(), ImportError> {
        let url = format!("{}/batches/{batch}/errors.csv", self.url);
        let response = self.http.get(url).send().await;
        let response = response.map_err(|why| self.no_reply(&why))?;
        if !response.status().is_success() {
            return Err(error_of_reply(response).await);
        }
        let unwritable =
            |why| ImportError::Failed(format!("can't write {}: {why}", path.display()));
        let mut file = tokio::fs::File::create(path).await.map_err(unwritable)?;
        let mut rows = response.bytes_stream();
        while let Some(chunk) = rows.try_next().await.map_err(|why| self.no_reply(&why))? {
            file.write_all(&chunk).await.map_err(unwritable)?;
        }
        file.flush().await.map_err(unwritable)
    }

    pub(super) async fn process(
        &self,
        batch: &str,
        force: bool,
        bar: &ProgressBar,
    ) -> Result<(), ImportError> {
        let url = format!("{}/batches/{batch}/process", self.url);
        let query: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
        let request = || self.http.post(&url).query(query);
        let _: serde_json::Value = self.send_with_retries(request, bar).await?;
        Ok(())
    }

    pub(super) async fn batch(&self, id: &str, bar: &ProgressBar) -> Result<Batch, ImportError> {
        let url = format!("{}/batches/{id}", self.url);
        self.send_with_retries(|| self.http.get(&url), bar).await
    }

    pub(super) async fn metrics(
        &self,
        from: &str,
        to: &str,
        bar: &ProgressBar,
    ) -> Result<Metrics, ImportError> {
        let url = format!("{}/metrics", self.url);
        let request = || self.http.get(&url).query(&[("from", from), ("to", to)]);
        self.send_with_retries(request, bar).await
    }

    /// Sends an idempotent request until it is answered, at most [`ATTEMPTS`] times.
    async fn send_with_retries<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
        bar: &ProgressBar,
    ) -> Result<T, ImportError> {
        let mut wait = FIRST_WAIT;
        for left in (0..ATTEMPTS).rev() {
            match request().send().await {
                Ok(response) if left > 0 && is_busy(response.status()) => {
                    wait_retry_after(&response, bar).await
                }
                Ok(response) => return read_json(response).await,
                Err(why) if left == 0 => return Err(self.no_reply(&why)),
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        Err(ImportError::Failed(format!("{} is too busy", self.url)))
    }

    fn no_reply(&self, why: &reqwest::Error) -> ImportError {
        ImportError::Failed(format!(
            "no response from {}: {}; is it running?",
            self.url,
            with_causes(why)
        ))
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// Waits as long as `Retry-After` asks for.
async fn wait_retry_after(response: &Response, bar: &ProgressBar) {
    let asked = response.headers().get(header::RETRY_AFTER);
    let seconds = asked.and_then(|text| text.to_str().ok()?.trim().parse().ok());
    let wait = Duration::from_secs(seconds.unwrap_or(1)).clamp(FIRST_WAIT, MAX_WAIT);
    bar.suspend(|| eprintln!("the server asks to wait {} s", wait.as_secs_f32()));
    tokio::time::sleep(wait).await;
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, ImportError> {
    if !response.status().is_success() {
        return Err(error_of_reply(response).await);
    }
    let read = response.json().await;
    read.map_err(|why| {
        ImportError::Failed(format!("can't read the response: {}", with_causes(&why)))
    })
}

/// Converts an error reply to an error.
async fn error_of_reply(mut response: Response) -> ImportError {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() > PROBLEM_BYTES {
            break;
        }
    }
    let text = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => {
            let text = report::problem(&problem);
            let proposals = problem
                .proposals
                .into_iter()
                .filter(|proposal| proposal.proven);
            let proven: Vec<_> = proposals
                .map(|proposal| (proposal.option, proposal.value))
                .collect();
            if !proven.is_empty() {
                return ImportError::Proposed { text, proven };
            }
            text
        }
        Err(_) => format!("the server answered {status}"),
    };
    if status.is_client_error() {
        ImportError::Refused(text)
    } else {
        ImportError::Failed(text)
    }
}
