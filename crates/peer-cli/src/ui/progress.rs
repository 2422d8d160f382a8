//! How a content stands: in figures, and in the original's words.

use peer::Status;

/// What is shown of how a content stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub name: String,
    /// Bytes of what is wanted, or shared.
    pub size: u64,
    pub have: u32,
    pub pieces: u32,
    /// Bytes that are here, with those on their way to the disk.
    pub done: u64,
    pub peers: u32,
    pub received: u64,
    pub sent: u64,
    pub finished: bool,
}

impl From<&Status> for Progress {
    fn from(status: &Status) -> Self {
        Progress {
            name: status.name.clone(),
            size: status.size,
            have: status.have,
            pieces: status.pieces,
            done: done(status),
            peers: status.peers,
            received: status.received,
            sent: status.sent,
            finished: status.is_complete(),
        }
    }
}

/// Bytes that are here. Not all of them as long as a piece lacks: some may have come twice, or wrong.
fn done(status: &Status) -> u64 {
    let Status { size, have, had, pieces, received, .. } = *status;
    if have >= pieces {
        return size;
    }
    let bytes = |count: u32| (u128::from(size) * u128::from(count) / u128::from(pieces)) as u64;
    bytes(have).max(bytes(had) + received).min(size.saturating_sub(1))
}

/// What `prog` says of a seeder.
pub fn seeder_words(contents: &[Progress]) -> Vec<String> {
    let (have, pieces) = sums(contents);
    let mut lines = vec![format!("Pieces on Seeder: {have} ({}%).", percent(have, pieces))];
    if contents.len() > 1 {
        let line = |content: &Progress| format!("  {}: {}/{}", content.name, content.have, content.pieces);
        lines.extend(contents.iter().map(line));
    }
    lines
}

/// What `prog` says of a downloader. Before a content is known there is a download all the same.
pub fn downloader_words(contents: &[Progress]) -> Vec<String> {
    if !contents.is_empty() && contents.iter().all(|content| content.finished) {
        return vec!["Download Finished!".to_owned()];
    }
    let mut lines = vec!["Download in Progress...".to_owned()];
    lines.push(format!("{} downloaded.", share(contents)));
    if contents.len() > 1 {
        let line = |content: &Progress| format!("  {}: {}", content.name, share(std::slice::from_ref(content)));
        lines.extend(contents.iter().map(line));
    }
    lines
}

/// `have/pieces (percent%)`.
fn share(contents: &[Progress]) -> String {
    let (have, pieces) = sums(contents);
    format!("{have}/{pieces} ({}%)", percent(have, pieces))
}

/// Pieces held and pieces in all.
fn sums(contents: &[Progress]) -> (u64, u64) {
    let sum = |of: fn(&Progress) -> u32| contents.iter().map(of).map(u64::from).sum();
    (sum(|content| content.have), sum(|content| content.pieces))
}

fn percent(part: u64, whole: u64) -> u64 {
    // Without pieces, as before the manifest is known, it is 0 %.
    (part * 100).checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(have: u32, pieces: u32, finished: bool) -> Progress {
        Progress { name: "a".to_owned(), size: 1000, have, pieces, finished, ..Progress::default() }
    }

    #[test]
    fn the_words_are_the_originals() {
        assert_eq!(seeder_words(&[progress(3, 4, true)]), ["Pieces on Seeder: 3 (75%)."]);
        assert_eq!(downloader_words(&[progress(1, 3, false)]), ["Download in Progress...", "1/3 (33%) downloaded."]);
        assert_eq!(downloader_words(&[progress(3, 3, true)]), ["Download Finished!"]);
        assert_eq!(downloader_words(&[])[1], "0/0 (0%) downloaded.");
        let two = downloader_words(&[progress(1, 2, false), progress(2, 2, true)]);
        assert_eq!(two, ["Download in Progress...", "3/4 (75%) downloaded.", "  a: 1/2 (50%)", "  a: 2/2 (100%)"]);
    }
}
