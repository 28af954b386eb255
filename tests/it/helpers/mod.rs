//! Helpers that several test files use.

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod crash_point;
pub(crate) mod damage;
pub(crate) mod intercepted_store;
pub(crate) mod interceptor;
pub(crate) mod ledger;
pub(crate) mod mongo;
pub(crate) mod mutant;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod sample;
pub(crate) mod servers;
pub(crate) mod store_fixtures;

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

/// Returns a client for plain HTTP. It needs a TLS provider nevertheless, but no certificate authorities.
pub(crate) fn http_client() -> reqwest::Client {
    // `Err` only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).build();
    client.expect("a client")
}

/// Polls a future to its end on this thread. It must wait for nothing but a simulated store.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a simulated store never waits"),
    }
}
