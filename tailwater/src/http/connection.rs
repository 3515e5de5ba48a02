//! What bounds a client: its place among all connections, and how long it may take our bytes without reading them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

/// A client that reads nothing for this long is gone. A player on the slowest line reads something every second.
pub const WRITE_STALL: Duration = Duration::from_secs(20);

/// A stream whose peer must read what is written to it.
#[derive(Debug)]
pub struct Guarded<T> {
    inner: T,
    /// Since when the peer has read nothing, if it should have. Made when it is needed first.
    stalled: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Guarded<T> {
    /// Guards `inner`, which holds its place among all connections.
    pub fn new(inner: T, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { inner, stalled: None, waiting: false, _place: place }
    }

    /// Judges a write: one that cannot go on starts the clock, one that could stops it.
    fn judge<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        let deadline = || Instant::now() + WRITE_STALL;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline())));
        if !self.waiting {
            stalled.as_mut().reset(deadline());
            self.waiting = true;
        }
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => {
                metrics::counter!("tailwater_http_stalled_clients_total").increment(1);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_let_go() {
        let (ours, _theirs) = duplex(8);
        let began = Instant::now();
        let error = Guarded::new(ours, None).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), WRITE_STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_served() {
        let (ours, mut theirs) = duplex(8);
        let slow = tokio::spawn(async move {
            let mut buffer = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(WRITE_STALL - Duration::from_secs(1)).await;
                theirs.read_exact(&mut buffer).await.unwrap();
            }
        });
        Guarded::new(ours, None).write_all(&[0; 64]).await.unwrap();
        slow.await.unwrap();
    }
}
