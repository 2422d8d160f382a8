//! The page that a program shows of itself: one HTML file ([`document`]), and streams of events that keep it up to date ([`Feeds`]).
//! Behind the feature `http`.
//!
//! A program says what has changed when it is asked ([`Source`]), which is once a second at most for each open page. [`Delta`] finds
//! what has changed in long lists. [`Server`] is a small listener for a program that has none.

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
