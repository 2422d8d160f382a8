//! Peers that mean harm. They are no engines: each is told what an engine would be told, and does what its way of doing harm
//! says. The world treats both alike.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ContentId, Digest, MAX_OFFERS, PeerAddress, PeerId, PeerMessage, PieceRange, RefusalReason};
use swarm::{Action, ConnId, Engine, Event};

use super::{PeerIx, SECOND, SimEvent, World};
use crate::plan::{Hostile, HostileAnswers};
use crate::queue::Time;

/// What decides for a peer.
pub(super) enum Brain {
    /// The engine of the real ones.
    Honest(Box<Engine>),
    /// Someone who wants the others to fail.
    Hostile(Box<Attacker>),
}

impl Brain {
    pub(super) fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match self {
            Brain::Honest(engine) => engine.handle(now, event, actions),
            Brain::Hostile(attacker) => attacker.handle(now, event, actions),
        }
    }

    pub(super) fn next_timeout(&self) -> Duration {
        match self {
            Brain::Honest(engine) => engine.next_timeout(),
            Brain::Hostile(attacker) => attacker.next,
        }
    }
}

/// Time between two steps, between two wide offers at most, and before someone is dialled again.
const STEP: Duration = Duration::from_millis(250);
const OFFER_AGAIN: Duration = Duration::from_secs(1);
const DIAL_AGAIN: Duration = Duration::from_millis(500);
/// An offer that is withdrawn stands for two steps, and the content stays withdrawn for one.
const TURN: u32 = 3;

/// A hostile peer at work.
pub(super) struct Attacker {
    way: Hostile,
    me: PeerId,
    hello: PeerMessage,
    /// What is attacked, with its number of pieces.
    contents: Vec<(ContentId, u32)>,
    /// Peers that it has heard of, and when to dial each.
    known: BTreeMap<PeerId, (PeerAddress, Duration)>,
    conns: BTreeMap<ConnId, PeerId>,
    next: Duration,
    offer_at: Duration,
    turn: u32,
}

impl Attacker {
    fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Found { peers, .. } => {
                for peer in peers.into_iter().filter(|peer| peer.id != self.me) {
                    self.known.entry(peer.id).or_insert((peer, now));
                }
            }
            Event::Connected { conn, peer, .. } => {
                self.conns.insert(conn, peer);
                actions.push(Action::Send { conn, message: self.hello.clone() });
                self.join(conn, actions);
            }
            Event::Disconnected { conn } => {
                let peer = self.conns.remove(&conn);
                self.dial_later(now, peer);
            }
            Event::DialFailed { peer } => self.dial_later(now, Some(peer)),
            // What was declined is offered again at the next step.
            Event::Message { message: PeerMessage::Decline { .. }, .. } => self.offer_at = now,
            Event::Requested { serve, .. } => match self.way.answers {
                HostileAnswers::Silent => {}
                HostileAnswers::Busy => actions.push(Action::Refuse { serve, reason: RefusalReason::Busy }),
                HostileAnswers::Trickle => actions.push(Action::Serve { serve }),
            },
            Event::RequestedFirst { serve, .. } => match self.way.answers {
                HostileAnswers::Silent => {}
                HostileAnswers::Busy => actions.push(Action::Refuse { serve, reason: RefusalReason::Busy }),
                HostileAnswers::Trickle => {
                    actions.push(Action::Choose { serve, run: PieceRange { first: 0, count: 1 } });
                    actions.push(Action::Serve { serve });
                }
            },
            _ => {}
        }
        if now >= self.next {
            self.next = now + STEP;
            self.step(now, actions);
        }
    }

    fn dial_later(&mut self, now: Duration, peer: Option<PeerId>) {
        if let Some((_, at)) = peer.and_then(|peer| self.known.get_mut(&peer)) {
            *at = now + DIAL_AGAIN;
        }
    }

    fn step(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (id, (peer, at)) in &mut self.known {
            if *at <= now && !self.conns.values().any(|other| other == id) {
                // Until the dial has come to something.
                *at = Duration::MAX;
                actions.push(Action::Dial { peer: peer.clone() });
            }
        }
        self.turn = (self.turn + 1) % TURN;
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        if self.way.withdraws {
            match self.turn {
                0 => conns.into_iter().for_each(|conn| self.join(conn, actions)),
                2 => conns.into_iter().for_each(|conn| self.withdraw(conn, actions)),
                _ => {}
            }
        } else if now >= self.offer_at {
            self.offer_at = now + OFFER_AGAIN;
            conns.into_iter().for_each(|conn| self.offer(conn, actions));
        }
    }

    fn join(&self, conn: ConnId, actions: &mut Vec<Action>) {
        for &(content, pieces) in &self.contents {
            let runs = vec![PieceRange { first: 0, count: pieces }];
            for message in [
                PeerMessage::Join { content, pieces: Some(pieces), wants: false },
                PeerMessage::Have { content, runs, in_flight: Vec::new() },
            ] {
                actions.push(Action::Send { conn, message });
            }
        }
        self.offer(conn, actions);
    }

    /// Everything at once, and then once more in as many runs as fit.
    fn offer(&self, conn: ConnId, actions: &mut Vec<Action>) {
        for &(content, pieces) in &self.contents {
            let part = pieces.div_ceil(MAX_OFFERS as u32).max(1);
            let parts = (0..pieces).step_by(part as usize);
            let parts = parts.map(|first| PieceRange { first, count: part.min(pieces - first) }).collect();
            for runs in [vec![PieceRange { first: 0, count: pieces }], parts] {
                actions.push(Action::Send { conn, message: PeerMessage::Offer { content, runs } });
            }
        }
    }

    fn withdraw(&self, conn: ConnId, actions: &mut Vec<Action>) {
        let withdraw = |&(content, _): &(ContentId, u32)| PeerMessage::Withdraw { content };
        actions.extend(self.contents.iter().map(withdraw).map(|message| Action::Send { conn, message }));
    }
}

impl World {
    /// A hostile peer comes: the tracker takes it for a seeder.
    pub(super) fn arrive_hostile(&mut self, peer: PeerIx, hello: PeerMessage) {
        let (now, state) = (Duration::from_nanos(self.now), &mut self.peers[peer as usize]);
        let Some(way) = state.hostile.clone() else { return };
        let holds = self.contents.iter().zip(&state.holdings).enumerate().filter(|(_, (_, holding))| holding.manifest);
        let (numbers, contents): (Vec<usize>, Vec<_>) =
            holds.map(|(at, (content, _))| (at, (content.id, content.geometry.pieces()))).unzip();
        state.arrived = self.now;
        let fresh_id_after = way.fresh_id_after;
        state.brain = Some(Brain::Hostile(Box::new(Attacker {
            way,
            me: state.id,
            hello,
            contents,
            known: BTreeMap::new(),
            conns: BTreeMap::new(),
            next: now,
            offer_at: now,
            turn: 0,
        })));
        numbers.into_iter().for_each(|content| self.announce(peer, content));
        self.tell(peer, Event::Tick);
        if let Some(seconds) = fresh_id_after {
            self.after((seconds * SECOND as f64) as Time, SimEvent::FreshId(peer));
        }
    }

    /// A hostile peer leaves, and is someone else from now on.
    pub(super) fn take_fresh_id(&mut self, peer: PeerIx) {
        self.connections.of(peer).into_iter().for_each(|conn| self.close(conn));
        self.leave_tracker(self.peers[peer as usize].id);
        let mut id = [0; 32];
        self.random.fill(&mut id);
        id[28..].copy_from_slice(&peer.to_be_bytes());
        self.peers[peer as usize].id = PeerId(Digest(id));
        self.arrive(peer);
    }
}
