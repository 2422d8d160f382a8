//! How a share begins: its tracker is joined, and the first path is hashed and gets a ticket.
//!
//! Other paths are hashed while the first one can be had already.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lan::Lan;
use peer::{CodeOptions, Shares, TrackerAddress, TrackerState, TrackerStatus};
use protocol::{ContentId, PeerId};
use tokio::time::timeout;
use transport::Kind;

use super::shared::{self, Adding, Shared, as_all};
use super::{ShareArguments, is_stdin};
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::{named, origins};
use crate::session::audience::Audience;
use crate::session::codes::Codes;
use crate::session::connect::{self, NamedBy};
use crate::session::origin::{self, OriginContent, OriginRequest};
use crate::session::patience::Patience;
use crate::session::place::Place;
use crate::session::port_mapping::PortMapping;
use crate::session::secrets::Secrets;
use crate::session::temp_folder::TempFolder;
use crate::session::{Session, bind, resolve, stdin};

/// The first ticket waits for the router no longer than this.
const ROUTER: Duration = Duration::from_millis(500);
/// A tracker on this machine answers at each address where it listens within this time; where nobody does, TCP is refused at once.
const ON_THIS_MACHINE: Duration = Duration::from_secs(3);
/// The same over QUIC alone, which is not refused.
const SILENCE: Duration = Duration::from_millis(500);

/// The trackers that a share is announced to.
struct Trackers {
    /// As they were named, or the one in this process.
    named: Vec<TrackerAddress>,
    /// Where that one listens; nowhere if there is none.
    listening: Vec<SocketAddr>,
    /// The first one that answered.
    joined: PeerId,
    /// All that are known by now.
    known: Vec<TrackerStatus>,
}

/// Joins the tracker and shares the first path. The others are shared as each of these goes on.
pub(super) async fn begin<'a>(
    session: &'a Session,
    arguments: &'a ShareArguments,
    own: Option<(TrackerAddress, Vec<SocketAddr>)>,
    lan: Option<&Lan>,
    (secrets, shares): (Option<Secrets>, Arc<Shares>),
    spool: Option<&'a TempFolder>,
    mapping: &PortMapping,
) -> Result<(Shared, VecDeque<Adding<'a>>), Failure> {
    let trackers = join(session, arguments, own).await?;
    let mut shared = nothing_yet(session, arguments, &trackers, lan, (secrets, shares), mapping);
    if shared.leads_nowhere() {
        let sentence = "This machine has no address in any network now, so the ticket leads here from this machine alone. \
                        When it has one, a new ticket is given.";
        session.note(sentence);
    }
    if is_on_loopback_alone(&shared, arguments).await? {
        shared.place = Place::Loopback(shared.place.known().to_vec());
        shared.told = shared.addresses();
        // Where others are named, too, tickets lead to those from elsewhere.
        if trackers.named.len() < 2 {
            let sentence = "The tracker listens on loopback alone, so tickets and codes lead there from this machine \
                            alone. For others, start it at an address that they reach (--bind).";
            session.note(sentence);
        }
    }
    if !arguments.no_code {
        shared.codes = Some(codes(session, arguments, &trackers, &shared));
    }
    let named =
        |path: &'a PathBuf| -> Adding<'a> { Box::pin(share(session, arguments, spool, path, shared.secrets.clone())) };
    let mut others: VecDeque<_> = arguments.paths.iter().map(named).collect();
    let Some(first) = others.pop_front() else { return Ok((shared, others)) };
    let (at, content) = first.await?;
    if let Some(content) = content.filter(|&content| shared.is_new(session, &at, content)) {
        let name = session.called(content).filter(|_| !others.is_empty());
        // The router may have answered meanwhile, or answers at once; what it grants later makes a new ticket.
        mapping.asked(ROUTER).await;
        (shared.told, shared.forwarded) = (shared.addresses(), shared.forwarded());
        shared.give_ticket(session, 0, name.as_deref()).await?;
    }
    Ok((shared, others))
}

/// Joins the trackers that are named, or the one in this process.
async fn join(
    session: &Session,
    arguments: &ShareArguments,
    own: Option<(TrackerAddress, Vec<SocketAddr>)>,
) -> Result<Trackers, Failure> {
    let (patience, tell) = (Patience::new(arguments.peer.wait), |sentence: String| session.waits(&sentence));
    let (trackers, listening) = match own {
        Some((tracker, listening)) => (vec![tracker], listening),
        None => (resolve::trackers_of(&arguments.peer.trusted, patience, &tell).await?, Vec::new()),
    };
    if trackers.len() > 1 && !arguments.ticket_address.is_empty() {
        let sentence = "--ticket-address says where one tracker is, and -i names several: leave it out";
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    let named_by = if arguments.tracker_ip.is_some() { NamedBy::Flags } else { NamedBy::Own };
    let joined = connect::join(&session.node, trackers.clone(), named_by, patience, &tell).await?.tracker;
    session.joined(joined);
    let known = session.node.trackers_to_ask().await;
    Ok(Trackers { named: trackers, listening, joined, known })
}

/// What a share is before anything can be had: what its tickets will say, and who may get it.
fn nothing_yet(
    session: &Session,
    arguments: &ShareArguments,
    trackers: &Trackers,
    lan: Option<&Lan>,
    (secrets, shares): (Option<Secrets>, Arc<Shares>),
    mapping: &PortMapping,
) -> Shared {
    let Trackers { listening, known, .. } = trackers;
    let mut named = trackers.named.clone();
    let (first, mut others) = shared::apart(&mut named, known).expect("a tracker was named");
    let (is_elsewhere, is_told) = (listening.is_empty(), !arguments.ticket_address.is_empty());
    if is_told {
        // All of them are behind the address that was given.
        others.clear();
    }
    let place = match (&arguments.ticket_address[..], listening.is_empty()) {
        ([], true) => Place::Known(first.addresses.clone()),
        ([], false) => Place::Here(listening.clone()),
        (told, _) => Place::Told(told.to_vec()),
    };
    let mut shared = Shared {
        tracker: first.id,
        others,
        named: if is_elsewhere && !is_told { named } else { Vec::new() },
        is_own: arguments.tracker_ip.is_none(),
        is_near: arguments.tracker_ip.is_none()
            && lan.is_some()
            && Audience::of(&arguments.peer) != Audience::ThisMachine,
        told: Vec::new(),
        forwarded: Vec::new(),
        said_near: false,
        place,
        mapped: mapping.mapped(),
        qr: arguments.qr,
        cut: arguments.cut.clone(),
        secrets,
        shares,
        receivers: arguments.receivers,
        contents: Vec::new(),
        since: None,
        host: arguments.tracker_ip.as_deref().map(named::to_type),
        named_port: arguments.tracker_port,
        codes: None,
        takes_commands: session.takes_commands() || arguments.peer.commands,
    };
    shared.told = shared.addresses();
    shared
}

/// Whether the tracker was named by loopback, and is at no other address of this machine.
async fn is_on_loopback_alone(shared: &Shared, arguments: &ShareArguments) -> Result<bool, Failure> {
    let Some(likeliest) = shared.place.beside_loopback() else { return Ok(false) };
    let trust = bind::trust(&arguments.peer)?;
    let answers = async |kind: Kind, within| {
        let answer = timeout(within, kind.probe(likeliest, &trust)).await;
        matches!(answer, Ok(Ok(id)) if id.answers_to(shared.tracker))
    };
    let is_there = match arguments.peer.transport {
        Kind::Auto => answers(Kind::Tcp, ON_THIS_MACHINE).await || answers(Kind::Quic, SILENCE).await,
        only => answers(only, ON_THIS_MACHINE).await,
    };
    Ok(!is_there)
}

/// Codes for what is shared, and the trackers at which they are offered.
fn codes(session: &Session, arguments: &ShareArguments, trackers: &Trackers, shared: &Shared) -> Codes {
    let Trackers { named, joined, known, .. } = trackers;
    let are_several = known.len() > 1;
    // With several trackers, the code is offered at one that answers, and stays there while that one does; receivers ask all of them.
    let is_first = |one: &&TrackerAddress| joined.answers_to(one.id);
    let up = known.iter().find(|one| one.state == TrackerState::Up && one.id == *joined);
    let lives = match up.and_then(|up| up.at).filter(|_| are_several) {
        // It is asked for by its name when it is there no more.
        Some(at) => {
            let name = named.iter().find(is_first).and_then(|tracker| tracker.name.clone());
            TrackerAddress { addresses: vec![at], id: *joined, name }
        }
        None => named.iter().find(is_first).unwrap_or(&named[0]).clone(),
    };
    let is_other = |one: &TrackerAddress| !one.addresses.iter().any(|address| lives.addresses.contains(address));
    let others = named.iter().flat_map(|tracker| tracker.told_apart(known)).filter(is_other).collect();
    let options = CodeOptions::new(arguments.code_for).uses(arguments.receivers).others(others);
    // At others there may be the same numbers.
    let options = options.own_tracker(shared.is_own || named.len() > 1 || are_several);
    Codes::new(session.node.clone(), lives, shared.before_code(), options)
}

/// Shares what a path leads to that was named at the start. Gives where it lies, and the content.
async fn share(
    session: &Session,
    arguments: &ShareArguments,
    spool: Option<&TempFolder>,
    path: &Path,
    secrets: Option<Secrets>,
) -> Result<(PathBuf, Option<ContentId>), Failure> {
    let (share, at) = match (spool, origins::url(path)) {
        (_, Some(url)) => {
            let (flags, cache) = (&arguments.origin, arguments.cache.cache);
            let request = OriginRequest { url, cut: &arguments.cut, flags, cache };
            let OriginContent { manifest, storage, shown } = origin::open(session, request).await?;
            (session.node.share(&shown).remote(manifest, storage), shown)
        }
        (Some(folder), None) if is_stdin(path) => {
            let (name, keep_free) = (arguments.name.as_deref().unwrap_or(stdin::NAME), arguments.peer.keep_free);
            let spooled = stdin::spool(session, folder.path(), name, &arguments.cut, keep_free).await?;
            (session.node.share(&spooled.path).hashed(spooled.manifest), spooled.path)
        }
        _ => {
            let Cut { hash, piece_size, .. } = arguments.cut;
            (session.node.share(path).algorithm(hash).piece_size(piece_size), path.to_owned())
        }
    };
    let content = session.share_as(&at, as_all(share, secrets)).await?;
    Ok((at, content))
}
