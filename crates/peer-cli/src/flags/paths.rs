//! A path that was typed and leads nowhere: said before any work is done, with what is called nearly so.

use std::borrow::Cow;
use std::io::{Error, ErrorKind};
use std::path::{Component, MAIN_SEPARATOR, Path};

use protocol::{Ticket, TicketError, printable, redacted};
use settings::in_quotes;

use crate::error::{ExitCode, Failure, share_failure};
use crate::flags::{origins, tickets};

/// Characters of the longest name that a file can have.
const LONGEST_NAME: usize = 255;
/// Characters that are shown of a name that no file can have.
const SHOWN: usize = 20;
/// Links in a row that lead on: as many as systems follow.
const MOST_LINKS: usize = 40;

/// Fails if nothing is at the path. If it cannot be looked at for a reason that has nothing to do with the path itself, the code that
/// opens it says so.
pub fn must_exist(path: &Path) -> Result<(), Failure> {
    if let Some(url) = path.to_str().filter(|text| text.contains("://"))
        && !path.exists()
    {
        let shown = printable(&redacted(url));
        let sentence = match origins::url(path) {
            Some(_) => {
                format!("{shown} is a URL, and this command takes files on this machine: `peer-cli share` takes URLs")
            }
            None => format!(
                "{shown} is no file, and no URL of what can be shared: these begin with https://, http://, hf://, s3://, gs:// or az://"
            ),
        };
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    match path.metadata() {
        Err(error) if path.is_symlink() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let sentence = format!("{} is a link to nothing: what it leads to is not there", path.display());
            Err(Failure::new(ExitCode::NotFound, sentence))
        }
        Err(error) if is_of_device(&error, cfg!(windows)) => {
            let sentence = format!("{} is a device, and neither a file nor a folder", path.display());
            Err(Failure::new(ExitCode::Other, sentence))
        }
        Err(error) => match slip(path, error.kind()) {
            Some(sentence) => Err(Failure::new(ExitCode::NotFound, sentence)),
            // A name that there cannot be, as Windows says of one with a star, is not there either.
            None if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => {
                Err(Failure::new(ExitCode::NotFound, sentence(path)))
            }
            None => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}

/// Fails if the path may not be read, before any other path is hashed.
pub fn must_be_readable(path: &Path) -> Result<(), Failure> {
    let opened = if path.is_dir() { std::fs::read_dir(path).map(drop) } else { std::fs::File::open(path).map(drop) };
    match opened {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(share_failure(path, &storage::error_at(path, error).into()))
        }
        _ => Ok(()),
    }
}

/// Whether an error says that a path leads to a device, as Windows says ERROR_INVALID_FUNCTION of `NUL`.
fn is_of_device(error: &Error, windows: bool) -> bool {
    windows && error.raw_os_error() == Some(1)
}

/// What is wrong with a path by itself, of which the system says this.
fn slip(path: &Path, kind: ErrorKind) -> Option<String> {
    match path.to_str().and_then(Ticket::find) {
        Some(Ok(ticket)) => return Some(format!("a ticket is to be got, not shared: peer-cli get {ticket}")),
        Some(Err(error @ TicketError::Several(_))) => return Some(tickets::sentence(&error, "get")),
        _ => {}
    }
    // Without a separator at its end.
    let named = path.components().as_path();
    if let Some(file) = named.ancestors().find(|above| above.is_file()) {
        let shown = file.display();
        return Some(match file == named {
            true => format!("{shown} is a file, and not a folder: leave out the {MAIN_SEPARATOR} behind it"),
            false => format!("{shown} is a file, and not a folder: nothing lies in it"),
        });
    }
    if let Some(link) = named.ancestors().find(|above| leads_to_itself(above)) {
        return Some(format!("{} is a link that leads to itself: remove it, or make it anew", link.display()));
    }
    let names: Vec<_> = named.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let is_long = |name: &&Cow<str>| name.chars().count() > LONGEST_NAME;
    // The system does not say which of them it means.
    let refused = names.iter().find(is_long).or_else(|| {
        let of_windows = || named.components().zip(&names).find(|(part, name)| is_refused(*part, name));
        let longest = || names.iter().max_by_key(|name| name.chars().count());
        let is_name = kind == ErrorKind::InvalidFilename;
        is_name.then(|| of_windows().map(|(_, name)| name).or_else(longest)).flatten()
    });
    refused.map(|name| {
        let mut shown: String = name.chars().take(SHOWN).collect();
        if shown.len() < name.len() {
            shown.push('…');
        }
        format!("no file can be called {shown}: the name is too long, or has characters that no name has")
    })
}

/// Whether Windows takes a part of a path for no name.
fn is_refused(part: Component, name: &str) -> bool {
    matches!(part, Component::Normal(_)) && name.contains(['<', '>', ':', '"', '|', '?', '*'])
}

/// Whether a path is a link that, followed as often as systems do it, still leads to a link.
fn leads_to_itself(path: &Path) -> bool {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&at) else { return false };
        // From where the link lies.
        at.pop();
        at.push(target);
    }
    true
}

fn sentence(path: &Path) -> String {
    let near = near(path).map(|name| format!(" Did you mean {}?", in_quotes(&name))).unwrap_or_default();
    let from = match std::env::current_dir() {
        Ok(folder) if path.is_relative() => format!("; a path is meant from {}", folder.display()),
        _ => String::new(),
    };
    format!("there is no file or folder {}.{near} Check the name{from}", path.display())
}

/// What lies in the same folder and has nearly that name, with the folder as it was typed.
fn near(path: &Path) -> Option<String> {
    let typed = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.flatten();
    let names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let name = settings::nearest(typed, names.iter().map(String::as_str))?;
    Some(folder.map_or_else(|| name.to_owned(), |folder| folder.join(name).display().to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use protocol::{ContentId, Digest, PeerId};

    use super::*;

    #[test]
    fn what_is_called_nearly_so_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.bin"), "").unwrap();
        assert!(must_exist(&folder.path().join("model.bin")).is_ok());
        let failure = must_exist(&folder.path().join("modell.bin")).unwrap_err();
        assert_eq!(failure.code, ExitCode::NotFound);
        let expected = format!("Did you mean \"{}\"?", folder.path().join("model.bin").display());
        assert!(failure.message.contains(&expected), "{}", failure.message);
        let failure = must_exist(&folder.path().join("xyz/file")).unwrap_err();
        assert!(!failure.message.contains("Did you mean"), "{}", failure.message);
    }

    #[test]
    fn a_device_of_windows_is_told_from_what_cannot_be_looked_at() {
        let says = |code, windows| is_of_device(&Error::from_raw_os_error(code), windows);
        assert!(says(1, true) && !says(1, false) && !says(5, true));
    }

    #[test]
    fn of_a_path_that_windows_takes_for_none_the_name_at_fault_is_said() {
        for (path, at_fault) in [("longer/*.bin", "*.bin"), ("lo*er/a.bin", "lo*er"), ("longer/a", "longer")] {
            let said = slip(Path::new(path), ErrorKind::InvalidFilename).unwrap();
            assert!(said.starts_with(&format!("no file can be called {at_fault}: ")), "{said}");
        }
        assert_eq!(slip(Path::new("longer/*.bin"), ErrorKind::NotFound), None, "elsewhere a star is part of a name");
    }

    #[test]
    fn what_is_wrong_with_a_path_is_said_and_no_disk_is_blamed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        std::fs::write(&file, "").unwrap();
        let said = |path: &Path| {
            let failure = must_exist(path).unwrap_err();
            assert_eq!(failure.code, ExitCode::NotFound);
            failure.message
        };
        // Windows may take it for the file.
        if cfg!(unix) {
            assert!(said(&file.join("")).ends_with("a.bin is a file, and not a folder: leave out the / behind it"));
        }
        assert!(said(&file.join("x")).ends_with("a.bin is a file, and not a folder: nothing lies in it"));
        let long = said(&folder.path().join("x".repeat(5000)));
        assert!(long.contains("called xxx") && long.len() < 200, "{long}");
        let (tracker, content) = (PeerId::of_public_key(&[7]), ContentId(Digest([7; 32])));
        let addresses = (1..=16).map(|port| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], port))).collect();
        let ticket = Ticket::new(tracker, addresses, content).unwrap().to_string();
        assert!(ticket.len() > LONGEST_NAME && said(Path::new(&ticket)).starts_with("a ticket is to be got"));
        let other = Ticket::new(tracker, vec![SocketAddr::from(([10, 0, 0, 1], 9))], content).unwrap();
        assert!(said(Path::new(&format!("{ticket},{other}"))).starts_with("these are 2 tickets"));
    }

    #[test]
    fn a_url_of_what_can_be_shared_is_not_said_to_be_none() {
        let said = |text: &str| must_exist(Path::new(text)).unwrap_err().message;
        for url in ["hf://org/model", "s3://bucket/key", "https://host/file"] {
            assert_eq!(
                said(url),
                format!("{url} is a URL, and this command takes files on this machine: `peer-cli share` takes URLs")
            );
        }
        let secret = said("https://host/file?signature=secret");
        assert!(secret.contains("is a URL") && !secret.contains("secret"), "{secret}");
        assert!(said("ftp://host/file").contains("no URL of what can be shared"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_to_itself_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        for (link, target) in [("ring", "other"), ("other", "ring"), ("fine", "file")] {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        for path in ["ring", "ring/file"] {
            let failure = must_exist(&folder.path().join(path)).unwrap_err();
            assert!(failure.message.contains("ring is a link that leads to itself"), "{}", failure.message);
        }
        assert!(must_exist(&folder.path().join("fine")).is_ok());
    }
}
