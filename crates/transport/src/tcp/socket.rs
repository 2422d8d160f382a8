//! A TCP socket that can be closed by others than those who read and write it.
//!
//! A stream may lie in a queue with nobody waiting on it, and its descriptor with it. When descriptors are short, the one
//! that is to go is closed at once, even while the stream is held; they see an aborted connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::admission::{Place, Worth};
use crate::lock::lock;

/// What is read and written; closed when it is dropped.
pub(super) struct Socket(Handle);

/// What closes it, and says what it is good for.
#[derive(Clone)]
pub(super) struct Handle(Arc<Mutex<Inner>>);

/// The same, without keeping anything of it.
pub(super) struct WeakHandle(Weak<Mutex<Inner>>);

struct Inner {
    stream: Option<TcpStream>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Its place among the sockets, and what counts it as one of its connection.
    place: Option<Place>,
    counted: Option<Counted>,
}

/// One of a number, until it is dropped.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more, if there are not so many yet.
    pub(super) fn below(most: usize, count: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.ok().map(|_| Counted(count.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        let inner = Inner { stream: Some(stream), reader: None, writer: None, place: None, counted: None };
        Socket(Handle(Arc::new(Mutex::new(inner))))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// Does something with the socket, if it is open; who waits is woken when it is closed.
    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        waiting: fn(&mut Inner) -> &mut Option<Waker>,
        work: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut inner = lock(&self.0.0);
        let Some(stream) = &mut inner.stream else { return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) };
        let result = work(Pin::new(stream), context);
        if result.is_pending() {
            match waiting(&mut inner) {
                Some(waker) => waker.clone_from(context.waker()),
                empty => *empty = Some(context.waker().clone()),
            }
        }
        result
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Handle {
    pub(super) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.0))
    }

    /// Closes the socket and gives its place back.
    pub(super) fn close(&self) {
        let (stream, wakers, place) = {
            let mut inner = lock(&self.0);
            let wakers = [inner.reader.take(), inner.writer.take()];
            (inner.stream.take(), wakers, (inner.place.take(), inner.counted.take()))
        };
        // The place is free when the descriptor is.
        drop(stream);
        drop(place);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Holds a place for as long as the socket is open.
    pub(super) fn hold(&self, place: Option<Place>, counted: Option<Counted>) {
        let mut inner = lock(&self.0);
        if inner.stream.is_some() {
            (inner.place, inner.counted) = (place, counted);
        }
    }

    pub(super) fn set_worth(&self, worth: Worth) {
        if let Some(place) = &lock(&self.0).place {
            place.set_worth(worth);
        }
    }
}

impl WeakHandle {
    pub(super) fn close(&self) {
        if let Some(inner) = self.0.upgrade() {
            Handle(inner).close();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |inner| &mut inner.reader, |stream, context| stream.poll_read(context, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |inner| &mut inner.writer, |stream, context| stream.poll_write(context, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |inner| &mut inner.writer, |stream, context| stream.poll_write_vectored(context, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |inner| &mut inner.writer, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |inner| &mut inner.writer, |stream, context| stream.poll_shutdown(context))
    }
}
