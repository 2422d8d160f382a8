//! aria2. It learns about peers only from a tracker, so one runs beside it.

use std::path::PathBuf;
use std::process::Command;

use super::announce::Tracker;
use super::{Done, Needs, READY, Receive, Stage, free_ports, torrent};

pub(super) const NEEDS: Needs =
    (&[&["aria2c", "--version"]], "install aria2 with the system's package manager (apt, dnf, brew)");

pub(super) fn set_up(stage: &mut Stage) -> anyhow::Result<Receive> {
    let tracker = Tracker::start()?;
    let torrent = stage.folder.join("file.torrent");
    torrent::write(&torrent, &stage.file, Some(&tracker.url()))?;
    let aria2 = |port: u16| {
        let mut command = Command::new("aria2c");
        command.args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"]);
        command.args(["--disable-ipv6", "--interface=127.0.0.1", "--async-dns=false", "--dir=.", "--seed-ratio=0"]);
        // Space is reserved without writing zeros, which would take as long as the file itself.
        command.args(["--file-allocation=falloc", "--summary-interval=0", "--listen-port"]).arg(port.to_string());
        // While it seeds on it says nothing by itself: the hook prints a number, the count of files and the path.
        command.arg("--on-bt-download-complete=echo").arg("--torrent-file").arg(&torrent);
        command
    };
    let ports = free_ports(stage.seeders + stage.receivers)?;
    let (seeders, receivers) = ports.split_at(stage.seeders.into());
    for &port in seeders {
        let folder = stage.folder_with_file(&format!("seeder-{port}"))?;
        let mut command = aria2(port);
        command.arg("--bt-seed-unverified");
        stage.send(command, &folder)?;
    }
    tracker.until_announced(stage.seeders.into(), READY)?;
    let commands = receivers.iter().map(|&port| aria2(port)).collect();
    let output = PathBuf::from(stage.file_name());
    Ok(Receive { commands, done: Done::Says(" 1 ./"), output, _alive: Some(tracker) })
}
