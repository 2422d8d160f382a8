//! Reading from an origin: its manifest, from before, from beside the object, or made in one read; and its pieces.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::OpeningStep;
use origins::{
    Allowed, Cache, KeptManifests, Listing, Options, Origin, OriginError, OriginFallback, OriginStorage, Pace, Pieces,
    Unfit, make_manifest,
};
use peer::{Fallback, Manifest, NodeBuilder};
use protocol::{Algorithm, OriginUrl, printable, redacted};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{OriginContent, OriginRequest};
use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::fallback::NamedOriginArguments;
use crate::flags::origins::OriginArguments;
use crate::flags::peer::HASHES;
use crate::session::Session;
use crate::session::patience::SPEAK;
use crate::ui::counter::Counter;
use crate::ui::screen::complain;

/// In the folder for manifests, and in that for what can be made again.
const ORIGINS: &str = "origins";
/// Most bytes that a daemon keeps of what it reads.
const DAEMON_CACHE: u64 = 10 << 30;

/// The same reason is told again after this long.
const AGAIN: Duration = Duration::from_secs(15);

/// An origin and what lies there.
struct FoundOrigin {
    origin: Origin,
    listing: Listing,
    pieces: Pieces,
    kept: KeptManifests,
    options: Options,
}

/// Hears of what fails at an origin and is tried again.
struct Retries(mpsc::Receiver<(String, Duration)>);

impl Retries {
    /// How an origin is read, and who hears when that fails for a while.
    fn of(flags: &OriginArguments) -> (Options, Self) {
        let (sender, receiver) = mpsc::channel(16);
        let hear = move |error: &OriginError, left: Duration| {
            // Where nobody listens any more, or not fast enough, nobody need know.
            let _ = sender.try_send((error.to_string(), left));
        };
        let options = Options::default().endpoint(flags.endpoint.clone()).pace(pace(flags.origin_rate));
        let limits = options.limits.clone().on_retry(hear);
        (options.limits(limits), Retries(receiver))
    }

    /// Looks at what lies there, and tells that it takes a while, and what is tried again.
    async fn look(&mut self, what: OriginLook<'_>, tell: impl Fn(String)) -> Result<FoundOrigin, Failure> {
        let silent = format!("Still looking at {}.", shown(what.url));
        self.telling(Some(silent), tell, look(what)).await
    }

    /// Does something with the origin, and tells of what is tried again.
    async fn during<T>(&mut self, tell: impl Fn(String), work: impl Future<Output = T>) -> T {
        self.telling(None, tell, work).await
    }

    /// Tells why something is tried again, of the same reason now and then, and that nothing is heard at all.
    async fn telling<T>(
        &mut self,
        mut silent: Option<String>,
        tell: impl Fn(String),
        work: impl Future<Output = T>,
    ) -> T {
        let mut told: Option<(String, Instant)> = None;
        let due = Instant::now() + SPEAK;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(due), if silent.is_some() => silent.take().into_iter().for_each(&tell),
                Some((reason, left)) = self.0.recv() => {
                    let is_news = told.as_ref().is_none_or(|(said, when)| *said != reason || when.elapsed() >= AGAIN);
                    if is_news {
                        tell(format!("{}. Trying again for {} s.", printable(&reason), left.as_secs()));
                        (told, silent) = (Some((reason, Instant::now())), None);
                    }
                }
            }
        }
    }
}

pub(super) async fn open(session: &Session, request: OriginRequest<'_>) -> Result<OriginContent, Failure> {
    let OriginRequest { url, cut, flags, .. } = request;
    let (options, mut retries) = Retries::of(flags);
    session.shows(&format!("Looking at {}", shown(url)));
    let tell = |sentence: String| session.note(&sentence);
    let found = retries.look(OriginLook { url, cut, flags, options }, tell).await;
    session.shows_no_more();
    let found = found?;
    unfit_words(&found.listing.unfit).into_iter().for_each(tell);
    let path = PathBuf::from(found.origin.url());
    let opening = content_of(found, request, |done, total| session.hashing(&path, done, total));
    retries.during(tell, opening).await
}

/// The same for a daemon, which tells nobody but `progress`.
pub(super) async fn open_for_daemon(
    url: &str,
    rate: Option<u64>,
    progress: daemon::Progress,
) -> Result<OriginContent, Failure> {
    let cut = Cut { hash: Algorithm::Blake3, piece_size: None };
    let flags = OriginArguments { only: Vec::new(), endpoint: None, origin_rate: rate, name_origin: false };
    let request = OriginRequest { url, cut: &cut, flags: &flags, cache: DAEMON_CACHE };
    let (options, mut retries) = Retries::of(&flags);
    let tell = |sentence| progress(OpeningStep::Stuck(sentence));
    let found = retries.look(OriginLook { url, cut: &cut, flags: &flags, options }, tell).await?;
    if let Some(sentence) = unfit_words(&found.listing.unfit) {
        tracing::warn!(url = shown(url), "{sentence}");
    }
    progress(OpeningStep::Read { done: 0, total: 0 });
    let opening = content_of(found, request, |done, total| progress(OpeningStep::Read { done, total }));
    retries.during(tell, opening).await
}

/// Fails if nothing can ever be read at this URL. Nobody is asked.
pub(super) fn check(url: &str) -> Result<(), Failure> {
    match Origin::open(url, &Options::default()) {
        Err(error @ OriginError::Url { .. }) => Err(failure(error)),
        // What else is amiss may be put right later.
        _ => Ok(()),
    }
}

async fn content_of(
    found: FoundOrigin,
    request: OriginRequest<'_>,
    progress: impl Fn(u64, u64),
) -> Result<OriginContent, Failure> {
    let OriginRequest { url, flags, cache, .. } = request;
    named(url, flags, &found.listing)?;
    let cache = open_cache(cache);
    let path = PathBuf::from(found.origin.url());
    let kept = found.kept.find(&found.origin, &found.listing, found.pieces);
    let known = match kept {
        Some(manifest) => Some(manifest),
        None => found.kept.find_beside(&found.origin, &found.listing, found.pieces, url, &found.options).await,
    };
    let manifest = match known {
        Some(manifest) => manifest,
        None => make(&found, cache.as_ref(), progress).await?,
    };
    let shared = Arc::new(published(manifest.clone(), named(url, flags, &found.listing)?)?);
    let FoundOrigin { origin, listing, kept, .. } = found;
    let storage = OriginStorage::new(origin, listing, Arc::new(manifest), cache, None).map_err(failure)?;
    let storage = storage.manifest_kept(kept);
    Ok(OriginContent { manifest: shared, storage: Arc::new(storage), shown: path })
}

/// What is to be looked at, and how.
struct OriginLook<'a> {
    url: &'a str,
    cut: &'a Cut,
    flags: &'a OriginArguments,
    options: Options,
}

async fn look(OriginLook { url, cut, flags, options }: OriginLook<'_>) -> Result<FoundOrigin, Failure> {
    let origin = Origin::open(url, &options).map_err(failure)?;
    let mut listing = origin.list().await.map_err(failure)?;
    if !flags.only.is_empty() {
        if !listing.folder {
            let sentence = format!("{} is one object: --only is for prefixes, models and data sets", origin.url());
            return Err(Failure::new(ExitCode::Usage, sentence));
        }
        listing.objects.retain(|object| flags.only.iter().any(|pattern| pattern.matches(&object.path)));
    }
    if listing.folder && listing.objects.is_empty() {
        return Err(Failure::new(ExitCode::NotFound, format!("no file of {} fits --only", origin.url())));
    }
    let pieces = Pieces { algorithm: cut.hash, size: cut.piece_size };
    Ok(FoundOrigin { origin, listing, pieces, kept: kept_manifests(), options })
}

/// The cap on how fast origins are read: one for all that this process reads, for what it protects is the way to them.
pub fn pace(rate: Option<u64>) -> Option<Pace> {
    static PACE: OnceLock<Pace> = OnceLock::new();
    let rate = rate.and_then(NonZeroU64::new)?;
    Some(PACE.get_or_init(|| Pace::new(rate)).clone())
}

/// What is to be shared: the manifest, with the URL if that is to be named.
fn published(manifest: Manifest, named: Option<OriginUrl>) -> Result<Manifest, Failure> {
    let Some(url) = named else { return Ok(manifest) };
    manifest.with_origin(url).map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))
}

/// The URL to name, if it is to be: of a model or data set with its commit, for a branch is another content tomorrow.
fn named(url: &str, flags: &OriginArguments, listing: &Listing) -> Result<Option<OriginUrl>, Failure> {
    if !flags.name_origin {
        return Ok(None);
    }
    let commit = listing.objects.first().and_then(|object| match &object.version {
        origins::Version::Commit(commit) => Some(commit),
        _ => None,
    });
    let url = match commit {
        Some(commit) => format!("{}@{commit}", url.split('@').next().unwrap_or(url)),
        None => url.to_owned(),
    };
    let unfit = |error: protocol::OriginUrlError| {
        Failure::new(ExitCode::Usage, format!("{} cannot be named (--name-origin): {error}", shown(&url)))
    };
    url.parse().map(Some).map_err(unfit)
}

/// The origin that the user names for a download.
pub(super) fn fallback(url: &str, endpoint: Option<&str>, rate: Option<u64>) -> Result<Arc<dyn Fallback>, Failure> {
    let options = Options::default().endpoint(endpoint.map(str::to_owned)).pace(pace(rate));
    Ok(Arc::new(OriginFallback::new(url, &options).map_err(failure)?))
}

/// Lets a node read origins that manifests name, of the hosts that the user allows.
pub(super) fn with_named(node: NodeBuilder, flags: &NamedOriginArguments) -> NodeBuilder {
    let options = Options::default().pace(pace(flags.origin_rate));
    let allowed = Allowed::new(flags.origin_allow.iter().cloned());
    node.named_origins(move |url: &OriginUrl| match OriginFallback::named(url, &allowed, &options) {
        Ok(origin) => Some(Arc::new(origin)),
        Err(error) => {
            // What it names was chosen by a stranger.
            tracing::warn!("the origin that this content names is not read: {}", printable(&error.to_string()));
            None
        }
    })
}

/// The manifest, made anew by one read, and kept.
async fn make(
    found: &FoundOrigin,
    cache: Option<&Arc<Cache>>,
    progress: impl Fn(u64, u64),
) -> Result<Manifest, Failure> {
    // Each takes 48 MiB of memory; a daemon may have many to make.
    static MAKING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
    let _turn = MAKING.acquire().await;
    let FoundOrigin { origin, listing, pieces, kept, .. } = found;
    let manifest = make_manifest(origin, listing, *pieces, cache, progress).await.map_err(failure)?;
    if let Err(error) = kept.keep(origin, listing, &manifest) {
        tracing::warn!(%error, "the manifest is not kept: the next start reads everything again");
    }
    Ok(manifest)
}

/// The cache of this user, one for all that is shared. Without one everything is read again and again.
fn open_cache(most: u64) -> Option<Arc<Cache>> {
    static CACHE: OnceLock<Option<Arc<Cache>>> = OnceLock::new();
    if most == 0 {
        return None;
    }
    let open = || {
        let folder = cache_folder().join(ORIGINS);
        match Cache::open(&folder, most) {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!("nothing that is read is kept: {}: {error}", folder.display());
                None
            }
        }
    };
    CACHE.get_or_init(open).clone()
}

/// Where manifests are kept beside the versions that they are of: the same for every command, wherever it is started.
fn kept_manifests() -> KeptManifests {
    KeptManifests::new(cache_folder().join(HASHES).join(ORIGINS))
}

/// Where what can be made again is kept, also by a service without a home.
fn cache_folder() -> PathBuf {
    settings::Folders::of_this_process().cache.unwrap_or_else(|| std::env::temp_dir().join("p2p-fileshare"))
}

/// A manifest that is to be made, and no more.
pub struct PublishRequest<'a> {
    /// Of what.
    pub url: &'a str,
    /// How its pieces are cut.
    pub cut: &'a Cut,
    /// How it is read.
    pub flags: &'a OriginArguments,
    /// Whether it is put beside what it is of.
    pub beside: bool,
}

/// A manifest that was made, and where it was put.
pub struct Published {
    /// The manifest.
    pub manifest: Manifest,
    /// Where it is on this machine, if it could be kept.
    pub kept: Option<PathBuf>,
    /// Where it is beside what it is of.
    pub beside: Option<String>,
}

/// Makes a manifest and keeps it.
pub async fn publish(request: PublishRequest<'_>) -> Result<Published, Failure> {
    let PublishRequest { url, cut, flags, .. } = request;
    let (options, mut retries) = Retries::of(flags);
    let tell = |sentence: String| complain(&sentence);
    let found = retries.look(OriginLook { url, cut, flags, options }, tell).await?;
    unfit_words(&found.listing.unfit).into_iter().for_each(tell);
    retries.during(tell, make_and_keep(&found, request)).await
}

async fn make_and_keep(found: &FoundOrigin, request: PublishRequest<'_>) -> Result<Published, Failure> {
    let PublishRequest { url, flags, beside, .. } = request;
    let named = named(url, flags, &found.listing)?;
    // One that lies beside it is what others say, and is not published again as ours.
    let manifest = match found.kept.find(&found.origin, &found.listing, found.pieces) {
        Some(manifest) => manifest,
        None => make(found, None, Counter::new("Reading", Path::new(found.origin.url())).show()).await?,
    };
    let FoundOrigin { origin, listing, kept, options, .. } = found;
    let manifest = published(manifest, named)?;
    let beside = match beside {
        true => Some(kept.put_beside(origin, listing, &manifest, url, options).await.map_err(failure)?),
        false => None,
    };
    // What names its origin is made of the one that is kept.
    let kept =
        kept.path(origin, listing, manifest.header()).filter(|path| path.is_file() && manifest.origin().is_none());
    Ok(Published { manifest, kept, beside })
}

/// What is said of objects that are not shared.
fn unfit_words(Unfit { count, first, .. }: &Unfit) -> Option<String> {
    let keys: Vec<_> = first.iter().map(|key| format!("{key:?}")).collect();
    let more = match count - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let sentence = format!("Objects that cannot be files in a folder are left out: {}{more}.", keys.join(", "));
    (*count > 0).then(|| printable(&sentence))
}

fn shown(url: &str) -> String {
    printable(&redacted(url))
}

fn failure(error: OriginError) -> Failure {
    let (code, advice) = match &error {
        OriginError::Url { .. } => (ExitCode::Usage, ""),
        OriginError::NotFound(_) => (ExitCode::NotFound, "Check the URL, and --endpoint if it has one"),
        OriginError::Denied { url, .. } if url.starts_with("hf://") => (ExitCode::Refused, ""),
        OriginError::Denied { url, .. } if url.starts_with("http") => {
            (ExitCode::Refused, "Without credentials only what is open, or a signed URL, can be read")
        }
        OriginError::Denied { reason, .. } if reason.contains("SKIP_SIGNATURE") => (ExitCode::Refused, ""),
        OriginError::Denied { .. } => (
            ExitCode::Refused,
            "Credentials come from the environment, a profile or the role of this machine; AWS_SKIP_SIGNATURE=true reads an open \
             bucket of S3 without any",
        ),
        OriginError::Changed(_) => (ExitCode::VerificationFailed, "Start again once nobody writes to it"),
        OriginError::Unreachable { .. } => (ExitCode::Other, "Try again when it is back"),
        OriginError::Unresolved { .. } => (ExitCode::Other, "Check its name, and that this machine has a network"),
        _ => (ExitCode::Other, ""),
    };
    let message = if advice.is_empty() { error.to_string() } else { format!("{error}. {advice}") };
    // A server's words may stand in it.
    Failure::new(code, printable(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_once() {
        for reason in ["it says no", "If it is open to everyone, set GOOGLE_SKIP_SIGNATURE=true"] {
            let denied = OriginError::Denied { url: "s3://bucket/key".to_owned(), reason: reason.to_owned() };
            let message = failure(denied).message;
            assert_eq!(message.matches("_SKIP_SIGNATURE").count(), 1, "{message}");
        }
    }
}
