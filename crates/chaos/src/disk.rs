//! Disks that are full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testbed::event::{Error, Manifest};

use super::report::Report;
use super::stage::Stage;
use super::{Case, Ground};

pub const CASES: &[Case] = &[
    Case { name: "disk-too-small", fault: "the disk is too small for the file", run: too_small },
    Case { name: "disk-full", fault: "the disk is full in the middle of a download", run: full },
];

/// Seconds after which it must be said that there is no room.
const SAID: f64 = 5.0;

/// A file system in memory, of so many bytes. It is taken down when it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Where the downloader of a case writes to. To be mounted before anyone runs there, so that it outlasts them.
    pub fn mount(ground: &Ground, case: &str, bytes: u64) -> anyhow::Result<Self> {
        let folder = ground.folder.join(case).join("downloader/output");
        std::fs::create_dir_all(&folder)?;
        let size = format!("size={bytes}");
        mount(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder))?;
        Ok(SmallDisk(folder))
    }

    fn grow(&self, bytes: u64) -> anyhow::Result<()> {
        self.set(&format!("size={bytes}"))
    }

    /// Mounts it again, with this option.
    pub fn set(&self, option: &str) -> anyhow::Result<()> {
        mount(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = mount(Command::new("umount").arg(&self.0)) {
            eprintln!("{} is left mounted: {error:#}", self.0.display());
        }
    }
}

fn mount(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("there is no mount here: this case needs Linux")?;
    ensure!(output.status.success(), "{}; it needs root", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Waits until a downloader has ended because there is no room.
fn ends_for_want_of_room(stage: &mut Stage<'_>, who: usize, report: &mut Report) -> anyhow::Result<()> {
    let began = Instant::now();
    let status = stage.ends(who, Duration::from_secs(120))?;
    report.at_most("said after", began.elapsed().as_secs_f64(), SAID, "s");
    let said = stage.peers[who].last::<Error>().map(|error| &*error.message).unwrap_or_default();
    report.holds("exit status 8, no SIGBUS", status.code() == Some(8));
    report.holds("it says what to do", said.contains("Make room and start again"));
    Ok(())
}

fn too_small(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let disk = SmallDisk::mount(ground, &report.case, ground.size / 2)?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(1)?;
    for _ in 0..2 {
        let downloader = stage.downloader("downloader", &[])?;
        ends_for_want_of_room(&mut stage, downloader, report)?;
        report.holds("nothing was written", std::fs::read_dir(&disk.0)?.next().is_none());
    }
    disk.grow(ground.size * 2)?;
    let downloader = stage.downloader("downloader", &[])?;
    stage.verified(downloader)?;
    report.holds("complete and equal once there is room", true);
    stage.close()
}

/// Gives the disk back what is reserved for a file and not written.
#[cfg(target_os = "linux")]
fn give_back(path: &Path, size: u64) -> anyhow::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut block = vec![0; 1 << 20];
    for at in (0..size).step_by(block.len()) {
        let len = block.len().min((size - at) as usize);
        storage::positioned::read_exact_at(&file, &mut block[..len], at)?;
        if block[..len].iter().all(|&byte| byte == 0) {
            fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len as u64)?;
        }
    }
    Ok(())
}

/// Only Linux mounts the disk of this case.
#[cfg(not(target_os = "linux"))]
fn give_back(_: &Path, _: u64) -> anyhow::Result<()> {
    anyhow::bail!("this case needs Linux")
}

fn full(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let disk = SmallDisk::mount(ground, &report.case, ground.size * 2)?;
    let mut stage = Stage::open(ground, &report.case)?;
    stage.seeders(3)?;
    let downloader = stage.downloader("downloader", &[])?;
    stage.part(downloader, 0.5)?;
    // What was reserved for the rest is taken away, as on a file system that can reserve nothing.
    stage.signal(downloader, "STOP")?;
    give_back(&stage.part_file(&disk.0), ground.size)?;
    let (ballast, mut block) = (disk.0.join("ballast"), vec![7; 1 << 20]);
    let mut file = std::fs::File::create(&ballast)?;
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    stage.signal(downloader, "CONT")?;
    ends_for_want_of_room(&mut stage, downloader, report)?;
    drop(file);
    std::fs::remove_file(&ballast)?;
    let again = stage.downloader("downloader", &[])?;
    let have = stage.event::<Manifest>(again, Duration::from_secs(30))?.have;
    stage.verified(again)?;
    report.holds("complete and equal once there is room", true);
    report.at_least("part kept", f64::from(have) / f64::from(stage.content()?.1), 0.3, "");
    stage.close()
}
