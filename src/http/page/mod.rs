//! The web page: static files that are embedded in the binary. The page is a client of the public HTTP interface.

use actix_web::{HttpResponse, http::header, web::Path};

use super::problem::{Code, Problem};

/// Allows files of this server only, and no inline code.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        /// The name and content of each file.
        const ASSETS: &[(&str, &str)] = &[$(($name, include_str!($name))),*];
    };
}

assets![
    "api.js",
    "app.js",
    "batches.js",
    "chart.js",
    "dlq.js",
    "dom.js",
    "dry-run.js",
    "errors.js",
    "event-bus.js",
    "format.js",
    "icon.svg",
    "metrics.js",
    "poll.js",
    "problem.js",
    "profiles.js",
    "receipt-parts.js",
    "receipt.js",
    "remedies.js",
    "status.js",
    "style.css",
    "undo.js",
    "upload.js",
];

const INDEX: &str = include_str!("index.html");

/// `GET /`: returns the page.
pub(super) async fn index() -> HttpResponse {
    file("text/html; charset=utf-8", INDEX)
}

/// `GET /assets/{name}`: returns a script, style sheet or image of the page.
pub(super) async fn asset(name: Path<String>) -> Result<HttpResponse, Problem> {
    let asset = ASSETS.iter().find(|(other, _)| *other == *name);
    let (name, content) =
        asset.ok_or_else(|| Problem::new(Code::NotFound, "there is no such file"))?;
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Ok(file(kind, content))
}

fn file(kind: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        // A new binary has other contents under the same names.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(content)
}
