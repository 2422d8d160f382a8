//! What is still to be said to a tracker, in its order. What is asked and announced now does not wait for thousands of contents that an
//! earlier session knew: those come last.

use std::collections::{BTreeMap, VecDeque};

use protocol::{Announce, ContentId, TrackerRequest};

use super::waiting::QUEUE;

#[derive(Default)]
pub(super) struct Unsaid {
    requests: VecDeque<TrackerRequest>,
    /// Contents that this session does not know yet.
    contents: BTreeMap<ContentId, Announce>,
}

impl Unsaid {
    /// What a session begins with. So many contents are said before what is asked.
    pub(super) fn new(
        announced: &BTreeMap<ContentId, Announce>,
        questions: Vec<TrackerRequest>,
        contents_first: usize,
    ) -> Self {
        let first = announced.values().take(contents_first).cloned().map(TrackerRequest::Announce);
        let later = announced.iter().skip(contents_first).map(|(content, announce)| (*content, announce.clone()));
        Unsaid { requests: first.chain(questions).collect(), contents: later.collect() }
    }

    pub(super) fn push(&mut self, request: TrackerRequest) {
        match &request {
            TrackerRequest::Announce(announce) => drop(self.contents.remove(&announce.content)),
            // The session never hears of it.
            TrackerRequest::Leave(content) if self.contents.remove(content).is_some() => return,
            // That is only for those who take part in the content.
            TrackerRequest::Relay { content, .. } | TrackerRequest::Progress { content, .. } => {
                self.requests.extend(self.contents.remove(content).map(TrackerRequest::Announce));
            }
            _ => {}
        }
        self.requests.push_back(request);
    }

    pub(super) fn next(&mut self) -> Option<TrackerRequest> {
        let request = self.requests.pop_front();
        request.or_else(|| self.contents.pop_first().map(|(_, announce)| TrackerRequest::Announce(announce)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.contents.is_empty()
    }

    /// Whether no more is to be taken on.
    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= QUEUE
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, PeerId, Role};

    use super::*;

    fn announce(number: u8) -> Announce {
        Announce { content: ContentId(Digest([number; 32])), about: None, role: Role::Seeder }
    }

    fn said(unsaid: &mut Unsaid) -> Vec<TrackerRequest> {
        std::iter::from_fn(|| unsaid.next()).collect()
    }

    #[test]
    fn what_is_new_comes_before_what_an_earlier_session_knew() {
        let announced = (1..=4).map(|number| (announce(number).content, announce(number))).collect();
        let find = TrackerRequest::Find("a".to_owned());
        let mut unsaid = Unsaid::new(&announced, vec![find.clone()], 1);
        unsaid.push(TrackerRequest::Announce(announce(9)));
        let [one, two, three, four, nine] = [1, 2, 3, 4, 9].map(|number| TrackerRequest::Announce(announce(number)));
        assert_eq!(said(&mut unsaid), [one, find, nine, two, three, four]);
    }

    #[test]
    fn a_content_is_announced_once_and_before_anything_else_of_it() {
        let announced = (1..=4).map(|number| (announce(number).content, announce(number))).collect();
        let mut unsaid = Unsaid::new(&announced, Vec::new(), 0);
        let (left, relayed) = (announce(1).content, announce(3).content);
        let relay = TrackerRequest::Relay { peer: PeerId::of_public_key(b"peer"), content: relayed };
        let changed = TrackerRequest::Announce(Announce { role: Role::Downloader, ..announce(2) });
        for request in [TrackerRequest::Leave(left), changed.clone(), relay.clone()] {
            unsaid.push(request);
        }
        let [three, four] = [3, 4].map(|number| TrackerRequest::Announce(announce(number)));
        assert_eq!(said(&mut unsaid), [changed, three, relay, four]);
        unsaid.push(TrackerRequest::Leave(left));
        assert_eq!(said(&mut unsaid), [TrackerRequest::Leave(left)]);
    }
}
