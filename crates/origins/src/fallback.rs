//! An origin for peers that know the content, and read of it what nobody else has: the seam is [`storage::Fallback`].
//!
//! What lies there is listed once, and each read is of the version that was listed. Who reads decides when a failed read is made again;
//! only that an origin asked to be left alone for a while is kept to here.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use protocol::{ContentId, MAX_MANIFEST_BYTES, Manifest, OriginUrl};
use storage::{Fallback, FallbackRead, FindingManifest, NextBytes};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::manifest::name_by_id;
use crate::storage::as_storage_error;
use crate::{Allowed, HttpSource, Limits, Listing, Object, Options, Origin, OriginError, RangeReader};

/// An origin that peers read of what nobody has. Clones are of the same.
#[derive(Clone)]
pub struct OriginFallback(Arc<Inner>);

struct Inner {
    origin: Origin,
    /// The user's URL and options, to look for a manifest beside the object; `None` if the URL comes from a manifest.
    named: Option<(String, Options)>,
    /// Whether peers are to bring everything, and it is only for where they do not.
    spare: bool,
    state: Mutex<State>,
}

struct State {
    objects: Looking,
    /// It asked to be left alone until then, for this reason.
    not_before: Option<(Instant, OriginError)>,
}

/// The objects that were listed, or are being listed: that goes on even if the first who asked has gone away.
enum Looking {
    Not,
    Now(watch::Receiver<Option<Result<Objects, OriginError>>>),
    Done(Objects),
}

/// What was listed, by path; or the one object, whatever it is called.
#[derive(Clone)]
enum Objects {
    One(Arc<Object>),
    Many(Arc<HashMap<String, Object>>),
}

impl Objects {
    fn new(listing: Listing) -> Self {
        match (listing.folder, <[Object; 1]>::try_from(listing.objects)) {
            (false, Ok([object])) => Objects::One(Arc::new(object)),
            (_, Ok([object])) => Objects::Many(Arc::new(HashMap::from([(object.path.clone(), object)]))),
            (_, Err(objects)) => {
                Objects::Many(Arc::new(objects.into_iter().map(|object| (object.path.clone(), object)).collect()))
            }
        }
    }

    /// The object that is a file of a content.
    fn of(&self, folder: bool, path: &str, size: u64) -> Option<&Object> {
        let object = match self {
            Objects::One(object) if !folder => Some(&**object),
            Objects::One(_) => None,
            Objects::Many(objects) => objects.get(path).filter(|_| folder),
        };
        object.filter(|object| object.size == size)
    }
}

impl OriginFallback {
    /// An origin that the user named for a content, with the credentials of this user.
    ///
    /// # Errors
    /// If it is no URL of an origin.
    pub fn new(url: &str, options: &Options) -> Result<Self, OriginError> {
        let options = options.clone().limits(one_try(&options.limits));
        let origin = Origin::open(url, &options)?;
        Ok(OriginFallback::of(origin, Some((url.to_owned(), options)), Looking::Not, false))
    }

    /// An origin that a manifest names; see [`Origin::open_named`].
    ///
    /// # Errors
    /// If it may not be read.
    pub fn named(url: &OriginUrl, allowed: &Allowed, options: &Options) -> Result<Self, OriginError> {
        let options = options.clone().limits(one_try(&options.limits));
        Ok(OriginFallback::of(Origin::open_named(url, allowed, &options)?, None, Looking::Not, false))
    }

    /// An origin that is read only where peers bring next to nothing: of one object, or of a folder that is what it lists.
    pub fn spare(origin: &Origin, object: Option<Object>) -> Self {
        let origin = origin.with_limits(one_try(origin.limits()));
        let looking = object.map_or(Looking::Not, |object| Looking::Done(Objects::One(Arc::new(object))));
        OriginFallback::of(origin, None, looking, true)
    }

    fn of(origin: Origin, named: Option<(String, Options)>, objects: Looking, spare: bool) -> Self {
        let state = Mutex::new(State { objects, not_before: None });
        OriginFallback(Arc::new(Inner { origin, named, spare, state }))
    }
}

/// Each read is one try.
fn one_try(limits: &Limits) -> Limits {
    limits.clone().patience(Duration::ZERO)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What lies there, as it was when it was first looked at.
    async fn objects(self: &Arc<Self>) -> Result<Objects, OriginError> {
        let mut coming = {
            let mut state = self.lock();
            match &state.objects {
                Looking::Done(objects) => return Ok(objects.clone()),
                Looking::Now(coming) => coming.clone(),
                Looking::Not => {
                    let (sender, coming) = watch::channel(None);
                    state.objects = Looking::Now(coming.clone());
                    tokio::spawn(self.clone().look(sender));
                    coming
                }
            }
        };
        match coming.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or_else(|| Err(self.ends())),
            Err(_) => Err(self.ends()),
        }
    }

    async fn look(self: Arc<Self>, sender: watch::Sender<Option<Result<Objects, OriginError>>>) {
        let found = self.origin.list().await.map(Objects::new);
        self.lock().objects = found.as_ref().map_or(Looking::Not, |objects| Looking::Done(objects.clone()));
        let _ = sender.send(Some(found));
    }

    fn ends(&self) -> OriginError {
        OriginError::unreachable(self.origin.url(), "it ends")
    }

    async fn open(self: &Arc<Self>, range: &Range) -> Result<RangeReader, OriginError> {
        if let Some((until, error)) = &self.lock().not_before
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let objects = self.objects().await?;
        let header = range.manifest.header();
        let file = header.files.get(range.file).ok_or_else(|| OriginError::NotFound(self.origin.url().to_owned()))?;
        let object = objects.of(header.folder, &file.path, file.size).ok_or_else(|| {
            let what = if header.folder { format!("{} there", file.path) } else { "it".to_owned() };
            OriginError::refused(
                self.origin.url(),
                format!("{what} has changed, or is gone, since the content was made of it"),
            )
        })?;
        self.origin.reader(object, range.offset..range.offset + range.len)
    }

    /// A read has failed: what is to be known before the next one.
    fn failed(&self, error: &OriginError) {
        let mut state = self.lock();
        match error {
            OriginError::Unreachable { retry_after: Some(seconds), .. } => {
                state.not_before = Some((Instant::now() + Duration::from_secs(*seconds), error.clone()));
            }
            error if error.is_transient() => {}
            // It is looked at anew.
            _ if matches!(state.objects, Looking::Done(_)) => state.objects = Looking::Not,
            _ => {}
        }
    }
}

impl Fallback for OriginFallback {
    fn shown(&self) -> &str {
        self.0.origin.url()
    }

    fn rate(&self) -> Option<NonZeroU64> {
        self.0.origin.rate()
    }

    fn is_spare(&self) -> bool {
        self.0.spare
    }

    fn manifest(&self, content: ContentId) -> FindingManifest {
        let Some((url, options)) = self.0.named.clone() else { return async { Ok(None) }.boxed() };
        let finding = async move {
            let name = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
            let name = name.rsplit('/').next().unwrap_or_default().to_owned();
            let name = name_by_id(&name, content);
            if Origin::is_web(&url) {
                let source = HttpSource::new(&url, &options.limits)?;
                return source.get_beside(&name, MAX_MANIFEST_BYTES).await;
            }
            Origin::get_beside(&url, &options, &name, MAX_MANIFEST_BYTES).await
        };
        async move { finding.await.map_err(as_storage_error) }.boxed()
    }

    fn read(&self, manifest: &Arc<Manifest>, file: usize, offset: u64, len: u64) -> Box<dyn FallbackRead> {
        let range = Range { manifest: manifest.clone(), file, offset, len };
        Box::new(Read { inner: self.0.clone(), range, reader: None })
    }
}

/// Some bytes of a file of a content.
struct Range {
    manifest: Arc<Manifest>,
    file: usize,
    offset: u64,
    len: u64,
}

struct Read {
    inner: Arc<Inner>,
    range: Range,
    reader: Option<RangeReader>,
}

impl Read {
    async fn bytes(&mut self) -> Result<Bytes, OriginError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => self.reader.insert(self.inner.open(&self.range).await?),
        };
        reader.next().await?.ok_or_else(|| OriginError::unreachable(self.inner.origin.url(), "nothing more is to come"))
    }
}

impl FallbackRead for Read {
    fn next(&mut self) -> NextBytes<'_> {
        async move {
            let bytes = self.bytes().await;
            bytes.inspect_err(|error| self.inner.failed(error)).map_err(as_storage_error)
        }
        .boxed()
    }
}
