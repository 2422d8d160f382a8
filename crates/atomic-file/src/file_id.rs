//! What tells a file from all others, where its file system numbers files.

/// The number of a file, and of the drive that it lies on. Two names with the same are one file, as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    volume: u64,
    number: u128,
}

impl FileId {
    /// Numbers by which file systems say that they number no files, or that the number is not the file's alone.
    const NONE: [u128; 3] = [0, u128::MAX >> 64, u128::MAX];

    /// A file of this number; nothing if that is none.
    ///
    /// ```
    /// use p2p_fileshare_atomic_file::FileId;
    ///
    /// assert!(FileId::new(1, 7).is_some() && FileId::new(1, 0).is_none());
    /// ```
    pub fn new(volume: u64, number: u128) -> Option<Self> {
        (!Self::NONE.contains(&number)).then_some(FileId { volume, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_does_not_number_is_no_file_that_is_known_again() {
        for number in [0, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(FileId::new(7, number), None);
        }
        assert_eq!(FileId::new(7, 1), FileId::new(7, 1));
        assert!(FileId::new(7, 1) != FileId::new(8, 1) && FileId::new(7, 1) != FileId::new(7, 2));
        assert!(FileId::new(0, 1).is_some());
    }
}
