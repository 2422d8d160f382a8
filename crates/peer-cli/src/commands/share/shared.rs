//! What is shared while it is: its tickets and codes, what is added, and when it is over.

mod renewal;
mod tickets;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use peer::{CodeEvent, PeerEvent, ShareBuilder, Shares, TrackerAddress};
use protocol::{ContentId, PeerId, Secret, printable};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use transport::OwnAddress;

use super::expiry::Moment;
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::session::Session;
use crate::session::codes::Codes;
use crate::session::mapped::Mapped;
use crate::session::place::Place;
use crate::session::secrets::Secrets;
use crate::ui::sentence::capitalised;
pub(super) use renewal::apart;

/// What is shared, and what its tickets say.
pub(super) struct Shared {
    pub(super) tracker: PeerId,
    /// More trackers elsewhere, in tickets beside the first one.
    pub(super) others: Vec<TrackerAddress>,
    /// The trackers elsewhere as they were named, wherever that leads by now; none if the ticket's address was given.
    pub(super) named: Vec<TrackerAddress>,
    /// Whether the tracker runs in this process.
    pub(super) is_own: bool,
    /// Whether machines on this network find that tracker.
    pub(super) is_near: bool,
    pub(super) place: Place,
    /// The ports that a router forwards.
    pub(super) mapped: watch::Receiver<Mapped>,
    /// The addresses in the tickets.
    pub(super) told: Vec<OwnAddress>,
    /// Those of them at which a router forwards the tracker's port. All tickets have them.
    pub(super) forwarded: Vec<SocketAddr>,
    /// Whether it was said that nobody else gets here.
    pub(super) said_near: bool,
    /// Whether tickets are drawn, too.
    pub(super) qr: bool,
    pub(super) cut: Cut,
    /// Nothing if all is open.
    pub(super) secrets: Option<Secrets>,
    pub(super) shares: Arc<Shares>,
    /// As many receivers as each content is for.
    pub(super) receivers: Option<u32>,
    /// What is shared, and its secret unless it is open.
    pub(super) contents: Vec<(ContentId, Option<Secret>)>,
    /// When the first of it could be had. What takes long to hash does not expire meanwhile.
    pub(super) since: Option<Moment>,
    /// The tracker's host as it was named, if it runs elsewhere.
    pub(super) host: Option<String>,
    /// The port that was named beside it.
    pub(super) named_port: Option<u16>,
    /// Nothing if there are to be none.
    pub(super) codes: Option<Codes>,
    /// Whether something may be added by typing it.
    pub(super) takes_commands: bool,
}

impl Shared {
    /// Whether everything has as many receivers as it is for. What was stopped meanwhile is for none.
    fn all_received(&self) -> bool {
        let shared = self.contents.iter().filter(|(content, _)| self.shares.contains(*content));
        shared.clone().count() > 0 && shared.clone().all(|(content, _)| self.shares.is_complete(*content))
    }

    /// Notes what is shared from now on. False if it was shared already.
    pub(super) fn is_new(&mut self, session: &Session, path: &Path, content: ContentId) -> bool {
        if self.contents.iter().any(|(shared, _)| *shared == content) {
            // It has a ticket and a code.
            session.note(&format!("{} is shared already.", printable(&path.display().to_string())));
            return false;
        }
        self.since.get_or_insert_with(Moment::now);
        self.shares.limit(content, self.receivers);
        self.contents.push((content, self.secrets.as_ref().map(|secrets| secrets(content))));
        true
    }

    /// Goes on until as many receivers have everything as there may be: shares the other paths that were `named` at the start, has it said
    /// when all have `begun`, shares what is added, and keeps tickets good. Fails if one of those paths cannot be shared, and once nothing
    /// is shared any more, unless something can be added.
    pub(super) async fn go_on<'a>(
        &mut self,
        session: &'a Session,
        events: &mut broadcast::Receiver<PeerEvent>,
        mut named: VecDeque<Adding<'a>>,
        begun: impl FnOnce(&Shared) -> Result<(), Failure>,
    ) -> Result<String, Failure> {
        let mut addresses = session.node.addresses();
        let (mut mapped, mut trackers) = (self.mapped.clone(), session.node.watch_trackers());
        let (mut begun, mut is_withdrawn) = (Some(begun), false);
        // Hashed beside all that follows, since it may take long.
        let mut adding = self.next_named(&mut named, &mut begun)?;
        self.announce_mapped(session).await;
        loop {
            if begun.is_none() {
                self.say_if_near(session);
            }
            if let Some(receivers) = self.receivers.filter(|_| adding.is_none() && self.all_received()) {
                let is_spent = self.contents.iter().any(|(content, _)| self.shares.is_spent(*content));
                let all = match receivers {
                    _ if is_spent => "more was sent than its receivers take".to_owned(),
                    1 => "its receiver has it".to_owned(),
                    _ => format!("all {receivers} receivers have it"),
                };
                return Ok(format!("this share is over: {all}"));
            }
            tokio::select! {
                changed = addresses.changed() => match changed {
                    Ok(()) => self.renew(session).await,
                    Err(_) => return std::future::pending().await,
                },
                () = session.next_end() => {
                    is_withdrawn = self.forget_ended(session);
                    if self.contents.is_empty() && adding.is_none() {
                        self.nothing_is_shared(session, is_withdrawn)?;
                    }
                }
                // Where no router is asked, nothing more comes of it.
                Ok(()) = mapped.changed() => {
                    self.announce_mapped(session).await;
                    self.renew(session).await;
                }
                Ok(()) = trackers.changed() => {
                    let joined = trackers.borrow_and_update().clone();
                    self.follow(session, &joined).await;
                }
                path = session.next_addition(), if adding.is_none() => adding = Some(self.add(session, path)),
                added = next_added(&mut adding) => {
                    let (path, content) = added?;
                    match self.added(session, &path, content).await {
                        Err(failure) if begun.is_some() => return Err(failure),
                        Err(failure) => say_no_ticket(session, failure),
                        Ok(()) => {}
                    }
                    adding = self.next_named(&mut named, &mut begun)?;
                    if adding.is_none() && self.contents.is_empty() {
                        self.nothing_is_shared(session, is_withdrawn)?;
                    }
                }
                (content, event) = next_code(&mut self.codes) => {
                    if let Some(codes) = &mut self.codes {
                        codes.say(session, content, event);
                    }
                }
                event = events.recv(), if self.receivers.is_some() => {
                    if let Err(RecvError::Closed) = event {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// What was stopped, or changed under us, has no code any more, and gets no new ticket. Says whether some of it had changed.
    fn forget_ended(&mut self, session: &Session) -> bool {
        let mut is_withdrawn = false;
        for (content, _) in self.contents.extract_if(.., |(content, _)| !session.is_here(*content)) {
            // What somebody has stopped has no name any more.
            is_withdrawn |= session.called(content).is_some();
            if let Some(codes) = &mut self.codes {
                codes.withdraw(session, content);
            }
        }
        is_withdrawn
    }

    /// Says that nothing is shared any more, where somebody can add something. It fails where nobody can, or where the end was to come
    /// by itself and cannot.
    fn nothing_is_shared(&self, session: &Session, is_withdrawn: bool) -> Result<(), Failure> {
        if !self.takes_commands || (is_withdrawn && self.receivers.is_some()) {
            let sentence = "nothing is shared any more. Start again to share what is there now";
            return Err(Failure::new(ExitCode::VerificationFailed, sentence));
        }
        session.note("Nothing is shared any more. Type add PATH to share something, or quit to end.");
        Ok(())
    }

    /// Begins to share something that was added while it runs.
    fn add<'a>(&self, session: &'a Session, path: PathBuf) -> Adding<'a> {
        let share = session.node.share(&path).algorithm(self.cut.hash).piece_size(self.cut.piece_size);
        let share = as_all(share, self.secrets.clone());
        Box::pin(async move {
            let content = session.share_added(&path, share).await;
            Ok((path, content))
        })
    }

    /// The next of the paths that were named at the start. When there is none any more, all have begun.
    fn next_named<'a>(
        &self,
        named: &mut VecDeque<Adding<'a>>,
        begun: &mut Option<impl FnOnce(&Shared) -> Result<(), Failure>>,
    ) -> Result<Option<Adding<'a>>, Failure> {
        let next = named.pop_front();
        if let Some(begun) = begun.take_if(|_| next.is_none()) {
            begun(self)?;
        }
        Ok(next)
    }

    /// Gives a ticket of what is shared now beside the rest. What was added and cannot be shared was told of.
    async fn added(&mut self, session: &Session, path: &Path, content: Option<ContentId>) -> Result<(), Failure> {
        let Some(content) = content.filter(|&content| self.is_new(session, path, content)) else { return Ok(()) };
        let name = session.called(content);
        self.give_ticket(session, self.contents.len() - 1, name.as_deref()).await
    }
}

/// What is to be shared, privately if there are secrets.
pub(super) fn as_all(share: ShareBuilder, secrets: Option<Secrets>) -> ShareBuilder {
    match secrets {
        Some(secrets) => share.private(move |content| secrets(content)),
        None => share,
    }
}

/// Says why there is no ticket of something that is shared beside others.
fn say_no_ticket(session: &Session, failure: Failure) {
    session.note(&format!("{}.", capitalised(failure.message)));
}

/// Its path, and the content unless it cannot be shared. What was named at the start fails then.
type Added = Result<(PathBuf, Option<ContentId>), Failure>;

/// Something that is hashed, to be shared as well.
pub(super) type Adding<'a> = Pin<Box<dyn Future<Output = Added> + 'a>>;

/// What was added, once it is shared; nothing ever if there is nothing.
async fn next_added(adding: &mut Option<Adding<'_>>) -> Added {
    match adding {
        Some(adding) => adding.await,
        None => std::future::pending().await,
    }
}

/// What becomes of a code next; nothing ever if there are none.
async fn next_code(codes: &mut Option<Codes>) -> (ContentId, CodeEvent) {
    match codes {
        Some(codes) => codes.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod fixtures {
    use protocol::{Algorithm, Digest};
    use transport::Likelihood;

    use super::*;

    pub(super) fn at(address: &str, likelihood: Likelihood) -> OwnAddress {
        OwnAddress { address: address.parse().unwrap(), likelihood }
    }

    /// A share with a tracker in its process, of a machine with these addresses.
    pub(super) fn shared(told: &[OwnAddress], mapped: Mapped) -> Shared {
        Shared {
            tracker: PeerId::of_public_key(b"tracker"),
            others: Vec::new(),
            named: Vec::new(),
            is_own: true,
            is_near: true,
            place: Place::Here(vec!["[::]:9999".parse().unwrap()]),
            mapped: watch::channel(mapped).1,
            told: told.to_vec(),
            forwarded: Vec::new(),
            said_near: false,
            qr: false,
            cut: Cut { hash: Algorithm::Blake3, piece_size: None },
            secrets: None,
            shares: Arc::default(),
            receivers: None,
            contents: vec![(ContentId(Digest([7; 32])), None)],
            since: None,
            host: None,
            named_port: None,
            codes: None,
            takes_commands: false,
        }
    }
}
