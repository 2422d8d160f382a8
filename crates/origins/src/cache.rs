//! A bounded cache on disk of what was read from origins: parts of objects at a version, the least recently used first to go.
//!
//! Each part is a file of its own, written whole or not at all, so the cache survives restarts and power failures. Which was used
//! when is the files' time of modification. Each process has a folder of its own, and takes over what ended processes have left in
//! theirs: a part is the same for all.
//! Those who read from it verify what they read.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirEntry, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use fs4::FileExt;
use storage::positioned::read_exact_at;

use crate::{Object, Version};

/// Bytes of a disk that stay free, whatever the cache may hold.
const KEEP_FREE: u64 = 512 << 20;
/// Processes at a time that have a cache.
const PROCESSES: u32 = 16;
/// How often the time of a file is set.
const NOTED: Duration = Duration::from_secs(60);
const LOCK: &str = "lock";

/// Parts of objects on disk.
pub struct Cache {
    folder: PathBuf,
    most: u64,
    entries: Mutex<Entries>,
    is_full_told: AtomicBool,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Which part of which object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartKey {
    object: String,
    number: u64,
}

impl PartKey {
    /// Part `number` of parts of this size, of an object at its version.
    pub(crate) fn new(object: &ObjectKey, part_size: u64, number: u64) -> Self {
        PartKey { object: format!("{}-{part_size}", object.0), number }
    }

    fn file(&self) -> String {
        format!("{}-{}", self.object, self.number)
    }

    fn of_file(name: &str) -> Option<Self> {
        let (object, number) = name.rsplit_once('-')?;
        let (digest, size) = object.split_once('-')?;
        let is_ours = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = number.parse().ok()?;
        (is_ours && size.parse::<u64>().is_ok()).then(|| PartKey { object: object.to_owned(), number })
    }
}

/// An object at a version, as the cache knows it.
#[derive(Debug, Clone)]
pub(crate) struct ObjectKey(String);

impl ObjectKey {
    /// Where its origin does not say which version it is, only this process knows it: for another run it may be other bytes.
    pub(crate) fn new(identity: &str, object: &Object) -> Self {
        static RUN: OnceLock<String> = OnceLock::new();
        let run: &str = match object.version.is_known() {
            true => "",
            false => RUN.get_or_init(|| format!("{:032x} ", fastrand::u128(..))),
        };
        ObjectKey(object_digest(&format!("{run}{identity}"), object))
    }
}

/// What stands for an object at a version. ETags are unique within one URL only (RFC 9110, 8.8.3), so its origin is part of that, and
/// so is what the origin says that its bytes are.
pub(crate) fn object_digest(origin: &str, object: &Object) -> String {
    let said = format!("{:?}", object.digest);
    digest(&[origin, &object.key, &object.path, &said], object.size, &object.version)
}

/// A digest of names at a version.
pub(crate) fn digest(names: &[&str], size: u64, version: &Version) -> String {
    let mut hasher = blake3::Hasher::new();
    for name in names {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
    }
    hasher.update(&size.to_le_bytes());
    hasher.update(format!("{version:?}").as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// A file that has a part.
struct PartFile {
    key: PartKey,
    len: u64,
    used: SystemTime,
}

impl PartFile {
    /// Nothing of a file that has none, such as half of a part, from a run that ended.
    fn of(file: &DirEntry) -> Option<Self> {
        let key = PartKey::of_file(file.file_name().to_str()?)?;
        let seen = file.metadata().ok().filter(|seen| seen.is_file())?;
        Some(PartFile { key, len: seen.len(), used: seen.modified().unwrap_or(SystemTime::UNIX_EPOCH) })
    }
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<PartKey, CachedPart>,
    /// Keys by when they were used.
    by_use: BTreeMap<u64, PartKey>,
    next_use: u64,
    /// Bytes of those that are there, and of those that are being written.
    total: u64,
}

struct CachedPart {
    len: u64,
    used: u64,
    noted: SystemTime,
}

impl Entries {
    fn add(&mut self, key: PartKey, len: u64, noted: SystemTime) {
        self.remove(&key);
        let used = self.next_use;
        self.next_use += 1;
        self.total += len;
        self.by_use.insert(used, key.clone());
        self.by_key.insert(key, CachedPart { len, used, noted });
    }

    /// Forgets parts until `len` bytes more are no more than the `most`, those first that were used longest ago. Says which.
    fn make_room(&mut self, most: u64, len: u64) -> Vec<PartKey> {
        let mut gone = Vec::new();
        while self.total + len > most
            && let Some(oldest) = self.oldest()
        {
            self.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    fn remove(&mut self, key: &PartKey) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_use.remove(&entry.used);
            self.total -= entry.len;
        }
    }

    fn oldest(&self) -> Option<PartKey> {
        self.by_use.values().next().cloned()
    }
}

impl Cache {
    /// The cache in a folder, which is made; at most so many bytes are in it. What an earlier run left counts.
    pub fn open(folder: &Path, most: u64) -> io::Result<Self> {
        let mut refused = io::Error::other("too many processes have a cache there");
        for number in 0..PROCESSES {
            let own = folder.join(format!("parts-{number}"));
            fs::create_dir_all(&own)?;
            let lock = File::options().create(true).truncate(false).write(true).open(own.join(LOCK))?;
            match FileExt::try_lock(&lock) {
                Ok(()) => {
                    let cache = Cache {
                        folder: own,
                        most,
                        entries: Mutex::default(),
                        is_full_told: AtomicBool::new(false),
                        _lock: lock,
                    };
                    cache.take_over(folder, number);
                    cache.find()?;
                    return Ok(cache);
                }
                Err(error) => refused = io::Error::other(error.to_string()),
            }
        }
        Err(refused)
    }

    /// Moves here what ended processes have left, since no other start may come that has as many folders.
    fn take_over(&self, folder: &Path, own: u32) {
        for number in (0..PROCESSES).filter(|&number| number != own) {
            let other = folder.join(format!("parts-{number}"));
            let Ok(lock) = File::options().write(true).open(other.join(LOCK)) else { continue };
            if FileExt::try_lock(&lock).is_err() {
                continue;
            }
            let Ok(files) = fs::read_dir(&other) else { continue };
            for file in files.flatten().filter(|file| file.file_name() != LOCK) {
                let _ = fs::rename(file.path(), self.folder.join(file.file_name()));
                // It stays there if it cannot be moved.
                remove_file(&file.path());
            }
        }
    }

    /// Finds what lies there, oldest first.
    fn find(&self) -> io::Result<()> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            match PartFile::of(&file) {
                Some(part) => found.push(part),
                None if file.file_name() == LOCK => {}
                None => remove_file(&file.path()),
            }
        }
        found.sort_by_key(|part| part.used);
        let mut entries = self.lock();
        found.into_iter().for_each(|PartFile { key, len, used }| entries.add(key, len, used));
        let gone = entries.make_room(self.most, 0);
        self.remove_files(&gone);
        Ok(())
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        self.lock().total
    }

    /// Whether a part is there.
    pub(crate) fn contains(&self, key: &PartKey) -> bool {
        self.lock().by_key.contains_key(key)
    }

    /// A range of a part; nothing if it is not there, or not whole. Blocks.
    pub(crate) fn read(&self, key: &PartKey, range: Range<u64>) -> Option<Vec<u8>> {
        let note = {
            let mut entries = self.lock();
            let entry = entries.by_key.get(key)?;
            if entry.len < range.end {
                drop(entries);
                self.remove(key);
                return None;
            }
            let (len, now) = (entry.len, SystemTime::now());
            let note = now.duration_since(entry.noted).is_ok_and(|since| since > NOTED);
            let noted = if note { now } else { entry.noted };
            entries.add(key.clone(), len, noted);
            note.then_some(now)
        };
        let read = || {
            let file = File::open(self.folder.join(key.file()))?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            read_exact_at(&file, &mut bytes, range.start)?;
            if let Some(now) = note {
                // Only for the next run.
                let file = File::options().write(true).open(self.folder.join(key.file()));
                let _ = file.and_then(|file| file.set_modified(now));
            }
            io::Result::Ok(bytes)
        };
        atomic_file::open_patiently(read).inspect_err(|_| self.remove(key)).ok()
    }

    /// Keeps a part, if there is room for it. Blocks.
    pub(crate) fn keep(&self, key: &PartKey, bytes: &[u8]) {
        let len = bytes.len() as u64;
        if len > self.most {
            return;
        }
        let Some(room) = self.reserve(key, len) else { return };
        let free = fs4::available_space(&self.folder).unwrap_or(u64::MAX);
        if free.saturating_sub(len) < KEEP_FREE {
            if !self.is_full_told.swap(true, Ordering::Relaxed) {
                let folder = self.folder.display();
                tracing::warn!(
                    "the disk of {folder} is nearly full: what is read is not kept, and is read from the origin each time it is asked for"
                );
            }
            return;
        }
        match atomic_file::replace_cache(&self.folder.join(key.file()), bytes) {
            Ok(()) => {
                let mut entries = self.lock();
                room.give_back(&mut entries);
                entries.add(key.clone(), len, SystemTime::now());
            }
            Err(error) => tracing::debug!(%error, "the cache takes nothing"),
        }
    }

    /// Makes room for a part, and counts it before it is written: many are at a time. Nothing if those leave none.
    fn reserve(&self, key: &PartKey, len: u64) -> Option<Reserved<'_>> {
        let mut entries = self.lock();
        let mut gone = Vec::new();
        if entries.by_key.contains_key(key) {
            entries.remove(key);
            gone.push(key.clone());
        }
        gone.extend(entries.make_room(self.most, len));
        let fits = entries.total + len <= self.most;
        if fits {
            entries.total += len;
        }
        self.remove_files(&gone);
        drop(entries);
        // Not made where it does not fit: it would give back what it has not.
        fits.then(|| Reserved { cache: self, len })
    }

    /// Forgets a part that is of no use. Blocks.
    pub(crate) fn remove(&self, key: &PartKey) {
        let mut entries = self.lock();
        entries.remove(key);
        self.remove_files(std::slice::from_ref(key));
    }

    /// Removes parts that are not counted any more, while the entries are locked: nobody writes one of them anew meanwhile.
    fn remove_files(&self, keys: &[PartKey]) {
        keys.iter().for_each(|key| remove_file(&self.folder.join(key.file())));
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for what is being written. It is given back when that has failed.
struct Reserved<'a> {
    cache: &'a Cache,
    len: u64,
}

impl Reserved<'_> {
    fn give_back(self, entries: &mut Entries) {
        entries.total -= self.len;
        std::mem::forget(self);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.cache.lock().total -= self.len;
    }
}

/// Removes a file, though a virus scanner may have it open for a moment. What cannot be removed stays.
fn remove_file(path: &Path) {
    let _ = atomic_file::patiently(|| fs::remove_file(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> PartKey {
        PartKey { object: format!("{}-1024", "a".repeat(64)), number }
    }

    #[test]
    fn the_least_recently_used_part_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 3000).unwrap();
        (0..3).for_each(|number| cache.keep(&key(number), &[number as u8; 1000]));
        assert_eq!(cache.read(&key(0), 10..20).unwrap(), [0; 10]);
        cache.keep(&key(3), &[3; 1000]);
        let there: Vec<_> = (0..4).filter(|&number| cache.contains(&key(number))).collect();
        assert_eq!((there, cache.bytes()), (vec![0, 2, 3], 3000));
        cache.keep(&key(4), &[4; 3001]);
        assert!(!cache.contains(&key(4)), "it is larger than the cache");
    }

    #[test]
    fn a_cache_survives_a_restart_and_becomes_smaller_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        (0..4).for_each(|number| cache.keep(&key(number), &[number as u8; 1000]));
        for number in 0..4 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + (number + 2) % 4);
            let file = File::options().write(true).open(cache.folder.join(key(number).file())).unwrap();
            file.set_modified(at).unwrap();
        }
        let parts = cache.folder.clone();
        fs::write(parts.join("half of something"), "x").unwrap();
        drop(cache);
        let cache = Cache::open(folder.path(), 2500).unwrap();
        let there: Vec<_> = (0..4).filter(|&number| cache.contains(&key(number))).collect();
        assert_eq!(there, [0, 1], "those that were used last");
        assert_eq!(cache.read(&key(1), 0..1000).unwrap(), [1; 1000]);
        assert!(!parts.join("half of something").exists());
    }

    #[test]
    fn two_processes_never_share_a_cache() {
        let folder = tempfile::tempdir().unwrap();
        let one = Cache::open(folder.path(), 5000).unwrap();
        one.keep(&key(1), &[1; 1000]);
        let other = Cache::open(folder.path(), 5000).unwrap();
        assert!(one.folder != other.folder && !other.contains(&key(1)));
    }

    fn bytes_on_disk(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().map_or(0, |seen| seen.len())).sum()
    }

    #[test]
    fn a_cache_is_never_larger_than_told_however_many_parts_are_kept_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 2_500_000).unwrap();
        let largest = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8u64)
                .map(|writer| {
                    let cache = &cache;
                    scope.spawn(move || {
                        let keep = |number: u64| cache.keep(&key(writer * 100 + number % 3), &vec![1; 1_000_000]);
                        (0..10).for_each(keep);
                    })
                })
                .collect();
            let mut largest = 0;
            while writers.iter().any(|writer| !writer.is_finished()) {
                largest = largest.max(cache.bytes());
            }
            largest
        });
        assert!(largest <= 2_500_000 && cache.bytes() <= 2_500_000, "{largest}, {}", cache.bytes());
        assert_eq!(bytes_on_disk(&cache.folder), cache.bytes(), "what is counted is what is there");
        // What cannot be written takes no room.
        let before = cache.bytes();
        fs::create_dir(cache.folder.join(key(7).file())).unwrap();
        fs::write(cache.folder.join(key(7).file()).join("in its way"), "x").unwrap();
        cache.keep(&key(7), &[7; 10]);
        assert!(!cache.contains(&key(7)) && cache.bytes() <= before);
    }

    /// Which of two processes starts first after a restart is chance.
    #[test]
    fn what_ended_processes_have_left_is_taken_over_whoever_starts_first() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Cache::open(folder.path(), 5000).unwrap());
        one.keep(&key(1), &[1; 1000]);
        other.keep(&key(2), &[2; 1000]);
        let left = other.folder.clone();
        drop((one, other));
        let first = Cache::open(folder.path(), 5000).unwrap();
        for number in 1..3 {
            assert_eq!(first.read(&key(number), 0..1000).unwrap(), [number as u8; 1000]);
        }
        assert_eq!((first.bytes(), bytes_on_disk(&left)), (2000, 0), "nothing stays beside it");
        // What is taken over counts, too.
        drop(first);
        assert_eq!(Cache::open(folder.path(), 1500).unwrap().bytes(), 1000);
    }

    #[test]
    fn a_part_that_was_cut_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 5000).unwrap();
        cache.keep(&key(1), &[1; 1000]);
        File::options().write(true).open(cache.folder.join(key(1).file())).unwrap().set_len(10).unwrap();
        assert_eq!(cache.read(&key(1), 0..1000), None);
        assert!(!cache.contains(&key(1)));
        // Nor is one that was cut before this start.
        cache.keep(&key(1), &[1; 1000]);
        File::options().write(true).open(cache.folder.join(key(1).file())).unwrap().set_len(10).unwrap();
        drop(cache);
        let cache = Cache::open(folder.path(), 5000).unwrap();
        assert_eq!(cache.read(&key(1), 0..1000), None);
        assert!(!cache.contains(&key(1)));
    }
}
