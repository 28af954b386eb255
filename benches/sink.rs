//! A plain actix handler that discards bodies: the limit set by HTTP. `cargo bench --bench sink -- PORT`.

use actix_web::{App, HttpResponse, HttpServer, web};
use futures_util::StreamExt;

async fn discard(mut body: web::Payload) -> HttpResponse {
    let mut bytes = 0;
    while let Some(Ok(chunk)) = body.next().await {
        bytes += chunk.len();
    }
    HttpResponse::Ok().body(bytes.to_string())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse::<u16>().ok());
    let Some(port) = port else {
        println!("usage: cargo bench --bench sink -- PORT");
        return Ok(());
    };
    HttpServer::new(|| App::new().route("/uploads", web::post().to(discard)))
        .workers(2)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
