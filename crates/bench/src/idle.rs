//! `cargo xtask bench idle`: the memory and the processor time that a tracker takes for each peer that is connected, has
//! announced a content and says nothing more. They bound how many peers a tracker can know.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use peer::{Node, TrackerAddress};
use protocol::{ContentId, Digest};
use testbed::files::run_folder;
use testbed::interrupt::{check_interrupted, watch_interrupts};
use testbed::programs;
use testbed::tracker;
use testbed::usage::{memory, processor_time};
use tokio::task::JoinSet;
use transport::{Config, Identity, Kind, peer_id_of_certificate_pem};

/// What a connection may take on the tracker, in bytes.
const LIMIT: u64 = 40_000;
/// Peers that join at once.
const TOGETHER: usize = 8;
/// Peers that have come before anything is weighed: the tracker's first ones cost what all share.
const FIRST: u64 = 16;
/// The tracker says where it listens within this time.
const STARTS: Duration = Duration::from_secs(10);
/// Handshakes and the search for the path's MTU are over after this long.
const SETTLED: Duration = Duration::from_secs(4);
/// The processor's time is counted in hundredths of a second: idle peers take little of it.
const WATCHED: Duration = Duration::from_secs(20);

/// What is weighed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Connections
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub peers: u16,
    /// Ways to connect, as quic or tcp
    #[arg(long, value_name = "TRANSPORT", value_delimiter = ',', default_values = ["quic", "tcp"])]
    pub transport: Vec<String>,
}

/// Builds, weighs, prints; fails if a connection takes more than it may.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = programs::build_for_figures()?;
    watch_interrupts()?;
    let mut most = 0;
    for name in &arguments.transport {
        let kind: Kind = name.parse()?;
        let folder = run_folder(&programs.tracker)?;
        let result = weigh(&programs.tracker, &folder, kind, u64::from(arguments.peers));
        fs::remove_dir_all(&folder)?;
        let Weighed { before, after, busy } = result?;
        let each = after.saturating_sub(before) / u64::from(arguments.peers);
        println!("{name}: {each} bytes a connection ({before} before, {after} after {} more)", arguments.peers);
        let thousand = busy * 100.0 * 1000.0 / f64::from(arguments.peers);
        println!("{name}: {thousand:.2}% of a core for 1,000 idle connections");
        most = most.max(each);
    }
    ensure!(most <= LIMIT, "more than the {LIMIT} bytes that a connection may take");
    Ok(())
}

/// What a tracker takes.
struct Weighed {
    /// Bytes of memory before the peers came.
    before: u64,
    /// And after.
    after: u64,
    /// The part of a core that it is busy while they are idle.
    busy: f64,
}

/// What so many peers cost a tracker.
fn weigh(program: &Path, folder: &Path, kind: Kind, peers: u64) -> anyhow::Result<Weighed> {
    let mut command = Command::new(program);
    command.args(["-p", "0", "--bind", "127.0.0.1", "--certs"]).arg(folder.join("certs"));
    let (tracker, address) = tracker::start(command, folder, STARTS)?;
    let id = peer_id_of_certificate_pem(&folder.join("certs/tracker.pem"))?;
    let address = TrackerAddress { addresses: vec![address], id, name: None };
    let weight = || memory(tracker.number()).map(|[own, _]| own).context("only Linux tells a process's memory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut nodes = join(kind, &address, folder, 0..FIRST).await?;
        tokio::time::sleep(SETTLED).await;
        let before = weight()?;
        nodes.extend(join(kind, &address, folder, FIRST..FIRST + peers).await?);
        tokio::time::sleep(SETTLED).await;
        let after = weight()?;
        let busy = || processor_time(tracker.number()).context("only Linux tells a process's time");
        let (began, since) = (busy()?, Instant::now());
        tokio::time::sleep(WATCHED).await;
        let busy = (busy()? - began) / since.elapsed().as_secs_f64();
        drop(nodes);
        Ok(Weighed { before, after, busy })
    })
}

/// Peers that are connected and want a content each that nobody has.
async fn join(
    kind: Kind,
    tracker: &TrackerAddress,
    folder: &Path,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<Vec<Node>> {
    let (mut joining, mut nodes) = (JoinSet::new(), Vec::new());
    for number in numbers {
        check_interrupted()?;
        let config = Config::new(Identity::generate()?, vec!["127.0.0.1:0".parse().expect("an address")]);
        let storage = Arc::new(storage::MemoryBackend::default());
        let folder = folder.join("nobody");
        let node = Node::builder(kind.bind(config)?).storage(storage).hashes(&folder).output(&folder).start();
        let tracker = tracker.clone();
        joining.spawn(async move {
            node.join(tracker).await?;
            node.download(ContentId(Digest::of(&number.to_le_bytes()))).start().await?;
            Ok::<_, peer::PeerError>(node)
        });
        while joining.len() >= TOGETHER {
            nodes.push(joining.join_next().await.context("someone joins")???);
        }
    }
    while let Some(node) = joining.join_next().await {
        nodes.push(node??);
    }
    Ok(nodes)
}
