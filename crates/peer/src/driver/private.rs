//! Private shares in a node: what passes over which connection, and who has received what.
//!
//! The engine knows nothing of secrets. What it says of a private content reaches only connections over which both sides
//! have proven that share; what others say or ask of it is treated as of a content that nobody has.

use std::sync::atomic::Ordering;

use protocol::{ContentId, Digest, PeerId, PeerMessage, SHARE_OVER, Secret};
use storage::StorageError;
use swarm::{ConnId, Event, NamedReceivers};

use super::participants::room;
use super::receiving::Receiving;
use super::state::Driver;
use crate::event::PeerEvent;
use crate::net::link;

/// Wrong proofs, and messages of them, that are taken over a connection that stands.
const MOST_PROOFS: u32 = 64;

/// A content that nobody has.
pub(super) const NOTHING: ContentId = ContentId(Digest([0; 32]));

impl Driver {
    /// Takes part in a private share from now on. What is shared openly stays open.
    pub(super) fn make_private(&mut self, content: ContentId, secret: Option<Secret>) -> bool {
        let known = self.items.get(&content);
        match secret {
            Some(secret) if known.is_none_or(|item| item.private) => {
                self.setup.gate.shares.add(content, secret.share_key());
                true
            }
            _ => {
                if known.is_some_and(|item| item.private) {
                    self.setup.gate.shares.remove(content);
                }
                false
            }
        }
    }

    pub(super) fn is_private(&self, content: ContentId) -> bool {
        self.items.get(&content).is_some_and(|item| item.private)
    }

    /// Whether anything about this content may pass over a connection.
    pub(super) fn may_pass(&self, conn: ConnId, content: ContentId) -> bool {
        !self.is_private(content) || self.links.get(&conn).is_some_and(|link| link.admitted.contains(&content))
    }

    /// Strangers are talked to while something is shared openly, or nothing is shared yet and nothing else was said.
    pub(super) fn look_for_strangers(&self) {
        let open = self.items.values().any(|item| !item.private) || (self.items.is_empty() && !self.setup.private);
        self.setup.gate.strangers.store(open, Ordering::Relaxed);
    }

    /// What to prove to a peer that is dialled: the private contents that it is known for. And whether it is known for others.
    pub(super) fn known_for(&self, peer: PeerId) -> (Vec<ContentId>, bool) {
        let known = self.items.iter().filter(|(content, _)| self.engine.knows(**content, peer));
        let (private, open): (Vec<_>, Vec<_>) = known.partition(|(_, item)| item.private);
        (private.into_iter().map(|(&content, _)| content).collect(), !open.is_empty())
    }

    /// Peers of a private content were heard of: it is proven to those of them that are connected for others.
    pub(super) fn prove_to(&mut self, content: ContentId, peers: &[PeerId]) {
        if !self.is_private(content) {
            return;
        }
        for link in self.links.values_mut() {
            let peer = link.connection.peer_id();
            if link.admitted.contains(&content) || link.asked.contains(&content) || !peers.contains(&peer) {
                continue;
            }
            let Ok(channel) = self.setup.gate.channel(&*link.connection) else { continue };
            if let Some(proof) = self.setup.gate.shares.prove(content, &channel) {
                link.asked.push_back(content);
                let _ = link.outbox.try_send(PeerMessage::Prove { proofs: vec![proof] });
            }
        }
    }

    /// The other side proves private shares over a connection that stands.
    pub(super) fn proofs_came(&mut self, conn: ConnId, proofs: &[[u8; 32]]) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.proofs += 1 + proofs.len() as u32;
        if link.proofs > MOST_PROOFS {
            return link.connection.close(1, "it proves nothing");
        }
        let Ok(channel) = self.setup.gate.channel(&*link.connection) else { return };
        let (mut answers, mut admitted) = (Vec::new(), Vec::new());
        for proof in self.setup.gate.shares.check(&channel, proofs) {
            let Ok(place) = proof.place else { continue };
            answers.push(proof.answer);
            // What was proven before is no news, and has its place.
            if !link.admitted.contains(&proof.content) {
                link.proofs = link.proofs.saturating_sub(2);
                link.places.push(place);
                admitted.push(proof.content);
            }
        }
        let _ = link.outbox.try_send(PeerMessage::Proven { proofs: answers });
        self.admit(conn, admitted);
    }

    /// The other side has answered the oldest proof that was said over a connection that stands.
    pub(super) fn answers_came(&mut self, conn: ConnId, proofs: &[[u8; 32]]) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let Some(asked) = link.asked.pop_front() else { return };
        let Ok(channel) = self.setup.gate.channel(&*link.connection) else { return };
        let mut admitted = Vec::new();
        for (content, place) in self.setup.gate.shares.answered(&channel, &[asked], proofs) {
            if let (Ok(place), Some(link)) = (place, self.links.get_mut(&conn)) {
                link.places.push(place);
                admitted.push(content);
            }
        }
        self.admit(conn, admitted);
    }

    /// Both sides of a connection have proven these.
    pub(super) fn admit(&mut self, conn: ConnId, contents: Vec<ContentId>) {
        for content in contents {
            if let Some(link) = self.links.get_mut(&conn)
                && link.admitted.insert(content)
            {
                self.event(Event::Admitted { conn, content, late: true });
                self.name_receivers(content, Some(conn));
            }
        }
    }

    /// Notes what a message says of which peer receives what.
    pub(super) fn note_receiver(&mut self, conn: ConnId, message: &PeerMessage) {
        let (content, wants) = match *message {
            PeerMessage::Join { content, wants, .. } => (content, wants),
            PeerMessage::Interest { content, interested } => (content, interested),
            PeerMessage::Withdraw { content } => return self.receiver_left(conn, content, true),
            _ => return,
        };
        if wants {
            self.receives(conn, content);
            if let Some(receiving) = self.links.get_mut(&conn).and_then(|link| link.receivers.get_mut(&content)) {
                receiving.says_so = true;
            }
            return;
        }
        let receiving = self.links.get_mut(&conn).and_then(|link| link.receivers.get_mut(&content));
        if receiving.is_some_and(|receiving| std::mem::take(&mut receiving.wants)) {
            self.sent(conn, content, true);
        }
    }

    /// The other side of a connection is a receiver of a content from now on.
    fn receives(&mut self, conn: ConnId, content: ContentId) {
        let room = room(self.items.len());
        let (Some(item), Some(link)) = (self.items.get_mut(&content), self.links.get_mut(&conn)) else { return };
        let (peer, address) = (link.connection.peer_id(), link.connection.remote_addr());
        link.remembered.insert(content);
        let (receivers, participants) = (&mut link.receivers, &mut item.participants);
        receivers.entry(content).or_insert_with(|| Receiving::new(participants.sent_to(peer, address, room)));
    }

    /// Whether pieces of a content may be sent over a connection. Of a private one, each peer that gets some is a receiver, whatever it
    /// says of itself.
    pub(super) fn may_receive(&mut self, conn: ConnId, content: ContentId) -> bool {
        if !self.is_private(content) {
            return true;
        }
        self.receives(conn, content);
        self.count_sent(conn, content);
        let Some(link) = self.links.get(&conn) else { return false };
        let may = self.setup.gate.shares.may_take(content, link.connection.peer_id());
        if let Err(reason) = &may
            && !self.sharer_decides(content)
        {
            // Whether a share is over is for its sharer to say.
            let is_named = self.setup.gate.shares.named_by(content).is_some();
            link.connection.close(if is_named { 1 } else { SHARE_OVER }, reason);
        }
        may.is_ok()
    }

    /// Whether the sharer that has named the receivers of a content is here: it lets in who may come, and what it says of one that has
    /// just come may still be on its way.
    fn sharer_decides(&self, content: ContentId) -> bool {
        let Some(sharer) = self.setup.gate.shares.named_by(content) else { return false };
        self.links.values().any(|link| link.connection.peer_id() == sharer && link.admitted.contains(&content))
    }

    /// The other side of a connection says with whom it shares a content. Only the peer at the ticket's address is known to share it:
    /// anyone else who has the ticket could keep others from it.
    pub(super) fn receivers_named(&mut self, conn: ConnId, content: ContentId, list: NamedReceivers) {
        let sharer = self.items.get(&content).and_then(|item| item.sharer);
        if let Some(sharer) =
            sharer.filter(|&sharer| self.links.get(&conn).is_some_and(|link| link.connection.peer_id() == sharer))
        {
            self.setup.gate.shares.name(content, sharer, list);
        }
    }

    /// Tells those who take part in a share of this node that is for so many receivers who these are, unless they know: one that has just
    /// come, or, now and then, all.
    pub(super) fn name_receivers(&mut self, content: ContentId, only: Option<ConnId>) {
        let Some(list) = self.setup.gate.shares.listed(content) else { return };
        let told = self.links.iter_mut().filter(|(conn, _)| only.is_none_or(|only| **conn == only));
        for link in told.map(|(_, link)| link).filter(|link| link.admitted.contains(&content)) {
            if link.listed.insert(content, list.number) != Some(list.number) {
                let telling = link::name_receivers(link.connection.clone(), content, list.clone());
                link.connection.spawn(Box::pin(telling));
            }
        }
    }

    /// Tells a share what was sent of it over a connection since it was told last.
    fn count_sent(&mut self, conn: ConnId, content: ContentId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let bytes = link.receivers.get_mut(&content).map_or(0, Receiving::new_bytes);
        self.setup.gate.shares.sent(content, link.connection.peer_id(), bytes);
    }

    /// Tells shares that are for so many receivers how these get on. One that was sent everything and rests has it, though it does
    /// not say so.
    pub(super) fn review_receivers(&mut self) {
        let shares = self.setup.gate.shares.clone();
        shares.pass(self.began.elapsed());
        let all =
            self.links.iter().flat_map(|(&conn, link)| link.receivers.keys().map(move |&content| (conn, content)));
        let all: Vec<_> = all.filter(|(_, content)| shares.is_limited(*content)).collect();
        let limited = self.items.keys().copied().filter(|content| shares.is_limited(*content));
        limited.collect::<Vec<_>>().into_iter().for_each(|content| self.name_receivers(content, None));
        for (conn, content) in all {
            self.count_sent(conn, content);
            let have = self.engine.participant_view(conn, content).map_or(0, |view| view.have);
            let Some(link) = self.links.get_mut(&conn) else { continue };
            let peer = link.connection.peer_id();
            let Some(receiving) = link.receivers.get_mut(&content) else { continue };
            if receiving.grew(have) {
                shares.grew(content, peer);
            }
            let rests = shares.had_all(content, peer) == (true, true);
            if rests && std::mem::take(&mut receiving.wants) {
                self.sent(conn, content, true);
            }
        }
    }

    /// The other side of a connection is about to end it.
    pub(super) fn leaves(&mut self, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.has_left = true;
        }
    }

    /// A peer that has not said that it has everything takes no part any more. If it has never said that it wants anything, it has it
    /// once all of it was sent to it and it has gone by itself; where the connection was lost, some may be lost with it.
    fn receiver_left(&mut self, conn: ConnId, content: ContentId, goes: bool) {
        self.count_sent(conn, content);
        let Some(link) = self.links.get(&conn) else { return };
        let (had_all, _) = self.setup.gate.shares.had_all(content, link.connection.peer_id());
        let receiving = link.receivers.get(&content);
        let has_all = had_all && goes && receiving.is_some_and(|receiving| !receiving.says_so);
        if receiving
            .is_some_and(|receiving| receiving.wants && receiving.bytes.load(Ordering::Relaxed) > receiving.before)
        {
            self.sent(conn, content, has_all);
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.receivers.remove(&content);
        }
    }

    /// A connection is about to be forgotten.
    pub(super) fn receivers_left(&mut self, conn: ConnId) {
        let Some(link) = self.links.get(&conn) else { return };
        let (goes, contents) = (link.has_left, link.receivers.keys().copied().collect::<Vec<_>>());
        contents.into_iter().for_each(|content| self.receiver_left(conn, content, goes));
    }

    fn sent(&mut self, conn: ConnId, content: ContentId, complete: bool) {
        let Some(link) = self.links.get(&conn) else { return };
        let Some(receiving) = link.receivers.get(&content) else { return };
        let (peer, address) = (link.connection.peer_id(), link.connection.remote_addr());
        let (bytes, elapsed) = (receiving.bytes.load(Ordering::Relaxed), receiving.since.elapsed());
        let last = complete && self.setup.gate.shares.received(content, peer);
        self.tell(PeerEvent::Sent { content, peer, address, bytes, elapsed, complete, last });
    }

    /// What is shared is not what it was any more: those who get nothing else here are told why nothing more of it comes.
    pub(super) fn tell_withdrawn(&mut self, content: ContentId, error: &StorageError) {
        let Some(item) = self.items.get(&content) else { return };
        let is_folder = item.manifest().is_some_and(|manifest| manifest.header().folder);
        let reason = withdrawn_words(&item.status.borrow().name, is_folder, error);
        for link in self.links.values().filter(|link| link.admitted.iter().eq([&content])) {
            link.connection.close(SHARE_OVER, &reason);
        }
    }

    /// A private share is over: nobody takes it any more, and who was about to is told why.
    pub(super) fn end_share(&mut self, content: ContentId, reason: &str) {
        self.setup.gate.shares.end(content, reason);
        self.leave_lan(content);
        for link in self.links.values().filter(|link| link.admitted.contains(&content)) {
            link.connection.close(SHARE_OVER, reason);
        }
    }
}

/// Why something is not shared any more, for others: the paths of this machine are none of their business.
fn withdrawn_words(name: &str, is_folder: bool, error: &StorageError) -> String {
    match error {
        StorageError::Changed(_) => format!("{name} was changed while it was shared, and is not shared any more"),
        StorageError::NotFound(_) if is_folder => {
            format!("a file of {name} was moved or removed, and {name} is not shared any more")
        }
        StorageError::NotFound(_) => format!("{name} was moved or removed, and is not shared any more"),
        _ => format!("{name} cannot be read there any more, and is not shared any more"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn receivers_hear_what_became_of_a_file_and_not_where_it_lay() {
        let path = || PathBuf::from("/home/somebody/file");
        let disk = StorageError::Io { path: path(), source: std::io::Error::from_raw_os_error(5) };
        let errors = [
            (StorageError::Changed(path()), "was changed while it was shared"),
            (StorageError::NotFound(path()), "was moved or removed"),
            (StorageError::Denied(path()), "cannot be read there any more"),
            (disk, "cannot be read there any more"),
        ];
        for (error, expected) in errors {
            for is_folder in [false, true] {
                let words = withdrawn_words("file", is_folder, &error);
                assert!(words.contains(expected) && !words.contains("somebody"), "{words}");
            }
        }
    }
}
