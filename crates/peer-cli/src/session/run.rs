//! Reacting to what a command starts, to what happens in the node, to what is typed, and to time.

use std::net::SocketAddr;
use std::time::Duration;

use peer::json::{self, Event};
use peer::{LeftOut, LeftOver, Node, PeerError, PeerEvent, PeerId};
use protocol::printable;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use transport::{Kind, RELAY};

use crate::error::{ExitCode, Failure};
use crate::flags::end::End;
use crate::session::patience::{now, still_written_words};
use crate::session::reached::Way;
use crate::session::sharer::Sharer;
use crate::session::state::{Content, Session, SessionOptions};
use crate::ui::amounts::{amount, part_of};
use crate::ui::left_out;
use crate::ui::prompt::{Face, Typed};
use crate::ui::sentence::capitalised;
use crate::ui::signals::{Stop, heard, settle};

/// Time between two looks at how everything stands.
const TICK: Duration = Duration::from_millis(250);

/// What goes on after something happened.
pub(super) enum Next {
    GoOn,
    End,
    Stop(Stop),
}

impl Session {
    /// Runs until the peer is told to stop, is done, or fails. `work` starts what the command is for; it may go on beside that.
    pub async fn run(
        node: Node,
        options: SessionOptions,
        Face { screen, typed, mut signals }: Face,
        work: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if options.seeder {
            tokio::spawn(transport::warn_of_expiry());
        }
        let events = node.events();
        let session = Session::new(node, options, screen);
        // Until the first step is done there is nothing else to see.
        session.shows(session.options.first);
        let result = tokio::select! {
            result = session.life(events, typed, work) => result,
            signal = heard(&mut signals) => Ok(Some(Stop::Signal(signal))),
        };
        let result = match result {
            Ok(Some(stop)) => session.stopped(stop).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        session.draw_last();
        if session.screen.leave().await {
            settle(&mut signals).await;
        }
        let result = result.map_err(|mut failure| {
            failure.lines.extend(session.how_to_go_on());
            if !failure.quiet {
                session.screen.event(&failure.event());
            }
            Failure { told: true, ..failure }
        });
        // A second Ctrl-C ends it at once; an orderly end takes a moment at most.
        tokio::select! {
            () = session.goodbye(result.is_err()) => {}
            _ = heard(&mut signals) => {}
        }
        result.and_then(|()| session.words_arrived())
    }

    pub(super) async fn life(
        &self,
        mut events: broadcast::Receiver<PeerEvent>,
        mut typed: mpsc::Receiver<Typed>,
        work: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
    ) -> Result<Option<Stop>, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let work = work(self);
        tokio::pin!(work);
        let mut works = true;
        loop {
            let next = tokio::select! {
                result = &mut work, if works => {
                    works = false;
                    result?;
                    self.worked()?
                }
                Some(command) = typed.recv() => self.typed(command).await,
                event = events.recv() => match event {
                    Ok(event) => self.event(event)?,
                    // What still waits is older than what the statuses say.
                    Err(RecvError::Lagged(_)) => {
                        events = self.node.events();
                        self.look_at_contents()?
                    }
                    Err(RecvError::Closed) => return Err(Failure::new(ExitCode::Other, "the peer has ended")),
                },
                () = self.node.ended() => return Err(Failure::new(ExitCode::Other, "the peer has ended")),
                _ = tick.tick() => {
                    // What was told of before comes first.
                    let mut next = Next::GoOn;
                    while let (Next::GoOn, Ok(event)) = (&next, events.try_recv()) {
                        next = self.event(event)?;
                    }
                    if let Next::GoOn = next { self.tick().await? } else { next }
                }
            };
            match next {
                Next::GoOn => {}
                Next::End => return Ok(None),
                Next::Stop(stop) => return Ok(Some(stop)),
            }
        }
    }

    fn event(&self, event: PeerEvent) -> Result<Next, Failure> {
        match &event {
            PeerEvent::Manifest { pieces, have, size, files, all_files, all_size, .. } => {
                if files < all_files {
                    let part = part_of(*size, *all_size);
                    self.screen.say(&format!("{files} of {all_files} files, {part}"));
                }
                if *have > 0 && self.options.original {
                    self.screen.say(&format!("{have} of {pieces} pieces are here already."));
                } else if *have > 0 && have < pieces {
                    let here = (u128::from(*size) * u128::from(*have) / u128::from(*pieces)) as u64;
                    self.screen.say(&format!("{} of {} are here already.", amount(here), amount(*size)));
                }
            }
            PeerEvent::Hashing { path, done, total } if self.is_under_way(path) => self.hashing(path, *done, *total),
            PeerEvent::Hashing { .. } => {}
            PeerEvent::StillWritten { path, most } => {
                self.waiting_for("", &still_written_words(path, *most));
            }
            PeerEvent::Skipped { left_out } => self.skipped(left_out),
            PeerEvent::LeftOver { left_over, .. } => self.screen.say(&left_over_words(left_over)),
            PeerEvent::Connected { peer, address, transport, dialled } => {
                self.connected_from(*peer, *address);
                self.reached(*peer, *address, transport, *dialled);
                if !dialled && !self.state.borrow_mut().newcomers.one_more(now()) {
                    return Ok(Next::GoOn);
                }
            }
            // What matters of a content is in its status.
            PeerEvent::Lacking { .. }
            | PeerEvent::Completed { .. }
            | PeerEvent::Failed { .. }
            | PeerEvent::Withdrawn { .. } => return self.look_at_contents(),
            PeerEvent::Banned { peer } => {
                self.state.borrow_mut().liars += 1;
                self.screen.say(&format!("{} sent wrong pieces and is shut out.", self.banned(*peer)));
            }
            PeerEvent::ShareOver { content, reason } => {
                let mut state = self.state.borrow_mut();
                let entry = state.contents.get_mut(content);
                // A receiver that already has everything is not told why the share ended.
                if !entry.as_deref().is_some_and(Content::has_all) {
                    self.screen.say(&format!("Who shares it says: {reason}."));
                }
                if let Some(entry) = entry {
                    entry.over = Some(printable(reason));
                }
            }
            PeerEvent::Origin { content, origin, failure: None } => {
                if let Some(entry) = self.state.borrow_mut().contents.get_mut(content) {
                    entry.origin_failure = None;
                }
                self.screen.say(&format!("Reading from {} what nobody here has.", printable(origin)));
            }
            PeerEvent::Origin { content, failure: Some(reason), .. } => {
                let reason = printable(reason);
                // An address begins as it is written.
                let is_url = reason.split(' ').next().is_some_and(|word| word.contains("://"));
                let reason = if is_url { reason } else { capitalised(reason) };
                if let Some(entry) = self.state.borrow_mut().contents.get_mut(content) {
                    entry.origin_failure = Some(reason.clone());
                }
                self.screen.say(&format!("{reason}. It goes on with peers meanwhile."));
            }
            PeerEvent::TrackerLost if self.options.own_tracker => self.state.borrow_mut().own_tracker.lost(now()),
            // A sharer that has sent all goes at once, and its tracker with it: to who has all that is no news.
            PeerEvent::TrackerLost if self.options.end == End::Done && self.has_all() => {}
            PeerEvent::TrackerLost if self.sharer_lost() => {}
            PeerEvent::TrackerLost => self.screen.say("The tracker is gone; going on with the peers that are known."),
            PeerEvent::TrackerUnfit { error } => {
                let sentence = tracker_unfit_words(error);
                self.screen.say(&sentence);
                self.screen.event(&Event::TrackerUnfit(json::TrackerUnfit { reason: sentence }));
                return Ok(Next::GoOn);
            }
            PeerEvent::TrackerBack if self.options.own_tracker => {
                let said = self.state.borrow_mut().own_tracker.back();
                said.into_iter().for_each(|sentence| self.screen.say(sentence));
            }
            PeerEvent::TrackerBack => self.tracker_back(),
            _ => {}
        }
        Event::of(&event).iter().for_each(|event| self.screen.event(event));
        Ok(Next::GoOn)
    }

    /// The tracker is lost: whether it is the sharer's own, of whom something is said only if nobody else has what is missing.
    fn sharer_lost(&self) -> bool {
        let sharer = &mut self.state.borrow_mut().sharer;
        sharer.iter_mut().for_each(Sharer::lost);
        sharer.is_some()
    }

    fn tracker_back(&self) {
        let state = &mut *self.state.borrow_mut();
        let said = match &mut state.sharer {
            Some(sharer) => sharer.back(&state.addresses),
            None => Some("The tracker is back.".to_owned()),
        };
        said.into_iter().for_each(|sentence| self.screen.say(&sentence));
    }

    /// Says how a peer was reached, where that is not the usual way.
    fn reached(&self, peer: PeerId, address: SocketAddr, transport: &str, dialled: bool) {
        let was_relayed = self.through_relay(peer, transport == RELAY);
        let over_tcp = dialled && transport == "tcp" && self.options.transport == Kind::Auto;
        let way = match transport {
            RELAY => Way::Relay,
            _ if was_relayed => Way::Directly,
            _ if over_tcp => Way::Tcp,
            _ => return,
        };
        let said = self.state.borrow_mut().reached.say(address, way);
        said.iter().for_each(|sentence| self.screen.say(sentence));
    }

    /// A peer that is shut out, by its address and its id: the address may be another's tomorrow.
    fn banned(&self, peer: PeerId) -> String {
        let name = self.name_of(peer);
        let id = format!("Peer {peer}");
        if name.starts_with("peer ") { id } else { format!("{id} at {name}") }
    }

    fn skipped(&self, left_out: &[LeftOut]) {
        left_out::words(left_out).iter().for_each(|line| self.screen.say(line));
    }

    /// Says what is waited for.
    pub(super) fn waiting_for(&self, content: &str, sentence: &str) {
        self.screen.say(sentence);
        self.screen.event(&Event::Waiting(json::Waiting { content: content.to_owned(), reason: sentence.to_owned() }));
    }
}

/// What became of what an earlier download had left.
fn left_over_words(LeftOver { path, size, reused, .. }: &LeftOver) -> String {
    let path = path.display();
    match reused {
        0 => format!(
            "Replacing {} that an earlier download had left in {path}: nothing of it can be reused.",
            amount(*size)
        ),
        _ => format!(
            "Reusing {} that an earlier download had left in {path}; the rest of it is replaced.",
            part_of(*reused, *size)
        ),
    }
}

/// Why a tracker that is lost does not come back by itself, and what to do.
fn tracker_unfit_words(error: &PeerError) -> String {
    let advice = match error {
        PeerError::WrongTracker { .. } => {
            "If the tracker was set up anew, start again with its new id (--tracker-id, or the folder of its certificate with \
             --certs), or with a new ticket"
        }
        _ => "It will be asked again",
    };
    let error = capitalised(error);
    format!("{error}. {advice}; until then it goes on with the peers that are known.")
}
