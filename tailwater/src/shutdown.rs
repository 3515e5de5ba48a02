//! SIGTERM and SIGINT: the first ends everything in order, the second at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. The second exits the process, whatever it waits for; FFmpeg ends with its
/// pipes.
///
/// # Errors
/// When the system does not let us hear of signals.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::info!(signal = first, "ending livestreams; once more to exit at once");
        cancelled.cancel();
        let second = signals.next().await;
        tracing::warn!(signal = second, "exiting at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
