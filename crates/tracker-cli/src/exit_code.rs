//! What the program's exit status says. The numbers mean the same as those of `peer-cli`.

/// Why the program ends without success.
#[derive(Debug, Clone, Copy)]
pub enum ExitCode {
    Other = 1,
    Usage = 2,
    AddressInUse = 6,
    CannotWrite = 7,
    VerificationFailed = 9,
}

impl ExitCode {
    /// Of an address that a listener cannot have. Windows denies a port that it keeps for another program.
    #[cfg(any(feature = "metrics", feature = "web"))]
    pub fn of_listener(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::AddrInUse => ExitCode::AddressInUse,
            std::io::ErrorKind::PermissionDenied if cfg!(windows) => ExitCode::AddressInUse,
            _ => ExitCode::Other,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}
