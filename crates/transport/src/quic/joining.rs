//! A UDP socket that joins full batches, so that a call of the kernel carries more datagrams of Ethernet's size.
//!
//! quinn hands over at most ten datagrams at a time, 14 KiB of the 64 KiB that the kernel takes in one call. A connection that
//! has more to send now hands over the next ten at once, in the same turn of its thread. So a batch is held if it is full, until
//! the next one comes, and at the longest until the other tasks of the thread have had their turn. What pacing has let go is all
//! that is ever held: it would have left in the same turn. What is not full is never held, and each path keeps its order.
//!
//! No more is joined than leaves in a moment at the rate of the last milliseconds, as TCP does it (Linux's `tcp_tso_autosize`). At
//! low rates a call costs little of the processor, and a shaper whose bucket is smaller than what is joined has to cut it
//! apart: through a bucket of 16 KiB that took 1.3 times the processor at 50 Mbit/s.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::runtime::Handle;

use super::socket::BATCH;
use crate::lock::lock;

/// Datagrams in a batch of quinn's that is full.
const FULL: usize = 10;
/// Most datagrams that Linux cuts a batch into (UDP_MAX_SEGMENTS, 64 until version 6.9).
const MOST_DATAGRAMS: usize = 64;
/// No more is joined than leaves in so long: at 1 Gbit/s two batches of ten datagrams, from 2.2 Gbit/s on as much as one call takes.
const MOMENT: Duration = Duration::from_micros(250);
/// How long bytes are counted for a sample of the rate.
const SAMPLE: Duration = Duration::from_millis(5);
/// Most paths that something is held for. Each takes 64 KiB.
const MOST_HELD: usize = 4;

/// Wraps the socket of a runtime.
#[derive(Debug)]
pub(super) struct Joining {
    inner: Arc<dyn AsyncUdpSocket>,
    thread: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<JoinedBatches>,
    /// Buffers that are used again.
    spare: Vec<Vec<u8>>,
    /// Whether a task sends what is held.
    is_sending: bool,
    rate: Rate,
}

/// How much the socket sends, over all paths.
#[derive(Debug, Default)]
struct Rate {
    bytes_per_second: f64,
    since: Option<Instant>,
    bytes: usize,
}

impl Rate {
    fn count(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(*self.since.get_or_insert(now));
        if elapsed >= SAMPLE {
            let sample = self.bytes as f64 / elapsed.as_secs_f64();
            // What was before a pause tells nothing.
            let before = if elapsed < 4 * SAMPLE { self.bytes_per_second } else { sample };
            *self = Rate { bytes_per_second: (before + sample) / 2.0, since: Some(now), bytes: 0 };
        }
    }

    /// Bytes that may be joined.
    fn joined(&self) -> usize {
        ((self.bytes_per_second * MOMENT.as_secs_f64()) as usize).min(BATCH)
    }
}

/// Batches for one path, joined.
#[derive(Debug)]
struct JoinedBatches {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    segment: usize,
    contents: Vec<u8>,
}

impl JoinedBatches {
    fn transmit(&self) -> Transmit<'_> {
        Transmit {
            destination: self.destination,
            ecn: self.ecn,
            contents: &self.contents,
            segment_size: Some(self.segment),
            src_ip: self.src_ip,
        }
    }

    /// Whether this batch may stand behind what is held, if at most so many bytes may be joined.
    fn takes(&self, transmit: &Transmit, most: usize) -> bool {
        let length = self.contents.len() + transmit.contents.len();
        (transmit.ecn, transmit.src_ip, transmit.segment_size) == (self.ecn, self.src_ip, Some(self.segment))
            && length <= most.min(MOST_DATAGRAMS * self.segment)
    }
}

/// The size of the datagrams of a batch that is full, if another one has room behind it where at most so many bytes may be joined.
fn segment_of_full(transmit: &Transmit, most: usize) -> Option<usize> {
    let full = |&segment: &usize| segment * FULL == transmit.contents.len() && 2 * transmit.contents.len() <= most;
    transmit.segment_size.filter(full)
}

impl State {
    /// Sends what is held for a path, if anything is. It stays held while the socket is full. What the network refuses is lost,
    /// as datagrams are.
    fn send_held(&mut self, inner: &dyn AsyncUdpSocket, at: usize) -> io::Result<()> {
        match inner.try_send(&self.held[at].transmit()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(error) => tracing::debug!(%error, "a batch of datagrams was not sent"),
            Ok(()) => {}
        }
        let mut buffer = self.held.swap_remove(at).contents;
        buffer.clear();
        self.spare.push(buffer);
        Ok(())
    }

    fn send_all(&mut self, inner: &dyn AsyncUdpSocket) -> io::Result<()> {
        while !self.held.is_empty() {
            self.send_held(inner, 0)?;
        }
        Ok(())
    }

    fn hold(&mut self, transmit: &Transmit, segment: usize) {
        let mut contents = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        contents.extend_from_slice(transmit.contents);
        let Transmit { destination, ecn, src_ip, .. } = *transmit;
        self.held.push(JoinedBatches { destination, ecn, src_ip, segment, contents });
    }
}

impl Joining {
    /// For an endpoint whose work is done on this thread.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, thread: Handle) -> Self {
        Joining { inner, thread, state: Arc::default() }
    }

    /// Sends what is held once the other tasks of the thread have had their turn.
    fn send_soon(&self) {
        let (inner, state) = (self.inner.clone(), self.state.clone());
        self.thread.spawn(async move {
            tokio::task::yield_now().await;
            let mut poller = inner.clone().create_io_poller();
            loop {
                {
                    let mut state = lock(&state);
                    if state.send_all(&*inner).is_ok() {
                        state.is_sending = false;
                        return;
                    }
                }
                if std::future::poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.is_err() {
                    lock(&state).is_sending = false;
                    return;
                }
            }
        });
    }
}

impl AsyncUdpSocket for Joining {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.rate.count(transmit.contents.len(), Instant::now());
        let most = state.rate.joined();
        let segment = segment_of_full(transmit, most);
        if let Some(at) = state.held.iter().position(|held| held.destination == transmit.destination) {
            if segment.is_some() && state.held[at].takes(transmit, most) {
                state.held[at].contents.extend_from_slice(transmit.contents);
                return Ok(());
            }
            state.send_held(&*self.inner, at)?;
        }
        let Some(segment) = segment.filter(|_| state.held.len() < MOST_HELD) else {
            return self.inner.try_send(transmit);
        };
        state.hold(transmit, segment);
        if !std::mem::replace(&mut state.is_sending, true) {
            self.send_soon();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests;
