//! Finds modules of a crate that import each other in a cycle. What two modules need belongs into a module below them, which knows
//! neither.
//!
//! A module may use the modules that it is in (methods of a type that is defined there, constants); that is no cycle. Tests are
//! ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

/// The path of a module in its crate.
pub(crate) type Module = Vec<String>;

/// Which modules each one uses.
type Uses = BTreeMap<Module, BTreeSet<Module>>;

/// Fails if modules of a crate, whose sources are in this folder, import each other.
pub(crate) fn check(sources: &Path) -> anyhow::Result<()> {
    let rings: Vec<_> = in_rings(uses(&modules(sources)?)).iter().map(|module| module.join("::")).collect();
    ensure!(rings.is_empty(), "modules in {} import each other: {}", sources.display(), rings.join(", "));
    Ok(())
}

/// The code of all modules whose sources are in this folder, without comments, texts and tests.
pub(crate) fn modules(sources: &Path) -> anyhow::Result<BTreeMap<Module, String>> {
    let mut texts = BTreeMap::new();
    read(sources, &[], &mut texts).with_context(|| sources.display().to_string())?;
    Ok(texts)
}

/// Reads the modules of a folder, without their tests.
fn read(folder: &Path, at: &[String], texts: &mut BTreeMap<Module, String>) -> anyhow::Result<()> {
    let mut tests = BTreeSet::new();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().context("it has a name")?.to_string_lossy().into_owned();
        if path.is_dir() {
            found.push((name, None));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = code_of(&fs::read_to_string(&path)?, &mut tests);
            found.push((name, Some(text)));
        }
    }
    for (name, text) in found {
        let module: Module = at.iter().cloned().chain([name.clone()]).collect();
        match text {
            _ if tests.contains(&name) || name == "tests" => {}
            None => read(&folder.join(&name), &module, texts)?,
            Some(text) if ["lib", "main", "mod"].contains(&name.as_str()) => drop(texts.insert(at.to_vec(), text)),
            Some(text) => drop(texts.insert(module, text)),
        }
    }
    Ok(())
}

/// Code without comments, texts and tests. The names of files that hold nothing but tests are added to `tests`.
fn code_of(text: &str, tests: &mut BTreeSet<String>) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.starts_with("#[cfg(") && line.contains("test") {
            let next = lines.peek().map(|next| next.trim_start().trim_start_matches("pub(crate) ")).unwrap_or_default();
            match next.strip_prefix("mod ").map(|rest| rest.trim_end_matches(';')) {
                // Tests stand at the end of a file.
                Some(rest) if rest.ends_with('{') => break,
                Some(file) => drop(tests.insert(file.to_owned())),
                None => {}
            }
        }
        // What is in a text is no path either: every second part of a line that is cut at its quotes.
        let line = line.split_once("//").map_or(line, |(code, _)| code);
        line.split('"').step_by(2).for_each(|part| code.push_str(part));
        code.push('\n');
    }
    code
}

fn uses(texts: &BTreeMap<Module, String>) -> Uses {
    let known = |path: &[String]| {
        let ends = (1..=path.len()).rev();
        ends.map(|end| path[..end].to_vec()).find(|module| texts.contains_key(module))
    };
    let of = |module: &Module, text: &str| {
        let paths = paths(text).into_iter().filter_map(|path| known(&resolve(module, &path)?));
        // What a module is in, and itself.
        paths.filter(|used| !module.starts_with(used)).collect()
    };
    texts.iter().map(|(module, text)| (module.clone(), of(module, text))).collect()
}

/// Where a path leads from a module; nothing for what is in another crate.
fn resolve(module: &[String], path: &str) -> Option<Module> {
    let mut parts = path.split("::").filter(|part| !part.is_empty()).peekable();
    let mut base = module.to_vec();
    match parts.next()? {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            while parts.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        // A module below, if there is one of that name.
        name => base.push(name.to_owned()),
    }
    base.extend(parts.map(str::to_owned));
    Some(base)
}

/// All paths of a text that may lead to a module: those of `use`, and those that begin in this crate.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let whole_word = !rest[..at].ends_with(is_part_of_name);
        let statement = rest[at + 4..].split(';').next().unwrap_or_default();
        if whole_word {
            expand("", statement, &mut found);
        }
        rest = &rest[at + 4..];
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            if !text[..at].ends_with(|c| is_part_of_name(c) || c == ':') {
                let end = text[at..].find(|c| !is_part_of_name(c) && c != ':').map_or(text.len(), |end| at + end);
                found.push(text[at..end].to_owned());
            }
        }
    }
    found
}

fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths of a tree, as `a::{b, c::{d, e}}`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let Some((base, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return found.push(format!("{before}{path}"));
    };
    let before = format!("{before}{}", base.trim());
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &group[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&before, &group[start..], found);
}

/// What is left if those that use none of the others, and those that none of the others uses, are taken away in turn.
fn in_rings(mut uses: Uses) -> Vec<Module> {
    loop {
        let left: BTreeSet<Module> = uses.keys().cloned().collect();
        uses.values_mut().for_each(|used| used.retain(|module| left.contains(module)));
        let used: BTreeSet<Module> = uses.values().flatten().cloned().collect();
        uses.retain(|module, uses| !uses.is_empty() && used.contains(module));
        if uses.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let said = check(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
        said.split_once("each other: ")
            .map_or_else(Vec::new, |(_, names)| names.split(", ").map(str::to_owned).collect())
    }

    #[test]
    fn modules_that_import_each_other_are_named() {
        let apart = [("lib.rs", "mod a;\nmod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B; // crate::a")];
        assert!(rings(&apart).is_empty());
        let ring = [("lib.rs", ""), ("a.rs", "use crate::{b::{B, C as D}};"), ("b.rs", "fn f() { super::a::g() }")];
        assert_eq!(rings(&ring), ["a", "b"]);
        let longer = [
            ("a.rs", "use super::b;"),
            ("b.rs", "use super::{c};"),
            ("c.rs", "use crate::a::A;"),
            ("d.rs", "use super::a;"),
        ];
        assert_eq!(rings(&longer), ["a", "b", "c"]);
    }

    #[test]
    fn what_a_module_is_in_and_what_only_tests_use_is_no_ring() {
        let inside = [("a/mod.rs", "mod b;\nuse b::B;"), ("a/b.rs", "use super::A;\nuse crate::a::C;")];
        assert!(rings(&inside).is_empty());
        let tests = [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}")];
        assert!(rings(&tests).is_empty());
        let file = [
            ("lib.rs", "#[cfg(test)]\nmod hostile;\nmod a;"),
            ("a.rs", "use crate::hostile;"),
            ("hostile.rs", "use super::a;"),
        ];
        assert!(rings(&file).is_empty());
    }
}
