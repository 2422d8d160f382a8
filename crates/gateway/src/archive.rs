//! A folder as a tar archive, made while it is sent: the same content gives the same bytes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use peer::OpenContent;
use tar::{Builder, EntryType, Header};

use crate::body::{Part, Parts};
use crate::paths::below;

/// Archives are made of blocks of so many bytes, and end with two that are empty.
const BLOCK: u64 = 512;

/// An entry of an archive.
struct Entry {
    path: String,
    size: u64,
    offset: u64,
    executable: bool,
}

/// The parts of an archive of the files below `folder` (all if that is empty), in a folder called `name`.
pub(crate) fn parts(open: &Arc<OpenContent>, folder: &str, name: &str) -> io::Result<Parts> {
    let mut entries = Vec::new();
    for file in open.files() {
        let Some(path) = below(&file.entry.path, folder) else { continue };
        let (size, executable) = (file.entry.size, file.entry.executable);
        entries.push(Entry { path: format!("{name}/{path}"), size, offset: file.offset, executable });
    }
    let empty = open.manifest().header().empty_folders.iter().filter_map(|path| below(path, folder));
    let folders: Vec<String> = empty.map(|path| format!("{name}/{path}/")).collect();
    // What cannot be said in an archive is known before it begins.
    entries.iter().try_for_each(|entry| head(&entry.path, entry.size, EntryType::Regular, 0o644).map(drop))?;
    folders.iter().try_for_each(|path| head(path, 0, EntryType::Directory, 0o755).map(drop))?;
    let folders =
        folders.into_iter().filter_map(|path| head(&path, 0, EntryType::Directory, 0o755).ok()).map(Part::Bytes);
    let files = entries.into_iter().flat_map(|Entry { path, size, offset, executable }| {
        let mode = if executable { 0o755 } else { 0o644 };
        let head = head(&path, size, EntryType::Regular, mode).unwrap_or_default();
        let padding = (size.next_multiple_of(BLOCK) - size) as usize;
        [Part::Bytes(head), Part::Range(offset..offset + size), Part::Bytes(Bytes::from(vec![0; padding]))]
    });
    let end = Part::Bytes(Bytes::from(vec![0; 2 * BLOCK as usize]));
    Ok(Box::new(folders.chain(files).chain([end])))
}

/// What stands before the bytes of an entry.
fn head(path: &str, size: u64, kind: EntryType, mode: u32) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    let mut builder = Builder::new(Vec::new());
    // A path that is too long for the header is put into an entry of its own before it.
    builder.append_data(&mut header, path, io::empty())?;
    Ok(Bytes::from(std::mem::take(builder.get_mut())))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn heads_are_read_as_they_were_meant() {
        let long = format!("m/{}", "größer/".repeat(60)) + "x";
        for (path, size) in [("m/a", 3_u64), (&long, 5), ("m/huge", 1 << 40)] {
            let mut bytes = head(path, size, EntryType::Regular, 0o644).unwrap().to_vec();
            assert_eq!(bytes.len() as u64 % BLOCK, 0);
            bytes.extend(vec![7; 512]);
            let mut archive = tar::Archive::new(&bytes[..]);
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((entry.path().unwrap().to_str(), entry.size()), (Some(path), size));
            let mut first = [0];
            entry.read_exact(&mut first).unwrap();
            assert_eq!(first, [7]);
        }
    }
}
