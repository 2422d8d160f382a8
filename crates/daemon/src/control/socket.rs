//! The socket itself: a Unix socket, or a named pipe on Windows.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{ControlError, Place};

/// What is said of a socket that is not ours, behind its path.
pub(super) use platform::NOT_OURS;

/// A connection, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a daemon listens on.
pub struct Listener(platform::Listener);

impl Listener {
    /// Begins to listen. A socket that an earlier daemon has left there is replaced; one of a daemon that runs is not.
    pub fn bind(place: &Place) -> Result<Self, ControlError> {
        platform::Listener::bind(place).map(Listener)
    }

    /// The next connection.
    pub async fn accept(&mut self) -> std::io::Result<Box<dyn Stream>> {
        self.0.accept().await
    }
}

/// Connects to a daemon.
pub async fn connect(place: &Place) -> Result<Box<dyn Stream>, ControlError> {
    platform::connect(place).await
}

#[cfg(unix)]
mod platform {
    use std::fs::{self, DirBuilder, File, Permissions};
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::{Instant, sleep_until};

    use super::{ControlError, Place, Stream};
    use crate::control::place::{MADE_AS, MADE_IN};

    pub const NOT_OURS: &str = "belongs to another user: run this as that user, or as root, with sudo";

    /// End of the name of the lock beside a socket.
    const LOCK: &str = ".lock";
    /// Time between two looks at the socket's path: systems remove what is old from temporary folders, macOS after three days.
    const LOOK: Duration = Duration::from_secs(60);

    pub struct Listener {
        listener: UnixListener,
        place: Place,
        /// Device and inode of the socket.
        id: (u64, u64),
        /// Another daemon with the same socket does not start.
        lock: File,
        next_look: Instant,
    }

    impl Listener {
        pub fn bind(place: &Place) -> Result<Self, ControlError> {
            let path = place.path().to_owned();
            let io = |source| ControlError::Io { path: path.clone(), source };
            let lock = crate::lock::take(&beside(&path, LOCK)).map_err(io)?;
            let Some(lock) = lock else { return Err(ControlError::InUse(path)) };
            if fs::symlink_metadata(&path).is_ok_and(|seen| !seen.file_type().is_socket()) {
                return Err(ControlError::NoSocket(path));
            }
            let (listener, id) = bind(&path).map_err(io)?;
            Ok(Listener { listener, place: place.clone(), id, lock, next_look: Instant::now() + LOOK })
        }

        pub async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
            loop {
                tokio::select! {
                    accepted = self.listener.accept() => {
                        return accepted.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
                    }
                    () = sleep_until(self.next_look) => {
                        self.next_look = Instant::now() + LOOK;
                        if let Err(error) = self.bind_again() {
                            tracing::warn!("the control socket was removed, and cannot be made again: {error}");
                        }
                    }
                }
            }
        }

        /// Makes the socket again if nothing is where it was.
        fn bind_again(&mut self) -> Result<(), ControlError> {
            let path = self.place.path().to_owned();
            match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => return Ok(()),
            }
            let io = |source| ControlError::Io { path: path.clone(), source };
            self.place.make_folder()?;
            let lock = beside(&path, LOCK);
            let id = |seen: fs::Metadata| (seen.dev(), seen.ino());
            let is_held = fs::symlink_metadata(&lock).ok().map(id) == self.lock.metadata().ok().map(id);
            if !is_held {
                // Another daemon may have come meanwhile.
                let Some(lock) = crate::lock::take(&lock).map_err(io)? else { return Err(ControlError::InUse(path)) };
                self.lock = lock;
            }
            (self.listener, self.id) = bind(&path).map_err(io)?;
            Ok(())
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let path = self.place.path();
            // The user may have removed it, and put something else there.
            if fs::symlink_metadata(path).is_ok_and(|seen| (seen.dev(), seen.ino()) == self.id) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Binds the socket in a folder that is closed to others, and gives it its name once it is closed to them as well.
    fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
        let folder = beside(path, MADE_IN);
        let made = folder.join(MADE_AS);
        let clear = || {
            let _ = fs::remove_file(&made);
            let _ = fs::remove_dir(&folder);
        };
        clear();
        let bound = || {
            DirBuilder::new().mode(0o700).create(&folder)?;
            let listener = UnixListener::bind(&made)?;
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            let seen = fs::symlink_metadata(&made)?;
            fs::rename(&made, path)?;
            Ok((listener, (seen.dev(), seen.ino())))
        };
        let result = bound();
        clear();
        result
    }

    fn beside(path: &Path, ending: &str) -> PathBuf {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        beside.into()
    }

    pub async fn connect(place: &Place) -> Result<Box<dyn Stream>, ControlError> {
        let path = place.path().to_owned();
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ControlError::NoDaemon(path)),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(ControlError::NobodyListens(path)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(ControlError::NotOurs(path)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(ControlError::TooLong(path)),
            Err(source) => Err(ControlError::Io { path, source }),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn a_second_listener_leaves_the_first_ones_socket_alone() {
            let folder = tempfile::tempdir().unwrap();
            let place = Place::of_daemon(Some(&folder.path().join("control"))).unwrap();
            let first = Listener::bind(&place).unwrap();
            assert!(matches!(Listener::bind(&place), Err(ControlError::InUse(_))));
            connect(&place).await.unwrap();
            drop(first);
            assert!(!place.path().exists());
            assert!(matches!(connect(&place).await, Err(ControlError::NoDaemon(_))));
            // As after a crash: the socket is there, and nobody listens.
            drop(UnixListener::bind(place.path()).unwrap());
            assert!(matches!(connect(&place).await, Err(ControlError::NobodyListens(_))));
            let again = Listener::bind(&place).unwrap();
            connect(&place).await.unwrap();
            // What is not its own stays when it ends.
            fs::remove_file(place.path()).unwrap();
            fs::write(place.path(), "another's").unwrap();
            drop(again);
            assert_eq!(fs::read(place.path()).unwrap(), b"another's");
            assert!(matches!(Listener::bind(&place), Err(ControlError::NoSocket(_))));
            assert_eq!(fs::read(place.path()).unwrap(), b"another's");
        }

        /// As macOS does with what lies in a temporary folder for three days.
        #[tokio::test(start_paused = true)]
        async fn a_socket_that_was_removed_is_made_again() {
            let folder = tempfile::tempdir().unwrap();
            let place = Place::of_daemon(Some(&folder.path().join("control"))).unwrap();
            let mut listener = Listener::bind(&place).unwrap();
            let accepting = tokio::spawn(async move {
                listener.accept().await.unwrap();
                listener
            });
            for name in ["control", "control.lock"] {
                fs::remove_file(folder.path().join(name)).unwrap();
            }
            tokio::time::sleep(LOOK * 2).await;
            connect(&place).await.unwrap();
            let listener = accepting.await.unwrap();
            assert!(matches!(Listener::bind(&place), Err(ControlError::InUse(_))), "it has its lock again");
            drop(listener);
            assert!(!place.path().exists());
        }

        #[tokio::test]
        async fn the_socket_and_its_lock_are_their_users_alone_and_nothing_else_is_left() {
            let folder = tempfile::tempdir().unwrap();
            let place = Place::of_daemon(Some(&folder.path().join("control"))).unwrap();
            let _listener = Listener::bind(&place).unwrap();
            let seen = fs::read_dir(folder.path()).unwrap().map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777)
            });
            let mut seen: Vec<_> = seen.collect();
            seen.sort();
            assert_eq!(seen, [("control".to_owned(), 0o600), ("control.lock".to_owned(), 0o600)]);
        }
    }
}

#[cfg(windows)]
mod platform {
    use std::io::{self, ErrorKind};
    use std::path::PathBuf;
    use std::time::Duration;

    use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};

    use super::{ControlError, Place, Stream};

    /// The same user has fewer rights than a daemon that was started as administrator.
    pub const NOT_OURS: &str = "is not open to this program: the daemon was started by another user, or as administrator; start both in \
                                the same way";
    /// Every instance is taken for the moment.
    const ERROR_PIPE_BUSY: i32 = 231;
    /// The client has closed the pipe.
    const ERROR_NO_DATA: i32 = 232;
    const TRIES: u32 = 40;
    const BETWEEN: Duration = Duration::from_millis(50);

    pub struct Listener {
        /// What the next client connects to.
        next: NamedPipeServer,
        name: PathBuf,
    }

    impl Listener {
        pub fn bind(place: &Place) -> Result<Self, ControlError> {
            let name = place.path().to_owned();
            // Nobody else may have made a pipe of this name before.
            let made = ServerOptions::new().first_pipe_instance(true).create(&name);
            let next = made.map_err(|source| match source.kind() {
                ErrorKind::PermissionDenied => ControlError::InUse(name.clone()),
                _ => ControlError::Io { path: name.clone(), source },
            })?;
            Ok(Listener { next, name })
        }

        pub async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
            loop {
                match self.next.connect().await {
                    Ok(()) => break,
                    // A client has come and left already: this end is for the next one.
                    Err(error) if error.raw_os_error() == Some(ERROR_NO_DATA) => self.next.disconnect()?,
                    Err(error) => {
                        let _ = self.next.disconnect();
                        return Err(error);
                    }
                }
            }
            let next = ServerOptions::new().create(&self.name)?;
            Ok(Box::new(std::mem::replace(&mut self.next, next)))
        }
    }

    pub async fn connect(place: &Place) -> Result<Box<dyn Stream>, ControlError> {
        let path = place.path().to_owned();
        for _ in 0..TRIES {
            match ClientOptions::new().open(&path) {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => tokio::time::sleep(BETWEEN).await,
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(ControlError::NoDaemon(path)),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(ControlError::NotOurs(path)),
                Err(source) => return Err(ControlError::Io { path, source }),
            }
        }
        Err(ControlError::Silent)
    }
}
