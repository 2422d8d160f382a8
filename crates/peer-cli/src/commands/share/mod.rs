//! `peer-cli share`: share files and folders, with a tracker in this process unless one is named, and say how to get them.

mod begin;
mod expiry;
mod shared;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lan::Offers;
use peer::Shares;

use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::cut::Cut;
use crate::flags::durations::duration;
use crate::flags::end::End;
use crate::flags::gateway::GatewayArguments;
use crate::flags::links::LinkArguments;
use crate::flags::named;
use crate::flags::origins::{self, CacheArguments, OriginArguments};
use crate::flags::paths::{must_be_readable, must_exist};
use crate::flags::peer::{PeerArguments, with_port};
use crate::flags::{patterns, sizes};
use crate::session::audience::Audience;
use crate::session::bind::{self, TRACKER_PORT};
use crate::session::connect::NamedBy;
use crate::session::gateway::{self, Source};
use crate::session::lan::{self as network, ByDefault};
use crate::session::own_tracker::OwnTracker;
use crate::session::patience::Patience;
use crate::session::pipe::BYTES;
use crate::session::port_mapping::PortMapping;
use crate::session::query::complain;
use crate::session::secrets::{Secrets, random_secrets, secrets_of};
use crate::session::temp_folder::{self, TempFolder};
use crate::session::{Session, SessionOptions, site, stdin, trust};
use crate::ui::prompt;
use crate::ui::screen::{self, OutputStream};
use crate::ui::sentence::capitalised;
use begin::begin;
use expiry::{Moment, expired};
use shared::Shared;

const EXAMPLES: &str = "\
Examples:
  peer-cli share a.bin                one line to paste elsewhere:
                                      peer-cli get p2p…
  peer-cli share -i 192.168.1.5 a b   two files, by way of a tracker there
  peer-cli share --open a.bin         for everyone who reaches this machine
  tar c a | peer-cli share - --name a.tar    what comes in";

const NOTES: &str = "\
Only those who have the ticket get what is shared, or learn that it is there; each of them can pass it on. --open shares with \
everyone who reaches this machine.

Without -i the tracker runs in this process, and listens on the same port as all of it: 9999 or a free one, UDP and TCP. A \
firewall or a router needs to let in that port alone. Its key is kept in a folder of the user's own: started \
again on the same port, it is the same tracker, and the tickets from before still hold, unless --expires or --receivers is given.";

/// What is shared, and how.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub struct ShareArguments {
    /// Files, folders or URLs; `-` is standard input
    ///
    /// Files and folders to share; `-` is standard input, which is kept in a temporary file for as long as it is shared. Or what is
    /// somewhere else: s3://bucket/key, s3://bucket/prefix/, gs:// and az:// the same, hf://org/model@revision,
    /// hf://datasets/org/name@revision, https://
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What standard input is called
    ///
    /// What standard input is to be called [default: stdin]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A tracker elsewhere, instead of one here
    ///
    /// Name or address of the tracker's machine, several with commas between them; if not given, a tracker is started in this process
    #[arg(short = 'i', long = "tracker-ip", value_name = "TRACKER_IP")]
    tracker_ip: Option<Vec<String>>,
    /// Port of the tracker [default: 9999; of one in this process, a free one if that is in use]
    ///
    /// Port of the tracker [default: 9999; of one in this process, that of -p, or 9999, or a free one if that is in use]
    #[arg(short = 'd', long, value_name = "PORT")]
    tracker_port: Option<u16>,
    /// Port to listen on, UDP and TCP; 0 takes a free one
    ///
    /// Port to listen on, UDP and TCP; 0 takes a free one [default: that of a tracker in this process, or else a free one]
    #[arg(short, long)]
    port: Option<u16>,
    /// Where the ticket says the tracker is
    ///
    /// Where others reach the tracker, as the ticket says, instead of the addresses of this machine: the port that a router
    /// forwards to it; several with several --ticket-address
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port)]
    ticket_address: Vec<SocketAddr>,
    /// Ask no router to let others in
    ///
    /// Do not ask the router in front of this machine to forward ports (PCP, NAT-PMP, UPnP); with --open none is asked
    #[arg(long)]
    no_port_mapping: bool,
    /// Most memory of a tracker in this process [default: 1GiB]
    ///
    /// Most memory of a tracker in this process; where it is reached, those who are of least use to others make room [default:
    /// 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = sizes::tracker_memory, default_value_t = tracker::MEMORY, hide_default_value = true)]
    tracker_memory: u64,
    /// Share with everyone who reaches this machine
    ///
    /// Share with everyone who reaches this machine, by name, id or ticket, and not only with those who have the ticket
    #[arg(long)]
    pub open: bool,
    /// End after this time, as 30m or 2h
    ///
    /// End after this time, as 30m or 2h, since the first ticket was given
    #[arg(long, value_name = "DURATION", value_parser = share_life)]
    expires: Option<Duration>,
    /// End when so many receivers have it
    ///
    /// End when so many receivers have it; this machine sends others nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "open")]
    receivers: Option<u32>,
    /// How long a code lives, as 2h [default: 1h]
    ///
    /// How long a code lives that nobody uses, as 30m or 2h, a day at most [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = code_life, default_value = "1h", hide_default_value = true)]
    code_for: Duration,
    /// Print no code, only the ticket
    #[arg(long, conflicts_with = "code_for")]
    no_code: bool,
    /// Show each ticket as a QR code, too
    #[arg(long)]
    qr: bool,
    #[command(flatten)]
    links: LinkArguments,
    #[command(flatten)]
    origin: OriginArguments,
    #[command(flatten)]
    cache: CacheArguments,
    #[command(flatten)]
    cut: Cut,
    #[command(flatten)]
    gateway: GatewayArguments,
    #[command(flatten)]
    pub peer: PeerArguments,
}

fn share_life(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        life if life.is_zero() => Err("it must be there for a while".to_owned()),
        life => Ok(life),
    }
}

/// A code that lives longer than a day is no code to be said aloud.
fn code_life(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        life if life.is_zero() => Err("it must live for a while; --no-code prints none".to_owned()),
        life if life > Duration::from_secs(86_400) => Err("a day is the most: the ticket is for longer".to_owned()),
        life => Ok(life),
    }
}

impl ShareArguments {
    /// Whether the tracker runs in this process.
    pub fn has_own_tracker(&self) -> bool {
        self.tracker_ip.is_none()
    }
}

/// Shares until it is told to stop.
pub async fn run(mut arguments: ShareArguments) -> Result<(), Failure> {
    settle(&mut arguments).await?;
    let face = prompt::start(&arguments.peer, OutputStream::Output, prompt::CommandSource::Terminal, End::AtWill);
    // `share` downloads nothing, so the output folder needs no protection from being shared.
    let scan = arguments.links.scan(&arguments.peer);
    let lan = network::start(&arguments.peer, ByDefault::On);
    let shares = Arc::<Shares>::default();
    shares.expect_more(true);
    let (node, own) = match arguments.tracker_ip {
        Some(_) => (bind::bind(&arguments.peer, arguments.port.unwrap_or(0), 1)?, None),
        None => {
            let (node, own) = OwnTracker::bind(&arguments.peer, arguments.port, arguments.tracker_port)?;
            own.start(arguments.tracker_memory, !arguments.open, &shares, node.id());
            (node, Some(own))
        }
    };
    let node = node.private(!arguments.open).output("output").scan(scan).lan(lan.clone());
    if let (Some(lan), Some(own)) = (&lan, &own) {
        let port = own.transport.listeners().first().map_or(0, SocketAddr::port);
        lan.own_tracker(port);
        lan.offer(Offers { port, open: arguments.open, codes: !arguments.no_code });
    }
    let secrets = secrets(&arguments, own.as_ref());
    let node = node.shares(shares.clone()).start();
    let gateway = gateway::beside(&arguments.gateway, || Source::of(&node, "what is shared here")).await?;
    let options = SessionOptions {
        seeder: true,
        own_tracker: own.is_some(),
        ..SessionOptions::new(&arguments.peer, End::AtWill)
    };
    if cfg!(windows) && arguments.takes_stdin() && !arguments.peer.quiet && !arguments.peer.json {
        screen::complain(BYTES);
    }
    let spool = if arguments.takes_stdin() { Some(spool_folder()?) } else { None };
    let tracker = own.as_ref().map(|own| (own.address(), own.transport.listeners()));
    let mapping = arguments.port_mapping(node.listeners(), tracker.as_ref().map_or(&[], |(_, listening)| listening));
    let result = Session::run(node, options, face, async |session: &Session| {
        let mut events = session.node.events();
        let (mut shared, others) =
            begin(session, &arguments, tracker, lan.as_ref(), (secrets, shares.clone()), spool.as_ref(), &mapping)
                .await?;
        let shared_since = shared.since.unwrap_or_else(Moment::now);
        let begun = |shared: &Shared| {
            shares.expect_more(false);
            session.begun()?;
            let promise = Audience::of(&arguments.peer).promise(arguments.open, shared.contents.len());
            session.sharing(&gateway.as_ref().map_or_else(|| promise.clone(), |gateway| gateway.promise(&promise)));
            session.gateway(gateway.as_ref());
            if arguments.open && shared.is_near {
                shared.say_names(session);
            }
            Ok(())
        };
        let over = tokio::select! {
            over = shared.go_on(session, &mut events, others, begun) => over?,
            () = expired(arguments.expires, shared_since) => "this share has expired".to_owned(),
        };
        for (content, _) in shared.contents {
            session.node.end_share(content, &over).await?;
        }
        session.note(&format!("{}.", capitalised(over)));
        session.over();
        Ok(())
    });
    let result = result.await;
    mapping.end().await;
    if spool.is_some() {
        drop(spool);
        temp_folder::forget_parent();
    }
    if let Some(own) = own {
        own.transport.close().await;
    }
    result
}

/// Checks the arguments, and settles what has to be asked or found out before anything starts.
async fn settle(arguments: &mut ShareArguments) -> Result<(), Failure> {
    arguments.paths = patterns::meant(std::mem::take(&mut arguments.paths))?;
    arguments.check_paths()?;
    site::settle(&mut arguments.peer).await;
    temp_folder::sweep_left();
    if arguments.tracker_ip.is_some() && arguments.tracker_port == Some(0) {
        return Err(Failure::new(
            ExitCode::Usage,
            "a tracker that runs elsewhere is not at port 0: name its port with -d",
        ));
    }
    if let Some(given) = &arguments.tracker_ip {
        // While the terminal can be asked: later it is the prompt's.
        let (port, patience) = (arguments.tracker_port.unwrap_or(TRACKER_PORT), Patience::new(arguments.peer.wait));
        let named = named::trackers(given, port)?;
        arguments.peer.trusted = trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await?;
    }
    Ok(())
}

/// The secrets of private shares. A share with an end has a new one each time, so that an old ticket does not open it again.
fn secrets(arguments: &ShareArguments, own: Option<&OwnTracker>) -> Option<Secrets> {
    let has_end = arguments.expires.is_some() || arguments.receivers.is_some();
    match own {
        _ if arguments.open => None,
        Some(own) if !has_end => Some(secrets_of(own.identity.clone())),
        _ => Some(random_secrets()),
    }
}

fn spool_folder() -> Result<TempFolder, Failure> {
    TempFolder::for_spool().map_err(|error| {
        let variable = temp_folder::parent_variable();
        let sentence =
            format!("there is no temporary folder for standard input: {error}. {variable} says where one is made");
        Failure::new(ExitCode::CannotWrite, sentence)
    })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl ShareArguments {
    /// Asks the router to forward what listens here, unless somebody has said where this machine is reached, or everyone gets what
    /// is shared who reaches it: a router is not opened for that unasked.
    fn port_mapping(&self, node: &[SocketAddr], tracker: &[SocketAddr]) -> PortMapping {
        let for_anyone = self.open && self.peer.ca.is_empty();
        let is_told = !self.peer.announce.is_empty() || !self.ticket_address.is_empty();
        if self.no_port_mapping || for_anyone || is_told {
            return PortMapping::none();
        }
        PortMapping::of(&[node, tracker].concat())
    }

    fn takes_stdin(&self) -> bool {
        self.paths.iter().any(|path| is_stdin(path))
    }

    /// Fails with what is wrong with the paths, before anything is begun.
    fn check_paths(&self) -> Result<(), Failure> {
        let usage = |sentence: &str| Err(Failure::new(ExitCode::Usage, sentence));
        if self.receivers.is_some() && self.gateway.address.is_some() {
            return usage(
                "--receivers counts peers, and everyone whom the gateway answers would get it besides: leave out one of them",
            );
        }
        gateway::is_asked_for(&self.gateway)?;
        let has_origin = self.paths.iter().any(|path| origins::url(path).is_some());
        if has_origin {
            Feature::Origins.must_be_built()?;
        }
        if !has_origin && !self.origin.only.is_empty() {
            return usage("--only is for what is shared from a URL: of a folder here, share the files that are meant");
        }
        if !has_origin && self.origin.endpoint.is_some() {
            return usage("--endpoint is for what is shared from a URL, as s3://bucket/key");
        }
        for path in self.paths.iter().filter(|path| !is_stdin(path) && origins::url(path).is_none()) {
            must_exist(path)?;
            stdin::must_not_be_a_pipe(path)?;
            must_be_readable(path)?;
        }
        match self.paths.iter().filter(|path| is_stdin(path)).count() {
            0 if self.name.is_some() => {
                return usage("--name is for standard input, which is shared as `-`: files keep their names");
            }
            0 => return Ok(()),
            1 => {}
            _ => return usage("standard input is there once: give `-` once"),
        }
        if self.peer.commands {
            return usage("standard input is either to be shared or has commands: leave out --commands, or `-`");
        }
        self.name.as_deref().map_or(Ok(()), stdin::check_name)?;
        stdin::must_be_piped()
    }
}
