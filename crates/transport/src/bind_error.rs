//! Why a socket cannot be bound: what is to be done about it differs, and so does how systems say it.

use std::io;
use std::net::SocketAddr;

use crate::TransportError;

/// Ports below this one are for privileged programs, where a system has such.
const FIRST_FOR_ALL: u16 = 1024;
/// A process, or all of them together, has as many files and sockets open as it may: `EMFILE` and `ENFILE`.
const NO_DESCRIPTOR: [i32; 2] = [24, 23];
/// The same on Windows: `WSAEMFILE` and `ERROR_TOO_MANY_OPEN_FILES`.
const NO_DESCRIPTOR_ON_WINDOWS: [i32; 2] = [10024, 4];

/// What an error means of a socket that was to be bound to this address.
pub(crate) fn bind_error(address: SocketAddr, error: &io::Error) -> TransportError {
    error_on(address, error, cfg!(windows))
}

fn error_on(address: SocketAddr, error: &io::Error, windows: bool) -> TransportError {
    let no_descriptor = if windows { NO_DESCRIPTOR_ON_WINDOWS } else { NO_DESCRIPTOR };
    match error.kind() {
        io::ErrorKind::AddrInUse => TransportError::AddressInUse(address),
        // Windows has no privileged ports: another program has reserved it, as Hyper-V, WSL and Docker do with hundreds of them, or
        // has it for itself alone (WSAEACCES).
        io::ErrorKind::PermissionDenied if windows => TransportError::AddressInUse(address),
        io::ErrorKind::PermissionDenied if (1..FIRST_FOR_ALL).contains(&address.port()) => {
            TransportError::PrivilegedPort(address)
        }
        _ if error.raw_os_error().is_some_and(|code| no_descriptor.contains(&code)) => {
            TransportError::TooManyOpen(format!("{address}: {error}"))
        }
        _ => TransportError::Io(format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_reserved_is_in_use_on_windows_and_a_low_one_is_privileged_elsewhere() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let at = |port| SocketAddr::from(([0, 0, 0, 0], port));
        for port in [80, 9999] {
            assert_eq!(error_on(at(port), &denied, true), TransportError::AddressInUse(at(port)));
        }
        assert_eq!(error_on(at(80), &denied, false), TransportError::PrivilegedPort(at(80)));
        // A sandbox that forbids sockets.
        for port in [0, 9999] {
            assert!(matches!(error_on(at(port), &denied, false), TransportError::Io(_)));
        }
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(error_on(at(9), &taken, false), TransportError::AddressInUse(at(9)));
    }

    #[test]
    fn what_is_open_too_often_is_known_by_its_number() {
        let at = SocketAddr::from(([0, 0, 0, 0], 0));
        let all = [(24, false), (23, false), (10024, true), (4, true)];
        for (code, windows) in all {
            let error = error_on(at, &io::Error::from_raw_os_error(code), windows);
            assert!(matches!(error, TransportError::TooManyOpen(_)), "{code}");
        }
        assert!(matches!(error_on(at, &io::Error::from_raw_os_error(24), true), TransportError::Io(_)));
    }
}
