//! Who is answered by a listener for HTTP: the rules of the gateway and of the pages, in one place.
//!
//! A page of the web may make a browser ask this machine something. Its name is in `Host` even if it leads here (DNS rebinding), so
//! only known names and the address that was dialled are answered ([`names_this_machine`]). A page of another site is not answered
//! either, as far as the browser says that it asks ([`is_of_another_site`]): a request may begin something, even if nothing of its
//! answer can be read. And a listener that others reach has a [`Token`]. Who opens many connections keeps nobody else out ([`Room`]).
//!
//! ```
//! use http::{HeaderMap, HeaderValue, Uri, header};
//! use p2p_fileshare_http_access::{Token, names_this_machine};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8642"));
//! headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer 0123456789abcdef"));
//! let dialled = "127.0.0.1".parse().unwrap();
//! assert!(names_this_machine(&headers, &Uri::from_static("/"), dialled, &[]));
//! assert!(Token::new("0123456789abcdef").unwrap().is_in(&headers));
//! ```

mod arrivals;
mod hosts;
mod room;
mod sites;
mod token;

pub use arrivals::Arrivals;
pub use hosts::names_this_machine;
pub use room::{Place, Room};
pub use sites::is_of_another_site;
pub use token::{Token, TokenError};
