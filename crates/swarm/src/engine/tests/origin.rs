//! Reading from the origin: what nobody has, by one peer each, and beside peers only where they do not bring it.

use std::collections::BTreeSet;

use super::*;

const MANY: u32 = 4096;

/// One engine that wants many pieces and may read its origin, in a world of its own.
struct Reader {
    engine: Engine,
    now: Duration,
    reads: Vec<(RequestId, PieceRange)>,
    actions: Vec<Action>,
}

impl Reader {
    fn new(number: usize) -> Self {
        Reader::of(number, None, false)
    }

    fn of(number: usize, cap: Option<u64>, spare: bool) -> Self {
        let engine = Engine::new(Config::default(), peer(number), hello(number), number as u64);
        let mut reader = Reader { engine, now: Duration::ZERO, reads: Vec::new(), actions: Vec::new() };
        reader.tell(Event::Want { content: content() });
        reader.tell(Event::Origin { content: content(), cap, spare });
        let (have, wanted) = (PieceSet::empty(MANY), PieceSet::full(MANY));
        reader.tell(Event::Content { content: content(), geometry: geometry(MANY), have, wanted });
        reader
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        for action in &actions {
            match *action {
                Action::FetchFromOrigin { request, run, .. } => self.reads.push((request, run)),
                Action::Cancel { request } => self.reads.retain(|(read, _)| *read != request),
                _ => {}
            }
        }
        self.actions.extend(actions);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.engine.next_timeout() <= end {
            self.now = self.now.max(self.engine.next_timeout());
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Somebody is connected who has these pieces, and to whom those are on their way.
    fn meets(&mut self, conn: ConnId, runs: &[PieceRange], in_flight: &[PieceRange]) {
        let (peer, remote) = (peer(conn as usize), address(conn as usize));
        self.tell(Event::Connected { conn, peer, remote, dialled: false, relayed: false });
        self.tell(Event::Message { conn, message: hello(conn as usize) });
        let joined = PeerMessage::Join { content: content(), pieces: Some(MANY), wants: runs.is_empty() };
        self.tell(Event::Message { conn, message: joined });
        self.says(conn, runs, in_flight);
    }

    fn says(&mut self, conn: ConnId, runs: &[PieceRange], in_flight: &[PieceRange]) {
        let (runs, in_flight) = (runs.to_vec(), in_flight.to_vec());
        self.tell(Event::Message { conn, message: PeerMessage::Have { content: content(), runs, in_flight } });
    }

    /// A read brings all that it is of.
    fn brings(&mut self, (request, run): (RequestId, PieceRange)) {
        self.reads.retain(|(read, _)| *read != request);
        for piece in run.pieces() {
            self.tell(Event::Progress { request, bytes: u64::from(PIECE) });
            self.tell(Event::Stored { content: content(), request, piece });
        }
        self.tell(Event::Finished { request, failure: None });
    }

    /// A peer offers these pieces, and brings what it is asked for within a second.
    fn peer_brings(&mut self, conn: ConnId, offered: PieceRange) {
        let message = PeerMessage::Offer { content: content(), runs: vec![offered] };
        self.tell(Event::Message { conn, message });
        for _ in 0..64 {
            for (_, request, run) in fetches(&std::mem::take(&mut self.actions)) {
                for piece in run.pieces() {
                    self.tell(Event::Progress { request, bytes: u64::from(PIECE) });
                    self.tell(Event::Stored { content: content(), request, piece });
                }
                self.tell(Event::Finished { request, failure: None });
            }
            self.pass(Duration::from_millis(10));
        }
        self.pass(Duration::from_millis(360));
    }

    fn fails(&mut self, request: RequestId, failure: Failure) {
        self.reads.retain(|(read, _)| *read != request);
        self.tell(Event::Finished { request, failure: Some(failure) });
    }

    fn pieces(&self) -> BTreeSet<u32> {
        self.reads.iter().flat_map(|(_, run)| run.pieces()).collect()
    }
}

fn run(first: u32, count: u32) -> PieceRange {
    PieceRange { first, count }
}

#[test]
fn what_nobody_has_is_read_a_few_at_a_time_each_piece_once() {
    let mut reader = Reader::new(0);
    reader.pass(Duration::from_millis(900));
    assert!(reader.reads.is_empty(), "those who have it may be about to come");
    reader.seconds(3);
    assert_eq!(reader.reads.len(), 2);
    let mut seen = BTreeSet::new();
    while let Some(&read) = reader.reads.first() {
        read.1.pieces().for_each(|piece| assert!(seen.insert(piece), "piece {piece} is read twice"));
        reader.pass(Duration::from_millis(20));
        reader.brings(read);
        assert!(reader.reads.len() <= 2);
    }
    assert_eq!(seen.len(), MANY as usize);
    assert!(reader.actions.contains(&Action::Completed { content: content() }));
    assert_eq!(reader.engine.downloads.in_flight(content(), 9), []);
}

#[test]
fn what_others_have_or_get_is_not_read() {
    let mut reader = Reader::new(0);
    // All but the last eighth is with somebody, or on its way to somebody.
    reader.meets(1, &[run(0, MANY / 2)], &[]);
    reader.meets(2, &[], &[run(MANY / 2, MANY / 8 * 3)]);
    reader.seconds(3);
    let pieces = reader.pieces();
    assert!(!pieces.is_empty());
    assert!(pieces.iter().all(|&piece| piece >= MANY / 8 * 7), "{pieces:?}");
    // One of them is gone: what it was to get is open again.
    reader.tell(Event::Disconnected { conn: 2 });
    reader.seconds(1);
    while let Some(&read) = reader.reads.first() {
        reader.brings(read);
    }
    let have = reader.engine.have(content()).unwrap();
    assert!((MANY / 2..MANY).all(|piece| have.contains(piece)));
}

#[test]
fn of_two_that_read_the_same_one_gives_way() {
    for (number, other) in [(5, 1), (1, 5)] {
        let mut reader = Reader::new(number);
        reader.seconds(3);
        let (request, read) = reader.reads[0];
        reader.meets(other, &[], &[read]);
        let goes_on = reader.reads.iter().any(|(going, _)| *going == request);
        assert_eq!(goes_on, peer(number) < peer(other as usize));
    }
}

#[test]
fn a_seeder_that_brings_it_is_left_to_do_so() {
    let mut reader = Reader::new(0);
    reader.meets(1, &[run(0, MANY)], &[]);
    // It brings an eighth of the content a second.
    for second in 0..6 {
        reader.peer_brings(1, run(second * MANY / 8, MANY / 8));
    }
    assert!(reader.reads.is_empty(), "{:?}", reader.reads);
}

#[test]
fn peers_that_have_it_and_bring_nothing_are_not_waited_for_for_ever() {
    let mut reader = Reader::new(0);
    // It says that all of it is there, or on its way, and gives nothing.
    reader.meets(1, &[run(0, MANY / 2)], &[run(MANY / 2, MANY / 2)]);
    reader.seconds(9);
    assert!(reader.reads.is_empty());
    reader.seconds(5);
    // From then on nothing of it is believed.
    for _ in 0..8 {
        assert_eq!(reader.reads.len(), 2);
        let read = reader.reads[0];
        reader.brings(read);
    }
}

#[test]
fn a_read_that_brings_nothing_is_given_up_and_made_again_later() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    let first = reader.reads[0].0;
    // A byte now and then is nothing.
    for _ in 0..4 {
        reader.tell(Event::Progress { request: first, bytes: 10 });
        reader.seconds(1);
    }
    reader.seconds(2);
    assert!(reader.actions.contains(&Action::Cancel { request: first }));
    reader.seconds(3);
    assert!(!reader.reads.is_empty() && reader.reads.iter().all(|(request, _)| *request > first));
}

/// Reads of one size that begin together end together, and then nothing comes for as long as the origin takes to answer.
#[test]
fn of_two_reads_that_begin_together_one_ends_earlier() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    let counts: Vec<u32> = reader.reads.iter().map(|(_, run)| run.count).collect();
    assert!(matches!(counts[..], [one, other] if other * 2 == one), "{counts:?}");
    // Once the first one comes, another one may be as large.
    let (first, second) = (reader.reads[0], reader.reads[1]);
    reader.tell(Event::Progress { request: second.0, bytes: 1000 });
    reader.brings(first);
    assert_eq!(reader.reads.last().unwrap().1.count, first.1.count);
}

#[test]
fn what_is_slow_because_of_a_cap_is_no_fault() {
    let mut reader = Reader::of(0, Some(1000), false);
    reader.seconds(3);
    let (request, read) = reader.reads[0];
    assert_eq!((reader.reads.len(), read.count), (1, 1), "less than a piece a second is allowed");
    for _ in 0..60 {
        reader.tell(Event::Progress { request, bytes: 600 });
        reader.seconds(1);
    }
    assert!(!reader.actions.contains(&Action::Cancel { request }));
    // Of thirty contents that share the cap, each has a part.
    for _ in 0..60 {
        reader.tell(Event::Progress { request, bytes: 33 });
        reader.seconds(1);
    }
    assert!(!reader.actions.contains(&Action::Cancel { request }));
    // What is slower than that is.
    reader.tell(Event::Progress { request, bytes: 10 });
    reader.seconds(12);
    assert!(reader.actions.contains(&Action::Cancel { request }));
}

#[test]
fn a_spare_origin_is_read_once_peers_bring_next_to_nothing() {
    let mut reader = Reader::of(0, None, true);
    reader.meets(1, &[run(0, MANY)], &[]);
    for second in 0..16 {
        reader.peer_brings(1, run(second * MANY / 32, MANY / 32));
    }
    assert!(reader.reads.is_empty(), "{:?}", reader.reads);
    let have = reader.engine.view(content()).unwrap().have;
    assert!(have > MANY / 4, "{have}");
    // It says that it brings more, and does not.
    let runs = vec![run(MANY / 2, MANY / 32)];
    reader.tell(Event::Message { conn: 1, message: PeerMessage::Offer { content: content(), runs } });
    reader.seconds(8);
    assert!(reader.reads.is_empty(), "it may go on");
    let mut seconds = 0;
    while reader.engine.view(content()).unwrap().have < MANY {
        while let Some(&read) = reader.reads.first() {
            reader.pass(Duration::from_millis(5));
            reader.brings(read);
        }
        reader.seconds(1);
        seconds += 1;
        assert!(seconds < 120, "{:?}", reader.engine.view(content()).unwrap().have);
    }
}

#[test]
fn where_nobody_comes_a_spare_origin_is_read_after_a_while() {
    let mut reader = Reader::of(0, None, true);
    reader.seconds(9);
    assert!(reader.reads.is_empty(), "peers may be about to come");
    reader.seconds(6);
    assert_eq!(reader.reads.len(), 2);
}

#[test]
fn an_origin_that_is_slow_to_answer_is_waited_for_as_long_as_its_reader_does() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    let (first, second) = (reader.reads[0], reader.reads[1]);
    reader.seconds(40);
    assert!(!reader.actions.iter().any(|action| matches!(action, Action::Cancel { .. })));
    // One that has begun and stalls is given up; the other is waited for.
    reader.tell(Event::Progress { request: first.0, bytes: 10 });
    reader.seconds(7);
    assert!(reader.actions.contains(&Action::Cancel { request: first.0 }));
    assert!(!reader.actions.contains(&Action::Cancel { request: second.0 }));
    reader.brings(second);
    // A reader that sets no end does not hold pieces for ever.
    reader.seconds(5);
    let third = reader.reads[0].0;
    reader.seconds(150);
    assert!(reader.actions.contains(&Action::Cancel { request: third }));
}

#[test]
fn an_origin_that_does_not_answer_holds_nothing_that_a_peer_has() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    let first = reader.reads[0].0;
    reader.meets(1, &[run(0, MANY)], &[]);
    reader.seconds(7);
    assert!(reader.actions.contains(&Action::Cancel { request: first }));
}

#[test]
fn an_origin_that_fails_is_left_alone_longer_each_time() {
    let mut reader = Reader::new(0);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let mut paused = 0;
        while reader.reads.is_empty() {
            reader.pass(Duration::from_millis(100));
            paused += 1;
            assert!(paused < 1000, "it is never tried again");
        }
        pauses.push(paused);
        while let Some(&(request, _)) = reader.reads.first() {
            reader.fails(request, Failure::Broken);
        }
    }
    assert!(pauses[4] > 3 * pauses[1], "{pauses:?}");
    // Once it is back, nothing is left of that.
    while reader.reads.is_empty() {
        reader.pass(Duration::from_millis(100));
    }
    let read = reader.reads[0];
    reader.brings(read);
    reader.seconds(1);
    assert_eq!(reader.reads.len(), 2);
}

#[test]
fn an_origin_with_other_bytes_is_read_no_more() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    let mut wrong = 0;
    while let Some(&(request, run)) = reader.reads.first() {
        for piece in run.pieces() {
            reader.tell(Event::Progress { request, bytes: u64::from(PIECE) });
            reader.tell(Event::Corrupt { request, piece });
            wrong += 1;
            if !reader.reads.iter().any(|(going, _)| *going == request) {
                break;
            }
        }
    }
    assert_eq!(wrong, Config::default().wrong_pieces);
    reader.seconds(200);
    assert!(reader.reads.is_empty());
    assert_eq!(reader.engine.view(content()).unwrap().have, 0);
}

#[test]
fn nothing_is_read_of_what_is_not_wanted_any_more() {
    let mut reader = Reader::new(0);
    reader.seconds(3);
    assert!(!reader.reads.is_empty());
    reader.tell(Event::Withdraw { content: content() });
    assert!(reader.reads.is_empty());
    reader.seconds(60);
    assert!(reader.reads.is_empty());
}

#[test]
fn what_somebody_reads_here_is_read_first() {
    let mut reader = Reader::new(0);
    reader.tell(Event::Reading { content: content(), reader: 1, window: Some(run(1000, 300)) });
    reader.seconds(3);
    assert!(reader.pieces().iter().all(|piece| (1000..1300).contains(piece)), "{:?}", reader.reads);
    assert!(reader.pieces().contains(&1000));
}
