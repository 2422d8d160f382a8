//! What is said of things that lie in a folder and are not shared: a few by name, the others by number.

use std::path::PathBuf;

use peer::{LeftOut, LeftOutReason};

/// Most of a kind that are named.
const NAMED: usize = 5;

/// What is left out, by reasons, each with what can be done about it.
pub fn words(left_out: &[LeftOut]) -> Vec<String> {
    let mut reasons: Vec<_> = left_out.iter().map(|left_out| left_out.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.into_iter().flat_map(|reason| words_of(reason, left_out)).collect()
}

fn words_of(reason: LeftOutReason, left_out: &[LeftOut]) -> Vec<String> {
    let paths: Vec<_> = left_out.iter().filter(|left_out| left_out.reason == reason).map(|found| &found.path).collect();
    let name = |path: &&PathBuf| format!("{} is left out: {reason}.", path.display());
    let mut lines: Vec<_> = paths.iter().take(NAMED).map(name).collect();
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|&more| more > 0) {
        lines.push(format!("{more} more are left out for the same reason."));
    }
    let advice = match reason {
        LeftOutReason::LinkOutside => Some("To share what such links lead to, give --follow-links."),
        LeftOutReason::Unsized => Some("Copy such a file, and share the copy."),
        _ => None,
    };
    lines.extend(advice.map(str::to_owned));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_named_up_to_a_handful() {
        let link = |number| LeftOut { path: format!("link{number}").into(), reason: LeftOutReason::LinkOutside };
        let mut all: Vec<_> = (0..8).map(link).collect();
        all.push(LeftOut { path: "certs".into(), reason: LeftOutReason::PrivateKey });
        all.push(LeftOut { path: "status".into(), reason: LeftOutReason::Unsized });
        let lines = words(&all);
        assert_eq!(lines[0], "certs is left out: it holds a private key of this program.");
        assert_eq!(lines[1], "link0 is left out: it is a link that leads out of what is shared.");
        assert_eq!(
            lines[6..],
            [
                "3 more are left out for the same reason.",
                "To share what such links lead to, give --follow-links.",
                "status is left out: its size is not known before it is read.",
                "Copy such a file, and share the copy."
            ]
        );
    }
}
