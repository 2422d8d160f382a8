//! Where the control socket is: in the runtime folder of the user, or of the service. What it is checked for keeps other users
//! from controlling a daemon, and from passing for one.

use std::path::{Path, PathBuf};

use super::ControlError;

/// A socket is made in a folder beside it, of its name with this, and by this name there.
#[cfg(unix)]
pub(super) const MADE_IN: &str = ".new";
#[cfg(unix)]
pub(super) const MADE_AS: &str = "s";

/// Where a control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) path: PathBuf,
    /// Whether it lies in a folder of our own, which a daemon makes; otherwise the user has named it.
    pub(super) own_folder: bool,
}

impl Place {
    /// Where a daemon listens: at the named place, or in the runtime folder. The folder is made.
    pub fn of_daemon(named: Option<&Path>) -> Result<Self, ControlError> {
        let place = match named {
            Some(path) => Place::named(path),
            None => platform::places(true).into_iter().next().ok_or(ControlError::NoPlace)?,
        };
        place.make_folder()?;
        Ok(place)
    }

    /// Where a client finds one: at the named place, or where a daemon of this user listens, or that of the service.
    pub fn of_client(named: Option<&Path>) -> Result<Self, ControlError> {
        let place = match named {
            Some(path) => Place::named(path),
            None => {
                let places = platform::places(false);
                let found = places.iter().find(|place| platform::may_be_there(place));
                found.or(places.first()).cloned().ok_or(ControlError::NoPlace)?
            }
        };
        platform::check_owner(&place)?;
        Ok(place)
    }

    /// Makes the folder of the socket if it is one of our own, and checks it.
    pub(super) fn make_folder(&self) -> Result<(), ControlError> {
        platform::make_folder(self)
    }

    /// The socket's path, or the pipe's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn named(path: &Path) -> Self {
        Place { path: platform::spelled(path), own_folder: false }
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::{self, DirBuilder, Metadata};
    use std::io::ErrorKind;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use super::{ControlError, MADE_AS, MADE_IN, Place};

    const FOLDER: &str = "p2p-fileshare";
    const SOCKET: &str = "control.sock";
    /// Where the service's folder is: `RuntimeDirectory=` makes it, and a daemon that root starts by hand.
    const RUN: &str = if cfg!(target_os = "macos") { "/var/run" } else { "/run" };
    /// A socket's address has room for so many bytes on every Unix.
    const LONGEST: usize = 103;

    pub fn spelled(path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// The places in the order in which they are looked at.
    pub fn places(daemon: bool) -> Vec<Place> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let mut folders = Vec::new();
        if daemon && let Some(all) = std::env::var_os("RUNTIME_DIRECTORY") {
            // Of several, the first one; systemd separates them with colons.
            let first = all.to_str().and_then(|all| all.split(':').next()).map(PathBuf::from);
            folders.extend(first.filter(|path| path.is_absolute()));
        }
        folders.extend(variable("XDG_RUNTIME_DIR").map(|folder| folder.join(FOLDER)));
        let service = Path::new(RUN).join(FOLDER);
        let own = std::env::temp_dir().join(format!("{FOLDER}-{}", user()));
        match (user(), daemon) {
            (0, _) => folders.push(service),
            (_, true) => folders.push(own),
            (_, false) => folders.extend([own, service]),
        }
        folders.into_iter().map(|folder| Place { path: folder.join(SOCKET), own_folder: true }).collect()
    }

    pub fn may_be_there(place: &Place) -> bool {
        match place.path.symlink_metadata() {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::PermissionDenied,
        }
    }

    fn folder(place: &Place) -> &Path {
        match place.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// In a folder where everyone may make files, a link may be another user's.
    fn look(folder: &Path) -> std::io::Result<Metadata> {
        if folder.parent() == Some(&std::env::temp_dir()) { fs::symlink_metadata(folder) } else { fs::metadata(folder) }
    }

    pub fn make_folder(place: &Place) -> Result<(), ControlError> {
        // With what is added while it is made.
        if place.path.as_os_str().len() + MADE_IN.len() + "/".len() + MADE_AS.len() > LONGEST {
            return Err(ControlError::TooLong(place.path.clone()));
        }
        let folder = folder(place);
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => ControlError::MissingFolder(place.path.clone()),
            _ => ControlError::Io { path: folder.to_owned(), source },
        };
        if place.own_folder {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        let seen = look(folder).map_err(failed)?;
        check(folder, &seen, place.own_folder, user())
    }

    /// Whether nobody else can take the place of the socket, or reach it.
    fn check(folder: &Path, seen: &Metadata, own: bool, user: u32) -> Result<(), ControlError> {
        let is_ours = seen.uid() == user || (!own && seen.uid() == 0);
        if !is_ours {
            return Err(ControlError::NotOurs(folder.to_owned()));
        }
        if !seen.is_dir() {
            return Err(ControlError::NoFolder(folder.to_owned()));
        }
        // A folder that the user has named may be looked into: the socket itself is closed to others.
        let open = if own { 0o077 } else { 0o022 };
        if seen.mode() & open != 0 { Err(ControlError::Unsafe(folder.to_owned())) } else { Ok(()) }
    }

    /// Whether a client may believe what listens there: it is the user's own, root's, or lies where root alone can have put it.
    pub fn check_owner(place: &Place) -> Result<(), ControlError> {
        let folder = folder(place);
        let Ok(seen) = look(folder) else { return Ok(()) };
        let is_service = place.own_folder && folder.starts_with(RUN) && user() == 0;
        let named_by_root = !place.own_folder && user() == 0;
        if ![user(), 0].contains(&seen.uid()) && !is_service && !named_by_root {
            return Err(ControlError::NotOurs(folder.to_owned()));
        }
        // A link of these users leads where they like.
        if seen.is_dir() || seen.is_symlink() { Ok(()) } else { Err(ControlError::NoFolder(folder.to_owned())) }
    }

    #[cfg(test)]
    mod tests {
        use std::os::unix::fs::{PermissionsExt, symlink};

        use super::*;

        fn place(folder: &Path, own_folder: bool) -> Place {
            Place { path: folder.join(SOCKET), own_folder }
        }

        #[test]
        fn the_folder_is_made_for_its_user_alone() {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path().join("run");
            make_folder(&place(&folder, true)).unwrap();
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
            make_folder(&place(&folder, true)).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
            assert!(matches!(make_folder(&place(&folder, true)), Err(ControlError::Unsafe(_))));
            make_folder(&place(&folder, false)).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(matches!(make_folder(&place(&folder, false)), Err(ControlError::Unsafe(_))));
        }

        #[test]
        fn a_folder_of_another_user_is_refused() {
            let temporary = tempfile::tempdir().unwrap();
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o700)).unwrap();
            let seen = fs::metadata(temporary.path()).unwrap();
            assert!(check(temporary.path(), &seen, true, user()).is_ok());
            let result = check(temporary.path(), &seen, true, user() + 1);
            assert!(matches!(result, Err(ControlError::NotOurs(_))));
        }

        #[test]
        fn what_is_no_folder_is_not_said_to_be_another_users() {
            let temporary = tempfile::tempdir().unwrap();
            let file = temporary.path().join("file");
            fs::write(&file, "").unwrap();
            for result in [make_folder(&place(&file, false)), check_owner(&place(&file, false))] {
                assert!(matches!(result, Err(ControlError::NoFolder(_))), "{result:?}");
            }
        }

        #[test]
        fn a_folder_that_is_not_there_is_named() {
            let temporary = tempfile::tempdir().unwrap();
            let missing = temporary.path().join("no/such");
            for own_folder in [false, true] {
                let result = make_folder(&place(&missing, own_folder));
                assert!(matches!(result, Err(ControlError::MissingFolder(_))), "{result:?}");
            }
        }

        #[test]
        fn a_link_in_the_temporary_folder_is_not_followed() {
            let elsewhere = tempfile::tempdir().unwrap();
            let link = std::env::temp_dir().join(format!("p2p-fileshare-link-{}", std::process::id()));
            symlink(elsewhere.path(), &link).unwrap();
            let result = make_folder(&place(&link, true));
            fs::remove_file(&link).unwrap();
            assert!(matches!(result, Err(ControlError::NoFolder(_))), "{result:?}");
        }

        #[test]
        fn a_path_that_no_socket_can_have_is_refused_with_a_sentence() {
            let long = Path::new("/tmp").join("x".repeat(120));
            assert!(matches!(make_folder(&place(&long, false)), Err(ControlError::TooLong(_))));
        }
    }
}

/// A pipe has no folder. Others may look at its name, and cannot write to it: that is how Windows makes them by default.
#[cfg(windows)]
mod platform {
    use std::path::{Path, PathBuf};

    use super::{ControlError, Place};

    const PIPES: &str = r"\\.\pipe\";

    pub fn spelled(path: &Path) -> PathBuf {
        match path.to_str() {
            Some(text) if !text.starts_with(PIPES) => {
                let name: String = text.chars().map(|c| if ['\\', '/', ':'].contains(&c) { '-' } else { c }).collect();
                PathBuf::from(format!("{PIPES}{name}"))
            }
            _ => path.to_owned(),
        }
    }

    pub fn places(_daemon: bool) -> Vec<Place> {
        let user = std::env::var("USERNAME").unwrap_or_else(|_| "service".to_owned());
        vec![Place { path: spelled(Path::new(&format!("p2p-fileshare-{user}"))), own_folder: true }]
    }

    pub fn may_be_there(_place: &Place) -> bool {
        true
    }

    pub fn make_folder(_place: &Place) -> Result<(), ControlError> {
        Ok(())
    }

    pub fn check_owner(_place: &Place) -> Result<(), ControlError> {
        Ok(())
    }
}
