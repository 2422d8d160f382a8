//! The ticket: where a tracker is, who it must prove to be, and which content is meant, in one string to paste.
//!
//! Of an open share it is `p2p` and base32 (RFC 4648, lower case, no padding) of: version (1 byte), content id (32), tracker
//! id (32), number of addresses (1), the addresses (a byte 4 or 6, the IP, the port in big endian), and the first 4 bytes of
//! the BLAKE3 hash of all before.
//!
//! Of a private share it is short ([`short`]): it carries the share's secret, half of the tracker's id, and the content id
//! only if the tracker is not the sharer's own, which proves that it may tell it. Everyone who has it may take the content.
//!
//! A checksum tells a slip in copying from a ticket that leads nowhere. What mails and chats do to a text is undone
//! ([`text`]): breaks, quotes, upper case, and the words around it.

mod bits;
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
/// Most addresses of the tracker.
const MAX_ADDRESSES: usize = 16;
const CHECKSUM: usize = 4;

/// Everything that someone needs to get a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    tracker: PeerId,
    addresses: Vec<SocketAddr>,
    content: Option<ContentId>,
    secret: Option<Secret>,
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
    /// It is of a later version.
    #[error("this ticket is of version {0}, which this program is too old for")]
    Version(u8),
    /// Its checksum is right, and still it makes no sense: another program made it.
    #[error("the program that made this ticket made it wrong")]
    Malformed,
    /// A ticket has 1 to 16 addresses, with ports.
    #[error("a ticket needs 1 to 16 addresses with ports")]
    Addresses,
}

impl Ticket {
    /// A ticket for an open content that is known to the tracker `tracker` at these addresses, 1 to 16, best first.
    pub fn new(tracker: PeerId, addresses: Vec<SocketAddr>, content: ContentId) -> Result<Self, TicketError> {
        let addresses = checked(addresses)?;
        Ok(Ticket { tracker, addresses, content: Some(content), secret: None })
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
        Ok(Ticket { tracker: tracker.abbreviated(), addresses, content, secret: Some(secret) })
    }

    /// The id that the tracker must prove; of a private share it is abbreviated.
    pub fn tracker(&self) -> PeerId {
        self.tracker
    }

    /// Where the tracker may be, best first; at least one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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

    /// The ticket in a text, whatever stands around it and in between, or what is wrong with it. Nothing if there is none.
    pub fn find(text: &str) -> Option<Result<Self, TicketError>> {
        text::find(text, decode)
    }

    fn encode(&self, content: ContentId) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&content.0.0);
        bytes.extend_from_slice(&self.tracker.0.0);
        bytes.push(self.addresses.len() as u8);
        for address in &self.addresses {
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
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
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

/// A ticket of an open share.
fn read_open(reader: &mut Reader<'_>, characters: &[u8]) -> Result<Ticket, Failed> {
    let mut told = vec![reader.number(8)? as u8];
    if told[0] != VERSION {
        return Err(Failed::Ticket(later_version(characters)));
    }
    told.extend(reader.bytes::<65>()?);
    let count = told[65];
    for _ in 0..count {
        let family = reader.number(8)? as u8;
        told.push(family);
        match family {
            4 => told.extend(reader.bytes::<6>()?),
            6 => told.extend(reader.bytes::<18>()?),
            _ => return Err(Failed::Unreadable(Unreadable::Wrong)),
        }
    }
    let sum = reader.bytes::<CHECKSUM>()?;
    reader.padding()?;
    if sum != checksum(&told) {
        return Err(Failed::Unreadable(Unreadable::Wrong));
    }
    let mut rest = Rest(&told[1..]);
    open_ticket(&mut rest).map_err(Failed::Ticket)
}

fn open_ticket(rest: &mut Rest<'_>) -> Result<Ticket, TicketError> {
    let content = ContentId(Digest(rest.take()?));
    let tracker = PeerId(Digest(rest.take()?));
    let [count] = rest.take()?;
    let mut addresses = Vec::new();
    for _ in 0..count {
        let ip: IpAddr = match rest.take()? {
            [4] => Ipv4Addr::from(rest.take::<4>()?).into(),
            _ => Ipv6Addr::from(rest.take::<16>()?).into(),
        };
        addresses.push(SocketAddr::new(ip, u16::from_be_bytes(rest.take()?)));
    }
    Ticket::new(tracker, addresses, content).map_err(|_| TicketError::Malformed)
}

/// Of another version than the first, if its checksum is right.
fn later_version(characters: &[u8]) -> TicketError {
    let bytes = BASE32_NOPAD_NOCASE.decode(characters).unwrap_or_default();
    match bytes.split_last_chunk::<CHECKSUM>() {
        Some(([version, rest @ ..], sum)) if *sum == checksum(&bytes[..=rest.len()]) => TicketError::Version(*version),
        _ => TicketError::Mistyped,
    }
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TicketError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TicketError::Malformed)?;
        self.0 = rest;
        Ok(*taken)
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
