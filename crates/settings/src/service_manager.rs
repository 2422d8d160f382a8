//! What a service manager is told: that a program is ready, that it stops, and that it still lives (`sd_notify(3)` of systemd, and
//! of those that took it over). A message is a datagram to the socket that `NOTIFY_SOCKET` names; where there is none, nothing is
//! said.

use std::ffi::OsString;
use std::time::Duration;

/// The service manager that has started this process, if any has.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<OsString>,
    /// It ends a program that gives no sign of life for so long.
    patience: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    #[must_use]
    pub fn of_this_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let patience = variable("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        ServiceManager {
            socket: std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            patience: patience.filter(|&patience| patience > 0).map(Duration::from_micros),
        }
    }

    /// It is ready, or is so again.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It reads its settings again.
    pub fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Gives signs of life for as long as it is polled: twice in the time that the service manager waits for one. It has to be polled
    /// where the work is done, so that a program that hangs gives none.
    pub async fn watch(&self) {
        let Some(patience) = self.patience else { return std::future::pending().await };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(patience / 2).await;
        }
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = platform::send(socket, message)
        {
            tracing::debug!(%error, "the service manager is not told {message}");
        }
    }
}

#[cfg(unix)]
mod platform {
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::net::UnixDatagram;

    pub fn send(socket: &OsStr, message: &str) -> io::Result<()> {
        let ours = UnixDatagram::unbound()?;
        // A manager whose queue is full is not waited for.
        ours.set_nonblocking(true)?;
        match socket.as_encoded_bytes() {
            [b'@', name @ ..] => send_to_abstract(&ours, name, message),
            _ => ours.send_to(message.as_bytes(), socket).map(drop),
        }
    }

    #[cfg(target_os = "linux")]
    fn send_to_abstract(ours: &UnixDatagram, name: &[u8], message: &str) -> io::Result<()> {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        ours.send_to_addr(message.as_bytes(), &address).map(drop)
    }

    #[cfg(not(target_os = "linux"))]
    fn send_to_abstract(_: &UnixDatagram, _: &[u8], _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(unix))]
mod platform {
    use std::ffi::OsStr;
    use std::io;

    pub fn send(_: &OsStr, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_manager_hears_of_start_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = ServiceManager { socket: Some(path.into()), patience: None };
        told.ready();
        told.stopping();
        let mut heard = [0; 64];
        for message in ["READY=1", "STOPPING=1"] {
            let length = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], message.as_bytes());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_told_as_well() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("p2p-fileshare-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        ServiceManager { socket: Some(format!("@{name}").into()), patience: None }.ready();
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1");
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_twice_in_the_managers_patience() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = ServiceManager { socket: Some(path.into()), patience: Some(Duration::from_secs(30)) };
        let _ = tokio::time::timeout(Duration::from_secs(31), told.watch()).await;
        manager.set_nonblocking(true).unwrap();
        let mut heard = [0; 64];
        let count = std::iter::from_fn(|| manager.recv(&mut heard).ok()).count();
        assert_eq!(count, 3, "at 0, 15 and 30 seconds");
    }
}
