//! The socket itself: a Unix socket, or a named pipe on Windows.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{ControlError, Place};

/// A connection, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a daemon listens on.
pub struct Listener(platform::Listener);

impl Listener {
    /// Begins to listen. What an earlier daemon has left there is replaced: only the one that has the state listens.
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
    use std::fs::{self, Permissions};
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tokio::net::{UnixListener, UnixStream};

    use super::{ControlError, Place, Stream};

    pub struct Listener {
        listener: UnixListener,
        path: PathBuf,
    }

    impl Listener {
        /// It takes its name once it is closed to others.
        pub fn bind(place: &Place) -> Result<Self, ControlError> {
            let path = place.path().to_owned();
            let mut beside = path.clone().into_os_string();
            beside.push(".new");
            let beside = PathBuf::from(beside);
            let bound = || {
                let _ = fs::remove_file(&beside);
                let listener = UnixListener::bind(&beside)?;
                fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
                fs::rename(&beside, &path)?;
                Ok(listener)
            };
            let listener = bound().map_err(|source| ControlError::Io { path: path.clone(), source })?;
            Ok(Listener { listener, path })
        }

        pub async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
            self.listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>)
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    pub async fn connect(place: &Place) -> Result<Box<dyn Stream>, ControlError> {
        let path = place.path().to_owned();
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Err(ControlError::NoDaemon(path))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(ControlError::NotOurs(path)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(ControlError::TooLong(path)),
            Err(source) => Err(ControlError::Io { path, source }),
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

    /// Every instance is taken for the moment.
    const ERROR_PIPE_BUSY: i32 = 231;
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
            let next = made.map_err(|source| ControlError::Io { path: name.clone(), source })?;
            Ok(Listener { next, name })
        }

        pub async fn accept(&mut self) -> io::Result<Box<dyn Stream>> {
            self.next.connect().await?;
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
