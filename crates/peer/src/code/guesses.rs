//! What a sharer answers to those who open its mailbox, and when a code is over. It has no clock and no network.
//!
//! The getter begins, the sharer replies with its element, the getter proves, and only then does the sharer show anything that
//! depends on the words. From the reply alone no guess can be tried, so one who goes away after it has learnt nothing, and nothing
//! counts. A proof is a guess: it is compared, and counts if it is wrong. After three wrong ones no proof is compared any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::{Code, CodeMessage, PeerId, Ticket};

use super::pake::{Exchange, SharedKey, Side};

/// Wrong guesses that end a code.
pub(super) const WRONG: usize = 3;
/// Exchanges that may be under way, whatever a tracker does. The oldest is forgotten for a new one.
const PENDING: usize = 64;

/// A code, and those who are about to say that they have it.
pub(super) struct Guesses {
    code: Code,
    me: PeerId,
    tracker: PeerId,
    pending: BTreeMap<u32, Pending>,
    wrong: Vec<SocketAddr>,
    /// It was used, or burnt.
    over: bool,
}

/// One who has been replied to.
struct Pending {
    key: SharedKey,
    peer: PeerId,
    from: SocketAddr,
}

/// What has come of a proof.
#[derive(Debug, PartialEq)]
pub(super) enum GuessOutcome {
    /// There was nothing to compare it with.
    None,
    /// It was wrong, and so many may follow.
    Wrong { left: usize },
    /// It was the third wrong one: the code is over. From where they came.
    Burnt(Vec<SocketAddr>),
    /// It was right: the code is over.
    Used { peer: PeerId, from: SocketAddr },
}

impl Guesses {
    pub(super) fn new(code: Code, me: PeerId, tracker: PeerId) -> Self {
        let (pending, wrong) = (BTreeMap::new(), Vec::new());
        Guesses { code, me, tracker, pending, wrong, over: false }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// There is another connection, to this tracker. What was begun over the one before is over, and wrong guesses count as before.
    pub(super) fn moved(&mut self, tracker: PeerId) {
        self.tracker = tracker;
        self.pending.clear();
    }

    /// Someone begins.
    pub(super) fn begin(
        &mut self,
        exchange: u32,
        (peer, from): (PeerId, SocketAddr),
        message: &CodeMessage,
    ) -> CodeMessage {
        let CodeMessage::Begin { element } = message else { return CodeMessage::Wrong };
        if self.over || self.pending.contains_key(&exchange) {
            return CodeMessage::Wrong;
        }
        let (begun, own) = Exchange::begin(Side::Sharer, &self.code, self.tracker);
        let Some(key) = begun.finish(element, self.me, peer) else { return CodeMessage::Wrong };
        if self.pending.len() >= PENDING {
            self.pending.pop_first();
        }
        self.pending.insert(exchange, Pending { key, peer, from });
        CodeMessage::Reply { element: own, sharer: self.me }
    }

    /// Someone proves, and gets this ticket if the code is right.
    pub(super) fn prove(
        &mut self,
        exchange: u32,
        message: &CodeMessage,
        ticket: &Ticket,
    ) -> (CodeMessage, GuessOutcome) {
        // Whatever it says, it has said it.
        let Some(Pending { key, peer, from }) = self.pending.remove(&exchange) else {
            return (CodeMessage::Wrong, GuessOutcome::None);
        };
        if self.over {
            return (CodeMessage::Wrong, GuessOutcome::None);
        }
        if let CodeMessage::Proof(proof) = message
            && key.proof().is(proof)
        {
            self.end();
            let sealed = key.seal(&ticket.to_string()).unwrap_or_default();
            return (CodeMessage::Ticket { sealed }, GuessOutcome::Used { peer, from });
        }
        self.wrong.push(from);
        let verdict = match WRONG - self.wrong.len() {
            0 => {
                self.end();
                GuessOutcome::Burnt(std::mem::take(&mut self.wrong))
            }
            left => GuessOutcome::Wrong { left },
        };
        (CodeMessage::Wrong, verdict)
    }

    /// Nothing is compared any more.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.pending.clear();
    }

    /// Someone has gone.
    pub(super) fn over(&mut self, exchange: u32) {
        self.pending.remove(&exchange);
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, Secret};

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId(Digest([byte; 32]))
    }

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn code() -> Code {
        Code::new(7, [1, 2])
    }

    fn guesses() -> Guesses {
        Guesses::new(code(), id(2), id(1))
    }

    fn ticket() -> Ticket {
        Ticket::private(id(1), vec!["127.0.0.1:9".parse().unwrap()], Secret::new([4; 16]), None).unwrap()
    }

    /// Says the first thing with a code, and gives what to prove with.
    fn begin(guesses: &mut Guesses, exchange: u32, code: &Code) -> Option<SharedKey> {
        let (begun, element) = Exchange::begin(Side::Getter, code, guesses.tracker);
        match guesses.begin(exchange, (id(3), FROM), &CodeMessage::Begin { element }) {
            CodeMessage::Reply { element, sharer } => Some(begun.finish(&element, sharer, id(3)).unwrap()),
            other => {
                assert_eq!(other, CodeMessage::Wrong);
                None
            }
        }
    }

    fn guess(guesses: &mut Guesses, exchange: u32, code: &Code) -> Option<(CodeMessage, GuessOutcome)> {
        let key = begin(guesses, exchange, code)?;
        Some(guesses.prove(exchange, &CodeMessage::Proof(key.proof().bytes()), &ticket()))
    }

    #[test]
    fn the_right_code_gets_the_ticket_once() {
        let mut guesses = guesses();
        let key = begin(&mut guesses, 1, &code()).unwrap();
        let late = begin(&mut guesses, 2, &code()).unwrap();
        let (answer, verdict) = guesses.prove(1, &CodeMessage::Proof(key.proof().bytes()), &ticket());
        assert_eq!(verdict, GuessOutcome::Used { peer: id(3), from: FROM });
        let CodeMessage::Ticket { sealed } = answer else { panic!("{answer:?}") };
        assert_eq!(key.open(sealed).unwrap(), ticket().to_string());
        let again = guesses.prove(2, &CodeMessage::Proof(late.proof().bytes()), &ticket());
        assert_eq!(again, (CodeMessage::Wrong, GuessOutcome::None), "it was used meanwhile");
        assert!(guess(&mut guesses, 3, &code()).is_none());
    }

    #[test]
    fn of_a_thousand_guesses_three_are_compared() {
        let mut guesses = guesses();
        // All are replied to before one proves.
        let keys: Vec<_> = (0..PENDING as u32)
            .filter_map(|number| {
                begin(&mut guesses, number, &Code::new(7, [3, number as u16])).map(|key| (number, key))
            })
            .collect();
        assert_eq!(keys.len(), PENDING);
        let mut verdicts: Vec<_> = keys
            .iter()
            .map(|(number, key)| guesses.prove(*number, &CodeMessage::Proof(key.proof().bytes()), &ticket()).1)
            .collect();
        for number in 100..1036 {
            verdicts.extend(guess(&mut guesses, number, &Code::new(7, [5, number as u16])).map(|(_, verdict)| verdict));
        }
        verdicts.retain(|verdict| *verdict != GuessOutcome::None);
        assert_eq!(
            verdicts,
            [GuessOutcome::Wrong { left: 2 }, GuessOutcome::Wrong { left: 1 }, GuessOutcome::Burnt(vec![FROM; 3])]
        );
        assert!(guess(&mut guesses, 2000, &code()).is_none(), "not even the right one");
    }

    /// Trackers count exchanges anew for each connection.
    #[test]
    fn a_code_that_moves_to_another_tracker_has_no_more_guesses_by_it() {
        let mut guesses = guesses();
        let verdict =
            |guesses: &mut Guesses, words| guess(guesses, 1, &Code::new(7, words)).map(|(_, verdict)| verdict);
        assert_eq!(verdict(&mut guesses, [3, 3]), Some(GuessOutcome::Wrong { left: 2 }));
        begin(&mut guesses, 1, &code()).unwrap();
        guesses.moved(id(5));
        assert_eq!(verdict(&mut guesses, [3, 4]), Some(GuessOutcome::Wrong { left: 1 }));
        guesses.moved(id(1));
        assert_eq!(verdict(&mut guesses, [3, 5]), Some(GuessOutcome::Burnt(vec![FROM; 3])));
        assert_eq!(verdict(&mut guesses, [1, 2]), None, "not even the right one");
    }

    #[test]
    fn an_exchange_has_one_guess() {
        let mut guesses = guesses();
        let wrong = begin(&mut guesses, 1, &Code::new(7, [3, 3])).unwrap();
        let proof = CodeMessage::Proof(wrong.proof().bytes());
        assert_eq!(guesses.prove(1, &proof, &ticket()).1, GuessOutcome::Wrong { left: 2 });
        assert_eq!(guesses.prove(1, &proof, &ticket()), (CodeMessage::Wrong, GuessOutcome::None));
        assert!(
            guess(&mut guesses, 2, &code()).is_some_and(|(_, verdict)| matches!(verdict, GuessOutcome::Used { .. }))
        );
    }

    #[test]
    fn what_was_recorded_is_worth_nothing() {
        let mut guesses = guesses();
        let (begun, element) = Exchange::begin(Side::Getter, &code(), id(1));
        let begins = CodeMessage::Begin { element };
        let CodeMessage::Reply { element, sharer } = guesses.begin(1, (id(3), FROM), &begins) else { panic!() };
        let proof = CodeMessage::Proof(begun.finish(&element, sharer, id(3)).unwrap().proof().bytes());
        // Said again by someone who has heard all of it, before it could be used.
        assert!(matches!(guesses.begin(2, (id(3), FROM), &begins), CodeMessage::Reply { .. }));
        assert_eq!(guesses.prove(2, &proof, &ticket()), (CodeMessage::Wrong, GuessOutcome::Wrong { left: 2 }));
        assert!(matches!(guesses.prove(1, &proof, &ticket()).1, GuessOutcome::Used { .. }));
    }

    #[test]
    fn who_goes_away_after_the_reply_has_guessed_nothing() {
        let mut guesses = guesses();
        for exchange in 0..1000 {
            begin(&mut guesses, exchange, &Code::new(7, [3, 3])).unwrap();
            assert!(guesses.pending.len() <= PENDING);
            if exchange % 2 == 0 {
                guesses.over(exchange);
            }
        }
        assert!(
            guess(&mut guesses, 2000, &code()).is_some_and(|(_, verdict)| matches!(verdict, GuessOutcome::Used { .. }))
        );
    }

    #[test]
    fn what_is_no_proof_counts_as_a_wrong_one() {
        let mut guesses = guesses();
        begin(&mut guesses, 1, &code()).unwrap();
        assert_eq!(guesses.prove(1, &CodeMessage::Busy, &ticket()).1, GuessOutcome::Wrong { left: 2 });
        assert_eq!(guesses.begin(2, (id(3), FROM), &CodeMessage::Begin { element: vec![1; 33] }), CodeMessage::Wrong);
        assert_eq!(guesses.begin(3, (id(3), FROM), &CodeMessage::Wrong), CodeMessage::Wrong);
    }
}
