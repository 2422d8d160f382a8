//! Becoming root where the lab is: a user may be that in a namespace of its own, where the system allows it.

use std::process::Command;

use anyhow::Context;

/// Set for the program that runs inside.
const INSIDE: &str = "P2P_NAT_INSIDE";

/// Runs this program again as root of a namespace of its own, unless it is root. Whether that went well; nothing if this is the
/// program that is to do the work.
pub fn become_root() -> anyhow::Result<Option<bool>> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if is_root || std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let own = std::env::current_exe().context("this program has no path")?;
    // `ip netns` keeps names in /run, which is somebody else's.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"").arg(own).args(std::env::args_os().skip(1));
    let allowed = Command::new("unshare").args(["--user", "--map-root-user", "--net", "--mount", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        // The lab says what it lacks.
        return Ok(None);
    }
    let status = command.env(INSIDE, "1").status().context("unshare does not run")?;
    Ok(Some(status.success()))
}
