//! What the tasks of a connection share: how it ended, its stream connections that are free, and what it has counted.
//!
//! The handle that others hold, the task of the control connection and the streams all work on it; it knows none of
//! them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use protocol::PeerId;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsStream;

use super::dial::{Dialler, Purpose};
use super::pending_frames::{ControlFrame, PendingFrames};
use super::socket::{Counted, Handle as SocketHandle, Socket};
use super::sole::Sole;
use super::stream_connection::{StreamConnection, StreamFrame};
use crate::admission::{Admission, Newcomer, Worth};
use crate::identity::{EXPORTER, exporter_for};
use crate::keep_alive::KeepAlive;
use crate::lock::lock;
use crate::{LinkStats, TransportError};

/// Streams that one side may have open at once.
pub(super) const STREAMS: usize = 100;
/// Stream connections that the other side may open: one for each stream of either side, and some that are just ending.
const STREAM_CONNECTIONS: usize = 2 * STREAMS + 20;
/// Stream connections of ours that are kept for later, and for how long; the others are closed.
pub(super) const IDLE_STREAM_CONNECTIONS: usize = 8;
const KEPT: Duration = Duration::from_secs(5);
/// A stream connection of the other side, which does the same, may be without a stream for so long. A stream that it has opened and
/// sends nothing on is none yet.
const WITHOUT_STREAM: Duration = Duration::from_secs(15);
/// But no longer than this if it is not one of a few: those that come side by side all have their streams soon.
pub(super) const FEW: usize = 16;
const FRESH: Duration = Duration::from_secs(1);
/// Stream connections that the other side may want in each second, after as many at once as it may have open.
const WANTED_A_SECOND: f64 = 50.0;
/// Those that it wants come to a stream: it asks for one when a stream waits, of which there are no more than this at once. So many in
/// a row that come to none are for nothing.
const VAIN: usize = STREAMS + 28;

/// A stream connection that ended within a stream may be the first sign of the end of the connection, whose reason comes over another.
pub(super) const REASON: Duration = Duration::from_millis(300);

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    ByPeer { code: u32, reason: String },
    Local { code: u32, reason: String },
    Lost(String),
}

impl End {
    fn error(&self) -> TransportError {
        match self.clone() {
            End::ByPeer { code, reason } => TransportError::ClosedByPeer { code, reason },
            End::Local { .. } => TransportError::Closed,
            End::Lost(reason) => TransportError::Lost(reason),
        }
    }
}

/// Streams that the other side opens, with what is said first of each.
pub(super) type Arrivals = mpsc::Receiver<(StreamConnection, StreamFrame)>;

/// The part of a connection in all sockets that others made us open.
pub(super) struct Share {
    pub(super) sockets: Arc<Admission>,
    /// Tells this connection from others of its address.
    pub(super) number: u64,
    pub(super) remote: SocketAddr,
    /// Whether its sockets lead to a relay.
    pub(super) relayed: bool,
}

impl Share {
    /// Gives a socket a place, for as long as it is open. False if there is none for it.
    fn admit(&self, socket: &SocketHandle, worth: Worth, counted: Option<Counted>) -> bool {
        let newcomer = Newcomer { from: self.remote.ip(), holder: Some(self.number), worth };
        let closes = socket.downgrade();
        let place = self.sockets.enter(Instant::now(), newcomer, move || closes.close());
        let admitted = place.is_some();
        socket.hold(place, counted);
        admitted
    }
}

/// What a connection is to be.
#[derive(Clone, Copy)]
pub(super) struct ConnectionKind {
    pub(super) keep_alive: KeepAlive,
    /// Its one stream goes over the control connection.
    pub(super) is_sole: bool,
}

/// The stream connections that the other side wants, which cannot dial: a few bytes are a handshake, and an entry in the tables of routers.
#[derive(Debug)]
struct Wanted {
    left: f64,
    since: Instant,
    /// How many in a row came to no stream.
    vain: usize,
}

impl Wanted {
    fn new() -> Self {
        Wanted { left: STREAM_CONNECTIONS as f64, since: Instant::now(), vain: 0 }
    }

    /// It wants one more. Says how long that one has to wait for its turn.
    fn one_more(&mut self) -> Duration {
        let now = Instant::now();
        let earned = (now - std::mem::replace(&mut self.since, now)).as_secs_f64() * WANTED_A_SECOND;
        self.left = (self.left + earned).min(STREAM_CONNECTIONS as f64) - 1.0;
        Duration::from_secs_f64((-self.left / WANTED_A_SECOND).max(0.0))
    }

    /// One of them has come to a stream, or has not. False if too many have not.
    fn ended(&mut self, has_stream: bool) -> bool {
        self.vain = if has_stream { 0 } else { self.vain + 1 };
        self.vain < VAIN
    }
}

/// What the tasks of a connection share. It is over when nobody holds it any more ([`ConnectionHold`]).
pub(super) struct Core {
    pub(super) peer: PeerId,
    pub(super) keep_alive: KeepAlive,
    /// The stream that goes over the control connection, if there is no other.
    pub(super) sole: Option<Sole>,
    /// What TLS exports of the control connection; stream connections belong to it by a token that only both ends know.
    exported: Option<[u8; 32]>,
    thread: Handle,
    end: OnceLock<End>,
    /// Wakes all who wait for the end.
    over: Notify,
    idle: Mutex<Vec<StreamConnection>>,
    came: Notify,
    /// Stream connections that the other side wanted, and how many of them wait for a stream of it.
    stream_connections: Arc<AtomicUsize>,
    waiting: AtomicUsize,
    wanted: Mutex<Wanted>,
    share: Share,
    control: SocketHandle,
    used: AtomicBool,
    /// Nothing where no stream connections come.
    arrivals: Option<mpsc::Sender<(StreamConnection, StreamFrame)>>,
    /// What the control connection's task is to say.
    pub(super) frames: PendingFrames,
    /// Dials further stream connections; only the side that dialled can, so only it keeps room for one.
    dialler: Option<Box<Dialler>>,
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds.
    rtt: AtomicU64,
    heard: AtomicU64,
}

impl Core {
    /// Of a connection with this control connection, whose tasks run on this runtime, and the streams that will arrive, if any will. It has
    /// ended already if there is no room for it.
    pub(super) fn new(
        control: &TlsStream<Socket>,
        (peer, ConnectionKind { keep_alive, is_sole }): (PeerId, ConnectionKind),
        share: Share,
        dialler: Option<Dialler>,
        thread: Handle,
    ) -> (Arc<Self>, Option<Arrivals>) {
        let dialled = dialler.is_some();
        let (to_handle, arrivals) = (!is_sole).then(|| mpsc::channel(STREAMS)).unzip();
        let core = Arc::new(Core {
            peer,
            keep_alive,
            sole: is_sole.then(Sole::new),
            exported: exported(control),
            thread,
            end: OnceLock::new(),
            over: Notify::new(),
            idle: Mutex::default(),
            came: Notify::new(),
            stream_connections: Arc::default(),
            waiting: AtomicUsize::new(0),
            wanted: Mutex::new(Wanted::new()),
            share,
            control: control.get_ref().0.handle(),
            used: AtomicBool::new(false),
            arrivals: to_handle,
            frames: PendingFrames::default(),
            dialler: dialler.map(Box::new),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            rtt: AtomicU64::new(1000),
            heard: AtomicU64::new(0),
        });
        // Whom we dial is our own choice.
        if !dialled && !core.share.admit(&core.control, Worth::Unused, None) {
            core.finish(End::Local { code: 1, reason: "too many connections from there".to_owned() });
        }
        (core, arrivals)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.thread.spawn(task)
    }

    /// Key material that both sides have in common, for this label.
    pub(super) fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        let exported = self.exported;
        let exported =
            exported.ok_or_else(|| TransportError::Io("nothing was exported from the handshake".to_owned()))?;
        Ok(exporter_for(label, exported))
    }

    /// What it has counted and measured so far.
    pub(super) fn stats(&self) -> LinkStats {
        LinkStats {
            rtt: Duration::from_micros(self.rtt.load(Ordering::Relaxed)),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            lost: 0,
            datagram: None,
            moved: false,
        }
    }

    /// Why it has ended, if it has.
    pub(super) fn end(&self) -> Option<TransportError> {
        self.end.get().map(End::error)
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) -> TransportError {
        self.end_of_all().await.error()
    }

    pub(super) async fn end_of_all(&self) -> End {
        loop {
            // Made before the look, so that an end between the two is not missed.
            let over = self.over.notified();
            if let Some(end) = self.end.get() {
                return end.clone();
            }
            over.await;
        }
    }

    /// The first end counts.
    pub(super) fn finish(&self, end: End) {
        if self.end.set(end).is_ok() {
            self.over.notify_waiters();
        }
        lock(&self.idle).clear();
    }

    /// There is a stream on it.
    pub(super) fn is_used(&self) {
        if !self.used.swap(true, Ordering::Relaxed) {
            self.control.set_worth(Worth::Control);
        }
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn measured(&self, rtt: Duration) {
        self.rtt.store(rtt.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn heard(&self, at: Duration) {
        self.heard.store(at.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn last_heard(&self) -> Duration {
        Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// A stream has ended on this stream connection: it is free for the next, or waits for the other side's next.
    pub(super) fn give_back(self: Arc<Self>, connection: StreamConnection, ours: bool) {
        if ours { self.keep(connection) } else { self.listen(connection) }
    }

    fn keep(&self, connection: StreamConnection) {
        let mut idle = lock(&self.idle);
        if self.end.get().is_none() && idle.len() < IDLE_STREAM_CONNECTIONS {
            idle.push(connection);
        }
        drop(idle);
        self.came.notify_one();
    }

    /// Closes stream connections of ours that were of no use lately, before the other side does.
    pub(super) fn close_idle_stream_connections(&self) {
        lock(&self.idle).retain(|connection| connection.idle.elapsed() < KEPT);
    }

    /// Waits on a stream connection of the other side for its next stream.
    fn listen(self: Arc<Self>, connection: StreamConnection) {
        let core = self.clone();
        let is_new = connection.next == 0;
        self.spawn(async move {
            core.waiting.fetch_add(1, Ordering::Relaxed);
            let heard = core.first_frame(connection).await;
            core.waiting.fetch_sub(1, Ordering::Relaxed);
            if heard.is_some() || is_new {
                core.wanted_ended(heard.is_some());
            }
            if let (Some(arrival), Some(arrivals)) = (heard, &core.arrivals) {
                tokio::select! {
                    _ = arrivals.send(arrival) => {}
                    _ = core.end_of_all() => {}
                }
            }
        });
    }

    /// What is said first of a stream connection's next stream, if that is soon enough.
    async fn first_frame(&self, mut connection: StreamConnection) -> Option<(StreamConnection, StreamFrame)> {
        let (idle, next) = (connection.idle, connection.next);
        let said = {
            let said = connection.reader.said(next);
            tokio::pin!(said);
            let soon = async {
                match timeout_at(idle + FRESH, &mut said).await {
                    Err(_) if self.waiting.load(Ordering::Relaxed) > FEW => None,
                    Err(_) => timeout_at(idle + WITHOUT_STREAM, &mut said).await.ok(),
                    Ok(said) => Some(said),
                }
            };
            tokio::select! {
                said = soon => said,
                _ = self.end_of_all() => None,
            }
        };
        Some((connection, said?.ok()?))
    }

    /// A stream connection came from the side that dials.
    pub(super) fn stream_connection_came(self: Arc<Self>, stream: TlsStream<Socket>, purpose: Purpose) {
        let Some(counted) = Counted::below(STREAM_CONNECTIONS, &self.stream_connections) else {
            return self.finish(End::Local { code: 1, reason: "too many stream connections".to_owned() });
        };
        let connection = StreamConnection::new(stream);
        if !self.share.admit(&connection.socket, Worth::WithoutStream, Some(counted)) {
            return;
        }
        if purpose == Purpose::Theirs { self.listen(connection) } else { self.keep(connection) }
    }

    /// The other side, which cannot dial us, needs a stream connection.
    pub(super) fn give_stream_connection(self: Arc<Self>) {
        if self.dialler.is_none() {
            return;
        }
        let Some(counted) = Counted::below(STREAM_CONNECTIONS, &self.stream_connections) else { return };
        let turn = lock(&self.wanted).one_more();
        let core = self.clone();
        self.spawn(async move {
            let Some(dialler) = &core.dialler else { return };
            let dialled = tokio::select! {
                dialled = async {
                    if !turn.is_zero() {
                        sleep(turn).await;
                    }
                    dialler.dial(Purpose::Yours).await
                } => dialled,
                _ = core.end_of_all() => return,
            };
            let Ok(stream) = dialled else { return core.wanted_ended(false) };
            let connection = StreamConnection::new(stream);
            if core.share.admit(&connection.socket, Worth::WithoutStream, Some(counted)) {
                core.clone().listen(connection);
            }
        });
    }

    /// A stream connection that the other side wanted has come to a stream, or has not.
    fn wanted_ended(&self, has_stream: bool) {
        let is_of_use = lock(&self.wanted).ended(has_stream);
        if self.dialler.is_some() && !is_of_use {
            self.finish(End::Local { code: 1, reason: "too many stream connections came to no stream".to_owned() });
        }
    }

    /// A stream connection for a stream of ours.
    pub(super) async fn stream_connection(&self) -> Result<StreamConnection, TransportError> {
        let mut asked = false;
        loop {
            let came = self.came.notified();
            if let Some(connection) = lock(&self.idle).pop() {
                return Ok(connection);
            }
            if let Some(dialler) = &self.dialler {
                return match dialler.dial(Purpose::Theirs).await {
                    Ok(stream) => Ok(StreamConnection::new(stream)),
                    // The door of a side that has just closed the connection knows it no more; why is on the control connection.
                    Err(error) => Err(timeout(REASON, self.ended()).await.unwrap_or(error)),
                };
            }
            if !std::mem::replace(&mut asked, true) {
                self.frames.add(ControlFrame::Want);
            }
            came.await;
        }
    }
}

/// What TLS exports of a session, as long as it has a handshake behind it.
fn exported(control: &TlsStream<Socket>) -> Option<[u8; 32]> {
    match control {
        TlsStream::Client(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None).ok(),
        TlsStream::Server(stream) => stream.get_ref().1.export_keying_material([0; 32], EXPORTER, None).ok(),
    }
}

/// Closes the connection when it is dropped.
pub(super) struct ConnectionHold(pub(super) Arc<Core>);

impl Drop for ConnectionHold {
    fn drop(&mut self) {
        self.0.finish(End::Local { code: 0, reason: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stream_connections_that_are_wanted_take_turns() {
        let mut wanted = Wanted::new();
        assert!((0..STREAM_CONNECTIONS).all(|_| wanted.one_more().is_zero()));
        assert_eq!(wanted.one_more(), Duration::from_millis(20));
        assert_eq!(wanted.one_more(), Duration::from_millis(40));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!((0..STREAM_CONNECTIONS).all(|_| wanted.one_more().is_zero()));
        assert!(!wanted.one_more().is_zero());
    }

    #[tokio::test]
    async fn as_many_as_may_wait_for_a_stream_may_be_in_vain() {
        let mut wanted = Wanted::new();
        for _ in 0..3 {
            assert!((0..STREAMS).all(|_| wanted.ended(false)));
            assert!(wanted.ended(true), "one of them was of use");
        }
        assert!((1..VAIN).all(|_| wanted.ended(false)));
        assert!(!wanted.ended(false));
    }
}
