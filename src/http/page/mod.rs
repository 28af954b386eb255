//! The web page: static files, embedded in the binary.

use actix_web::{HttpResponse, http::header, web::Path};

use super::problem::{Code, Problem};

/// Everything comes from here, nothing runs inline.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        /// Name, type and content of each file.
        const ASSETS: &[(&str, &str)] = &[$(($name, include_str!(concat!($name)))),*];
    };
}

assets![
    "api.js",
    "app.js",
    "batches.js",
    "bus.js",
    "chart.js",
    "dlq.js",
    "dom.js",
    "errors.js",
    "format.js",
    "icon.svg",
    "look.js",
    "metrics.js",
    "problem.js",
    "profiles.js",
    "receipt-parts.js",
    "receipt.js",
    "settle.js",
    "status.js",
    "style.css",
    "undo.js",
    "upload.js",
];

const INDEX: &str = include_str!("index.html");

pub(super) async fn index() -> HttpResponse {
    file("text/html; charset=utf-8", INDEX)
}

pub(super) async fn asset(name: Path<String>) -> Result<HttpResponse, Problem> {
    let found = ASSETS.iter().find(|(known, _)| *known == *name);
    let (name, content) =
        found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such file"))?;
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
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // The files change with the binary, under the same names.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(content)
}
