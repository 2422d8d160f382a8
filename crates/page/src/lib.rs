//! The page that a program shows of itself: one HTML file ([`document`]), and streams of events that keep it up to date ([`Feeds`]).
//! Behind the feature `http`.
//!
//! A program says what has changed when it is asked ([`Source`]), which is once a second at most for each open page. [`Delta`] finds
//! what has changed in long lists. [`Server`] is a small listener for a program that has none.
//!
//! ```no_run
//! # #[cfg(feature = "http")]
//! # mod with_the_feature {
//! use axum::Router;
//! use axum::http::StatusCode;
//! use axum::routing::get;
//! use p2p_fileshare_page::{Batch, Event, Feeds, Program, Server, Source, document};
//!
//! struct Peers(u64);
//!
//! impl Source for Peers {
//!     async fn look(&mut self) -> Batch {
//!         self.0 += 1;
//!         Batch { events: vec![Event { name: "peers", data: self.0.to_string() }], more: false }
//!     }
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let feeds = Feeds::new(16);
//! let events = get(async move || feeds.open(Peers(0)).ok_or(StatusCode::SERVICE_UNAVAILABLE));
//! let routes = Router::new().route("/", get(async || document(Program::Tracker))).route("/events", events);
//! Server::bind(([127, 0, 0, 1], 8080).into(), None).await?.run(routes).await;
//! # Ok(())
//! # }
//! # }
//! ```

// What the page above names is only there with the feature.
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#![cfg(feature = "http")]

mod delta;
mod document;
mod feed;
mod server;

pub use delta::{Changed, Delta};
pub use document::{Program, document};
pub use feed::{Batch, Event, Feeds, Source};
pub use http_access::{Token, TokenError};
pub use server::Server;
