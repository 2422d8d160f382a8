//! A peer as a service: it shares and downloads what it is told to, from another terminal, and goes on with that after a restart.
//!
//! [`Service`] drives nodes of the library `peer`: one for the tracker that its own shares are announced to, and one for each
//! other tracker that a ticket names. [`control`] is how others talk to it: JSON lines over a socket that only its user can open
//! (`docs/control.md` documents them). What it is told is written to one file of state before it is answered ([`state`]).
//!
//! ```no_run
//! use p2p_fileshare_daemon::control::{Client, Place, Request};
//!
//! # async fn example() -> Result<(), p2p_fileshare_daemon::control::ControlError> {
//! let mut client = Client::connect(&Place::of_client(None)?).await?;
//! let mut answers = client.ask(&Request::Status {}).await?;
//! while let Some(answer) = answers.next().await? {
//!     println!("{answer:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod content;
pub mod control;
#[cfg(feature = "http")]
pub mod http;
mod lock;
mod nodes;
mod origin;
mod queue;
mod requests;
mod running;
mod service;
mod silence;
pub mod state;

pub use nodes::{Home, NewNode};
pub use origin::{CheckUrl, OpenError, OpenUrl, Opened, Opening, OpeningStep, Progress};
pub use service::{Fault, Service, ServiceConfig, ServiceRun, Settings, StartError};
