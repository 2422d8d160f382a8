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

/// A downloader at "here", which knows a content of 100 pieces, and peers that have all of it.
struct Lacking {
    engine: Engine,
    now: Duration,
    actions: Vec<Action>,
}

impl Lacking {
    fn new() -> Self {
        let hello = PeerMessage::Hello { version: VERSION, listeners: vec![address(0)], site: "here".to_owned() };
        let mut lacking =
            Lacking { engine: Engine::new(Config::default(), peer(0), hello, 1), now: Duration::ZERO, actions: vec![] };
        let (have, wanted) = (PieceSet::empty(PIECES), PieceSet::full(PIECES));
        let geometry = Arc::new(Geometry::new(256 << 10, vec![u64::from(PIECES) * (256 << 10)]).unwrap());
        lacking.tell(Event::Content { content: content(), geometry, have, wanted });
        lacking
    }

    fn tell(&mut self, event: Event) {
        self.engine.handle(self.now, event, &mut self.actions);
    }

    /// Somebody of a site that has these pieces, says that these come to it, and would give one of them.
    fn meet(&mut self, conn: ConnId, site: &str, has: u32, coming: u32, offers: Option<u32>) {
        let remote = SocketAddr::from(([10, 0, 0, conn as u8], 9000));
        self.tell(Event::Connected { conn, peer: stranger(conn), remote, dialled: true, relayed: false });
        let run = |first, count| if count > 0 { vec![PieceRange { first, count }] } else { vec![] };
        let site = site.to_owned();
        for message in [
            PeerMessage::Hello { version: VERSION, listeners: vec![remote], site },
            PeerMessage::Join { content: content(), pieces: Some(PIECES), wants: has < PIECES },
            PeerMessage::Have { content: content(), runs: run(0, has), in_flight: run(has, coming) },
        ] {
            self.tell(Event::Message { conn, message });
        }
        if let Some(piece) = offers {
            self.tell(Event::Message { conn, message: PeerMessage::Offer { content: content(), runs: run(piece, 1) } });
        }
    }

    fn wait(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 50 {
            self.now += Duration::from_millis(50);
            self.tell(Event::Tick);
        }
    }

    fn asked(&self) -> Vec<(ConnId, u32)> {
        fetches(&self.actions).into_iter().map(|(conn, _, run)| (conn, run.first)).collect()
    }
}

#[test]
fn what_is_on_its_way_to_a_stranger_near_is_not_asked_of_far_peers() {
    let mut lacking = Lacking::new();
    lacking.meet(1, "here", 0, 10, None);
    lacking.wait(Duration::from_secs(3));
    lacking.meet(2, "there", PIECES, 0, Some(3));
    assert_eq!(lacking.asked(), []);
    lacking.tell(Event::Message {
        conn: 2,
        message: PeerMessage::Offer { content: content(), runs: vec![PieceRange { first: 50, count: 1 }] },
    });
    assert_eq!(lacking.asked(), [(2, 50)]);
}

#[test]
fn a_stranger_near_that_says_to_get_everything_holds_nothing_up() {
    for (has, coming) in [(0, PIECES), (0, 30), (PIECES, 0), (PIECES / 2, PIECES / 2)] {
        let mut lacking = Lacking::new();
        (1..20).for_each(|conn| lacking.meet(conn, "here", has, coming, None));
        lacking.meet(30, "there", PIECES, 0, Some(3));
        for _ in 0..3 {
            lacking.wait(Duration::from_secs(1));
            let runs = vec![PieceRange { first: 3, count: 40 }];
            lacking.tell(Event::Message { conn: 30, message: PeerMessage::Offer { content: content(), runs } });
        }
        assert!(lacking.asked().iter().any(|&(conn, _)| conn == 30), "{has} {coming}: {:?}", lacking.asked());
    }
}

#[test]
fn a_site_that_lacks_a_piece_gets_it_beside_peers_near() {
    let mut seeder = Seeder::new();
    let near = |conn: ConnId, seeder: &mut Seeder, wants: bool| {
        let remote = SocketAddr::from(([10, 0, 1, conn as u8], 9000));
        seeder.tell(Event::Connected { conn, peer: stranger(conn), remote, dialled: false, relayed: false });
        let site = "here".to_owned();
        seeder.say(conn, PeerMessage::Hello { version: VERSION, listeners: vec![remote], site });
        seeder.say(conn, PeerMessage::Join { content: content(), pieces: Some(PIECES), wants });
    };
    // Another seeder near has everything, too.
    near(50, &mut seeder, false);
    let runs = vec![PieceRange { first: 0, count: PIECES }];
    seeder.say(50, PeerMessage::Have { content: content(), runs, in_flight: vec![] });
    (51..55).for_each(|conn| near(conn, &mut seeder, true));
    let offered = |actions: &[Action], conn| {
        let is_offer = |action: &&Action| matches!(action, Action::Send { conn: to, message: PeerMessage::Offer { .. } } if *to == conn);
        actions.iter().filter(is_offer).count()
    };
    seeder.meet(1, true, 2);
    let mut to_far = 0;
    for piece in 0..30 {
        // Those near take what they are offered.
        let run = PieceRange { first: piece, count: 1 };
        let serve = 9000 + u64::from(piece);
        let mut actions = seeder.tell(Event::Requested { conn: 51, serve, content: content(), run, awaited: true });
        actions.extend(seeder.tell(Event::Served { serve, pieces: 1 }));
        seeder.now += Duration::from_millis(50);
        actions.extend(seeder.tell(Event::Tick));
        to_far += offered(&actions, 1);
    }
    assert!(to_far > 0);
}

#[test]
fn a_stranger_that_repeats_itself_does_not_grow() {
    let mut seeder = Seeder::new();
    seeder.meet(1, true, 0);
    let have = |first, count| PeerMessage::Have {
        content: content(),
        runs: vec![PieceRange { first, count }],
        in_flight: vec![],
    };
    seeder.say(1, have(0, 1));
    seeder.wait(2);
    seeder.say(1, have(0, PIECES));
    assert!(seeder.believes());
    for _ in 0..6 {
        seeder.wait(1);
        seeder.say(1, have(0, 1));
    }
    assert!(!seeder.believes());
}

#[test]
fn where_nobody_has_more_nobody_is_doubted() {
    let mut lacking = Lacking::new();
    lacking.meet(1, "here", 0, 10, None);
    lacking.meet(2, "there", 0, 0, None);
    lacking.wait(Duration::from_secs(3));
    assert_eq!(lacking.engine.deceived, None);
    // One that has more than what is on its way to the other.
    lacking.meet(3, "there", 10, 0, Some(3));
    lacking.wait(Duration::from_secs(3));
    assert!(lacking.engine.deceived.is_some());
}

#[test]
fn what_begins_to_come_from_afar_is_not_offered_before_it_is_known_how_fast() {
    for (site, offered) in [("here", 1), ("there", 0)] {
        let mut lacking = Lacking::new();
        lacking.meet(1, "here", 0, 0, None);
        lacking.meet(2, site, PIECES, 0, Some(50));
        let request = lacking.actions.iter().find_map(|action| match action {
            Action::Fetch { request, .. } => Some(*request),
            _ => None,
        });
        lacking.tell(Event::Progress { request: request.unwrap(), bytes: 1 });
        let is_offer =
            |action: &&Action| matches!(action, Action::Send { conn: 1, message: PeerMessage::Offer { .. } });
        assert_eq!(lacking.actions.iter().filter(is_offer).count(), offered, "{site}");
    }
}

/// One near that says that it has a piece.
fn says_to_have(lacking: &mut Lacking, conn: ConnId, piece: u32) {
    let runs = vec![PieceRange { first: piece, count: 1 }];
    lacking.tell(Event::Message { conn, message: PeerMessage::Have { content: content(), runs, in_flight: vec![] } });
}

#[test]
fn who_has_what_a_far_peer_was_asked_for_is_not_doubted() {
    let mut lacking = Lacking::new();
    lacking.meet(1, "here", 0, 0, None);
    lacking.meet(2, "there", PIECES, 0, Some(50));
    assert_eq!(lacking.asked(), [(2, 50)]);
    // It came to one near first, which does not offer it, since it is on its way here.
    says_to_have(&mut lacking, 1, 50);
    lacking.wait(Duration::from_secs(8));
    assert_eq!(lacking.engine.conns[&1].conduct.doubt, None);
}

#[test]
fn who_has_got_something_a_moment_ago_is_not_doubted_and_who_keeps_it_is() {
    let mut lacking = Lacking::new();
    lacking.meet(1, "here", 0, 0, None);
    lacking.meet(2, "here", 1, 0, None);
    // Strangers without a piece are asked for nothing, and nobody else is here.
    lacking.engine.conns.values_mut().for_each(|state| state.download.not_before = Duration::from_secs(60));
    lacking.wait(Duration::from_millis(4500));
    says_to_have(&mut lacking, 1, 50);
    lacking.wait(Duration::from_secs(1));
    let doubt = |conn| lacking.engine.conns[&conn].conduct.doubt;
    assert_eq!((doubt(1), doubt(2).is_some()), (None, true));
}

#[test]
fn who_leaves_and_comes_again_has_not_just_got_what_it_has() {
    for connects_anew in [false, true] {
        let mut lacking = Lacking::new();
        lacking.meet(1, "here", 1, 0, None);
        for _ in 0..2 {
            lacking.engine.conns.values_mut().for_each(|state| state.download.not_before = Duration::from_secs(60));
            lacking.wait(Duration::from_secs(2));
            if connects_anew {
                lacking.tell(Event::Disconnected { conn: 1 });
                lacking.meet(1, "here", 1, 0, None);
            } else {
                let join = PeerMessage::Join { content: content(), pieces: Some(PIECES), wants: true };
                for message in [PeerMessage::Withdraw { content: content() }, join] {
                    lacking.tell(Event::Message { conn: 1, message });
                }
                says_to_have(&mut lacking, 1, 0);
            }
        }
        lacking.engine.conns.values_mut().for_each(|state| state.download.not_before = Duration::from_secs(60));
        lacking.wait(Duration::from_millis(1500));
        assert!(lacking.engine.conns[&1].conduct.doubt.is_some(), "{connects_anew}");
    }
}

#[test]
fn what_somebody_near_skips_is_taken_from_afar() {
    let mut lacking = Lacking::new();
    lacking.meet(1, "here", 0, 0, None);
    let runs = vec![PieceRange { first: 0, count: PIECES }];
    lacking.tell(Event::Message { conn: 1, message: PeerMessage::Skip { content: content(), runs } });
    lacking.meet(2, "there", PIECES, 0, Some(3));
    assert_eq!(lacking.asked(), [(2, 3)]);
}
