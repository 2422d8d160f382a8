//! A path that was typed and leads nowhere: said before any work is done, with what is called nearly so.

use std::io::ErrorKind;
use std::path::Path;

use protocol::{Ticket, printable, redacted};

use crate::error::{ExitCode, Failure};

/// Fails if nothing is at the path. If it cannot be looked at for another reason, the code that opens it says so.
pub fn must_exist(path: &Path) -> Result<(), Failure> {
    if let Some(url) = path.to_str().filter(|text| text.contains("://"))
        && !path.exists()
    {
        let sentence = format!(
            "{} is no file, and no URL of what can be shared: these begin with https://, http://, hf://, s3://, gs:// or az://",
            printable(&redacted(url))
        );
        return Err(Failure::new(ExitCode::NotFound, sentence));
    }
    match path.metadata() {
        Err(error) if path.is_symlink() && error.kind() == ErrorKind::NotFound => {
            let sentence = format!("{} is a link to nothing: what it leads to is not there", path.display());
            Err(Failure::new(ExitCode::NotFound, sentence))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::new(ExitCode::NotFound, sentence(path))),
        _ => Ok(()),
    }
}

fn sentence(path: &Path) -> String {
    if let Some(ticket) = path.to_str().filter(|text| text.parse::<Ticket>().is_ok()) {
        return format!("a ticket is to be got, not shared: peer-cli get {ticket}");
    }
    let near = near(path).map(|name| format!(" Did you mean {:?}?", printable(&name))).unwrap_or_default();
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
    use super::*;

    #[test]
    fn what_is_called_nearly_so_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.bin"), "").unwrap();
        assert!(must_exist(&folder.path().join("model.bin")).is_ok());
        let failure = must_exist(&folder.path().join("modell.bin")).unwrap_err();
        assert_eq!(failure.code, ExitCode::NotFound);
        let expected = format!("Did you mean {:?}?", folder.path().join("model.bin"));
        assert!(failure.message.contains(&expected), "{}", failure.message);
        let failure = must_exist(&folder.path().join("xyz/file")).unwrap_err();
        assert!(!failure.message.contains("Did you mean"), "{}", failure.message);
    }
}
