//! The ticket with several trackers, of an open or a private share.
//!
//! It is the second version of the first ticket: base32 of the version (1 byte), 1 if it is private and else 0 (1 byte), the secret
//! if it is (16), the content id (32), the number of trackers less one (1), and for each the first half of its id (16), the
//! number of its addresses and the addresses as in the first version; then the checksum of that. A program that knows only the
//! first version says that it is too old.

use data_encoding::BASE32_NOPAD_NOCASE;
use integrity::Digest;

use super::{Failed, SEVERAL, Ticket, TicketError, TicketTracker, Told, checksum, write_addresses};
use crate::private::Secret;
use crate::{ABBREVIATED, ContentId, PeerId};

/// What follows the prefix.
pub(super) fn write(ticket: &Ticket, secret: Option<Secret>, content: ContentId) -> String {
    let mut bytes = vec![SEVERAL, u8::from(secret.is_some())];
    bytes.extend(secret.iter().flat_map(|secret| secret.bytes()));
    bytes.extend_from_slice(&content.0.0);
    bytes.push(ticket.trackers.len() as u8 - 1);
    for TicketTracker { id, addresses } in &ticket.trackers {
        bytes.extend_from_slice(&id.0.0[..ABBREVIATED]);
        write_addresses(&mut bytes, addresses);
    }
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase()
}

/// Reads one behind its version.
pub(super) fn read(mut told: Told<'_, '_>) -> Result<Ticket, Failed> {
    let private = told.byte()?;
    let secret = if private == 0 { None } else { Some(Secret::new(told.take()?)) };
    let content = ContentId(Digest(told.take()?));
    let mut trackers = Vec::new();
    for _ in 0..=told.byte()? {
        let mut id = [0; 32];
        id[..ABBREVIATED].copy_from_slice(&told.take::<ABBREVIATED>()?);
        trackers.push(TicketTracker { id: PeerId(Digest(id)), addresses: told.addresses()? });
    }
    told.checksum()?;
    // One tracker has a shorter ticket.
    let is_right = private <= 1 && trackers.len() > 1;
    let ticket = Ticket::of_trackers(trackers, content, secret).ok().filter(|_| is_right);
    ticket.ok_or(Failed::Ticket(TicketError::Malformed))
}
