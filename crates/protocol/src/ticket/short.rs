//! The ticket of a private share, in as few characters as may be: it is read out and typed.
//!
//! Characters of five bits, not bytes, so that the first of them can say what follows: `2`, `3` and `4` are of a tracker that
//! tells the content id, `5`, `6` and `7` of any other; there is one address of IPv4, the same and 127.0.0.1 with the same port,
//! or a list. Then come the
//! secret (128 bits), the first 128 bits of the tracker's id, the addresses, the content id if it is there (256 bits), and a
//! checksum of 20 bits. An address is the IP and the port, big endian. A list is a number less one (4 bits), the port, and for
//! each address whether it is of IPv6 and whether it has a port of its own (a bit each), the IP, and that port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use integrity::Digest;

use super::bits::{Reader, Unreadable, Writer};
use super::{Failed, Ticket, TicketError};
use crate::private::Secret;
use crate::{ABBREVIATED, ContentId, PeerId};

/// The value of the character `2`, of which all others are counted.
const FIRST: u32 = 26;
/// What is added if the content id is there.
const WITH_CONTENT: u32 = 3;
const IPV4: u32 = 0;
const AND_LOOPBACK: u32 = 1;
const LIST: u32 = 2;

/// What follows the prefix.
pub(super) fn write(ticket: &Ticket, secret: Secret, content: Option<ContentId>) -> String {
    let mut writer = Writer::default();
    let addresses = ticket.addresses();
    let shape = match *addresses {
        [SocketAddr::V4(_)] => IPV4,
        [SocketAddr::V4(one), other] if other == loopback(one.port()) => AND_LOOPBACK,
        _ => LIST,
    };
    writer.number(FIRST + shape + if content.is_some() { WITH_CONTENT } else { 0 }, 5);
    writer.bytes(secret.bytes());
    writer.bytes(&ticket.tracker().0.0[..ABBREVIATED]);
    let port = addresses[0].port();
    if shape == LIST {
        writer.number(addresses.len() as u32 - 1, 4);
        writer.number(u32::from(port), 16);
    }
    let written = if shape == AND_LOOPBACK { &addresses[..1] } else { addresses };
    for address in written {
        let own_port = address.port() != port;
        if shape == LIST {
            writer.number(u32::from(address.is_ipv6()), 1);
            writer.number(u32::from(own_port), 1);
        }
        match address.ip() {
            IpAddr::V4(ip) => writer.bytes(&ip.octets()),
            IpAddr::V6(ip) => writer.bytes(&ip.octets()),
        }
        if own_port || shape != LIST {
            writer.number(u32::from(address.port()), 16);
        }
    }
    if let Some(content) = content {
        writer.bytes(&content.0.0);
    }
    writer.finish()
}

/// Reads one, whose first character is one of these.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Ticket, Failed> {
    let kind = reader.number(5)?.checked_sub(FIRST).ok_or(Unreadable::Wrong)?;
    let (with_content, shape) = (kind >= WITH_CONTENT, kind % WITH_CONTENT);
    let secret = Secret::new(reader.bytes()?);
    let mut tracker = [0; 32];
    tracker[..ABBREVIATED].copy_from_slice(&reader.bytes::<ABBREVIATED>()?);
    let addresses = match shape {
        LIST => {
            let (count, port) = (reader.number(4)? + 1, port(reader)?);
            (0..count).map(|_| listed(reader, port)).collect::<Result<Vec<_>, _>>()?
        }
        shape => {
            let address = SocketAddr::new(ip(reader, false)?, port(reader)?);
            if shape == AND_LOOPBACK { vec![address, loopback(address.port())] } else { vec![address] }
        }
    };
    let content = if with_content { Some(ContentId(Digest(reader.bytes()?))) } else { None };
    reader.checksum()?;
    let ticket = Ticket::private(PeerId(Digest(tracker)), addresses, secret, content);
    ticket.map_err(|_| Failed::Ticket(TicketError::Malformed))
}

/// Where a tracker is too that listens on this machine, as who shares says.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn listed(reader: &mut Reader<'_>, common: u16) -> Result<SocketAddr, Unreadable> {
    let (is_ipv6, own_port) = (reader.number(1)? == 1, reader.number(1)? == 1);
    let ip = ip(reader, is_ipv6)?;
    Ok(SocketAddr::new(ip, if own_port { port(reader)? } else { common }))
}

fn ip(reader: &mut Reader<'_>, is_ipv6: bool) -> Result<IpAddr, Unreadable> {
    Ok(match is_ipv6 {
        true => Ipv6Addr::from(reader.bytes::<16>()?).into(),
        false => Ipv4Addr::from(reader.bytes::<4>()?).into(),
    })
}

fn port(reader: &mut Reader<'_>) -> Result<u16, Unreadable> {
    Ok(reader.number(16)? as u16)
}
