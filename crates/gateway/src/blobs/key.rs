//! What a file with a digest is called in a swarm, and on this machine. Of a long one half is enough to be found by: what is found is digested.

use origins::FileDigest;

/// `sha256-…`, `sha512-…` or `git-…`.
pub(super) fn key_of(digest: FileDigest) -> String {
    let (kind, bytes) = match &digest {
        FileDigest::Sha256(bytes) => ("sha256", &bytes[..]),
        FileDigest::Sha512(bytes) => ("sha512", &bytes[..32]),
        FileDigest::GitBlob(bytes) => ("git", &bytes[..]),
        _ => ("unknown", &[][..]),
    };
    format!("{kind}-{}", data_encoding::HEXLOWER.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_by_its_digest() {
        assert_eq!(key_of(FileDigest::Sha256([0xab; 32])), format!("sha256-{}", "ab".repeat(32)));
        assert_eq!(key_of(FileDigest::Sha512([0xab; 64])), format!("sha512-{}", "ab".repeat(32)));
        assert_eq!(key_of(FileDigest::GitBlob([1; 20])), format!("git-{}", "01".repeat(20)));
    }
}
