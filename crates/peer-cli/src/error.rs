//! The program's exit status: `docs/exit-codes.md` in code. Final; scripts rely on it.

use std::ffi::OsStr;
#[cfg(any(feature = "gateway", feature = "metrics"))]
use std::io;
use std::path::Path;

use peer::json::{self, Event};
use peer::{LeftOut, LeftOutReason, NameDoubt, PeerError};
use protocol::printable;
use storage::{StorageError, is_withheld};

/// What to do where too many files are open. Windows has no limit that could be raised.
pub const RAISE_LIMIT: &str =
    if cfg!(unix) { "Raise the limit of open files (ulimit -n)" } else { "End other programs, or share less at once" };

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    Other = 1,
    Usage = 2,
    TrackerUnreachable = 3,
    NotFound = 4,
    NobodyHasAPiece = 5,
    AddressInUse = 6,
    CannotWrite = 7,
    DiskFull = 8,
    VerificationFailed = 9,
    Refused = 10,
    Stopped = 11,
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl ExitCode {
    /// Of an address that a listener cannot have. Windows denies a port that it keeps for another program.
    #[cfg(any(feature = "gateway", feature = "metrics"))]
    pub fn of_listener(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => ExitCode::AddressInUse,
            io::ErrorKind::PermissionDenied if cfg!(windows) => ExitCode::AddressInUse,
            _ => ExitCode::Other,
        }
    }
}

/// An error with its exit status: what failed, why, and what to do.
#[derive(Debug)]
pub struct Failure {
    pub code: ExitCode,
    pub message: String,
    /// Lines below it, such as what there is to choose from.
    pub lines: Vec<String>,
    /// Whether it was said as an event already.
    pub told: bool,
    /// Whether it only ends because nobody reads standard output any more: it does so quietly, as other programs in a pipe do.
    pub quiet: bool,
}

impl Failure {
    pub fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), lines: Vec::new(), told: false, quiet: false }
    }

    /// The end of a command whose reader has seen enough.
    pub fn unread() -> Self {
        Failure { quiet: true, ..Failure::new(ExitCode::CannotWrite, "nobody reads standard output any more") }
    }

    /// As `--json` says it.
    pub fn event(&self) -> Event {
        let message = std::iter::once(&self.message).chain(&self.lines);
        Event::Error(json::Error { code: self.code as u8, message: message.cloned().collect::<Vec<_>>().join("\n") })
    }
}

/// What to do about something that is in the way.
const ELSEWHERE: &str = "Move it away, or choose another folder with --output";

/// The failure behind a peer's error, with what to do about it.
pub fn failure(error: &PeerError) -> Failure {
    let (code, advice) = match error {
        // What to do depends on how it was named: `connect::join` says it.
        PeerError::Tracker { .. } | PeerError::WrongTracker { .. } => (ExitCode::TrackerUnreachable, ""),
        PeerError::NoTracker => (ExitCode::TrackerUnreachable, "Try again when it is back"),
        PeerError::Refused(_) => (ExitCode::Refused, ""),
        PeerError::NotFound(_) => (ExitCode::NotFound, ""),
        PeerError::Unmatched { patterns, .. } if patterns.iter().any(|pattern| pattern.unclosed.is_some()) => (
            ExitCode::Usage,
            "Close the bracket, or write [[] for one that is part of a name; `peer-cli inspect` with the same ticket or name \
             lists the files",
        ),
        PeerError::Unmatched { .. } | PeerError::NothingChosen(_) => (
            ExitCode::NotFound,
            "`peer-cli inspect` with the same ticket or name lists its files; put --only in quotes",
        ),
        PeerError::Storage(error) => of_storage(error),
        PeerError::Manifest { .. } => (ExitCode::VerificationFailed, ""),
        PeerError::Query(_) => (ExitCode::Usage, ""),
        PeerError::OtherName { .. } => (
            ExitCode::VerificationFailed,
            "Ask the one who shares it for a ticket, or for the content id: only these say for sure what comes",
        ),
        PeerError::Name(_) => (ExitCode::CannotWrite, "The one who shares it has to rename it first"),
        PeerError::Names { names, all, .. } => (ExitCode::CannotWrite, about_names(names, *all)),
        PeerError::Irreplaceable(_) => (ExitCode::CannotWrite, ELSEWHERE),
        PeerError::StillWritten(_) => (ExitCode::VerificationFailed, "Start again once nobody writes to it"),
        PeerError::NothingLeft { left_out, .. } => (ExitCode::NotFound, about_links(left_out)),
        // `Unfit`, `Already`, `ShutDown` and what a later library may add.
        _ => (ExitCode::Other, ""),
    };
    let message = if advice.is_empty() { error.to_string() } else { format!("{error}. {advice}") };
    // What others chose, a name or a reason, may stand in it.
    Failure::new(code, printable(&message))
}

/// The failure behind the error of something that was to be shared or hashed, and lies at this path. What may not be read there
/// lies where it is meant to lie.
pub fn share_failure(path: &Path, error: &PeerError) -> Failure {
    let PeerError::Storage(StorageError::Denied(denied)) = error else { return failure(error) };
    let advice = match denied == path {
        true => "Change its permissions",
        false => "Change its permissions, or move it out of the folder",
    };
    Failure::new(ExitCode::CannotWrite, printable(&format!("{error}. {advice}")))
}

/// What to do where all that lies in a folder is left out.
fn about_links(left_out: &[LeftOut]) -> &'static str {
    let outside = left_out.iter().any(|left_out| left_out.reason == LeftOutReason::LinkOutside);
    if outside { "--follow-links shares what links lead to" } else { "" }
}

/// What to do about names: leaving these files out helps only if others are left, another folder only if it is the folder that
/// makes the name doubtful.
fn about_names(names: &[(String, NameDoubt)], all: bool) -> &'static str {
    let has = |doubt| names.iter().any(|(_, found)| *found == doubt);
    let elsewhere = [NameDoubt::Reserved, NameDoubt::FileSystem, NameDoubt::Twin].into_iter().any(has);
    match (all, has(NameDoubt::Hidden), elsewhere) {
        (false, false, false) => "--names skip leaves these files out, --names rename writes them under other names",
        (true, false, false) => "--names rename writes them under other names",
        (false, false, true) => {
            "--names skip leaves these files out, --names rename writes them under other names; or choose another folder with \
             --output"
        }
        (true, false, true) => "--names rename writes them under other names; or choose another folder with --output",
        (false, true, _) => {
            "--names skip leaves these files out, --names rename writes them under other names; `peer-cli get --only` takes a \
             hidden file that it spells out; or choose another folder with --output"
        }
        (true, true, _) => {
            "--names rename writes them under other names; `peer-cli get --only` takes a hidden file that it spells out; or \
             choose another folder with --output"
        }
    }
}

/// What to do where macOS keeps something from a program.
pub const ALLOW_ON_MACOS: &str = "Allow it in System Settings under Privacy & Security, Files and Folders or Full Disk Access, or choose another \
                                  folder. In the Finder, see whether it is locked";

fn of_storage(error: &StorageError) -> (ExitCode, &'static str) {
    match error {
        StorageError::NotFound(_) => (ExitCode::NotFound, "Check the name, and the folder that it is meant from"),
        StorageError::Denied(_) => (ExitCode::CannotWrite, "Choose another folder, or change its permissions"),
        StorageError::Withheld(_) => (ExitCode::CannotWrite, ALLOW_ON_MACOS),
        StorageError::Unwritable { source, .. } if is_withheld(source) => (ExitCode::CannotWrite, ALLOW_ON_MACOS),
        StorageError::Full(_) => (ExitCode::DiskFull, "Make room and start again: what is verified is kept"),
        StorageError::NoMoreFiles(_) => (
            ExitCode::DiskFull,
            "Remove files there, or choose another folder with --output, and start again: what is verified is kept",
        ),
        StorageError::NoRoom { .. } | StorageError::Margin { .. } => (
            ExitCode::DiskFull,
            "Make room and start again: what is verified is kept. Or choose another folder with --output",
        ),
        StorageError::TooLarge { limit: Some(_), .. } => (
            ExitCode::DiskFull,
            "Raise the limit, or choose another file system with --output, and start again: what is verified is kept",
        ),
        StorageError::TooLarge { limit: None, .. } => (
            ExitCode::DiskFull,
            "Choose a drive with another file system, such as exFAT, with --output, and start again: what is verified is kept",
        ),
        StorageError::Changed(_) => (ExitCode::VerificationFailed, "Start again once nobody writes to it"),
        StorageError::Removed(_) => (ExitCode::VerificationFailed, "Start again: what was in it has to come once more"),
        StorageError::TooManyOpen(_) => (ExitCode::Other, RAISE_LIMIT),
        StorageError::OutOfRange { .. } => (ExitCode::Other, ""),
        StorageError::Locked(_) => {
            (ExitCode::CannotWrite, "Wait until that has ended, or choose another folder with --output")
        }
        StorageError::NoFolder { .. } => (ExitCode::CannotWrite, "Choose another folder with --output"),
        StorageError::Unwritable { .. } => {
            (ExitCode::CannotWrite, "Choose another folder with --output, or change its permissions")
        }
        StorageError::Exists(_) => (
            ExitCode::CannotWrite,
            "Move it away, or choose another folder with --output; `peer-cli get --force` replaces what differs",
        ),
        StorageError::NotOurs(_) => (ExitCode::CannotWrite, "Move it away, or choose another folder with --output"),
        StorageError::InUse(_) => (
            ExitCode::CannotWrite,
            "End what has it open (a seeder that shares it, too) and start again: what is verified is kept",
        ),
        StorageError::Mounted(_) => {
            (ExitCode::CannotWrite, "Choose a folder that is on that file system with --output")
        }
        // Where not even that can be made, no other name can.
        StorageError::NoSuchName(path) if is_plain(path) => {
            (ExitCode::CannotWrite, "Choose another folder with --output")
        }
        StorageError::NoSuchName(_) => (
            ExitCode::CannotWrite,
            "Choose another folder with --output, or --names rename, which writes it under another name",
        ),
        StorageError::SameFile(_) => (
            ExitCode::CannotWrite,
            "Start again with --names rename, which writes names that are the same there under others, or choose another \
             folder with --output",
        ),
        StorageError::Moved(_) => (
            ExitCode::CannotWrite,
            "If it was moved, start again with the folder where it is now: what is verified is kept there",
        ),
        StorageError::Linked(_) => (ExitCode::CannotWrite, ""),
        error if error.is_of_device() => {
            (ExitCode::CannotWrite, "See whether the disk, or what is mounted there, is well, and start again")
        }
        StorageError::Io { .. } => (ExitCode::CannotWrite, ""),
        _ => (ExitCode::Other, ""),
    }
}

/// Whether a name has nothing that some file system could mind.
fn is_plain(path: &Path) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.len() < 100 && name.chars().all(is_plain))
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        failure(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_folder_is_named_where_it_helps() {
        let doubts = [NameDoubt::Reserved, NameDoubt::Hidden, NameDoubt::FileSystem].map(|doubt| (doubt, true));
        for (doubt, helps) in doubts.into_iter().chain([(NameDoubt::Platform, false)]) {
            for all in [false, true] {
                let said = about_names(&[("certs".to_owned(), doubt)], all);
                assert_eq!(said.contains("--output"), helps, "{said}");
            }
        }
    }

    #[test]
    fn other_names_are_named_where_the_name_may_be_the_reason() {
        let said = |path: &str| failure(&StorageError::NoSuchName(path.into()).into()).message;
        assert!(!said("/proc/.a.bin.lock").contains("--names"), "{}", said("/proc/.a.bin.lock"));
        assert!(said("usb/.a:b.lock").contains("--names rename"), "{}", said("usb/.a:b.lock"));
    }

    #[test]
    fn what_may_not_be_read_is_no_reason_to_choose_another_folder() {
        let denied = PeerError::Storage(StorageError::Denied("folder/file".into()));
        let said = |path: &str| share_failure(Path::new(path), &denied).message;
        assert_eq!(said("folder/file"), "no permission for folder/file. Change its permissions");
        assert!(said("folder").ends_with("Change its permissions, or move it out of the folder"), "{}", said("folder"));
        let gone = PeerError::Storage(StorageError::NotFound("file".into()));
        assert_eq!(share_failure(Path::new("file"), &gone).message, failure(&gone).message);
    }

    #[test]
    fn nobody_is_told_to_change_permissions_that_macos_does_not_ask_for() {
        let withheld = PeerError::Storage(StorageError::Withheld("Documents/a".into()));
        let said = share_failure(Path::new("Documents"), &withheld).message;
        assert!(said.starts_with("macOS does not let this program use Documents/a. Allow it in"), "{said}");
        assert!(!said.contains("permissions"), "{said}");
    }

    #[test]
    fn what_a_system_says_of_a_disk_is_not_left_alone() {
        let error = |source| failure(&StorageError::Io { path: "f".into(), source }.into()).message;
        // An error of the device, and a file where a folder belongs or a name that no file has.
        let (device, path) = if cfg!(windows) { (1117, 123) } else { (5, 20) };
        let said = error(std::io::Error::from_raw_os_error(device));
        assert!(said.ends_with("is well, and start again"), "{said}");
        let said = error(std::io::Error::from_raw_os_error(path));
        assert!(!said.contains("disk"), "{said}");
        let said = error(std::io::Error::other("it is a link. Remove it"));
        assert!(said.ends_with("Remove it"), "{said}");
    }

    /// Every row of the table is a code here, and the other way round.
    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let table = include_str!("../../../docs/exit-codes.md");
        let cell = |line: &str| line.strip_prefix("| ")?.split(' ').next()?.parse::<u8>().ok();
        let documented: Vec<u8> = table.lines().filter_map(cell).collect();
        let codes = [
            ExitCode::Other,
            ExitCode::Usage,
            ExitCode::TrackerUnreachable,
            ExitCode::NotFound,
            ExitCode::NobodyHasAPiece,
            ExitCode::AddressInUse,
            ExitCode::CannotWrite,
            ExitCode::DiskFull,
            ExitCode::VerificationFailed,
            ExitCode::Refused,
            ExitCode::Stopped,
            ExitCode::HungUp,
            ExitCode::Interrupted,
            ExitCode::Terminated,
        ];
        let expected: Vec<u8> = std::iter::once(0).chain(codes.map(|code| code as u8)).collect();
        assert_eq!(documented, expected);
    }
}
