//! Who this user is to a registry, as the programs that pull images find out: from the file that `docker login` and `skopeo login`
//! write.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Most bytes of that file.
const LONGEST: u64 = 1 << 20;
/// How that of the public registry is called in it.
const PUBLIC: &str = "https://index.docker.io/v1/";

/// The credentials for a registry, as they stand behind `Basic`: of `REGISTRY_AUTH_FILE`, or `config.json` of `DOCKER_CONFIG` or
/// `~/.docker`. Those that a helper program keeps are not asked for.
pub fn login(registry: &str) -> Option<String> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = || variable("DOCKER_CONFIG").or_else(|| Some(env::home_dir()?.join(".docker")));
    let path = variable("REGISTRY_AUTH_FILE").or_else(|| Some(config()?.join("config.json")))?;
    of_file(&read(&path)?, registry)
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn of_file(text: &str, registry: &str) -> Option<String> {
    let file: Value = serde_json::from_str(text).ok()?;
    let auths = file["auths"].as_object()?;
    let names = [registry.to_owned(), format!("https://{registry}"), format!("https://{registry}/")];
    let public = (registry == "docker.io").then(|| PUBLIC.to_owned());
    let found = names.iter().chain(&public).find_map(|name| auths.get(name)?["auth"].as_str())?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    (!found.is_empty() && found.bytes().all(is_plain)).then(|| found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_that_of_its_own_registry() {
        let file = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"auth": "Yzpk"}, "x": {"auth": "a\nb"}}}"#;
        assert_eq!(of_file(file, "ghcr.io").as_deref(), Some("YTpi"));
        assert_eq!(of_file(file, "docker.io").as_deref(), Some("Yzpk"));
        assert_eq!(of_file(file, "x"), None);
        assert_eq!(of_file(file, "quay.io"), None);
        assert_eq!(of_file("{", "quay.io"), None);
    }
}
