//! Whether a request names this machine: by the address that was dialled, as `localhost` on loopback, or by a name of its own.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, Uri};

/// Whether a request names this machine, and nothing else beside it. `own` are names of the machine in small letters, without a full
/// stop behind them, and addresses under which others reach it though it does not have them: behind a router, or in a container.
pub fn names_this_machine(headers: &HeaderMap, target: &Uri, dialled: IpAddr, own: &[String]) -> bool {
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let is_own = |host: &str| is_own(host, dialled, own);
    // A proxy's client puts the host in front of the path.
    host.to_str().is_ok_and(|host| is_own(without_port(host))) && target.host().is_none_or(is_own)
}

fn is_own(host: &str, dialled: IpAddr, own: &[String]) -> bool {
    if let Some(address) = address(host) {
        let dialled = dialled.to_canonical();
        return address == dialled
            || (address.is_loopback() && dialled.is_loopback())
            || own.iter().any(|own| self::address(own) == Some(address));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (dialled.to_canonical().is_loopback() && host == "localhost") || own.contains(&host)
}

/// The address that a host is, in brackets or without.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// `HOST`, `HOST:PORT`, or an IPv6 address in brackets, with a port or without one.
fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split_once(':').map_or(host, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answered(hosts: &[&str], target: &str, dialled: &str) -> bool {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_str(host).unwrap()));
        let mut headers = HeaderMap::new();
        hosts.for_each(|(name, host)| {
            headers.append(name, host);
        });
        let own = ["models.example", "203.0.113.5", "[2001:db8::5]"].map(str::to_owned);
        names_this_machine(&headers, &target.parse().unwrap(), dialled.parse().unwrap(), &own)
    }

    #[test]
    fn a_name_that_leads_here_is_refused() {
        let named = |host: &str| answered(&[host], "/", "127.0.0.1");
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.7:80",
            "[::1]:9",
            "models.example",
            "models.example.:1",
        ] {
            assert!(named(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example:80", "[::2", "models"]
        {
            assert!(!named(host), "{host}");
        }
        assert!(!answered(&[], "/", "127.0.0.1"), "no host");
        assert!(!answered(&["localhost", "evil.example"], "/", "127.0.0.1"), "two hosts");
    }

    #[test]
    fn beyond_loopback_it_is_the_address_that_was_dialled() {
        let named = |host: &str| answered(&[host], "/", "10.0.0.7");
        assert!(named("10.0.0.7:80") && named("models.example"));
        assert!(!named("localhost") && !named("127.0.0.1") && !named("10.0.0.8"));
    }

    #[test]
    fn an_address_that_it_is_said_to_have_counts_whatever_was_dialled() {
        for host in ["203.0.113.5", "203.0.113.5:80", "[::ffff:203.0.113.5]:80", "[2001:db8::5]:80"] {
            assert!(answered(&[host], "/", "172.17.0.2"), "{host}");
        }
        assert!(!answered(&["203.0.113.6"], "/", "172.17.0.2") && !answered(&["[2001:db8::6]"], "/", "172.17.0.2"));
    }

    #[test]
    fn the_host_of_a_proxys_client_counts_too() {
        assert!(answered(&["localhost"], "http://localhost:80/", "127.0.0.1"));
        assert!(!answered(&["localhost"], "http://evil.example/", "127.0.0.1"));
    }
}
