//! What is shared while it is: its tickets and codes, what is added, and when it is over.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use peer::{CodeEvent, PeerEvent, ShareBuilder, Shares, TrackerAddress};
use protocol::{ContentId, PeerId, Query, Secret, Ticket, TicketTracker, printable};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use transport::{Likelihood, OwnAddress};

use super::expiry::Moment;
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::guess::quoted;
use crate::session::Session;
use crate::session::codes::Codes;
use crate::session::connect::TRACKER_PORT;
use crate::session::mapped::{Mapped, MappedPort};
use crate::session::place::{Place, is_better, is_private};
use crate::session::secrets::Secrets;
use crate::ui::sentence::capitalised;

/// Most addresses of all trackers in a ticket together.
const TICKET_ADDRESSES: usize = 16;

/// What is shared, and what its tickets say.
pub(super) struct Shared {
    pub(super) tracker: PeerId,
    /// More trackers elsewhere, in tickets beside the first one.
    pub(super) others: Vec<TrackerAddress>,
    /// Whether the tracker runs in this process.
    pub(super) is_own: bool,
    /// Whether machines on this network find that tracker.
    pub(super) is_near: bool,
    pub(super) place: Place,
    /// The ports that a router forwards.
    pub(super) mapped: watch::Receiver<Mapped>,
    /// The addresses in the tickets.
    pub(super) told: Vec<OwnAddress>,
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
    /// Says how what is shared openly can be had on this network.
    pub(super) fn say_names(&self, session: &Session) {
        let names = self.contents.iter().filter_map(|(content, _)| session.called(*content));
        let names: Vec<_> = names.filter(|name| Query::is_name(name)).collect();
        names.iter().for_each(|name| session.note(&format!("On this network: peer-cli get {}", quoted(name))));
        if !names.is_empty() {
            session.note(&format!("The id to compare there: {}", self.tracker));
        }
    }

    /// The addresses that a ticket has: those of this machine, and those at which a router forwards the tracker's port.
    pub(super) fn addresses(&self) -> Vec<OwnAddress> {
        self.place.with_mapped(&self.mapped.borrow().ports)
    }

    /// Says with which ticket a content can be had.
    pub(super) async fn give_ticket(
        &mut self,
        session: &Session,
        number: usize,
        of_several: Option<&str>,
    ) -> Result<(), Failure> {
        let no_ticket = |error| Failure::new(ExitCode::Other, format!("there is no ticket: {error}"));
        let addresses = self.told.iter().map(|own| own.address).collect();
        let (content, secret) = self.contents[number];
        let ticket = match secret {
            _ if !self.others.is_empty() => Ticket::of_trackers(self.all_trackers(addresses), content, secret),
            // This process cannot lie to itself: its tracker tells the content to holders of the ticket.
            Some(secret) => Ticket::private(self.tracker, addresses, secret, (!self.is_own).then_some(content)),
            None => Ticket::new(self.tracker, addresses, content),
        };
        let ticket = ticket.map_err(no_ticket)?;
        session.ticket(content, &ticket, of_several, self.qr)?;
        let command = self.before_code();
        if let Some(codes) = &mut self.codes {
            codes.set_command(command);
            codes.offer(session, content, ticket).await;
        }
        Ok(())
    }

    /// All trackers of a ticket, the first of which is at these addresses. Of all addresses that others have, each tracker gets as
    /// many as there is room for.
    fn all_trackers(&self, first: Vec<SocketAddr>) -> Vec<TicketTracker> {
        let others = self.others.iter().map(|other| {
            let addresses = Place::Known(other.addresses.clone()).for_ticket();
            (other.id, addresses.into_iter().map(|own| own.address).collect::<Vec<_>>())
        });
        let all: Vec<_> = std::iter::once((self.tracker, first)).chain(others).collect();
        // A name may lead nowhere now.
        let all: Vec<_> = all.into_iter().filter(|(_, addresses)| !addresses.is_empty()).collect();
        let room = (TICKET_ADDRESSES / all.len().max(1)).max(1);
        let tracker = |(id, mut addresses): (PeerId, Vec<SocketAddr>)| {
            addresses.truncate(room);
            TicketTracker { id, addresses }
        };
        all.into_iter().map(tracker).collect()
    }

    /// What is typed elsewhere before a code: it has to name a tracker that both know, unless that is found on the network.
    pub(super) fn before_code(&self) -> String {
        if self.is_near && self.told.first().is_some_and(|own| is_private(own.address.ip())) {
            return "peer-cli get".to_owned();
        }
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse();
        let is_here = |host: &str| host == "localhost" || bare(host).is_ok_and(|ip: IpAddr| ip.is_loopback());
        let told = self.told.first().map(|own| own.address);
        let port = match &self.place {
            Place::Known(known) => known.first().map(SocketAddr::port),
            _ => told.map(|told| told.port()),
        };
        let host = match (&self.host, told) {
            (Some(host), _) if !is_here(host) => host.clone(),
            (_, Some(told)) => told.ip().to_string(),
            (host, None) => host.clone().unwrap_or_else(|| "localhost".to_owned()),
        };
        if let Some(several) = self.host.as_ref().filter(|host| host.contains(',')) {
            let port = self.named_port.filter(|&port| port != TRACKER_PORT);
            let port = port.map_or_else(String::new, |port| format!(" -d {port}"));
            return format!("peer-cli get -i {several}{port}");
        }
        match port.filter(|&port| port != TRACKER_PORT) {
            Some(port) => format!("peer-cli get -i {host} -d {port}"),
            None => format!("peer-cli get -i {host}"),
        }
    }

    /// Whether everything has as many receivers as it is for. What was stopped meanwhile is for none.
    fn all_received(&self) -> bool {
        let shared = self.contents.iter().filter(|(content, _)| self.shares.contains(*content));
        shared.clone().count() > 0 && shared.clone().all(|(content, _)| self.shares.is_complete(*content))
    }

    /// Whether no other machine can be meant to get here, though nobody has said so.
    pub(super) fn leads_nowhere(&self) -> bool {
        let everywhere = |listening: &Vec<SocketAddr>| listening.iter().any(|address| address.ip().is_unspecified());
        let here = matches!(&self.place, Place::Here(listening) if everywhere(listening));
        here && self.told.iter().all(|own| own.likelihood == Likelihood::Loopback)
    }

    /// Notes what is shared from now on. False if it was shared already.
    pub(super) fn is_new(&mut self, session: &Session, path: &Path, content: ContentId) -> bool {
        if self.contents.iter().any(|(shared, _)| *shared == content) {
            // Another ticket would void the code of before.
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
        let mut mapped = self.mapped.clone();
        let (mut begun, mut is_withdrawn) = (Some(begun), false);
        // Hashed beside all that follows, since it may take long.
        let mut adding = self.next_named(&mut named, &mut begun)?;
        self.announce_mapped(session).await;
        loop {
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
                // A router that has granted nothing says nothing more.
                Ok(()) = mapped.changed() => {
                    self.announce_mapped(session).await;
                    self.renew(session).await;
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

    /// Tells others where a router forwards the ports of this node.
    async fn announce_mapped(&self, session: &Session) {
        let listeners = session.node.listeners();
        let is_peer = |mapped: &&MappedPort| listeners.iter().any(|listener| listener.port() == mapped.port);
        let ports = self.mapped.borrow().ports.clone();
        let addresses = ports.iter().filter(is_peer).map(|mapped| mapped.address).collect();
        session.node.announce_also(addresses).await;
    }

    /// Gives new tickets when those from before lead here no more: this machine has other addresses, or its network is up now; or
    /// when a router lets others in.
    async fn renew(&mut self, session: &Session) {
        let told = self.addresses();
        let is_mapped =
            |own: &OwnAddress| self.mapped.borrow().ports.iter().any(|mapped| mapped.address == own.address);
        let is_new = |own: &OwnAddress| is_mapped(own) && self.told.iter().all(|other| other.address != own.address);
        let sentence = if is_better(&told, &self.told) {
            "This machine has other addresses now. Tickets from before may not lead here any more; these do:"
        } else if told.iter().any(is_new) {
            "The router lets others in now. These tickets lead here from other networks, too:"
        } else {
            return;
        };
        self.told = told;
        session.note(sentence);
        for number in 0..self.contents.len() {
            // What was stopped meanwhile has no name any more.
            if let Some(name) = session.called(self.contents[number].0) {
                if let Err(failure) = self.give_ticket(session, number, Some(&name)).await {
                    say_no_ticket(session, failure);
                }
            }
        }
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
