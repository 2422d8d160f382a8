//! Asking several trackers the same: the answers are put together, and one that does not answer holds up nobody for long.

use std::collections::HashMap;
use std::time::Duration;

use protocol::{ContentId, ContentMatch};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::command::{Command, Commands};
use crate::error::PeerError;
use crate::net::tracker::Page;
use crate::tracker_status::{TrackerNumber, TrackerStatus};

/// When one has answered, the others have so long.
const OTHERS: Duration = Duration::from_secs(1);
/// A tracker has so long for a page of what it knows, if there are others.
const PAGE: Duration = Duration::from_secs(2);

/// Bits of a place in a tracker's list; the others say which tracker.
const PLACE: u32 = 58;
/// The beginning of a list, which no tracker gives as a place in it.
const START: u64 = (1 << PLACE) - 1;
/// As many trackers can be told apart as the other bits have numbers.
const LAST: u64 = (1 << (u64::BITS - PLACE)) - 1;

/// What several trackers have said.
pub(crate) struct Answers<T> {
    /// In the order of the trackers.
    pub(crate) answers: Vec<T>,
    /// What those are called that have not answered.
    pub(crate) silent: Vec<String>,
}

/// Asks all of them. Fails if none answers.
pub(crate) async fn ask_all<T: Send + 'static>(
    commands: &Commands,
    trackers: Vec<TrackerStatus>,
    question: impl Fn(TrackerNumber, oneshot::Sender<Result<T, PeerError>>) -> Command + Clone + Send + 'static,
) -> Result<Answers<T>, PeerError> {
    let mut asked = JoinSet::new();
    for (place, tracker) in trackers.iter().enumerate() {
        let (commands, question, number) = (commands.clone(), question.clone(), tracker.number);
        asked.spawn(async move {
            let answer = commands.ask(move |reply| question(number, reply)).await.and_then(|answer| answer);
            (place, answer)
        });
    }
    let (mut answered, mut error, mut until) = (HashMap::new(), None, None);
    loop {
        let next = match until {
            None => asked.join_next().await,
            Some(until) => timeout_at(until, asked.join_next()).await.unwrap_or(None),
        };
        match next {
            Some(Ok((place, Ok(answer)))) => {
                until.get_or_insert_with(|| Instant::now() + OTHERS);
                answered.insert(place, answer);
            }
            Some(Ok((_, Err(failed)))) => drop(error.get_or_insert(failed)),
            Some(Err(_)) => {}
            None => break,
        }
    }
    if answered.is_empty() {
        return Err(error.unwrap_or(PeerError::NoTracker));
    }
    let (mut answers, mut silent) = (Vec::new(), Vec::new());
    for (place, tracker) in trackers.into_iter().enumerate() {
        match answered.remove(&place) {
            Some(answer) => answers.push(answer),
            None => silent.push(tracker.place),
        }
    }
    Ok(Answers { answers, silent })
}

/// A page of what several trackers know, one after the other; and what those are called that have not answered.
pub(crate) async fn list(
    commands: &Commands,
    trackers: &[TrackerStatus],
    before: Option<u64>,
) -> Result<(Page, Vec<String>), PeerError> {
    let (first, mut inner) = before.map_or((0, None), decode);
    let mut silent = Vec::new();
    for (turn, tracker) in trackers.iter().enumerate().skip(first) {
        let ask = commands.ask(|reply| Command::List { tracker: tracker.number, before: inner, reply });
        let answer = timeout_at(Instant::now() + PAGE, ask).await;
        let behind = || (turn + 1 < trackers.len()).then(|| encode(turn + 1, START));
        match answer {
            Ok(Ok(Ok(page))) => {
                // A tracker that says the same again would never end.
                let next = page.next.filter(|next| *next < inner.unwrap_or(START));
                let next = next.map(|next| encode(turn, next)).or_else(behind);
                return Ok((Page { contents: page.contents, next }, silent));
            }
            Ok(Err(ended)) => return Err(ended),
            _ => silent.push(tracker.place.clone()),
        }
        inner = None;
    }
    // Those before have answered.
    if before.is_some() { Ok((Page { contents: Vec::new(), next: None }, silent)) } else { Err(PeerError::NoTracker) }
}

/// Later pages have smaller numbers, as those of one tracker do.
fn encode(turn: usize, place: u64) -> u64 {
    (LAST - turn as u64) << PLACE | place
}

fn decode(before: u64) -> (usize, Option<u64>) {
    let (turn, place) = ((LAST - (before >> PLACE)) as usize, before & START);
    (turn, Some(place).filter(|place| *place != START))
}

/// What several trackers have found, best first: in turns, so that none hides what another says.
pub(crate) fn in_turns(lists: Vec<Vec<ContentMatch>>) -> Vec<ContentMatch> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return merged(all);
        }
    }
}

/// Puts what several trackers say of one content together. A content is announced to several, so its peers are not counted
/// twice: there are at least as many as the tracker knows that knows most.
pub fn merged(matches: Vec<ContentMatch>) -> Vec<ContentMatch> {
    let (mut places, mut all) = (HashMap::<ContentId, usize>::new(), Vec::<ContentMatch>::new());
    for found in matches {
        match places.get(&found.content) {
            None => {
                places.insert(found.content, all.len());
                all.push(found);
            }
            Some(&place) => {
                let known = &mut all[place];
                if known.name.is_empty() {
                    (known.name, known.size) = (found.name, found.size);
                }
                known.seeders = known.seeders.max(found.seeders);
                known.others = known.others.max(found.others);
                known.downloaders = known.downloaders.max(found.downloaders);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn found(content: u8, name: &str, seeders: u32) -> ContentMatch {
        let content = ContentId(Digest([content; 32]));
        ContentMatch { content, name: name.to_owned(), size: 1, seeders, others: 0, downloaders: 0 }
    }

    #[test]
    fn answers_are_put_together_in_turns_and_each_content_once() {
        let all = in_turns(vec![
            vec![found(1, "a", 1), found(2, "", 2), found(3, "c", 1)],
            vec![found(4, "d", 1), found(2, "b", 5)],
            vec![],
        ]);
        let said: Vec<_> = all.iter().map(|found| (found.content.0.0[0], &found.name[..], found.seeders)).collect();
        assert_eq!(said, [(1, "a", 1), (4, "d", 1), (2, "b", 5), (3, "c", 1)]);
    }

    #[test]
    fn places_in_lists_of_several_trackers_go_down_to_the_last() {
        let places = [encode(0, START), encode(0, 900), encode(0, 0), encode(1, START), encode(1, 7), encode(63, 0)];
        assert!(places.is_sorted_by(|one, other| one > other));
        assert_eq!(places.map(decode)[1..5], [(0, Some(900)), (0, Some(0)), (1, None), (1, Some(7))]);
    }
}
