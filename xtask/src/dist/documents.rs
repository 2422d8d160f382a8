//! Documents of an archive: those that people read first, and all that these link to, so that every link leads to
//! something in the archive.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};

const FIRST: [&str; 5] = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Documents in the repository at `root`, by their paths in it.
pub(super) fn all(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut left: Vec<PathBuf> = FIRST.map(PathBuf::from).into();
    while let Some(document) = left.pop() {
        if found.contains(&document) {
            continue;
        }
        left.extend(linked(root, &document)?);
        found.insert(document);
    }
    Ok(found)
}

/// Copies them into a folder, where each has the path that it has in the repository.
pub(super) fn copy(root: &Path, into: &Path) -> anyhow::Result<()> {
    for document in all(root)? {
        let target = into.join(&document);
        fs::create_dir_all(target.parent().context("it lies in a folder")?)?;
        fs::copy(root.join(&document), target).with_context(|| document.display().to_string())?;
    }
    Ok(())
}

/// Fails if a document in this folder links to something that is not in it.
pub(super) fn check_links(folder: &Path) -> anyhow::Result<()> {
    let documents = super::files_in(folder)?;
    for document in documents.iter().filter(|document| is_markdown(document)) {
        linked(folder, document.strip_prefix(folder)?)?;
    }
    Ok(())
}

/// Files that a document links to. All paths begin at `root`.
fn linked(root: &Path, document: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !is_markdown(document) {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(root.join(document)).with_context(|| document.display().to_string())?;
    let folder = document.parent().unwrap_or(Path::new(""));
    let found = links(&text).into_iter().map(|link| {
        let path = within(&folder.join(link)).filter(|path| root.join(path).is_file());
        path.with_context(|| format!("{} links to {link}, and there is no such file", document.display()))
    });
    found.collect()
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "md")
}

/// Relative links of a text in Markdown, without what stands behind `#`. Blocks of code have none.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let paths = targets.map(|target| target.split('#').next().unwrap_or_default());
        found.extend(paths.filter(|path| !path.is_empty() && !path.contains("://")));
    }
    found
}

/// The path without `.` and `..`; nothing if it leads out of the folder that it begins in.
fn within(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir if plain.pop() => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// Fails unless all of these are files with something in them.
pub(super) fn require(folder: &Path, files: impl IntoIterator<Item = impl AsRef<Path>>) -> anyhow::Result<()> {
    for file in files {
        let path = folder.join(&file);
        match fs::metadata(&path) {
            Ok(found) => ensure!(found.is_file() && found.len() > 0, "{} has nothing in it", path.display()),
            Err(_) => bail!("{} lacks {}", folder.display(), file.as_ref().display()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn links_are_relative_paths_outside_of_code() {
        let text = "[a](docs/a.md) and [b](b.md#part), ![c](c.svg)\n```\n[d](d.md)\n```\n[e](https://e.org/) [f](#f)";
        assert_eq!(links(text), ["docs/a.md", "b.md", "c.svg"]);
        assert_eq!(within(Path::new("docs/use/../a.md")), Some("docs/a.md".into()));
        assert_eq!(within(Path::new("docs/../../a.md")), None);
    }

    #[test]
    fn every_link_of_the_documents_resolves_in_an_archive() {
        let documents = all(repository()).unwrap();
        for needed in ["LICENSE-MIT", "docs/swarm.svg", "docs/use/commands.md", "docs/operate/packages.md"] {
            assert!(documents.contains(Path::new(needed)), "{needed}");
        }
        let folder = tempfile::tempdir().unwrap();
        copy(repository(), folder.path()).unwrap();
        check_links(folder.path()).unwrap();
        fs::remove_file(folder.path().join("docs/swarm.svg")).unwrap();
        let error = check_links(folder.path()).unwrap_err().to_string();
        assert!(error.contains("README.md links to docs/swarm.svg"), "{error}");
    }
}
