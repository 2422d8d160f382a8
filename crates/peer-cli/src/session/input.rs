//! `-S` while it runs: files that come into the input folder are shared, those that change are shared anew, and those that go
//! are withdrawn. Links are followed as those of a shared folder are: if they stay inside, or if that is asked for. What file managers
//! and systems make by themselves is no more shared than it is in a folder.
//!
//! The folder is looked at again and again, which works on every file system, also where other machines write and no system
//! tells of it; of a folder that takes long to look at, seldom enough to leave most of the time to others. A file is shared
//! once it rests: a copy that is under way would be offered and withdrawn at once. That what is shared has changed, the library
//! notices itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use atomic_file::is_gone;
use peer::{Held, LeftOut, LeftOutReason, PeerError, Share, State, Status};
use protocol::ContentId;
use storage::{StorageError, is_system_file, is_system_folder};
use tokio::task::JoinSet;

use crate::error::share_failure;
use crate::flags::cut::Cut;
use crate::session::state::{Handle, Session};
use crate::ui::left_out;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(400);
/// After a look, so many times as long as it took nothing is looked at.
const REST: u32 = 4;
/// A file rests if nothing has changed for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Files that are hashed at once: a large one does not keep small ones waiting.
const AT_ONCE: usize = 4;

/// What is watched, and how it is shared.
pub struct Input {
    folder: PathBuf,
    /// These and no others.
    named: Option<Vec<PathBuf>>,
    cut: Cut,
    held: Held,
    /// Whether links are followed that lead out of the folder.
    follow_links: bool,
    known: BTreeMap<PathBuf, Known>,
    /// What is not shared, and was said to be left out.
    skipped: BTreeSet<PathBuf>,
}

/// What was seen of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    len: u64,
    modified: Option<SystemTime>,
    identity: u64,
}

/// What is known of a file.
struct Known {
    seen: Seen,
    /// Since when it is as it was seen.
    since: Instant,
    /// Whether it was tried to share it as it is.
    tried: bool,
    content: Option<ContentId>,
}

/// What lies in the folder.
#[derive(Default)]
pub struct Look {
    files: BTreeMap<PathBuf, Seen>,
    /// Links that lead out of the folder, and what systems make by themselves.
    left_out: Vec<LeftOut>,
    /// What is no file.
    others: Vec<PathBuf>,
}

impl Seen {
    fn of(seen: &Metadata) -> Self {
        Seen { len: seen.len(), modified: seen.modified().ok(), identity: identity(seen) }
    }
}

#[cfg(unix)]
fn identity(seen: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(seen)
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> u64 {
    0
}

/// Whether a program has the file open to write to it, as far as the system says: Windows gives a copy its full size and a time
/// before its bytes come.
#[cfg(windows)]
fn is_being_written(path: &Path) -> bool {
    use std::os::windows::fs::OpenOptionsExt;
    /// Others may read it, and nobody may write.
    const FILE_SHARE_READ: u32 = 1;
    /// Somebody does.
    const ERROR_SHARING_VIOLATION: i32 = 32;
    let opened = std::fs::File::options().read(true).share_mode(FILE_SHARE_READ).open(path);
    opened.is_err_and(|error| error.raw_os_error() == Some(ERROR_SHARING_VIOLATION))
}

#[cfg(not(windows))]
fn is_being_written(_: &Path) -> bool {
    false
}

impl Look {
    /// Looks at a folder, or at files of it that are named, which are meant whatever they are and wherever they lead. An error says that
    /// the folder, or a file, cannot be looked at now: a network may be down.
    pub fn at(folder: &Path, named: Option<&[PathBuf]>, follow_links: bool) -> io::Result<Self> {
        let mut look = Look::default();
        let paths = match named {
            Some(named) => named.to_vec(),
            None => {
                let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
                entries.collect::<Result<Vec<_>, _>>()?
            }
        };
        let real_folder = folder.canonicalize().ok();
        let leads_out = |path: &Path| {
            let is_link = path.symlink_metadata().is_ok_and(|seen| seen.is_symlink());
            let stays = || Some(path.canonicalize().ok()?.starts_with(real_folder.as_ref()?));
            named.is_none() && !follow_links && is_link && stays() != Some(true)
        };
        let is_of_system = |path: &Path, is_folder: bool| {
            let is =
                if is_folder { is_system_folder(path.file_name().unwrap_or_default()) } else { is_system_file(path) };
            named.is_none() && is
        };
        for path in paths {
            let reason = match path.metadata() {
                Ok(seen) if is_of_system(&path, seen.is_dir()) => LeftOutReason::OfSystem,
                Ok(seen) if seen.is_file() && leads_out(&path) => LeftOutReason::LinkOutside,
                Ok(seen) if seen.is_file() => {
                    look.files.insert(path, Seen::of(&seen));
                    continue;
                }
                Ok(_) => {
                    look.others.push(path);
                    continue;
                }
                // A link to nothing.
                Err(_) if path.symlink_metadata().is_ok() => {
                    look.others.push(path);
                    continue;
                }
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            look.left_out.push(LeftOut { path, reason });
        }
        look.left_out.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        look.others.sort();
        Ok(look)
    }

    /// The files, in the order of their names.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// What is to be said of what is not shared.
    pub fn words_of_left_out(&self) -> Vec<String> {
        words_of_left_out(&self.left_out, &self.others)
    }
}

fn words_of_left_out(left_out: &[LeftOut], others: &[PathBuf]) -> Vec<String> {
    let others = others.iter().map(|path| format!("{} is not a file: skipped.", path.display()));
    others.chain(left_out::words(left_out)).collect()
}

/// How sharing a file went.
struct SharedFile {
    path: PathBuf,
    seen: Seen,
    result: Result<Share, PeerError>,
}

impl Input {
    /// What lies in `folder`, or only what is named. `look` is what is there before anything is shared: what changes from then on is
    /// noticed.
    pub fn new(
        folder: &Path,
        named: Option<Vec<PathBuf>>,
        look: Look,
        (cut, held, follow_links): (Cut, Held, bool),
    ) -> Self {
        let known = |seen| Known { seen, since: Instant::now(), tried: true, content: None };
        let Look { files, left_out, others } = look;
        let known = files.into_iter().map(|(path, seen)| (path, known(seen))).collect();
        let skipped = left_out.into_iter().map(|left_out| left_out.path).chain(others).collect();
        Input { folder: folder.to_owned(), named, cut, held, follow_links, known, skipped }
    }

    /// A file that was there at first is shared as this content.
    pub fn is_shared(&mut self, path: &Path, content: ContentId) {
        if let Some(known) = self.known.get_mut(path) {
            known.content = Some(content);
        }
    }

    /// Brings up to date what is known. Gives what to say of what is new and not shared, and the contents whose files are gone.
    fn update(&mut self, look: Look, now: Instant) -> (Vec<String>, Vec<(PathBuf, ContentId)>) {
        let is_new = |path: &PathBuf| !self.skipped.contains(path);
        let left_out: Vec<_> = look.left_out.into_iter().filter(|left_out| is_new(&left_out.path)).collect();
        let others: Vec<_> = look.others.into_iter().filter(is_new).collect();
        let words = words_of_left_out(&left_out, &others);
        self.skipped.extend(left_out.into_iter().map(|left_out| left_out.path).chain(others));
        let mut gone = Vec::new();
        self.known.retain(|path, known| {
            let stays = look.files.contains_key(path);
            if !stays {
                gone.extend(known.content.map(|content| (path.clone(), content)));
            }
            stays
        });
        for (path, seen) in look.files {
            match self.known.get_mut(&path) {
                Some(known) if known.seen == seen => {}
                Some(known) => {
                    (known.seen, known.since, known.tried) = (seen, now, false);
                }
                None => drop(self.known.insert(path, Known { seen, since: now, tried: false, content: None })),
            }
        }
        (words, gone)
    }

    /// Files that rest and are not shared as they are; each is given once.
    fn due(&mut self, now: Instant, most: usize) -> Vec<(PathBuf, Seen)> {
        let rests = |known: &Known| !known.tried && now.duration_since(known.since) >= QUIET;
        let due = self.known.iter_mut().filter(|(path, known)| rests(known) && !is_being_written(path)).take(most);
        due.map(|(path, known)| {
            known.tried = true;
            (path.clone(), known.seen.clone())
        })
        .collect()
    }
}

impl Session {
    /// Shares what comes into the input folder, and withdraws what goes, for as long as the session runs.
    pub async fn watch_input(&self, mut input: Input) {
        let mut sharing = JoinSet::new();
        let mut next = tokio::time::Instant::now() + PERIOD;
        loop {
            tokio::select! {
                Some(Ok(shared)) = sharing.join_next(), if !sharing.is_empty() => self.was_shared(&mut input, shared).await,
                () = tokio::time::sleep_until(next) => {
                    let began = Instant::now();
                    let (folder, named, follow) = (input.folder.clone(), input.named.clone(), input.follow_links);
                    let look = tokio::task::spawn_blocking(move || Look::at(&folder, named.as_deref(), follow)).await;
                    if let Ok(Ok(look)) = look {
                        let (left_out, gone) = input.update(look, Instant::now());
                        left_out.iter().for_each(|sentence| self.note(sentence));
                        self.retry_withdrawn(&mut input);
                        for (path, content) in gone {
                            self.is_gone(content, &format!("{} is not there any more", path.display())).await;
                        }
                    }
                    next = tokio::time::Instant::now() + PERIOD.max(began.elapsed() * REST);
                }
            }
            for (path, seen) in input.due(Instant::now(), AT_ONCE.saturating_sub(sharing.len())) {
                let share = self.node.share(&path).algorithm(input.cut.hash).piece_size(input.cut.piece_size);
                let share = share.held(input.held.clone());
                self.will_hash(&path);
                sharing.spawn(async move { SharedFile { result: share.await, path, seen } });
            }
        }
    }

    /// Files whose contents the library has withdrawn are looked at again, though nothing may show that they have changed.
    fn retry_withdrawn(&self, input: &mut Input) {
        let mut state = self.state.borrow_mut();
        for known in input.known.values_mut().filter(|known| known.tried) {
            let Some(content) = known.content else { continue };
            let is_withdrawn = |status: &Status| matches!(status.state, State::Withdrawn(_));
            let entry = state.contents.get(&content);
            if entry.is_some_and(|entry| entry.said_withdrawn && is_withdrawn(&entry.status.borrow())) {
                state.contents.remove(&content);
                (known.content, known.tried, known.since) = (None, false, Instant::now());
            }
        }
    }

    async fn was_shared(&self, input: &mut Input, SharedFile { path, seen, result }: SharedFile) {
        self.hashed_beside_others(&path);
        let known = input.known.get_mut(&path);
        match result {
            Ok(share) => {
                let content = share.content();
                // Removed while it was hashed, or shared under its last name.
                let Some(known) = known else {
                    let _ = share.stop().await;
                    return;
                };
                if let Some(before) = known.content.replace(content).filter(|before| *before != content) {
                    self.is_gone(before, &format!("{} was changed", path.display())).await;
                }
                self.adopt(share);
            }
            // Removed while it was hashed: nobody need be told.
            Err(_) if known.is_none() => {}
            // It is tried again when it rests, if it is there then.
            Err(PeerError::StillWritten(_) | PeerError::Storage(StorageError::NotFound(_))) => {
                if let Some(known) = known.filter(|known| known.seen == seen) {
                    (known.tried, known.since) = (false, Instant::now());
                }
            }
            Err(error) => self.say_not_shared(&path, &share_failure(&path, &error).message),
        }
    }

    /// A content is not shared any more, for this reason; nothing if that is known.
    async fn is_gone(&self, content: ContentId, reason: &str) {
        let Some(entry) = self.state.borrow_mut().contents.remove(&content) else { return };
        let is_withdrawn = matches!(entry.status.borrow().state, State::Withdrawn(_));
        if let Handle::Share(share) = entry.handle {
            let _ = share.stop().await;
        }
        if !entry.said_withdrawn {
            let reason = match (is_withdrawn, &entry.status.borrow().state) {
                (true, State::Withdrawn(reason)) => reason.clone(),
                _ => reason.to_owned(),
            };
            self.say_withdrawn(content, &reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::{Algorithm, Digest};

    use super::*;

    fn input(folder: &Path) -> Input {
        let cut = Cut { hash: Algorithm::Blake3, piece_size: None };
        Input::new(folder, None, Look::at(folder, None, false).unwrap(), (cut, Held::All, false))
    }

    fn look(input: &mut Input, now: Instant) -> (Vec<String>, Vec<(PathBuf, ContentId)>) {
        let look = Look::at(&input.folder, None, false).unwrap();
        input.update(look, now)
    }

    fn due(input: &mut Input, now: Instant) -> Vec<String> {
        let due = input.due(now, 9).into_iter();
        due.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_file_is_due_once_it_rests_and_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("first"), "1").unwrap();
        let mut input = input(folder.path());
        let began = Instant::now();
        fs::write(folder.path().join("new"), "1").unwrap();
        look(&mut input, began);
        assert_eq!(due(&mut input, began), [""; 0], "it may still be written to");
        fs::write(folder.path().join("new"), "12").unwrap();
        look(&mut input, began + QUIET);
        assert_eq!(due(&mut input, began + QUIET), [""; 0], "it was");
        look(&mut input, began + QUIET * 2);
        assert_eq!(due(&mut input, began + QUIET * 2), ["new"]);
        assert_eq!(due(&mut input, began + QUIET * 3), [""; 0], "once");
        fs::write(folder.path().join("first"), "changed").unwrap();
        look(&mut input, began + QUIET * 4);
        assert_eq!(due(&mut input, began + QUIET * 5), ["first"]);
    }

    #[test]
    fn what_is_removed_or_renamed_is_gone_and_what_is_no_file_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        let mut input = input(folder.path());
        let content = ContentId(Digest([7; 32]));
        input.is_shared(&folder.path().join("a"), content);
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let now = Instant::now();
        let (others, gone) = look(&mut input, now);
        let said = format!("{} is not a file: skipped.", folder.path().join("sub").display());
        assert_eq!((others, gone), (vec![said], vec![(folder.path().join("a"), content)]));
        assert_eq!(look(&mut input, now), (vec![], vec![]));
        assert_eq!(due(&mut input, now + QUIET), ["b"]);
    }

    #[test]
    fn what_systems_make_by_themselves_is_shared_only_if_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "1").unwrap();
        let mut input = input(folder.path());
        let named = folder.path().join(".DS_Store");
        fs::write(&named, "of the Finder").unwrap();
        fs::create_dir(folder.path().join("@eaDir")).unwrap();
        let now = Instant::now();
        let (said, gone) = look(&mut input, now);
        assert!(said.len() == 2 && said.iter().all(|line| line.contains("makes it by itself")), "{said:?}");
        assert!(gone.is_empty() && look(&mut input, now).0.is_empty(), "it is said once");
        assert_eq!(due(&mut input, now + QUIET), [""; 0]);
        assert_eq!(Look::at(folder.path(), Some(std::slice::from_ref(&named)), false).unwrap().files(), [named]);
    }

    #[test]
    fn a_folder_that_cannot_be_read_for_a_moment_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Look::at(&folder.path().join("missing"), None, false).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_out_is_left_out_also_when_it_comes_later() {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inside, outside) = (folder.path().join("file"), elsewhere.path().join("secret"));
        [&inside, &outside].into_iter().for_each(|path| fs::write(path, "1").unwrap());
        symlink(&outside, folder.path().join("first")).unwrap();
        let mut input = input(folder.path());
        symlink("file", folder.path().join("inner")).unwrap();
        symlink(&outside, folder.path().join("later")).unwrap();
        let now = Instant::now();
        let (said, gone) = look(&mut input, now);
        assert!(
            said.len() == 2 && said[0].contains("later is left out") && said[1].contains("--follow-links"),
            "{said:?}"
        );
        assert!(gone.is_empty() && look(&mut input, now).0.is_empty());
        assert_eq!(due(&mut input, now + QUIET), ["inner"], "one that stays inside is followed");
        let paths =
            |follow: bool, named: Option<&[PathBuf]>| Look::at(folder.path(), named, follow).unwrap().files().len();
        assert_eq!((paths(false, None), paths(true, None)), (2, 4));
        assert_eq!(paths(false, Some(&[folder.path().join("later")])), 1, "what is named is meant");
        // One that is shared, and is made to lead elsewhere.
        input.is_shared(&folder.path().join("inner"), ContentId(Digest([7; 32])));
        fs::remove_file(folder.path().join("inner")).unwrap();
        symlink(&outside, folder.path().join("inner")).unwrap();
        assert_eq!(look(&mut input, now).1.len(), 1);
    }
}
