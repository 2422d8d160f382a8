//! What is shared from where it is already: a bucket, a web server, or a hub. Reading from there needs the feature `origins`, which
//! programs that are handed out have.

#[cfg(feature = "origins")]
mod reading;

use std::path::PathBuf;
use std::sync::Arc;

use peer::{Manifest, Remote};

use crate::error::Failure;
use crate::flags::cut::Cut;
use crate::flags::origins::OriginArguments;
use crate::session::Session;

#[cfg(feature = "origins")]
pub use reading::{PublishRequest, publish};

/// What is to be shared, and how.
pub struct OriginRequest<'a> {
    /// Where it is.
    pub url: &'a str,
    /// How its pieces are cut.
    pub cut: &'a Cut,
    /// How it is read.
    pub flags: &'a OriginArguments,
    /// Most bytes that are kept of it here.
    pub cache: u64,
}

/// What is at an origin.
pub struct OriginContent {
    /// What it is.
    pub manifest: Arc<Manifest>,
    /// Who reads it.
    pub storage: Arc<dyn Remote>,
    /// What it is called in messages: its URL, without what is secret in it.
    pub shown: PathBuf,
}

/// Makes a content of what is at an origin, which is read once for it unless its manifest is known.
pub async fn open(session: &Session, request: OriginRequest<'_>) -> Result<OriginContent, Failure> {
    #[cfg(feature = "origins")]
    return reading::open(session, request).await;
    #[cfg(not(feature = "origins"))]
    {
        let _ = (session, request.cut, request.flags, request.cache);
        Err(not_built(request.url))
    }
}

/// What is to be done with a program that cannot read from origins.
#[cfg(not(feature = "origins"))]
pub fn not_built(url: &str) -> Failure {
    let sentence = format!(
        "{}: this program was built without origins. Take a released one, or build it with --features origins",
        protocol::redacted(url)
    );
    Failure::new(crate::error::ExitCode::Usage, sentence)
}
