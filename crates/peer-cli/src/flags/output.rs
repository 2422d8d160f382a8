//! Where downloads go for which no folder is named: into the working folder, as with curl; or into `output/`, if these programs
//! have downloaded into that before.
//!
//! Many a project has a folder `output/` of its own, so its name alone says nothing. It is ours if `hashes/by-id/` beside it holds
//! the manifest of something that lies in it: nothing but a download makes both.

use std::fs;
use std::path::{Path, PathBuf};

use peer::received_manifest;
use protocol::decorated_name;

use crate::flags::own_folders::belongs_to_us;
use crate::flags::peer::HASHES;

/// The original's folder for downloads.
pub const OUTPUT: &str = "output";
/// The end of the name of a download that is not complete.
const PART: &str = ".part";
/// Most manifests that are looked at.
const MOST: usize = 1000;

/// Where a download goes without a folder, and what to say of that.
pub fn default_folder() -> (PathBuf, Option<&'static str>) {
    if is_ours(Path::new("")) {
        let sentence = "Downloading into output/, which has earlier downloads; -o . downloads into this folder.";
        return (OUTPUT.into(), Some(sentence));
    }
    (".".into(), None)
}

/// Whether these programs have downloaded into the output folder in `folder`.
fn is_ours(folder: &Path) -> bool {
    let (output, hashes) = (folder.join(OUTPUT), folder.join(HASHES));
    // A link leads to where somebody else has put something.
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|seen| seen.is_dir()) && belongs_to_us(path);
    if !is_folder(&output) || !is_folder(&hashes) {
        return false;
    }
    let files = fs::read_dir(hashes.join("by-id")).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path());
    let ids = files.filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    let mut manifests = ids.filter_map(|content| received_manifest(&hashes, content));
    manifests.any(|manifest| {
        let name = &manifest.header().name;
        [name.clone(), decorated_name(".", name, PART)].iter().any(|name| output.join(name).exists())
    })
}

#[cfg(test)]
mod tests {
    use peer::{hash_content, received_path};
    use protocol::Algorithm;

    use super::*;

    #[test]
    fn an_output_folder_is_ours_if_we_have_downloaded_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("output")).unwrap();
        fs::write(at("output/results.csv"), "of a project").unwrap();
        assert!(!is_ours(folder.path()), "it has nothing of ours");
        fs::write(at("a.bin"), [7; 3000]).unwrap();
        let manifest = hash_content(&at("a.bin"), Algorithm::Blake3, None, |_, _| {}).unwrap().manifest;
        fs::create_dir_all(at("hashes/by-id")).unwrap();
        fs::write(received_path(&at("hashes"), manifest.id()), manifest.bytes()).unwrap();
        assert!(!is_ours(folder.path()), "what was downloaded went elsewhere");
        for name in [".a.bin.part", "a.bin"] {
            fs::write(at("output").join(name), "").unwrap();
            assert!(is_ours(folder.path()), "{name}");
            fs::remove_file(at("output").join(name)).unwrap();
        }
        fs::write(at("output/a.bin"), "").unwrap();
        #[cfg(unix)]
        {
            fs::rename(at("output"), at("elsewhere")).unwrap();
            std::os::unix::fs::symlink(at("elsewhere"), at("output")).unwrap();
            assert!(!is_ours(folder.path()), "it is a link");
        }
    }
}
