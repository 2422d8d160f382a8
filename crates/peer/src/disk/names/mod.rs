//! What becomes of a download's names that should not, or cannot, be where it goes: refused, left out, or mapped to others.
//!
//! A name comes from the sharer, and some are more than names where they lie: a hidden file at the top of a home folder
//! is read at the next login, as is what lies there in `AppData` (Windows) or `Library` (macOS), and `p2p-fileshare.toml` at the next
//! start. What counts is where a file would be in the end, so each component of its path is judged with the folder that it would lie in.

pub(crate) mod local;
mod places;
pub(crate) mod policy;
mod refused;
mod twins;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use local::LocalNames;
use policy::{NameDoubt, NamePolicy, NameReport};
use protocol::{ContentId, Manifest, check_local_name, decorated_name, has_unprintable, mapped_name};
use storage::is_state_name;

use crate::config::{Choice, DownloadSettings};
use crate::disk::manifests::put;
use crate::error::PeerError;
use places::{FolderKind, Places, System, is_hidden};
use refused::{Probe, Refused};
use twins::{may_have_twins, twins};

/// Which files of a content are to be had, and under which names.
pub(crate) struct Selection {
    pub(crate) wanted: Vec<usize>,
    /// As they are called here.
    pub(crate) empty_folders: Vec<String>,
    pub(crate) names: LocalNames,
    pub(crate) report: NameReport,
}

/// A file or a folder without files that is wanted.
struct WantedEntry<'a> {
    /// Its number; nothing for a folder.
    file: Option<usize>,
    /// Inside the content; empty for a content that is an empty folder.
    path: &'a str,
    /// With the content's name in front.
    full: String,
}

impl<'a> WantedEntry<'a> {
    fn new(manifest: &Manifest, file: Option<usize>, path: &'a str) -> Self {
        let header = manifest.header();
        let full = match path {
            path if !header.folder => path.to_owned(),
            "" => header.name.clone(),
            path => format!("{}/{path}", header.name),
        };
        WantedEntry { file, path, full }
    }
}

/// Judges the names of what is wanted for the folder that it goes to.
pub(crate) fn select(manifest: &Manifest, settings: &DownloadSettings) -> Result<Selection, PeerError> {
    let choice = settings.only.as_ref();
    let DownloadSettings { folder, hashes, names: policy, reserved, .. } = settings;
    let header = manifest.header();
    let files = header.files.iter().enumerate().map(|(file, entry)| (Some(file), entry.path.as_str()));
    let all = files.chain(header.empty_folders.iter().map(|path| (None, path.as_str())));
    let chosen = choice.map(|choice| choice.among(all.clone().map(|(_, path)| path))).transpose();
    let chosen =
        chosen.map_err(|patterns| PeerError::Unmatched { content: header.name.clone(), patterns })?.unwrap_or_default();
    let wanted = all.enumerate().filter(|(number, _)| chosen.get(*number).copied().unwrap_or(true));
    let mut entries: Vec<_> = wanted.map(|(_, (file, path))| WantedEntry::new(manifest, file, path)).collect();
    if choice.is_some() && entries.is_empty() {
        return Err(PeerError::NothingChosen(header.name.clone()));
    }
    if entries.is_empty() {
        entries.push(WantedEntry::new(manifest, None, ""));
    }
    let (twins, refuses) = ask_file_system(&entries, folder);
    let places = Places::new(reserved.iter().cloned().chain([hashes.clone()]));
    let (folds, twins) = (twins.is_some(), twins.unwrap_or_default());
    let mut judge = Judge { manifest, folder, choice, places, folds, twins, refused: refuses, literal: HashSet::new() };
    let mut report = NameReport::default();
    match policy {
        NamePolicy::Default => {
            let doubts = judge.doubts(&entries, false);
            if doubts.is_empty() {
                report.unprintable = judge.unprintable(&entries);
                return Ok(as_they_are(&entries, report));
            }
            // An earlier run has written this very content here under other names.
            if is_recorded(hashes, manifest.id()) {
                let selection = judge.renamed(&entries);
                if selection.is_there(manifest, folder) {
                    return Ok(selection);
                }
            }
            Err(refused(manifest, &entries, &doubts))
        }
        NamePolicy::Rename => Ok(judge.renamed(&entries)),
        NamePolicy::Refuse | NamePolicy::Skip => {
            let doubts = judge.doubts(&entries, true);
            if !doubts.is_empty() && (*policy == NamePolicy::Refuse || doubts.len() == entries.len()) {
                return Err(refused(manifest, &entries, &doubts));
            }
            report.skipped = doubts.keys().map(|&at| entries[at].full.clone()).collect();
            let left = entries.into_iter().enumerate().filter(|(at, _)| !doubts.contains_key(at));
            Ok(as_they_are(&left.map(|(_, entry)| entry).collect::<Vec<_>>(), report))
        }
    }
}

/// What the file system of a folder says of names: paths that are one with an earlier one there, if it folds names, and what it
/// does not take.
fn ask_file_system(entries: &[WantedEntry], folder: &Path) -> (Option<HashSet<String>>, Refused) {
    let paths = || entries.iter().map(|entry| entry.full.as_str());
    // What a download keeps beside it has longer names.
    let tops: HashSet<&str> = paths().filter_map(|path| path.split('/').next()).collect();
    let state: Vec<String> = tops.into_iter().map(|top| decorated_name(".", top, STATE)).collect();
    let names = || paths().flat_map(|path| path.split('/')).chain(state.iter().map(String::as_str));
    // Made only where something is to be tried.
    let mut probe = None;
    let refused = Refused::among(names(), |name| {
        let probe = probe.get_or_insert_with(|| Probe::new(folder));
        probe.as_ref().is_some_and(|probe| probe.has(name))
    });
    let twins = match may_have_twins(paths()).then(|| probe.unwrap_or_else(|| Probe::new(folder))).flatten() {
        Some(probe) => twins(paths(), probe.folder()),
        None => None,
    };
    (twins, refused)
}

/// The longest end of a name that a download's state has.
const STATE: &str = ".part.journal";

/// Reasons by the numbers of entries.
type Doubts = BTreeMap<usize, NameDoubt>;

fn refused(manifest: &Manifest, entries: &[WantedEntry], doubts: &Doubts) -> PeerError {
    let names = doubts.iter().map(|(&at, &doubt)| (entries[at].full.clone(), doubt)).collect();
    PeerError::Names { content: manifest.header().name.clone(), names, all: doubts.len() == entries.len() }
}

fn as_they_are(entries: &[WantedEntry], report: NameReport) -> Selection {
    let empty = entries.iter().filter(|entry| entry.file.is_none() && !entry.path.is_empty());
    Selection {
        wanted: entries.iter().filter_map(|entry| entry.file).collect(),
        empty_folders: empty.map(|entry| entry.path.to_owned()).collect(),
        names: LocalNames::default(),
        report,
    }
}

/// What names are judged by.
struct Judge<'a> {
    manifest: &'a Manifest,
    folder: &'a Path,
    choice: Option<&'a Choice>,
    places: Places,
    /// Whether the file system takes some names for one, and which paths are one with an earlier one. Names that it does not
    /// take at all may be one, too, once they are mapped.
    folds: bool,
    twins: HashSet<String>,
    /// Names that the file system does not take.
    refused: Refused,
    /// Paths that are what others are mapped to: they are mapped, too.
    literal: HashSet<String>,
}

/// Where an entry would lie, and what is doubtful about that.
#[derive(Default)]
struct Judged {
    /// The path, as it is here.
    local: String,
    doubt: Option<NameDoubt>,
}

impl Judge<'_> {
    /// The entries that are doubtful, each with its first reason that counts: control characters do so if it is `strict`.
    fn doubts(&mut self, entries: &[WantedEntry], strict: bool) -> Doubts {
        let counts = |doubt: &NameDoubt| strict || *doubt != NameDoubt::Unprintable;
        let judged = entries.iter().enumerate().map(|(at, entry)| (at, self.judge(entry, false).doubt.filter(counts)));
        judged.filter_map(|(at, doubt)| Some((at, doubt?))).collect()
    }

    /// Goes down an entry's path. Says what is doubtful, and where it leads if doubtful names are mapped.
    fn judge(&mut self, entry: &WantedEntry, maps: bool) -> Judged {
        let mut judged = Judged::default();
        // Where the name lies, while there may be such a folder.
        let (mut parent, mut above) = (Some(self.folder.to_owned()), "");
        for prefix in prefixes(&entry.full) {
            let component = prefix.rsplit('/').next().unwrap_or_default();
            let within = match &parent {
                Some(parent) => self.places.kind(parent, component),
                None => FolderKind::of_missing(above),
            };
            let is_reserved = parent.as_ref().is_some_and(|parent| self.places.reserves(parent, component));
            let doubt = self.doubt(component, prefix, within, is_reserved);
            let doubt = doubt.filter(|&doubt| doubt != NameDoubt::Hidden || !self.is_spelt_out(entry, prefix));
            if matches!(judged.doubt, None | Some(NameDoubt::Unprintable)) {
                judged.doubt = doubt.or(judged.doubt);
            }
            let local = if maps && (doubt.is_some() || self.literal.contains(prefix)) {
                let is_folded = |c: char| self.folds && (!c.is_ascii() || c.is_ascii_uppercase());
                let also = |c: char| is_folded(c) || self.refused.refuses_character(c);
                // What a file system does not take, or takes for another, is most often what Windows does not.
                let as_on_windows = cfg!(windows) || matches!(doubt, Some(NameDoubt::FileSystem | NameDoubt::Twin));
                let decoration = if component == prefix { STATE.len() + 1 } else { 0 };
                let longest = self.refused.longest();
                let most = if longest < 255 { longest.saturating_sub(decoration) } else { longest };
                mapped_name(component, as_on_windows, most, also)
            } else {
                component.to_owned()
            };
            if !judged.local.is_empty() {
                judged.local.push('/');
            }
            judged.local.push_str(&local);
            // Below a name that is mapped lies nothing but what is put there; and what is no name here makes no path.
            let is_no_name = matches!(doubt, Some(NameDoubt::Platform | NameDoubt::FileSystem));
            if local != component || is_no_name || within.is_missing() {
                parent = None;
            }
            if let Some(parent) = &mut parent {
                parent.push(component);
            }
            above = component;
        }
        judged
    }

    fn doubt(&self, component: &str, prefix: &str, within: FolderKind, is_reserved: bool) -> Option<NameDoubt> {
        if check_local_name(component, cfg!(windows)).is_err() {
            Some(NameDoubt::Platform)
        } else if self.refused.refuses(component)
            || (component == prefix && self.refused.refuses(&decorated_name(".", component, STATE)))
        {
            Some(NameDoubt::FileSystem)
        } else if is_reserved || within.reserves(component, System::HERE) {
            Some(NameDoubt::Reserved)
        } else if within.is_top() && is_hidden(component) {
            Some(NameDoubt::Hidden)
        } else if component == prefix && is_state_name(component) {
            Some(NameDoubt::State)
        } else if self.twins.contains(prefix) {
            Some(NameDoubt::Twin)
        } else {
            has_unprintable(component).then_some(NameDoubt::Unprintable)
        }
    }

    /// Whether the user has spelt out the hidden name at the end of `prefix` for this entry.
    fn is_spelt_out(&self, entry: &WantedEntry, prefix: &str) -> bool {
        let Some(choice) = self.choice else { return false };
        // Of a folder's own name a path inside it says nothing.
        let above = entry.full.len() - entry.path.len();
        prefix.get(above..).is_some_and(|hidden| !hidden.is_empty() && choice.spells_out(entry.path, hidden))
    }

    /// Paths that end with a name that has control characters or invisible marks.
    fn unprintable(&self, entries: &[WantedEntry]) -> Vec<String> {
        let mut found = HashSet::new();
        let all = entries.iter().flat_map(|entry| prefixes(&entry.full));
        let last = |path: &str| path.rsplit('/').next().is_some_and(has_unprintable);
        all.filter(|path| last(path) && found.insert(*path)).map(str::to_owned).collect()
    }

    fn renamed(&mut self, entries: &[WantedEntry]) -> Selection {
        let locals = loop {
            let locals: Vec<_> = entries.iter().map(|entry| self.judge(entry, true).local).collect();
            let more = in_the_way(entries, &locals);
            let before = self.literal.len();
            self.literal.extend(more);
            if self.literal.len() == before {
                break locals;
            }
        };
        let (mut selection, mut seen) = (as_they_are(&[], NameReport::default()), HashSet::new());
        for (entry, local) in entries.iter().zip(&locals) {
            for (own, here) in prefixes(&entry.full).zip(prefixes(local)) {
                if own.rsplit('/').next() != here.rsplit('/').next() && seen.insert(own) {
                    selection.report.renamed.push((own.to_owned(), here.to_owned()));
                }
            }
            let (top, inside) = match self.manifest.header().folder {
                true => local.split_once('/').unwrap_or((local.as_str(), "")),
                false => (local.as_str(), local.as_str()),
            };
            if top != self.manifest.header().name {
                selection.names.rename_content(top);
            }
            match entry.file {
                Some(file) => selection.wanted.push(file),
                None if inside.is_empty() => {}
                None => selection.empty_folders.push(inside.to_owned()),
            }
            if let Some(file) = entry.file.filter(|_| inside != entry.path) {
                selection.names.rename(file, inside);
            }
        }
        selection
    }
}

/// Paths whose names are what others are mapped to, or are the same where upper and lower case are one.
fn in_the_way(entries: &[WantedEntry], locals: &[String]) -> Vec<String> {
    let (mut by_folded, mut found) = (HashMap::new(), Vec::new());
    let is_mapped = |own: &str, here: &str| own.rsplit('/').next() != here.rsplit('/').next();
    for (entry, local) in entries.iter().zip(locals) {
        for (own, here) in prefixes(&entry.full).zip(prefixes(local)) {
            let (first, first_here) = *by_folded.entry(here.to_lowercase()).or_insert((own, here));
            // Two that are not mapped are none of this.
            if first != own && (is_mapped(own, here) || is_mapped(first, first_here)) {
                // Mapped names are never the same: one of the two is not mapped.
                found.push(if is_mapped(own, here) { first } else { own }.to_owned());
                // What lies below moves with it.
                break;
            }
        }
    }
    found
}

/// `a`, `a/b` and `a/b/c` of `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| at).chain([path.len()]).map(move |end| &path[..end])
}

impl Selection {
    /// Whether it may be a part of the content: some files were asked for, or some are left out for their names.
    pub(crate) fn is_partial(&self, settings: &DownloadSettings) -> bool {
        settings.only.is_some() || !self.report.skipped.is_empty()
    }

    /// Whether something lies in `folder`, or is being built there, under a name that this maps to.
    fn is_there(&self, manifest: &Manifest, folder: &Path) -> bool {
        let name = self.names.name(manifest);
        let part = folder.join(decorated_name(".", name, ".part"));
        self.report.renamed.iter().any(|(_, here)| {
            let inside = here.split_once('/').map_or("", |(_, inside)| inside);
            let built = if inside.is_empty() { part.clone() } else { part.join(inside) };
            [folder.join(here), built].iter().any(|path| path.symlink_metadata().is_ok())
        })
    }

    /// Keeps which names were mapped in the hashes folder, for people and for the next run.
    pub(crate) fn record(&self, hashes: &Path, content: ContentId) {
        if self.report.renamed.is_empty() {
            return;
        }
        let lines = self.report.renamed.iter().map(|(own, here)| format!("{here}\t{own:?}\n"));
        let text = format!(
            "# Names as they are here, and as they are in the content {content}.\n{}",
            lines.collect::<String>()
        );
        let path = record_path(hashes, content);
        if let Err(error) = put(&path, hashes, text.as_bytes()) {
            tracing::info!(%error, path = %path.display(), "which names were mapped is not kept, only told");
        }
    }
}

fn record_path(hashes: &Path, content: ContentId) -> PathBuf {
    hashes.join(format!("{content}.names"))
}

fn is_recorded(hashes: &Path, content: ContentId) -> bool {
    record_path(hashes, content).is_file()
}

#[cfg(test)]
mod tests;
