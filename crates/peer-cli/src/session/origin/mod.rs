//! What is shared from where it is already: a bucket, a web server, or a hub. Reading from there needs the feature `origins`, which
//! programs that are handed out have.

#[cfg(feature = "origins")]
mod reading;

use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "origins")]
use daemon::control::ErrorCode;
use peer::{ContentId, Fallback, Manifest, NodeBuilder, Remote, Secret, received_manifest};
use protocol::printable;

use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::cut::Cut;
use crate::flags::fallback::{FallbackArguments, NamedOriginArguments};
use crate::flags::origins::OriginArguments;
use crate::session::find::Found;
use crate::session::patience::Patience;
use crate::session::{Session, SessionOptions};
use crate::ui::sentence::capitalised;

#[cfg(feature = "gateway")]
pub use reading::pace;
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
        let _ = (session, request.url, request.cut, request.flags, request.cache);
        Err(Feature::Origins.not_built())
    }
}

/// Opens what a daemon shares from URLs, read at most so fast. Nothing where this build reads none.
#[cfg(feature = "origins")]
pub fn for_daemon(rate: Option<u64>) -> Option<daemon::OpenUrl> {
    let open = move |url: String, progress: daemon::Progress| -> daemon::Opening {
        Box::pin(async move {
            let opened = reading::open_for_daemon(&url, rate, progress).await;
            let OriginContent { manifest, storage, shown } = opened.map_err(open_error)?;
            Ok(daemon::Opened { manifest, storage, shown })
        })
    };
    Some(Arc::new(open))
}

#[cfg(feature = "origins")]
fn open_error(failure: Failure) -> daemon::OpenError {
    let code = match failure.code {
        ExitCode::Usage => ErrorCode::Usage,
        ExitCode::NotFound => ErrorCode::NotFound,
        ExitCode::Refused => ErrorCode::Refused,
        _ => ErrorCode::Other,
    };
    daemon::OpenError { code, message: failure.message }
}

/// Opens what a daemon shares from URLs, read at most so fast. Nothing where this build reads none.
#[cfg(not(feature = "origins"))]
pub fn for_daemon(_: Option<u64>) -> Option<daemon::OpenUrl> {
    None
}

/// Refuses URLs that a daemon can never read. Nothing where this build reads none.
pub fn check_for_daemon() -> Option<daemon::CheckUrl> {
    #[cfg(feature = "origins")]
    return Some(Arc::new(|url| reading::check(url).map_err(|failure| failure.message)));
    #[cfg(not(feature = "origins"))]
    None
}

/// What is done about a tracker that does not answer, while what is wanted is read from its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilentTracker {
    /// It has said welcome before, and is asked again in the background.
    Joined,
    /// It is asked again in the background.
    AskedAgain,
    /// It is not asked again: nobody knows yet who it is.
    LeftAlone,
    /// That was said already.
    Told,
}

impl SilentTracker {
    /// What is said of it, behind why it does not answer.
    fn sentence(self) -> Option<&'static str> {
        match self {
            SilentTracker::Joined | SilentTracker::AskedAgain => Some("It will be tried again in the background."),
            SilentTracker::LeftAlone => Some(
                "It will not be tried again, since this peer has never met it: --tracker-id says which tracker to expect there.",
            ),
            SilentTracker::Told => None,
        }
    }
}

impl Session {
    /// The origin that the user named.
    pub fn origin(&self) -> Option<Arc<dyn Fallback>> {
        self.options.origin.clone()
    }

    /// What is wanted though nobody shares it, if it can be read where it was made of all the same.
    pub fn or_from_origin(
        &self,
        found: Result<Found, Failure>,
        content: Option<ContentId>,
        secret: Option<Secret>,
        tracker: SilentTracker,
    ) -> Result<Found, Failure> {
        let failure = match found {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        let is_alone = matches!(failure.code, ExitCode::NotFound | ExitCode::TrackerUnreachable);
        let Some(content) = content.filter(|&content| is_alone && self.has_origin(content)) else {
            return Err(failure);
        };
        if let Some(sentence) = tracker.sentence().filter(|_| failure.code == ExitCode::TrackerUnreachable) {
            if tracker != SilentTracker::Joined {
                self.without_tracker();
            }
            self.note(&format!("{}. {sentence}", capitalised(printable(&failure.message))));
        }
        self.note("Nobody is known who shares it: it is read from its origin, and shared on.");
        Ok(Found::untold(content, secret))
    }

    /// For how long others are waited for before a content is looked for at its origin: where there is one, nobody need be.
    pub fn patience_of(&self, content: Option<ContentId>, patience: Patience) -> Patience {
        match content.is_some_and(|content| self.has_origin(content)) {
            true => Patience::new(None),
            false => patience,
        }
    }

    /// Whether a content may be read from its origin: the user named one, or may have allowed the one that its manifest names, which
    /// came here before.
    fn has_origin(&self, content: ContentId) -> bool {
        let SessionOptions { origin, named_origins, .. } = &self.options;
        let names_one = |hashes: &PathBuf| received_manifest(hashes, content).is_some_and(|it| it.origin().is_some());
        origin.is_some() || named_origins.as_ref().is_some_and(names_one)
    }
}

/// The origin that the user names for a download, if it is one. Fails where this build reads none.
pub fn fallback(flags: &FallbackArguments) -> Result<Option<Arc<dyn Fallback>>, Failure> {
    check_named(&flags.named)?;
    let origin = flags.origin.as_deref().map(|url| of_url(url, flags.endpoint.as_deref(), &flags.named));
    origin.transpose()
}

/// The origin at this URL, in an object store at this endpoint if that is said. Fails where this build reads none.
pub fn of_url(url: &str, endpoint: Option<&str>, flags: &NamedOriginArguments) -> Result<Arc<dyn Fallback>, Failure> {
    if crate::flags::origins::url(url.as_ref()).is_none() {
        let url = printable(&protocol::redacted(url));
        let sentence = format!("{url} is no URL of an origin: --origin takes https://, hf://, s3://, gs:// and az://");
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    #[cfg(feature = "origins")]
    return reading::fallback(url, endpoint, flags.origin_rate);
    #[cfg(not(feature = "origins"))]
    {
        let _ = (endpoint, flags);
        Err(Feature::Origins.not_built())
    }
}

/// Fails where this build reads no origins that manifests name, and the user wants that.
pub fn check_named(flags: &NamedOriginArguments) -> Result<(), Failure> {
    if flags.origin_fallback { Feature::Origins.must_be_built() } else { Ok(()) }
}

/// Lets a node read origins that manifests name, as far as the user allows it.
pub fn with_named(node: NodeBuilder, flags: &NamedOriginArguments) -> NodeBuilder {
    #[cfg(feature = "origins")]
    if flags.origin_fallback {
        return reading::with_named(node, flags);
    }
    let _ = flags;
    node
}
