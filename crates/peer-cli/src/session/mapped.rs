//! What a router forwards, in programs that can ask one for it and in those that cannot.

use std::net::SocketAddr;

/// A port of this machine that others reach at another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedPort {
    /// The port here.
    pub port: u16,
    /// Where others reach it.
    pub address: SocketAddr,
}

/// What the router has said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapped {
    /// What it forwards at present.
    pub ports: Vec<MappedPort>,
    /// The protocol that it speaks, once it has granted something.
    pub by: Option<&'static str>,
    /// Whether it has been asked: it has granted what it grants, or has said no, or has not answered.
    pub asked: bool,
    /// Why it forwards nothing.
    pub reason: Option<String>,
}
