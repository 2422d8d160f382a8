//! Archives that have the same bytes whenever and wherever the same files are packed: names in order, no owner, one time, and the
//! rights that the files are meant to have instead of those that a checkout happened to give them.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use zip::write::SimpleFileOptions;

/// The time that all files get, in seconds since 1970: `SOURCE_DATE_EPOCH`, else that of the commit, else the first one that zip
/// knows.
pub(super) fn time() -> anyhow::Result<u64> {
    const FIRST: u64 = 315_532_800;
    if let Some(set) = env::var_os("SOURCE_DATE_EPOCH").filter(|set| !set.is_empty()) {
        let set = set.to_string_lossy().into_owned();
        return set.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {set:?}, and should be seconds since 1970"));
    }
    let commit = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok();
    let commit = commit.filter(|output| output.status.success()).map(|output| output.stdout);
    Ok(commit.and_then(|said| String::from_utf8(said).ok()?.trim().parse().ok()).unwrap_or(FIRST))
}

/// The same time as a text.
pub(super) fn timestamp(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// A program may be executed; everything else is only read.
pub(super) fn mode(inside: &str) -> u32 {
    let is_program = !inside.contains('/') && (!inside.contains('.') || inside.ends_with(".exe"));
    if is_program && !inside.starts_with("LICENSE") { 0o755 } else { 0o644 }
}

/// All files in a folder and those below, sorted.
pub(super) fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// A file's path in an archive.
fn inside(folder: &Path, file: &Path) -> anyhow::Result<String> {
    Ok(file.strip_prefix(folder)?.to_string_lossy().replace('\\', "/"))
}

fn name(folder: &Path) -> anyhow::Result<String> {
    Ok(folder.file_name().context("it has a name")?.to_string_lossy().into_owned())
}

/// Packs a folder beside it, as Windows unpacks it.
pub(super) fn zip(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.zip", folder.display()));
    let mut zip = Zip::create(&path)?;
    for file in files_in(folder)? {
        let inside = inside(folder, &file)?;
        zip.add(&format!("{}/{inside}", name(folder)?), mode(&inside), &fs::read(&file)?)?;
    }
    zip.finish()?;
    Ok(path)
}

/// A zip that is being written. Its files have the format's first time: it knows no zone, so no other is the same everywhere.
pub(super) struct Zip(zip::ZipWriter<fs::File>);

impl Zip {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Zip(zip::ZipWriter::new(fs::File::create(path)?)))
    }

    pub(super) fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
        self.0.start_file(name, options.unix_permissions(mode))?;
        Ok(self.0.write_all(bytes)?)
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.0.finish()?;
        Ok(())
    }
}

/// Packs a folder beside it, as all others unpack it.
pub(super) fn tar(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(format!("{}.tar.gz", folder.display()));
    let time = time()?;
    // Neither a name nor a time in the head of the compressed file, nor the system that it was made on.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(fs::File::create(&path)?, Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for file in files_in(folder)? {
        let inside = inside(folder, &file)?;
        let bytes = fs::read(&file)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode(&inside));
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{}/{inside}", name(folder)?), bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?;
    ensure!(path.is_file(), "{} was not written", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same files, made in another order and, where there are such, with other rights.
    fn folder(parent: &Path, names: &[&str], rights: u32) -> PathBuf {
        let folder = parent.join("p2p-fileshare-1.0.0-any");
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name.repeat(100)).unwrap();
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(rights)).unwrap();
        }
        let _ = rights;
        folder
    }

    #[test]
    fn the_same_files_are_the_same_archive_whatever_the_disk_says() {
        let parents = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let here = folder(parents[0].path(), &["tracker", "README.md", "docs/a.md", "docs/b.md"], 0o755);
        let there = folder(parents[1].path(), &["docs/b.md", "docs/a.md", "README.md", "tracker"], 0o600);
        for pack in [tar, zip] {
            let (here, there) = (pack(&here).unwrap(), pack(&there).unwrap());
            assert!(fs::read(&here).unwrap() == fs::read(there).unwrap(), "{} differs", here.display());
        }
    }

    #[test]
    fn programs_may_be_run_and_nothing_else() {
        for (file, expected) in
            [("tracker", 0o755), ("peer-cli.exe", 0o755), ("LICENSE-MIT", 0o644), ("man/tracker", 0o644)]
        {
            assert_eq!(mode(file), expected, "{file}");
        }
    }

    #[test]
    fn a_time_is_written_as_all_read_it() {
        assert_eq!(timestamp(315_532_800), "1980-01-01T00:00:00Z");
    }
}
