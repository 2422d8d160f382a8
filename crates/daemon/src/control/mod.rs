//! How a daemon is told what to do: JSON lines over a Unix socket, or a named pipe on Windows.
//!
//! A client sends a [`Request`] as one line, and the daemon answers with [`Answer`]s, one a line; the last of them is
//! [`Answer::Done`] or [`Answer::Error`]. Every line is bounded, and every wait has a deadline.

mod client;
mod lines;
mod message;
mod place;
mod server;
mod socket;

pub use client::{Answers, Client};
pub use message::{Answer, ContentStatus, Doing, ErrorCode, Kind, RateLimit, RateWord, Request, VERSION, Which};
pub use place::Place;
pub(crate) use server::{Answering, serve};
pub(crate) use socket::Listener;

use std::io;
use std::path::PathBuf;

/// An answer as a line has it, without its end.
pub fn line(answer: &Answer) -> String {
    lines::line(answer).map(|line| String::from_utf8_lossy(&line).trim_end().to_owned()).unwrap_or_default()
}

/// Why a daemon cannot be controlled. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no socket.
    #[error(
        "no daemon runs here: {0} is not there. Start one with `peer-cli daemon`, or say where its socket is with --socket"
    )]
    NoDaemon(PathBuf),
    /// The socket of a daemon that was killed is there.
    #[error(
        "no daemon runs here: nobody listens at {0}, which an earlier one has left. Start one with `peer-cli daemon`"
    )]
    NobodyListens(PathBuf),
    /// There is no folder for the socket.
    #[error("there is no runtime folder for the daemon's socket: set XDG_RUNTIME_DIR, or name a socket with --socket")]
    NoPlace,
    /// The folder that the socket is to be in is not there.
    #[error("the folder of the socket {0} is not there: make it, or name another place with --socket")]
    MissingFolder(PathBuf),
    /// What the socket is to be in is no folder.
    #[error("{0} is no folder, or a link, so no socket can be in it: name another place with --socket")]
    NoFolder(PathBuf),
    /// The socket is another user's.
    #[error("{0} {words}", words = socket::NOT_OURS)]
    NotOurs(PathBuf),
    /// The folder of the socket is open to others.
    #[error("{0} is open to other users, who could control the daemon: remove it, or make it private with chmod 700")]
    Unsafe(PathBuf),
    /// The path is longer than a socket's address may be.
    #[error("{0} is too long for a socket: name a shorter one with --socket")]
    TooLong(PathBuf),
    /// Another daemon listens there.
    #[error("a daemon is controlled at {0} already: control that one, or give this one another place with --socket")]
    InUse(PathBuf),
    /// There is something else.
    #[error("{0} is there and is no socket: name another place with --socket")]
    NoSocket(PathBuf),
    /// Nothing comes any more.
    #[error("the daemon does not answer: it may be stopped or overloaded. Look at its log, or start it anew")]
    Silent,
    /// It ended in the middle.
    #[error("the daemon ended before it had answered: start it again; what it was told before is kept")]
    Ended,
    /// Something else speaks there.
    #[error("what listens at {0} is no daemon of this version: {1}")]
    Foreign(PathBuf, String),
    /// A message is longer than the protocol allows.
    #[error("this is too long for one message: {0} bytes, and {most} is the most", most = lines::LONGEST)]
    MessageTooLong(usize),
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
