//! How a content and its files are called on this disk.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::Manifest;
use storage::FileSpec;

/// How a content and its files are called here, where that is not how its manifest calls them.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalNames {
    name: Option<String>,
    files: BTreeMap<usize, String>,
}

impl LocalNames {
    /// The content's name.
    pub(crate) fn name<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        self.name.as_deref().unwrap_or(&manifest.header().name)
    }

    /// The content has another name here.
    pub(super) fn rename_content(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    /// A file has another path inside the content here.
    pub(super) fn rename(&mut self, file: usize, path: &str) {
        self.files.insert(file, path.to_owned());
    }

    /// A file's path inside the content.
    pub(crate) fn path<'a>(&'a self, manifest: &'a Manifest, file: usize) -> &'a str {
        self.files.get(&file).map_or(&manifest.header().files[file].path, String::as_str)
    }

    /// Where a file lies if the content, a folder or a file, is `target`.
    pub(crate) fn spec(&self, manifest: &Manifest, target: &Path, file: usize) -> FileSpec {
        let header = manifest.header();
        let path = if header.folder { target.join(self.path(manifest, file)) } else { target.to_owned() };
        FileSpec { path, size: header.files[file].size }
    }
}
