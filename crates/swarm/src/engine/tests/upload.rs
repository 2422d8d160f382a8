//! What an engine offers and serves.

use super::*;

#[test]
fn what_someone_skips_is_not_offered_to_it() {
    let (mut engine, mut actions) = (lone_engine(false), Vec::new());
    greet(&mut engine, 1, peer(1), &mut actions);
    let say = |message| Event::Message { conn: 1, message };
    let join = PeerMessage::Join { content: content(), pieces: Some(100), wants: true };
    let skip = PeerMessage::Skip { content: content(), runs: vec![PieceRange { first: 10, count: 90 }] };
    // Together, as they come: what was offered to the first alone may be declined.
    engine.handle(Duration::ZERO, say(join), &mut actions);
    engine.handle(Duration::ZERO, say(skip.clone()), &mut actions);
    engine.handle(Duration::ZERO, say(skip), &mut actions);
    actions.clear();
    for tick in 1..100 {
        engine.handle(Duration::from_secs(tick), Event::Tick, &mut actions);
    }
    let offered = actions.iter().filter_map(|action| match action {
        Action::Send { message: PeerMessage::Offer { runs, .. }, .. } => Some(runs),
        _ => None,
    });
    let offered: Vec<PieceRange> = offered.flatten().copied().collect();
    assert!(!offered.is_empty() && offered.iter().all(|run| run.lies_within(10)), "{offered:?}");
    let beyond = PeerMessage::Skip { content: content(), runs: vec![PieceRange { first: 99, count: 2 }] };
    engine.handle(Duration::from_secs(100), say(beyond), &mut actions);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { conn: 1, .. })));
}

#[test]
fn questions_for_what_is_not_held_are_refused() {
    let (mut engine, _) = downloader(&[1]);
    for (run, reason) in [
        (PieceRange { first: 0, count: 1 }, RefusalReason::NotHeld),
        (PieceRange { first: 0, count: 0 }, RefusalReason::Invalid),
        (PieceRange { first: 99, count: 2 }, RefusalReason::Invalid),
        (PieceRange { first: u32::MAX, count: u32::MAX }, RefusalReason::Invalid),
    ] {
        let mut actions = Vec::new();
        let event = Event::Requested { conn: 1, serve: 5, content: content(), run, awaited: false };
        engine.handle(Duration::ZERO, event, &mut actions);
        assert!(actions.contains(&Action::Refuse { serve: 5, reason }), "{run:?}: {actions:?}");
    }
}
