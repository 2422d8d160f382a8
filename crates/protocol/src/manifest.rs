//! The manifest: names, sizes, piece size, algorithm and piece digests of a content.
//!
//! Layout of its bytes: `P2PM`, version (1 byte), length of the header (4 bytes, little endian), the header
//! (bincode), then 32 bytes a piece. The digests are never parsed into a second copy: they are read where they
//! came in. The content id is the digest of all these bytes.
//!
//! Version 1 is that. In version 2 the header is followed by the URL of the origin that the content was made of, before the digests; a
//! manifest without one is of version 1, so that its id is what it always was.

use bytes::Bytes;
use integrity::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::codec::{MAX_MESSAGE_BYTES, Wire, bounded};
use crate::name::check_name;
use crate::origin_url::OriginUrl;
use crate::paths::check_tree;
use crate::{ContentId, DecodeError, EncodeError, Geometry, GeometryError, NameError};

const MAGIC: &[u8; 4] = b"P2PM";
const PLAIN: u8 = 1;
const WITH_ORIGIN: u8 = 2;
const PREFIX: usize = MAGIC.len() + 1 + 4;
/// Most files of a content, and most folders without files.
pub const MAX_FILES: usize = 1 << 16;
/// Most bytes of a manifest: 2^20 digests and a header.
pub const MAX_MANIFEST_BYTES: usize = 40 << 20;

/// One file of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path inside the content, components parted by `/`; for a content that is one file, its name.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Root over the file's piece digests.
    pub root: Digest,
}

/// All of a manifest but the piece digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHeader {
    /// What the content is called: a file's or folder's name.
    pub name: String,
    /// Whether it is a folder with files, or a single file of that name.
    pub folder: bool,
    /// How pieces and roots are digested.
    pub algorithm: Algorithm,
    /// Size of pieces in bytes.
    pub piece_size: u32,
    /// The files, in order of their pieces.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_FILES>")]
    pub files: Vec<FileEntry>,
    /// Folders without files, as paths inside the content.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_FILES>")]
    pub empty_folders: Vec<String>,
}

impl ManifestHeader {
    /// Whether a manifest with this header can be: so that it shows before gigabytes are hashed for one that cannot.
    pub fn check(&self) -> Result<(), ManifestError> {
        check_names(self)?;
        self.encode()?;
        Ok(())
    }
}

/// What stands before the digests in version 2.
#[derive(Serialize, Deserialize)]
struct HeaderWithOrigin {
    header: ManifestHeader,
    origin: OriginUrl,
}

impl Wire for HeaderWithOrigin {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

impl Wire for ManifestHeader {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

/// A manifest that was checked: every name is safe, the counts fit, the roots are those of the digests.
#[derive(Debug, Clone)]
pub struct Manifest {
    bytes: Bytes,
    header: ManifestHeader,
    origin: Option<OriginUrl>,
    geometry: Geometry,
    id: ContentId,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the beginning of a manifest.
    #[error("this is no manifest that this version can read")]
    Magic,
    /// It is of a later version.
    #[error("this manifest is of version {0}, which this program is too old for")]
    Version(u8),
    /// Longer than 40 MiB.
    #[error("a manifest of {0} bytes is over the limit of 40 MiB")]
    TooLong(usize),
    /// The header does not decode.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// The header does not encode.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A name may not stand in a manifest.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two entries are the same, or one lies inside another.
    #[error("two entries of the manifest overlap: {0:?}")]
    Overlap(String),
    /// The paths make more folders than their files need.
    #[error("the content would have {folders} folders, and of its files and empty folders at most {most} may be made")]
    TooManyFolders {
        /// Folders that the paths make.
        folders: usize,
        /// Most that so many paths may make.
        most: usize,
    },
    /// Sizes and piece size make no geometry.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Not as many digests as pieces.
    #[error("the manifest has {found} bytes of digests, but its sizes need {expected}")]
    Digests {
        /// Bytes that the sizes call for.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A file's root is not that of its digests.
    #[error("the root of {0:?} is not that of its pieces")]
    Root(String),
    /// A single file must be called like its content.
    #[error("a content of one file must be called like that file")]
    Single,
}

impl Manifest {
    /// Puts a manifest together; `digests` in order of the pieces. The roots in `header.files` are computed here.
    pub fn build(mut header: ManifestHeader, digests: &[Digest]) -> Result<Self, ManifestError> {
        let geometry = Geometry::new(header.piece_size, header.files.iter().map(|file| file.size).collect())?;
        let expected = geometry.pieces() as usize;
        if digests.len() != expected {
            return Err(ManifestError::Digests { expected: expected * 32, found: digests.len() * 32 });
        }
        let integrity = header.algorithm.integrity();
        for (index, file) in header.files.iter_mut().enumerate() {
            let pieces = geometry.pieces_of(index);
            let digests = &digests[pieces.start as usize..pieces.end as usize];
            file.root = integrity.root(file.size, header.piece_size, &mut digests.iter().copied());
        }
        let digests: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        Self::decode(assemble(PLAIN, &header.encode()?, &digests))
    }

    /// The same content, whose manifest names the origin that it was made of: another id.
    pub fn with_origin(&self, origin: OriginUrl) -> Result<Self, ManifestError> {
        let header = HeaderWithOrigin { header: self.header.clone(), origin };
        let digests = &self.bytes[self.bytes.len() - self.geometry.pieces() as usize * 32..];
        Self::decode(assemble(WITH_ORIGIN, &header.encode()?, digests))
    }

    /// The id of the manifest that these bytes are, if they are one.
    pub fn id_of(bytes: &[u8]) -> ContentId {
        ContentId(Digest::of(bytes))
    }

    /// Reads and checks a manifest. Whether it is the right one is for the caller to see by its [`Manifest::id`].
    pub fn decode(bytes: Bytes) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        if bytes.len() < PREFIX || &bytes[..MAGIC.len()] != MAGIC {
            return Err(ManifestError::Magic);
        }
        let mut len = [0; 4];
        len.copy_from_slice(&bytes[MAGIC.len() + 1..PREFIX]);
        let end = PREFIX.saturating_add(u32::from_le_bytes(len) as usize);
        let encoded = || bytes.get(PREFIX..end).ok_or(ManifestError::Magic);
        let (header, origin) = match bytes[MAGIC.len()] {
            PLAIN => (ManifestHeader::decode(encoded()?)?, None),
            WITH_ORIGIN => {
                let HeaderWithOrigin { header, origin } = HeaderWithOrigin::decode(encoded()?)?;
                (header, Some(origin))
            }
            later if later > WITH_ORIGIN => return Err(ManifestError::Version(later)),
            _ => return Err(ManifestError::Magic),
        };
        check_names(&header)?;
        let geometry = Geometry::new(header.piece_size, header.files.iter().map(|file| file.size).collect())?;
        let (expected, found) = (geometry.pieces() as usize * 32, bytes.len() - end);
        if expected != found {
            return Err(ManifestError::Digests { expected, found });
        }
        let id = Self::id_of(&bytes);
        let manifest = Manifest { bytes, header, origin, geometry, id };
        for (index, file) in manifest.header.files.iter().enumerate() {
            let mut digests = manifest.geometry.pieces_of(index).map(|piece| manifest.digest(piece));
            let integrity = manifest.header.algorithm.integrity();
            if integrity.root(file.size, manifest.header.piece_size, &mut digests) != file.root {
                return Err(ManifestError::Root(file.path.clone()));
            }
        }
        Ok(manifest)
    }

    /// The content's id.
    pub fn id(&self) -> ContentId {
        self.id
    }

    /// The manifest as it travels and is stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All but the digests.
    pub fn header(&self) -> &ManifestHeader {
        &self.header
    }

    /// The origin that the content was made of, if its publisher named it. Whether it is read is for the user to say.
    pub fn origin(&self) -> Option<&OriginUrl> {
        self.origin.as_ref()
    }

    /// How the content is cut.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Digest of one piece.
    ///
    /// # Panics
    /// Past the last piece.
    pub fn digest(&self, piece: u32) -> Digest {
        let start = self.bytes.len() - (self.geometry.pieces() - piece) as usize * 32;
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.bytes[start..start + 32]);
        Digest(digest)
    }

    /// Whether `bytes` are the bytes of this piece.
    pub fn verify(&self, piece: u32, bytes: &[u8]) -> bool {
        self.geometry.piece(piece).is_some_and(|at| {
            at.len == bytes.len() && self.header.algorithm.integrity().piece(at.place(), bytes) == self.digest(piece)
        })
    }
}

fn assemble(version: u8, header: &[u8], digests: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX + header.len() + digests.len());
    bytes.extend_from_slice(MAGIC);
    bytes.push(version);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(digests);
    bytes.into()
}

fn check_names(header: &ManifestHeader) -> Result<(), ManifestError> {
    check_name(&header.name)?;
    if !header.folder {
        let [file] = header.files.as_slice() else { return Err(ManifestError::Single) };
        return if file.path == header.name && header.empty_folders.is_empty() {
            Ok(())
        } else {
            Err(ManifestError::Single)
        };
    }
    check_tree(header.files.iter().map(|file| file.path.as_str()), &header.empty_folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(files: &[(&str, u64)]) -> ManifestHeader {
        let root = Digest([0; 32]);
        ManifestHeader {
            name: "content".into(),
            folder: true,
            algorithm: Algorithm::Blake3,
            piece_size: 1024,
            files: files
                .iter()
                .map(|&(path, size)| FileEntry { path: path.into(), size, executable: false, root })
                .collect(),
            empty_folders: vec![],
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_went() {
        let digests = [Digest([1; 32]), Digest([2; 32]), Digest([3; 32])];
        let manifest = Manifest::build(header(&[("a", 5), ("b/c", 2000), ("d", 0)]), &digests).unwrap();
        let again = Manifest::decode(manifest.bytes().clone()).unwrap();
        assert_eq!(again.id(), manifest.id());
        assert_eq!(again.header(), manifest.header());
        assert_eq!((0..3).map(|n| again.digest(n)).collect::<Vec<_>>(), digests);
    }

    #[test]
    fn overlapping_and_unsafe_paths_are_refused() {
        for files in [
            &[("a", 0), ("a", 0)][..],
            &[("a", 0), ("a/b", 0)],
            &[("../a", 0)],
            &[("/a", 0)],
            &[("a//b", 0)],
            &[("a/..", 0)],
        ] {
            assert!(Manifest::build(header(files), &[]).is_err(), "{files:?}");
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let manifest = Manifest::build(header(&[("a", 1025)]), &[Digest([1; 32]), Digest([2; 32])]).unwrap();
        for at in 0..manifest.bytes().len() {
            let mut bytes = manifest.bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(other) = Manifest::decode(bytes.into()) {
                assert_ne!(other.id(), manifest.id(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_named_origin_comes_back_and_makes_another_content() {
        let digests = [Digest([1; 32]), Digest([2; 32])];
        let plain = Manifest::build(header(&[("a", 1025)]), &digests).unwrap();
        assert_eq!((plain.bytes()[4], plain.origin()), (1, None));
        let origin: OriginUrl = "https://host/a".parse().unwrap();
        let named = plain.with_origin(origin.clone()).unwrap();
        assert_eq!((named.bytes()[4], named.origin()), (2, Some(&origin)));
        assert_ne!(named.id(), plain.id());
        assert_eq!((named.header(), named.digest(1)), (plain.header(), plain.digest(1)));
        for len in 0..named.bytes().len() {
            assert!(Manifest::decode(named.bytes().slice(..len)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_manifest_of_a_later_version_is_no_lie() {
        let manifest = Manifest::build(header(&[("a", 5)]), &[Digest([1; 32])]).unwrap();
        let mut bytes = manifest.bytes().to_vec();
        bytes[4] = 3;
        let error = Manifest::decode(bytes.clone().into()).unwrap_err();
        assert_eq!(error, ManifestError::Version(3));
        assert!(error.to_string().contains("too old"), "{error}");
        bytes[4] = 0;
        assert_eq!(Manifest::decode(bytes.into()).unwrap_err(), ManifestError::Magic);
    }

    #[test]
    fn a_cut_manifest_is_refused() {
        let manifest = Manifest::build(header(&[("a", 1025)]), &[Digest([1; 32]), Digest([2; 32])]).unwrap();
        for len in 0..manifest.bytes().len() {
            assert!(Manifest::decode(manifest.bytes().slice(..len)).is_err(), "{len} bytes");
        }
    }
}
