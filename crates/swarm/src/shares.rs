//! The private shares that a process takes part in: who has proven to know one, and who may still take it.
//!
//! A node and a tracker in one process have the same [`Shares`]. Nothing of a share is told to anyone whose proof was not
//! found here. All keys are tried for each proof, whatever is found, so that the time it takes says nothing.

mod receivers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{ContentId, FOR_SO_MANY, Key, MAX_RECEIVERS, PeerId, ShareKey, Turn};

pub use receivers::Place;
use receivers::{Receiver, Receivers};

/// Both ends of a connection, and what both have exported of it.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// What was exported for [`protocol::PROOF_LABEL`].
    pub exporter: [u8; 32],
    /// This end.
    pub me: PeerId,
    /// The other end.
    pub other: PeerId,
}

/// The private shares of a process.
#[derive(Debug, Default)]
pub struct Shares {
    table: Mutex<BTreeMap<ContentId, Share>>,
    /// Some are being looked at and will be here soon.
    more_to_come: AtomicBool,
}

#[derive(Debug)]
struct Share {
    key: ShareKey,
    /// Name and size, for peers that have proven to have the secret.
    about: Option<(String, u64)>,
    /// Most receivers, and those there are or were.
    most: Option<u32>,
    receivers: Arc<Mutex<Receivers>>,
    /// Of a share of somebody else who has said that it is for so many receivers: who they are.
    named: Option<Named>,
    /// Why nobody takes it any more.
    over: Option<String>,
}

/// The receivers that a sharer has named.
#[derive(Debug)]
struct Named {
    sharer: PeerId,
    list: NamedReceivers,
}

/// Who has a place among the receivers of a share that is for so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedReceivers {
    /// Most receivers.
    pub most: u32,
    /// The number of this list: later ones have larger ones.
    pub number: u64,
    /// Their ids, in order.
    pub receivers: Vec<PeerId>,
}

/// A share whose secret the other end has proven.
#[derive(Debug)]
pub struct Proof {
    /// The content.
    pub content: ContentId,
    /// The id that trackers see.
    pub swarm: ContentId,
    /// What is sent back.
    pub answer: [u8; 32],
    /// Its place among the receivers for as long as this is kept, or a sentence why it gets nothing.
    pub place: Result<Place, String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContentId, Share>> {
        lock(&self.table)
    }

    /// Whether more shares are about to be added: who proves one that is not here may have come too early.
    pub fn expect_more(&self, expect: bool) {
        self.more_to_come.store(expect, Ordering::Relaxed);
    }

    /// Whether more shares are about to be added.
    pub fn expects_more(&self) -> bool {
        self.more_to_come.load(Ordering::Relaxed)
    }

    /// Takes part in a share, or goes on.
    pub fn add(&self, content: ContentId, key: ShareKey) {
        let share = Share { key, about: None, most: None, receivers: Arc::default(), named: None, over: None };
        let mut shares = self.lock();
        match shares.get_mut(&content) {
            Some(known) if known.key.swarm() == key.swarm() => {}
            _ => drop(shares.insert(content, share)),
        }
    }

    /// What it is called and how large it is.
    pub fn describe(&self, content: ContentId, name: &str, size: u64) {
        if let Some(share) = self.lock().get_mut(&content) {
            share.about = Some((name.to_owned(), size));
            lock(&share.receivers).size = size;
        }
    }

    /// What time it is, from any start on: receivers that get nothing for long make room for others.
    pub fn pass(&self, now: Duration) {
        self.lock().values().for_each(|share| lock(&share.receivers).now = now);
    }

    /// At most so many receivers, counted by their ids.
    pub fn limit(&self, content: ContentId, receivers: Option<u32>) {
        if let Some(share) = self.lock().get_mut(&content) {
            share.most = receivers;
        }
    }

    /// Nobody takes it any more, for this reason.
    pub fn end(&self, content: ContentId, reason: &str) {
        if let Some(share) = self.lock().get_mut(&content) {
            share.over = Some(reason.to_owned());
        }
    }

    /// Takes no part in it any more.
    pub fn remove(&self, content: ContentId) {
        self.lock().remove(&content);
    }

    /// Whether the content is private.
    pub fn contains(&self, content: ContentId) -> bool {
        self.lock().contains_key(&content)
    }

    /// The id under which trackers know a content: its own unless it is private.
    pub fn announced_as(&self, content: ContentId) -> ContentId {
        self.lock().get(&content).map_or(content, |share| share.key.swarm())
    }

    /// The key for what holders say to each other on a local network.
    pub fn lan_key(&self, content: ContentId) -> Option<Key> {
        self.lock().get(&content).map(|share| share.key.lan_key())
    }

    /// The content behind an announced id. `None` for the content id of a private share, which a tracker cannot know.
    pub fn content_of(&self, announced: ContentId) -> Option<ContentId> {
        let shares = self.lock();
        let private = shares.iter().find(|(_, share)| share.key.swarm() == announced);
        match private {
            Some((&content, _)) => Some(content),
            None => (!shares.contains_key(&announced)).then_some(announced),
        }
    }

    /// Name and size of a content, if they were said.
    pub fn about(&self, content: ContentId) -> Option<(String, u64)> {
        self.lock().get(&content)?.about.clone()
    }

    /// This end's own proof of a share, in its first turn.
    pub fn prove(&self, content: ContentId, channel: &Channel) -> Option<[u8; 32]> {
        let shares = self.lock();
        let key = &shares.get(&content)?.key;
        Some(key.proof(Turn::First, &channel.exporter, channel.me, channel.other).bytes())
    }

    /// The shares of which the other end has proven the secret in its first turn.
    pub fn check(&self, channel: &Channel, proofs: &[[u8; 32]]) -> Vec<Proof> {
        let mut found = Vec::new();
        for (&content, share) in self.lock().iter() {
            let expected = share.key.proof(Turn::First, &channel.exporter, channel.other, channel.me);
            // All are compared, in constant time each.
            let right = proofs.iter().fold(false, |right, proof| right | expected.is(proof));
            if right {
                let answer = share.key.proof(Turn::Second, &channel.exporter, channel.me, channel.other).bytes();
                found.push(Proof { content, swarm: share.key.swarm(), answer, place: share.admit(channel.other) });
            }
        }
        found
    }

    /// Which of these shares the other end has proven in its second turn, after this end's first, and its place among the
    /// receivers of each, or why it has none: a peer that was dialled may be a receiver, too.
    pub fn answered(
        &self,
        channel: &Channel,
        asked: &[ContentId],
        proofs: &[[u8; 32]],
    ) -> Vec<(ContentId, Result<Place, String>)> {
        let shares = self.lock();
        let proven = |&content: &ContentId| {
            let share = shares.get(&content)?;
            let expected = share.key.proof(Turn::Second, &channel.exporter, channel.other, channel.me);
            let right = proofs.iter().fold(false, |right, proof| right | expected.is(proof));
            right.then(|| (content, share.admit(channel.other)))
        };
        asked.iter().filter_map(proven).collect()
    }

    /// Whether as many receivers have it as there may be.
    pub fn is_complete(&self, content: ContentId) -> bool {
        self.lock().get(&content).is_some_and(Share::is_complete)
    }

    /// Whether so much of it was sent that it is over, though not all receivers have said that they have it.
    pub fn is_spent(&self, content: ContentId) -> bool {
        self.lock().get(&content).is_some_and(Share::is_spent)
    }

    /// Whether there may be only so many receivers.
    pub fn is_limited(&self, content: ContentId) -> bool {
        self.lock().get(&content).is_some_and(|share| share.most.is_some())
    }

    /// So many more bytes of it were sent to a peer.
    pub fn sent(&self, content: ContentId, peer: PeerId, bytes: u64) {
        let shares = self.lock();
        let Some(share) = shares.get(&content).filter(|_| bytes > 0) else { return };
        let mut receivers = lock(&share.receivers);
        receivers.sent = receivers.sent.saturating_add(bytes);
        let now = receivers.now;
        if let Some(receiver) = receivers.by_id.get_mut(&peer) {
            (receiver.sent, receiver.active) = (receiver.sent.saturating_add(bytes), now);
        }
    }

    /// A peer got something from others.
    pub fn grew(&self, content: ContentId, peer: PeerId) {
        let shares = self.lock();
        let Some(share) = shares.get(&content) else { return };
        let mut receivers = lock(&share.receivers);
        let now = receivers.now;
        if let Some(receiver) = receivers.by_id.get_mut(&peer) {
            receiver.active = now;
        }
    }

    /// Whether as many bytes were sent to a peer as the content has, and whether none for long.
    pub fn had_all(&self, content: ContentId, peer: PeerId) -> (bool, bool) {
        let shares = self.lock();
        let Some(share) = shares.get(&content) else { return (false, false) };
        let receivers = lock(&share.receivers);
        let state = |receiver: &Receiver| (receivers.had_all(receiver), receivers.is_idle(receiver));
        receivers.by_id.get(&peer).map_or((false, false), state)
    }

    /// Whether anything more of it is sent to a peer, or a sentence why not.
    pub fn may_take(&self, content: ContentId, peer: PeerId) -> Result<(), String> {
        let shares = self.lock();
        match shares.get(&content) {
            Some(share) if share.is_spent() => Err(SPENT.to_owned()),
            Some(Share { most: Some(most), receivers, .. }) if !lock(receivers).has_place(&peer) => Err(full(*most)),
            Some(Share { named: Some(named), .. }) if !named.may_take(&peer) => Err(full(named.list.most)),
            _ => Ok(()),
        }
    }

    /// Who has a place among the receivers of a share of this process that is for so many, unless they are too many to be named.
    pub fn listed(&self, content: ContentId) -> Option<NamedReceivers> {
        let shares = self.lock();
        let share = shares.get(&content)?;
        let most = share.most.filter(|most| *most as usize <= MAX_RECEIVERS)?;
        let receivers = lock(&share.receivers);
        Some(NamedReceivers { most, number: receivers.changes, receivers: receivers.with_place() })
    }

    /// The peer that shares a content says with whom alone: nobody else gets it from here. Who shares it itself is told nothing.
    pub fn name(&self, content: ContentId, sharer: PeerId, mut list: NamedReceivers) {
        let mut shares = self.lock();
        let is_own = |share: &Share| share.most.is_some() || share.about.is_some();
        let Some(share) = shares.get_mut(&content).filter(|share| !is_own(share)) else { return };
        let is_news = |named: &Named| named.sharer == sharer && named.list.number < list.number;
        if share.named.as_ref().is_none_or(is_news) {
            list.receivers.sort_unstable();
            share.named = Some(Named { sharer, list });
        }
    }

    /// Who has named the receivers of a content.
    pub fn named_by(&self, content: ContentId) -> Option<PeerId> {
        self.lock().get(&content)?.named.as_ref().map(|named| named.sharer)
    }

    /// A receiver has all that it wants. True if that was the last one that there may be.
    pub fn received(&self, content: ContentId, peer: PeerId) -> bool {
        let shares = self.lock();
        let Some(share) = shares.get(&content) else { return false };
        let new = match lock(&share.receivers).by_id.get_mut(&peer) {
            Some(receiver) => !std::mem::replace(&mut receiver.done, true),
            None => false,
        };
        new && share.is_complete()
    }
}

/// Why nobody gets any more of a share that ends by itself.
const SPENT: &str = "this share is over: more was sent than its receivers take";

/// Why a newcomer gets nothing.
fn full(most: u32) -> String {
    match most {
        1 => format!("{FOR_SO_MANY}one receiver, who is there or has it"),
        most => format!("{FOR_SO_MANY}{most} receivers, and all of them are there or have it"),
    }
}

impl Named {
    fn may_take(&self, peer: &PeerId) -> bool {
        *peer == self.sharer || self.list.receivers.binary_search(peer).is_ok()
    }
}

impl Share {
    fn is_complete(&self) -> bool {
        let done = || lock(&self.receivers).by_id.values().filter(|receiver| receiver.done).count();
        self.is_spent() || self.most.is_some_and(|most| done() >= most as usize)
    }

    /// Whether so much was sent that somebody takes it under many ids: twice what all receivers take from here, and twice all of it,
    /// for those that begin again, as after a full disk.
    fn is_spent(&self) -> bool {
        let receivers = lock(&self.receivers);
        let enough = |most: u32| receivers.size.saturating_mul(2 * (u64::from(most) + 1));
        receivers.size > 0 && self.most.is_some_and(|most| receivers.sent >= enough(most))
    }

    fn admit(&self, peer: PeerId) -> Result<Place, String> {
        if let Some(reason) = &self.over {
            return Err(reason.clone());
        }
        if self.is_spent() {
            return Err(SPENT.to_owned());
        }
        let mut receivers = lock(&self.receivers);
        if let Some(most) = self.most
            && !receivers.has_place(&peer)
            && receivers.places() >= most as usize
            && !receivers.make_room()
        {
            return Err(full(most));
        }
        let turn = receivers.enter(peer);
        Ok(Place { receivers: self.receivers.clone(), peer, turn })
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, Secret};

    use super::receivers::{IDLE, REMEMBERED};
    use super::*;

    fn content(number: u8) -> ContentId {
        ContentId(Digest([number; 32]))
    }

    fn peer(number: u8) -> PeerId {
        PeerId(Digest([number; 32]))
    }

    fn shares(secrets: &[u8]) -> Arc<Shares> {
        let shares = Arc::new(Shares::default());
        secrets.iter().for_each(|&secret| shares.add(content(secret), Secret::new([secret; 16]).share_key()));
        shares
    }

    /// From 1's side, and from 2's.
    fn channel(exporter: u8) -> (Channel, Channel) {
        let exporter = [exporter; 32];
        let there = Channel { exporter, me: peer(1), other: peer(2) };
        (there, Channel { exporter, me: peer(2), other: peer(1) })
    }

    #[test]
    fn both_ends_prove_each_share_that_both_have_and_no_other() {
        let (one, two) = (shares(&[1, 2, 3]), shares(&[2, 3, 4]));
        let (here, there) = channel(9);
        let asked: Vec<_> = [1, 2, 3].map(content).to_vec();
        let proofs: Vec<_> = asked.iter().filter_map(|&content| one.prove(content, &here)).collect();
        let found = two.check(&there, &proofs);
        assert_eq!(found.iter().map(|proof| proof.content).collect::<Vec<_>>(), [content(2), content(3)]);
        let answers: Vec<_> = found.iter().map(|proof| proof.answer).collect();
        let answered = |asked: &[ContentId]| {
            one.answered(&here, asked, &answers).into_iter().map(|(content, _)| content).collect::<Vec<_>>()
        };
        assert_eq!(answered(&asked), [content(2), content(3)]);
        assert_eq!(answered(&[content(3)]), [content(3)], "only what was asked");
    }

    #[test]
    fn what_was_said_on_another_connection_or_is_sent_back_proves_nothing() {
        let (one, two) = (shares(&[1]), shares(&[1]));
        let (here, there) = channel(9);
        let proof = one.prove(content(1), &here).unwrap();
        let (_, elsewhere) = channel(8);
        assert!(two.check(&elsewhere, &[proof]).is_empty(), "replayed");
        assert!(one.check(&here, &[proof]).is_empty(), "reflected");
        assert!(one.answered(&here, &[content(1)], &[proof]).is_empty(), "sent back as an answer");
        let relayed = Channel { other: peer(3), ..there };
        assert!(two.check(&relayed, &[proof]).is_empty(), "relayed by somebody else");
        let answer = two.check(&there, &[proof]).remove(0).answer;
        assert!(two.check(&there, &[answer]).is_empty(), "an answer as a question");
        assert!(two.check(&there, &[[0; 32]; 16]).is_empty(), "guessed");
    }

    #[test]
    fn trackers_know_a_private_content_by_another_id() {
        let shares = shares(&[1]);
        let swarm = shares.announced_as(content(1));
        assert!(swarm.is_private() && swarm != content(1));
        assert_eq!((shares.content_of(swarm), shares.content_of(content(1))), (Some(content(1)), None));
        assert_eq!((shares.announced_as(content(2)), shares.content_of(content(2))), (content(2), Some(content(2))));
    }

    /// A sharer dials those that the tracker has introduced.
    #[test]
    fn a_receiver_that_was_dialled_has_a_place_like_any_other() {
        let (sharer, holder) = (shares(&[1]), shares(&[1]));
        sharer.limit(content(1), Some(1));
        let dial = |number| {
            let here = Channel { exporter: [9; 32], me: peer(100), other: peer(number) };
            let there = Channel { me: here.other, other: here.me, ..here };
            let proof = sharer.prove(content(1), &here).unwrap();
            let answer = holder.check(&there, &[proof]).remove(0).answer;
            sharer.answered(&here, &[content(1)], &[answer]).remove(0).1
        };
        let first = dial(1).unwrap();
        assert!(dial(2).unwrap_err().contains("one receiver") && dial(1).is_ok());
        drop(first);
        let second = dial(2).expect("the first has left without it");
        assert!(sharer.received(content(1), peer(2)));
        drop(second);
        assert!(dial(3).is_err());
    }

    #[test]
    fn so_many_receivers_have_it_and_no_more() {
        let shares = shares(&[1]);
        shares.limit(content(1), Some(2));
        let admit = |number| {
            let there = Channel { exporter: [9; 32], me: peer(100), other: peer(number) };
            let here = Channel { me: there.other, other: there.me, ..there };
            let proof = shares.prove(content(1), &here).unwrap();
            shares.check(&there, &[proof]).remove(0).place
        };
        let (first, again, second) = (admit(1).unwrap(), admit(1).unwrap(), admit(2).unwrap());
        assert!(admit(3).unwrap_err().contains("2 receivers"));
        drop((first, second));
        let third = admit(3).expect("the second has left without it");
        assert!(!shares.received(content(1), peer(1)) && !shares.received(content(1), peer(1)));
        drop(again);
        assert!(admit(4).is_err(), "the first has it");
        assert!(shares.received(content(1), peer(3)), "that was the last one");
        drop(third);
        shares.end(content(1), "it is over");
        assert_eq!(admit(1).unwrap_err(), "it is over");
    }

    /// A share of 1,000 bytes for so many receivers, and how to come to it under some id.
    fn limited(most: u32) -> (Arc<Shares>, impl Fn(u8) -> Result<Place, String>) {
        let shares = shares(&[1]);
        shares.describe(content(1), "name", 1000);
        shares.limit(content(1), Some(most));
        let there = shares.clone();
        let admit = move |number| {
            let here = Channel { exporter: [9; 32], me: peer(100), other: peer(number) };
            let proof = there.prove(content(1), &Channel { me: here.other, other: here.me, ..here }).unwrap();
            there.check(&here, &[proof]).remove(0).place
        };
        (shares, admit)
    }

    #[test]
    fn what_was_sent_to_an_id_counts_over_all_its_connections() {
        let (shares, admit) = limited(1);
        let silent = admit(1).unwrap();
        shares.sent(content(1), peer(1), 600);
        drop(silent);
        assert!(!shares.is_complete(content(1)), "it has left with a part");
        let silent = admit(1).unwrap();
        shares.sent(content(1), peer(1), 400);
        assert_eq!(shares.had_all(content(1), peer(1)), (true, false));
        assert!(!shares.is_complete(content(1)), "it may have lost some on the way, and is still there");
        shares.pass(IDLE);
        assert_eq!(shares.had_all(content(1), peer(1)), (true, true));
        assert!(admit(2).is_err(), "it makes no room");
        assert!(shares.received(content(1), peer(1)));
        drop(silent);
        assert!(shares.is_complete(content(1)) && admit(2).is_err());
    }

    #[test]
    fn who_comes_under_many_ids_gets_it_twice_as_often_as_there_are_receivers_and_twice_more() {
        for most in [1, 3] {
            let (shares, admit) = limited(most);
            let mut all = 0;
            for id in 2..99 {
                let Ok(_place) = admit(id) else { break };
                // It leaves with all but the last hundred.
                for _ in 0..9 {
                    if shares.may_take(content(1), peer(id)).is_ok() {
                        shares.sent(content(1), peer(id), 100);
                        all += 100;
                    }
                }
            }
            assert_eq!(all, 2000 * (most + 1));
            assert!(shares.is_complete(content(1)) && admit(100).unwrap_err().contains("over"));
        }
    }

    /// As with a disk that is full just before the end, or a part that is removed.
    #[test]
    fn one_receiver_that_loses_what_it_had_twice_still_gets_it() {
        let (shares, admit) = limited(1);
        for id in [2, 3] {
            let _place = admit(id).unwrap();
            shares.sent(content(1), peer(id), 999);
        }
        let _place = admit(4).expect("nobody has it");
        for _ in 0..10 {
            shares.may_take(content(1), peer(4)).expect("nobody has it");
            shares.sent(content(1), peer(4), 100);
        }
        assert!(shares.received(content(1), peer(4)) && !shares.is_spent(content(1)));
    }

    #[test]
    fn receivers_send_it_to_those_alone_whom_the_sharer_has_named() {
        let (sharer, admit) = limited(2);
        let (first, _second) = (admit(1).unwrap(), admit(2).unwrap());
        let early = sharer.listed(content(1)).unwrap();
        assert_eq!((early.most, &early.receivers[..]), (2, &[peer(1), peer(2)][..]));
        let receiver = shares(&[1]);
        let may = |number| receiver.may_take(content(1), peer(number)).is_ok();
        assert!(may(3) && receiver.listed(content(1)).is_none(), "so far it is for all who have the secret");
        receiver.name(content(1), peer(100), early.clone());
        assert!(may(2) && may(100) && !may(3));
        drop(first);
        let _third = admit(3).expect("the first has left without it");
        let late = sharer.listed(content(1)).unwrap();
        receiver.name(content(1), peer(100), late.clone());
        receiver.name(content(1), peer(100), early);
        assert!(!may(1) && may(3), "the older list has come late");
        receiver.name(content(1), peer(9), NamedReceivers { number: u64::MAX, receivers: vec![peer(9)], ..late });
        assert!(may(3) && !may(9) && receiver.named_by(content(1)) == Some(peer(100)), "somebody else says so");
        assert!(receiver.may_take(content(1), peer(9)).unwrap_err().contains("2 receivers"));
    }

    #[test]
    fn one_that_gets_nothing_for_long_makes_room() {
        let (shares, admit) = limited(2);
        let (silent, slow) = (admit(1).unwrap(), admit(2).unwrap());
        let at = |seconds| shares.pass(Duration::from_secs(seconds));
        at(119);
        assert!(admit(3).is_err());
        shares.grew(content(1), peer(2));
        at(120);
        let third = admit(3).expect("the first does nothing");
        assert!(admit(4).is_err() && shares.may_take(content(1), peer(1)).is_err());
        assert!(shares.may_take(content(1), peer(2)).is_ok() && shares.may_take(content(1), peer(3)).is_ok());
        // It comes again, and what it had before is over.
        drop(third);
        let again = admit(1).unwrap();
        drop(silent);
        assert!(admit(4).is_err(), "it is there");
        drop((again, slow));
        assert!(admit(4).is_ok() && admit(5).is_ok());
    }

    #[test]
    fn those_that_have_left_do_not_fill_memory() {
        let (shares, _) = limited(1);
        shares.describe(content(1), "name", u64::MAX / 8);
        let table = shares.lock();
        let share = &table[&content(1)];
        for number in 0..3 * REMEMBERED as u32 {
            let id = PeerId::of_public_key(&number.to_le_bytes());
            let place = share.admit(id).unwrap();
            lock(&share.receivers).by_id.get_mut(&id).unwrap().sent = u64::from(number % 7);
            drop(place);
        }
        assert_eq!(lock(&share.receivers).by_id.len(), REMEMBERED);
    }

    #[test]
    fn a_place_of_a_share_that_was_removed_is_none_of_the_next_one() {
        let shares = shares(&[1]);
        let (here, there) = channel(9);
        let admit = || {
            let proof = shares.prove(content(1), &here).unwrap();
            shares.check(&there, &[proof]).remove(0).place.unwrap()
        };
        let before = admit();
        shares.remove(content(1));
        shares.add(content(1), Secret::new([1; 16]).share_key());
        shares.limit(content(1), Some(1));
        let now = admit();
        assert!(shares.received(content(1), peer(1)));
        drop(before);
        drop(now);
        assert!(shares.is_complete(content(1)));
    }
}
