//! `import` over HTTPS: a TLS server in front of the service, with a certificate for `localhost`.
//! The files in `tls/` were made with `openssl` for this test, and protect nothing.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::Workspace;
use crate::helpers::app::TestApp;

fn path(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cli/tls");
    dir.join(name).display().to_string()
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(path("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(path("server-key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// Forwards each TLS connection to `target` as plain HTTP.
async fn terminate_tls(listener: TcpListener, target: String) {
    let (acceptor, mut connections) = (acceptor(), JoinSet::new());
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let (acceptor, target) = (acceptor.clone(), target.clone());
        connections.spawn(async move {
            // A client that rejects the certificate ends the handshake.
            let Ok(mut client) = acceptor.accept(client).await else {
                return;
            };
            let mut server = TcpStream::connect(target).await.expect("connects");
            drop(copy_bidirectional(&mut client, &mut server).await);
        });
    }
}

#[tokio::test]
async fn import_over_https_verifies_the_certificate() {
    let app = TestApp::start().await;
    let target = app.url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let mut proxy = JoinSet::new();
    proxy.spawn(terminate_tls(listener, target));

    let import = async |settings: Vec<(&'static str, String)>| {
        let imported = tokio::task::spawn_blocking(move || {
            let workspace = Workspace::new();
            let file = workspace.file("events.csv");
            let server = format!("https://localhost:{port}");
            let settings: Vec<_> = settings
                .iter()
                .map(|(key, value)| (*key, &**value))
                .collect();
            workspace.run(&settings, &["import", "--server", &server, &file])
        });
        imported.await.expect("runs")
    };
    let trusted = import(vec![("SSL_CERT_FILE", path("authority.pem"))]).await;
    assert_eq!(trusted.code, Some(0), "{}", trusted.err);
    assert!(
        trusted.out.contains("counted               5"),
        "{}",
        trusted.out
    );
    let untrusted = import(vec![("SSL_CERT_FILE", path("server.pem"))]).await;
    assert_eq!(untrusted.code, Some(1), "{}", untrusted.out);
    assert!(
        untrusted.err.contains("https://localhost"),
        "{}",
        untrusted.err
    );
    app.stop().await;
}

#[test]
fn import_over_http_needs_no_certificate_authorities() {
    let workspace = Workspace::new();
    let file = workspace.file("events.csv");
    let nothing = workspace.data().display().to_string();
    let settings = [
        ("SSL_CERT_FILE", nothing.as_str()),
        ("SSL_CERT_DIR", nothing.as_str()),
    ];
    let imported = workspace.run(&settings, &["import", &file]);
    assert_eq!(imported.code, Some(0), "{}", imported.err);
}
