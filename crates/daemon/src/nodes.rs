//! The nodes of a daemon. A node has the trackers of one swarm, so there is one for those that the daemon's own shares are announced
//! to, and one for those of each ticket that names others, for as long as something is downloaded or shared by it. What they send
//! and receive together stays below the same limits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use peer::{
    ContentId, Counters, MAX_TICKET_TRACKERS, Node, NodeBuilder, PeerId, Secret, Share, Shares, Ticket, TicketTracker,
    TrackerAddress, TrackerStatus, Waits,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::control::ContentStatus;
use crate::origin::{CheckUrl, OpenUrl};
use crate::silence::watch_trackers;

/// Nodes beside that of the daemon's own shares.
pub(crate) const MOST_OTHERS: usize = 64;
/// Most addresses of all trackers in a ticket together.
const TICKET_ADDRESSES: usize = 16;
/// Time between two attempts to reach a tracker: doubled each time up to the second, and spread.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest time for one attempt.
const ONE_TRY: Duration = Duration::from_secs(15);

/// Makes a node that is still to be started. An error is a sentence.
pub type NewNode = Box<dyn Fn() -> Result<NodeBuilder, String> + Send + Sync>;

/// Where others reach a tracker that this machine reaches at these addresses.
pub type AddressesOf = Box<dyn Fn(&[SocketAddr]) -> Vec<SocketAddr> + Send + Sync>;

/// The node for what this daemon shares.
pub struct Home {
    /// It, still to be started.
    pub node: NodeBuilder,
    /// The trackers that its shares are announced to; at least one.
    pub trackers: Vec<TrackerAddress>,
    /// Where others reach the first tracker, which is at these addresses, for tickets: it is asked again whenever this machine's
    /// addresses change.
    pub addresses: AddressesOf,
    /// Whether these are given by somebody: then all trackers of one name are behind them.
    pub is_told: bool,
    /// The secret of each content that is shared; none to share openly.
    pub secrets: Option<Arc<dyn Fn(ContentId) -> Secret + Send + Sync>>,
    /// The private shares of this process, if the tracker runs in it.
    pub own_tracker: Option<Arc<Shares>>,
    /// Opens what is shared from URLs, if that can be done.
    pub open_url: Option<OpenUrl>,
    /// Refuses URLs that can never be opened, before they are stored.
    pub check_url: Option<CheckUrl>,
}

/// What is known of a node's tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has not answered yet, for this reason if there was an attempt.
    Asking(String),
    /// It has said welcome, and which content a private ticket stands for.
    Joined(Option<ContentId>),
}

/// An entry that has taken a content.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) number: u64,
    /// How it stands.
    pub(crate) view: watch::Receiver<ContentStatus>,
    /// The patterns of the files that it wants; none for all of them.
    pub(crate) only: Vec<String>,
}

/// A node with its tracker.
pub(crate) struct Tracked {
    pub(crate) node: Node,
    pub(crate) told: watch::Receiver<Told>,
    /// So that nobody takes the end of the attempts for that of the node.
    _tell: watch::Sender<Told>,
    /// Why nobody new finds what is shared here, while none of its trackers answers; empty otherwise. Nothing is said of the tracker of
    /// a private share, which ends with that.
    pub(crate) silence: watch::Receiver<String>,
    joining: AbortHandle,
    watching: Option<AbortHandle>,
    /// Who has taken which content: nobody while one is stopped.
    claims: Mutex<HashMap<ContentId, Option<Owner>>>,
    /// Tells that a content was let go of.
    released: watch::Sender<()>,
    past: Arc<Mutex<(Counters, Waits)>>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut past = lock(&self.past);
        // Its connections end with it.
        let mut ended = self.node.counters();
        ended.connections = [0; 4];
        past.0.add(&ended);
        past.1.add(&self.node.waits());
        self.joining.abort();
        self.watching.iter().for_each(AbortHandle::abort);
    }
}

impl Tracked {
    fn new(
        node: Node,
        trackers: Vec<TrackerAddress>,
        secret: Option<Secret>,
        past: Arc<Mutex<(Counters, Waits)>>,
    ) -> Arc<Self> {
        let (tell, told) = watch::channel(Told::Asking(String::new()));
        let (say, silence) = watch::channel(String::new());
        let watching = secret.is_none().then(|| {
            let (statuses, trackers) = (node.watch_trackers(), trackers.clone());
            let is_up = |all: &Vec<TrackerStatus>| TrackerStatus::up_and_lost(all)[0] > 0;
            tokio::spawn(async move { watch_trackers(&trackers, statuses, is_up, say).await }).abort_handle()
        });
        let joining = tokio::spawn(join(node.clone(), trackers, secret, tell.clone())).abort_handle();
        Arc::new(Tracked {
            node,
            told,
            _tell: tell,
            silence,
            joining,
            watching,
            claims: Mutex::default(),
            released: watch::Sender::new(()),
            past,
        })
    }

    /// Takes a content for an entry; an error is the one that has it.
    pub(crate) fn claim(&self, content: ContentId, entry: &Owner) -> Result<(), Option<Owner>> {
        match lock(&self.claims).entry(content) {
            Entry::Vacant(vacant) => {
                vacant.insert(Some(entry.clone()));
                Ok(())
            }
            Entry::Occupied(taken) => match taken.get() {
                Some(owner) if owner.number == entry.number => Ok(()),
                other => Err(other.clone()),
            },
        }
    }

    /// Lets go of what an entry has taken.
    pub(crate) fn release(&self, number: u64) {
        lock(&self.claims).retain(|_, owner| owner.as_ref().is_none_or(|owner| owner.number != number));
        self.released.send_replace(());
    }

    /// Tells when an entry lets go of what it has taken, from now on.
    pub(crate) fn released(&self) -> watch::Receiver<()> {
        self.released.subscribe()
    }

    /// Stops a share that no entry serves, unless one does: nobody can take its content meanwhile.
    pub(crate) async fn stop_unclaimed(&self, share: Share) {
        let content = share.content();
        let is_free = match lock(&self.claims).entry(content) {
            Entry::Vacant(vacant) => {
                vacant.insert(None);
                true
            }
            Entry::Occupied(_) => false,
        };
        if is_free {
            let _ = share.stop().await;
            lock(&self.claims).remove(&content);
            self.released.send_replace(());
        }
    }
}

/// Joins the tracker, or the first of several, however long that takes. Afterwards the node itself comes back to it.
async fn join(node: Node, mut trackers: Vec<TrackerAddress>, secret: Option<Secret>, tell: watch::Sender<Told>) {
    let (mut pause, mut addresses) = (FIRST_PAUSE, node.addresses());
    loop {
        let join = async {
            match &trackers[..] {
                [only] => node.join_private(only.clone(), secret).await,
                several => node.join_any(several.to_vec()).await,
            }
        };
        let attempt = tokio::time::timeout(ONE_TRY, join).await;
        let reason = match attempt {
            Ok(Ok(joined)) => {
                tell.send_replace(Told::Joined(joined.told.map(|told| told.content)));
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the tracker does not answer".to_owned(),
        };
        tell.send_if_modified(|told| {
            let now = Told::Asking(reason);
            let is_new = *told != now;
            if is_new {
                tracing::info!(reason = ?now, "no tracker yet");
                *told = now;
            }
            is_new
        });
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())) => pause = (pause * 2).min(LONGEST_PAUSE),
            // This machine has another network, or its first one: the tracker may be reached now.
            Ok(()) = addresses.changed() => pause = FIRST_PAUSE,
        }
        for tracker in &mut trackers {
            tracker.resolve_again().await;
        }
    }
}

/// Where the trackers are, for tickets. The system is asked once for all shares when something has changed.
struct Places {
    /// They tell when that is.
    addresses: watch::Receiver<Vec<SocketAddr>>,
    trackers: watch::Receiver<Vec<TrackerStatus>>,
    /// The addresses of the first tracker, and the others.
    found: Option<(Vec<SocketAddr>, Vec<TrackerAddress>)>,
}

/// All nodes.
pub(crate) struct Nodes {
    home: Arc<Tracked>,
    home_tracker: PeerId,
    home_trackers: Vec<PeerId>,
    /// Those that were named.
    trackers: Vec<TrackerAddress>,
    addresses: AddressesOf,
    is_told: bool,
    places: Mutex<Places>,
    pub(crate) secrets: Option<Arc<dyn Fn(ContentId) -> Secret + Send + Sync>>,
    pub(crate) own_tracker: Option<Arc<Shares>>,
    pub(crate) open_url: Option<OpenUrl>,
    pub(crate) check_url: Option<CheckUrl>,
    new: NewNode,
    others: Mutex<HashMap<String, Weak<Tracked>>>,
    /// Whether there was no room for one of them.
    scarce: watch::Sender<bool>,
    /// What nodes have done that have ended.
    past: Arc<Mutex<(Counters, Waits)>>,
}

impl Nodes {
    /// Starts the node for what this daemon shares.
    pub(crate) fn start(home: Home, new: NewNode) -> Self {
        let Home { node, trackers, addresses, is_told, secrets, own_tracker, open_url, check_url } = home;
        let home_trackers: Vec<_> = trackers.iter().map(|tracker| tracker.id).collect();
        let home_tracker = home_trackers[0];
        let past = Arc::default();
        let home = Tracked::new(node.start(), trackers.clone(), None, Arc::clone(&past));
        let (known, joined) = (home.node.addresses(), home.node.watch_trackers());
        Nodes {
            home,
            home_tracker,
            home_trackers,
            trackers,
            addresses,
            is_told,
            places: Mutex::new(Places { addresses: known, trackers: joined, found: None }),
            secrets,
            own_tracker,
            open_url,
            check_url,
            new,
            others: Mutex::default(),
            scarce: watch::Sender::new(false),
            past,
        }
    }

    /// The node for what this daemon shares.
    pub(crate) fn home(&self) -> &Arc<Tracked> {
        &self.home
    }

    /// What the node for a ticket is known by; nothing if that is this daemon's own.
    fn key(&self, ticket: &Ticket) -> Option<String> {
        if is_told_by_tracker(ticket) {
            return Some(ticket.to_string());
        }
        let is_home = |tracker: &TicketTracker| self.home_trackers.iter().any(|id| id.answers_to(tracker.id));
        let ids = ticket.trackers().iter().map(|tracker| tracker.id.to_string());
        (!ticket.trackers().iter().all(is_home)).then(|| ids.collect::<Vec<_>>().join(" "))
    }

    /// Whether a ticket has to wait until others need their nodes no more.
    pub(crate) fn lacks_room_for(&self, ticket: &Ticket) -> bool {
        let others = lock(&self.others);
        let is_there = |key: &String| others.get(key).is_some_and(|node| node.strong_count() > 0);
        let count = others.values().filter(|node| node.strong_count() > 0).count();
        count >= MOST_OTHERS && self.key(ticket).is_some_and(|key| !is_there(&key))
    }

    /// Has complete downloads whose trackers are gone make room.
    pub(crate) fn ask_for_room(&self) {
        self.scarce.send_if_modified(|scarce| !std::mem::replace(scarce, true));
    }

    /// Whether there is less room than is wanted.
    pub(crate) fn watch_scarcity(&self) -> watch::Receiver<bool> {
        self.scarce.subscribe()
    }

    /// The node for a ticket, started if it is the first one of its tracker. An error is a sentence.
    pub(crate) fn of_ticket(&self, ticket: &Ticket) -> Result<Arc<Tracked>, String> {
        let Some(key) = self.key(ticket) else { return Ok(self.home.clone()) };
        let mut others = lock(&self.others);
        if let Some(node) = others.get(&key).and_then(Weak::upgrade) {
            return Ok(node);
        }
        others.retain(|_, node| node.strong_count() > 0);
        if others.len() >= MOST_OTHERS {
            return Err(format!("tickets of {MOST_OTHERS} trackers at a time are the most: remove some first"));
        }
        let builder = (self.new)()?.rates_of(&self.home.node);
        let secret = ticket.secret().filter(|_| is_told_by_tracker(ticket));
        let node = Tracked::new(builder.start(), TrackerAddress::all_of(ticket), secret, self.past.clone());
        others.insert(key, Arc::downgrade(&node));
        Ok(node)
    }

    /// Every node that runs.
    pub(crate) fn all(&self) -> Vec<Node> {
        let others = lock(&self.others);
        let others = others.values().filter_map(Weak::upgrade).map(|tracked| tracked.node.clone());
        std::iter::once(self.home.node.clone()).chain(others).collect()
    }

    /// What all of them have done, and those that have ended.
    pub(crate) fn counters(&self) -> (Counters, Waits) {
        let all = self.all();
        let (mut counters, mut waits) = lock(&self.past).clone();
        for node in all {
            counters.add(&node.counters());
            waits.add(&node.waits());
        }
        (counters, waits)
    }

    /// Where others reach the first tracker, and the other trackers.
    fn places(&self) -> Option<(Vec<SocketAddr>, Vec<TrackerAddress>)> {
        let mut places = lock(&self.places);
        let is_old = places.addresses.has_changed().unwrap_or(false) || places.trackers.has_changed().unwrap_or(false);
        if is_old || places.found.is_none() {
            places.addresses.mark_unchanged();
            // A name that leads to several addresses may be one tracker, or several: those that are up are. It may lead elsewhere by now.
            let known = places.trackers.borrow_and_update().clone();
            let split = |tracker: &TrackerAddress| match self.is_told {
                true => vec![tracker.clone()],
                false => tracker.told_apart(&known),
            };
            let mut each = self.trackers.iter().flat_map(split);
            let first = each.next()?;
            places.found = Some(((self.addresses)(&first.addresses), each.take(MAX_TICKET_TRACKERS - 1).collect()));
        }
        places.found.clone()
    }

    /// The ticket for a content that is shared here.
    pub(crate) fn ticket(&self, content: ContentId) -> Option<Ticket> {
        let (addresses, others) = self.places()?;
        let ticket = match &self.secrets {
            secrets if !others.is_empty() => {
                // As many addresses of each as there is room for.
                let room = (TICKET_ADDRESSES / (others.len() + 1)).max(1);
                let others = others.into_iter().map(|other| (other.id, other.addresses));
                let all = std::iter::once((self.home_tracker, addresses)).chain(others);
                let tracker = |(id, mut addresses): (PeerId, Vec<SocketAddr>)| {
                    addresses.truncate(room);
                    TicketTracker { id, addresses }
                };
                let trackers = all.map(tracker).filter(|tracker| !tracker.addresses.is_empty()).collect();
                Ticket::of_trackers(trackers, content, secrets.as_ref().map(|secrets| secrets(content)))
            }
            Some(secrets) => {
                let told = self.own_tracker.is_none().then_some(content);
                Ticket::private(self.home_tracker, addresses, secrets(content), told)
            }
            None => Ticket::new(self.home_tracker, addresses, content),
        };
        ticket.ok()
    }
}

/// The tracker of a private share tells its content to those who have the secret, and each connection proves one: such a ticket has a
/// node of its own.
pub(crate) fn is_told_by_tracker(ticket: &Ticket) -> bool {
    ticket.content().is_none()
}

/// Nothing that panics happens under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use peer::{Identity, MemoryNetwork, Transport};
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tracker_is_tried_at_once_where_this_machine_has_other_addresses() {
        let (network, folder) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let transport = network.bind(&Identity::generate().unwrap(), vec![at(0)]).unwrap();
        let node =
            Node::builder(Arc::new(transport)).hashes(folder.path().join("hashes")).output(folder.path()).start();
        let identity = Identity::generate().unwrap();
        let trackers = vec![TrackerAddress { addresses: vec![at(1)], id: identity.peer_id(), name: None }];
        let (tell, _told) = watch::channel(Told::Asking(String::new()));
        let joining = tokio::spawn(join(node.clone(), trackers, None, tell));
        // The pauses are long by then.
        sleep(Duration::from_secs(600)).await;
        let tracker = network.bind(&identity, vec![at(1)]).unwrap();
        node.announce_also(vec![at(7)]).await;
        assert!(timeout(FIRST_PAUSE, tracker.accept()).await.is_ok(), "it is dialled");
        joining.abort();
    }
}
