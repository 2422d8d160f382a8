//! rqbit. Its command line names the other peers: every receiver knows every seeder and every other receiver.

use std::path::PathBuf;
use std::process::Command;

use super::{Done, Needs, Receive, Stage, free_ports, torrent};

pub(super) const NEEDS: Needs = (&[&["rqbit", "--version"]], "cargo install rqbit");

pub(super) fn set_up(stage: &mut Stage) -> anyhow::Result<Receive> {
    let torrent = stage.folder.join("file.torrent");
    torrent::write(&torrent, &stage.file, None)?;
    let rqbit = |port: u16, others: &[u16]| {
        let mut command = Command::new("rqbit");
        command.args(["--disable-dht", "--disable-lsd", "--disable-trackers", "--disable-upnp-port-forward"]);
        command.args(["--ipv4-only", "--listen-ip=127.0.0.1", "--listen-port"]).arg(port.to_string());
        command.args(["download", "--disable-http-api", "--overwrite", "-o", "."]).arg(&torrent);
        if !others.is_empty() {
            let peers: Vec<_> = others.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            command.arg("--initial-peers").arg(peers.join(","));
        }
        command
    };
    let ports = free_ports(stage.seeders + stage.receivers)?;
    let (seeders, receivers) = ports.split_at(stage.seeders.into());
    for &port in seeders {
        let folder = stage.folder_with_file(&format!("seeder-{port}"))?;
        stage.send(rqbit(port, &[]), &folder)?;
    }
    stage.until_all_say(|line| line.contains("Initial check results: have").then_some(()))?;
    let receive = |&port| {
        let others: Vec<_> = ports.iter().copied().filter(|&other| other != port).collect();
        rqbit(port, &others)
    };
    let commands = receivers.iter().map(receive).collect();
    let output = PathBuf::from(stage.file_name());
    Ok(Receive { commands, done: Done::Says("torrent finished downloading"), output, _alive: None })
}
