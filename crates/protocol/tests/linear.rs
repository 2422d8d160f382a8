//! What a decoder holds for bytes at its limit, and for half of them: in proportion to the bytes, whatever they say. What it
//! does with paths and pieces is counted beside the code (`paths`, `pieces`).

use bytes::Bytes;
use p2p_fileshare_protocol::{
    Algorithm, Announce, ContentId, ContentMatch, Digest, FileEntry, MAX_IN_FLIGHT, MAX_MATCHES, MAX_OFFERS,
    MAX_PATH_PARTS, MAX_RUNS, Manifest, ManifestHeader, PeerAddress, PeerId, PeerMessage, PieceRange, Role, Ticket,
    TrackerEvent, TrackerRequest, Wire, check_name, check_path, decorated_name,
};

mod measured;

use measured::{ALONE, measured};

/// What may be held beside what the bytes stand for.
const SPARE: usize = 64 << 10;

const ZERO: Digest = Digest([0; 32]);
const CONTENT: ContentId = ContentId(ZERO);

/// Decodes half of it and all of it: twice the bytes may hold twice as much.
fn in_proportion(what: &str, bytes: impl Fn(usize) -> Vec<u8>, most: usize, decode: impl Fn(&[u8])) {
    let _alone = ALONE.lock();
    let of = |count: usize| {
        let bytes = bytes(count);
        let ((), peak) = measured(|| decode(&bytes));
        (bytes.len(), peak)
    };
    let ((half, half_peak), (whole, whole_peak)) = (of(most / 2), of(most));
    assert!(whole > half, "{what}");
    // A vector that grows holds its old and its new half for a moment, and up to twice what is in it.
    assert!(whole_peak <= half_peak * 5 / 2 + SPARE, "{what}: {half_peak} for {half} bytes, {whole_peak} for {whole}");
    assert!(whole_peak <= 16 * whole + SPARE, "{what}: {whole_peak} for {whole}");
}

fn manifest(files: Vec<(String, u64)>, empty_folders: Vec<String>) -> Vec<u8> {
    let file = |(path, size)| FileEntry { path, size, executable: false, root: ZERO };
    let files: Vec<_> = files.into_iter().map(file).collect();
    let pieces: u64 = files.iter().map(|file| file.size.div_ceil(1024)).sum();
    let header = ManifestHeader {
        name: "content".into(),
        folder: true,
        algorithm: Algorithm::Blake3,
        piece_size: 1024,
        files,
        empty_folders,
    };
    Manifest::build(header, &vec![Digest([7; 32]); pieces as usize]).unwrap().bytes().to_vec()
}

fn takes(bytes: &[u8]) {
    Manifest::decode(Bytes::copy_from_slice(bytes)).unwrap();
}

#[test]
fn a_manifest_of_many_files() {
    let files = |count: usize| manifest((0..count).map(|n| (format!("{}/{n}", n % 1000), 1)).collect(), vec![]);
    in_proportion("files", files, 1 << 16, takes);
}

#[test]
fn a_manifest_of_long_paths() {
    let deep = vec!["x".repeat(31); MAX_PATH_PARTS - 1].join("/");
    let files = |count: usize| manifest((0..count).map(|n| (format!("{deep}/{n:04}"), 0)).collect(), vec![]);
    in_proportion("long paths", files, 2000, takes);
}

#[test]
fn a_manifest_of_many_pieces_and_folders() {
    let pieces = |count: usize| manifest(vec![("a".into(), count as u64 * 1024)], vec![]);
    in_proportion("pieces", pieces, 1 << 20, takes);
    let folders = |count: usize| manifest(vec![], (0..count).map(|n| n.to_string()).collect());
    in_proportion("folders", folders, 1 << 16, takes);
}

#[test]
fn every_message_with_as_much_as_it_may_carry() {
    let runs = |count: usize| (0..count as u32).map(|n| PieceRange { first: n * 2, count: 1 }).collect::<Vec<_>>();
    let address = || PeerAddress { id: PeerId(ZERO), addresses: vec!["127.0.0.1:9".parse().unwrap(); 32] };
    let found = |_| ContentMatch {
        content: CONTENT,
        name: "x".repeat(255),
        size: u64::MAX,
        seeders: u32::MAX,
        others: u32::MAX,
        downloaders: u32::MAX,
    };
    let peer = |bytes: &[u8]| drop(PeerMessage::decode(bytes).unwrap());
    let tracker = |bytes: &[u8]| drop(TrackerEvent::decode(bytes).unwrap());
    let encode = |message: PeerMessage| message.encode().unwrap();
    let content = CONTENT;
    in_proportion("have", |n| encode(PeerMessage::Have { content, runs: runs(n), in_flight: vec![] }), MAX_RUNS, peer);
    in_proportion(
        "coming",
        |n| encode(PeerMessage::Have { content, runs: vec![], in_flight: runs(n) }),
        MAX_IN_FLIGHT,
        peer,
    );
    in_proportion("offer", |n| encode(PeerMessage::Offer { content, runs: runs(n) }), MAX_OFFERS, peer);
    in_proportion("decline", |n| encode(PeerMessage::Decline { content, runs: runs(n) }), MAX_OFFERS, peer);
    in_proportion("skip", |n| encode(PeerMessage::Skip { content, runs: runs(n) }), MAX_RUNS, peer);
    let peers = |n| encode(PeerMessage::Peers { content, peers: vec![address(); n] });
    in_proportion("peers", peers, 64, peer);
    let hello = |n| {
        let listeners = vec!["[2001:db8::1]:9".parse().unwrap(); n];
        encode(PeerMessage::Hello { version: 1, listeners, site: "x".repeat(n * 2) })
    };
    in_proportion("hello", hello, 32, peer);
    let matches = |n| {
        let matches = (0..n).map(found).collect();
        TrackerEvent::Found { query: "x".repeat(n), matches }.encode().unwrap()
    };
    in_proportion("found", matches, MAX_MATCHES, tracker);
    let listed = |n| {
        let contents = (0..n).map(found).collect();
        TrackerEvent::Listed { before: None, contents, next: None }.encode().unwrap()
    };
    in_proportion("listed", listed, MAX_MATCHES, tracker);
    let named = |n| TrackerEvent::Refused("x".repeat(n)).encode().unwrap();
    in_proportion("refused", named, 60_000, tracker);
    let announced = |n| {
        let about = Some(("x".repeat(n), 1));
        TrackerRequest::Announce(Announce { content, about, role: Role::Seeder }).encode().unwrap()
    };
    in_proportion("announce", announced, 60_000, |bytes| drop(TrackerRequest::decode(bytes).unwrap()));
}

/// What is too long is refused for its length, and not taken apart, copied or hashed first.
#[test]
fn texts_beyond_their_limits_cost_nothing() {
    let _alone = ALONE.lock();
    let long = "p2pa".repeat(4 << 20);
    let slashes = "a/".repeat(8 << 20);
    let (refused, peak) = measured(|| {
        long.parse::<Ticket>().is_err()
            && check_name(&long).is_err()
            && check_path(&slashes).is_err()
            && check_path(&long).is_err()
    });
    assert!(refused && peak < SPARE, "{peak}");
    let (name, peak) = measured(|| decorated_name(".", &long, ".part"));
    assert!(name.len() <= 255 && peak < SPARE, "{peak}");
}
