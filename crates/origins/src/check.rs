//! Whether a file's bytes are those that its digest names, told as they come one after another.

use sha2::Digest as _;

use crate::FileDigest;

/// Digests a file as its bytes come, and compares it with what it should be.
#[derive(Clone)]
pub struct FileCheck {
    expected: FileDigest,
    size: u64,
    came: u64,
    hasher: Hasher,
}

#[derive(Clone)]
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Sha1(Box<sha1_checked::Sha1>),
}

impl FileCheck {
    /// Of a file of this size.
    pub fn new(expected: FileDigest, size: u64) -> Self {
        let hasher = match expected {
            FileDigest::Sha256(_) => Hasher::Sha256(sha2::Sha256::new()),
            FileDigest::Sha512(_) => Hasher::Sha512(sha2::Sha512::new()),
            FileDigest::GitBlob(_) => {
                let mut hasher = Box::new(sha1_checked::Sha1::new());
                sha1_checked::Digest::update(&mut *hasher, format!("blob {size}\0"));
                Hasher::Sha1(hasher)
            }
        };
        FileCheck { expected, size, came: 0, hasher }
    }

    /// The next bytes. Takes a processor for a while if they are many.
    pub fn update(&mut self, bytes: &[u8]) {
        self.came += bytes.len() as u64;
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => sha1_checked::Digest::update(&mut **hasher, bytes),
        }
    }

    /// Whether all have come.
    pub fn is_whole(&self) -> bool {
        self.came == self.size
    }

    /// Whether all have come, and are right. A file that was made to have the SHA-1 of another is not.
    pub fn is_right(self) -> bool {
        let is_whole = self.is_whole();
        let found = match self.hasher {
            Hasher::Sha256(hasher) => FileDigest::Sha256(hasher.finalize().into()),
            Hasher::Sha512(hasher) => FileDigest::Sha512(hasher.finalize().into()),
            Hasher::Sha1(hasher) => {
                let found = hasher.try_finalize();
                if found.has_collision() {
                    return false;
                }
                FileDigest::GitBlob((*found.hash()).into())
            }
        };
        is_whole && found == self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_right(digest: FileDigest, size: u64, parts: &[&[u8]]) -> bool {
        let mut check = FileCheck::new(digest, size);
        parts.iter().for_each(|part| check.update(part));
        check.is_right()
    }

    #[test]
    fn a_file_is_right_by_all_of_its_bytes() {
        let sha256 = FileDigest::Sha256(sha2::Sha256::digest(b"hello").into());
        assert!(is_right(sha256, 5, &[b"hel", b"lo"]));
        assert!(!is_right(sha256, 5, &[b"hel"]));
        assert!(!is_right(sha256, 5, &[b"hellO"]));
        assert!(!is_right(sha256, 6, &[b"hello"]), "one is missing");
        let sha512 = FileDigest::Sha512(sha2::Sha512::digest(b"hello").into());
        assert!(is_right(sha512, 5, &[b"hello"]) && !is_right(sha512, 5, &[b"hellO"]));
        // As `printf hello | git hash-object --stdin` says.
        let git = 0xb6fc_4c62_0b67_d95f_953a_5c1c_1230_aaab_u128.to_be_bytes();
        let git: [u8; 20] = [&git[..], &0x5db5_a1b0_u32.to_be_bytes()].concat().try_into().expect("20 bytes");
        assert!(is_right(FileDigest::GitBlob(git), 5, &[b"hello"]));
        assert!(!is_right(FileDigest::GitBlob(git), 5, &[b"Hello"]));
    }
}
