//! Who says where it is, and what others lose when that, or what it has, is not true.

use super::*;

const PIECES: u32 = 100;

/// A seeder at one site, to which peers of another are connected: each with so many pieces taken from it.
struct Seeder {
    engine: Engine,
    now: Duration,
}

impl Seeder {
    fn new() -> Self {
        let hello = PeerMessage::Hello { version: VERSION, listeners: vec![address(0)], site: "here".to_owned() };
        let mut engine = Engine::new(Config::default(), peer(0), hello, 1);
        let have = PieceSet::full(PIECES);
        let wanted = PieceSet::empty(0);
        let event = Event::Content { content: content(), geometry: geometry(PIECES), have, wanted };
        engine.handle(Duration::ZERO, event, &mut Vec::new());
        Seeder { engine, now: Duration::ZERO }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        actions
    }

    fn say(&mut self, conn: ConnId, message: PeerMessage) {
        self.tell(Event::Message { conn, message });
    }

    /// Somebody of the other site comes, says that it takes or has all of it, and takes so many pieces.
    fn meet(&mut self, conn: ConnId, takes: bool, taken: u32) {
        let remote = SocketAddr::from(([10, 0, 0, conn as u8], 9000));
        self.tell(Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false });
        let site = "there".to_owned();
        self.say(conn, PeerMessage::Hello { version: VERSION, listeners: vec![remote], site });
        self.say(conn, PeerMessage::Join { content: content(), pieces: Some(PIECES), wants: true });
        for piece in 0..taken {
            let run = PieceRange { first: piece, count: 1 };
            let serve = conn * 1000 + u64::from(piece);
            let asked = Event::Requested { conn, serve, content: content(), run, awaited: true };
            assert!(self.tell(asked).contains(&Action::Serve { serve }));
            self.tell(Event::Served { serve, pieces: 1 });
            self.say(conn, PeerMessage::Have { content: content(), runs: vec![run], in_flight: vec![] });
        }
        if !takes {
            let runs = vec![PieceRange { first: 0, count: PIECES }];
            self.say(conn, PeerMessage::Have { content: content(), runs, in_flight: vec![] });
            self.say(conn, PeerMessage::Interest { content: content(), interested: false });
        }
    }

    /// Whether it leaves the last piece to those at the other site.
    fn believes(&self) -> bool {
        self.engine.someone_gets("there", content(), PIECES - 1)
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now += Duration::from_millis(250);
            self.tell(Event::Tick);
        }
    }
}

#[test]
fn a_stranger_that_starves_casts_no_doubt_on_its_site() {
    let mut seeder = Seeder::new();
    seeder.meet(1, false, 3);
    // It took nothing yet, and has everything from others of its site.
    seeder.meet(2, false, 0);
    seeder.meet(3, true, 0);
    seeder.wait(10);
    assert!(seeder.believes());
    let at = |conn: u8| SocketAddr::from(([10, 0, 0, conn], 9000)).ip();
    assert!((1..4).all(|conn| !seeder.engine.peers.is_suspect(&stranger(99), at(conn))));
    assert!((1..4).all(|conn| seeder.engine.peers.doubt_about(&stranger(99), at(conn)).is_none()));
}

#[test]
fn who_starves_casts_doubt_on_those_who_took_no_more_than_it() {
    let mut seeder = Seeder::new();
    seeder.meet(1, false, 2);
    seeder.meet(2, true, 2);
    assert!(seeder.believes());
    seeder.wait(6);
    assert!(!seeder.believes(), "what it has to give nobody gets");
    assert!(!seeder.engine.peers.is_suspect(&stranger(99), [10, 0, 0, 1].into()));
    // Nor under its next id, which is believed again once it has taken more.
    seeder.tell(Event::Disconnected { conn: 1 });
    seeder.meet(1, false, 1);
    assert!(!seeder.believes());
    seeder.tell(Event::Disconnected { conn: 1 });
    seeder.meet(1, false, 3);
    assert!(seeder.believes());
    seeder.wait(6);
    assert!(seeder.believes(), "the one that starves has taken less");
}
