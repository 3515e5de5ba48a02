//! Viewers' requests, past hyper: a connection in HTTP/1.1 on which all that is asked for is under `/live/`.
//!
//! Thousands of viewers are parked here at a time, each waiting for the same part. hyper keeps 16 KiB of buffers for each
//! of them; here a connection that waits holds no buffer at all, and an answer is one vectored write of its head and the
//! shared bytes. The first request that is anything else ([`wire`](super::wire) says what) hands the connection over to
//! hyper with what was read of it, for good.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Poll, ready},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{Method, Response, StatusCode},
};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    routes,
    wire::{self, Asked, HEAD_BYTES, Head},
};
use crate::origin::Origin;

/// Read at a time, on the stack.
const READ_BYTES: usize = 4 << 10;
/// Pieces of a body that one write takes.
const WRITE_PIECES: usize = 16;

/// What came of waiting for a request.
enum Came {
    Ours(Box<Asked>),
    Other,
    Gone,
}

/// Serves a connection until it is over, or until a request comes that is hyper's: then what was read of that. A client
/// that sends none within `patience` is let go.
pub(super) async fn serve<T>(
    io: &mut T,
    origin: Option<&Origin>,
    patience: Duration,
    stop: &CancellationToken,
) -> Option<Bytes>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = BytesMut::new();
    loop {
        let came = tokio::select! {
            biased;
            came = timeout(patience, next(io, &mut read)) => came.unwrap_or(Came::Gone),
            // Between two requests nothing is owed.
            () = stop.cancelled() => Came::Gone,
        };
        let (asked, origin) = match (came, origin) {
            (Came::Gone, _) => return None,
            (Came::Ours(asked), Some(origin)) => (*asked, origin),
            (Came::Ours(_) | Came::Other, _) => return Some(read.freeze()),
        };
        let Asked { request, length, close } = asked;
        consume(&mut read, length);
        let is_head = request.method() == Method::HEAD;
        let answer = tokio::select! {
            biased;
            answer = routes::answered(origin, request) => answer,
            () = gone(io, &mut read) => return None,
        };
        let over = send(io, answer, is_head, close || stop.is_cancelled()).await;
        if !matches!(over, Ok(false)) {
            let _ = io.shutdown().await;
            return None;
        }
    }
}

async fn next<T: AsyncRead + Unpin>(io: &mut T, read: &mut BytesMut) -> Came {
    loop {
        match wire::parse(read) {
            Head::Ours(asked) => return Came::Ours(asked),
            Head::Other => return Came::Other,
            Head::Partial => {}
        }
        if !matches!(fill(io, read).await, Ok(1..)) {
            return Came::Gone;
        }
    }
}

/// Forgets the head that was read; the memory too, when nothing follows it.
fn consume(read: &mut BytesMut, length: usize) {
    read.advance(length);
    if read.is_empty() {
        *read = BytesMut::new();
    }
}

/// Ends when the client has gone. What it sends before its answer has come is the next request: kept, within bounds.
async fn gone<T: AsyncRead + Unpin>(io: &mut T, read: &mut BytesMut) {
    while read.len() < HEAD_BYTES {
        if !matches!(fill(io, read).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

/// Reads by way of the stack, so that no memory is held for bytes that have not come.
async fn fill<T: AsyncRead + Unpin>(io: &mut T, read: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *io).poll_read(context, &mut buffer))?;
        read.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Sends an answer. True: it was the last one of the connection.
async fn send<T: AsyncWrite + Unpin>(
    io: &mut T,
    answer: Response<Body>,
    is_head: bool,
    close: bool,
) -> io::Result<bool> {
    let (parts, mut body) = answer.into_parts();
    let empty = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = if empty { None } else { body.size_hint().exact() };
    // A body that does not say how long it is ends with its connection.
    let close = close || (!empty && length.is_none());
    let head = wire::head(&parts, length, close, SystemTime::now());
    let mut pieces = VecDeque::from([Bytes::from(head)]);
    while !is_head && let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
            pieces.push_back(bytes);
        }
    }
    write_all(io, pieces).await?;
    Ok(close)
}

async fn write_all<T: AsyncWrite + Unpin>(io: &mut T, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while let Some(first) = pieces.front() {
        if first.is_empty() {
            pieces.pop_front();
            continue;
        }
        let written = poll_fn(|context| {
            let mut slices = [IoSlice::new(&[]); WRITE_PIECES];
            for (slice, piece) in slices.iter_mut().zip(&pieces) {
                *slice = IoSlice::new(piece);
            }
            let count = pieces.len().min(WRITE_PIECES);
            Pin::new(&mut *io).poll_write_vectored(context, &slices[..count])
        })
        .await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        discard(&mut pieces, written);
    }
    io.flush().await
}

fn discard(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}
