//! What a peer is still to be told.
//!
//! It is kept as what has changed and not as messages: whatever peers announce, and as many as come and go meanwhile, one
//! who does not read has one entry for each content, with ids of peers in it and nothing else. Their addresses are looked up
//! when the message is said.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use protocol::{ContentId, PeerId, TrackerEvent};
use swarm::MOST_KNOWN;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::cost;
use crate::lock::lock;
use crate::news_load::Haste;

/// Most peers in one message, either way. More wait for the next.
pub(crate) const A_MESSAGE: usize = 64;

/// Most peers that wait to be named, either way. Nobody knows more; where others come and go while someone does not read, the
/// oldest news are forgotten: it finds out by itself who is not there.
const MOST: usize = MOST_KNOWN;

/// News that can wait are told so long after the last ones.
const BATCH: Duration = Duration::from_secs(1);

/// Most other messages that wait.
const MOST_SAID: usize = 256;

/// What waits for one peer.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    /// Something is to be told now.
    hurry: bool,
    /// When news were told last.
    told: Option<Instant>,
    news: HashMap<ContentId, News>,
    /// Contents of which there are news, in the order in which they are said.
    order: VecDeque<ContentId>,
    /// What is said before any news.
    said: VecDeque<TrackerEvent>,
}

/// What is to be said of one content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Peers that have joined and peers that are gone, since the last message. No peer is in both lists.
    pub(crate) joined: Vec<PeerId>,
    pub(crate) gone: Vec<PeerId>,
}

impl News {
    fn cost(&self) -> i64 {
        cost::news(self.joined.len() + self.gone.len()) as i64
    }
}

/// Puts peers at the end of one list, and takes them out of the other, with one look at each entry.
fn note(peers: Vec<PeerId>, list: &mut Vec<PeerId>, other: &mut Vec<PeerId>) {
    if peers.is_empty() {
        return;
    }
    if !other.is_empty() {
        let noted: HashSet<&PeerId> = peers.iter().collect();
        other.retain(|known| !noted.contains(known));
    }
    let mut known: HashSet<PeerId> = list.iter().copied().collect();
    list.extend(peers.into_iter().filter(|peer| known.insert(*peer)));
    list.drain(..list.len().saturating_sub(MOST));
}

impl Outbox {
    /// There is news of a content, of peers that have joined and that are gone; none at all is an answer, too. `charge` is told by how many
    /// bytes more wait now, before any of it can be taken.
    pub(crate) fn add(
        &self,
        content: ContentId,
        (joined, gone): (Vec<PeerId>, Vec<PeerId>),
        haste: Haste,
        charge: impl FnOnce(i64),
    ) {
        let mut waiting = lock(&self.waiting);
        waiting.hurry |= haste == Haste::Now;
        let Queue { news, order, .. } = &mut *waiting;
        let mut before = 0;
        let news = news.entry(content).and_modify(|news| before = news.cost()).or_insert_with(|| {
            order.push_back(content);
            News::default()
        });
        note(joined, &mut news.joined, &mut news.gone);
        note(gone, &mut news.gone, &mut news.joined);
        charge(news.cost() - before);
        drop(waiting);
        self.more.notify_one();
    }

    /// Says something that does not wait for news. False if too much of that waits already.
    pub(crate) fn say(&self, message: TrackerEvent) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.said.len() >= MOST_SAID {
            return false;
        }
        waiting.said.push_back(message);
        waiting.hurry = true;
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// Takes what is said before any news.
    pub(crate) fn take_said(&self) -> Option<TrackerEvent> {
        lock(&self.waiting).said.pop_front()
    }

    /// Waits until there is something to tell, and it is time to.
    pub(crate) async fn filled(&self) {
        loop {
            match self.due() {
                None => self.more.notified().await,
                Some(due) if due <= Instant::now() => return,
                // Few ever wait for a time, which takes no room in the task of each.
                Some(due) => drop(Box::pin(timeout_at(due, self.more.notified())).await),
            }
        }
    }

    /// When to tell what there is to tell.
    fn due(&self) -> Option<Instant> {
        let waiting = lock(&self.waiting);
        if waiting.order.is_empty() && waiting.said.is_empty() {
            return None;
        }
        let can_wait = !waiting.hurry && waiting.said.is_empty();
        let batch = waiting.told.filter(|_| can_wait).map(|told| told + BATCH);
        Some(batch.unwrap_or_else(Instant::now))
    }

    /// Takes as much as goes into a message. `charge` is told by how many bytes less wait now.
    pub(crate) fn take(&self, charge: impl FnOnce(i64)) -> Option<(ContentId, News)> {
        let mut waiting = lock(&self.waiting);
        let Queue { hurry, told, news, order, .. } = &mut *waiting;
        let Some(content) = order.pop_front() else {
            *hurry = false;
            return None;
        };
        *told = Some(Instant::now());
        let mut here = news.remove(&content)?;
        let before = here.cost();
        let rest = |list: &mut Vec<PeerId>| list.split_off(list.len().min(A_MESSAGE));
        let later = News { joined: rest(&mut here.joined), gone: rest(&mut here.gone) };
        let mut less = before;
        if later != News::default() {
            less -= later.cost();
            news.insert(content, later);
            order.push_back(content);
        }
        if order.is_empty() {
            // An outbox that held much keeps no room for it.
            (waiting.news, waiting.order) = Default::default();
        }
        charge(-less);
        Some((content, here))
    }

    /// Contents of which there are news.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.lock().unwrap().news.len()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn content(n: u8) -> ContentId {
        ContentId(Digest([n; 32]))
    }

    fn peer(n: u32) -> PeerId {
        PeerId::of_public_key(&n.to_le_bytes())
    }

    #[test]
    fn whatever_happens_to_a_content_waits_once() {
        let outbox = Outbox::default();
        let mut held = 0;
        for _ in 0..100_000 {
            outbox.add(content(1), ((0..50).map(peer).collect(), vec![]), Haste::Soon, |more| held += more);
        }
        assert_eq!((outbox.len(), held), (1, cost::news(50) as i64));
        for round in 0..1000 {
            outbox.add(content(1), (vec![peer(1000 + round)], vec![]), Haste::Soon, |more| held += more);
            outbox.add(content(1), (vec![], vec![peer(1000 + round)]), Haste::Soon, |more| held += more);
        }
        assert_eq!((outbox.len(), held), (1, cost::news(50 + MOST) as i64), "those who came and went meanwhile");
        let mut named = 0;
        while let Some((_, news)) = outbox.take(|more| held += more) {
            named += news.joined.len();
        }
        assert_eq!((named, held, outbox.len()), (50, 0, 0));
    }

    #[test]
    fn the_oldest_news_make_room_for_the_last() {
        let outbox = Outbox::default();
        let most = MOST as u32;
        outbox.add(content(1), ((0..most).map(peer).collect(), vec![]), Haste::Soon, |_| ());
        outbox.add(content(1), ((most - 5..most + 5).map(peer).collect(), vec![]), Haste::Soon, |_| ());
        let (_, news) = outbox.take(|_| ()).unwrap();
        assert_eq!(news.joined, (5..5 + A_MESSAGE as u32).map(peer).collect::<Vec<_>>());
    }

    #[test]
    fn news_are_said_in_turn_and_in_parts() {
        let outbox = Outbox::default();
        let mut held = 0;
        let many = ((0..100).map(peer).collect(), (200..270).map(peer).collect());
        outbox.add(content(1), many, Haste::Soon, |more| held += more);
        outbox.add(content(2), (vec![], vec![]), Haste::Soon, |more| held += more);
        let mut said = Vec::new();
        while let Some((content, news)) = outbox.take(|more| held += more) {
            said.push((content, news.joined.len(), news.gone.len()));
        }
        assert_eq!(said, [(content(1), 64, 64), (content(2), 0, 0), (content(1), 36, 6)]);
        assert_eq!(held, 0);
    }

    #[test]
    fn who_comes_back_is_not_gone() {
        let outbox = Outbox::default();
        outbox.add(content(1), (vec![], vec![peer(1)]), Haste::Soon, |_| ());
        outbox.add(content(1), (vec![peer(1)], vec![]), Haste::Soon, |_| ());
        let (_, news) = outbox.take(|_| ()).unwrap();
        assert_eq!(news, News { joined: vec![peer(1)], gone: vec![] });
    }

    #[tokio::test(start_paused = true)]
    async fn news_that_can_wait_come_once_a_second_and_an_answer_at_once() {
        let (outbox, began) = (Outbox::default(), Instant::now());
        let add = |number, haste| outbox.add(content(1), (vec![peer(number)], vec![]), haste, |_| ());
        let take_all = || std::iter::from_fn(|| outbox.take(|_| ())).map(|(_, news)| news.joined.len()).sum::<usize>();
        add(1, Haste::Soon);
        outbox.filled().await;
        assert_eq!((take_all(), began.elapsed()), (1, Duration::ZERO), "the first at once");
        add(2, Haste::Soon);
        assert!(tokio::time::timeout(BATCH / 2, outbox.filled()).await.is_err());
        add(3, Haste::Soon);
        outbox.filled().await;
        assert_eq!((take_all(), began.elapsed()), (2, BATCH));
        add(4, Haste::Soon);
        add(5, Haste::Now);
        outbox.filled().await;
        assert_eq!((take_all(), began.elapsed()), (2, BATCH), "with the answer, what waited");
        add(6, Haste::Soon);
        outbox.filled().await;
        assert_eq!((take_all(), began.elapsed()), (1, 2 * BATCH));
    }
}
