//! `docs/protocol.md` shows messages as bytes, for authors of other clients: they are what the codec writes and reads.

use p2p_fileshare_protocol::{
    AddressToken, Announce, Answer, Carried, CodeMessage, ContentId, Digest, LeaseEvent, LeaseRequest, LegKey,
    MailboxEvent, MailboxRefusal, MailboxRequest, OriginKey, PeerId, PeerMessage, PeerProgress, PieceRange, ProbeEvent,
    ProbeReport, ProbeRequest, ReceiverList, RefusalReason, RelayKey, Request, Role, TrackerEvent, TrackerInstance,
    TrackerRequest, VERSION, Wire,
};

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

/// The bytes that the document shows for what is called so: a row of a table, `C` for the 32 bytes 0x11 of a content.
fn shown(what: &str) -> Vec<u8> {
    let row =
        PROTOCOL.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap_or_else(|| panic!("{what}"));
    let bytes = row.rsplit('`').nth(1).unwrap();
    let byte = |word: &str| match word {
        "C" => vec![0x11; 32],
        _ => vec![u8::from_str_radix(word, 16).unwrap()],
    };
    bytes.split(' ').flat_map(byte).collect()
}

fn is<T: Wire + PartialEq + std::fmt::Debug>(message: T, what: &str) {
    let bytes = message.encode().unwrap();
    assert_eq!(bytes, shown(what), "{what}: {}", bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>());
    assert_eq!(T::decode(&bytes).unwrap(), message, "{what}");
}

#[test]
fn the_document_shows_what_the_codec_writes() {
    let content = ContentId(Digest([0x11; 32]));
    let run = |first, count| PieceRange { first, count };
    let listeners = vec!["10.0.0.1:9000".parse().unwrap()];
    let hello = PeerMessage::Hello { version: VERSION, listeners: listeners.clone(), site: "b".to_owned() };
    is(hello, "peer: `Hello` from 10.0.0.1:9000, site `b`");
    is(PeerMessage::Join { content, pieces: Some(300), wants: true }, "peer: `Join`, 300 pieces, wants");
    let have = PeerMessage::Have { content, runs: vec![run(0, 2)], in_flight: vec![run(70_000, 1)] };
    is(have, "peer: `Have` 0 and 1, 70,000 is in flight");
    is(PeerMessage::Skip { content, runs: vec![run(5, 7)] }, "peer: `Skip` 5 to 11");
    is(Request::Pieces { content, run: run(4, 1) }, "request: `Pieces`, the one numbered 4");
    is(Answer::Bytes(16_384), "answer: 16,384 bytes follow");
    is(Answer::Refused(RefusalReason::Busy), "answer: busy");
    is(Answer::UpRate(Some(16_384)), "answer: 16,384 bytes a second at most");
    is(Request::FirstPieces { content, most: 1 << 20 }, "request: `FirstPieces`, 1 MiB of them at most");
    is(Request::Receivers { content, most: 3, number: 1 }, "request: `Receivers`, list 1, three at most");
    is(ReceiverList { receivers: vec![PeerId(Digest([0x22; 32]))] }, "receivers: one");
    is(Answer::Pieces { run: run(4, 1), bytes: 16_384 }, "answer: the one numbered 4, in 16,384 bytes");
    let about = Some(("a.bin".to_owned(), 1 << 32));
    is(
        TrackerRequest::Announce(Announce { content, about, role: Role::Downloader }),
        "tracker: `Announce` of a.bin, 4 GiB, wanted",
    );
    is(TrackerRequest::Hello { version: VERSION, listeners }, "tracker: `Hello` from 10.0.0.1:9000");
    let progress = PeerProgress { have: 3, pieces: 300, size: 1 << 20, down: 1000, up: 0, from: vec![] };
    is(
        TrackerRequest::Progress { content, progress },
        "tracker: `Progress`, 3 of 300 pieces of 1 MiB, 1,000 bytes a second",
    );
    is(TrackerRequest::Watch { content, after: None }, "tracker: `Watch`, the first page");
    let peer = PeerId(Digest([0x11; 32]));
    is(TrackerRequest::Relay { peer, content }, "tracker: `Relay` to a peer, which takes part in a content");
    is(TrackerRequest::TakesLegs, "tracker: `TakesLegs`");
    let (key, address) = (RelayKey([0x22; 16]), "10.0.0.2:9000".parse().unwrap());
    let answer = Ok(Carried { key, address });
    is(TrackerEvent::Relayed { peer, answer }, "from the tracker: `Relayed`, at 10.0.0.2:9000");
    let key = LegKey([0x33; 16]);
    is(TrackerEvent::Leg { from: peer, address, key }, "from the tracker: `Leg`, of the peer at 10.0.0.2:9000");
    let claim = TrackerRequest::Mailbox(MailboxRequest::Claim { wish: Some(7) });
    is(claim, "tracker: `Mailbox`, claims number 7");
    let open = TrackerRequest::Mailbox(MailboxRequest::Open { mailbox: 7, message: vec![1, 2] });
    is(open, "tracker: `Mailbox`, opens 7 and says 1, 2");
    let claimed = TrackerEvent::Mailbox(MailboxEvent::Claimed { mailbox: 7 });
    is(claimed, "from the tracker: `Mailbox`, 7 is claimed");
    let refused = TrackerEvent::Mailbox(MailboxEvent::Refused(MailboxRefusal::None));
    is(refused, "from the tracker: `Mailbox`, there is none");
    let probe = ProbeRequest { dialled: "192.0.2.1".parse().unwrap(), tcp: Some(9000) };
    is(TrackerRequest::Probe(probe), "tracker: `Probe`, of who dialled 192.0.2.1 and has port 9000");
    let (seen, let_in) = (vec![Some("192.0.2.7:9000".parse().unwrap())], vec![false]);
    let report = ProbeReport { seen, let_in, tcp: Some(true), relays: true, udp_works: true };
    is(
        TrackerEvent::Probe(ProbeEvent::Found(report)),
        "from the tracker: `Probe`, seen at 192.0.2.7:9000, TCP gets in",
    );
    is(TrackerRequest::Instance, "tracker: `Instance`");
    let instance = TrackerInstance { label: [0x22; 16], nonce: [0x33; 16] };
    is(TrackerEvent::Instance(instance), "from the tracker: `Instance`");
    let key = OriginKey(Digest([0x11; 32]));
    let claim = LeaseRequest::Claim { key, size: 1 << 20, wrong: vec![] };
    is(TrackerRequest::Lease(claim), "tracker: `Lease`, claims what has 1 MiB");
    let published = LeaseRequest::Published { key, content };
    is(TrackerRequest::Lease(published), "tracker: `Lease`, it is this content");
    is(TrackerEvent::Lease(LeaseEvent::Granted { key }), "from the tracker: `Lease`, granted");
    is(TrackerRequest::SecondAddress, "tracker: `SecondAddress`");
    let (token, listeners) = (AddressToken([0x22; 16]), vec!["10.0.0.1:9000".parse().unwrap()]);
    is(TrackerRequest::AlsoAt { token, listeners }, "tracker: `AlsoAt`, from 10.0.0.1:9000");
    let at = vec!["10.0.0.1:9000".parse().unwrap()];
    is(TrackerEvent::AddressToken { token, at }, "from the tracker: `AddressToken`, of one at 10.0.0.1:9000");
    let seen = "10.0.0.1:9000".parse().unwrap();
    is(TrackerEvent::AlsoSeen { seen }, "from the tracker: `AlsoSeen`, at 10.0.0.1:9000");
    is(CodeMessage::Wrong, "through a mailbox: the code is wrong");
    is(TrackerEvent::Welcome { seen: "[::1]:80".parse().unwrap() }, "from the tracker: `Welcome`, seen at [::1]:80");
}
