//! What every kind of peer may be told.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use storage::{Backend, FileBackend, MemoryBackend, MmapBackend};
use transport::{Congestion, Kind};

use crate::flags::durations::duration;
use crate::flags::named::TrustedTracker;
use crate::flags::sizes;

/// The folders of the original's way of starting, in the working folder.
pub const CERTS: &str = "certs";
pub const HASHES: &str = "hashes";

/// What every kind of peer may be told. `flags/help.rs` says for which commands each of it counts.
#[derive(Debug, Clone, Args)]
pub struct PeerArguments {
    /// Address to listen on; every address of this machine if not given
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Where others reach this peer, instead of its listeners' addresses
    ///
    /// Where others reach this peer, instead of the addresses of its listeners: the port that a router forwards to it.
    /// With 0.0.0.0 only the port counts, at the address that the tracker sees; several with several --announce
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port)]
    pub announce: Vec<SocketAddr>,
    /// Dial private addresses, no matter who names them
    ///
    /// Dial private addresses, loopback and those of links no matter who names them, and not only where they lead to the network or
    /// the machine of the one that names them
    #[arg(long)]
    pub dial_private: bool,
    /// Find others on the local network in a closed swarm, too
    ///
    /// Find others on the local network, and be found there, in a closed swarm (--ca) or where the program is started with -i alone,
    /// too
    #[arg(long, conflicts_with = "no_lan")]
    pub lan: bool,
    /// Neither look nor answer on the local network
    ///
    /// Neither look for others on the local network nor answer there
    #[arg(long)]
    pub no_lan: bool,
    /// The tracker's id, which it prints at start
    ///
    /// The tracker's id, which it prints at start; of several trackers one for all, or one for each in their order, with commas
    /// between them. If it is not given, it is read from the tracker's certificate in the certs
    /// folder; where there is none, `peer-cli` shows the id at the first time, asks, and remembers it (not when started with -i alone)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub tracker_id: Vec<protocol::PeerId>,
    /// Folder with certificates and the tracker's key
    ///
    /// Folder with the tracker's certificate, and in a closed swarm with those of peers [default: certs/ where the program is
    /// started with -i alone, or with --ca, or where certs/ holds such files; else a folder of the user's own]
    #[arg(long, value_name = "FOLDER")]
    pub certs: Option<PathBuf>,
    /// Folder for manifests
    ///
    /// Folder for manifests [default: hashes/ where the program is started with -i alone, or where hashes/ holds manifests; else
    /// a folder of the user's own]
    #[arg(long, value_name = "FOLDER")]
    pub hashes: Option<PathBuf>,
    /// Bytes that downloads leave free on the disk, as 5GiB or 0
    ///
    /// Bytes that downloads leave free on the disk, as 5GiB or 0: one that would not is refused before anything is written
    /// [default: 1 % of the file system, at most 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = sizes::bytes)]
    pub keep_free: Option<u64>,
    /// Read downloads back from the disk before they are complete
    ///
    /// Read downloads back from the disk, and verify them, before they are called complete. Otherwise only what somebody else
    /// may have changed meanwhile is
    #[arg(long)]
    pub verify_on_disk: bool,
    /// Most bytes a second to send, as 10MiB
    ///
    /// Most bytes a second to send, as 10MiB or in bits as 80mbit; unlimited if not given. --rate is the same
    #[arg(long, alias = "rate", value_name = "RATE", value_parser = sizes::rate)]
    pub up_rate: Option<u64>,
    /// Most bytes a second to receive
    ///
    /// Most bytes a second to receive; unlimited if not given
    #[arg(long, value_name = "RATE", value_parser = sizes::rate)]
    pub down_rate: Option<u64>,
    /// Bytes of pieces in flight over all connections, 1MiB or more
    #[arg(long, value_name = "SIZE", value_parser = sizes::budget, default_value = "32MiB")]
    pub budget: u64,
    /// Name of the place that this peer is in, or auto
    ///
    /// Name of the place that this peer is in, as berlin or rack-7: what a peer of the same place has, or is about to get,
    /// is not fetched from afar. With auto it is the zone that Kubernetes, EC2 or Google's machines say
    #[arg(long, value_name = "NAME", value_parser = site)]
    pub site: Option<String>,
    /// Give first to those who give (tit for tat), instead of to everyone alike
    #[arg(long)]
    pub fair: bool,
    /// How pieces are kept: mapped files, plain files, or memory
    ///
    /// How pieces are kept: mapped files, plain files, or memory until the download is complete
    #[arg(long, value_enum, default_value_t = StorageName::Mmap)]
    pub storage: StorageName,
    /// How peers are reached: quic, tcp, or auto
    ///
    /// How peers are reached: quic, tcp, or auto for QUIC and, where that gets no answer within a quarter of a second, TCP
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    pub transport: Kind,
    /// Largest datagram to try, in bytes
    ///
    /// Largest datagram to try, in bytes; if not given, what the route to each peer has
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1200..=65_507))]
    pub mtu: Option<u16>,
    /// How QUIC decides how fast to send
    ///
    /// How QUIC decides how fast to send: delivery (by what the path delivers; some loss is taken for chance), cubic or
    /// newreno (slower with every loss), bbr (quinn's, experimental), or auto: cubic where round trips are short, delivery
    /// from 10 ms on. Within one machine it is not used, unless --mtu is given
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub congestion: Congestion,
    /// File of this peer's key
    ///
    /// File of this peer's key, made if it is missing; if not given, the key is fresh at each start
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The swarm is closed: deal only with those of this CA
    ///
    /// The swarm is closed: deal only with those who have a certificate of this CA, as in certs/ca.pem; several with
    /// several --ca, while one replaces another
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub ca: Vec<PathBuf>,
    /// This peer's certificate in a closed swarm
    ///
    /// This peer's certificate in a closed swarm; if not given, the first in the certs folder that no running peer uses
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// How long to wait for others, as 30s or 5m
    ///
    /// How long to wait, from the start on, for the tracker, someone who shares the file, a connection to them, the manifest and
    /// the first bytes, all together; and after that, each time that no bytes come. As 30s or 5m [default: the tracker and
    /// someone who shares it must be there, the rest is waited for as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Read commands (prog, exit) from standard input though it is no terminal
    #[arg(long)]
    pub commands: bool,
    /// Write events as JSON, one a line
    ///
    /// Write events as JSON, one a line, and nothing else to standard output
    #[arg(long)]
    pub json: bool,
    /// Say nothing but what was asked for, and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Draw no progress lines
    #[arg(long)]
    pub no_progress: bool,
    /// The trackers that were named, once it is known who each must prove to be.
    #[arg(skip)]
    pub trusted: Vec<TrustedTracker>,
    /// Where this command keeps what is its own.
    #[arg(skip)]
    pub own: OwnFolders,
}

/// The folders of a command other than the original's way of starting.
#[derive(Debug, Clone, Default)]
pub struct OwnFolders {
    /// Which trackers are known; none where nothing can be kept.
    pub known_trackers: Option<PathBuf>,
    /// The certificate of the tracker that `share` starts on this machine.
    pub own_tracker: Option<PathBuf>,
    /// Whether the hashes folder serves all folders of the user.
    pub by_place: bool,
    /// Whether the tracker's certificate in the certs folder says who the tracker is: the user named that folder, or it was there.
    pub pins_tracker: bool,
    /// Why no key can be kept, if that is so.
    pub lacking: Option<String>,
    /// All of them: none of it is shared, and no download goes there.
    pub all: Vec<PathBuf>,
}

impl PeerArguments {
    /// The folder with certificates: the original's, unless another was named or found.
    pub fn certs(&self) -> &Path {
        self.certs.as_deref().unwrap_or(Path::new(CERTS))
    }

    /// The folder for manifests, likewise.
    pub fn hashes(&self) -> &Path {
        self.hashes.as_deref().unwrap_or(Path::new(HASHES))
    }
}

fn site(name: &str) -> Result<String, String> {
    let most = protocol::MAX_SITE;
    if name.len() > most { Err(format!("at most {most} bytes")) } else { Ok(name.to_owned()) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StorageName {
    Mmap,
    File,
    Memory,
}

impl StorageName {
    pub fn backend(self) -> Arc<dyn Backend> {
        match self {
            StorageName::Mmap => Arc::new(MmapBackend),
            StorageName::File => Arc::new(FileBackend),
            StorageName::Memory => Arc::new(MemoryBackend::default()),
        }
    }
}

/// An address with a port that someone can be reached at.
pub fn with_port(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("nobody is reached at port 0: name the port that is forwarded".to_owned()),
        Err(_) => Err("an address is written like 203.0.113.7:9999 or [2001:db8::7]:9999".to_owned()),
    }
}
