//! The bill of materials of the programs as CycloneDX 1.6, from what cargo reports about this very build (target, features).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::programs::FEATURES_FOR_PEOPLE;

use super::archive;
use crate::cross;

/// A crate: its name and version. No two of the tree differ only in where they are from: deny.toml allows one registry.
type Crate = (String, String);

/// Which crates a program is made of, and which of them each one uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tree {
    uses: BTreeMap<Crate, BTreeSet<Crate>>,
    roots: BTreeSet<Crate>,
}

/// The bill of the programs for a target, as JSON.
pub(super) fn of(target: &str) -> anyhow::Result<String> {
    let tree = |edges: &str| -> anyhow::Result<Tree> {
        let mut command = cargo();
        command.args(["tree", "--locked", "-p", "tracker", "-p", "peer-cli", "--prefix", "depth", "-f", "{p}"]);
        command.args(["--charset", "ascii", "-e", edges, "--target", target]).args(FEATURES_FOR_PEOPLE);
        parse(&cross::output_of(&mut command)?)
    };
    // What is built for the programs, and what only builds them.
    let (inside, all) = (tree("normal")?, tree("normal,build")?);
    let metadata = cross::output_of(cargo().args([
        "metadata",
        "--locked",
        "--format-version=1",
        "--all-features",
        "--filter-platform",
        target,
    ]))?;
    let packages = packages(&serde_json::from_str(&metadata)?)?;
    let checksums = checksums(&std::fs::read_to_string("Cargo.lock").context("Cargo.lock")?)?;
    let mut components = Vec::new();
    for found in all.uses.keys() {
        let package =
            packages.get(found).with_context(|| format!("cargo metadata knows no {} {}", found.0, found.1))?;
        components.push(component(found, package, checksums.get(found), inside.uses.contains_key(found)));
    }
    let depends = |on: &BTreeSet<Crate>| on.iter().map(reference).collect::<Vec<_>>();
    let mut dependencies: Vec<_> =
        all.uses.iter().map(|(of, on)| json!({"ref": reference(of), "dependsOn": depends(on)})).collect();
    let version = env!("CARGO_PKG_VERSION");
    let whole = format!("p2p-fileshare@{version}?target={target}");
    dependencies.push(json!({"ref": whole, "dependsOn": depends(&all.roots)}));
    let compiler = cross::output_of(Command::new("rustc").arg("--version"))?;
    let mut bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": archive::timestamp(archive::time()?),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "rustc", "version": compiler.trim()}]},
            "component": {
                "type": "application", "bom-ref": whole, "name": "p2p-fileshare", "version": version,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "properties": [{"name": "cargo:target", "value": target}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    bill["serialNumber"] = Value::from(serial_number(&bill));
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// Writes it beside an archive, as `NAME.cdx.json`.
pub(super) fn write(target: &str, output: &Path) -> anyhow::Result<std::path::PathBuf> {
    let path = output.join(format!("p2p-fileshare-{}-{target}.cdx.json", env!("CARGO_PKG_VERSION")));
    std::fs::write(&path, of(target).with_context(|| format!("the bill of materials for {target}"))?)?;
    Ok(path)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn reference((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// A number of its own for each content, and the same for the same one.
fn serial_number(bill: &Value) -> String {
    let digest = Sha256::digest(bill.to_string());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Version 8 of RFC 9562: made by a rule of one's own.
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// What `cargo tree --prefix depth` prints: each line begins with how deep it is, and what is marked `(*)` was shown with what it
/// uses before.
fn parse(text: &str) -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    let mut above: Vec<Crate> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (depth, rest) = line.split_at(digits);
        let depth: usize = depth.parse().with_context(|| format!("cargo tree says {line:?}"))?;
        let mut words = rest.split_whitespace();
        let (name, version) = words.next().zip(words.next()).with_context(|| format!("cargo tree says {line:?}"))?;
        let found = (name.to_owned(), version.trim_start_matches('v').to_owned());
        ensure!(depth <= above.len(), "cargo tree leaves out a level before {line:?}");
        above.truncate(depth);
        match above.last() {
            Some(user) => drop(tree.uses.entry(user.clone()).or_default().insert(found.clone())),
            None => drop(tree.roots.insert(found.clone())),
        }
        tree.uses.entry(found.clone()).or_default();
        above.push(found);
    }
    ensure!(!tree.roots.is_empty(), "cargo tree shows nothing");
    Ok(tree)
}

fn packages(metadata: &Value) -> anyhow::Result<BTreeMap<Crate, Value>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let named = packages.iter().filter_map(|package| {
        Some(((package["name"].as_str()?.to_owned(), package["version"].as_str()?.to_owned()), package.clone()))
    });
    Ok(named.collect())
}

/// SHA-256 of the packages that were downloaded, from Cargo.lock.
fn checksums(lock: &str) -> anyhow::Result<BTreeMap<Crate, String>> {
    let mut found = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let name = value("name").zip(value("version")).context("Cargo.lock has a package without a name")?;
        found.extend(value("checksum").map(|checksum| (name, checksum)));
    }
    Ok(found)
}

fn component(found: &Crate, package: &Value, checksum: Option<&String>, is_inside: bool) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": reference(found), "name": found.0, "version": found.1,
        "purl": reference(found), "scope": if is_inside { "required" } else { "excluded" },
    });
    component["licenses"] = match package["license"].as_str() {
        // As crates of before 2018 wrote it.
        Some(license) => json!([{"expression": license.replace('/', " OR ")}]),
        None => json!([{"license": {"name": "in a file of the package"}}]),
    };
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = package["repository"].as_str().filter(|url| url.starts_with("https://")) {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Crate {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn a_tree_is_read_with_what_was_shown_before() {
        let text = "0a v1.0.0 (/x)\n1b v1.0.0\n2c v1.0.0 (proc-macro)\n1c v1.0.0 (proc-macro) (*)\n\n0b v1.0.0 (*)\n";
        let tree = parse(text).unwrap();
        assert_eq!(tree.roots, [named("a"), named("b")].into());
        assert_eq!(tree.uses[&named("a")], [named("b"), named("c")].into());
        assert_eq!(tree.uses[&named("b")], [named("c")].into());
        assert!(tree.uses[&named("c")].is_empty());
        assert!(parse("").is_err() && parse("a v1").is_err() && parse("0a v1\n2b v1").is_err());
    }

    #[test]
    fn checksums_are_those_of_the_lock() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";
        assert_eq!(checksums(lock).unwrap(), BTreeMap::from([(named("a"), "ff".to_owned())]));
    }

    #[test]
    fn old_licences_are_expressions_and_tools_of_the_build_are_not_inside() {
        let component = component(&named("a"), &json!({"license": "MIT/Apache-2.0"}), None, false);
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component["scope"], "excluded");
        assert_eq!(component["purl"], "pkg:cargo/a@1.0.0");
    }

    #[test]
    fn a_serial_number_is_a_uuid_of_the_content() {
        let number = serial_number(&json!({"a": 1}));
        assert_eq!(number.len(), "urn:uuid:".len() + 36, "{number}");
        assert!(number == serial_number(&json!({"a": 1})) && number != serial_number(&json!({"a": 2})));
    }
}
