//! Which names a manifest may carry: one path component that can never leave the output folder.

use integrity::DigestHasher;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, `.` or `..`.
    #[error("{0:?} is no name for a file")]
    Empty(String),
    /// Longer than file systems take.
    #[error("a name of {0} bytes is longer than 255")]
    TooLong(usize),
    /// A path of more bytes than a content may have.
    #[error("a path of {0} bytes is longer than 4096")]
    PathTooLong(usize),
    /// A path of more parts than a content may have.
    #[error("a path has more than 128 parts")]
    TooDeep,
    /// It holds a separator or a NUL.
    #[error("{0:?} holds a character that no file name may have")]
    Character(String),
    /// It means a device or something else special on this platform.
    #[error("{0:?} is no file name on this platform")]
    Platform(String),
    /// A download of another name keeps its state there.
    #[error("{0:?} is how the state of a download is called")]
    State(String),
}

/// Checks one path component against what no platform allows.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if matches!(name, "" | "." | "..") {
        return Err(NameError::Empty(name.to_owned()));
    }
    if name.len() > LONGEST {
        return Err(NameError::TooLong(name.len()));
    }
    if name.contains(['/', '\0']) {
        return Err(NameError::Character(name.to_owned()));
    }
    Ok(())
}

/// Checks one path component against what this platform (`windows` or not) would misunderstand.
pub fn check_local_name(name: &str, windows: bool) -> Result<(), NameError> {
    check_name(name)?;
    if !windows {
        return Ok(());
    }
    if name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) || name.chars().any(|c| u32::from(c) < 32) {
        return Err(NameError::Character(name.to_owned()));
    }
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest: &str| {
            matches!(rest, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    if device || numbered("COM") || numbered("LPT") || name.ends_with(['.', ' ']) {
        return Err(NameError::Platform(name.to_owned()));
    }
    Ok(())
}

/// Most bytes of a file's name.
pub(crate) const LONGEST: usize = 255;

/// `before`, `name`, `after`, as the name of a file that stands beside `name`. Where that would be longer than file
/// systems take, the end of the name gives way to a digest of it.
pub fn decorated_name(before: &str, name: &str, after: &str) -> String {
    decorated_within(before, name, after, LONGEST)
}

/// The same where a name has at most so many bytes.
pub(crate) fn decorated_within(before: &str, name: &str, after: &str, most: usize) -> String {
    if before.len() + name.len() + after.len() <= most {
        return format!("{before}{name}{after}");
    }
    let mut hasher = DigestHasher::default();
    hasher.update(name.as_bytes());
    let digest = hasher.finish().to_string();
    let room = most.saturating_sub(before.len() + after.len() + 17);
    let kept = &name[..(0..=room).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0)];
    format!("{before}{kept}~{}{after}", &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0b", &"x".repeat(256)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["-f", "a b", "Übung.txt", "...", " ", "日本語", "a\\b"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_decorated_name_always_fits_and_tells_long_names_apart() {
        assert_eq!(decorated_name(".", "a", ".part"), ".a.part");
        assert_eq!(decorated_name(".", &"x".repeat(249), ".part").len(), 255);
        let long = |end: &str| decorated_name(".", &format!("{}{end}", "ü".repeat(120)), ".manifest");
        for end in ["aaaaaaaaa", "bbbbbbbbb"] {
            assert!(long(end).len() <= 255 && long(end).ends_with(".manifest"), "{}", long(end));
        }
        assert_ne!(long("aaaaaaaaa"), long("bbbbbbbbb"));
    }

    #[test]
    fn windows_devices_are_refused_on_windows_only() {
        for name in [
            "con",
            "CON.txt",
            "NUL.txt",
            "com1",
            "COM¹",
            "Lpt³.log",
            "LPT9.tar.gz",
            "CONIN$",
            "aux .c",
            "a:b",
            "a\\b",
            "x.",
            "x..",
            "x ",
            "a?",
            "a\u{1}b",
        ] {
            assert!(check_local_name(name, true).is_err(), "{name:?}");
            assert_eq!(check_local_name(name, false), Ok(()), "{name:?}");
        }
        for name in ["console.txt", "com10", "COM⁴", "auxiliary", "nul-1.txt", ".con"] {
            assert_eq!(check_local_name(name, true), Ok(()), "{name:?}");
        }
    }
}
