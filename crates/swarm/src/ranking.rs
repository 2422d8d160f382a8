//! Which trackers a content is announced to: the first of a ranking that is the same for all peers.
//!
//! Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on
//! Networking 6, 1998): each tracker has a weight for each content, the hash of both, and the heaviest come first. A tracker
//! that comes or goes changes only the contents that it is among the first for. Peers who disagree about one tracker, whether it
//! lives, still have one of their first two in common.

use std::cmp::Reverse;

use protocol::{ABBREVIATED, ContentId, Digest, PeerId, TrackerInstance};

/// The trackers that each content is announced to.
pub const ANNOUNCED_TO: usize = 2;

/// What the hash begins with.
const PURPOSE: &[u8] = b"p2p-fileshare/1 rank of a tracker";

/// The places of these trackers in the order of a content, or of the id that stands for a private one, best first. Of an id only
/// the half counts that a ticket has.
pub fn ranking(content: ContentId, trackers: &[(PeerId, TrackerInstance)]) -> Vec<usize> {
    let mut order: Vec<_> = (0..trackers.len()).collect();
    // Trackers that cannot be told apart by what outlives a restart are in the order of what does not.
    order.sort_by_cached_key(|&place| {
        let (id, instance) = trackers[place];
        (Reverse(weight(content, id, instance.label)), id.abbreviated(), instance.label, instance.nonce)
    });
    // The second has another id, if there is one: how many there are of an id, and their labels, is what its holder says.
    let second = order.iter().position(|&place| !trackers[place].0.answers_to(trackers[order[0]].0));
    if let Some(second) = second.filter(|&second| second > 1) {
        order[1..=second].rotate_right(1);
    }
    order
}

fn weight(content: ContentId, tracker: PeerId, label: [u8; 16]) -> [u8; 32] {
    Digest::of(&[PURPOSE, &content.0.0, &tracker.0.0[..ABBREVIATED], &label].concat()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(number: u8) -> (PeerId, TrackerInstance) {
        (PeerId::of_public_key(&[number]), TrackerInstance::default())
    }

    fn content(number: u32) -> ContentId {
        ContentId(Digest::of(&number.to_le_bytes()))
    }

    fn first_two(number: u32, trackers: &[(PeerId, TrackerInstance)]) -> Vec<PeerId> {
        ranking(content(number), trackers).into_iter().take(ANNOUNCED_TO).map(|place| trackers[place].0).collect()
    }

    #[test]
    fn no_key_has_both_of_the_first_two_where_there_is_another() {
        let one_key = |label| (tracker(1).0, TrackerInstance { label: [label; 16], nonce: [label; 16] });
        let trackers = [one_key(1), one_key(2), one_key(3), one_key(4), tracker(2)];
        for number in 0..100 {
            assert!(first_two(number, &trackers).contains(&tracker(2).0));
        }
    }

    /// Other programs must come to the same order.
    #[test]
    fn the_order_is_that_of_the_documented_hash() {
        let trackers = [tracker(1), tracker(2), tracker(3)];
        let order = ranking(content(7), &trackers);
        let hash = |place: usize| {
            let mut bytes = b"p2p-fileshare/1 rank of a tracker".to_vec();
            bytes.extend(content(7).0.0);
            bytes.extend(&trackers[place].0.0.0[..16]);
            bytes.extend([0; 16]);
            Digest::of(&bytes).0
        };
        assert!(order.is_sorted_by(|&one, &other| hash(one) > hash(other)), "{order:?}");
    }

    #[test]
    fn the_order_does_not_depend_on_how_trackers_are_listed_or_abbreviated() {
        let trackers: Vec<_> = (0..9).map(tracker).collect();
        let mut others: Vec<_> = trackers.iter().map(|(id, instance)| (id.abbreviated(), *instance)).collect();
        others.rotate_left(4);
        others.reverse();
        for number in 0..100 {
            let other: Vec<_> = ranking(content(number), &others).into_iter().map(|place| others[place].0).collect();
            let one: Vec<_> = ranking(content(number), &trackers).into_iter().map(|place| trackers[place].0).collect();
            assert_eq!(other, one.iter().map(PeerId::abbreviated).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_tracker_that_goes_moves_only_what_it_was_first_for() {
        let trackers: Vec<_> = (0..5).map(tracker).collect();
        for number in 0..200 {
            let before = first_two(number, &trackers);
            for gone in 0..trackers.len() {
                let mut left = trackers.clone();
                let gone = left.remove(gone).0;
                let after = first_two(number, &left);
                match before.contains(&gone) {
                    true => assert!(before.iter().any(|id| after.contains(id)), "one of both stays"),
                    false => assert_eq!(after, before),
                }
            }
        }
    }

    #[test]
    fn peers_that_disagree_about_one_tracker_meet() {
        let trackers: Vec<_> = (0..7).map(tracker).collect();
        for number in 0..100 {
            for missing in 0..trackers.len() {
                let mut view = trackers.clone();
                view.remove(missing);
                let (all, some) = (first_two(number, &trackers), first_two(number, &view));
                assert!(all.iter().any(|id| some.contains(id)));
            }
        }
    }

    #[test]
    fn contents_spread_over_all_trackers() {
        let trackers: Vec<_> = (0..4).map(tracker).collect();
        let mut counts = [0; 4];
        (0..4000).for_each(|number| counts[ranking(content(number), &trackers)[0]] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    /// Replicas with one key.
    #[test]
    fn trackers_of_one_key_are_told_apart_by_label_and_else_by_nonce() {
        let id = PeerId::of_public_key(b"one key");
        let labelled = |number| (id, TrackerInstance { label: [number; 16], nonce: [0; 16] });
        let trackers = [labelled(1), labelled(2), labelled(3)];
        let firsts: std::collections::BTreeSet<_> =
            (0..50).map(|number| ranking(content(number), &trackers)[0]).collect();
        assert_eq!(firsts.len(), 3);
        let same = |nonce| (id, TrackerInstance { label: [0; 16], nonce: [nonce; 16] });
        assert_eq!(ranking(content(1), &[same(2), same(1), same(3)]), [1, 0, 2]);
    }
}
