//! quinn's connections and streams behind the traits of the seam.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use protocol::PeerId;
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::held::Held;
use super::settings;
use super::uplink::{self, ConnectionPacer};
use super::windows::Windows;
use crate::expiry::{self, Expiry};
use crate::identity::{EXPORTER, Meant, exporter_for, not_admitted, not_taken, peer_id_of};
use crate::{BoxFuture, Connection, LinkStats, RecvStream, SendStream, Stream, TransportError, Trust, Untrusted};

pub(super) struct QuicConnection {
    inner: Arc<Held>,
    pacer: Arc<ConnectionPacer>,
    peer: PeerId,
    /// Where the other end was in the handshake. Later packets may carry any sender that it likes.
    remote: SocketAddr,
    /// The thread of its endpoint.
    thread: Handle,
}

impl QuicConnection {
    /// Names the peer by the certificate that it proved to hold. The windows of one that is a tracker's are never changed.
    pub(super) fn new(
        inner: Held,
        remote: SocketAddr,
        thread: Handle,
        (windows, standing): (&Windows, bool),
        expiry: &Expiry,
    ) -> Result<Self, TransportError> {
        let unnamed = || TransportError::Handshake("no certificate".to_owned());
        let identity = inner.peer_identity().ok_or_else(unnamed)?;
        let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| unnamed())?;
        let certificate = certificates.first().ok_or_else(unnamed)?;
        let peer = peer_id_of(certificate).map_err(|error| TransportError::Handshake(error.to_string()))?;
        let inner = Arc::new(inner);
        if !standing {
            windows.add(&inner);
        }
        let watched = Arc::downgrade(&inner);
        expiry.watch(&thread, expiry.with(Some(certificate)), move |over| {
            let standing = watched.upgrade().filter(|inner| inner.close_reason().is_none());
            if let Some(inner) = standing.as_ref().filter(|_| over) {
                inner.close(1u32.into(), expiry::REASON.as_bytes());
            }
            over || standing.is_none()
        });
        let pacer = ConnectionPacer::new(inner.clone(), windows.uplink().clone());
        // An IPv4 peer of an IPv6 socket is shown as what it is.
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        Ok(QuicConnection { inner, pacer: Arc::new(pacer), peer, remote, thread })
    }

    fn stream(&self, send: quinn::SendStream, recv: quinn::RecvStream) -> Stream {
        let send = QuicSend {
            inner: send,
            pacer: self.pacer.clone(),
            taken: None,
            sending: false,
            finished: false,
            torn: false,
        };
        let recv = QuicRecv { inner: recv, ended: None, _connection: self.inner.clone() };
        (Box::new(send), Box::new(recv))
    }
}

/// Whom the dialler of a connection meant.
pub(super) fn meant_by(connection: &quinn::Connection) -> Option<Meant> {
    let agreed = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    Meant::by(agreed.protocol.as_deref())
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => TransportError::ClosedByPeer {
                code: u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            ConnectionError::LocallyClosed => TransportError::Closed,
            ConnectionError::ConnectionClosed(ref close) => match refusal(close.error_code) {
                Some(reason) => TransportError::NotAdmitted(reason),
                None => TransportError::Lost(error.to_string()),
            },
            other => TransportError::Lost(other.to_string()),
        }
    }
}

/// What we have against the other side's certificate, if that is why the handshake failed.
pub(super) fn not_taken_for(error: &ConnectionError, trust: &Trust) -> Option<Untrusted> {
    let ConnectionError::TransportError(error) = error else { return None };
    not_taken(alert(error.code)?, trust)
}

/// A TLS alert is a code of its own (RFC 9001, 4.8).
fn alert(code: quinn::TransportErrorCode) -> Option<AlertDescription> {
    u8::try_from(u64::from(code).checked_sub(0x100)?).ok().map(AlertDescription::from)
}

/// What the other side has against our certificate. It says so after a dialler's handshake seems done.
fn refusal(code: quinn::TransportErrorCode) -> Option<&'static str> {
    not_admitted(alert(code)?)
}

fn code_of(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

impl Connection for QuicConnection {
    fn peer_id(&self) -> PeerId {
        self.peer
    }

    fn transport(&self) -> &'static str {
        "quic"
    }

    fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    fn exporter(&self, label: &str) -> Result<[u8; 32], TransportError> {
        let mut exported = [0; 32];
        let done = self.inner.export_keying_material(&mut exported, EXPORTER, &[]);
        done.map_err(|_| TransportError::Io("nothing can be exported from the handshake".to_owned()))?;
        Ok(exporter_for(label, exported))
    }

    fn open(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let (send, recv) = self.inner.open_bi().await?;
            Ok(self.stream(send, recv))
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<Stream, TransportError>> {
        Box::pin(async move {
            let (send, recv) = self.inner.accept_bi().await?;
            Ok(self.stream(send, recv))
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        self.thread.spawn(task)
    }

    fn stats(&self) -> LinkStats {
        let stats = self.inner.stats();
        LinkStats {
            rtt: self.inner.rtt(),
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
            lost: stats.path.lost_packets,
            datagram: Some(stats.path.current_mtu),
            moved: {
                let now = self.inner.remote_address();
                SocketAddr::new(now.ip().to_canonical(), now.port()) != self.remote
            },
        }
    }

    fn ping(&self) {
        // quinn has no word for it, but one more byte of window is told at once, and acknowledged.
        self.inner.set_receive_window(VarInt::from_u32(settings::STANDING_WINDOW));
        self.inner.set_receive_window(VarInt::from_u32(settings::STANDING_WINDOW + 1));
    }

    fn close(&self, code: u32, reason: &str) {
        self.inner.close(code.into(), reason.as_bytes());
    }

    fn closed(&self) -> BoxFuture<'_, TransportError> {
        Box::pin(async move { self.inner.closed().await.into() })
    }
}

struct QuicSend {
    inner: quinn::SendStream,
    pacer: Arc<ConnectionPacer>,
    /// What the uplink's books call this stream, if it carries payload.
    taken: Option<u64>,
    /// Whether it counts among those that have more payload to send.
    sending: bool,
    finished: bool,
    /// A send is under way, or was given up half way: what was sent has no clean end.
    torn: bool,
}

impl QuicSend {
    /// It has no more payload.
    fn ends(&mut self) {
        if std::mem::take(&mut self.sending) {
            self.pacer.uplink.ends(&self.pacer);
        }
    }
}

impl SendStream for QuicSend {
    fn send(&mut self, data: Bytes) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if self.torn {
                return Err(TransportError::Io("an earlier send on this stream was given up".to_owned()));
            }
            self.torn = true;
            if data.len() >= uplink::PAYLOAD {
                if !std::mem::replace(&mut self.sending, true) {
                    self.pacer.uplink.begins(&self.pacer);
                }
                self.pacer.uplink.room(&self.pacer).await;
                self.taken = Some(self.pacer.uplink.take(&self.pacer, self.taken, data.len() as u64));
            }
            let sent = self.inner.write_chunk(data).await;
            self.torn = false;
            if let Some(stream) = self.taken {
                self.pacer.uplink.taken(stream);
            }
            sent.map_err(|error| match error {
                WriteError::Stopped(code) => TransportError::Reset(code_of(code)),
                WriteError::ConnectionLost(error) => error.into(),
                WriteError::ClosedStream | WriteError::ZeroRttRejected => TransportError::Closed,
            })
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        if self.torn {
            return Err(TransportError::Io("an earlier send on this stream was given up".to_owned()));
        }
        self.finished = true;
        self.ends();
        self.inner.finish().map_err(|_| TransportError::Closed)?;
        if let Some(stream) = self.taken.take() {
            let (stopped, uplink) = (self.inner.stopped(), self.pacer.uplink.clone());
            tokio::spawn(async move { uplink.over(stream, stopped.await.is_ok()) });
        }
        Ok(())
    }

    fn reset(&mut self, code: u32) {
        self.finished = true;
        let _ = self.inner.reset(code.into());
    }
}

impl Drop for QuicSend {
    fn drop(&mut self) {
        // quinn would finish it, and the other side would take a part for the whole.
        if !self.finished {
            let _ = self.inner.reset(0u32.into());
        }
        self.ends();
        if let Some(stream) = self.taken {
            self.pacer.uplink.over(stream, false);
        }
    }
}

struct QuicRecv {
    inner: quinn::RecvStream,
    /// How it ended: quinn forgets, and asking again must give the same answer.
    ended: Option<Result<usize, TransportError>>,
    /// It is not forgotten before.
    _connection: Arc<Held>,
}

impl RecvStream for QuicRecv {
    fn recv<'a>(&'a mut self, buf: &'a mut [u8]) -> BoxFuture<'a, Result<usize, TransportError>> {
        Box::pin(async move {
            if buf.is_empty() {
                return Ok(0);
            }
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            let ended = match self.inner.read(buf).await {
                Ok(Some(count)) => return Ok(count),
                Ok(None) => Ok(0),
                Err(ReadError::Reset(code)) => Err(TransportError::Reset(code_of(code))),
                Err(ReadError::ConnectionLost(error)) => Err(error.into()),
                Err(_) => Err(TransportError::Closed),
            };
            self.ended.insert(ended).clone()
        })
    }

    fn stop(&mut self, code: u32) {
        if self.ended.is_none() {
            let _ = self.inner.stop(code.into());
            self.ended = Some(Err(TransportError::Reset(code)));
        }
    }
}
