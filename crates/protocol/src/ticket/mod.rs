//! The ticket: where a tracker is, who it must prove to be, and which content is meant, in one string to paste.
//!
//! Of an open share it is `p2p` and base32 (RFC 4648, lower case, no padding) of: version (1 byte), content id (32), tracker
//! id (32), number of addresses (1), the addresses (a byte 4 or 6, the IP, the port in big endian), and the first 4 bytes of
//! the BLAKE3 hash of all before.
//!
//! Of a private share it is short ([`short`]): it carries the share's secret, half of the tracker's id, and the content id
//! only if the tracker is not the sharer's own, which proves that it may tell it. Everyone who has it may take the content.
//!
//! With several trackers it is longer ([`several`]): all of them know the content, or those that live do.
//!
//! A checksum tells a slip in copying from a ticket that leads nowhere. What mails and chats do to a text is undone
//! ([`text`]): breaks, quotes, upper case, and the words around it. Of a text with several
//! tickets none is taken.

mod bits;
mod several;
mod short;
mod text;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;
use integrity::Digest;

use crate::private::Secret;
use crate::{ContentId, PeerId};
use bits::{Reader, Unreadable};

/// What every ticket begins with.
const PREFIX: &str = "p2p";
const VERSION: u8 = 1;
/// The version of those with several trackers.
const SEVERAL: u8 = 2;
/// Most addresses of all trackers together.
const MAX_ADDRESSES: usize = 16;
/// Most trackers of a ticket.
pub const MAX_TICKET_TRACKERS: usize = 8;
/// Most characters of a ticket: private, with eight trackers, which have sixteen addresses of IPv6 together.
pub const LONGEST_TICKET: usize = 800;
const CHECKSUM: usize = 4;

/// Everything that someone needs to get a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// At least one.
    trackers: Vec<TicketTracker>,
    content: Option<ContentId>,
    secret: Option<Secret>,
}

/// A tracker of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketTracker {
    /// The id that it must prove; abbreviated unless the ticket is of an open share with one tracker.
    pub id: PeerId,
    /// Where it may be, best first; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin as tickets do.
    #[error("this is no ticket: tickets begin with p2p")]
    Prefix,
    /// A character is wrong, missing or too many.
    #[error(
        "damaged: a character of the ticket is wrong or missing, or one is too many. Copy the whole line once more"
    )]
    Mistyped,
    /// Its end is missing.
    #[error("the ticket was cut off after {0} characters. Copy the whole line once more")]
    CutOff(usize),
    /// Only its beginning is there, as it is written where there is no room for all of it.
    #[error("this is only the beginning of a ticket. Copy all of the line that `peer-cli share` printed")]
    Shortened,
    /// There is more than one in the text: so many.
    #[error("these are {0} tickets: give each on its own")]
    Several(usize),
    /// It is of a later version.
    #[error("this ticket is of version {0}, which this program is too old for")]
    Version(u8),
    /// Its checksum is right, and still it makes no sense: another program made it.
    #[error("the program that made this ticket made it wrong")]
    Malformed,
    /// A ticket has 1 to 16 addresses, with ports, and one at least of each tracker.
    #[error("a ticket needs 1 to 16 addresses with ports, of 8 trackers at most")]
    Addresses,
}

impl Ticket {
    /// A ticket for an open content that is known to the tracker `tracker` at these addresses, 1 to 16, best first.
    pub fn new(tracker: PeerId, addresses: Vec<SocketAddr>, content: ContentId) -> Result<Self, TicketError> {
        let addresses = checked(addresses)?;
        Ok(Ticket { trackers: vec![TicketTracker { id: tracker, addresses }], content: Some(content), secret: None })
    }

    /// A ticket for a private share. Its tracker tells holders the content id if that is not given, so it must be one that
    /// cannot lie: the sharer's own.
    pub fn private(
        tracker: PeerId,
        addresses: Vec<SocketAddr>,
        secret: Secret,
        content: Option<ContentId>,
    ) -> Result<Self, TicketError> {
        let addresses = checked(addresses)?;
        let trackers = vec![TicketTracker { id: tracker.abbreviated(), addresses }];
        Ok(Ticket { trackers, content, secret: Some(secret) })
    }

    /// A ticket for a content that any of these trackers may know, with its secret if it is private. None of them is the sharer's
    /// own, so none needs to tell which content it is. With one tracker it is what [`Ticket::new`] and [`Ticket::private`] make.
    pub fn of_trackers(
        trackers: Vec<TicketTracker>,
        content: ContentId,
        secret: Option<Secret>,
    ) -> Result<Self, TicketError> {
        if let [TicketTracker { id, .. }] = trackers[..] {
            let addresses = trackers.into_iter().flat_map(|tracker| tracker.addresses).collect();
            return match secret {
                Some(secret) => Ticket::private(id, addresses, secret, Some(content)),
                None => Ticket::new(id, addresses, content),
            };
        }
        let addresses = trackers.iter().map(|tracker| tracker.addresses.len()).sum::<usize>();
        if trackers.len() > MAX_TICKET_TRACKERS || addresses > MAX_ADDRESSES {
            return Err(TicketError::Addresses);
        }
        let checked = |TicketTracker { id, addresses }| {
            Ok(TicketTracker { id: PeerId::abbreviated(&id), addresses: checked(addresses)? })
        };
        let trackers: Vec<_> = trackers.into_iter().map(checked).collect::<Result<_, TicketError>>()?;
        if trackers.is_empty() {
            Err(TicketError::Addresses)
        } else {
            Ok(Ticket { trackers, content: Some(content), secret })
        }
    }

    /// The id that the tracker must prove, the first of several; of a private share it is abbreviated.
    pub fn tracker(&self) -> PeerId {
        self.trackers[0].id
    }

    /// Where the tracker may be, the first of several, best first; at least one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.trackers[0].addresses
    }

    /// All trackers; at least one.
    pub fn trackers(&self) -> &[TicketTracker] {
        &self.trackers
    }

    /// The content, unless the tracker is to tell it.
    pub fn content(&self) -> Option<ContentId> {
        self.content
    }

    /// The secret of a private share.
    pub fn secret(&self) -> Option<Secret> {
        self.secret
    }

    /// Whether a text is meant as a ticket, however it is damaged: no name of a file looks like this by chance.
    pub fn is_meant(text: &str) -> bool {
        text::find(text, decode).is_some()
    }

    /// The ticket in a text, whatever stands around it and in between, or what is wrong with it: if there are several, that is
    /// [`TicketError::Several`]. Nothing if there is none.
    pub fn find(text: &str) -> Option<Result<Self, TicketError>> {
        text::find(text, decode)
    }

    /// What is wrong with a ticket that is both damaged and broken up, as a mail breaks lines. Only for texts that are no names: one
    /// that begins as a ticket does is taken for one.
    pub fn damage(text: &str) -> Option<TicketError> {
        text::damage(text, decode)
    }

    /// Whether a word is the beginning of a ticket and no more, as it is written where there is no room for all of it: `p2p2aeb6…`.
    pub fn is_shortened(word: &str) -> bool {
        text::is_shortened(word)
    }

    fn encode(&self, content: ContentId) -> Vec<u8> {
        let TicketTracker { id, addresses } = &self.trackers[0];
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&content.0.0);
        bytes.extend_from_slice(&id.0.0);
        write_addresses(&mut bytes, addresses);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }
}

/// Their number, and each with its port.
fn write_addresses(bytes: &mut Vec<u8>, addresses: &[SocketAddr]) {
    bytes.push(addresses.len() as u8);
    for address in addresses {
        match address.ip() {
            IpAddr::V4(ip) => {
                bytes.push(4);
                bytes.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.push(6);
                bytes.extend_from_slice(&ip.octets());
            }
        }
        bytes.extend_from_slice(&address.port().to_be_bytes());
    }
}

/// What a ticket can carry of addresses: no scope and no flow label, so that equal tickets are equal texts.
fn checked(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, TicketError> {
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) || addresses.iter().any(|address| address.port() == 0) {
        return Err(TicketError::Addresses);
    }
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address.ip(), address.port())).collect())
}

/// The ticket that these characters begin with, and how many of them it has.
fn decode(characters: &[u8]) -> Result<(Ticket, usize), TicketError> {
    let mut reader = Reader::new(characters);
    let decoded = match characters.first() {
        Some(b'2'..=b'7') => short::read(&mut reader),
        _ => read_open(&mut reader, characters),
    };
    match decoded {
        Ok(ticket) => Ok((ticket, reader.read())),
        Err(Failed::Unreadable(Unreadable::End)) => Err(TicketError::CutOff(PREFIX.len() + characters.len())),
        Err(Failed::Unreadable(Unreadable::Wrong)) => Err(TicketError::Mistyped),
        Err(Failed::Ticket(error)) => Err(error),
    }
}

/// What ends a decoding.
enum Failed {
    Unreadable(Unreadable),
    Ticket(TicketError),
}

impl From<Unreadable> for Failed {
    fn from(error: Unreadable) -> Self {
        Failed::Unreadable(error)
    }
}

/// A ticket of an open share, or one with several trackers.
fn read_open(reader: &mut Reader<'_>, characters: &[u8]) -> Result<Ticket, Failed> {
    let mut told = Told { reader, bytes: Vec::new() };
    match told.byte()? {
        VERSION => {}
        SEVERAL => return several::read(told),
        _ => return Err(Failed::Ticket(later_version(characters))),
    }
    let content = ContentId(Digest(told.take()?));
    let tracker = PeerId(Digest(told.take()?));
    let addresses = told.addresses()?;
    told.checksum()?;
    Ticket::new(tracker, addresses, content).map_err(|_| Failed::Ticket(TicketError::Malformed))
}

/// Reads what is behind the prefix in whole bytes, over all of which the checksum goes.
struct Told<'a, 'b> {
    reader: &'a mut Reader<'b>,
    bytes: Vec<u8>,
}

impl Told<'_, '_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let taken = self.reader.bytes::<N>()?;
        self.bytes.extend(taken);
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        Ok(self.take::<1>()?[0])
    }

    fn addresses(&mut self) -> Result<Vec<SocketAddr>, Unreadable> {
        let count = self.byte()?;
        let address = |told: &mut Self| {
            let ip: IpAddr = match told.byte()? {
                4 => Ipv4Addr::from(told.take::<4>()?).into(),
                6 => Ipv6Addr::from(told.take::<16>()?).into(),
                _ => return Err(Unreadable::Wrong),
            };
            Ok(SocketAddr::new(ip, u16::from_be_bytes(told.take()?)))
        };
        (0..count).map(|_| address(self)).collect()
    }

    fn checksum(&mut self) -> Result<(), Unreadable> {
        let sum = self.reader.bytes::<CHECKSUM>()?;
        self.reader.padding()?;
        if sum == checksum(&self.bytes) { Ok(()) } else { Err(Unreadable::Wrong) }
    }
}

/// Of another version than the first, if its checksum is right.
fn later_version(characters: &[u8]) -> TicketError {
    let bytes = BASE32_NOPAD_NOCASE.decode(characters).unwrap_or_default();
    match bytes.split_last_chunk::<CHECKSUM>() {
        Some(([version, rest @ ..], sum)) if *sum == checksum(&bytes[..=rest.len()]) => TicketError::Version(*version),
        _ => TicketError::Mistyped,
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&Digest::of(bytes).0[..CHECKSUM]);
    sum
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        match (self.secret, self.content) {
            (secret, Some(content)) if self.trackers.len() > 1 => f.write_str(&several::write(self, secret, content)),
            (None, Some(content)) => {
                f.write_str(&BASE32_NOPAD_NOCASE.encode(&self.encode(content)).to_ascii_lowercase())
            }
            (Some(secret), content) => f.write_str(&short::write(self, secret, content)),
            // No constructor makes one.
            (None, None) => Err(fmt::Error),
        }
    }
}

impl FromStr for Ticket {
    type Err = TicketError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text::find(text, decode).unwrap_or(Err(TicketError::Prefix))
    }
}

#[cfg(test)]
mod tests;
