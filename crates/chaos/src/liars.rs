//! Seeders that lie: about a few bytes, all bytes, the length, or the manifest.

use std::fs::File;
use std::time::Duration;

use anyhow::Context;
use hostile::{Hostile, Script, answer, forged, said};
use protocol::{Algorithm, ContentId, Digest, FileEntry, ManifestHeader, PeerId, PeerMessage, PieceRange, Request};
use testbed::event::{Banned, Error, Ready};
use tool::usage;

use super::own_node::OwnNode;
use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground, wrong_blocks};

pub const CASES: &[Case] = &[
    Case { name: "liar-flips", fault: "one of three seeders flips 1 % of all bytes", run: flips },
    Case { name: "liar-pieces", fault: "one of three seeders serves other pieces", run: pieces },
    Case { name: "liar-length", fault: "one of three seeders serves a wrong length", run: length },
    Case { name: "liars-all", fault: "all three seeders lie", run: all },
    Case { name: "manifest-altered", fault: "a peer serves an altered manifest", run: altered },
    Case { name: "manifests-hostile", fault: "50 hostile manifests", run: manifests },
];

/// Pieces that may be wrong before a liar is shut out.
const WRONG: f64 = 3.0;
/// Milliseconds after which a bad manifest's peer must be gone, and MiB that all of them may cost.
const REFUSED: f64 = 100.0;
const FLAT: f64 = 16.0;
const SOON: Duration = Duration::from_secs(30);

/// One byte in a hundred.
pub(crate) fn flip(_: u64, bytes: &mut [u8]) {
    bytes.iter_mut().step_by(100).for_each(|byte| *byte ^= 0x55);
}

fn flips(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    one_lies(ground, report, |stage| {
        let liar = OwnNode::liar(stage, "liar", flip, None)?;
        Ok((liar.id, Box::new(liar)))
    })
}

fn pieces(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    one_lies(ground, report, |stage| {
        let other = |offset: u64, bytes: &mut [u8]| {
            fastrand::Rng::with_seed(offset).fill(bytes);
        };
        let liar = OwnNode::liar(stage, "liar", other, None)?;
        Ok((liar.id, Box::new(liar)))
    })
}

fn length(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    one_lies(ground, report, |stage| {
        let (content, pieces) = stage.content()?;
        let (file, size) = (File::open(&stage.ground.file)?, stage.ground.size);
        let mut script = Script::answers(content, pieces, move |request| {
            let Request::Pieces { run, .. } = request else { return None };
            let begin = u64::from(run.first) << 20;
            let len = (u64::from(run.count) << 20).min(size - begin) - 1;
            let mut bytes = vec![0; len as usize];
            storage::positioned::read_exact_at(&file, &mut bytes, begin).ok()?;
            Some(answer(&bytes))
        });
        // It gives at once, so that it is taken up on it.
        let runs = (0..pieces.min(16)).map(|first| PieceRange { first, count: 1 }).collect();
        script.control.extend(said(&PeerMessage::Offer { content, runs }));
        let liar = Hostile::seeder(&stage.tracker()?, content, &stage.wanted().display().to_string(), script);
        Ok((liar.id(), Box::new(liar)))
    })
}

/// Keeps the started processes running.
type Keep = Box<dyn std::any::Any>;

fn one_lies(
    ground: &Ground,
    report: &mut Report,
    start: impl FnOnce(&Stage<'_>) -> anyhow::Result<(PeerId, Keep)>,
) -> anyhow::Result<()> {
    let undisturbed = ground.undisturbed()?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(2)?;
    let (liar, _keep) = start(&stage)?;
    let downloader = stage.downloader("downloader", &[])?;
    let banned = stage.event::<Banned>(downloader, SOON)?;
    let part = stage.part_file(&stage.folder("downloader")?.join("output"));
    let wrong_then = wrong_blocks(&part, &ground.file)?;
    let seconds = stage.verified(downloader)?;
    let peer = &stage.peers[downloader];
    report.holds("complete and equal", true);
    report.at_most("time", seconds, 2.0 * undisturbed, "s");
    report.holds("the liar is banned", banned.peer == liar.to_string() && peer.count::<Banned>() == 1);
    report.at_most(
        "bad pieces until then",
        (peer.logged("a wrong piece") + peer.logged("a wrong length")) as f64,
        WRONG,
        "",
    );
    report.at_most("bad blocks on disk then", wrong_then as f64, 0.0, "");
    report.at_least("honest sources", stage.gave(2, downloader)? as f64, 2.0, "");
    stage.close()
}

fn all(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let liars = (1..=3).map(|number| OwnNode::liar(&stage, &format!("liar-{number}"), flip, None));
    let _liars = liars.collect::<anyhow::Result<Vec<_>>>()?;
    let downloader = stage.downloader("downloader", &["--wait=5s"])?;
    let status = stage.ends(downloader, Duration::from_secs(120))?;
    let peer = &stage.peers[downloader];
    report.at_least("liars banned", peer.count::<Banned>() as f64, 3.0, "");
    report.holds("exit status 5", status.code() == Some(5));
    let error = peer.last::<Error>().map(|error| &*error.message).unwrap_or_default();
    report.holds("it says so", error.contains("sent wrong pieces"));
    let output = stage.folder("downloader")?.join("output");
    report.holds("no final file", !output.join(stage.wanted()).exists());
    report.at_most("bad blocks on disk", wrong_blocks(&stage.part_file(&output), &ground.file)? as f64, 0.0, "");
    stage.close()
}

fn altered(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    // The honest one waits, so that the manifest is asked of the other.
    let honest = stage.seeder("seeder-1", &[])?;
    let (content, pieces) = stage.content()?;
    let kept =
        std::fs::read_dir(stage.folder("seeder-1")?.join("hashes"))?.next().context("it keeps the manifest")??;
    let mut bytes = std::fs::read(kept.path())?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    stage.kill(honest);
    let script = Script::answers(content, pieces, move |_| Some(answer(&bytes)));
    let liar = Hostile::seeder(&stage.tracker()?, content, "random.bin", script);
    let id = content.to_string();
    let downloader = stage.start("downloader", stage.command(&["-f", &id]))?;
    report.at_most("refused after", liar.is_shut_out("an altered manifest").as_secs_f64() * 1e3, REFUSED, "ms");
    report.holds("the liar is banned", stage.event::<Banned>(downloader, SOON)?.peer == liar.id().to_string());
    report.at_most("files written", files(&stage, "downloader")? as f64, 0.0, "");
    stage.close()
}

/// Files in the folders that a downloader writes to.
fn files(stage: &Stage<'_>, peer: &str) -> anyhow::Result<usize> {
    let folder = stage.folder(peer)?;
    Ok(["hashes", "output"].iter().filter_map(|name| std::fs::read_dir(folder.join(name)).ok()).flatten().count())
}

/// Headers of manifests that no file should be made of.
fn hostile_headers() -> Vec<ManifestHeader> {
    let header = |name: &str, path: &str, size: u64| ManifestHeader {
        name: name.to_owned(),
        folder: true,
        algorithm: Algorithm::Blake3,
        piece_size: 1024,
        files: vec![FileEntry { path: path.to_owned(), size, executable: false, root: Digest([0; 32]) }],
        empty_folders: vec![],
    };
    let names = ["../evil", "/tmp/evil", "a/../../evil", "..", ".", "", "a\0b", "a/b", "evil\\..\\x", "-rf/"];
    let paths = ["../evil", "/etc/evil", "x/../../../evil", "x//y", "./x", "x/.", "\0", "..", "", "a/../a"];
    let sizes = [u64::MAX, 1 << 63, 1 << 50, 1 << 40, (1 << 30) + 1];
    let named = names.iter().map(|name| header(name, "x", 5));
    let pathed = paths.iter().map(|path| header("a", path, 5));
    let sized = sizes.iter().map(|&size| header("a", "x", size));
    named.chain(pathed).chain(sized).collect()
}

fn manifests(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let mut stage = Stage::open(ground, &report.case)?;
    let headers = hostile_headers();
    let forgeries = headers.iter().map(|header| forged(header, 1));
    let garbage = (0..50 - headers.len()).map(|number| {
        let mut bytes = vec![0; 1 << (number % 16)];
        fastrand::Rng::with_seed(number as u64).fill(&mut bytes);
        bytes
    });
    let (mut slowest, mut count) = (0.0f64, 0);
    let idle = stage.start("downloader", stage.command(&["--wait=5m", "-f", "nothing"]))?;
    stage.event::<Ready>(idle, SOON)?;
    let tracker = stage.tracker()?;
    let hostile: Vec<_> = forgeries
        .chain(garbage)
        .map(|bytes| {
            let content = ContentId(Digest::of(&bytes));
            let script = Script::answers(content, 1, move |_| Some(answer(&bytes)));
            (content, Hostile::seeder(&tracker, content, "a", script))
        })
        .collect();
    let mut flags = Vec::new();
    let ids: Vec<_> = hostile.iter().map(|(content, _)| content.to_string()).collect();
    ids.iter().for_each(|id| flags.extend(["-f", id]));
    let victim = stage.start("victim", stage.command(&flags))?;
    stage.event::<Ready>(victim, SOON)?;
    for (_, hostile) in &hostile {
        slowest = slowest.max(hostile.is_shut_out("a hostile manifest").as_secs_f64() * 1e3);
        count += 1;
    }
    stage.hear(Duration::from_millis(200))?;
    let anonymous = |who: usize| usage::own_memory(stage.peers[who].process.number());
    let more = (anonymous(victim) - anonymous(idle)) / f64::from(1 << 20);
    report.at_least("refused", f64::from(count), 50.0, "");
    report.at_most("slowest after", slowest, REFUSED, "ms");
    report.at_most("files written", files(&stage, "victim")? as f64, 0.0, "");
    report.at_most("memory beyond that of an idle peer", more, FLAT, "MiB");
    stage.close()
}
