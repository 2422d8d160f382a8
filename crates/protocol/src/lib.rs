//! What peers and trackers say to each other, and the nouns they say it with.
//!
//! Ids, the manifest, the geometry between pieces and bytes, the messages, and the one file that uses bincode
//! (`codec`). Nothing here touches a socket or a disk, so every decoder can be fuzzed as a function of bytes.
//!
//! # Example
//!
//! A message survives its encoding, and what is no message is refused:
//!
//! ```
//! use p2p_fileshare_protocol::{ContentId, Digest, PeerMessage, PieceRange, Wire};
//!
//! let content = ContentId(Digest::of(b"a manifest"));
//! let runs = vec![PieceRange { first: 0, count: 16 }];
//! let message = PeerMessage::Have { content, runs, in_flight: Vec::new() };
//! let bytes = message.encode()?;
//! assert_eq!(PeerMessage::decode(&bytes)?, message);
//! assert!(PeerMessage::decode(&bytes[1..]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod codec;
mod geometry;
mod id;
mod instance;
mod lease;
mod manifest;
mod mapped_name;
mod message;
mod name;
mod origin_url;
mod paths;
mod pieces;
mod printable;
mod private;
mod probe;
mod query;
mod redacted;
mod relay;
mod second_address;
mod stream_pieces;
mod ticket;

pub use code::{
    Code, CodeError, CodeMessage, MAX_CODE_MESSAGE, MAX_MAILBOX, MailboxEvent, MailboxRefusal, MailboxRequest,
};
pub use codec::{DecodeError, EncodeError, Wire};
pub use geometry::{Block, Geometry, GeometryError, Piece, Stretch, default_piece_size};
pub use id::{ABBREVIATED, ContentId, PeerId};
pub use instance::TrackerInstance;
pub use integrity::{Algorithm, Digest, DigestHasher, Key, Mac};
pub use lease::{LeaseEvent, LeaseRequest, MAX_WRONG, OriginKey};
pub use manifest::{FileEntry, MAX_FILES, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestHeader};
pub use mapped_name::{mapped_name, unmapped_name};
pub use message::{
    Announce, Answer, COME_AGAIN, ContentMatch, FOR_SO_MANY, MAX_FRAME, MAX_IN_FLIGHT, MAX_MATCHES, MAX_OFFERS,
    MAX_RECEIVERS, MAX_RUNS, MAX_SITE, MAX_SOURCES, MAX_WATCHED, NOT_SHARED_NOW, NOT_YET, PeerAddress, PeerMessage,
    PeerProgress, ProvenShare, REPORT_SECONDS, ReceiverList, RefusalReason, Request, Role, SHARE_OVER, TrackerEvent,
    TrackerRequest, VERSION, WatchedPeer, WatchedSource, report_mark,
};
pub use name::{NameError, check_local_name, check_name, decorated_name};
pub use origin_url::{MAX_ORIGIN_URL, OriginUrl, OriginUrlError};
pub use paths::{MAX_PATH_BYTES, MAX_PATH_PARTS, PathTree, check_path, new_folders, path_order};
pub use pieces::{PieceRange, PieceSet};
pub use printable::{has_unprintable, is_unprintable, printable};
pub use private::{MAX_PROOFS, PROOF_LABEL, Secret, ShareKey, Turn};
pub use probe::{MAX_PROBE_PLACES, ProbeEvent, ProbeReport, ProbeRequest};
pub use query::{Query, QueryError};
pub use redacted::redacted;
pub use relay::{Carried, LEG_MARK, LegKey, RelayKey, relay_mark};
pub use second_address::{AddressToken, MAX_OWN_ADDRESSES, second_address_mark};
pub use stream_pieces::{StreamPieces, StreamedPieces};
pub use ticket::{LONGEST_TICKET, MAX_TICKET_TRACKERS, Ticket, TicketError, TicketTracker};

/// Most pieces that a content may have.
pub const MAX_PIECES: u32 = 1 << 20;
