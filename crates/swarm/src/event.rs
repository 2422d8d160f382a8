//! What an engine is told and what it asks for. Ids of connections and serves are the shell's; ids of requests are
//! the engine's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ContentId, Geometry, PeerAddress, PeerId, PeerMessage, PieceRange, PieceSet, RefusalReason};

/// A connection, numbered by the shell; never used twice.
pub type ConnId = u64;
/// A request that this engine made.
pub type RequestId = u64;
/// A request that another peer made of us, numbered by the shell.
pub type ServeId = u64;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// This peer wants a content whose manifest it does not have yet.
    Want {
        /// The content.
        content: ContentId,
    },
    /// The manifest is known (it was here, or arrived and was checked).
    Content {
        /// The content.
        content: ContentId,
        /// How it is cut.
        geometry: Arc<Geometry>,
        /// The pieces that are stored here and may be served.
        have: PieceSet,
        /// The pieces that are to be here; those that are already, or are not named, are not asked for.
        wanted: PieceSet,
    },
    /// More of a manifest has come.
    ManifestProgress {
        /// The content.
        content: ContentId,
        /// The sender.
        conn: ConnId,
        /// Bytes that have come.
        came: u64,
        /// Bytes that it has, as its sender says.
        total: u64,
    },
    /// The right manifest has come, or was here; [`Event::Content`] follows once it is known which pieces are here.
    ManifestCame {
        /// The content.
        content: ContentId,
    },
    /// The manifest did not come, or was not the right one.
    ManifestFailed {
        /// The content.
        content: ContentId,
        /// The peer that was asked.
        conn: ConnId,
        /// Whether what came was wrong rather than missing.
        lied: bool,
    },
    /// Somebody reads the content here in order: these pieces are to come first, in this order. Nothing if the reader is gone.
    Reading {
        /// The content.
        content: ContentId,
        /// The number of the reader.
        reader: u64,
        /// The piece that it waits for, and those that it will want next.
        window: Option<PieceRange>,
    },
    /// Pieces of a content that is wanted can be read from its origin.
    Origin {
        /// The content.
        content: ContentId,
        /// Most bytes a second that are read from there, if somebody has said so: what is slow for that reason is not at fault.
        cap: Option<u64>,
        /// Whether it is read only where peers bring next to nothing.
        spare: bool,
    },
    /// Pieces of a content are read from its origin before they are given. With a piece, all of the part of the file that holds it is read.
    ReadInParts {
        /// The content.
        content: ContentId,
        /// Bytes of a part.
        part: u64,
    },
    /// The content is not shared or wanted any more.
    Withdraw {
        /// The content.
        content: ContentId,
    },
    /// Peers of a content were heard of from the tracker.
    Found {
        /// The content.
        content: ContentId,
        /// The peers.
        peers: Vec<PeerAddress>,
    },
    /// The tracker says that these are gone.
    Gone {
        /// The content.
        content: ContentId,
        /// The peers.
        peers: Vec<PeerId>,
    },
    /// A connection stands.
    Connected {
        /// Its number.
        conn: ConnId,
        /// The peer at the other end, proven.
        peer: PeerId,
        /// Where; its port is 0 if it takes no connections there, as at one from which it dials over TCP.
        remote: SocketAddr,
        /// Whether this side dialled.
        dialled: bool,
        /// Whether a relay carries it.
        relayed: bool,
    },
    /// None of a peer's addresses answered.
    DialFailed {
        /// The peer.
        peer: PeerId,
    },
    /// A peer was not dialled for now: too many dials of its addresses, or of others there, were in vain of late.
    DialHeldBack {
        /// The peer.
        peer: PeerId,
    },
    /// A connection has ended.
    Disconnected {
        /// Its number.
        conn: ConnId,
    },
    /// Both sides of a connection have proven that they take part in a content, before either said so.
    Admitted {
        /// The connection.
        conn: ConnId,
        /// The content.
        content: ContentId,
        /// Whether they did so on a connection that stood already: what was said of the content before has not reached the
        /// other side.
        late: bool,
    },
    /// A message came on the control stream.
    Message {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: PeerMessage,
    },
    /// The other side asks for pieces.
    Requested {
        /// The connection.
        conn: ConnId,
        /// The number of this question.
        serve: ServeId,
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
        /// Whether somebody waits for them.
        awaited: bool,
    },
    /// The other side, which does not have the manifest yet, asks for what it is offered first.
    RequestedFirst {
        /// The connection.
        conn: ConnId,
        /// The number of this question.
        serve: ServeId,
        /// The content.
        content: ContentId,
        /// Most bytes.
        most: u64,
    },
    /// The answer to [`Action::FetchFirst`] begins: it is these pieces.
    FirstPieces {
        /// The request.
        request: RequestId,
        /// The pieces, as the other side says.
        run: PieceRange,
    },
    /// A serve has ended, well or not.
    Served {
        /// Its number.
        serve: ServeId,
        /// How many of its pieces, from the first on, were handed to the transport: not all if the other side stopped it, or they could not
        /// be read.
        pieces: u32,
    },
    /// Bytes of a request arrived.
    Progress {
        /// The request.
        request: RequestId,
        /// How many since the last such event.
        bytes: u64,
    },
    /// A piece of a request arrived, was verified and is stored; the request may have been given up meanwhile.
    Stored {
        /// The content.
        content: ContentId,
        /// The request.
        request: RequestId,
        /// The piece.
        piece: u32,
    },
    /// A piece of a request arrived and is wrong.
    Corrupt {
        /// The request.
        request: RequestId,
        /// The piece.
        piece: u32,
    },
    /// A request has ended; pieces that did not arrive are open again.
    Finished {
        /// The request.
        request: RequestId,
        /// What went wrong, if anything.
        failure: Option<Failure>,
    },
    /// A fresh estimate of a connection's round trip.
    RoundTrip {
        /// The connection.
        conn: ConnId,
        /// The estimate.
        rtt: Duration,
    },
    /// Nothing at all has come over a connection for longer than a live one is ever silent.
    Silence {
        /// The connection.
        conn: ConnId,
    },
    /// Time has passed: call it at [`crate::Engine::next_timeout`].
    Tick,
}

/// Why a request ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The other side refused.
    Refused(RefusalReason),
    /// The stream broke, or was cancelled by us.
    Broken,
    /// The answer was not what was asked for.
    Invalid,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to a peer: try its addresses side by side.
    Dial {
        /// Whom, and where.
        peer: PeerAddress,
    },
    /// A peer is being dialled, and the tracker has named further addresses of it: try these as part of that dial. Nothing
    /// follows that would not have followed without it.
    DialAlso {
        /// Whom, and where else.
        peer: PeerAddress,
    },
    /// Close a connection.
    Close {
        /// Its number.
        conn: ConnId,
        /// A sentence for the other side's log.
        reason: &'static str,
    },
    /// Send a message on the control stream.
    Send {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: PeerMessage,
    },
    /// Ask for the manifest; answer with `Content` or `ManifestFailed`.
    FetchManifest {
        /// The connection.
        conn: ConnId,
        /// The content.
        content: ContentId,
    },
    /// Give up asking for a manifest; nothing follows.
    CancelManifest {
        /// The connection.
        conn: ConnId,
        /// The content.
        content: ContentId,
    },
    /// Ask for pieces; answer with `Progress`, `Stored`, `Corrupt` and at the end `Finished`.
    Fetch {
        /// The connection.
        conn: ConnId,
        /// The number of the request.
        request: RequestId,
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
        /// Whether somebody waits for them.
        awaited: bool,
    },
    /// Ask for the pieces that are offered first, though it is not known yet how the content is cut; answer with
    /// [`Event::FirstPieces`], hold what comes unverified, and end with `Finished`.
    FetchFirst {
        /// The connection.
        conn: ConnId,
        /// The number of the request.
        request: RequestId,
        /// The content.
        content: ContentId,
        /// Most bytes that may be held.
        most: u64,
    },
    /// What comes of such a request is these pieces, and wanted: go on as with [`Action::Fetch`].
    TakeFirst {
        /// The number of the request.
        request: RequestId,
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
    },
    /// Read pieces from the origin of a content; answer as with `Fetch`.
    FetchFromOrigin {
        /// The number of the request.
        request: RequestId,
        /// The content.
        content: ContentId,
        /// The pieces.
        run: PieceRange,
    },
    /// Give a request up; it still ends with `Finished`.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// Send the pieces that were asked for; answer with `Served`.
    Serve {
        /// The question.
        serve: ServeId,
    },
    /// Say at once which pieces answer an [`Event::RequestedFirst`]; `Serve` follows when it is their turn.
    Choose {
        /// The question.
        serve: ServeId,
        /// The pieces.
        run: PieceRange,
    },
    /// Refuse what was asked for. No `Served` follows.
    Refuse {
        /// The question.
        serve: ServeId,
        /// Why.
        reason: RefusalReason,
    },
    /// All pieces of a content that are wanted are stored.
    Completed {
        /// The content.
        content: ContentId,
    },
    /// A content makes no progress: ask the tracker for more peers of it.
    FindMore {
        /// The content.
        content: ContentId,
    },
    /// Nobody who is connected has these pieces; empty once someone has.
    Lacking {
        /// The content.
        content: ContentId,
        /// The pieces that nobody has.
        runs: Vec<PieceRange>,
    },
    /// A peer lied too often and is shut out.
    Banned {
        /// The peer.
        peer: PeerId,
    },
}
