//! Bytes of someone who means harm: every decoder refuses them, and allocates no more than what is there.

use bytes::Bytes;
use p2p_fileshare_protocol::{
    Algorithm, Answer, ContentId, DecodeError, Digest, FileEntry, MAX_FRAME, MAX_MANIFEST_BYTES, MAX_SOURCES,
    MAX_WATCHED, Manifest, ManifestError, ManifestHeader, PeerId, PeerMessage, PeerProgress, Request, Role,
    TrackerEvent, TrackerRequest, WatchedPeer, WatchedSource, Wire,
};

mod measured;

use measured::{ALONE, measured};

/// What may be allocated beside what the bytes themselves stand for.
const SPARE: usize = 64 << 10;

const ROOT: Digest = Digest([0; 32]);

fn file(path: &str, size: u64) -> FileEntry {
    FileEntry { path: path.to_owned(), size, executable: false, root: ROOT }
}

fn folder(files: Vec<FileEntry>) -> ManifestHeader {
    ManifestHeader {
        name: "content".into(),
        folder: true,
        algorithm: Algorithm::Blake3,
        piece_size: 1024,
        files,
        empty_folders: vec![],
    }
}

fn single(name: &str, size: u64) -> ManifestHeader {
    ManifestHeader { name: name.into(), folder: false, ..folder(vec![file(name, size)]) }
}

/// A manifest of these parts, whatever they are.
fn raw(header: &[u8], digests: usize) -> Vec<u8> {
    let mut bytes = b"P2PM\x01".to_vec();
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(header);
    bytes.resize(bytes.len() + digests * 32, 7);
    bytes
}

fn of(header: &ManifestHeader, digests: usize) -> Vec<u8> {
    raw(&header.encode().unwrap(), digests)
}

/// A header with these bytes in place of all from some place on.
fn spliced(header: &ManifestHeader, at: usize, new: &[u8]) -> Vec<u8> {
    let mut encoded = header.encode().unwrap();
    encoded.truncate(at);
    encoded.extend_from_slice(new);
    raw(&encoded, 0)
}

/// 2^63 - 1, as bincode says a number of eight bytes.
const HUGE: [u8; 9] = [253, 255, 255, 255, 255, 255, 255, 255, 127];

fn hostile_manifests() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, bytes: Vec<u8>| all.push((what.to_owned(), bytes));
    for piece_size in [0, 1, 3, 512, 1000, 1023, 1025, 3 << 20, 32 << 20, 1 << 31, u32::MAX] {
        add(&format!("pieces of {piece_size}"), of(&ManifestHeader { piece_size, ..single("a", 5) }, 1));
    }
    let sizes: [&[u64]; 8] = [
        &[u64::MAX],
        &[1 << 63],
        &[i64::MAX as u64],
        &[u64::MAX, 1],
        &[i64::MAX as u64, i64::MAX as u64],
        &[1 << 40],
        &[(1 << 30) + 1],
        &[1 << 29, 1 << 29, 1],
    ];
    for sizes in sizes {
        let files = sizes.iter().enumerate().map(|(n, &size)| file(&n.to_string(), size)).collect();
        add(&format!("sizes {sizes:?}"), of(&folder(files), 1));
    }
    let overlaps: [&[&str]; 6] =
        [&["a", "a"], &["a", "a/b"], &["a/b", "a"], &["a/b/c", "a/b"], &["x", "y", "x"], &["a/b", "a/b/c/d"]];
    for paths in overlaps {
        add(&format!("files {paths:?}"), of(&folder(paths.iter().map(|path| file(path, 0)).collect()), 0));
    }
    let folders: [(&[&str], &[&str]); 4] = [(&["a"], &["a"]), (&[], &["a", "a"]), (&["a"], &["a/b"]), (&[], &[".."])];
    for (files, folders) in folders {
        let what = format!("files {files:?}, folders {folders:?}");
        let files = files.iter().map(|path| file(path, 0)).collect();
        let empty_folders = folders.iter().map(|&path| path.to_owned()).collect();
        add(&what, of(&ManifestHeader { empty_folders, ..folder(files) }, 0));
    }
    let long = "x".repeat(256);
    for name in ["", ".", "..", "/", "a/b", "../a", "/etc/passwd", "a\0b", "\0", &long] {
        add(&format!("a file called {name:?}"), of(&single(name, 0), 0));
        add(&format!("a folder called {name:?}"), of(&ManifestHeader { name: name.into(), ..folder(vec![]) }, 0));
    }
    for path in ["/a", "a/", "a//b", "./a", "a/./b", "../a", "a/../b", "a/..", "", "/", "a/\0", &format!("a/{long}")] {
        add(&format!("a path {path:?}"), of(&folder(vec![file(path, 0)]), 0));
    }
    let parts = |count: usize| vec!["a"; count].join("/");
    add("a path of 4 million parts", of(&folder(vec![file(&parts(4_000_000), 0)]), 0));
    add("a path of 129 parts", of(&folder(vec![file(&parts(129), 0)]), 0));
    add("an empty folder of 129 parts", of(&ManifestHeader { empty_folders: vec![parts(129)], ..folder(vec![]) }, 0));
    add("a path of 4,097 bytes", of(&folder(vec![file(&format!("{}/a", vec!["x".repeat(4); 819].join("/")), 0)]), 0));
    add("2,000 paths of 4,096 bytes that overlap", {
        let long = vec!["x".repeat(240); 17].join("/");
        let files = (0..2000).map(|n| file(&long[..long.len() - n % 200], 0)).collect();
        of(&folder(files), 0)
    });
    let deep = (0..1434).map(|n| file(&format!("{n}/{}", parts(127)), 0)).collect();
    add("182,118 folders", of(&folder(deep), 0));
    let header = single("a", 0);
    add("no file, and no folder", of(&ManifestHeader { files: vec![], ..header.clone() }, 0));
    let two = vec![file("a", 0), file("b", 0)];
    add("two files, and no folder", of(&ManifestHeader { files: two, ..header.clone() }, 0));
    add("a file of another name", of(&ManifestHeader { name: "b".into(), ..header.clone() }, 0));
    add("a file with folders", of(&ManifestHeader { empty_folders: vec!["b".into()], ..header.clone() }, 0));
    add("a digest too few", of(&single("a", 5000), 4));
    add("a digest too many", of(&single("a", 5000), 6));
    add("digests of nothing", of(&header, 1 << 15));
    let mut half = of(&single("a", 5), 1);
    half.truncate(half.len() - 16);
    add("half a digest", half);
    add("a wrong root", of(&single("a", 5), 1));
    add("a wrong root of nothing", of(&header, 0));
    // The name comes first: its length, then itself; a flag, the algorithm, the piece size; how many files, and so on.
    let len = header.encode().unwrap().len();
    add("a name of 2^63 bytes", spliced(&header, 0, &HUGE));
    add("a name of 8 MiB that is not there", spliced(&header, 0, &[252, 0, 0, 128, 0]));
    add("a name that is no text", spliced(&header, 0, &[2, 0xff, 0xfe, 0, 0, 0, 0, 0]));
    add("a flag of 2", spliced(&header, 2, &[2]));
    add("an algorithm that nobody knows", spliced(&header, 3, &[9]));
    // Behind the count of files: one with two bytes of name, one of size, a flag and a root; then the count of folders.
    let files = len - 1 - (2 + 1 + 1 + 32) - 1;
    add("2^63 files", spliced(&header, files, &HUGE));
    add("2^32 files", spliced(&header, files, &[252, 255, 255, 255, 255]));
    add("65,537 files that are not there", spliced(&header, files, &[252, 1, 0, 1, 0]));
    add("2^63 folders", spliced(&header, len - 1, &HUGE));
    add("bytes behind the header", spliced(&header, len, &[0; 100]));
    add("nothing", vec![]);
    add("another magic", b"P2PX\x01aaaaaaaaaaaa".to_vec());
    let mut changed = of(&header, 0);
    changed[4] = 2;
    add("another version", changed);
    let mut changed = of(&header, 0);
    changed[5..9].fill(255);
    add("a header of 4 GiB", changed);
    add("a header of 9 MiB", raw(&vec![0; 9 << 20], 0));
    add("more files than may be", of(&folder((0..70_000).map(|n| file(&n.to_string(), 0)).collect()), 0));
    add("more than 40 MiB", vec![b'P'; MAX_MANIFEST_BYTES + 1]);
    all
}

#[test]
fn hostile_manifests_are_refused_and_cost_nothing() {
    let _alone = ALONE.lock();
    let manifests = hostile_manifests();
    assert!(manifests.len() >= 50, "{}", manifests.len());
    for (what, bytes) in manifests {
        let bytes = Bytes::from(bytes);
        let (result, peak) = measured(|| Manifest::decode(bytes.clone()));
        assert!(result.is_err(), "{what}: it was taken");
        // An honest header of so many entries takes several times its encoding.
        assert!(peak <= 8 * bytes.len().min(8 << 20) + SPARE, "{what}: {peak} bytes for {}", bytes.len());
    }
}

#[test]
fn the_reason_is_said() {
    let _alone = ALONE.lock();
    let reason = |header: &ManifestHeader, digests| Manifest::decode(of(header, digests).into()).unwrap_err();
    assert!(matches!(reason(&single("a", u64::MAX), 0), ManifestError::Geometry(_)));
    assert!(matches!(reason(&folder(vec![file("a", 0), file("a", 0)]), 0), ManifestError::Overlap(_)));
    assert!(matches!(reason(&single("..", 0), 0), ManifestError::Name(_)));
    assert!(matches!(reason(&single("a", 5), 1), ManifestError::Root(_)));
}

/// Beginnings of messages whose next part is a text or a list, and then a count that nothing stands behind.
fn claims() -> Vec<Vec<u8>> {
    let content = |tag: u8| [&[tag][..], &[7; 32]].concat();
    let counts: [&[u8]; 5] =
        [&HUGE, &[252, 255, 255, 255, 255], &[252, 0, 0, 128, 0], &[251, 255, 255], &[253, 0, 0, 0, 0, 1, 0, 0, 0]];
    let mut beginnings: Vec<Vec<u8>> = (0..17).map(|tag| vec![tag]).collect();
    beginnings.extend((0..17).map(content));
    // A hello before its listeners and before its site, an announce before its name, an answer before its matches.
    beginnings.extend([vec![0, 1], vec![0, 1, 0], [&content(1)[..], &[1]].concat(), vec![2, 1, b'a'], vec![3]]);
    let with = |beginning: &Vec<u8>| counts.map(|count| [beginning, count].concat());
    beginnings.iter().flat_map(with).collect()
}

fn costs_nothing<T: Wire>(bytes: &[u8]) {
    let (_, peak) = measured(|| T::decode(bytes).is_ok());
    assert!(peak <= SPARE, "{bytes:?}: {peak} bytes");
}

#[test]
fn a_claimed_count_is_never_allocated() {
    let _alone = ALONE.lock();
    for bytes in claims() {
        costs_nothing::<PeerMessage>(&bytes);
        costs_nothing::<TrackerRequest>(&bytes);
        costs_nothing::<TrackerEvent>(&bytes);
        costs_nothing::<Request>(&bytes);
        costs_nothing::<Answer>(&bytes);
    }
    // A refusal whose sentence claims 8 MiB: there is such a message, so it is the claim alone that is wrong.
    assert!(matches!(TrackerEvent::decode(&[3, 252, 0, 0, 128, 0]), Err(DecodeError::Invalid(_))));
}

#[test]
fn unknown_and_cut_messages_are_typed_errors() {
    let _alone = ALONE.lock();
    for tag in 20..=250 {
        assert!(matches!(PeerMessage::decode(&[tag]), Err(DecodeError::Invalid(_))), "{tag}");
        assert!(matches!(TrackerRequest::decode(&[tag]), Err(DecodeError::Invalid(_))), "{tag}");
        assert!(matches!(TrackerEvent::decode(&[tag]), Err(DecodeError::Invalid(_))), "{tag}");
        assert!(matches!(Request::decode(&[tag]), Err(DecodeError::Invalid(_))), "{tag}");
        assert!(matches!(Answer::decode(&[tag]), Err(DecodeError::Invalid(_))), "{tag}");
    }
    let whole = PeerMessage::Join { content: ContentId(ROOT), pieces: Some(7), wants: true }.encode().unwrap();
    for len in 0..whole.len() {
        assert!(matches!(PeerMessage::decode(&whole[..len]), Err(DecodeError::Invalid(_))), "{len}");
    }
    assert_eq!(PeerMessage::decode(&vec![0; MAX_FRAME + 1]), Err(DecodeError::TooLong(MAX_FRAME + 1)));
    assert_eq!(Answer::decode(&[0; 65]), Err(DecodeError::TooLong(65)));
}

/// How peers stand: no more peers, and no more sources of each, than a message may have.
#[test]
fn lists_of_watched_peers_are_capped_before_they_are_allocated() {
    let _alone = ALONE.lock();
    let content = ContentId(ROOT);
    let source = WatchedSource { peer: PeerId::of_public_key(b"peer"), rate: u64::MAX };
    let progress = |sources| PeerProgress { from: vec![source; sources], ..PeerProgress::default() };
    let said = |sources| TrackerRequest::Progress { content, progress: progress(sources) }.encode().unwrap();
    assert!(TrackerRequest::decode(&said(MAX_SOURCES)).is_ok());
    assert!(matches!(TrackerRequest::decode(&said(MAX_SOURCES + 1)), Err(DecodeError::Invalid(_))));
    let address = Some("[2001:db8::1]:65535".parse().unwrap());
    let peer = WatchedPeer { peer: source.peer, address, role: Role::Seeder, progress: Some(progress(MAX_SOURCES)) };
    let answer = |peers| {
        let peers = vec![peer.clone(); peers];
        TrackerEvent::Watched { content, after: Some(u64::MAX), peers, next: Some(u64::MAX) }.encode().unwrap()
    };
    let full = answer(MAX_WATCHED);
    assert!(full.len() <= MAX_FRAME / 2 && TrackerEvent::decode(&full).is_ok());
    assert!(matches!(TrackerEvent::decode(&answer(MAX_WATCHED + 1)), Err(DecodeError::Invalid(_))));
    // A count that claims 2^63 - 1 and then ends, in both lists.
    let mut claims = TrackerRequest::Progress { content, progress: PeerProgress::default() }.encode().unwrap();
    claims.pop();
    claims.extend(HUGE);
    let (result, memory) = measured(|| TrackerRequest::decode(&claims));
    assert!(result.is_err() && memory < SPARE, "{memory} bytes");
    let empty = TrackerEvent::Watched { content, after: None, peers: vec![], next: None }.encode().unwrap();
    let claims = [&empty[..empty.len() - 2], &HUGE].concat();
    let (result, memory) = measured(|| TrackerEvent::decode(&claims));
    assert!(result.is_err() && memory < SPARE, "{memory} bytes");
    for len in 0..full.len() {
        assert!(TrackerEvent::decode(&full[..len]).is_err(), "{len} bytes");
    }
}
