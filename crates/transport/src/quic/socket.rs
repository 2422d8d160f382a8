//! A UDP socket whose batches fit what a kernel takes in one call, however large its datagrams are.
//!
//! quinn hands over up to ten datagrams at a time, and the kernel cuts them apart (segmentation offload). A call carries
//! at most 64 KiB: with datagrams of Ethernet's size ten are far below that, with jumbo frames or over loopback they are
//! above it, and the whole batch would be refused. So quinn is told to build smaller batches while large datagrams are
//! in use, and a batch that was built before we knew is sent in parts.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// Most bytes of a batch: 64 KiB less the headers of IPv4 and UDP.
pub(super) const BATCH: usize = 65_507;
/// For so many sends after one that was too large, batches stay small. Then one may be built large again, and is sent
/// in parts: so the socket finds out that large datagrams are no longer in use, without a clock or a list of paths.
const REMEMBER: u64 = 4096;
/// Most bytes of datagrams that a kernel hands over joined (receive offload).
const JOINED: usize = 64 << 10;

/// Wraps the socket of a runtime.
#[derive(Debug)]
pub(crate) struct Batching {
    inner: Arc<dyn AsyncUdpSocket>,
    sends: AtomicU64,
    /// The largest datagram that came in a batch above [`BATCH`], in bytes, and the send until which it counts.
    large: AtomicUsize,
    large_until: AtomicU64,
    /// The largest datagram that the endpoint takes, in bytes.
    largest_received: usize,
}

impl Batching {
    /// For an endpoint that takes datagrams of up to `largest_received` bytes.
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, largest_received: usize) -> Self {
        let (sends, large, large_until) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Batching { inner, sends, large, large_until, largest_received }
    }

    /// Sends a batch that is too large in parts that are not. If the socket is full half way, quinn sends all of it
    /// again: the other side drops what it has seen.
    fn send_in_parts(&self, transmit: &Transmit, segment: usize) -> io::Result<()> {
        self.large.store(segment, Ordering::Relaxed);
        self.large_until.store(self.sends.load(Ordering::Relaxed) + REMEMBER, Ordering::Relaxed);
        transmit.contents.chunks(segments_of(segment) * segment).try_for_each(|contents| {
            let segment_size = (contents.len() > segment).then_some(segment);
            self.inner.try_send(&Transmit { contents, segment_size, ..transmit.clone() })
        })
    }
}

/// Datagrams of this size that fit one batch: at least one.
fn segments_of(size: usize) -> usize {
    (BATCH / size.max(1)).max(1)
}

impl AsyncUdpSocket for Batching {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.sends.fetch_add(1, Ordering::Relaxed);
        match transmit.segment_size {
            Some(segment) if transmit.contents.len() > BATCH => self.send_in_parts(transmit, segment),
            _ => self.inner.try_send(transmit),
        }
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
        let most = self.inner.max_transmit_segments();
        if self.sends.load(Ordering::Relaxed) < self.large_until.load(Ordering::Relaxed) {
            return most.min(segments_of(self.large.load(Ordering::Relaxed)));
        }
        most
    }

    /// quinn takes this as a factor: it makes room for so many of the largest datagrams it would take, 32 times. The
    /// kernel never joins more than 64 KiB, so where the largest datagram is large, few of them are room enough; all
    /// that the socket below names would be 134 MB an endpoint.
    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments().min(JOINED.div_ceil(self.largest_received))
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
