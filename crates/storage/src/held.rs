//! Where contents are kept that nobody else may lead astray: each is reached from a folder that is held open.
//!
//! A backend is asked for files by their paths. What is written, or served on after a download, is registered here first, and
//! whatever opens one of its files finds it by the path and goes from there: no backend, and no wrapper around one, has to
//! pass a descriptor on.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crate::folder::Folder;
use crate::lock::lock;
use crate::room::Room;

static HELD: Mutex<Option<HashMap<PathBuf, Weak<Held>>>> = Mutex::new(None);

/// A file, or a folder with all that is in it, that is reached from a folder which is held open. It is found by its path as
/// long as somebody keeps this.
#[derive(Debug)]
pub struct Held {
    folder: Arc<Folder>,
    /// Its path, and its place in the folder: nothing if it is that folder itself.
    path: PathBuf,
    inside: PathBuf,
    /// What was reserved for it, if it is being built.
    room: Option<Room>,
}

impl Held {
    /// Holds what lies, or will lie, in `folder` under this name; the folder itself if the name is empty.
    pub fn new(folder: &Arc<Folder>, name: &str) -> Arc<Self> {
        Self::with_room(folder, name, None)
    }

    pub(crate) fn with_room(folder: &Arc<Folder>, name: &str, room: Option<Room>) -> Arc<Self> {
        let path = if name.is_empty() { folder.path().to_owned() } else { folder.path().join(name) };
        let held = Arc::new(Held { folder: folder.clone(), path: path.clone(), inside: name.into(), room });
        let mut all = lock(&HELD);
        all.get_or_insert_default().insert(path, Arc::downgrade(&held));
        held
    }

    /// What holds this path, if anything does.
    pub(crate) fn of(path: &Path) -> Option<Arc<Self>> {
        let all = lock(&HELD);
        let all = all.as_ref().filter(|all| !all.is_empty())?;
        path.ancestors().find_map(|path| all.get(path)?.upgrade())
    }

    /// The place in the folder of something that is held here.
    pub(crate) fn inside(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.path).ok()?;
        Some(if rest.as_os_str().is_empty() { self.inside.clone() } else { self.inside.join(rest) })
    }

    /// Whether this path is all that is held, and not something in it.
    pub(crate) fn is_all(&self, path: &Path) -> bool {
        path.as_os_str().len() == self.path.as_os_str().len()
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    pub(crate) fn room(&self) -> Option<&Room> {
        self.room.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = lock(&HELD);
        // Another one of the same path may have come since.
        if let Some(all) = all.as_mut()
            && all.get(&self.path).is_some_and(|held| held.strong_count() == 0)
        {
            all.remove(&self.path);
        }
    }
}

/// Makes a file executable for all who may read it.
#[cfg(unix)]
pub fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let held = Held::of(path);
    let file = match held.as_ref().and_then(|held| Some((held, held.inside(path)?))) {
        Some((held, inside)) => held.folder.open_file(&inside, crate::folder::How::Read)?,
        None => std::fs::File::open(path)?,
    };
    let now = file.metadata()?.mode();
    crate::folder::set_rights(&file, now, now | (now & 0o444) >> 2)
}

/// Nothing: files have no such bit here.
#[cfg(not(unix))]
pub fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}
