//! A connection that can end with a reset instead of a clean close.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// What a client is connected through.
pub(super) enum Stream {
    Tcp(TcpStream),
    Memory(DuplexStream),
}

pub(super) struct Socket {
    stream: Stream,
    reset: Arc<AtomicBool>,
}

/// The stream as its own type: both kinds are read and written alike.
macro_rules! on {
    ($self:ident, $stream:ident => $body:expr) => {
        match &mut $self.stream {
            Stream::Tcp($stream) => $body,
            Stream::Memory($stream) => $body,
        }
    };
}

impl Socket {
    pub fn new(stream: Stream, reset: Arc<AtomicBool>) -> Self {
        Self { stream, reset }
    }

    /// With a linger time of zero, closing sends RST and throws unsent data away. In memory the client
    /// looks at the flag itself.
    fn prepare(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) if self.reset.load(Ordering::Relaxed) => stream.set_zero_linger(),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            // A shutdown would send FIN first.
            return Poll::Ready(self.prepare());
        }
        on!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Memory(stream) => stream.is_write_vectored(),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Without it the connection just ends; nobody is left to tell.
        self.prepare().unwrap_or_default();
    }
}
