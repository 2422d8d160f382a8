//! Finds names that stand for two types of one crate: a reader would have to look up which of them is meant.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;

use crate::rings;

/// Fine in several modules, by convention: a command line, and what lies behind a handle or a lock.
const CONVENTIONS: [&str; 3] = ["Arguments", "Inner", "State"];
/// Types of which there is one for each platform, or with and without a feature.
const VARIANTS: [&str; 5] = ["Folder", "Listener", "PortMapping", "Signals", "Walk"];

/// Fails if two types of a crate, whose sources are in this folder, have the same name.
pub(crate) fn check(sources: &Path) -> anyhow::Result<()> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (module, text) in rings::modules(sources)? {
        for name in text.lines().filter_map(type_of) {
            places.entry(name.to_owned()).or_default().push(module.join("::"));
        }
    }
    places
        .retain(|name, at| at.len() > 1 && !CONVENTIONS.contains(&name.as_str()) && !VARIANTS.contains(&name.as_str()));
    let twice: Vec<_> = places.iter().map(|(name, at)| format!("{name} ({})", at.join(", "))).collect();
    ensure!(twice.is_empty(), "names in {} that stand for several types: {}", sources.display(), twice.join("; "));
    Ok(())
}

/// The type that a line of code defines.
fn type_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    if !["struct", "enum", "trait"].contains(&words.next()?) {
        return None;
    }
    let name = words.next()?;
    Some(&name[..name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_their_definitions() {
        assert_eq!(type_of("pub(crate) struct Share<T>(T);"), Some("Share"));
        assert_eq!(type_of("enum State {"), Some("State"));
        assert_eq!(type_of("pub trait Source: Send {"), Some("Source"));
        assert_eq!(type_of("let structure = 5;"), None);
    }

    #[test]
    fn a_name_stands_for_one_type() {
        let sources = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(sources.path().join(name), text).unwrap();
        write("one.rs", "struct Held;\nstruct Inner;\n");
        write("other.rs", "struct Other;\nstruct Inner;\n#[cfg(test)]\nmod tests {\n    struct Held;\n}\n");
        check(sources.path()).unwrap();
        write("other.rs", "pub(super) enum Held {}\n");
        assert!(check(sources.path()).unwrap_err().to_string().contains("Held (one, other)"));
    }
}
