//! Files of which clients may have wrong bytes: an answer with them broke off, before it was known whether they were right or because they
//! were not. A client that resumes after such bytes would put two files together.
//!
//! For a day such a file has another tag, so that no condition with the earlier tag is met; and a client that asks for the rest of the file
//! without a condition gets all of it from the first byte on. Clients then begin anew, or say that they cannot go on. Where the bytes
//! turn out to have been right, such requests are served again. The tag stays the other one: clients may have the first one for wrong bytes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use origins::FileDigest;
use peer::ContentId;
use tokio::time::Instant;

/// Most of them that are remembered, and for how long.
const MOST: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(86_400);
/// Most contents of one file that may have been sent and may yet turn out right. With more of them its bytes count as wrong.
const SUSPECTS: usize = 8;

/// How answers with a file broke off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    /// How often they did.
    pub(crate) times: u32,
    /// Whether what was sent may have been wrong.
    pub(crate) in_doubt: bool,
}

/// A content that may have the file, and where the file begins there.
type Place = (ContentId, u64);

/// What is remembered of a file.
struct SpoiledFile {
    times: u32,
    last: Instant,
    /// Whether wrong bytes of it were sent, or bytes of too many contents.
    is_wrong: bool,
    /// Contents of which bytes were sent that may be right.
    suspects: BTreeSet<Place>,
}

/// All such files.
#[derive(Default)]
pub(crate) struct Spoiled(Mutex<HashMap<FileDigest, SpoiledFile>>);

impl Spoiled {
    /// Answers with wrong bytes break off, as `say` tells them. No answer hears of the new tag before it could hear that, too.
    pub(super) fn is_wrong(&self, digest: FileDigest, say: impl FnOnce()) {
        let mut spoiled = self.lock();
        say();
        breaks_off(&mut spoiled, digest, None);
    }

    /// Answers with bytes of this content break off in the same way, if `say` finds that any were sent, and nobody knows whether they are
    /// right.
    pub(super) fn may_be_wrong(&self, digest: FileDigest, content: Place, say: impl FnOnce() -> bool) {
        let mut spoiled = self.lock();
        if say() {
            breaks_off(&mut spoiled, digest, Some(content));
        }
    }

    /// The content has turned out to be right, and so have all bytes that were ever sent of it.
    pub(super) fn is_right(&self, digest: FileDigest, content: Place) {
        if let Some(entry) = self.lock().get_mut(&digest) {
            entry.suspects.remove(&content);
        }
    }

    /// How that was with a file.
    pub(crate) fn of(&self, digest: FileDigest) -> Broken {
        let spoiled = self.lock();
        let entry = spoiled.get(&digest).filter(|entry| entry.last.elapsed() < REMEMBERED);
        entry.map_or(Broken::default(), |entry| Broken {
            times: entry.times,
            in_doubt: entry.is_wrong || !entry.suspects.is_empty(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileDigest, SpoiledFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn breaks_off(spoiled: &mut HashMap<FileDigest, SpoiledFile>, digest: FileDigest, content: Option<Place>) {
    let now = Instant::now();
    if spoiled.len() >= MOST && !spoiled.contains_key(&digest) {
        let oldest = spoiled.iter().min_by_key(|(_, entry)| entry.last).map(|(digest, _)| *digest);
        oldest.and_then(|oldest| spoiled.remove(&oldest));
    }
    let new = || SpoiledFile { times: 0, last: now, is_wrong: false, suspects: BTreeSet::new() };
    let entry = spoiled.entry(digest).or_insert_with(new);
    (entry.times, entry.last) = (entry.times + 1, now);
    match content {
        Some(content) if entry.suspects.len() < SUSPECTS => {
            entry.suspects.insert(content);
        }
        _ => entry.is_wrong = true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_broke_off_is_remembered_for_a_day() {
        let (spoiled, digest) = (Spoiled::default(), FileDigest::Sha256([1; 32]));
        assert_eq!(spoiled.of(digest), Broken::default());
        spoiled.is_wrong(digest, || ());
        spoiled.is_wrong(digest, || ());
        assert_eq!(spoiled.of(digest), Broken { times: 2, in_doubt: true });
        assert_eq!(spoiled.of(FileDigest::Sha256([2; 32])), Broken::default());
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(spoiled.of(digest), Broken::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_turns_out_to_be_right_is_gone_on_with_and_keeps_its_tag() {
        let (spoiled, digest) = (Spoiled::default(), FileDigest::Sha256([1; 32]));
        let [one, other] = ["01", "02"].map(|byte| (byte.repeat(32).parse::<ContentId>().unwrap(), 0));
        spoiled.may_be_wrong(digest, one, || true);
        spoiled.may_be_wrong(digest, other, || true);
        spoiled.may_be_wrong(digest, other, || false);
        spoiled.is_right(digest, one);
        assert_eq!(spoiled.of(digest), Broken { times: 2, in_doubt: true }, "bytes of the other one were sent, too");
        spoiled.is_right(digest, other);
        assert_eq!(spoiled.of(digest), Broken { times: 2, in_doubt: false });
        spoiled.is_wrong(digest, || ());
        spoiled.is_right(digest, one);
        assert_eq!(spoiled.of(digest), Broken { times: 3, in_doubt: true }, "wrong bytes stay wrong");
    }

    #[test]
    fn nobody_is_given_a_tag_while_it_is_said_that_bytes_are_wrong() {
        let (spoiled, digest) = (Spoiled::default(), FileDigest::Sha256([1; 32]));
        spoiled.is_wrong(digest, || assert!(spoiled.0.try_lock().is_err()));
        let content = ("01".repeat(32).parse::<ContentId>().unwrap(), 0);
        spoiled.may_be_wrong(digest, content, || spoiled.0.try_lock().is_err());
        assert_eq!(spoiled.of(digest), Broken { times: 2, in_doubt: true });
    }
}
