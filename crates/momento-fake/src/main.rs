//! The command: a Momento-compatible server that any tailwater can use, without an account.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::Context as _;
use clap::Parser;
use momento_fake::{Fake, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// A Momento-compatible server: gRPC for the SDKs, the HTTP API beside it, everything in memory.
///
/// Prints MOMENTO_API_KEY=... and MOMENTO_ENDPOINT=... when it is ready: with these two in its environment, any
/// tailwater uses it. Faults are set on the HTTP side: POST /faults with a JSON object of "down" (true, false), "delayMs", "failRate"
/// and "throttleRate" (0 to 1), "wipe" (true: forget everything now), "http" (true: the HTTP API fails too).
#[derive(Debug, Parser)]
#[command(name = "momento-fake", version)]
struct Arguments {
    /// Where the gRPC server listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    grpc: SocketAddr,
    /// Where the HTTP server listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    http: SocketAddr,
    /// A cache and an object store of this name exist from the start; may be given more than once.
    #[arg(long, value_name = "NAME", default_value = "livestreams")]
    cache: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut fake = Fake::start(Options {
        grpc: arguments.grpc,
        http: arguments.http,
        caches: arguments.cache.clone(),
        stores: arguments.cache,
        ..Options::default()
    })
    .await?;
    info!(grpc = %fake.grpc_addr(), http = %fake.http_addr(), "ready");
    announce(&fake).context("cannot write to standard output")?;

    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
        _ = terminate.recv() => {}
    }
    fake.stop().await;
    Ok(())
}

/// Two lines for `eval` or an env file, at once: whoever waits for them may start.
fn announce(fake: &Fake) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "MOMENTO_API_KEY={}", fake.api_key())?;
    writeln!(out, "MOMENTO_ENDPOINT={}", fake.endpoint())?;
    out.flush()
}
