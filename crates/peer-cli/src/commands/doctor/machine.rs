//! What this machine gives: socket buffers, offload, descriptors, a clock, a disk, and processors to hash with.

use std::env::consts::OS;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use atomic_file::{allow_unsupported, patiently};
use peer::hash_content;
use protocol::Algorithm;
use storage::is_withheld;
use transport::{Kind, UdpSupport};

use super::finding::Finding;
use crate::error::{ALLOW_ON_MACOS, ExitCode};
use crate::flags::peer::PeerArguments;
use crate::session::bind;
use crate::ui::amounts;

/// Bytes that are written and hashed: enough to be more than a disk's own cache of a moment.
const TRIED: usize = 64 << 20;
/// With less than this, a download of any size that this is made for will not fit.
#[cfg(unix)]
const LITTLE_SPACE: u64 = 1 << 30;
/// With fewer descriptors a swarm of some hundred peers runs out of them.
#[cfg(unix)]
const FEW_DESCRIPTORS: u64 = 1024;

/// Buffers and offload of UDP sockets.
pub(super) fn sockets(arguments: &PeerArguments) -> Vec<Finding> {
    let support = match UdpSupport::ask(bind::address(arguments)) {
        Ok(support) => support,
        Err(error) => {
            let found = format!("no UDP socket can be opened: {error}");
            if arguments.transport == Kind::Auto {
                return vec![Finding::poor("sockets", found, "Without them there is no QUIC, and TCP is used")];
            }
            return vec![Finding::bad("sockets", ExitCode::Other, found, "Choose another address with --bind")];
        }
    };
    let UdpSupport { wanted_buffer: wanted, receive_buffer: receive, send_buffer: send, .. } = support;
    let [most, least] = [wanted, receive.min(send)].map(|bytes| amounts::amount(bytes as u64));
    let buffers = if receive.min(send) >= wanted {
        Finding::good("buffers", format!("the kernel grants {most} to a socket"))
    } else {
        let advice = format!("On fast links packets are lost{}", raise_buffers(OS, wanted));
        Finding::poor("buffers", format!("the kernel grants {least} of {most} to a socket"), advice)
    };
    vec![buffers, offload(OS, support.sent_at_once, support.received_at_once)]
}

/// How a system grants larger buffers.
fn raise_buffers(system: &str, wanted: usize) -> String {
    match system {
        "linux" => format!(". Raise it: sudo sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}"),
        // It counts what it needs for itself.
        "macos" => format!(". Raise it: sudo sysctl -w kern.ipc.maxsockbuf={}", 2 * wanted),
        _ => String::new(),
    }
}

/// How many datagrams one call sends and receives. Where the system cannot do more than one, there is nothing to complain of.
fn offload(system: &str, sent: usize, received: usize) -> Finding {
    let found = format!("{sent} datagrams a call sent, {received} received");
    let since = match system {
        _ if sent > 1 => return Finding::good("offload", found),
        "linux" => "Linux has segmentation offload since 4.18",
        "windows" => "Windows has segmentation offload since Windows 10, version 2004",
        _ => return Finding::good("offload", format!("{found}: this system has no segmentation offload")),
    };
    Finding::poor("offload", found, format!("Sending costs several times the processor time. {since}"))
}

/// Files and sockets that may be open at once.
#[cfg(unix)]
pub(super) fn descriptors() -> Finding {
    use rustix::process::{Resource, getrlimit};
    // No limit is said as none.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit > FEW_DESCRIPTORS {
        let found = if limit == u64::MAX { "unlimited".to_owned() } else { format!("{limit} may be open") };
        return Finding::good("files", found);
    }
    let advice = "A peer over TCP takes one, and files of what is shared half of them. Raise it with `ulimit -n 65536`";
    Finding::poor("files", format!("{limit} may be open"), advice)
}

#[cfg(not(unix))]
pub(super) fn descriptors() -> Finding {
    Finding::skipped("files", "this system has no limit that could be asked for")
}

/// Certificates have dates, so the clock must be about right: it cannot be earlier than this program.
pub(super) fn clock() -> Finding {
    let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|program| program.modified());
    match built {
        Ok(built) if built > SystemTime::now() => {
            let found = "it shows a time before this program was made";
            Finding::bad("clock", ExitCode::Other, found, "Set it: certificates are only good between two dates")
        }
        _ => Finding::good("clock", format!("{} (UTC)", humantime::format_rfc3339_seconds(SystemTime::now()))),
    }
}

/// Free space, writing and hashing where downloads go.
pub(super) fn disk(folder: &Path) -> Vec<Finding> {
    let there = there(folder);
    let mut findings = vec![space(&there)];
    match try_file(&there) {
        Ok((written, hashed)) => {
            findings.push(Finding::good("disk", format!("{}/s written and synced", amounts::amount(written))));
            findings.push(Finding::good("hashing", format!("{}/s on all processors", amounts::amount(hashed))));
        }
        Err(error) => {
            let found = format!("{} cannot be written: {error}", there.display());
            let (code, advice) = match error.kind() {
                ErrorKind::StorageFull => (ExitCode::DiskFull, "Make room, or choose another folder with --output"),
                _ if is_withheld(&error) => (ExitCode::CannotWrite, ALLOW_ON_MACOS),
                _ => (ExitCode::CannotWrite, "Choose another folder with --output, or change its permissions"),
            };
            findings.push(Finding::bad("disk", code, found, advice));
        }
    }
    findings
}

/// The folder is made by the first download; until then the one that it will be in is as good.
fn there(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|path| path.is_dir()).filter(|path| !path.as_os_str().is_empty());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Removes the file that a try was stopped with.
pub(super) fn remove_tried(folder: &Path) {
    let _ = patiently(|| std::fs::remove_file(tried(&there(folder))));
}

/// The file that a folder's disk is tried with.
fn tried(folder: &Path) -> PathBuf {
    folder.join(format!(".p2p-doctor-{}", std::process::id()))
}

#[cfg(unix)]
fn space(folder: &Path) -> Finding {
    let Ok(found) = rustix::fs::statvfs(folder) else {
        return Finding::skipped("space", format!("{} does not say", folder.display()));
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let words = format!("{} free in {}", amounts::amount(free), folder.display());
    if free >= LITTLE_SPACE {
        return Finding::good("space", words);
    }
    Finding::poor("space", words, "Make room, or choose another folder with --output")
}

#[cfg(not(unix))]
fn space(_: &Path) -> Finding {
    Finding::skipped("space", "not asked for on this system")
}

/// Bytes a second that are written and synced, and hashed from memory.
fn try_file(folder: &Path) -> std::io::Result<(u64, u64)> {
    let path = tried(folder);
    let result = try_at(&path);
    // A virus scanner may look at what was just written.
    let removed = patiently(|| std::fs::remove_file(&path));
    let rates = result?;
    removed.map(|()| rates)
}

fn try_at(path: &Path) -> std::io::Result<(u64, u64)> {
    // No disk or file system makes less of bytes that do not repeat.
    let mut state = 1u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    });
    let bytes: Vec<u8> = words.take(TRIED / 8).flatten().collect();
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    let began = Instant::now();
    file.write_all(&bytes)?;
    allow_unsupported(file.sync_all())?;
    let written = began.elapsed();
    let began = Instant::now();
    hash_content(path, Algorithm::Blake3, None, |_, _| {}).map_err(std::io::Error::other)?;
    let rate = |time: std::time::Duration| (TRIED as f64 / time.as_secs_f64().max(1e-6)) as u64;
    Ok((rate(written), rate(began.elapsed())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;

    #[test]
    fn nobody_is_told_of_what_their_system_has_not() {
        assert!(
            raise_buffers("linux", 7).contains("rmem_max=7") && raise_buffers("macos", 7).contains("maxsockbuf=14")
        );
        assert_eq!(raise_buffers("windows", 7), "");
        let verdict = |system, sent| offload(system, sent, 1).verdict;
        assert_eq!([verdict("linux", 1), verdict("windows", 1)], [Verdict::Poor, Verdict::Poor]);
        assert_eq!([verdict("macos", 1), verdict("linux", 64)], [Verdict::Good, Verdict::Good]);
    }

    #[test]
    fn the_disk_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let findings = disk(&folder.path().join("output"));
        assert!(findings.iter().any(|finding| finding.name == "hashing"), "{findings:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
