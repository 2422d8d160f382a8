//! Hostile peers: what they do costs them their connection, and nobody else anything.

use std::net::SocketAddr;

use hostile::{Hostile, Script, answer, claim, forged, has_all, hello, said};
use protocol::{
    Algorithm, Answer, ContentId, Digest, FileEntry, Manifest, ManifestHeader, PeerId, PeerMessage, PieceRange,
    RefusalReason, Request, Wire,
};
use testbed::event::{Banned, Completed, Kind, Ready, Sharing};
use tests::{Process, Swarm, noise};
use transport::TransportError;
use transport::frame::frame;

const PIECE: usize = 16 << 10;

/// An honest seeder of a content that takes a while, and what it is.
fn honest(swarm: &Swarm, bytes: &[u8]) -> (Process, ContentId, u32) {
    swarm.put("honest", "file", bytes);
    let mut seeder = swarm.peer("honest", &["-S", "--json", "--piece-size=16KiB", "--up-rate=768KiB"]);
    let sharing = seeder.event::<Sharing>();
    let content = sharing.content.parse().unwrap();
    (seeder, content, sharing.pieces)
}

/// What a peer may say on its control stream to lose its connection.
fn rows(content: ContentId, pieces: u32) -> Vec<(&'static str, Vec<u8>, bool)> {
    let have = |runs| said(&PeerMessage::Have { content, runs, in_flight: vec![] });
    let join = |pieces| said(&PeerMessage::Join { content, pieces: Some(pieces), wants: false });
    let then = |more: Vec<u8>| [hello(), more].concat();
    let version = PeerMessage::Hello { version: 99, listeners: vec![], site: String::new() };
    let mut trailing = PeerMessage::Bye.encode().unwrap();
    trailing.push(0);
    // A list of 2^32 runs, of which none is there.
    let mut counted = PeerMessage::Have { content, runs: vec![], in_flight: vec![] }.encode().unwrap();
    counted.truncate(counted.len() - 2);
    counted.extend([252, 255, 255, 255, 255]);
    let all = PieceRange { first: 0, count: pieces };
    vec![
        ("a frame of 4 GiB", then(vec![0xff; 4]), false),
        ("a frame just over the limit", then((64 * 1024 + 1u32).to_le_bytes().to_vec()), false),
        ("a cut frame", then([&100u32.to_le_bytes()[..], b"abc"].concat()), true),
        ("a cut length", then(vec![1, 0]), true),
        ("an unknown message", then(frame(&[200]).to_vec()), false),
        ("an empty message", then(frame(&[]).to_vec()), false),
        ("bytes behind a message", then(frame(&trailing).to_vec()), false),
        ("a count of nothing", then(frame(&counted).to_vec()), false),
        ("another version", said(&version), false),
        ("no hello", has_all(content, pieces)[hello().len()..].to_vec(), false),
        (
            "pieces past the end",
            then([join(pieces), have(vec![PieceRange { first: pieces, count: 1 }])].concat()),
            false,
        ),
        (
            "pieces past all numbers",
            then([join(pieces), have(vec![PieceRange { first: u32::MAX, count: 2 }])].concat()),
            false,
        ),
        ("a run of no pieces", then([join(pieces), have(vec![PieceRange { first: 0, count: 0 }])].concat()), false),
        ("all pieces, thousands of times", then([join(pieces), have(vec![all; 4096])].concat()), false),
        ("more pieces than any content has", then(join(u32::MAX)), false),
    ]
}

#[test]
fn a_protocol_violation_costs_its_sender_the_connection_and_nobody_else_anything() {
    let swarm = Swarm::new();
    let bytes = noise(6 << 20, 1);
    let (_honest, content, pieces) = honest(&swarm, &bytes);
    let hostile: Vec<_> = rows(content, pieces)
        .into_iter()
        .map(|(what, control, ends)| {
            let script = Script { ends, ..Script::says(control) };
            (what, Hostile::seeder(&swarm.tracker_address(), content, "file", script))
        })
        .collect();
    let mut downloader = swarm.downloader("downloader", &content.to_string(), &[]);
    for (what, hostile) in &hostile {
        hostile.is_shut_out(what);
    }
    downloader.event::<Completed>();
    let memory = downloader.most_memory();
    downloader.type_line("exit");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
    assert!(memory < 256 << 20, "{memory} bytes");
}

fn header(name: &str, sizes: &[(&str, u64)]) -> ManifestHeader {
    let file = |&(path, size): &(&str, u64)| FileEntry {
        path: path.to_owned(),
        size,
        executable: false,
        root: Digest([0; 32]),
    };
    ManifestHeader {
        name: name.to_owned(),
        folder: true,
        algorithm: Algorithm::Blake3,
        piece_size: 1024,
        files: sizes.iter().map(file).collect(),
        empty_folders: vec![],
    }
}

/// Each is what its content id stands for; it is the manifest itself that may not be.
#[test]
fn hostile_manifests_write_nothing_and_cost_nothing() {
    let swarm = Swarm::new();
    let no_pieces = ManifestHeader { piece_size: 0, ..header("a", &[("x", 5)]) };
    let mut counted = header("a", &[]).encode().unwrap();
    counted.truncate(counted.len() - 2);
    counted.extend([253, 255, 255, 255, 255, 255, 255, 255, 127]);
    let counted = [b"P2PM\x01", &(counted.len() as u32).to_le_bytes()[..], &counted].concat();
    let manifests = [
        ("leaves the folder", forged(&header("../evil", &[("x", 0)]), 0)),
        ("is absolute", forged(&header("/tmp/evil", &[("x", 0)]), 0)),
        ("leaves it inside", forged(&header("a", &[("b/../../../evil", 0)]), 0)),
        ("overlaps", forged(&header("a", &[("x", 0), ("x/y", 0)]), 0)),
        ("has pieces of no bytes", forged(&no_pieces, 1)),
        ("has absurd sizes", forged(&header("a", &[("x", u64::MAX), ("y", u64::MAX)]), 1)),
        ("has too many pieces", forged(&header("a", &[("x", 1 << 50)]), 1)),
        ("has 2^63 files", counted),
        ("has a wrong root", forged(&header("a", &[("x", 5)]), 1)),
        ("is no manifest", noise(10_000, 3)),
        ("is empty", Vec::new()),
    ];
    let hostile: Vec<_> = manifests
        .into_iter()
        .map(|(what, bytes)| {
            let content = ContentId(Digest::of(&bytes));
            let answers = Script::answers(content, 1, move |_| Some(answer(&bytes)));
            (what, content, Hostile::seeder(&swarm.tracker_address(), content, "a", answers))
        })
        .collect();
    // And some who do not even have what they claim.
    let wished = ContentId(Digest([9; 32]));
    let others = [
        ("claims more than a manifest may have", claim(41 << 20)),
        ("claims all there is", claim(u64::MAX)),
        ("sends other bytes", answer(&noise(1000, 4))),
        ("ends early", [claim(1000), vec![7; 10]].concat()),
        ("sends no answer", frame(&[77]).to_vec()),
    ];
    let others: Vec<_> = others
        .into_iter()
        .map(|(what, bytes)| {
            (
                what,
                Hostile::seeder(
                    &swarm.tracker_address(),
                    wished,
                    "b",
                    Script::answers(wished, 1, move |_| Some(bytes.clone())),
                ),
            )
        })
        .collect();
    let ids: Vec<_> = hostile.iter().map(|(_, content, _)| content.to_string()).chain([wished.to_string()]).collect();
    let mut arguments = vec!["--json"];
    ids.iter().for_each(|id| arguments.extend(["-f", id]));
    let mut downloader = swarm.peer("downloader", &arguments);
    for (what, _, hostile) in &hostile {
        hostile.is_shut_out(what);
    }
    for (what, hostile) in others.iter().take(3) {
        hostile.is_shut_out(what);
    }
    assert!(downloader.most_memory() < 256 << 20, "{} bytes", downloader.most_memory());
    downloader.type_line("exit");
    downloader.ends_with(0);
    for folder in ["hashes", "output"] {
        let left: Vec<_> = std::fs::read_dir(swarm.folder("downloader").join(folder)).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(!swarm.folder("downloader").join("../evil").exists() && !std::path::Path::new("/tmp/evil").exists());
}

/// The manifest or the pieces of one content for another.
#[test]
fn two_contents_are_never_mixed_up() {
    let swarm = Swarm::new();
    let (bytes, other) = (noise(3 << 20, 1), noise(3 << 20, 2));
    let (_honest, content, pieces) = honest(&swarm, &bytes);
    let digests: Vec<_> = (other.chunks(PIECE).zip(0..))
        .map(|(piece, number)| {
            let place = protocol::Geometry::new(PIECE as u32, vec![3 << 20]).unwrap().piece(number).unwrap().place();
            Algorithm::Blake3.integrity().piece(place, piece)
        })
        .collect();
    let of_one = ManifestHeader { folder: false, piece_size: PIECE as u32, ..header("file", &[("file", 3 << 20)]) };
    let manifest = Manifest::build(of_one, &digests).unwrap();
    let wrong_manifest = Script::answers(content, pieces, move |_| Some(answer(manifest.bytes())));
    let mut wrong_pieces = Script::answers(content, pieces, move |request| match request {
        Request::Pieces { run, .. } | Request::AwaitedPieces { run, .. } => {
            let part = run.first as usize * PIECE..(run.first + run.count) as usize * PIECE;
            Some(answer(&other[part]))
        }
        Request::Manifest { .. } => Some(frame(&Answer::Refused(RefusalReason::NotHeld).encode().unwrap()).to_vec()),
        Request::FirstPieces { .. } | Request::UpRate { .. } | Request::Receivers { .. } => None,
    });
    // It gives at once, so that it is taken up on it.
    let runs = (0..16).map(|first| PieceRange { first, count: 1 }).collect();
    wrong_pieces.control.extend(said(&PeerMessage::Offer { content, runs }));
    let mixed_manifest = Hostile::seeder(&swarm.tracker_address(), content, "file", wrong_manifest);
    let mixed_pieces = Hostile::seeder(&swarm.tracker_address(), content, "file", wrong_pieces);
    let mut downloader = swarm.downloader("downloader", &content.to_string(), &["--exit-when-done"]);
    let wrong = mixed_pieces.id().to_string();
    downloader.find_event("banned", |event| Banned::from_event(event).filter(|banned| banned.peer == wrong));
    mixed_pieces.is_shut_out("pieces of another content");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
    mixed_manifest.is_shut_out("the manifest of another content");
}

#[test]
fn hostile_questions_are_refused_and_a_seeder_goes_on() {
    let swarm = Swarm::new();
    let bytes = noise(1 << 20, 1);
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.peer("seeder", &["-S", "--json", "--piece-size=16KiB"]);
    let ready = seeder.event::<Ready>();
    let sharing = seeder.event::<Sharing>();
    let id: PeerId = ready.id.parse().unwrap();
    let address: SocketAddr = ready.listeners[0].parse().unwrap();
    let content: ContentId = sharing.content.parse().unwrap();
    let pieces = sharing.pieces;

    let ask = |content, first, count| {
        frame(&Request::Pieces { content, run: PieceRange { first, count } }.encode().unwrap()).to_vec()
    };
    let unknown = ContentId(Digest([1; 32]));
    let refused = [
        (ask(content, 0, 0), RefusalReason::Invalid),
        (ask(content, pieces, 1), RefusalReason::Invalid),
        (ask(content, 0, pieces + 1), RefusalReason::Invalid),
        (ask(content, u32::MAX, u32::MAX), RefusalReason::Invalid),
        (ask(unknown, 0, 1), RefusalReason::NotHeld),
        (frame(&Request::Manifest { content: unknown }.encode().unwrap()).to_vec(), RefusalReason::NotHeld),
    ];
    let hostile = Hostile::new();
    let questions: Vec<_> = refused.iter().map(|(question, _)| question.clone()).collect();
    let join = said(&PeerMessage::Join { content, pieces: None, wants: true });
    let answers = hostile.asks(address, id, [hello(), join].concat(), &questions);
    for ((question, reason), answer) in refused.iter().zip(answers) {
        let answer = answer.unwrap().map(|bytes| Answer::decode(&bytes).unwrap());
        assert_eq!(answer, Some(Answer::Refused(*reason)), "{question:?}");
    }
    // What is no question at all ends its stream alone: the last one is answered.
    let manifest = frame(&Request::Manifest { content }.encode().unwrap()).to_vec();
    let nonsense =
        [vec![0xff; 4], vec![], vec![9], frame(&[50]).to_vec(), frame(&[0; 256]).to_vec(), vec![1, 1, 0, 0, 9]];
    let answers = hostile.asks(address, id, hello(), &[&nonsense[..], &[manifest]].concat());
    let (last, others) = answers.split_last().unwrap();
    for (question, answer) in nonsense.iter().zip(others) {
        assert!(matches!(answer, Err(TransportError::Reset(_))), "{question:?}: {answer:?}");
    }
    assert!(matches!(last, Ok(Some(_))), "{last:?}");
    // More streams than there may be, all of them silent.
    let _silent: Vec<_> = (0..3).map(|_| hostile.opens_streams(address, id, hello(), 1000)).collect();
    swarm.downloader("downloader", "file", &["--exit-when-done"]).ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
    assert!(seeder.most_memory() < 256 << 20, "{} bytes", seeder.most_memory());
}
