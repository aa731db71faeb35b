//! The server's end of a connection, which tells when all that was written to it has left.
//!
//! hyper drops what it still holds when an answer's body fails. So a body that is to break off waits here first: its
//! client gets everything that came before the break, and then the break.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How often everything has left.
#[derive(Debug, Default)]
pub(crate) struct FlushCounter {
    count: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl FlushCounter {
    /// A number to call [`Self::poll_after`] with, later.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Ready once everything has left after the count was this. There is one answer at a time, so one who waits.
    pub(crate) fn poll_after(&self, count: u64, context: &Context<'_>) -> Poll<()> {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.count() > count {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(waker) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// The connection. hyper flushes it only when it has written all it holds.
pub(crate) struct Outgoing {
    stream: TcpStream,
    flushes: Arc<FlushCounter>,
}

impl Outgoing {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<FlushCounter>) {
        let flushes = Arc::new(FlushCounter::default());
        (
            Self {
                stream,
                flushes: Arc::clone(&flushes),
            },
            flushes,
        )
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.flushes.add();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
