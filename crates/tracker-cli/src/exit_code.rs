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

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        (code as u8).into()
    }
}
