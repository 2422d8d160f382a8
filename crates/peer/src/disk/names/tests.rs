//! Names and folders, without a network.

use protocol::{Algorithm, Digest, FileEntry, ManifestHeader};

use super::*;

/// A folder of empty files.
fn manifest(name: &str, files: &[&str], empty_folders: &[&str]) -> Manifest {
    let root = Digest([0; 32]);
    let file = |path: &&str| FileEntry { path: (*path).to_owned(), size: 0, executable: false, root };
    let header = ManifestHeader {
        name: name.to_owned(),
        folder: true,
        algorithm: Algorithm::Blake3,
        piece_size: 1024,
        files: files.iter().map(file).collect(),
        empty_folders: empty_folders.iter().map(|&path| path.to_owned()).collect(),
    };
    Manifest::build(header, &[]).unwrap()
}

/// What is selected for the folder that the tests run in, or for another.
fn planned(manifest: &Manifest, here: bool, policy: NamePolicy) -> Result<Selection, Vec<(String, NameDoubt)>> {
    let (hashes, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = if here { Path::new(".") } else { other.path() };
    let planned = select(manifest, &settings(folder, hashes.path(), policy));
    assert!(fs_is_empty(hashes.path()) && fs_is_empty(other.path()), "nothing is written");
    planned.map_err(|error| match error {
        PeerError::Names { names, .. } => names,
        error => panic!("{error}"),
    })
}

fn settings(folder: &Path, hashes: &Path, names: NamePolicy) -> DownloadSettings {
    DownloadSettings {
        hashes: hashes.to_owned(),
        folder: folder.to_owned(),
        replace: false,
        names,
        keep_free: None,
        verify_on_disk: false,
        reserved: Vec::new(),
        only: None,
        secret: None,
    }
}

fn fs_is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn what_would_be_hidden_at_the_top_is_doubtful_and_nothing_below() {
    let hidden = manifest(".config", &["a", "b/c"], &["d"]);
    let doubts = planned(&hidden, true, NamePolicy::Default).err().unwrap();
    let expected = [".config/a", ".config/b/c", ".config/d"].map(|path| (path.to_owned(), NameDoubt::Hidden));
    assert_eq!(doubts, expected);
    assert!(planned(&hidden, false, NamePolicy::Refuse).unwrap().report.is_empty());
    assert!(planned(&manifest("x", &[".a", "b/.c"], &[]), true, NamePolicy::Refuse).is_ok());
    // A folder with nothing in it, too.
    assert_eq!(planned(&manifest(".ssh", &[], &[]), true, NamePolicy::Skip).err().unwrap().len(), 1);
    let mapped = planned(&hidden, true, NamePolicy::Rename).unwrap();
    assert_eq!((mapped.names.name(&hidden), mapped.names.path(&hidden, 1)), ("%2Econfig", "b/c"));
    assert_eq!((mapped.empty_folders, mapped.wanted), (vec!["d".to_owned()], vec![0, 1]));
    assert_eq!(mapped.report.renamed, [(".config".to_owned(), "%2Econfig".to_owned())]);
}

#[test]
fn state_files_of_other_downloads_are_doubtful_beside_them_alone() {
    let state = manifest(".a.part", &["x"], &[]);
    assert_eq!(planned(&state, false, NamePolicy::Default).err().unwrap()[0].1, NameDoubt::State);
    assert!(planned(&manifest("x", &[".a.part"], &[]), false, NamePolicy::Default).is_ok());
}

/// On Windows some of these names are none.
#[cfg(unix)]
#[test]
fn mapped_names_never_meet() {
    let odd = manifest("odd", &["\n", "%0A", "%250A", "d\u{202e}/x", "d%E2%80%AE/x"], &[]);
    let selection = planned(&odd, false, NamePolicy::Rename).unwrap();
    let paths: Vec<_> = (0..5).map(|file| selection.names.path(&odd, file)).collect();
    assert_eq!(paths, ["%0A", "%250A", "%25250A", "d%E2%80%AE/x", "d%25E2%2580%25AE/x"]);
    let selection = planned(&odd, false, NamePolicy::Default).unwrap();
    assert_eq!(selection.report.unprintable, ["odd/\n", "odd/d\u{202e}"]);
    let selection = planned(&odd, false, NamePolicy::Skip).unwrap();
    assert_eq!((selection.wanted, selection.report.skipped.len()), (vec![1, 2, 4], 2));
}

#[test]
fn only_what_was_spelt_out_may_be_hidden() {
    let spelt = Choice::Globs(["/.a", "*"].map(|text| text.parse().unwrap()).into());
    let name = std::env::current_dir().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let above = manifest(&name, &[".a", ".b/.a"], &[]);
    let mut settings = settings(Path::new(".."), Path::new("hashes"), NamePolicy::Default);
    settings.only = Some(spelt);
    let Err(PeerError::Names { names, .. }) = select(&above, &settings) else { panic!("it is refused") };
    assert_eq!(names, [(format!("{name}/.b/.a"), NameDoubt::Hidden)]);
}

/// However many hidden folders a path has, those are looked for that may be there.
#[test]
fn below_a_folder_that_is_not_there_nothing_is_looked_for() {
    let deep = [".a"; 100].join("/");
    let entry = WantedEntry { file: None, path: &deep, full: deep.clone() };
    let manifest = manifest("x", &[], &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut judge = judge(&manifest, folder.path());
    assert_eq!(judge.judge(&entry, false).doubt, None);
    assert_eq!(judge.places.known(), 1);
}

fn judge<'a>(manifest: &'a Manifest, folder: &'a Path) -> Judge<'a> {
    Judge {
        manifest,
        folder,
        choice: None,
        places: Places::default(),
        folds: false,
        twins: HashSet::new(),
        refused: Refused::default(),
        literal: HashSet::new(),
    }
}

/// As exFAT takes names, without having one. Windows takes no such name anywhere.
#[cfg(unix)]
#[test]
fn names_that_a_file_system_does_not_take_are_mapped_as_on_windows() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest("x", &["a:b", "con", "d/e?", "f.", "g"], &[]);
    let entries: Vec<_> =
        (0..5).map(|file| WantedEntry::new(&manifest, Some(file), &manifest.header().files[file].path)).collect();
    let mut judge = judge(&manifest, folder.path());
    let names = entries.iter().flat_map(|entry| entry.full.split('/'));
    judge.refused = Refused::among(names, |name| !name.contains([':', '?']) && !name.ends_with('.'));
    let doubts = judge.doubts(&entries, false);
    assert_eq!(doubts, Doubts::from([0, 2, 3].map(|at| (at, NameDoubt::FileSystem))));
    let selection = judge.renamed(&entries);
    let paths: Vec<_> = (0..5).map(|file| selection.names.path(&manifest, file)).collect();
    assert_eq!(paths, ["a%3Ab", "con", "d/e%3F", "f%2E", "g"]);
    for (own, here) in &selection.report.renamed {
        let last = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(protocol::unmapped_name(&last(here)), Some(last(own)));
    }
}

/// Names that are refused are not seen to be twins, and a name may be one with what another is mapped to.
#[test]
fn mapped_names_are_no_twins_where_upper_and_lower_case_are_one() {
    let folder = tempfile::tempdir().unwrap();
    for (names, folds) in [(["A:b", "a:b", "\u{c9}:", "\u{e9}:"], true), (["A%253ab", "a%3AB", "a:b", "c"], false)] {
        let manifest = manifest("x", &names, &[]);
        let files = 0..names.len();
        let entries: Vec<_> = files.clone().map(|file| WantedEntry::new(&manifest, Some(file), names[file])).collect();
        let mut judge = judge(&manifest, folder.path());
        judge.folds = folds;
        judge.refused = Refused::among(names.into_iter(), |name| !name.contains(':'));
        let plan = judge.renamed(&entries);
        let here: Vec<_> = files.map(|file| plan.names.path(&manifest, file)).collect();
        let folded: HashSet<_> = here.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(folded.len(), names.len(), "{here:?}");
    }
}

/// Where names have at most 143 bytes, what a download keeps beside it must have room, too.
#[test]
fn names_that_are_too_long_for_a_file_system_are_cut_with_a_digest() {
    let folder = tempfile::tempdir().unwrap();
    let (top, inside) = ("t".repeat(135), "i".repeat(150));
    let manifest = manifest(&top, &[&inside, "short"], &[]);
    let entries: Vec<_> =
        (0..2).map(|file| WantedEntry::new(&manifest, Some(file), &manifest.header().files[file].path)).collect();
    let mut judge = judge(&manifest, folder.path());
    let state = decorated_name(".", &top, STATE);
    let names = [top.as_str(), &inside, "short", &state];
    judge.refused = Refused::among(names.into_iter(), |name| name.len() <= 143);
    let selection = judge.renamed(&entries);
    let local = selection.names.name(&manifest);
    assert!(decorated_name(".", local, STATE).len() <= 143 && local != top, "{local}");
    assert!(selection.names.path(&manifest, 0).len() <= 143 && selection.names.path(&manifest, 1) == "short");
}
