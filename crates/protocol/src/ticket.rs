//! The ticket: where a tracker is, who it must prove to be, and which content is meant, in one string to paste.
//!
//! `p2p` and base32 (RFC 4648, lower case, no padding) of: version (1 byte), content id (32), tracker id (32), number of
//! addresses (1), the addresses (a byte 4 or 6, the IP, the port in big endian), and the first 4 bytes of the BLAKE3 hash
//! of all before. The checksum tells a slip in copying from a ticket that leads nowhere. Upper case is read too,
//! so that a ticket survives whatever carries it. Nothing in it is secret but the swarm itself, if that is open.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD_NOCASE;
use integrity::Digest;

use crate::{ContentId, PeerId};

/// What every ticket begins with.
const PREFIX: &str = "p2p";
const VERSION: u8 = 1;
/// Most addresses of the tracker.
const MAX_ADDRESSES: usize = 16;
const CHECKSUM: usize = 4;
/// Version, content, tracker, number of addresses.
const FIXED: usize = 1 + 32 + 32 + 1;
/// A marker, an IPv6 address, a port.
const LONGEST_ADDRESS: usize = 1 + 16 + 2;
/// Most characters: what is longer is not even decoded.
const MAX_CHARACTERS: usize = PREFIX.len() + (FIXED + MAX_ADDRESSES * LONGEST_ADDRESS + CHECKSUM).div_ceil(5) * 8;

/// Fewest characters: one IPv4 address.
const SHORTEST: usize = PREFIX.len() + ((FIXED + 7 + CHECKSUM) * 8).div_ceil(5);
/// What the version makes of the first characters behind the prefix: `a`, and one of these.
const SECOND: [u8; 4] = *b"efgh";
/// So many characters are no name by chance, if they begin as a ticket.
const TELLING: usize = 12;

/// Everything that someone needs to get a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    tracker: PeerId,
    addresses: Vec<SocketAddr>,
    content: ContentId,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin as tickets do.
    #[error("this is no ticket: tickets begin with p2p")]
    Prefix,
    /// A character is wrong, missing or too many.
    #[error("a character of the ticket is wrong or missing, or its end is: copy it once more")]
    Mistyped,
    /// It has fewer characters than any ticket.
    #[error(
        "the ticket was cut off: it has {0} characters, and the shortest has {SHORTEST}. Copy the whole line once more"
    )]
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
    /// A ticket for a content that is known to the tracker `tracker` at these addresses, 1 to 16, best first.
    pub fn new(tracker: PeerId, addresses: Vec<SocketAddr>, content: ContentId) -> Result<Self, TicketError> {
        if !(1..=MAX_ADDRESSES).contains(&addresses.len()) || addresses.iter().any(|address| address.port() == 0) {
            return Err(TicketError::Addresses);
        }
        // What a ticket cannot carry (scope, flow label) is not kept either; so equal tickets are equal texts.
        let plain = addresses.into_iter().map(|address| SocketAddr::new(address.ip(), address.port())).collect();
        Ok(Ticket { tracker, addresses: plain, content })
    }

    /// The id that the tracker must prove.
    pub fn tracker(&self) -> PeerId {
        self.tracker
    }

    /// Where the tracker may be, best first; at least one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The content.
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// Whether a text is meant as a ticket, however it is damaged: no name of a file looks like this by chance.
    pub fn is_meant(text: &str) -> bool {
        body(text).is_some_and(|body| {
            (SHORTEST / 2..=MAX_CHARACTERS).contains(&body.len())
                && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }

    /// What is wrong with a text that may be the beginning of a ticket, where a name would make no sense.
    pub fn cut_off(text: &str) -> Option<TicketError> {
        let [first, second, rest @ ..] = body(text.trim())?.as_bytes() else { return None };
        let begins = first.eq_ignore_ascii_case(&b'a') && SECOND.contains(&second.to_ascii_lowercase());
        let all = rest.iter().all(|byte| byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(byte));
        let characters = PREFIX.len() + 2 + rest.len();
        (begins && all && (TELLING..SHORTEST).contains(&characters)).then_some(TicketError::CutOff(characters))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.content.0.0);
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

    fn decode(bytes: &[u8]) -> Result<Self, TicketError> {
        let (told, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TicketError::Mistyped)?;
        if *sum != checksum(told) {
            return Err(TicketError::Mistyped);
        }
        let mut rest = Rest(told);
        match rest.take::<1>()? {
            [VERSION] => {}
            [other] => return Err(TicketError::Version(other)),
        }
        let content = ContentId(Digest(rest.take()?));
        let tracker = PeerId(Digest(rest.take()?));
        let [count] = rest.take()?;
        let mut addresses = Vec::new();
        for _ in 0..usize::from(count).min(MAX_ADDRESSES + 1) {
            let ip: IpAddr = match rest.take()? {
                [4] => Ipv4Addr::from(rest.take::<4>()?).into(),
                [6] => Ipv6Addr::from(rest.take::<16>()?).into(),
                _ => return Err(TicketError::Malformed),
            };
            addresses.push(SocketAddr::new(ip, u16::from_be_bytes(rest.take()?)));
        }
        match Ticket::new(tracker, addresses, content) {
            Ok(ticket) if rest.0.is_empty() => Ok(ticket),
            _ => Err(TicketError::Malformed),
        }
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

/// What follows the prefix, in whatever case.
fn body(text: &str) -> Option<&str> {
    let (prefix, body) = text.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(body)
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&BASE32_NOPAD_NOCASE.encode(&self.encode()).to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = body(text.trim()).ok_or(TicketError::Prefix)?;
        if body.len() > MAX_CHARACTERS {
            return Err(TicketError::Mistyped);
        }
        if let Some(cut) = Ticket::cut_off(text) {
            return Err(cut);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(body.as_bytes()).map_err(|_| TicketError::Mistyped)?;
        Ticket::decode(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        let addresses = vec!["192.168.1.5:9999".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap()];
        Ticket::new(PeerId(Digest([0xab; 32])), addresses, ContentId(Digest([7; 32]))).unwrap()
    }

    #[test]
    fn it_is_one_word_that_a_double_click_selects() {
        let text = ticket().to_string();
        assert!(text.starts_with("p2p"));
        assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{text}");
        assert_eq!(text.len(), 3 + (66usize + 7 + 19 + 4) * 8 / 5 + 1);
    }

    #[test]
    fn upper_case_and_space_around_it_change_nothing() {
        let text = ticket().to_string();
        assert_eq!(text.to_uppercase().parse(), Ok(ticket()));
        assert_eq!(format!(" {text}\r\n").parse(), Ok(ticket()));
    }

    #[test]
    fn every_change_of_one_character_is_refused() {
        let text = ticket().to_string();
        for at in 0..text.len() {
            for other in (b'!'..=b'~').map(char::from) {
                let mut typed: Vec<char> = text.chars().collect();
                if typed[at].eq_ignore_ascii_case(&other) {
                    continue;
                }
                typed[at] = other;
                let expected = if at < PREFIX.len() { TicketError::Prefix } else { TicketError::Mistyped };
                assert_eq!(String::from_iter(typed).parse::<Ticket>(), Err(expected), "{other} at {at}");
            }
        }
    }

    #[test]
    fn a_character_that_is_missing_doubled_or_swapped_is_refused() {
        let text = ticket().to_string();
        for at in PREFIX.len()..text.len() {
            let (before, after) = text.split_at(at);
            let slips = [format!("{before}{}", &after[1..]), format!("{before}{}{after}", &after[..1])];
            for slip in slips {
                assert_eq!(slip.parse::<Ticket>(), Err(TicketError::Mistyped), "at {at}");
            }
            if let (Some(one), Some(two)) = (after.get(..1), after.get(1..2))
                && one != two
            {
                let swapped = format!("{before}{two}{one}{}", &after[2..]);
                assert_eq!(swapped.parse::<Ticket>(), Err(TicketError::Mistyped), "at {at}");
            }
        }
    }

    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = checksum(&bytes);
        bytes.extend(sum);
        bytes
    }

    #[test]
    fn what_is_well_copied_but_wrong_is_told_from_a_slip() {
        let whole = ticket().encode();
        let told = &whole[..whole.len() - CHECKSUM];
        let mut later = told.to_vec();
        later[0] = 2;
        assert_eq!(Ticket::decode(&with_checksum(later)), Err(TicketError::Version(2)));
        for len in 1..told.len() {
            assert_eq!(Ticket::decode(&with_checksum(told[..len].to_vec())), Err(TicketError::Malformed), "{len}");
        }
        assert_eq!(Ticket::decode(&with_checksum([told, &[0]].concat())), Err(TicketError::Malformed));
        let mut many = told[..FIXED - 1].to_vec();
        many.push(255);
        many.extend([4, 127, 0, 0, 1, 0, 9].repeat(255));
        assert_eq!(Ticket::decode(&with_checksum(many)), Err(TicketError::Malformed));
    }

    #[test]
    fn only_what_looks_like_one_is_meant_as_one() {
        let text = ticket().to_string();
        assert!(Ticket::is_meant(&text) && Ticket::is_meant(&text[..text.len() - 1]));
        assert!(Ticket::is_meant(&text.replace('a', "0")));
        for name in ["p2p", "p2p.tar", "p2pfileshare", "", "пример", &format!("p2p {text}")] {
            assert!(!Ticket::is_meant(name), "{name:?}");
        }
    }

    #[test]
    fn a_ticket_that_was_cut_off_is_told_from_a_name() {
        let text = ticket().to_string();
        for len in TELLING..SHORTEST {
            assert_eq!(text[..len].parse::<Ticket>(), Err(TicketError::CutOff(len)));
        }
        for len in SHORTEST..text.len() {
            assert_eq!(text[..len].parse::<Ticket>(), Err(TicketError::Mistyped));
        }
        for name in ["p2pfileshare", "p2pahead", "p2pahead.tar.gz", "p2p-aead-notes", "model.bin"] {
            assert_eq!(Ticket::cut_off(name), None, "{name}");
        }
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from)
    }

    proptest! {
        #[test]
        fn a_ticket_comes_back_as_it_went(
            tracker: [u8; 32], content: [u8; 32], addresses in prop::collection::vec(address(), 1..=MAX_ADDRESSES),
        ) {
            let ticket = Ticket::new(PeerId(Digest(tracker)), addresses, ContentId(Digest(content))).unwrap();
            prop_assert!(Ticket::is_meant(&ticket.to_string()));
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }

        #[test]
        fn any_text_is_a_ticket_or_an_error(text: String) {
            let _ = text.parse::<Ticket>();
            let _ = format!("p2p{text}").parse::<Ticket>();
        }
    }
}
