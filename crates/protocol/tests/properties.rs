//! What holds for any content, any message and any bytes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use p2p_fileshare_protocol::{
    AddressToken, Algorithm, Announce, Answer, Carried, CodeMessage, ContentId, ContentMatch, Digest, FileEntry,
    Geometry, LeaseEvent, LeaseRequest, LegKey, MAX_CODE_MESSAGE, MAX_MATCHES, MAX_OWN_ADDRESSES, MAX_WRONG,
    MailboxEvent, MailboxRefusal, MailboxRequest, Manifest, ManifestHeader, OriginKey, PeerAddress, PeerId,
    PeerMessage, PieceRange, PieceSet, ProbeEvent, ProbeReport, ProbeRequest, RefusalReason, RelayKey, Request, Role,
    TrackerEvent, TrackerInstance, TrackerRequest, Wire, default_piece_size,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn content() -> impl Strategy<Value = ContentId> {
    digest().prop_map(ContentId)
}

fn runs(most: usize) -> impl Strategy<Value = Vec<PieceRange>> {
    vec((any::<u32>(), any::<u32>()).prop_map(|(first, count)| PieceRange { first, count }), 0..most)
}

fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
    vec(any::<SocketAddr>().prop_map(plain), 0..32)
}

/// Without the scope and flow of an IPv6 address, which mean something on one machine only and do not travel.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn peers() -> impl Strategy<Value = Vec<PeerAddress>> {
    vec((digest(), addresses()).prop_map(|(id, addresses)| PeerAddress { id: PeerId(id), addresses }), 0..20)
}

fn peer_message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![
        (any::<u16>(), addresses(), ".{0,16}").prop_map(|(version, listeners, site)| PeerMessage::Hello {
            version,
            listeners,
            site
        }),
        (content(), option::of(any::<u32>()), any::<bool>()).prop_map(|(content, pieces, wants)| PeerMessage::Join {
            content,
            pieces,
            wants
        }),
        (content(), runs(300), runs(300)).prop_map(|(content, runs, in_flight)| PeerMessage::Have {
            content,
            runs,
            in_flight
        }),
        (content(), any::<bool>()).prop_map(|(content, interested)| PeerMessage::Interest { content, interested }),
        (content(), runs(256)).prop_map(|(content, runs)| PeerMessage::Offer { content, runs }),
        (content(), runs(256)).prop_map(|(content, runs)| PeerMessage::Decline { content, runs }),
        (content(), peers()).prop_map(|(content, peers)| PeerMessage::Peers { content, peers }),
        content().prop_map(|content| PeerMessage::Withdraw { content }),
        Just(PeerMessage::Bye),
        (content(), runs(300)).prop_map(|(content, runs)| PeerMessage::Skip { content, runs }),
    ]
}

fn to_tracker() -> impl Strategy<Value = TrackerRequest> {
    let role = prop_oneof![Just(Role::Seeder), Just(Role::Partial), Just(Role::Downloader)];
    prop_oneof![
        (any::<u16>(), addresses()).prop_map(|(version, listeners)| TrackerRequest::Hello { version, listeners }),
        (content(), option::of((".{0,40}", any::<u64>())), role)
            .prop_map(|(content, about, role)| TrackerRequest::Announce(Announce { content, about, role })),
        content().prop_map(TrackerRequest::Leave),
        ".{0,100}".prop_map(TrackerRequest::Find),
        Just(TrackerRequest::Bye),
        option::of(any::<u64>()).prop_map(|before| TrackerRequest::List { before }),
        (digest(), content()).prop_map(|(id, content)| TrackerRequest::Relay { peer: PeerId(id), content }),
        Just(TrackerRequest::TakesLegs),
        to_mailbox().prop_map(TrackerRequest::Mailbox),
        (any::<IpAddr>(), option::of(any::<u16>()))
            .prop_map(|(dialled, tcp)| TrackerRequest::Probe(ProbeRequest { dialled, tcp })),
        Just(TrackerRequest::Instance),
        to_leases().prop_map(TrackerRequest::Lease),
        Just(TrackerRequest::SecondAddress),
        (any::<[u8; 16]>(), addresses())
            .prop_map(|(token, listeners)| TrackerRequest::AlsoAt { token: AddressToken(token), listeners }),
    ]
}

fn handed_on() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..MAX_CODE_MESSAGE)
}

fn to_mailbox() -> impl Strategy<Value = MailboxRequest> {
    prop_oneof![
        option::of(any::<u16>()).prop_map(|wish| MailboxRequest::Claim { wish }),
        (any::<u16>(), handed_on()).prop_map(|(mailbox, message)| MailboxRequest::Open { mailbox, message }),
        handed_on().prop_map(|message| MailboxRequest::Say { message }),
        (any::<u32>(), handed_on()).prop_map(|(exchange, message)| MailboxRequest::Answer { exchange, message }),
    ]
}

fn key() -> impl Strategy<Value = OriginKey> {
    digest().prop_map(OriginKey)
}

fn to_leases() -> impl Strategy<Value = LeaseRequest> {
    prop_oneof![
        (key(), any::<u64>(), vec(content(), 0..=MAX_WRONG)).prop_map(|(key, size, wrong)| LeaseRequest::Claim {
            key,
            size,
            wrong
        }),
        (key(), any::<u64>()).prop_map(|(key, bytes)| LeaseRequest::Progress { key, bytes }),
        (key(), content()).prop_map(|(key, content)| LeaseRequest::Published { key, content }),
        key().prop_map(|key| LeaseRequest::Release { key }),
    ]
}

fn of_leases() -> impl Strategy<Value = LeaseEvent> {
    prop_oneof![
        key().prop_map(|key| LeaseEvent::Granted { key }),
        key().prop_map(|key| LeaseEvent::Held { key }),
        (key(), content()).prop_map(|(key, content)| LeaseEvent::Published { key, content }),
        key().prop_map(|key| LeaseEvent::Refused { key }),
    ]
}

fn of_mailbox() -> impl Strategy<Value = MailboxEvent> {
    let opened = (any::<u32>(), digest(), any::<SocketAddr>(), handed_on());
    prop_oneof![
        any::<u16>().prop_map(|mailbox| MailboxEvent::Claimed { mailbox }),
        opened.prop_map(|(exchange, id, from, message)| MailboxEvent::Opened {
            exchange,
            peer: PeerId(id),
            from: plain(from),
            message
        }),
        (any::<u32>(), handed_on()).prop_map(|(exchange, message)| MailboxEvent::Said { exchange, message }),
        any::<u32>().prop_map(|exchange| MailboxEvent::Over { exchange }),
        handed_on().prop_map(|message| MailboxEvent::Answered { message }),
        Just(MailboxEvent::Refused(MailboxRefusal::Busy)),
    ]
}

fn of_probe() -> impl Strategy<Value = ProbeEvent> {
    let place = || any::<SocketAddr>().prop_map(plain);
    let seen = vec(option::of(place()), 0..=2);
    let report = (seen, vec(any::<bool>(), 0..=2), option::of(any::<bool>()), any::<bool>(), any::<bool>());
    prop_oneof![
        (place(), vec(place(), 0..=2)).prop_map(|(seen, places)| ProbeEvent::Places { seen, places }),
        report.prop_map(|(seen, let_in, tcp, relays, udp_works)| {
            ProbeEvent::Found(ProbeReport { seen, let_in, tcp, relays, udp_works })
        }),
    ]
}

fn code_message() -> impl Strategy<Value = CodeMessage> {
    prop_oneof![
        vec(any::<u8>(), 0..64).prop_map(|element| CodeMessage::Begin { element }),
        (vec(any::<u8>(), 0..64), digest())
            .prop_map(|(element, id)| CodeMessage::Reply { element, sharer: PeerId(id) }),
        any::<[u8; 32]>().prop_map(CodeMessage::Proof),
        vec(any::<u8>(), 0..1000).prop_map(|sealed| CodeMessage::Ticket { sealed }),
        Just(CodeMessage::Wrong),
        Just(CodeMessage::Busy),
    ]
}

fn found() -> impl Strategy<Value = ContentMatch> {
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    (content(), ".{0,40}", any::<u64>(), counts).prop_map(|(content, name, size, (seeders, others, downloaders))| {
        ContentMatch { content, name, size, seeders, others, downloaders }
    })
}

fn tracker_message() -> impl Strategy<Value = TrackerEvent> {
    let page = (option::of(any::<u64>()), vec(found(), 0..MAX_MATCHES), option::of(any::<u64>()));
    prop_oneof![
        any::<SocketAddr>().prop_map(|seen| TrackerEvent::Welcome { seen: plain(seen) }),
        (content(), peers(), vec(digest().prop_map(PeerId), 0..64))
            .prop_map(|(content, joined, gone)| TrackerEvent::Peers { content, joined, gone }),
        (".{0,40}", vec(found(), 0..MAX_MATCHES)).prop_map(|(query, matches)| TrackerEvent::Found { query, matches }),
        ".{0,200}".prop_map(TrackerEvent::Refused),
        page.prop_map(|(before, contents, next)| TrackerEvent::Listed { before, contents, next }),
        (digest(), any::<[u8; 16]>(), any::<SocketAddr>()).prop_map(|(id, key, address)| TrackerEvent::Relayed {
            peer: PeerId(id),
            answer: Ok(Carried { key: RelayKey(key), address: plain(address) })
        }),
        (digest(), ".{0,200}")
            .prop_map(|(id, sentence)| TrackerEvent::Relayed { peer: PeerId(id), answer: Err(sentence) }),
        (digest(), any::<[u8; 16]>(), any::<SocketAddr>()).prop_map(|(id, key, address)| TrackerEvent::Leg {
            from: PeerId(id),
            address: plain(address),
            key: LegKey(key)
        }),
        of_mailbox().prop_map(TrackerEvent::Mailbox),
        of_probe().prop_map(TrackerEvent::Probe),
        any::<[[u8; 16]; 2]>().prop_map(|[label, nonce]| TrackerEvent::Instance(TrackerInstance { label, nonce })),
        of_leases().prop_map(TrackerEvent::Lease),
        (any::<[u8; 16]>(), vec(any::<SocketAddr>(), 0..=MAX_OWN_ADDRESSES)).prop_map(|(token, at)| {
            let at = at.into_iter().map(plain).collect();
            TrackerEvent::AddressToken { token: AddressToken(token), at }
        }),
        any::<SocketAddr>().prop_map(|seen| TrackerEvent::AlsoSeen { seen: plain(seen) }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        content().prop_map(|content| Request::Manifest { content }),
        (content(), any::<u32>(), any::<u32>())
            .prop_map(|(content, first, count)| Request::Pieces { content, run: PieceRange { first, count } }),
        content().prop_map(|content| Request::UpRate { content }),
        (content(), any::<u32>(), any::<u32>())
            .prop_map(|(content, first, count)| Request::AwaitedPieces { content, run: PieceRange { first, count } }),
        (content(), any::<u32>()).prop_map(|(content, most)| Request::FirstPieces { content, most }),
        (content(), any::<u32>(), any::<u64>()).prop_map(|(content, most, number)| Request::Receivers {
            content,
            most,
            number
        }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        any::<u64>().prop_map(Answer::Bytes),
        Just(Answer::Refused(RefusalReason::NotHeld)),
        Just(Answer::Refused(RefusalReason::Busy)),
        Just(Answer::Refused(RefusalReason::Invalid)),
        any::<Option<u64>>().prop_map(Answer::UpRate),
        (any::<u32>(), any::<u32>(), any::<u64>())
            .prop_map(|(first, count, bytes)| Answer::Pieces { run: PieceRange { first, count }, bytes }),
    ]
}

/// It comes back as it went, and no part of it is taken for the whole.
fn travels<T: Wire + PartialEq + std::fmt::Debug + Clone>(message: &T) -> Result<(), TestCaseError> {
    let bytes = message.encode().unwrap();
    prop_assert!(bytes.len() <= T::MAX_BYTES);
    prop_assert_eq!(T::decode(&bytes), Ok(message.clone()));
    for len in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        prop_assert!(T::decode(&bytes[..len]).is_err());
    }
    Ok(())
}

/// What decodes from any bytes has an encoding that decodes to the same.
fn reads<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = T::decode(bytes) {
        prop_assert_eq!(T::decode(&message.encode().unwrap()), Ok(message));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_of_peers_travel(message in peer_message()) { travels(&message)? }

    #[test]
    fn messages_to_trackers_travel(message in to_tracker()) { travels(&message)? }

    #[test]
    fn messages_of_trackers_travel(message in tracker_message()) { travels(&message)? }

    /// The longest names that there are, and no more contents than a page has.
    #[test]
    fn a_full_page_fits_into_a_frame(found in found(), more in 1usize..4) {
        let longest = ContentMatch { name: "\u{7fff}".repeat(255 / 3), ..found };
        let page = |count| TrackerEvent::Listed { before: None, contents: vec![longest.clone(); count], next: None };
        travels(&page(MAX_MATCHES))?;
        let bytes = page(MAX_MATCHES + more).encode().unwrap();
        prop_assert!(TrackerEvent::decode(&bytes).is_err());
    }

    #[test]
    fn questions_and_answers_travel(request in request(), answer in answer(), code in code_message()) {
        travels(&code)?;
        travels(&request)?;
        travels(&answer)?;
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        reads::<PeerMessage>(&bytes)?;
        reads::<TrackerRequest>(&bytes)?;
        reads::<TrackerEvent>(&bytes)?;
        reads::<CodeMessage>(&bytes)?;
        reads::<Request>(&bytes)?;
        reads::<Answer>(&bytes)?;
        reads::<ManifestHeader>(&bytes)?;
        let _ = Manifest::decode(bytes.into());
    }

    #[test]
    fn a_message_with_changed_bytes_is_a_message_or_an_error(
        message in peer_message(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = message.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        reads::<PeerMessage>(&bytes)?;
    }

    #[test]
    fn pieces_cover_every_byte_of_every_file_once(
        sizes in vec(prop_oneof![Just(0), 1..100_000u64, Just(1024), Just(4096)], 0..12), power in 10..15u32,
    ) {
        let geometry = Geometry::new(1 << power, sizes.clone()).unwrap();
        let mut next = vec![0; sizes.len()];
        for number in 0..geometry.pieces() {
            let piece = geometry.piece(number).unwrap();
            prop_assert!(geometry.pieces_of(piece.file).contains(&number));
            prop_assert!(piece.len > 0 && piece.len <= 1 << power);
            prop_assert_eq!(piece.offset, next[piece.file]);
            prop_assert_eq!(piece.alone, geometry.pieces_of(piece.file).len() == 1);
            next[piece.file] += piece.len as u64;
        }
        prop_assert_eq!(next, sizes);
        prop_assert_eq!(geometry.piece(geometry.pieces()), None);
    }

    #[test]
    fn stretches_are_their_pieces_in_order(
        sizes in vec(0..40_000u64, 0..8), first in 0..200u32, count in any::<u32>(), most in 0..60_000usize,
    ) {
        let geometry = Geometry::new(1024, sizes).unwrap();
        let run = PieceRange { first, count };
        let mut next = first;
        for stretch in geometry.stretches(run, most) {
            prop_assert_eq!(stretch.run.first, next);
            prop_assert!(stretch.run.count > 0 && (stretch.run.count == 1 || stretch.len <= most));
            let (mut offset, mut len) = (stretch.offset, 0);
            for number in stretch.run.pieces() {
                let piece = geometry.piece(number).unwrap();
                prop_assert_eq!((piece.file, piece.offset), (stretch.file, offset));
                offset += piece.len as u64;
                len += piece.len;
            }
            prop_assert_eq!(len, stretch.len);
            next = stretch.run.end().unwrap();
        }
        prop_assert_eq!(next, geometry.pieces().min(run.end().unwrap_or(u32::MAX)).max(first));
    }

    #[test]
    fn any_sizes_are_a_geometry_or_an_error(piece_size in any::<u32>(), sizes in vec(any::<u64>(), 0..6)) {
        if let Ok(geometry) = Geometry::new(piece_size, sizes.clone()) {
            prop_assert!(geometry.pieces() <= 1 << 20);
            prop_assert_eq!(geometry.total(), sizes.iter().sum::<u64>());
        }
        let size = default_piece_size(&sizes);
        prop_assert!(size.is_power_of_two() && (1 << 10..=1 << 24).contains(&size));
    }

    #[test]
    fn a_set_of_pieces_is_a_set(len in 0..300u32, steps in vec((any::<bool>(), 0..400u32), 0..200)) {
        let (mut set, mut model) = (PieceSet::empty(len), BTreeSet::new());
        for (insert, piece) in steps {
            let changed = if insert { set.insert(piece) } else { set.remove(piece) };
            let expected = if insert { piece < len && model.insert(piece) } else { model.remove(&piece) };
            prop_assert_eq!(changed, expected);
            prop_assert_eq!(set.count() as usize, model.len());
        }
        prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), model.clone());
        prop_assert_eq!(set.missing().chain(set.iter()).collect::<BTreeSet<_>>(), (0..len).collect());
        let mut again = PieceSet::empty(len);
        set.runs().into_iter().for_each(|run| again.insert_run(run));
        prop_assert_eq!(again, set);
    }

    #[test]
    fn manifests_travel_and_tell_pieces_apart(
        sizes in vec(0..5000u64, 1..6), sha in any::<bool>(), seed in any::<u8>(),
    ) {
        let algorithm = if sha { Algorithm::Sha256 } else { Algorithm::Blake3 };
        let files = sizes.iter().enumerate().map(|(number, &size)| FileEntry {
            path: format!("d{}/{number}", number % 2), size, executable: number % 3 == 0, root: Digest([0; 32]),
        });
        let header = ManifestHeader {
            name: "content".into(), folder: true, algorithm, piece_size: 1024, files: files.collect(),
            empty_folders: vec!["empty".into()],
        };
        let geometry = Geometry::new(1024, sizes).unwrap();
        let pieces: Vec<_> = (0..geometry.pieces()).map(|n| geometry.piece(n).unwrap()).collect();
        let bytes: Vec<_> = pieces.iter().zip(0u8..).map(|(piece, n)| vec![n ^ seed; piece.len]).collect();
        let digests: Vec<_> =
            pieces.iter().zip(&bytes).map(|(piece, bytes)| algorithm.integrity().piece(piece.place(), bytes)).collect();
        let manifest = Manifest::build(header, &digests).unwrap();
        let again = Manifest::decode(manifest.bytes().clone()).unwrap();
        prop_assert_eq!((again.id(), again.header()), (manifest.id(), manifest.header()));
        for (number, bytes) in bytes.iter().enumerate() {
            prop_assert!(again.verify(number as u32, bytes));
            prop_assert!(!again.verify(number as u32, &bytes[1..]));
            let mut wrong = bytes.clone();
            wrong[0] ^= 1;
            prop_assert!(!again.verify(number as u32, &wrong));
        }
        prop_assert!(!again.verify(geometry.pieces(), b"past the end"));
    }
}
