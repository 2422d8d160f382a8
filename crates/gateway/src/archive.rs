//! A folder as a tar archive, made while it is sent: the same content gives the same bytes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use peer::{OpenContent, OpenFile};
use tar::{Builder, EntryType, Header};

use crate::body::{Part, Parts};
use crate::paths::below;

/// Archives are made of blocks of so many bytes, and end with two that are empty.
const BLOCK: u64 = 512;

/// An archive that is made while it is sent.
pub(crate) struct Archive {
    pub(crate) parts: Parts,
    /// Its bytes, known before it begins.
    pub(crate) size: u64,
}

/// An archive of the files below `folder` (all if that is empty), in a folder called `name`.
pub(crate) fn archive(open: &Arc<OpenContent>, folder: &str, name: &str) -> io::Result<Archive> {
    let empty = open.manifest().header().empty_folders.iter().filter_map(|path| below(path, folder));
    let empty: Vec<Bytes> = empty
        .map(|path| head(&format!("{name}/{path}/"), 0, EntryType::Directory, 0o755))
        .collect::<io::Result<_>>()?;
    // What cannot be said in an archive is known before it begins, and so is how long it is.
    let mut size = 2 * BLOCK + empty.iter().map(|head| head.len() as u64).sum::<u64>();
    for file in open.files() {
        let Some(path) = below(&file.entry.path, folder) else { continue };
        let head = head_of(&file, path, name)?;
        size += head.len() as u64 + file.entry.size.next_multiple_of(BLOCK);
    }
    let (open, folder, name) = (open.clone(), folder.to_owned(), name.to_owned());
    let files = (0..).map_while(move |number| {
        let file = open.file(number)?;
        let Some(path) = below(&file.entry.path, &folder) else { return Some(Vec::new()) };
        let size = file.entry.size;
        let padding = (size.next_multiple_of(BLOCK) - size) as usize;
        let head = head_of(&file, path, &name).unwrap_or_default();
        let bytes = Part::Range(file.offset..file.offset + size);
        Some(vec![Part::Bytes(head), bytes, Part::Bytes(Bytes::from(vec![0; padding]))])
    });
    let end = Part::Bytes(Bytes::from(vec![0; 2 * BLOCK as usize]));
    Ok(Archive { parts: Box::new(empty.into_iter().map(Part::Bytes).chain(files.flatten()).chain([end])), size })
}

fn head_of(file: &OpenFile<'_>, path: &str, name: &str) -> io::Result<Bytes> {
    let mode = if file.entry.executable { 0o755 } else { 0o644 };
    head(&format!("{name}/{path}"), file.entry.size, EntryType::Regular, mode)
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
