//! Files that are made when they are read, as a kernel makes those in `/proc` and `/sys`. What they say of their size says nothing of the
//! bytes that come, and those are others each time, so they cannot be shared.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// File systems of Linux's kernel: proc, sysfs, debugfs, tracefs, configfs, securityfs, and both kinds of cgroups.
#[cfg(target_os = "linux")]
const KERNEL: [i128; 8] =
    [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x6265_6570, 0x7363_6673, 0x0027_e0eb, 0x6367_7270];

/// Whether the size of a file, or of a folder's files, is not known before they are read: as in `/proc`, or where a file says to be empty
/// and has bytes all the same. One that is being written to now is looked at again anyway.
pub fn is_unsized(at: &Path, metadata: &Metadata) -> bool {
    if is_of_kernel(at, metadata) {
        return true;
    }
    if !metadata.is_file() || metadata.len() > 0 {
        return false;
    }
    let read = |mut file: File| Ok(file.read(&mut [0])? > 0 && file.metadata()?.len() == 0);
    open_at_once(at).and_then(read).unwrap_or(false)
}

/// Opens a file to read it. Some wait for what they are to say: this does not.
pub(crate) fn open_at_once(at: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    options.open(at)
}

/// What lies in a kernel's own file system has no block of any disk: nothing else is asked where it lies, which takes its time.
#[cfg(target_os = "linux")]
fn is_of_kernel(at: &Path, metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_plain = metadata.is_file() || metadata.is_dir();
    let lies_there = || rustix::fs::statfs(at).is_ok_and(|system| KERNEL.contains(&i128::from(system.f_type)));
    is_plain && metadata.blocks() == 0 && lies_there()
}

#[cfg(not(target_os = "linux"))]
fn is_of_kernel(_: &Path, _: &Metadata) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_makes_is_told_from_files_whatever_it_says_of_itself() {
        let is_unsized = |path: &Path| is_unsized(path, &path.metadata().unwrap());
        for path in ["/proc/version", "/proc/self/mem", "/proc/self", "/proc/net", "/sys/class/net/lo/mtu"] {
            // Not every sandbox has all of them.
            assert!(!Path::new(path).exists() || is_unsized(Path::new(path)), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
        std::fs::write(&empty, "").unwrap();
        std::fs::write(&full, "bytes").unwrap();
        assert!(!is_unsized(&empty) && !is_unsized(&full) && !is_unsized(folder.path()));
        assert!(!is_unsized(Path::new("/dev/null")), "it says itself what it is");
    }
}
