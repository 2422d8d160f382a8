//! What every transport promises, as checks that any backend can run, also one written elsewhere.
//!
//! [`run`] takes a way to make two fresh transports that can reach each other and runs each check
//! on a pair of its own. A broken promise panics, as a failed test does, with the promise's name.
//! Each check has a deadline: a transport that hangs fails like one that lies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::PeerId;

use crate::frame::read_exact;
use crate::{BoxFuture, Connection, RecvStream, SendStream, Transport, TransportError};

/// No check takes longer; on a slow, busy machine most take milliseconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes that no window of any transport holds.
const LARGE: usize = 8 << 20;

/// Two transports that can reach each other.
pub struct Pair {
    /// The one that dials.
    pub dialer: Arc<dyn Transport>,
    /// The one that is dialled.
    pub listener: Arc<dyn Transport>,
    /// Where the dialer finds the listener.
    pub addr: SocketAddr,
}

impl Pair {
    /// A pair whose listener is dialled at the first address that it listens on.
    pub fn new(dialer: Arc<dyn Transport>, listener: Arc<dyn Transport>) -> Self {
        let addr = *listener.listeners().first().expect("the listener listens");
        Self { dialer, listener, addr }
    }
}

/// One promise.
type Check = for<'a> fn(&'a Pair) -> BoxFuture<'a, ()>;

/// Runs every check on a fresh pair.
///
/// # Panics
/// When the transport breaks a promise.
pub async fn run(make: &(dyn Fn() -> Pair + Sync)) {
    let checks: [(&str, Check); 21] = [
        ("both sides learn who is there", |p| Box::pin(both_sides_learn_who_is_there(p))),
        ("a wrong peer is refused", |p| Box::pin(a_wrong_peer_is_refused(p))),
        ("an abbreviated id is expected too", |p| Box::pin(an_abbreviated_id_is_expected_too(p))),
        ("anyone is reached and proves who it is", |p| Box::pin(anyone_is_reached_and_proves_who_it_is(p))),
        ("both ends export the same", |p| Box::pin(both_ends_export_the_same(p))),
        ("dialling nobody fails in time", |p| Box::pin(dialling_nobody_fails_in_time(p))),
        ("a large stream waits for its reader", |p| Box::pin(a_large_stream_waits_for_its_reader(p))),
        ("both directions carry bytes at once", |p| Box::pin(both_directions_carry_bytes_at_once(p))),
        ("either side opens streams", |p| Box::pin(either_side_opens_streams(p))),
        ("many streams live side by side", |p| Box::pin(many_streams_live_side_by_side(p))),
        ("a slow stream holds up no other", |p| Box::pin(a_slow_stream_holds_up_no_other(p))),
        ("a finished stream ends", |p| Box::pin(a_finished_stream_ends(p))),
        ("a dropped sender resets", |p| Box::pin(a_dropped_sender_resets(p))),
        ("a given up send is no clean end", |p| Box::pin(a_given_up_send_is_no_clean_end(p))),
        ("a reset carries its code", |p| Box::pin(a_reset_carries_its_code(p))),
        ("a stop reaches the sender", |p| Box::pin(a_stop_reaches_the_sender(p))),
        ("a dropped receiver stops", |p| Box::pin(a_dropped_receiver_stops(p))),
        ("a close carries code and reason", |p| Box::pin(a_close_carries_code_and_reason(p))),
        ("a close arrives while much is unread", |p| Box::pin(a_close_arrives_while_much_is_unread(p))),
        ("closing ends everything", |p| Box::pin(closing_ends_everything(p))),
        ("figures grow with what is sent", |p| Box::pin(figures_grow_with_what_is_sent(p))),
    ];
    for (name, check) in checks {
        let pair = make();
        tracing::debug!(name, "conformance");
        if tokio::time::timeout(DEADLINE, check(&pair)).await.is_err() {
            panic!("{name}: not done after {DEADLINE:?}");
        }
        pair.dialer.close().await;
        pair.listener.close().await;
    }
}

/// A stranger to a closed swarm gets no connection that is of any use: what it dials is closed before the first stream,
/// its members see nobody, and members do not talk to it when they are led there.
///
/// # Panics
/// When the transport breaks this promise.
pub async fn keeps_out(member: &dyn Transport, stranger: &dyn Transport) {
    let check = async {
        let address = member.listeners()[0];
        // A dialler may be done before its certificate was looked at.
        if let Ok(connection) = stranger.dial(address, member.peer_id()).await {
            let nothing = async {
                let (mut send, mut recv) = connection.open().await?;
                send.send(Bytes::from_static(b"let me in")).await?;
                recv.recv(&mut [0; 8]).await
            };
            assert!(nothing.await.is_err(), "a stranger was answered");
            assert!(connection.accept().await.is_err(), "a member opened a stream to a stranger");
        }
        let dialled = member.dial(stranger.listeners()[0], stranger.peer_id()).await;
        assert!(dialled.is_err(), "a member dialled a stranger");
        let came = tokio::time::timeout(Duration::from_millis(300), member.accept()).await;
        assert!(came.is_err(), "a stranger was let in");
    };
    assert!(tokio::time::timeout(DEADLINE, check).await.is_ok(), "a stranger was left waiting");
}

/// One connection, from both ends.
async fn connect(pair: &Pair) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
    let (dialled, accepted) =
        tokio::join!(pair.dialer.dial(pair.addr, pair.listener.peer_id()), pair.listener.accept());
    (dialled.expect("the expected peer can be dialled"), accepted.expect("the listener accepts"))
}

/// One stream that the dialer opened and the listener accepted; a first byte was sent and taken, since
/// a stream shows only once something was sent.
async fn stream(dialled: &dyn Connection, accepted: &dyn Connection) -> Ends {
    let (mut send, recv) = dialled.open().await.expect("a stream opens");
    send.send(Bytes::from_static(b"!")).await.expect("a byte is sent");
    let (answer, mut question) = accepted.accept().await.expect("the stream is accepted");
    let mut first = [0];
    read_exact(&mut *question, &mut first).await.expect("the byte arrives");
    assert_eq!(first, *b"!");
    Ends { send, question, answer, recv }
}

/// The four halves of a stream: `send` arrives at `question`, `answer` at `recv`.
struct Ends {
    send: Box<dyn SendStream>,
    question: Box<dyn RecvStream>,
    answer: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
}

/// Bytes in which a shift, a gap or a repetition shows.
fn pattern(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(length);
    bytes.into()
}

/// Everything until the end.
async fn read_to_end(recv: &mut dyn RecvStream) -> Result<Vec<u8>, TransportError> {
    let mut all = Vec::new();
    let mut buf = vec![0; 64 << 10];
    loop {
        match recv.recv(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

/// Sends everything and finishes.
async fn send_all(send: &mut dyn SendStream, data: Bytes) -> Result<(), TransportError> {
    send.send(data).await?;
    send.finish()
}

/// Sends until that fails, and says with what.
async fn send_until_refused(send: &mut dyn SendStream) -> TransportError {
    loop {
        if let Err(error) = send.send(pattern(64 << 10, 1)).await {
            return error;
        }
    }
}

/// Each side knows the other's id and the dialer the listener's address.
pub async fn both_sides_learn_who_is_there(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    assert_eq!(dialled.peer_id(), pair.listener.peer_id());
    assert_eq!(accepted.peer_id(), pair.dialer.peer_id());
    assert_ne!(pair.dialer.peer_id(), pair.listener.peer_id());
    assert_eq!(dialled.remote_addr(), pair.addr);
    // From which port a dialer dials is its own affair.
    let hosts: Vec<_> = pair.dialer.listeners().iter().map(SocketAddr::ip).collect();
    assert!(hosts.contains(&accepted.remote_addr().ip()), "{} is none of {hosts:?}", accepted.remote_addr());
    assert!(!pair.listener.name().is_empty());
}

/// A peer other than the expected one is refused as such, and the listener can still be dialled.
pub async fn a_wrong_peer_is_refused(pair: &Pair) {
    let stranger = PeerId::of_public_key(b"nobody's key");
    let refused = pair.dialer.dial(pair.addr, stranger).await.err();
    assert_eq!(refused, Some(TransportError::WrongPeer { addr: pair.addr, expected: stranger }));
    connect(pair).await;
}

/// A peer that was expected by an abbreviated id is known by the whole one, and any other is refused.
pub async fn an_abbreviated_id_is_expected_too(pair: &Pair) {
    let id = pair.listener.peer_id();
    let (dialled, accepted) = tokio::join!(pair.dialer.dial(pair.addr, id.abbreviated()), pair.listener.accept());
    assert_eq!(dialled.expect("it is who was expected").peer_id(), id);
    drop(accepted);
    let expected = PeerId::of_public_key(b"nobody's key").abbreviated();
    let refused = pair.dialer.dial(pair.addr, expected).await.err();
    assert_eq!(refused, Some(TransportError::WrongPeer { addr: pair.addr, expected }));
}

/// Where no id is named, the peer that is there is reached, and its id comes of its certificate.
pub async fn anyone_is_reached_and_proves_who_it_is(pair: &Pair) {
    let (dialled, accepted) = tokio::join!(pair.dialer.dial_anyone(pair.addr), pair.listener.accept());
    let (dialled, accepted) = (dialled.expect("dial"), accepted.expect("accept"));
    assert_eq!((dialled.peer_id(), accepted.peer_id()), (pair.listener.peer_id(), pair.dialer.peer_id()));
    // Also what needs more than the first connection of the transport below.
    let (mut send, _recv) = dialled.open().await.expect("open");
    send.send(Bytes::from_static(b"to you")).await.expect("send");
    let (_send, mut recv) = accepted.accept().await.expect("accept a stream");
    let mut got = [0; 6];
    read_exact(&mut *recv, &mut got).await.expect("receive");
    assert_eq!(&got, b"to you");
}

/// What is exported is the same at both ends, again and again, and differs between labels and connections.
pub async fn both_ends_export_the_same(pair: &Pair) {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let (dialled, accepted) = connect(pair).await;
        for label in ["one", "two", ""] {
            let exported = dialled.exporter(label).expect("it is exported");
            assert_eq!(accepted.exporter(label), Ok(exported), "both ends");
            assert_eq!(dialled.exporter(label), Ok(exported), "again");
            assert!(seen.insert(exported), "{label:?} was exported before, of another connection or label");
        }
        // A stream changes nothing.
        let _ends = stream(&*dialled, &*accepted).await;
        assert_eq!(dialled.exporter("one"), accepted.exporter("one"));
    }
}

/// A dial to an address where nobody is ends by itself.
pub async fn dialling_nobody_fails_in_time(pair: &Pair) {
    pair.listener.close().await;
    let outcome = tokio::time::timeout(Duration::from_secs(10), pair.dialer.dial(pair.addr, pair.listener.peer_id()));
    let error = outcome.await.expect("a dial has a deadline").err();
    assert_eq!(error, Some(TransportError::Unreachable(pair.addr)));
}

/// More than any window holds stops until it is read, and then arrives whole.
pub async fn a_large_stream_waits_for_its_reader(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let data = pattern(2 * LARGE, 7);
    let mut sending = Box::pin(send_all(&mut *ends.send, data.clone()));
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut sending).await;
    assert!(waited.is_err(), "a sender without a reader waits");
    let (sent, received) = tokio::join!(sending, read_to_end(&mut *ends.question));
    sent.expect("all of it is sent");
    assert!(received.expect("all of it is received") == data, "the bytes arrive unchanged");
}

/// Question and answer do not wait for each other.
pub async fn both_directions_carry_bytes_at_once(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let (there, back) = (pattern(LARGE, 1), pattern(LARGE, 2));
    let (a, b, there_again, back_again) = tokio::join!(
        send_all(&mut *ends.send, there.clone()),
        send_all(&mut *ends.answer, back.clone()),
        read_to_end(&mut *ends.question),
        read_to_end(&mut *ends.recv),
    );
    a.and(b).expect("both are sent");
    assert!(there_again.expect("received") == there && back_again.expect("received") == back);
}

/// Streams are not only the dialer's to open.
pub async fn either_side_opens_streams(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*accepted, &*dialled).await;
    send_all(&mut *ends.answer, Bytes::from_static(b"answer")).await.expect("sent");
    assert_eq!(read_to_end(&mut *ends.recv).await.as_deref(), Ok(&b"answer"[..]));
}

/// More streams than may be open at once come through, each with its own bytes.
pub async fn many_streams_live_side_by_side(pair: &Pair) {
    const STREAMS: u64 = 300;
    let (dialled, accepted) = connect(pair).await;
    let server = tokio::spawn(async move {
        for _ in 0..STREAMS {
            let (mut send, mut recv) = accepted.accept().await.expect("accepted");
            tokio::spawn(async move {
                let question = read_to_end(&mut *recv).await.expect("received");
                send_all(&mut *send, question.into()).await.expect("sent back");
            });
        }
        accepted // kept until the dialer has heard all
    });
    let mut clients = Vec::new();
    for number in 0..STREAMS {
        let dialled = dialled.clone();
        clients.push(tokio::spawn(async move {
            let (mut send, mut recv) = dialled.open().await.expect("opened");
            let data = pattern(10_000 + number as usize, number);
            let (sent, answer) = tokio::join!(send_all(&mut *send, data.clone()), read_to_end(&mut *recv));
            sent.expect("sent");
            assert!(answer.expect("answered") == data, "stream {number} got another one's bytes");
        }));
    }
    for client in clients {
        client.await.expect("a stream did its work");
    }
    server.await.expect("all were accepted");
}

/// A stream that nobody reads leaves room for the others.
pub async fn a_slow_stream_holds_up_no_other(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut slow = stream(&*dialled, &*accepted).await;
    let stuck = tokio::time::timeout(Duration::from_millis(300), send_until_refused(&mut *slow.send)).await;
    assert!(stuck.is_err(), "a sender without a reader waits");
    let mut other = stream(&*dialled, &*accepted).await;
    send_all(&mut *other.send, Bytes::from_static(b"through")).await.expect("sent");
    assert_eq!(read_to_end(&mut *other.question).await.as_deref(), Ok(&b"through"[..]));
}

/// The end is a 0, again and again; an empty buffer gets one too, without ending anything.
pub async fn a_finished_stream_ends(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    assert_eq!(ends.question.recv(&mut []).await, Ok(0), "an empty buffer does not wait");
    ends.send.send(Bytes::new()).await.expect("sending nothing is allowed");
    send_all(&mut *ends.send, Bytes::from_static(b"last words")).await.expect("sent");
    drop(ends.send);
    assert_eq!(ends.question.recv(&mut []).await, Ok(0));
    assert_eq!(read_to_end(&mut *ends.question).await.as_deref(), Ok(&b"last words"[..]));
    assert_eq!(ends.question.recv(&mut [0; 8]).await, Ok(0), "the end stays the end");
}

/// Half an answer is never taken for a whole one.
pub async fn a_dropped_sender_resets(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    ends.send.send(Bytes::from_static(b"half an ans")).await.expect("sent");
    drop(ends.send);
    assert_eq!(read_to_end(&mut *ends.question).await, Err(TransportError::Reset(0)));
    assert_eq!(ends.question.recv(&mut [0; 8]).await, Err(TransportError::Reset(0)), "the reset stays");
}

/// A send whose future was dropped leaves a stream that cannot be finished.
pub async fn a_given_up_send_is_no_clean_end(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let sending = ends.send.send(pattern(2 * LARGE, 3));
    assert!(tokio::time::timeout(Duration::from_millis(300), sending).await.is_err());
    assert!(ends.send.finish().is_err(), "half a buffer was sent");
    drop(ends.send);
    assert_eq!(read_to_end(&mut *ends.question).await, Err(TransportError::Reset(0)));
}

/// The receiver sees the sender's code.
pub async fn a_reset_carries_its_code(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    ends.answer.reset(42);
    assert_eq!(read_to_end(&mut *ends.recv).await, Err(TransportError::Reset(42)));
    // The other direction lives on.
    send_all(&mut *ends.send, Bytes::from_static(b"still here")).await.expect("sent");
    assert_eq!(read_to_end(&mut *ends.question).await.as_deref(), Ok(&b"still here"[..]));
}

/// The sender sees the receiver's code, also while it waits for room.
pub async fn a_stop_reaches_the_sender(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ends.question.stop(77);
    };
    let (error, ()) = tokio::join!(send_until_refused(&mut *ends.send), stop);
    assert_eq!(error, TransportError::Reset(77));
}

/// Nothing is sent to a peer that has gone.
pub async fn a_dropped_receiver_stops(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    drop(ends.question);
    assert_eq!(send_until_refused(&mut *ends.send).await, TransportError::Reset(0));
}

/// Both sides learn how a connection ended, wherever they wait.
pub async fn a_close_carries_code_and_reason(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let heard = TransportError::ClosedByPeer { code: 7, reason: "enough".to_owned() };
    let mut buf = [0; 8];
    let waiting = async { tokio::join!(accepted.closed(), accepted.accept(), ends.question.recv(&mut buf)) };
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        dialled.close(7, "enough");
    };
    let ((closed, next, received), ()) = tokio::join!(waiting, close);
    assert_eq!(closed, heard);
    assert_eq!(next.err(), Some(heard.clone()));
    assert_eq!(received, Err(heard.clone()));
    assert_eq!(accepted.open().await.err(), Some(heard));
    assert_eq!(dialled.closed().await, TransportError::Closed);
    assert_eq!(dialled.open().await.err(), Some(TransportError::Closed));
    assert_eq!(ends.recv.recv(&mut [0; 8]).await, Err(TransportError::Closed));
}

/// The reason arrives although the side that closes has not read what came, and lets go of all it holds at once, while the
/// other goes on sending and opening streams.
pub async fn a_close_arrives_while_much_is_unread(pair: &Pair) {
    for turn in 0..32 {
        let (dialled, accepted) = connect(pair).await;
        let mut ends = stream(&*dialled, &*accepted).await;
        let heard = TransportError::ClosedByPeer { code: turn, reason: "malformed".to_owned() };
        let sending = async {
            while ends.send.send(Bytes::from_static(&[1; 4096])).await.is_ok() {}
            // A stream may end before the reason is here; one that is opened in between has nobody at the other end.
            let mut opened = dialled.open().await;
            while opened.is_ok() {
                tokio::task::yield_now().await;
                opened = dialled.open().await;
            }
            opened.err()
        };
        let (question, answer) = (ends.question, ends.answer);
        let close = async move {
            tokio::time::sleep(Duration::from_millis(u64::from(turn % 8))).await;
            accepted.close(turn, "malformed");
            drop((question, answer, accepted));
        };
        let (opened, ()) = tokio::join!(sending, close);
        assert_eq!(opened, Some(heard.clone()));
        assert_eq!(dialled.closed().await, heard);
    }
}

/// After a transport is closed nothing comes, nothing goes, and the other side knows.
pub async fn closing_ends_everything(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let waiting = pair.listener.accept();
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        pair.listener.close().await;
    };
    let (next, ()) = tokio::join!(waiting, close);
    assert!(next.is_none(), "an accept that waits ends");
    assert!(pair.listener.accept().await.is_none(), "and a later one too");
    assert_eq!(accepted.closed().await, TransportError::Closed);
    assert!(matches!(dialled.closed().await, TransportError::ClosedByPeer { code: 0, .. }));
    let own = pair.dialer.listeners()[0];
    assert_eq!(pair.listener.dial(own, pair.dialer.peer_id()).await.err(), Some(TransportError::Closed));
    pair.listener.close().await; // a second time does no harm
}

/// Counters count at least what was sent.
pub async fn figures_grow_with_what_is_sent(pair: &Pair) {
    let (dialled, accepted) = connect(pair).await;
    let mut ends = stream(&*dialled, &*accepted).await;
    let data = pattern(1 << 20, 5);
    let (sent, received) = tokio::join!(send_all(&mut *ends.send, data.clone()), read_to_end(&mut *ends.question));
    sent.and(received).expect("carried");
    let (here, there) = (dialled.stats(), accepted.stats());
    assert!(here.sent >= data.len() as u64, "{here:?}");
    assert!(there.received >= data.len() as u64, "{there:?}");
    assert!(here.rtt < Duration::from_secs(5), "{here:?}");
}
