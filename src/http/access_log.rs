//! The log lines of requests that change something: one line each, with the client, the subject, the result and the
//! duration. A line has no token, no key, and no value of a query or a file.

use std::{net::IpAddr, time::Duration};

use actix_web::HttpResponse;

use super::{Context, auth::Caller, problem::Problem};
use crate::model::{BatchId, Origin, Receipt};

/// Measures a request and logs its result.
pub(super) struct RequestLog<'a> {
    context: &'a Context,
    client: String,
    begun: Duration,
}

impl<'a> RequestLog<'a> {
    pub(super) fn begin(context: &'a Context, caller: &Caller) -> Self {
        Self {
            context,
            client: client(caller.address),
            begun: context.clock.elapsed(),
        }
    }

    fn ms(&self) -> u64 {
        let took = self.context.clock.elapsed().saturating_sub(self.begun);
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }

    /// Logs an upload that was accepted, with the counts of its receipt.
    pub(super) fn upload(&self, result: &str, batch: Option<BatchId>, receipt: Option<&Receipt>) {
        let (client, ms) = (&self.client, self.ms());
        let batch = batch.map(tracing::field::display);
        let bytes = receipt.and_then(|receipt| match &receipt.origin {
            Origin::File(file) => Some(file.bytes),
            Origin::Stream(_) => None,
        });
        let rows = receipt.map(|receipt| receipt.rows.received);
        let rejected = receipt.map(|receipt| receipt.rows.failed);
        tracing::info!(
            client,
            batch.id = batch,
            bytes,
            rows,
            rejected,
            ms,
            "upload {result}"
        );
    }

    /// Logs an upload that was refused.
    pub(super) fn upload_refused(&self, why: &Problem) {
        let (client, code, ms) = (&self.client, why.code().slug(), self.ms());
        tracing::info!(client, code, ms, "upload refused: {code}");
    }

    /// Logs the result of a request about one batch.
    pub(super) fn batch(
        &self,
        action: &str,
        batch: BatchId,
        result: &Result<HttpResponse, Problem>,
    ) {
        let (client, ms, result) = (&self.client, self.ms(), result_text(result));
        tracing::info!(client, batch.id = %batch, result, ms, "{action} batch: {result}");
    }

    /// Logs the result of a request to change a profile or to end an upload.
    pub(super) fn request(
        &self,
        action: &str,
        subject: &dyn std::fmt::Display,
        result: &Result<HttpResponse, Problem>,
    ) {
        let (client, ms, result) = (&self.client, self.ms(), result_text(result));
        tracing::info!(client, %subject, result, ms, "{action}: {result}");
    }

    /// Logs an act of an admin.
    pub(super) fn admin(&self, action: &str, subject: &str, result: &str) {
        let (client, ms) = (&self.client, self.ms());
        tracing::info!(
            client,
            action,
            subject,
            result,
            ms,
            "admin action `{action}`: {result}"
        );
    }
}

fn result_text(result: &Result<HttpResponse, Problem>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(why) => why.code().slug(),
    }
}

/// Returns the text of the address of a client.
pub(super) fn client(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".into(), |address| address.to_string())
}

/// Logs a request to an admin route whose token is missing or wrong.
pub(super) fn token_refused(caller: &Caller) {
    let client = client(caller.address);
    let fault = if caller.sent_credentials {
        "wrong"
    } else {
        "missing"
    };
    tracing::info!(client, fault, "admin token refused: it is {fault}");
}
