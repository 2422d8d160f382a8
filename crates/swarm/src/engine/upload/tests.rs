//! The order of serves, without an engine: peers and pieces are what a test says.

use protocol::Digest;

use super::promises::Stage;
use super::*;

const CONTENT: ContentId = ContentId(Digest([1; 32]));
const SLOTS: usize = 16;

/// Peers that a test describes. All pieces are as common as their number says.
#[derive(Default)]
struct Crowd {
    held_up: Vec<ConnId>,
    strangers: Vec<ConnId>,
    /// How much word they owe, and who swallows.
    owing: BTreeMap<ConnId, u64>,
    swallowing: Vec<ConnId>,
}

impl Askers for Crowd {
    fn is_held_up(&self, conn: ConnId) -> bool {
        self.held_up.contains(&conn)
    }

    fn is_stranger(&self, conn: ConnId) -> bool {
        self.strangers.contains(&conn)
    }

    fn owed_word(&self, conn: ConnId) -> Option<u64> {
        self.owing.get(&conn).copied()
    }

    fn swallows(&self, conn: ConnId) -> bool {
        self.swallowing.contains(&conn)
    }

    fn round_trip(&self, _: ConnId) -> Duration {
        Duration::ZERO
    }

    fn spread(&self, _: ContentId, piece: u32) -> u32 {
        piece
    }
}

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ask(uploads: &mut Uploads, conn: ConnId, serve: ServeId, piece: u32, since: Duration) {
    let run = PieceRange { first: piece, count: 1 };
    uploads
        .wait(Question { conn, serve, content: CONTENT, run, bytes: 1000, offered: true, urgent: false, since }, true);
}

/// What is started until there is no room.
fn start(uploads: &mut Uploads, now: Duration, crowd: &Crowd) -> Vec<ServeId> {
    uploads.shares.review(now);
    std::iter::from_fn(|| uploads.start_next(now, SLOTS, crowd)).map(|question| question.serve).collect()
}

/// Uploads whose uplink sends so many bytes a second.
fn with_rate(bytes: u64) -> Uploads {
    let mut uploads = Uploads::default();
    uploads.delivered(second(1), 1);
    uploads.delivered(second(2), bytes);
    uploads
}

#[test]
fn the_rarest_piece_is_served_first_and_an_old_question_before_it() {
    let mut uploads = with_rate(1000);
    for (serve, piece) in [(1, 9), (2, 3), (3, 5)] {
        ask(&mut uploads, serve, serve, piece, second(10));
    }
    let crowd = Crowd::default();
    assert_eq!(start(&mut uploads, second(10), &crowd), [2], "one fills the uplink");
    assert!(uploads.active.remove(&2).is_some());
    assert_eq!(start(&mut uploads, second(11), &crowd), [1], "both have waited for a second: the first of them");
}

#[test]
fn small_answers_go_side_by_side_on_a_fast_uplink() {
    let mut uploads = with_rate(200_000);
    (1..9).for_each(|serve| ask(&mut uploads, serve, serve, 0, second(2)));
    // 20 ms of it are 4,000 bytes.
    assert_eq!(start(&mut uploads, second(2), &Crowd::default()), [1, 2, 3, 4]);
}

#[test]
fn while_the_rate_is_unknown_twice_as_many_are_tried_each_time() {
    let mut uploads = Uploads::default();
    (1..9).for_each(|serve| ask(&mut uploads, serve, serve, 0, second(2)));
    let started =
        |uploads: &mut Uploads, millis| start(uploads, Duration::from_millis(millis), &Crowd::default()).len();
    assert_eq!([2000, 2400, 2500, 3000].map(|millis| started(&mut uploads, millis)), [1, 0, 1, 2]);
}

#[test]
fn strangers_and_those_who_hold_answers_up_get_one_at_a_time() {
    let mut uploads = with_rate(1_000_000);
    for (serve, conn) in [(1, 10), (2, 10), (3, 20), (4, 20), (5, 30), (6, 30)] {
        ask(&mut uploads, conn, serve, 0, second(2));
    }
    let crowd = Crowd { held_up: vec![10], strangers: vec![20], ..Crowd::default() };
    assert_eq!(start(&mut uploads, second(2), &crowd), [1, 3, 5, 6]);
}

#[test]
fn who_owes_word_waits_for_those_who_owe_none_or_less() {
    let mut uploads = with_rate(1000);
    for conn in 1..=3 {
        ask(&mut uploads, conn, conn, 0, second(2));
    }
    let crowd = Crowd { owing: BTreeMap::from([(1, 9), (2, 5)]), ..Crowd::default() };
    for expected in [3, 2, 1] {
        assert_eq!(start(&mut uploads, second(9), &crowd), [expected]);
        assert!(uploads.active.remove(&expected).is_some());
    }
}

#[test]
fn who_swallows_gets_a_small_part_while_others_wait_and_else_all() {
    let mut uploads = with_rate(1000);
    let crowd = Crowd { owing: BTreeMap::from([(1, 9)]), swallowing: vec![1], ..Crowd::default() };
    let begun = |uploads: &mut Uploads, now, questions: &[ConnId]| {
        questions.iter().zip(0..).for_each(|(&conn, serve)| ask(uploads, conn, serve, 0, second(2)));
        let begun = start(uploads, now, &crowd);
        uploads.forget(1);
        uploads.forget(2);
        begun
    };
    uploads.shares.count(1 << 30, true);
    assert_eq!(begun(&mut uploads, second(2), &[1]), [0], "nobody else waits");
    assert_eq!(begun(&mut uploads, second(3), &[2, 2]), [0]);
    assert_eq!(begun(&mut uploads, second(3), &[1]), [], "another does, or did a moment ago");
    assert_eq!(begun(&mut uploads, second(4), &[1]), [0]);
}

#[test]
fn a_stalled_answer_gives_its_slot_back() {
    let mut uploads = with_rate(1000);
    ask(&mut uploads, 10, 1, 0, second(2));
    ask(&mut uploads, 20, 2, 0, second(2));
    let mut crowd = Crowd::default();
    assert_eq!(start(&mut uploads, second(2), &crowd), [1]);
    assert!(uploads.late(second(5), &crowd).is_empty(), "three seconds, for a thousand bytes");
    assert_eq!(uploads.late(second(6), &crowd), [10]);
    crowd.held_up.push(10);
    uploads.note_held_up(second(6), SLOTS);
    assert!(uploads.late(second(9), &crowd).is_empty(), "it is found once");
    assert_eq!(start(&mut uploads, second(6), &crowd), [2]);
}

#[test]
fn a_parked_question_waits_for_all_its_pieces() {
    let mut uploads = with_rate(1000);
    let run = PieceRange { first: 4, count: 2 };
    let question = Question {
        conn: 1,
        serve: 1,
        content: CONTENT,
        run,
        bytes: 2000,
        offered: true,
        urgent: false,
        since: second(2),
    };
    uploads.wait(question.clone(), false);
    let mut have = PieceSet::empty(10);
    for (piece, started) in [(3, 0), (4, 0), (5, 1)] {
        have.insert(piece);
        uploads.unpark(CONTENT, piece, &have);
        assert_eq!(start(&mut uploads, second(2), &Crowd::default()).len(), started, "piece {piece}");
    }
    uploads.wait(question.clone(), false);
    assert_eq!(uploads.take_vain(|_| true), []);
    assert_eq!(uploads.take_vain(|_| false), [question]);
}

#[test]
fn what_nobody_waits_for_is_forgotten() {
    let mut uploads = with_rate(1000);
    for serve in 1..5 {
        ask(&mut uploads, serve % 2, serve, 0, second(2));
    }
    assert_eq!(start(&mut uploads, second(2), &Crowd::default()), [1]);
    uploads.forget(1);
    assert_eq!(start(&mut uploads, second(2), &Crowd::default()), [2]);
    assert_eq!(uploads.take_of(CONTENT).len(), 1);
    assert_eq!(uploads.take_of(CONTENT).len(), 0);
}

#[test]
fn promises_to_those_who_do_not_take_them_keep_nobody_waiting() {
    let (mut uploads, mut upload) = (Uploads::default(), Upload::default());
    let promise = |stage| Promise { since: Duration::ZERO, stage };
    uploads.owe(&mut upload, promise(Stage::Offered), 100);
    uploads.owe(&mut upload, promise(Stage::Asked), 10);
    uploads.owe(&mut upload, promise(Stage::Sent), 1);
    assert_eq!((uploads.promised, upload.promised), (110, 110), "what is sent is owed no more");
    upload.held_up = true;
    (0..2).for_each(|_| uploads.recount(&mut upload));
    assert_eq!((uploads.promised, upload.promised), (0, 110));
    uploads.settle(&mut upload, promise(Stage::Asked), 10);
    upload.held_up = false;
    uploads.recount(&mut upload);
    assert_eq!((uploads.promised, upload.promised), (100, 100));
}

#[test]
fn each_time_that_it_is_found_a_peer_takes_twice_as_many_in_time_before_others_wait_for_it() {
    /// How many answers it takes in time until it holds none up any more.
    fn until_trusted(upload: &mut Upload) -> u32 {
        upload.holds_up();
        upload.has_left(false);
        (0..100).for_each(|_| upload.has_taken(true));
        assert!(upload.held_up, "no answer has left in time");
        let mut answers = 0;
        while upload.held_up {
            upload.has_left(true);
            // Pieces of one answer.
            (0..100).for_each(|_| upload.has_taken(true));
            answers += 1;
        }
        answers
    }
    let mut upload = Upload::default();
    let all: Vec<_> = (0..9).map(|_| until_trusted(&mut upload)).collect();
    assert_eq!(all, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    // Who takes all for a long time is a peer like any other again.
    for _ in 0..4 << MOST_FOUND {
        upload.has_left(true);
        upload.has_taken(true);
    }
    assert_eq!(until_trusted(&mut upload), 1);
}

#[test]
fn a_long_way_is_no_slowness() {
    let second = Duration::from_secs;
    let mut uploads = Uploads::default();
    uploads.delivered(second(1), 1);
    uploads.delivered(second(2), 10_000_000);
    let mut upload = Upload::default();
    let mut taken_after = |upload: &mut Upload, rtt: u64, took: u64| {
        upload.holds_up();
        upload.found = 1;
        upload.has_left(true);
        uploads.has_taken(upload, Duration::from_millis(rtt), 64 << 10, Duration::from_millis(took));
        !upload.held_up
    };
    assert!(taken_after(&mut upload, 600, 700));
    assert!(!taken_after(&mut upload, 10, 700));
}
