//! sendme, in a network namespace that has only loopback.
//!
//! Even with relays disabled and addresses in its ticket, sendme publishes itself with a public service and asks public name
//! servers for its address; it has no flag against this. In the namespace these attempts fail at once and cost no time.

use std::path::PathBuf;
use std::process::Command;

use super::{Done, Needs, Receive, Stage};

pub(super) const NEEDS: Needs = (
    &[
        &["sendme", "--version"],
        &["unshare", "--map-root-user", "--net", "ip", "link", "set", "lo", "up"],
        &["nsenter", "--version"],
    ],
    "cargo install sendme; it runs in a network namespace, so it needs Linux with unshare, nsenter and ip (apt install \
     util-linux iproute2), and a system that lets you make namespaces",
);

/// Loopback, any port; without these it listens on every address.
const ADDRESSES: [&str; 4] = ["--magic-ipv4-addr", "127.0.0.1:0", "--magic-ipv6-addr", "[::1]:0"];

pub(super) fn set_up(stage: &mut Stage) -> anyhow::Result<Receive> {
    let folder = stage.folder_with_file("seeder")?;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", "sendme", "send"]);
    command.args(["--no-progress", "--relay=disabled", "--ticket-type=addresses"]).args(ADDRESSES);
    command.arg(stage.file_name());
    // All of these replace themselves by the next: this is the number of sendme itself, and of its namespace.
    let sender = stage.send(command, &folder)?;
    let ticket = stage.until_all_say(|line| line.strip_prefix("sendme receive ").map(str::to_owned))?;
    let receive = |_| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &sender.to_string(), "--user", "--preserve-credentials", "--net", "sendme"]);
        command.args(["receive", "--no-progress", "--relay=disabled"]).args(ADDRESSES).arg(&ticket);
        command
    };
    let commands = (0..stage.receivers).map(receive).collect();
    Ok(Receive { commands, done: Done::Ends, output: PathBuf::from(stage.file_name()), _alive: None })
}
