//! What the engine costs a piece in a large swarm: 10,000 pieces, 200 peers that each have half of them.

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use p2p_fileshare_swarm::{Action, Config, Engine, Event, RequestId};
use protocol::{ContentId, Digest, Geometry, PeerId, PeerMessage, PieceSet, VERSION};

const PIECES: u32 = 10_000;
const PEERS: u64 = 200;
/// Pieces that one measurement takes.
const TAKEN: usize = 1000;

fn main() {
    divan::main();
}

fn content() -> ContentId {
    ContentId(Digest([9; 32]))
}

/// An engine that has asked everyone for as much as it may, and what it asked.
fn downloader() -> (Engine, Vec<(RequestId, protocol::PieceRange)>) {
    let hello = PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() };
    let mut config = Config::default();
    config.connections = PEERS as usize;
    let mut engine = Engine::new(config, PeerId(Digest([1; 32])), hello, 1);
    let (mut actions, mut rng) = (Vec::new(), fastrand::Rng::with_seed(7));
    let geometry = Arc::new(Geometry::new(256 << 10, vec![u64::from(PIECES) * (256 << 10)]).expect("it is valid"));
    let mut tell = |event, actions: &mut Vec<Action>| engine.handle(Duration::from_secs(1), event, actions);
    tell(Event::Want { content: content() }, &mut actions);
    let have = PieceSet::empty(PIECES);
    tell(Event::Content { content: content(), geometry, have, wanted: PieceSet::full(PIECES) }, &mut actions);
    for conn in 0..PEERS {
        let peer = PeerId(Digest::of(&conn.to_le_bytes()));
        let remote = ([10, 0, 0, conn as u8], 9000).into();
        tell(Event::Connected { conn, peer, remote, dialled: false, relayed: false }, &mut actions);
        let half: PieceSet = (0..PIECES).filter(|_| rng.bool()).collect();
        for message in [
            PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() },
            PeerMessage::Join { content: content(), pieces: Some(PIECES), wants: false },
            PeerMessage::Have {
                content: content(),
                runs: half.runs()[..half.runs().len().min(4096)].to_vec(),
                in_flight: vec![],
            },
            PeerMessage::Offer { content: content(), runs: half.runs()[..half.runs().len().min(256)].to_vec() },
        ] {
            tell(Event::Message { conn, message }, &mut actions);
        }
    }
    (engine, asked(&actions))
}

fn asked(actions: &[Action]) -> Vec<(RequestId, protocol::PieceRange)> {
    let fetch = |action: &Action| match action {
        Action::Fetch { request, run, .. } => Some((*request, *run)),
        _ => None,
    };
    actions.iter().filter_map(fetch).collect()
}

#[divan::bench(sample_count = 20)]
fn store_a_thousand_pieces_and_ask_for_more(bencher: Bencher) {
    bencher.counter(divan::counter::ItemsCount::new(TAKEN)).with_inputs(downloader).bench_values(
        |(mut engine, mut open)| {
            let (mut actions, mut taken, mut now) = (Vec::new(), 0, Duration::from_secs(1));
            while taken < TAKEN {
                let (request, run) = open.pop().expect("it asks for more than it gets");
                for piece in run.pieces() {
                    now += Duration::from_micros(10);
                    engine.handle(now, Event::Progress { request, bytes: 256 << 10 }, &mut actions);
                    engine.handle(now, Event::Stored { content: content(), request, piece }, &mut actions);
                    taken += 1;
                }
                engine.handle(now, Event::Finished { request, failure: None }, &mut actions);
                open.extend(asked(&actions));
                actions.clear();
            }
            engine
        },
    );
}

#[divan::bench(sample_count = 10)]
fn hear_of_two_hundred_peers(bencher: Bencher) {
    bencher.bench(downloader);
}

/// A seeder of so many pieces, to whom one peer says that it takes part.
fn seeder(pieces: u32) -> Engine {
    let hello = PeerMessage::Hello { version: VERSION, listeners: Vec::new(), site: String::new() };
    let mut engine = Engine::new(Config::default(), PeerId(Digest([1; 32])), hello.clone(), 1);
    let geometry = Arc::new(Geometry::new(16 << 10, vec![u64::from(pieces) * (16 << 10)]).expect("it is valid"));
    let (id, remote) = (PeerId(Digest([2; 32])), ([10, 0, 0, 1], 9000).into());
    let have = PieceSet::full(pieces);
    for event in [
        Event::Content { content: content(), geometry, have, wanted: PieceSet::empty(0) },
        Event::Connected { conn: 1, peer: id, remote, dialled: false, relayed: false },
        Event::Message { conn: 1, message: hello },
        Event::Message {
            conn: 1,
            message: PeerMessage::Join { content: content(), pieces: Some(pieces), wants: true },
        },
    ] {
        engine.handle(Duration::from_secs(1), event, &mut Vec::new());
    }
    engine
}

/// One piece is new in each, and another on its way: it should cost the same whatever the number of pieces.
#[divan::bench(args = [1 << 10, 1 << 15, 1 << 20], sample_count = 20)]
fn hear_a_thousand_haves_of_one_piece(bencher: Bencher, pieces: u32) {
    bencher.counter(divan::counter::ItemsCount::new(TAKEN)).with_inputs(|| seeder(pieces)).bench_values(
        |mut engine| {
            let mut actions = Vec::new();
            let one = |first| vec![protocol::PieceRange { first, count: 1 }];
            for piece in 0..TAKEN as u32 {
                let (runs, in_flight) = (one(piece), one(piece + 1));
                let message = PeerMessage::Have { content: content(), runs, in_flight };
                engine.handle(Duration::from_secs(1), Event::Message { conn: 1, message }, &mut actions);
                actions.clear();
            }
            engine
        },
    );
}
