//! What origins answered last, on the disk: a gateway that starts while they are away serves what it has kept, or what peers have. Such an
//! answer is taken only while no other can be had.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::spawn_blocking;

/// Most bytes of all answers. Those that were written the longest ago go first.
const MOST: u64 = 64 << 20;
/// Each takes so many of them, beside its bytes.
const EACH: u64 = 4096;

/// Answers by what was asked. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    most: u64,
    /// About how many bytes there are, once they were counted.
    bytes: Mutex<Option<u64>>,
}

impl Answers {
    /// Those in this folder, which is made when something is written.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Answers::within(folder, MOST)
    }

    fn within(folder: PathBuf, most: u64) -> Self {
        Answers(Arc::new(Inner { folder, most, bytes: Mutex::new(None) }))
    }

    /// What was answered last, as it is read: a crash may have left anything.
    pub(crate) async fn find<T: Send + 'static>(
        &self,
        asked: String,
        read: impl FnOnce(&str) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let shared = self.0.clone();
        spawn_blocking(move || read(&shared.find(&asked)?)).await.ok().flatten()
    }

    /// Writes what was answered, unless it is there already.
    pub(crate) async fn keep(&self, asked: String, write: impl FnOnce() -> Option<String> + Send + 'static) {
        let shared = self.0.clone();
        let keeping = spawn_blocking(move || write().map(|answer| shared.keep(&asked, &answer)));
        let _ = keeping.await;
    }
}

impl Inner {
    fn at(&self, asked: &str) -> PathBuf {
        self.folder.join(blake3::hash(asked.as_bytes()).to_hex().as_str())
    }

    fn find(&self, asked: &str) -> Option<String> {
        let read = || {
            let mut answer = String::new();
            fs::File::open(self.at(asked))?.take(self.most).read_to_string(&mut answer).map(|_| answer)
        };
        atomic_file::open_patiently(read).ok()
    }

    fn keep(&self, asked: &str, answer: &str) {
        if self.find(asked).is_some_and(|known| known == answer) {
            return;
        }
        let size = answer.len() as u64 + EACH;
        if size > self.most {
            return;
        }
        let path = self.at(asked);
        let made = fs::create_dir_all(&self.folder);
        let written = made.and_then(|()| atomic_file::replace_cache(&path, answer.as_bytes()));
        if let Err(error) = written {
            tracing::debug!(%error, "an origin's answer could not be kept");
            return;
        }
        let mut total = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *total = match *total {
            Some(bytes) if bytes + size <= self.most => Some(bytes + size),
            _ => Some(self.make_room(&path)),
        };
    }

    /// Removes the oldest but for this one, so that there is some room, and counts the others.
    fn make_room(&self, newest: &Path) -> u64 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let found = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let written = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((entry.path() == newest, written, entry.path(), found.len() + EACH))
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        let mut bytes: u64 = found.iter().map(|(_, _, _, size)| size).sum();
        if bytes <= self.most {
            return bytes;
        }
        for (is_newest, _, path, size) in found {
            if is_newest || bytes <= self.most / 4 * 3 {
                break;
            }
            if atomic_file::patiently(|| fs::remove_file(&path)).is_ok() {
                bytes -= size;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn keep(answers: &Answers, asked: &str, answer: &str) {
        let answer = answer.to_owned();
        answers.keep(asked.to_owned(), || Some(answer)).await;
    }

    async fn find(answers: &Answers, asked: &str) -> Option<String> {
        answers.find(asked.to_owned(), |answer| Some(answer.to_owned())).await
    }

    #[tokio::test]
    async fn an_answer_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::new(folder.path().join("answers"));
        assert_eq!(find(&answers, "a").await, None);
        keep(&answers, "a", "first").await;
        keep(&answers, "a", "second").await;
        drop(answers);
        let answers = Answers::new(folder.path().join("answers"));
        assert_eq!(find(&answers, "a").await.as_deref(), Some("second"));
        assert_eq!(find(&answers, "b").await, None);
    }

    #[tokio::test]
    async fn the_oldest_answers_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::within(folder.path().to_owned(), 4 * (EACH + 100));
        let numbers = ["0", "1", "2", "3", "4", "5"];
        for (number, asked) in (0..).zip(numbers) {
            keep(&answers, asked, "answer").await;
            let file = fs::File::options().write(true).open(answers.0.at(asked)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number)).unwrap();
        }
        let mut left = Vec::new();
        for asked in numbers {
            left.push(find(&answers, asked).await.is_some());
        }
        // With the fifth there is no room for all: some go at once, so that there is room for others.
        assert_eq!(left, [false, false, true, true, true, true]);
        keep(&answers, "large", &"x".repeat(5 * EACH as usize)).await;
        assert_eq!(find(&answers, "large").await, None);
    }
}
