//! What comes due: progress lines, the end of patience, and the end of sharing on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peer::json::{self, Event};
use peer::{State as Phase, WaitingFor};
use protocol::{ContentId, PeerId};

use crate::error::{ExitCode, Failure};
use crate::flags::end::End;
use crate::session::patience::{SPEAK, how_long, now, shown};
use crate::session::run::Next;
use crate::session::standstill;
use crate::session::state::{Session, State};
use crate::ui::progress::Progress;

/// Time between two events that say how a download stands.
const BETWEEN_EVENTS: Duration = Duration::from_secs(1);

impl Session {
    pub(super) async fn tick(&self) -> Result<Next, Failure> {
        if let Next::End = self.look_at_contents()? {
            return Ok(Next::End);
        }
        let lacks_since = self.state.borrow().lacking_since.iter().map(|(&content, &since)| (since, content)).min();
        if let (Some((since, content)), Some(wait)) = (lacks_since, self.options.wait)
            && now().saturating_duration_since(since) >= wait
        {
            let over = self.state.borrow().contents.get(&content).and_then(|entry| entry.over.clone());
            if let Some(reason) = over {
                return Err(self.nothing_more_comes(content, &reason).await);
            }
            let kept = if self.keeps() { "What is here is kept: start" } else { "Start" };
            let sentence = format!(
                "nobody came within {} who has the missing pieces. {kept} again when they are back",
                shown(wait)
            );
            return Err(Failure::new(ExitCode::NobodyHasAPiece, sentence));
        }
        for content in self.pending() {
            self.stands_still(content).await?;
        }
        for content in self.ids() {
            self.tell_of_takers(content);
            self.show(content);
        }
        let unreached = self.state.borrow_mut().own_tracker.look(now());
        unreached.into_iter().for_each(|sentence| self.screen.say(sentence));
        self.say_loss();
        self.draw();
        Ok(if self.shared_enough() { Next::End } else { Next::GoOn })
    }

    /// Tells programs how a content stands, if that has changed, and notes it.
    fn show(&self, content: ContentId) {
        let mut state = self.state.borrow_mut();
        let Some(entry) = state.contents.get_mut(&content) else { return };
        let status = entry.status.borrow().clone();
        let progress = Progress::from(&status);
        let is_over = matches!(status.state, Phase::Failed(_) | Phase::Withdrawn(_) | Phase::Stopped);
        let is_due = !entry.pending || entry.told.is_none_or(|told| told.elapsed() >= BETWEEN_EVENTS);
        if is_over || entry.shown.as_ref() == Some(&progress) || (self.screen.is_json() && !is_due) {
            return;
        }
        if self.screen.is_json() {
            let Progress { name, have, pieces, received, sent, peers, .. } = progress.clone();
            let content = content.to_string();
            self.screen.event(&Event::Progress(json::Progress { content, name, have, pieces, received, sent, peers }));
            entry.told = Some(Instant::now());
        }
        entry.shown = Some(progress);
    }

    /// Says why nothing comes of a download, and ends it when that has lasted for too long.
    async fn stands_still(&self, content: ContentId) -> Result<(), Failure> {
        let (now, wait) = (now(), self.options.wait);
        {
            let mut state = self.state.borrow_mut();
            let Some(entry) = state.contents.get_mut(&content) else { return Ok(()) };
            let progress = Progress::from(&*entry.status.borrow());
            if progress.finished || !entry.still.look(now, progress.received, wait) {
                return Ok(());
            }
        }
        let Some(waiting) = self.node.waiting_for(content).await else { return Ok(()) };
        let busy = waiting == WaitingFor::Disk;
        let said = {
            let mut state = self.state.borrow_mut();
            let liars = state.liars;
            let lacks = state.lacking_since.contains_key(&content);
            let state = &mut *state;
            let several = state.contents.values().filter(|entry| entry.pending).count() > 1;
            let serves_others =
                matches!(&waiting, WaitingFor::Pieces { from, .. } if sends_others(state, content, from));
            let sharer_gone = state.sharer.as_ref().and_then(|sharer| sharer.gone(&waiting, &state.addresses));
            let Some(entry) = state.contents.get_mut(&content) else { return Ok(()) };
            entry.still.is_busy(now, busy);
            if let WaitingFor::Manifest { came, .. } = waiting {
                entry.still.manifest(now, came);
            }
            // Somebody has sent the manifest, or it was here.
            entry.wanted.is_in_doubt &= entry.status.borrow().pieces == 0;
            let failure = entry.origin_failure.as_deref();
            let has_origin = self.options.origin.is_some() || failure.is_some();
            let is_alone = !has_origin && standstill::is_alone(&waiting, &entry.status.borrow());
            let over = entry.over.as_deref().filter(|_| is_alone);
            // Pieces that nobody has are named after a moment, and waited for then.
            let pieces = matches!(waiting, WaitingFor::Pieces { .. });
            if pieces && lacks && over.is_none() {
                return Ok(());
            }
            let words = match (over, failure) {
                (Some(reason), _) => Some(standstill::after_over(reason)),
                (None, Some(failure)) => standstill::after_origin(&waiting, &entry.wanted, failure),
                (None, None) => sharer_gone.clone(),
            };
            let dialling = || standstill::Dialling::of(&self.node, self.options.transport);
            let words = words.unwrap_or_else(|| standstill::words(&waiting, &entry.wanted, &dialling()));
            let words = standstill::after_liars(liars, words);
            // A session that never ends by itself keeps waiting, and says so.
            let (doubt, wait) = match self.options.end {
                End::Never => (None, wait),
                _ => (
                    standstill::doubt(wait, &waiting, &entry.wanted, has_origin),
                    standstill::bound(wait, &waiting, has_origin, over.is_some()),
                ),
            };
            let (words, code, wait) = match doubt {
                Some(doubt) => (standstill::after_doubt(&entry.wanted, &words), ExitCode::NotFound, Some(doubt)),
                None => (words, ExitCode::NobodyHasAPiece, wait),
            };
            let wait = wait.map(|wait| if pieces { wait.max(SPEAK) } else { wait });
            match over {
                Some(reason) if entry.still.is_over(now, wait) => Err(reason.to_owned()),
                None if entry.still.is_over(now, wait) => {
                    let name = &entry.wanted.name;
                    return Err(standstill::gave_up(code, name, wait, &words, self.keeps()));
                }
                _ => {
                    let long = if busy { String::new() } else { format!(" Waiting {}.", how_long(wait)) };
                    let speaks = !serves_others && entry.still.speaks(now, &words);
                    if let Some(sharer) = state.sharer.as_mut().filter(|_| speaks && sharer_gone.is_some()) {
                        sharer.told();
                    }
                    // What holds up several is said of one of them; programs are told of each.
                    let is_news = speaks && (!several || state.repeats.is_news(now, &words));
                    let of = if several && !words.contains(&entry.wanted.name) {
                        format!("{}: ", entry.wanted.name)
                    } else {
                        String::new()
                    };
                    Ok(speaks.then(|| (format!("{of}{words}{long}"), is_news)))
                }
            }
        };
        match said {
            Ok(Some((sentence, is_news))) => {
                if is_news {
                    self.screen.say(&sentence);
                }
                self.screen.event(&Event::Waiting(json::Waiting { content: content.to_string(), reason: sentence }));
            }
            Ok(None) => {}
            Err(reason) => return Err(self.nothing_more_comes(content, &reason).await),
        }
        Ok(())
    }

    /// Whether as much was shared on as was asked for.
    fn shared_enough(&self) -> bool {
        let state = self.state.borrow();
        let (Some(since), End::Shared { time, ratio }) = (state.done_since, self.options.end) else { return false };
        let gave = |shown: &Option<Progress>| {
            let Some(Progress { sent, size, .. }) = shown else { return false };
            ratio.is_some_and(|ratio| *sent as f64 >= *size as f64 * ratio)
        };
        time.is_some_and(|time| since.elapsed() >= time) || state.contents.values().all(|content| gave(&content.shown))
    }
}

/// Whether other downloads get something from one of these addresses at the moment: then it is not silent, but has no turn for this one.
fn sends_others(state: &State, content: ContentId, from: &[SocketAddr]) -> bool {
    let now = now();
    let mut others = state.contents.iter().filter(|(other, entry)| **other != content && entry.still.is_moving(now));
    let sends = |peer: &PeerId| state.addresses.get(peer).is_some_and(|address| from.contains(address));
    others.any(|(_, entry)| entry.status.borrow().sources.keys().any(sends))
}
