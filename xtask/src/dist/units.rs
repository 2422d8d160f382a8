//! Checks the systemd units with systemd: each must be valid, and as little exposed as a service of its kind can be.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use testbed::programs::Programs;

use super::{output_of, there_is};

/// `systemd-analyze security` counts from 0, nothing can be done from it, to 100. Networks must stay open.
const MOST_EXPOSED: &str = "20";

/// The oldest systemd that judges files of a folder, and says by its end how.
const OLDEST: u32 = 250;

/// False where there is no systemd to ask. Fails, with what systemd says, if a unit is not sound.
pub(super) fn are_sound(programs: &Programs) -> anyhow::Result<bool> {
    if !there_is("systemd-analyze") {
        eprintln!("the units are not checked: there is no systemd-analyze");
        return Ok(false);
    }
    // What it is asked for below came then.
    let systemd = output_of(Command::new("systemd-analyze").arg("--version"))?;
    if version(&String::from_utf8_lossy(&systemd)).is_none_or(|version| version < OLDEST) {
        eprintln!("the units are not checked: systemd is older than {OLDEST}");
        return Ok(false);
    }
    // A root in which the programs are where the units expect them.
    let root = tempfile::tempdir()?;
    let (units, bin) = (root.path().join("usr/lib/systemd/system"), root.path().join("usr/bin"));
    fs::create_dir_all(&units)?;
    fs::create_dir_all(&bin)?;
    for program in [&programs.tracker, &programs.peer] {
        fs::copy(program, bin.join(program.file_name().context("a program has a name")?))?;
    }
    // What reloads the daemon.
    fs::create_dir_all(root.path().join("bin"))?;
    fs::copy("/bin/kill", root.path().join("bin/kill")).context("/bin/kill")?;
    for unit in fs::read_dir("packaging/systemd").context("packaging/systemd")? {
        let unit = unit?.path();
        let name = unit.file_name().context("a unit has a name")?.to_string_lossy().into_owned();
        fs::copy(&unit, units.join(&name))?;
        check(root.path(), &units, &name.replace("@.", "@models."))?;
    }
    Ok(true)
}

/// The version of systemd, if it says it: `systemd 249 (249.11-0ubuntu3)`.
fn version(said: &str) -> Option<u32> {
    said.split_whitespace().nth(1)?.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
}

fn check(root: &Path, units: &Path, name: &str) -> anyhow::Result<()> {
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg("--root").arg(root);
    let output = verify.arg(name).output()?;
    // What the distribution's own units lack in such a root is none of ours.
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("p2p-")).collect();
    if !output.status.success() || !ours.is_empty() {
        bail!(
            "systemd does not take {name}: {}",
            if ours.is_empty() { said.trim().to_owned() } else { ours.join("\n") }
        );
    }
    let file = units.join(name.replace("@models.", "@."));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--no-pager", "--threshold", MOST_EXPOSED]).arg(&file);
    let said = output_of(&mut security).context("the unit is more exposed than it needs to be")?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if let Some(line) = said.lines().rev().find(|line| line.contains("Overall exposure")) {
        eprintln!("{}", line.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_systemd_is_read_as_distributions_write_it() {
        assert_eq!(version("systemd 249 (249.11-0ubuntu3.12)\n+PAM +AUDIT"), Some(249));
        assert_eq!(version("systemd 257~rc2 (257~rc2-1)"), Some(257));
        assert_eq!(version(""), None);
    }
}
