//! Which names patterns match, and what that costs.

use std::cell::Cell;

use super::*;

thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

pub(super) fn count() {
    STEPS.set(STEPS.get() + 1);
}

/// Each star of the pattern once tried all places again for each place of the one before it.
#[test]
fn a_name_that_almost_fits_costs_its_length_times_the_patterns() {
    let steps = |pattern: &str, path: &str| {
        let glob: Glob = pattern.parse().unwrap();
        STEPS.set(0);
        assert!(!glob.matches(path), "{pattern}");
        STEPS.get()
    };
    let name = "a".repeat(255);
    let path = vec![name.as_str(); 16].join("/");
    for (pattern, paths) in [("*a*a*a*a*a*a*a*b", 1), ("**/*a*a*a*a*b/*a*a*a*c", 2), ("a*/**/?*?*?*?*/**/*[!a]*", 2)] {
        let taken = steps(pattern, &path);
        assert!(taken <= path.len() * pattern.len() * paths, "{pattern}: {taken} steps");
        let twice = steps(pattern, &[path.as_str(); 2].join("/"));
        assert!(twice <= taken * 3, "{pattern}: {taken} steps, then {twice}");
    }
}

/// What shells and other programs take patterns for.
#[test]
fn names_fit_as_the_crate_glob_has_it() {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let patterns = [
        "a",
        "*",
        "?",
        "a*",
        "*a",
        "*a*",
        "a?c",
        "[ab]c",
        "[!ab]c",
        "[a-c]*",
        "[]]",
        "[!]]x",
        "[a-]",
        "[-a]",
        "*.b*",
        "a*b*c",
        "**",
        "a/**",
        "**/a",
        "a/**/c",
        "*/b",
        "a/*/c",
        "**/b/**",
        "a/[b/c]/c",
        "ü*",
        "[à-ü]",
        "a/**/**/c",
        "**/*",
    ];
    let paths = [
        "a", "b", "c", "ab", "ac", "abc", "bc", "cc", "]", "]x", "-", "a.b", ".b", "aXbXc", "abab", "a/b", "a/c",
        "a/b/c", "a/b/b/c", "b/a", "x/b/y", "ü", "über", "é", "b", "a/b/c/d", "", "c/b",
    ];
    for pattern in patterns {
        let theirs = glob::Pattern::new(pattern).unwrap();
        let parts = ParsedPattern::of(pattern, true).parts;
        let ours = Glob { text: String::new(), parts, exact: Vec::new(), of_names: false, unclosed: None };
        for path in paths {
            // A wanted folder means all that is in it.
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let fits = ends.into_iter().any(|end| theirs.matches_with(&path[..end], options));
            assert_eq!(ours.matches(path), fits, "{pattern} {path}");
        }
    }
}

#[test]
fn names_fit_at_any_depth_paths_as_a_whole_and_folders_with_all_in_them() {
    let fits = |pattern: &str, path: &str| pattern.parse::<Glob>().unwrap().matches(path);
    for (pattern, path) in [
        ("*.json", "config.json"),
        ("*.json", "a/b/config.json"),
        ("weights", "weights/1.bin"),
        ("weights/", "weights/deep/1.bin"),
        ("a/*.bin", "a/1.bin"),
        ("a/**", "a/b/c.bin"),
        ("**/c.bin", "a/b/c.bin"),
        ("./a/b", "a/b/c.bin"),
        ("/top.txt", "top.txt"),
        ("model-0000[12]*", "model-00002-of-9.bin"),
        (".hidden", "a/.hidden"),
    ] {
        assert!(fits(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("*.json", "config.json5"),
        ("a/*.bin", "a/b/1.bin"),
        ("/top.txt", "a/top.txt"),
        ("*.JSON", "a.json"),
        ("a/b", "x/a/b"),
    ] {
        assert!(!fits(pattern, path), "{pattern} {path}");
    }
    assert!(["", "/", "./"].iter().all(|text| text.parse::<Glob>().is_err()));
}

#[test]
fn an_exact_name_always_matches() {
    let fits = |pattern: &str, path: &str| Glob::read(pattern, false).unwrap().matches(path);
    for name in ["model[1].bin", "a[", "a[b", "*", "**a", "?", r"a\b", "[]", "[!]", "a[b-]", "x]", "a**"] {
        assert!(fits(name, name) && fits(name, &format!("deep/{name}")), "{name}");
        assert!(fits(&format!("deep/{name}"), &format!("deep/{name}/inside")), "{name}");
    }
    assert!(fits("model[1].bin", "model1.bin"), "it is a pattern, too");
    let choose = |pattern: &str, paths: &[&str]| {
        Glob::choose(&[Glob::read(pattern, false).unwrap()], paths.iter().copied()).unwrap()
    };
    assert_eq!(choose("model[1].bin", &["model1.bin", "model[1].bin"]), [false, true], "it is that file alone");
    assert_eq!(choose("model[12].bin", &["model1.bin", "model2.bin"]), [true, true]);
}

#[test]
fn brackets_and_stars_can_be_escaped() {
    let fits = |pattern: &str, path: &str| Glob::read(pattern, false).unwrap().matches(path);
    for pattern in [r"model\[1\].bin", "model[[]1].bin", "model[[]1[]].bin", r"model[\[]1].bin", r"*\[1\]*"] {
        assert!(fits(pattern, "model[1].bin") && !fits(pattern, "model1.bin"), "{pattern}");
    }
    assert!(fits(r"a\*", "a*") && !fits(r"a\*", "ab"));
    assert!(fits(r"[a\-z]", "-") && !fits(r"[a\-z]", "b") && fits(r"[\]]", "]"));
    assert!(fits(r"\.hidden", ".hidden"));
}

#[test]
fn folders_are_parted_by_backslashes_on_windows() {
    let fits = |pattern: &str, path: &str| Glob::read(pattern, true).unwrap().matches(path);
    assert!(fits(r"data\*.bin", "data/1.bin") && !fits(r"data\*.bin", "x/data/1.bin"));
    assert!(fits(r".\data\", "data/deep/1.bin") && fits(r"\top.txt", "top.txt"));
    assert!(fits(r"data\[ab].bin", "data/a.bin") && fits(r"**\x", "a/b/x"));
    assert!(fits("model[[]1].bin", "model[1].bin"));
}

/// As macOS stores names, and as keyboards type them.
#[test]
fn composed_and_decomposed_accents_are_the_same() {
    let (nfc, nfd) = ("\u{fc}ber.bin", "u\u{308}ber.bin");
    for (pattern, path) in [(nfc, nfd), (nfd, nfc), ("\u{fc}*", nfd), ("u\u{308}*", nfc), ("?ber.bin", nfd)] {
        assert!(pattern.parse::<Glob>().unwrap().matches(path), "{pattern:?} {path:?}");
    }
    assert!(!"u*".parse::<Glob>().unwrap().matches(nfc));
}

#[test]
fn every_pattern_that_matches_nothing_is_named() {
    let globs: Vec<Glob> = ["*.json", "*.jpeg", "a[", "b"].iter().map(|text| text.parse().unwrap()).collect();
    let unmatched = Glob::choose(&globs, ["x.json", "b"].into_iter()).unwrap_err();
    let named: Vec<_> = unmatched.iter().map(|one| (one.pattern.as_str(), one.unclosed)).collect();
    assert_eq!(named, [("*.jpeg", None), ("a[", Some(2))]);
    assert_eq!(Glob::choose(&globs[..1], ["x.json", "b"].into_iter()).unwrap(), [true, false]);
}

#[test]
fn a_hidden_name_is_spelt_out_by_itself_and_by_no_star() {
    let spelt = |pattern: &str, path: &str, hidden: &str| pattern.parse::<Glob>().unwrap().spells_out(path, hidden);
    for pattern in [".bashrc", "/.bashrc", "./.bashrc"] {
        assert!(spelt(pattern, ".bashrc", ".bashrc"), "{pattern}");
    }
    for pattern in [".ssh", ".ssh/config", "/.ssh/"] {
        assert!(spelt(pattern, ".ssh/config", ".ssh"), "{pattern}");
    }
    for pattern in ["*", ".*", ".b*", "?bashrc", "**/.bashrc", ".[b]ashrc"] {
        assert!(!spelt(pattern, ".bashrc", ".bashrc"), "{pattern}");
    }
    for pattern in [".x", "config", ".ssh/other"] {
        assert!(!spelt(pattern, ".ssh/.x", ".ssh") && !spelt(pattern, ".ssh/config", ".ssh"), "{pattern}");
    }
}

#[test]
fn many_brackets_that_are_not_closed_are_read_once() {
    let text = "[".repeat(200_000);
    let glob: Glob = text.parse().unwrap();
    assert_eq!(glob.unclosed, Some(1));
    assert!(glob.matches(&text) && !glob.matches("["));
}
