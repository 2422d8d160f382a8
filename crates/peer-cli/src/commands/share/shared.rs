//! What is shared while it is: its tickets and codes, what is added, and when it is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use peer::{CodeEvent, PeerEvent, ShareBuilder, Shares, TrackerAddress, TrackerStatus};
use protocol::{ContentId, MAX_TICKET_TRACKERS, PeerId, Query, Secret, Ticket, TicketTracker, printable};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use transport::{Likelihood, OwnAddress};

use super::expiry::Moment;
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::guess::quoted;
use crate::session::Session;
use crate::session::bind::TRACKER_PORT;
use crate::session::codes::{CodeCommand, Codes};
use crate::session::mapped::{Mapped, MappedPort};
use crate::session::place::{Place, is_better, is_private, is_public, is_public_ipv4};
use crate::session::secrets::Secrets;
use crate::ui::sentence::capitalised;

/// Most addresses of all trackers in a ticket together.
const TICKET_ADDRESSES: usize = 16;

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

    /// Those at which a router forwards the tracker's port.
    pub(super) fn forwarded(&self) -> Vec<SocketAddr> {
        self.place.forwarded(&self.mapped.borrow().ports)
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
    pub(super) fn before_code(&self) -> CodeCommand {
        // Where this machine is seen from everywhere, that is of use to more people.
        let public = self.told.iter().find(|own| is_public_ipv4(own));
        let told = public.or(self.told.first()).map(|own| own.address);
        let near = told.is_some_and(|told| is_private(told.ip()));
        if self.is_near && near {
            return CodeCommand { words: "peer-cli get".to_owned(), near };
        }
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse();
        let is_here = |host: &str| host == "localhost" || bare(host).is_ok_and(|ip: IpAddr| ip.is_loopback());
        let port = match &self.place {
            Place::Known(known) => known.first().map(SocketAddr::port),
            _ => told.map(|told| told.port()),
        };
        let (host, near) = match (&self.host, told) {
            (Some(host), _) if !is_here(host) => (host.clone(), false),
            (_, Some(told)) => (told.ip().to_string(), near),
            (host, None) => (host.clone().unwrap_or_else(|| "localhost".to_owned()), false),
        };
        if let Some(several) = self.host.as_ref().filter(|host| host.contains(',')) {
            let port = self.named_port.filter(|&port| port != TRACKER_PORT);
            let port = port.map_or_else(String::new, |port| format!(" -d {port}"));
            return CodeCommand { words: format!("peer-cli get -i {several}{port}"), near: false };
        }
        let words = match port.filter(|&port| port != TRACKER_PORT) {
            Some(port) => format!("peer-cli get -i {host} -d {port}"),
            None => format!("peer-cli get -i {host}"),
        };
        CodeCommand { words, near }
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

    /// Tells others where a router forwards the ports of this node.
    async fn announce_mapped(&self, session: &Session) {
        let listeners = session.node.listeners();
        let is_peer = |mapped: &&MappedPort| listeners.iter().any(|listener| listener.port() == mapped.port);
        let ports = self.mapped.borrow().ports.clone();
        let addresses = ports.iter().filter(is_peer).map(|mapped| mapped.address).collect();
        session.node.announce_also(addresses).await;
    }

    /// Gives new tickets when those from before lead here no more: this machine has other addresses, or its network is up now; or
    /// when a router lets others in. Says so when it does that no more.
    async fn renew(&mut self, session: &Session) {
        let (told, forwarded) = (self.addresses(), self.forwarded());
        let change = Change::of((&told, &forwarded), (&self.told, &self.forwarded));
        let sentence = match change {
            Change::None => return,
            Change::Moved => {
                "This machine has other addresses now. Tickets from before may not lead here any more; these do:"
            }
            Change::Opened => "The router lets others in now. These tickets lead here from other networks, too:",
            Change::Reopened => {
                "The router is reached at another address or port now. Tickets from before lead here from this network alone; these \
                 lead here from others, too:"
            }
            Change::Closed => {
                let why = self.mapped.borrow().reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                session.note(&format!(
                    "The router lets nobody in any more{why}. Until it does, the tickets above lead here from this network alone."
                ));
                (self.told, self.forwarded, self.said_near) = (told, forwarded, true);
                return;
            }
        };
        (self.told, self.forwarded) = (told, forwarded);
        self.give_all(session, sentence).await;
    }

    /// Gives new tickets for everything.
    async fn give_all(&mut self, session: &Session, sentence: &str) {
        if self.contents.is_empty() {
            return;
        }
        session.note(sentence);
        for number in 0..self.contents.len() {
            // What was stopped meanwhile has no name any more.
            if let Some(name) = session.called(self.contents[number].0)
                && let Err(failure) = self.give_ticket(session, number, Some(&name)).await
            {
                say_no_ticket(session, failure);
            }
        }
    }

    /// Gives new tickets when a tracker elsewhere is at other addresses than those from before say.
    async fn follow(&mut self, session: &Session, joined: &[TrackerStatus]) {
        let Some((first, others)) = apart(&mut self.named, joined) else { return };
        let before = places(self.place.known(), self.tracker, &self.others);
        if !has_moved(&before, &places(&first.addresses, first.id, &others)) {
            return;
        }
        (self.place, self.others) = (Place::Known(first.addresses), others);
        self.told = self.addresses();
        let who = if self.others.is_empty() { "The" } else { "A" };
        let sentence = format!(
            "{who} tracker is at another address now. Tickets from before may not lead there any more; these do:"
        );
        self.give_all(session, &sentence).await;
    }

    /// Says once that nobody elsewhere gets here, where that is so.
    fn say_if_near(&mut self, session: &Session) {
        if let Some(sentence) = self.only_near().filter(|_| !self.said_near) {
            session.note(&sentence);
            self.said_near = true;
        }
    }

    /// That nobody elsewhere gets here, and what to do, where the router was asked to let others in and does not.
    fn only_near(&self) -> Option<String> {
        let mapped = self.mapped.borrow();
        let reason = mapped.reason.as_ref().filter(|_| mapped.asked && matches!(self.place, Place::Here(_)))?;
        let way_out = self.told.iter().find(|own| own.likelihood == Likelihood::DefaultRoute)?;
        if way_out.address.is_ipv6() || self.told.iter().any(is_public_ipv4) {
            return None;
        }
        let them = if self.contents.len() == 1 { "This ticket leads" } else { "These tickets lead" };
        let over_ipv6 = self.told.iter().any(|own| is_public(own.address.ip()));
        let from = if over_ipv6 { "from other networks over IPv6 at most" } else { "from this network alone" };
        let port = way_out.address.port();
        Some(format!(
            "{them} here {from}: {reason}. For others, share with -i and a tracker that they reach; or forward port {port} in the \
             router, UDP and TCP, and give its public address with --ticket-address."
        ))
    }
}

/// What has become of the tickets that were given.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// They lead here as before.
    None,
    /// They may not lead here any more, and others do.
    Moved,
    /// Others lead here from other networks, too.
    Opened,
    /// They lead here from other networks no more, and others do.
    Reopened,
    /// They lead here from other networks no more, and no others do.
    Closed,
}

impl Change {
    /// By the addresses in tickets, and those of them at which a router forwards the tracker's port: as they are, and as they were.
    fn of(
        (told, forwarded): (&[OwnAddress], &[SocketAddr]),
        (old, old_forwarded): (&[OwnAddress], &[SocketAddr]),
    ) -> Self {
        let is_gone = !old_forwarded.is_empty() && !old_forwarded.iter().any(|address| forwarded.contains(address));
        // A machine whose network is down for a moment has no router to speak of.
        let is_up = || told.iter().any(|own| own.likelihood == Likelihood::DefaultRoute);
        if is_better(told, old) {
            Change::Moved
        } else if is_gone && !forwarded.is_empty() {
            Change::Reopened
        } else if is_gone && is_up() {
            Change::Closed
        } else if forwarded.iter().any(|address| !old_forwarded.contains(address)) {
            Change::Opened
        } else {
            Change::None
        }
    }
}

/// The trackers elsewhere, as they are told apart by what is known of those that were joined, the first one and the others. Where they are is
/// kept in `named`: of those that are gone now, it is known no better.
pub(super) fn apart(
    named: &mut [TrackerAddress],
    joined: &[TrackerStatus],
) -> Option<(TrackerAddress, Vec<TrackerAddress>)> {
    let each = named.iter_mut().flat_map(|tracker| {
        let apart = tracker.told_apart(joined);
        tracker.addresses = apart.iter().flat_map(|one| one.addresses.iter().copied()).collect();
        apart
    });
    let mut each: Vec<_> = each.take(MAX_TICKET_TRACKERS).collect();
    if each.is_empty() {
        return None;
    }
    let first = each.remove(0);
    Some((first, each))
}

/// Where each tracker of a ticket is. Several may have one id.
fn places(first: &[SocketAddr], id: PeerId, others: &[TrackerAddress]) -> BTreeMap<PeerId, BTreeSet<SocketAddr>> {
    let mut places: BTreeMap<PeerId, BTreeSet<SocketAddr>> = BTreeMap::new();
    places.entry(id).or_default().extend(first);
    for other in others {
        places.entry(other.id).or_default().extend(&other.addresses);
    }
    places
}

/// Whether one of the trackers is at none of the addresses at which it was.
fn has_moved(before: &BTreeMap<PeerId, BTreeSet<SocketAddr>>, now: &BTreeMap<PeerId, BTreeSet<SocketAddr>>) -> bool {
    before.iter().any(|(id, old)| now.get(id).is_some_and(|new| !new.is_empty() && new.is_disjoint(old)))
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
mod tests {
    use Likelihood::{DefaultRoute, Network};
    use protocol::{Algorithm, Digest};

    use super::*;

    fn at(address: &str, likelihood: Likelihood) -> OwnAddress {
        OwnAddress { address: address.parse().unwrap(), likelihood }
    }

    /// A share with a tracker in its process, of a machine with these addresses.
    fn shared(told: &[OwnAddress], mapped: Mapped) -> Shared {
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

    #[test]
    fn a_code_names_the_address_that_leads_here_from_everywhere() {
        let command = |told: &[OwnAddress]| {
            let CodeCommand { words, near } = shared(told, Mapped::default()).before_code();
            (words, near)
        };
        let home = at("192.168.1.5:9999", DefaultRoute);
        assert_eq!(command(&[home]), ("peer-cli get".to_owned(), true));
        let (public, other_port) = (at("203.0.113.7:9999", Network), at("203.0.113.7:4711", Network));
        assert_eq!(command(&[home, public]), ("peer-cli get -i 203.0.113.7".to_owned(), false));
        assert_eq!(command(&[home, other_port]), ("peer-cli get -i 203.0.113.7 -d 4711".to_owned(), false));
        // A firewall of the router keeps most from it.
        assert_eq!(command(&[home, at("[2001:db8::5]:9999", DefaultRoute)]).0, "peer-cli get");
        let far = Shared { is_near: false, ..shared(&[home], Mapped::default()) };
        assert_eq!(far.before_code(), CodeCommand { words: "peer-cli get -i 192.168.1.5".to_owned(), near: true });
        let named =
            Shared { host: Some("trk.example".to_owned()), is_near: false, ..shared(&[home], Mapped::default()) };
        assert_eq!(named.before_code(), CodeCommand { words: "peer-cli get -i trk.example".to_owned(), near: false });
    }

    #[test]
    fn that_nobody_elsewhere_gets_here_is_said_where_a_router_was_asked() {
        let refused = Mapped { asked: true, reason: Some("it says no".to_owned()), ..Mapped::default() };
        let said = |told: &[OwnAddress], mapped: &Mapped| shared(told, mapped.clone()).only_near();
        let (home, inner) = (at("192.168.1.5:9999", DefaultRoute), at("172.17.0.1:9999", Likelihood::Inner));
        let sentence = said(&[home], &refused).unwrap();
        assert!(sentence.starts_with("This ticket leads here from this network alone: it says no."), "{sentence}");
        assert!(sentence.contains("port 9999") && sentence.contains("-i"), "{sentence}");
        let over_ipv6 = said(&[home, at("[2001:db8::5]:9999", DefaultRoute)], &refused).unwrap();
        assert!(over_ipv6.contains("over IPv6 at most"), "{over_ipv6}");
        let (public, not_asked) = (at("203.0.113.7:9999", Network), Mapped { reason: None, ..refused.clone() });
        assert_eq!(said(&[home], &Mapped::default()), None, "it has not answered yet");
        assert_eq!(said(&[home], &not_asked), None);
        assert_eq!(said(&[home, public], &refused), None);
        assert_eq!(said(&[inner], &refused), None, "there is no other network");
        let elsewhere = Shared { place: Place::Told(vec![home.address]), ..shared(&[home], refused) };
        assert_eq!(elsewhere.only_near(), None, "somebody has said where it is");
    }

    #[test]
    fn what_becomes_of_tickets_follows_from_the_router_and_the_network() {
        let (home, moved) = (at("192.168.1.5:9", DefaultRoute), at("10.0.0.5:9", DefaultRoute));
        let (bridge, port) = (at("172.17.0.1:9", Likelihood::Inner), |n: u16| SocketAddr::from(([203, 0, 113, 7], n)));
        let of = |new: (&[OwnAddress], &[SocketAddr]), old: &[SocketAddr]| Change::of(new, (&[home], old));
        assert_eq!(of((&[home], &[]), &[]), Change::None);
        assert_eq!(of((&[home], &[port(1)]), &[]), Change::Opened);
        assert_eq!(of((&[home], &[port(1)]), &[port(1)]), Change::None);
        assert_eq!(of((&[home], &[port(1), port(2)]), &[port(1)]), Change::Opened);
        assert_eq!(of((&[home], &[port(2)]), &[port(1)]), Change::Reopened);
        assert_eq!(of((&[home], &[]), &[port(1)]), Change::Closed);
        assert_eq!(of((&[moved], &[]), &[port(1)]), Change::Moved);
        assert_eq!(of((&[bridge], &[]), &[port(1)]), Change::None, "its network is down, and may be back");
    }

    #[test]
    fn a_tracker_has_moved_if_it_is_nowhere_where_it_was() {
        let id = |name: &str| PeerId::of_public_key(name.as_bytes());
        let places = |all: &[(&str, &[&str])]| {
            let of = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            let other = |(name, at): &(&str, &[&str])| TrackerAddress { addresses: of(at), id: id(name), name: None };
            let others: Vec<_> = all[1..].iter().map(other).collect();
            super::places(&of(all[0].1), id(all[0].0), &others)
        };
        let [one, two, three] = ["45.10.1.1:9", "45.10.1.2:9", "45.10.1.3:9"];
        let moved = |before: &[(&str, &[&str])], now: &[(&str, &[&str])]| has_moved(&places(before), &places(now));
        assert!(moved(&[("a", &[one])], &[("a", &[two])]));
        assert!(!moved(&[("a", &[one])], &[("a", &[one, two])]));
        assert!(moved(&[("a", &[one]), ("b", &[two])], &[("a", &[one]), ("b", &[three])]));
        // Replicas behind one name have one id.
        assert!(!moved(&[("a", &[one]), ("a", &[two])], &[("a", &[three]), ("a", &[two])]));
        assert!(!moved(&[("a", &[one])], &[("a", &[])]), "nobody knows where it is");
    }
}
