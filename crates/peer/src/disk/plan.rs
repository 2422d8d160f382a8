//! What a download has to do: found out by looking at the disk, before anything is written.

use std::path::{Path, PathBuf};

use protocol::Manifest;
use storage::{Folder, error_at};

use crate::config::DownloadSettings;
use crate::disk::existing::{Existing, compare, holds_nothing_else};
use crate::disk::names::Selection;
use crate::disk::settled::lies_at;
use crate::error::PeerError;

/// What a download has to do.
pub(crate) enum Plan {
    /// Nothing: every file that is wanted is in place, byte for byte.
    Complete(Existing),
    /// Files have to be built beside the target. Those that are equal stay where they are; those that differ are replaced in
    /// the end, and what they have in common with the new ones is taken from them.
    Build {
        existing: Existing,
        /// Whether files are replaced.
        replace: bool,
    },
    /// Something is in the way that would be replaced, if that was asked for.
    Differs(PathBuf),
    /// Something is in the way that is never replaced.
    Blocked(PathBuf),
}

impl Plan {
    /// Looks at what lies where a download goes. Hashes, on all cores, what has the right size; blocks.
    pub(crate) fn of(
        manifest: &Manifest,
        selection: &Selection,
        settings: &DownloadSettings,
    ) -> Result<Self, PeerError> {
        let target = settings.folder.join(selection.names.name(manifest));
        let Ok(old) = std::fs::symlink_metadata(&target) else {
            return Ok(Plan::Build { existing: Existing::default(), replace: false });
        };
        if manifest.header().folder && old.is_dir() {
            return of_folder(manifest, selection, settings, &target);
        }
        if lies_at(manifest, &target)? {
            return Ok(Plan::Complete(Existing { equal: selection.wanted.clone(), ..Existing::default() }));
        }
        // A file is replaced by a file and by nothing else.
        if manifest.header().folder || !old.is_file() {
            return Ok(Plan::Blocked(target));
        }
        if !settings.replace {
            return Ok(Plan::Differs(target));
        }
        Ok(Plan::Build {
            existing: Existing { different: selection.wanted.clone(), ..Existing::default() },
            replace: true,
        })
    }
}

fn of_folder(
    manifest: &Manifest,
    selection: &Selection,
    settings: &DownloadSettings,
    target: &Path,
) -> Result<Plan, PeerError> {
    let Selection { wanted, empty_folders, names, .. } = selection;
    // Said before anything is hashed. Where only some files are wanted, others may lie beside them.
    if !settings.replace
        && !selection.is_partial(settings)
        && !holds_nothing_else(manifest, names, empty_folders, target)
    {
        return Ok(Plan::Differs(target.to_owned()));
    }
    let folder = &settings.folder;
    let within = Folder::open(folder).map_err(|source| error_at(folder, source))?;
    let mut existing = compare(manifest, names, &within, wanted, empty_folders)?;
    if !settings.replace {
        existing.tell_of_system(manifest, names, target);
    }
    if let Some(path) = existing.in_the_way {
        return Ok(Plan::Blocked(path));
    }
    match existing.different.first() {
        Some(&file) if !settings.replace => return Ok(Plan::Differs(names.spec(manifest, target, file).path)),
        _ => {}
    }
    let has_folders = empty_folders.iter().all(|path| target.join(path).is_dir());
    if existing.equal.len() + existing.of_system.len() == wanted.len() && has_folders {
        return Ok(Plan::Complete(existing));
    }
    let replace = !existing.different.is_empty();
    Ok(Plan::Build { existing, replace })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use protocol::{Algorithm, Digest};

    use super::*;
    use crate::config::Choice;
    use crate::disk::names::policy::NamePolicy;
    use crate::disk::names::select;
    use crate::disk::share::hash_content;

    /// What a plan comes to: the numbers of equal and different files.
    #[derive(Debug, PartialEq)]
    enum Outcome {
        Complete,
        Build { equal: Vec<usize>, different: Vec<usize>, replace: bool },
        Differs(String),
        Blocked(String),
    }

    struct World {
        folder: tempfile::TempDir,
        manifest: Manifest,
    }

    impl World {
        fn new(is_folder: bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let source = folder.path().join("source/content");
            fs::create_dir_all(folder.path().join("output")).unwrap();
            if is_folder {
                fs::create_dir_all(source.join("sub")).unwrap();
                fs::write(source.join("a"), [1; 3000]).unwrap();
                fs::write(source.join("sub/b"), [2; 3000]).unwrap();
            } else {
                fs::create_dir_all(source.parent().unwrap()).unwrap();
                fs::write(&source, [1; 3000]).unwrap();
            }
            let manifest = hash_content(&source, Algorithm::Blake3, Some(1024), |_, _| {}).unwrap().manifest;
            World { folder, manifest }
        }

        /// A folder whose first file has this path.
        fn with_first(path: &str) -> Self {
            let World { folder, manifest } = World::new(true);
            let mut header = manifest.header().clone();
            header.files[0].path = path.to_owned();
            // Its digests stand at its end.
            let bytes = manifest.bytes();
            let digests = &bytes[bytes.len() - manifest.geometry().pieces() as usize * 32..];
            let digests: Vec<_> = digests.chunks(32).map(|digest| Digest(digest.try_into().unwrap())).collect();
            World { folder, manifest: Manifest::build(header, &digests).unwrap() }
        }

        fn settings(&self) -> DownloadSettings {
            let (hashes, folder) = (self.folder.path().join("hashes"), self.folder.path().join("output"));
            DownloadSettings { hashes, folder, ..DownloadSettings::default() }
        }

        /// Puts a file into the output folder.
        fn put(&self, path: &str, bytes: &[u8]) {
            let path = self.settings().folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn plan(&self, settings: &DownloadSettings) -> Outcome {
            let selection = select(&self.manifest, settings).unwrap();
            let before = snapshot(self.folder.path());
            let plan = Plan::of(&self.manifest, &selection, settings).unwrap();
            assert_eq!(snapshot(self.folder.path()), before, "a plan only looks");
            let inside =
                |path: PathBuf| path.strip_prefix(&settings.folder).unwrap().to_str().unwrap().replace('\\', "/");
            match plan {
                Plan::Complete(_) => Outcome::Complete,
                Plan::Build { existing: Existing { equal, different, .. }, replace } => {
                    Outcome::Build { equal, different, replace }
                }
                Plan::Differs(path) => Outcome::Differs(inside(path)),
                Plan::Blocked(path) => Outcome::Blocked(inside(path)),
            }
        }

        fn plain(&self) -> Outcome {
            self.plan(&self.settings())
        }

        fn forced(&self) -> Outcome {
            self.plan(&DownloadSettings { replace: true, ..self.settings() })
        }

        fn only(&self, wanted: &'static str) -> Outcome {
            let only = Choice::Paths(Arc::new(move |path| path == wanted));
            self.plan(&DownloadSettings { only: Some(only), ..self.settings() })
        }
    }

    /// Paths, lengths and times of all that lies in a folder.
    fn snapshot(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
        let mut all = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let (path, found) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
                all.push((path.clone(), found.len(), found.modified().unwrap()));
                if found.is_dir() {
                    folders.push(path);
                }
            }
        }
        all.sort();
        all
    }

    fn build(equal: &[usize], different: &[usize], replace: bool) -> Outcome {
        Outcome::Build { equal: equal.to_vec(), different: different.to_vec(), replace }
    }

    #[test]
    fn nothing_there_is_built() {
        for is_folder in [false, true] {
            let world = World::new(is_folder);
            assert_eq!(world.plain(), build(&[], &[], false));
            assert_eq!(world.forced(), build(&[], &[], false));
        }
    }

    #[test]
    fn equal_files_are_complete() {
        let file = World::new(false);
        file.put("content", &[1; 3000]);
        assert_eq!((file.plain(), file.forced()), (Outcome::Complete, Outcome::Complete));
        let folder = World::new(true);
        folder.put("content/a", &[1; 3000]);
        assert_eq!(folder.plain(), build(&[0], &[], false), "one of two");
        folder.put("content/sub/b", &[2; 3000]);
        assert_eq!((folder.plain(), folder.forced()), (Outcome::Complete, Outcome::Complete));
    }

    #[test]
    fn force_replaces_files_that_differ() {
        let file = World::new(false);
        file.put("content", &[9; 3000]);
        assert_eq!(file.plain(), Outcome::Differs("content".to_owned()));
        assert_eq!(file.forced(), build(&[], &[0], true));
        let folder = World::new(true);
        folder.put("content/a", &[1; 3000]);
        folder.put("content/sub/b", &[9; 10]);
        assert_eq!(folder.plain(), Outcome::Differs("content/sub/b".to_owned()));
        assert_eq!(folder.forced(), build(&[0], &[1], true));
    }

    #[test]
    fn force_replaces_no_folder_and_no_link() {
        let file = World::new(false);
        file.put("content/inside", b"bytes");
        let blocked = Outcome::Blocked("content".to_owned());
        assert_eq!(
            (file.plain(), file.forced()),
            (blocked, Outcome::Blocked("content".to_owned())),
            "nobody is told to use --force"
        );
        let folder = World::new(true);
        folder.put("content/a/inside", b"bytes");
        assert_eq!(folder.forced(), Outcome::Blocked("content/a".to_owned()));
        let other = World::new(true);
        other.put("content", b"a file");
        assert_eq!(other.forced(), Outcome::Blocked("content".to_owned()));
        #[cfg(unix)]
        {
            let linked = World::new(false);
            linked.put("elsewhere", &[9; 3000]);
            std::os::unix::fs::symlink("elsewhere", linked.settings().folder.join("content")).unwrap();
            assert_eq!(linked.forced(), Outcome::Blocked("content".to_owned()));
        }
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let world = World::new(true);
        world.put("content/of-the-user", b"bytes");
        assert_eq!(world.plain(), Outcome::Differs("content".to_owned()));
        assert_eq!(world.forced(), build(&[], &[], false), "the others stay beside it");
    }

    /// A look at a download with a file manager is no reason to refuse it, or to seed it no more.
    #[test]
    fn what_systems_make_by_themselves_is_no_difference() {
        let world = World::new(true);
        world.put("content/a", &[1; 3000]);
        world.put("content/.DS_Store", b"of the Finder");
        assert_eq!(world.plain(), build(&[0], &[], false));
        world.put("content/sub/b", &[2; 3000]);
        world.put("content/sub/@eaDir/b/SYNO", b"of a NAS");
        assert_eq!(world.plain(), Outcome::Complete);
        world.put("content/sub/notes", b"of the user");
        assert_eq!(world.plain(), Outcome::Differs("content".to_owned()));
    }

    /// What was left out for its name is not looked for: on Windows it may lead elsewhere.
    #[test]
    fn a_file_that_cannot_be_here_is_not_looked_for() {
        for name in ["C:b", "a:b", "aux", "q?", "aux/c", "q?/c"] {
            let world = World::with_first(name);
            let skip = DownloadSettings { names: NamePolicy::Skip, ..world.settings() };
            world.put("content/sub/b", &[2; 3000]);
            let expected = if cfg!(windows) { Outcome::Complete } else { build(&[1], &[], false) };
            assert_eq!(world.plan(&skip), expected, "{name}");
        }
    }

    /// As earlier versions have shared it.
    #[test]
    fn a_file_of_the_system_in_a_content_is_left_as_it_is_here() {
        let world = World::with_first(".DS_Store");
        world.put("content/sub/b", &[2; 3000]);
        assert_eq!(world.plain(), build(&[1], &[], false), "it is got like any other");
        world.put("content/.DS_Store", b"of another Finder");
        assert_eq!(world.plain(), Outcome::Complete);
        assert_eq!(world.forced(), build(&[1], &[0], true));
    }

    #[test]
    fn only_builds_what_is_wanted_beside_other_files() {
        let world = World::new(true);
        world.put("content/of-the-user", b"bytes");
        world.put("content/a", &[9; 10]);
        assert_eq!(world.only("sub/b"), build(&[], &[], false));
        assert_eq!(world.only("a"), Outcome::Differs("content/a".to_owned()));
        world.put("content/sub/b", &[2; 3000]);
        assert_eq!(world.only("sub/b"), Outcome::Complete);
    }
}
