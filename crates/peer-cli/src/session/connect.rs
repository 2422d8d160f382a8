//! Becoming a peer: a key, ports, and a tracker that proves who it is.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use peer::{Joined, Node, NodeBuilder, PeerError, ScanOptions, TrackerAddress};
use protocol::{FOR_SO_MANY, NOT_SHARED_NOW, NOT_YET, PeerId, Secret, Ticket, printable};
use tokio::task::JoinSet;
use transport::{
    Certs, Config, Identity, IdentityError, SharedPort, Transport, TransportError, Trust, Untrusted, is_near,
    peer_id_of_certificate_pem,
};

use crate::error::{ExitCode, Failure, RAISE_LIMIT, failure};
use crate::flags::links::own_files;
use crate::flags::named::{self, NamedTracker, TrustedTracker};
use crate::flags::peer::PeerArguments;
use crate::session::patience::{Patience, SPEAK};
use crate::session::place::is_public;

/// Port of a tracker unless another is asked for.
pub const TRACKER_PORT: u16 = 9999;
/// Longest time for one try to reach the tracker, and for the name servers to say where it is.
const ONE_TRY: Duration = Duration::from_secs(10);
/// Time between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// A share that is for so many receivers may have a place after this long: that of one that crashed is kept until its silence is noticed.
const FOR_A_PLACE: Duration = Duration::from_secs(15);

/// Starts a node on `count` ports from `first` (any free ones if that is 0) that downloads into `output`.
pub fn start(arguments: &PeerArguments, first: u16, count: u16, output: &Path) -> Result<Node, Failure> {
    Ok(bind(arguments, first, count)?.output(output).start())
}

/// Binds `count` ports from `first` (any free ones if that is 0) for a node that is still to be started.
pub fn bind(arguments: &PeerArguments, first: u16, count: u16) -> Result<NodeBuilder, Failure> {
    let port = |number| if first == 0 { 0 } else { first + number };
    let config = config(arguments, (0..count).map(port))?;
    let transport = arguments.transport.bind(config).map_err(not_bound)?;
    Ok(node(arguments, transport))
}

/// Binds one port for a node and for a tracker: this one, or 9999 and any free one if that is in use.
pub fn bind_with_tracker(
    arguments: &PeerArguments,
    port: Option<u16>,
    tracker: Identity,
) -> Result<(NodeBuilder, Arc<dyn Transport>), Failure> {
    let config = config(arguments, std::iter::once(port.unwrap_or(TRACKER_PORT)))?;
    let bound = match (arguments.transport.bind_with_tracker(config.clone(), tracker.clone()), port) {
        (Err(TransportError::AddressInUse(_)), None) => {
            let any = vec![SocketAddr::new(address(arguments), 0)];
            arguments.transport.bind_with_tracker(config.listeners(any), tracker)
        }
        (bound, _) => bound,
    };
    let SharedPort { peer, tracker } = bound.map_err(not_bound)?;
    Ok((node(arguments, peer), tracker))
}

fn config(arguments: &PeerArguments, ports: impl Iterator<Item = u16>) -> Result<Config, Failure> {
    let (identity, trust) = who(arguments)?;
    peer::sweep_manifests(arguments.hashes());
    let ip = address(arguments);
    must_be_here(ip)?;
    let listeners = ports.map(|port| SocketAddr::new(ip, port)).collect();
    Ok(Config::new(identity, listeners).trust(trust).mtu(arguments.mtu).congestion(arguments.congestion))
}

/// Fails if this machine has no such address.
fn must_be_here(ip: IpAddr) -> Result<(), Failure> {
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    match std::net::UdpSocket::bind((ip, 0)).is_err_and(is_missing) {
        true => {
            let sentence =
                format!("this machine has no address {ip}. --bind takes one that it has, or 0.0.0.0 for all of them");
            Err(Failure::new(ExitCode::Other, sentence))
        }
        false => Ok(()),
    }
}

fn not_bound(error: TransportError) -> Failure {
    match error {
        TransportError::AddressInUse(address) => {
            let sentence = format!("port {} is in use. Choose another with -p, or -p 0 for any", address.port());
            Failure::new(ExitCode::AddressInUse, sentence)
        }
        TransportError::PrivilegedPort(_) => {
            Failure::new(ExitCode::Other, format!("{error}. Choose a port above 1023 with -p"))
        }
        TransportError::TooManyOpen(_) => {
            Failure::new(ExitCode::Other, format!("{error}. {RAISE_LIMIT}, or take fewer --listeners"))
        }
        error => Failure::new(ExitCode::Other, error.to_string()),
    }
}

fn node(arguments: &PeerArguments, transport: Arc<dyn Transport>) -> NodeBuilder {
    Node::builder(transport)
        .storage(arguments.storage.backend())
        .hashes(arguments.hashes())
        .manifests_by_place(arguments.own.by_place)
        .scan(ScanOptions::new().own(own_files(arguments)))
        .up_rate(arguments.up_rate)
        .down_rate(arguments.down_rate)
        .budget(arguments.budget)
        .keep_free(arguments.keep_free)
        .verify_on_disk(arguments.verify_on_disk)
        .reserve(read_files(arguments))
        .announce(arguments.announce.clone())
        .dial_private(arguments.dial_private)
        .site(arguments.site.clone().unwrap_or_default())
        .fair(arguments.fair)
}

/// What is read here beside manifests: no download may lie there.
fn read_files(arguments: &PeerArguments) -> impl Iterator<Item = PathBuf> {
    let PeerArguments { identity, ca, cert, key, own, .. } = arguments;
    let named = identity.iter().chain(ca).chain(cert).chain(key).chain(&own.all).chain(&own.known_trackers);
    std::iter::once(arguments.certs().to_owned()).chain(named.cloned())
}

/// The address to listen on.
pub fn address(arguments: &PeerArguments) -> IpAddr {
    arguments.bind.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Who this peer is, and whom it deals with.
pub fn who(arguments: &PeerArguments) -> Result<(Identity, Trust), Failure> {
    let trust = trust(arguments)?;
    if matches!(trust, Trust::Anyone) {
        let identity = arguments.identity.as_deref().map_or_else(Identity::generate, Identity::load_or_create);
        return Ok((identity.map_err(unusable)?, trust));
    }
    let identity = match (&arguments.cert, &arguments.key) {
        (Some(certificate), Some(key)) => Identity::load(certificate, key, &trust),
        _ => Certs::new(arguments.certs()).free_peer(&trust),
    };
    Ok((identity.map_err(unusable)?, trust))
}

pub fn unusable(error: IdentityError) -> Failure {
    let code = match error {
        IdentityError::InUse(_) | IdentityError::NoneFree { .. } | IdentityError::NoCertificate(_) => ExitCode::Usage,
        IdentityError::File { .. } | IdentityError::Generate(_) => ExitCode::CannotWrite,
        _ => ExitCode::VerificationFailed,
    };
    let advice = match &error {
        IdentityError::File { source, .. }
            if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
        {
            ". Change its permissions, or those of its folder, or name another place with --identity or --certs"
        }
        _ => "",
    };
    Failure::new(code, format!("{error}{advice}"))
}

/// What the user typed to say which tracker: advice speaks of that, and of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `-i` and `-d`.
    Flags,
    /// Nothing: somebody on the local network said so.
    Lan,
    /// `HOST:PORT`, without flags.
    Place,
    /// Either of these, to `doctor`, which says itself what it tries.
    Doctor,
    Ticket,
    /// Nothing: it runs in this process.
    Own,
}

/// Joins the tracker, or several, or says what to do. One that does not answer is waited for as long as `patience` lasts; `tell` is told
/// after a moment that this is so.
pub async fn join(
    node: &Node,
    trackers: Vec<TrackerAddress>,
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    join_with(node, (trackers, None), named_by, patience, tell).await
}

/// Joins the tracker that a ticket names, which tells of a private share what it is.
pub async fn join_by_ticket(
    node: &Node,
    ticket: &Ticket,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    join_by_ticket_at(node, ticket, &[], patience, tell).await
}

/// The same where the tracker may be at other addresses, too.
pub async fn join_by_ticket_at(
    node: &Node,
    ticket: &Ticket,
    also_at: &[SocketAddr],
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    // Any other tracker than the sharer's own need not know that there is something to prove.
    let secret = ticket.secret().filter(|_| ticket.content().is_none());
    let mut trackers = TrackerAddress::all_of(ticket);
    trackers[0].addresses.splice(..0, also_at.iter().copied());
    join_with(node, (trackers, secret), NamedBy::Ticket, patience, tell).await
}

/// Joins the tracker of a ticket that was had by a code at `place`: if that is the ticket's own, it is there for sure.
pub async fn join_by_code(
    node: &Node,
    ticket: &Ticket,
    place: &TrackerAddress,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    let mut trackers = TrackerAddress::all_of(ticket);
    // Of several, each is where the ticket says.
    if let [tracker] = &mut trackers[..]
        && place.id.answers_to(tracker.id)
    {
        tracker.addresses.retain(|address| !place.addresses.contains(address));
        tracker.addresses.splice(0..0, place.addresses.iter().copied());
    }
    let secret = ticket.secret().filter(|_| ticket.content().is_none());
    join_with(node, (trackers, secret), NamedBy::Ticket, patience, tell).await
}

async fn join_with(
    node: &Node,
    (mut trackers, secret): (Vec<TrackerAddress>, Option<Secret>),
    named_by: NamedBy,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Joined, Failure> {
    let places = |trackers: &[TrackerAddress]| {
        let places: Vec<_> =
            trackers.iter().flat_map(|tracker| &tracker.addresses).map(SocketAddr::to_string).collect();
        places.join(", ")
    };
    let most = patience.at_most(ONE_TRY);
    let slow = match trackers.len() {
        1 if secret.is_some() => {
            format!("The sharer at {} has not answered yet; waiting for it, {most}.", places(&trackers))
        }
        1 => format!("The tracker at {} has not answered yet; waiting for it, {most}.", places(&trackers)),
        _ => format!("None of the trackers at {} has answered yet; waiting for one, {most}.", places(&trackers)),
    };
    let mut speech = Speech::new(tell, slow);
    let mut place = AwaitedPlace::default();
    loop {
        let join = async {
            match &trackers[..] {
                [only] => node.join_private(only.clone(), secret).await,
                several => node.join_any(several.to_vec()).await,
            }
        };
        let attempt = tokio::time::timeout(patience.bound(ONE_TRY), join);
        let error = match speech.during(attempt).await {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(error)) => error,
            Err(_) => {
                let silent = || TransportError::Lost("it does not answer".to_owned());
                let first = trackers.iter().find_map(|tracker| tracker.addresses.first());
                let reason = first.copied().map_or_else(silent, TransportError::Unreachable);
                PeerError::Tracker { address: places(&trackers), reason }
            }
        };
        if place.is_awaited(&error, tokio::time::Instant::now(), patience, tell) {
            tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
            continue;
        }
        if !may_come(&error) || !patience.waits() {
            if let Some(refused) = place.refused {
                return Err(refused);
            }
            if let PeerError::Tracker { reason: TransportError::ClosedByPeer { code: NOT_YET, reason }, .. } = &error {
                let sentence =
                    format!("the content of this ticket is not shared yet: {reason}. --wait 10m waits for it");
                return Err(Failure::new(ExitCode::NotFound, sentence));
            }
            let advice = match error {
                PeerError::Tracker { reason: TransportError::NotTrusted(why), ref address } => {
                    return Err(untrusted(why, address));
                }
                PeerError::Tracker { .. } => unreached(named_by, trackers.iter().flat_map(|it| &it.addresses)),
                PeerError::WrongTracker { .. } => impostor(named_by).to_owned(),
                PeerError::Refused(ref reason) if reason == NOT_SHARED_NOW => {
                    "Is it still meant to be shared there? --wait 10m waits for it; or ask for a new ticket".to_owned()
                }
                error => return Err(error.into()),
            };
            let Failure { code, message, .. } = failure(&error);
            let message = match &error {
                // Who has such a ticket knows of no tracker: it is the sharer's own.
                PeerError::Tracker { address, reason: TransportError::Unreachable(_) } if secret.is_some() => {
                    format!("no answer from {address}")
                }
                _ => message,
            };
            return Err(Failure::new(code, format!("{message}. {advice}")));
        }
        if let PeerError::Refused(_) = error {
            speech.instead(format!("The content of this ticket is not shared there now; waiting for it, {most}."));
        }
        speech.now();
        let pause = async {
            tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
            for tracker in &mut trackers {
                tracker.resolve_again().await;
            }
        };
        speech.during(pause).await;
    }
}

/// As name servers are asked.
fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether it is worth trying again: nobody answered, or what a ticket is of is not shared there now. A tracker that answers with
/// another id, or refuses us for another reason, will do so again.
fn may_come(error: &PeerError) -> bool {
    match error {
        PeerError::Tracker { reason, .. } => {
            !reason.is_failed_handshake() && !matches!(reason, TransportError::NotAdmitted(_))
        }
        PeerError::Refused(reason) => reason == NOT_SHARED_NOW,
        _ => false,
    }
}

/// A place among the receivers of a private share that is for so many, all of whom are there.
#[derive(Default)]
struct AwaitedPlace {
    until: Option<tokio::time::Instant>,
    /// Why there is none, once that was said.
    refused: Option<Failure>,
}

impl AwaitedPlace {
    /// Whether to try again because of this error, and says so the first time: who crashed itself is told that somebody is there.
    fn is_awaited(
        &mut self,
        error: &PeerError,
        now: tokio::time::Instant,
        patience: Patience,
        tell: &dyn Fn(String),
    ) -> bool {
        if !matches!(error, PeerError::Refused(reason) if reason.starts_with(FOR_SO_MANY)) {
            return false;
        }
        let until = *self.until.get_or_insert_with(|| {
            let most = patience.at_most(FOR_A_PLACE);
            tell(format!("As many as may have it are there: waiting for one of them to go, {most}."));
            now + patience.bound(FOR_A_PLACE)
        });
        let Failure { code, message, .. } = failure(error);
        let advice = "If one of them was this machine a moment ago, try again in ten seconds";
        self.refused = Some(Failure::new(code, format!("{message}. {advice}")));
        now < until || patience.waits()
    }
}

/// Something that is said once, when what it is about has taken a while.
pub struct Speech<'a> {
    tell: &'a dyn Fn(String),
    sentence: Option<String>,
    due: tokio::time::Instant,
}

impl<'a> Speech<'a> {
    pub fn new(tell: &'a dyn Fn(String), sentence: String) -> Self {
        Speech { tell, sentence: Some(sentence), due: tokio::time::Instant::now() + SPEAK }
    }

    /// Says something else in its place, if it was not said.
    fn instead(&mut self, sentence: String) {
        self.sentence = self.sentence.take().map(|_| sentence);
    }

    /// What went before has ended: the time counts from now on.
    pub fn restart(&mut self) {
        self.due = tokio::time::Instant::now() + SPEAK;
    }

    /// Says it, if it was not said.
    pub fn now(&mut self) {
        self.sentence.take().into_iter().for_each(self.tell);
    }

    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(self.due), if self.sentence.is_some() => self.now(),
            }
        }
    }
}

/// What to try where a tracker at these addresses does not answer.
pub(super) fn unreached<'a>(named_by: NamedBy, tried: impl IntoIterator<Item = &'a SocketAddr>) -> String {
    let tried: Vec<_> = tried.into_iter().copied().collect();
    let ports: BTreeSet<_> = tried.iter().map(SocketAddr::port).collect();
    let its_port = match ports.first() {
        Some(port) if ports.len() == 1 => format!("is {port} its port"),
        _ => "are these the right ports".to_owned(),
    };
    match named_by {
        NamedBy::Flags => format!(
            "Is it running, {its_port} (-d names another), and does UDP or TCP get through? `peer-cli doctor -i TRACKER_IP` tries the \
             way to it"
        ),
        NamedBy::Place => format!(
            "Is it running, {its_port} (HOST:PORT names another), and does UDP or TCP get through? `peer-cli doctor HOST:PORT` tries \
             the way to it"
        ),
        NamedBy::Doctor => format!("Is it running, {its_port}, and does UDP or TCP get through?"),
        NamedBy::Ticket if are_of_another_network(&tried) => {
            "The ticket has addresses of another network alone, which are reached only there. Ask for one that leads there from other \
             networks: of a share with -i and a tracker that both sides reach, or behind a router that forwards its port"
                .to_owned()
        }
        NamedBy::Ticket => "Is it still being shared, and does a firewall let UDP or TCP through? If it has moved, ask for a new ticket; \
                            `peer-cli doctor` with the ticket tries the way"
            .to_owned(),
        NamedBy::Lan => {
            "It was heard of on this network: does a firewall there let UDP or TCP through?".to_owned()
        }
        NamedBy::Own => "It runs in this process: does a firewall keep this machine from talking to itself, or is its loopback interface \
                         down?"
            .to_owned(),
    }
}

/// Whether addresses mean something only in a network in which this machine is not.
pub fn are_of_another_network(addresses: &[SocketAddr]) -> bool {
    let leads_elsewhere = |address: &SocketAddr| !is_public(address.ip()) && !is_near(address.ip());
    !addresses.is_empty() && addresses.iter().all(leads_elsewhere)
}

/// Why the certificate of the tracker there is not taken, and what to do.
pub(super) fn untrusted(why: Untrusted, place: &str) -> Failure {
    let sentence = match why {
        Untrusted::OtherCa => format!(
            "the tracker at {place} is of another swarm, or the CA of this one was replaced: {why}. Give --ca with the CA that it has \
             now, or leave out --ca if its swarm is open"
        ),
        Untrusted::OutOfDate => format!(
            "the tracker at {place} cannot be trusted: {why}. It needs a new one, unless the clock of this machine, or of that one, is \
             wrong"
        ),
        _ => format!(
            "this swarm is closed: give --ca with the certificate of its CA (ca.pem). The tracker at {place} lets in nobody without"
        ),
    };
    Failure::new(ExitCode::TrackerUnreachable, printable(&sentence))
}

fn impostor(named_by: NamedBy) -> &'static str {
    match named_by {
        NamedBy::Flags | NamedBy::Place | NamedBy::Doctor => {
            "If it was set up anew, its id has changed: give --tracker-id with the id that it prints at start, or the folder of \
             its certificate with --certs. If not, do not trust what answers there, and check the address and the port"
        }
        NamedBy::Ticket => {
            "If the machine that the ticket is from was set up anew, ask for a new ticket. If not, do not trust what answers there"
        }
        NamedBy::Lan => "Try again: who answered on this network is not there any more",
        NamedBy::Own => "Another program has taken its port: choose another with -d",
    }
}

/// Where the trackers are that -i names, and who each must prove to be: what was found out before, or else what is given or stands
/// in the certs folder.
pub async fn trackers(
    given: &[String],
    port: u16,
    arguments: &PeerArguments,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrackerAddress>, Failure> {
    trackers_of(&trusted(given, port, arguments)?, patience, tell).await
}

/// The same before anything is looked up: for who goes on without them and asks again later.
pub fn unresolved(given: &[String], port: u16, arguments: &PeerArguments) -> Result<Vec<TrackerAddress>, Failure> {
    let trusted = trusted(given, port, arguments)?.into_iter();
    let nowhere =
        |TrustedTracker { named, id }| TrackerAddress { addresses: Vec::new(), id, name: Some(name_of(&named)) };
    Ok(trusted.map(nowhere).collect())
}

fn trusted(given: &[String], port: u16, arguments: &PeerArguments) -> Result<Vec<TrustedTracker>, Failure> {
    if !arguments.trusted.is_empty() {
        return Ok(arguments.trusted.clone());
    }
    let named = named::trackers(given, port)?;
    match &arguments.tracker_id[..] {
        [] => named::with_ids(named, &[certified_id(arguments)?]),
        ids => named::with_ids(named, ids),
    }
}

fn name_of(NamedTracker { host, port }: &NamedTracker) -> String {
    with_port(without_brackets(host), *port)
}

/// Where these trackers are. Of several, those whose names lead nowhere now are looked up again later.
pub async fn trackers_of(
    trusted: &[TrustedTracker],
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<TrackerAddress>, Failure> {
    if let [TrustedTracker { named, id }] = trusted {
        let addresses = addresses(&named.host, named.port, patience, tell).await?;
        return Ok(vec![TrackerAddress { addresses, id: *id, name: Some(name_of(named)) }]);
    }
    let mut lookups = JoinSet::new();
    for (turn, TrustedTracker { named, .. }) in trusted.iter().enumerate() {
        let name = name_of(named);
        lookups.spawn(async move {
            let found = tokio::time::timeout(ONE_TRY, tokio::net::lookup_host(name)).await;
            (turn, found.ok().and_then(Result::ok).map(Iterator::collect::<Vec<_>>).unwrap_or_default())
        });
    }
    let mut found = vec![Vec::new(); trusted.len()];
    for (turn, addresses) in lookups.join_all().await {
        found[turn] = addresses;
    }
    if found.iter().all(Vec::is_empty) {
        // It says what is wrong, or waits for it.
        let first = &trusted[0].named;
        found[0] = addresses(&first.host, first.port, patience, tell).await?;
    }
    let tracker = |(trusted, addresses): (&TrustedTracker, Vec<SocketAddr>)| TrackerAddress {
        addresses,
        id: trusted.id,
        name: Some(name_of(&trusted.named)),
    };
    Ok(trusted.iter().zip(found).map(tracker).collect())
}

/// An IPv6 address may stand in brackets, as in a URL.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Where a host is. A name that nobody knows is asked for again while `patience` lasts: a machine may start before its network.
pub async fn addresses(
    host: &str,
    port: u16,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<Vec<SocketAddr>, Failure> {
    let host = without_brackets(host);
    let most = patience.at_most(ONE_TRY);
    let mut speech =
        Speech::new(tell, format!("The tracker's name {host:?} is not resolved yet; waiting for that, {most}."));
    loop {
        let asked = tokio::time::timeout(patience.bound(ONE_TRY), tokio::net::lookup_host((host, port)));
        let reason = match speech.during(asked).await {
            Ok(Ok(found)) => {
                let addresses: Vec<_> = found.collect();
                if !addresses.is_empty() {
                    return Ok(addresses);
                }
                String::new()
            }
            Ok(Err(error)) => format!(": {error}"),
            Err(_) => ": the name servers do not answer".to_owned(),
        };
        if !patience.waits() {
            let advice = "Check it, or give an address; --wait 1m asks for it again";
            let sentence = format!("the tracker's name {host:?} cannot be resolved{reason}. {advice}");
            return Err(Failure::new(ExitCode::TrackerUnreachable, sentence));
        }
        speech.now();
        tokio::time::sleep(patience.pause(TRY_AGAIN)).await;
    }
}

/// The tracker's certificate, where the folder of certificates has one.
pub fn tracker_certificate(arguments: &PeerArguments) -> PathBuf {
    arguments.certs().join("tracker.pem")
}

/// The id by the tracker's certificate.
pub fn certified_id(arguments: &PeerArguments) -> Result<PeerId, Failure> {
    let certificate = tracker_certificate(arguments);
    peer_id_of_certificate_pem(&certificate).map_err(|error| {
        let reason = if certificate.exists() {
            error.to_string()
        } else {
            format!("its certificate {} is not there", certificate.display())
        };
        let sentence = format!(
            "who is the tracker? {reason}. Give --tracker-id with the id that the tracker prints at start, or --certs \
             with the folder of its certificate"
        );
        Failure::new(ExitCode::Usage, sentence)
    })
}

/// Whom this peer deals with.
pub fn trust(arguments: &PeerArguments) -> Result<Trust, Failure> {
    match &arguments.ca[..] {
        [] => Ok(Trust::Anyone),
        authorities => Trust::authorities(authorities).map_err(unusable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctor_is_recommended_to_all_but_doctor() {
        for named_by in [NamedBy::Flags, NamedBy::Place, NamedBy::Ticket, NamedBy::Doctor] {
            let recommends = unreached(named_by, &[]).contains("peer-cli doctor");
            assert_eq!(recommends, named_by != NamedBy::Doctor, "{named_by:?}");
        }
    }

    /// A crash leaves a ghost that has the place for some seconds.
    #[test]
    fn a_place_among_receivers_is_waited_for_and_then_said_to_be_taken() {
        let (began, said) = (tokio::time::Instant::now(), std::cell::RefCell::new(Vec::new()));
        let (mut place, tell) = (AwaitedPlace::default(), |line| said.borrow_mut().push(line));
        let mut after = |error: &PeerError, seconds| {
            place.is_awaited(error, began + Duration::from_secs(seconds), Patience::new(None), &tell)
        };
        let full = PeerError::Refused(format!("{FOR_SO_MANY}one receiver, who is there or has it"));
        assert!(!after(&PeerError::Refused(NOT_SHARED_NOW.to_owned()), 0));
        assert!(after(&full, 0) && after(&full, 14) && !after(&full, 15));
        assert_eq!(
            said.borrow()[..],
            ["As many as may have it are there: waiting for one of them to go, for 15s at most."]
        );
        let Failure { code, message, .. } = place.refused.unwrap();
        assert_eq!(code, ExitCode::Refused);
        assert!(message.contains("for one receiver") && message.contains("in ten seconds"), "{message}");
    }

    #[test]
    fn the_port_that_was_tried_is_named_in_advice() {
        let at = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        for named_by in [NamedBy::Flags, NamedBy::Place, NamedBy::Doctor] {
            let advice = unreached(named_by, &at(&["127.0.0.1:9998", "[::1]:9998"]));
            assert!(advice.contains("is 9998 its port"), "{advice}");
            let advice = unreached(named_by, &at(&["127.0.0.1:9998", "127.0.0.1:9997"]));
            assert!(advice.contains("are these the right ports"), "{advice}");
        }
    }

    #[test]
    fn a_ticket_of_another_network_is_said_to_be_one() {
        let advice = |all: &[&str]| {
            let tried: Vec<SocketAddr> = all.iter().map(|text| text.parse().unwrap()).collect();
            unreached(NamedBy::Ticket, &tried)
        };
        // No machine that runs this is in that network.
        let far = "[fd5e:9a1b:7c2d:1::7]:9999";
        assert!(advice(&[far]).contains("another network"));
        for near in ["127.0.0.1:9999", "203.0.113.7:9999"] {
            assert!(advice(&[far, near]).contains("Is it still being shared"), "{near}");
        }
        assert!(advice(&[]).contains("Is it still being shared"));
    }

    #[test]
    fn a_closed_swarm_is_said_to_be_one_before_all_else() {
        let Failure { code, message, .. } = untrusted(Untrusted::ClosedSwarm, "127.0.0.1:9999");
        assert_eq!(code, ExitCode::TrackerUnreachable);
        assert!(message.starts_with("this swarm is closed: give --ca "), "{message}");
        for why in [Untrusted::ClosedSwarm, Untrusted::OtherCa, Untrusted::OutOfDate] {
            let Failure { message, .. } = untrusted(why, "127.0.0.1:9999");
            assert!(message.contains("127.0.0.1:9999") && !message.contains("port"), "{message}");
        }
    }
}
