//! Who this user is to a registry, as the programs that pull images find out: from the file that `docker login` and `skopeo login`
//! write.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::Value;
use url::Host;

use super::credentials::Credentials;
use super::helper;

/// Most bytes of that file.
const LONGEST: u64 = 1 << 20;
/// Where skopeo and podman write it.
const SKOPEO: &str = "containers/auth.json";
/// Where the public registry is, and what it is called in that file.
const PUBLIC: (&str, [&str; 2]) = ("registry-1.docker.io", ["docker.io", "https://index.docker.io/v1/"]);

/// The credentials for the registry at this address: of `REGISTRY_AUTH_FILE`, or else of
/// `containers/auth.json` of `XDG_RUNTIME_DIR` or `~/.config`, or `config.json` of `DOCKER_CONFIG` or `~/.docker`.
/// Where that names a program that keeps them (`credHelpers`, `credsStore`), it is asked first, which may take some seconds. What a registry is called here does not count:
/// the login of one never goes to another host that stands in for it.
pub fn login(url: &str) -> Option<Credentials> {
    let url = Url::parse(url).ok()?;
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let files = match variable("REGISTRY_AUTH_FILE") {
        Some(file) => vec![file],
        None => {
            let home = |folder: &str| Some(env::home_dir()?.join(folder));
            let configuration = variable("XDG_CONFIG_HOME").or_else(|| home(".config"));
            let skopeo = [variable("XDG_RUNTIME_DIR"), configuration].map(|folder| Some(folder?.join(SKOPEO)));
            let docker = variable("DOCKER_CONFIG").or_else(|| home(".docker"));
            skopeo.into_iter().flatten().chain(docker.map(|folder| folder.join("config.json"))).collect()
        }
    };
    files.iter().find_map(|path| of_file(&read(path)?, &url, &helper::login))
}

/// Whether a password may go to this address: others on the way must not read it.
pub(super) fn may_go_to(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || is_here
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The login that a file has, or a helper that it names: that is asked for the name under which a login stands with it.
fn of_file(text: &str, url: &Url, ask: &dyn Fn(&str, &str) -> Option<Credentials>) -> Option<Credentials> {
    let file: Value = serde_json::from_str(text).ok()?;
    let host = url.host_str()?;
    let with_port = format!("{host}:{}", url.port_or_known_default()?);
    let mut names = Vec::new();
    for name in url.port().is_none().then_some(host).into_iter().chain([&*with_port]) {
        names.extend([name.to_owned(), format!("{}://{name}", url.scheme()), format!("{}://{name}/", url.scheme())]);
    }
    if host == PUBLIC.0 && url.scheme() == "https" && url.port().is_none() {
        names.extend(PUBLIC.1.map(str::to_owned));
    }
    let own = names.iter().find_map(|name| Some((file["credHelpers"].get(name)?.as_str()?, name)));
    // All others are with one, each under one name.
    let usual = names.last().filter(|name| PUBLIC.1.contains(&name.as_str())).or(names.first());
    let helper = own.or_else(|| file["credsStore"].as_str().filter(|helper| !helper.is_empty()).zip(usual));
    if let Some(login) = helper.and_then(|(helper, name)| ask(helper, name)) {
        return Some(login);
    }
    names.iter().find_map(|name| stored(file["auths"].get(name)?))
}

/// A login that stands in the file itself.
fn stored(entry: &Value) -> Option<Credentials> {
    // What stands beside it is a user without a password.
    if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
        return Some(Credentials::Identity(token.to_owned()));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let found = entry["auth"].as_str().filter(|found| !found.is_empty() && found.bytes().all(is_plain))?;
    Some(Credentials::Basic(found.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(login: &str) -> Credentials {
        Credentials::Basic(login.to_owned())
    }

    #[test]
    fn a_login_is_that_of_its_own_registry() {
        let file = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"auth": "Yzpk"}, "x": {"auth": "a\nb"},
            "127.0.0.1:5000": {"auth": "ZTpm"}, "x.azurecr.io": {"auth": "MDA6", "identitytoken": "ey.J"}}}"#;
        let none = |_: &str, _: &str| None;
        let of = |url: &str| of_file(file, &Url::parse(url).unwrap(), &none);
        assert_eq!(of("https://x.azurecr.io"), Some(Credentials::Identity("ey.J".to_owned())));
        for (url, login) in [
            ("https://ghcr.io", Some("YTpi")),
            ("https://ghcr.io:443/sub", Some("YTpi")),
            ("https://ghcr.io:5000", None),
            ("https://registry-1.docker.io", Some("Yzpk")),
            ("http://registry-1.docker.io", None),
            ("https://registry-1.docker.io:5000", None),
            ("http://127.0.0.1:5000", Some("ZTpm")),
            ("http://127.0.0.1:5001", None),
            ("https://mirror.example", None),
            ("https://x", None),
            ("https://quay.io", None),
        ] {
            assert_eq!(of(url), login.map(basic), "{url}");
        }
        assert_eq!(of_file("{", &Url::parse("https://quay.io").unwrap(), &none), None);
    }

    #[test]
    fn a_helper_is_asked_under_the_name_that_it_knows() {
        let file = r#"{"credHelpers": {"ghcr.io": "own", "127.0.0.1:5000": "own"}, "credsStore": "all",
            "auths": {"https://index.docker.io/v1/": {}, "quay.io": {"auth": "YTpi"}}}"#;
        let of = |url: &str| {
            let asked =
                |helper: &str, server: &str| (server != "quay.io").then(|| basic(&format!("{helper} {server}")));
            of_file(file, &Url::parse(url).unwrap(), &asked)
        };
        for (url, expected) in [
            ("https://ghcr.io", "own ghcr.io"),
            ("http://127.0.0.1:5000", "own 127.0.0.1:5000"),
            ("https://registry-1.docker.io", "all https://index.docker.io/v1/"),
            ("https://mirror.example:5000", "all mirror.example:5000"),
            ("https://quay.io", "YTpi"),
        ] {
            assert_eq!(of(url), Some(basic(expected)), "{url}");
        }
    }

    #[test]
    fn a_password_goes_over_plain_http_to_this_machine_only() {
        for (url, may) in [
            ("https://10.0.0.1", true),
            ("http://127.0.0.1:5000", true),
            ("http://[::1]:5000", true),
            ("http://localhost:5000", true),
            ("http://10.0.0.1:5000", false),
            ("http://localhost.example", false),
            ("http://mirror", false),
        ] {
            assert_eq!(may_go_to(&Url::parse(url).unwrap()), may, "{url}");
        }
    }
}
