//! What a program says of itself over HTTP: `/metrics` (OpenMetrics), `/livez` and `/readyz`. Behind the feature `http`.
//!
//! A program gives a function that is asked at each scrape ([`Monitor`]); [`metric`] has what it answers. [`router`] is for a program that
//! has an HTTP listener already, [`Server`] for one that has none.
//!
//! ```no_run
//! # #[cfg(feature = "http")]
//! # mod with_the_feature {
//! use p2p_fileshare_monitor::metric::{Metric, Unit, Value};
//! use p2p_fileshare_monitor::{Monitor, Server};
//!
//! # async fn example() -> std::io::Result<()> {
//! let collect = || vec![Metric::new("sent", "Bytes sent to peers", Some(Unit::Bytes), Value::Counter(7))];
//! let server = Server::bind(([127, 0, 0, 1], 9464).into()).await?;
//! server.run(Monitor::new(collect, || Ok(()))).await;
//! # Ok(())
//! # }
//! # }
//! ```

// What the page above names is only there with the feature.
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#[cfg(feature = "http")]
mod encode;
pub mod metric;
#[cfg(feature = "http")]
mod process;
#[cfg(feature = "http")]
mod server;

#[cfg(feature = "http")]
pub use server::{Monitor, Server, router};
