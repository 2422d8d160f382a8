//! Where redirects may lead. What a server on the web redirects to is read and shared with others: it must not choose a router, a metadata
//! service or a file server in the networks of this machine. What the user named may be there; so may be what that redirects to.
//!
//! A proxy resolves names itself: behind one, only addresses are refused.
//!
//! What a manifest names was chosen by a stranger. Of that only hosts are asked that the user allowed, never by a proxy, and no address in
//! a private network that was not itself allowed, wherever a name or a redirect leads.

use std::env;
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::Host;

/// Most redirects that are followed for one request.
const REDIRECTS: usize = 8;

/// It leads into a network of this machine.
#[derive(Debug, thiserror::Error)]
#[error("it leads to an address in a private network")]
pub(crate) struct Inward;

/// Who named the host (the user or a manifest), the proxies, and whether the host is itself in a private network.
#[derive(Clone)]
pub(crate) struct Named(Arc<Inner>);

struct Inner {
    by: By,
    /// Of proxies, which are the user's choice, too.
    proxies: Vec<String>,
    /// It is itself in a private network.
    is_inside: AtomicBool,
}

/// Who named what is read.
enum By {
    /// The user, this host.
    User(String),
    /// A manifest. The user allowed these addresses.
    Stranger(Vec<IpAddr>),
}

/// The hosts of which a manifest may name origins, as the user allowed them.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<String>);

impl Allowed {
    /// These names and addresses.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Allowed(hosts.into_iter().map(|host| plain(&host).to_ascii_lowercase()).collect())
    }

    /// Whether a URL leads to one of them at first.
    pub(crate) fn has(&self, url: &Url) -> bool {
        let host = url.host_str().map(plain).unwrap_or_default();
        self.0.iter().any(|allowed| allowed == host || allowed.parse().is_ok_and(|ip: IpAddr| address(url) == Some(ip)))
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.0.iter().filter_map(|host| host.parse().ok()).map(|ip: IpAddr| ip.to_canonical()).collect()
    }
}

/// An address of IPv6 without the brackets that it has in URLs.
fn plain(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl Named {
    /// What a manifest names.
    pub(crate) fn by_stranger(allowed: &Allowed) -> Self {
        let by = By::Stranger(allowed.addresses());
        Named(Arc::new(Inner { by, proxies: Vec::new(), is_inside: AtomicBool::new(false) }))
    }

    /// Whether proxies may be asked.
    pub(crate) fn may_use_proxies(&self) -> bool {
        matches!(self.0.by, By::User(_))
    }

    /// Whether an address may be asked for what is elsewhere than the user said.
    fn leads_in(&self, ip: IpAddr) -> bool {
        let is_allowed = matches!(&self.0.by, By::Stranger(allowed) if allowed.contains(&ip.to_canonical()));
        !is_allowed && !is_public(ip)
    }

    /// The host of a URL.
    pub(crate) fn new(url: &Url) -> Self {
        let is_inside = address(url).is_some_and(|address| !is_public(address));
        Named::at(url.host_str().unwrap_or_default(), is_inside)
    }

    /// A host that is or is not in a private network, as far as is known.
    pub(crate) fn at(host: &str, is_inside: bool) -> Self {
        let by = By::User(host.to_owned());
        Named(Arc::new(Inner { by, proxies: proxies(), is_inside: AtomicBool::new(is_inside) }))
    }

    fn is_inside(&self) -> bool {
        self.0.is_inside.load(Ordering::Relaxed)
    }

    /// Follows a few redirects, none from `https` to `http`, and none inwards.
    pub(crate) fn policy(&self) -> Policy {
        let named = self.clone();
        Policy::custom(move |attempt| {
            let from_tls = attempt.previous().iter().any(|url| url.scheme() == "https");
            let leads_in = address(attempt.url()).is_some_and(|address| named.leads_in(address));
            if attempt.previous().len() > REDIRECTS {
                attempt.error("it redirects again and again")
            } else if from_tls && attempt.url().scheme() != "https" {
                attempt.error("it redirects from https to http")
            } else if leads_in && !named.is_inside() {
                attempt.error(Inward)
            } else {
                attempt.follow()
            }
        })
    }

    /// Whether a server there may lead to this URL otherwise than by a redirect: by the same rules.
    pub(crate) fn may_lead_to(&self, from: &Url, url: &Url) -> bool {
        let leads_in = address(url).is_some_and(|address| !is_public(address));
        let is_web = matches!(url.scheme(), "http" | "https");
        is_web && (from.scheme() != "https" || url.scheme() == "https") && (!leads_in || self.is_inside())
    }

    /// Only the addresses of a name that may be asked.
    fn allowed(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Inward> {
        let leads_in = |address: &SocketAddr| self.leads_in(address.ip());
        if matches!(&self.0.by, By::User(host) if name == host) {
            if found.iter().any(leads_in) {
                self.0.is_inside.store(true, Ordering::Relaxed);
            }
            return Ok(found);
        }
        if self.is_inside() || self.0.proxies.iter().any(|proxy| proxy == name) {
            return Ok(found);
        }
        let (inside, outside): (Vec<_>, Vec<_>) = found.into_iter().partition(leads_in);
        if outside.is_empty() && !inside.is_empty() { Err(Inward) } else { Ok(outside) }
    }
}

impl Resolve for Named {
    fn resolve(&self, name: Name) -> Resolving {
        let named = self.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = named.allowed(name.as_str(), found)?;
            if allowed.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether a request failed because it would have led inwards.
pub(crate) fn is_inward(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<Inward>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The address that a URL has for a host, if it is no name.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The hosts of the proxies of this process.
fn proxies() -> Vec<String> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let names = names.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_lowercase()]);
    let host = |text: String| {
        let url = if text.contains("://") { text } else { format!("http://{text}") };
        Url::parse(&url).ok()?.host_str().map(str::to_owned)
    };
    names.filter_map(|name| env::var(name).ok()).filter_map(host).collect()
}

/// Whether an address leads to the same place for everyone.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special addresses (RFC 6890).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0xfe == 18);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let within = |first: usize| Ipv4Addr::from((u32::from(parts[first]) << 16) | u32::from(parts[first + 1]));
    match parts {
        // Translated addresses lead where those within lead.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(within(6)),
        [0x2002, ..] => is_public_v4(within(1)),
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        // Only these are given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_own_networks_are_told_from_public_ones() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "2606:4700::1", "2001:4860::8888", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn what_a_manifest_names_leads_inwards_only_to_addresses_that_were_allowed() {
        let allowed = Allowed::new(["Host".to_owned(), "10.0.0.1".to_owned(), "[fd00::1]".to_owned()]);
        let url = |text: &str| Url::parse(text).unwrap();
        for text in ["https://host/a", "http://10.0.0.1:81/a", "http://0xa.1/a", "http://[fd00::1]/a", "http://HOST/"] {
            assert!(allowed.has(&url(text)), "{text}");
        }
        for text in ["https://host.evil/a", "https://evil/host", "http://10.0.0.2/a", "http://host./a", "http://[::1]/"]
        {
            assert!(!allowed.has(&url(text)), "{text}");
        }
        let named = Named::by_stranger(&allowed);
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        // Its own name is believed as little as any other: it may lead anywhere by the next question.
        for name in ["host", "other"] {
            assert!(named.allowed(name, addresses(&["127.0.0.1:0", "169.254.169.254:0", "[fd00::2]:0"])).is_err());
            let both = addresses(&["10.0.0.1:0", "192.168.0.1:0", "1.1.1.1:0", "[::ffff:10.0.0.1]:0"]);
            let kept = addresses(&["10.0.0.1:0", "1.1.1.1:0", "[::ffff:10.0.0.1]:0"]);
            assert_eq!(named.allowed(name, both).unwrap(), kept);
        }
        assert!(!named.is_inside() && !named.may_use_proxies());
    }

    #[test]
    fn of_a_name_elsewhere_only_public_addresses_are_asked() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let named = Named::at("host", false);
        let both = addresses(&["10.0.0.1:0", "1.1.1.1:0"]);
        assert_eq!(named.allowed("other", both.clone()).unwrap(), addresses(&["1.1.1.1:0"]));
        assert!(named.allowed("other", addresses(&["127.0.0.1:0", "[::1]:0"])).is_err());
        assert_eq!(named.allowed("host", addresses(&["1.1.1.1:0"])).unwrap().len(), 1);
        assert!(!named.is_inside());
        // One that is itself inside may redirect there.
        assert_eq!(named.allowed("host", addresses(&["10.0.0.1:0"])).unwrap().len(), 1);
        assert_eq!(named.allowed("other", both.clone()).unwrap(), both);
    }

    #[test]
    fn a_server_on_the_web_names_no_service_in_a_network_of_this_machine() {
        let url = |text: &str| Url::parse(text).unwrap();
        let named = Named::at("host", false);
        for (from, to, may) in [
            ("https://host", "https://auth.example/token", true),
            ("http://host", "http://auth.example/token", true),
            ("https://host", "http://auth.example/token", false),
            ("https://host", "https://169.254.169.254/token", false),
            ("http://host", "http://[::1]/token", false),
            ("http://host", "file:///etc/passwd", false),
        ] {
            assert_eq!(named.may_lead_to(&url(from), &url(to)), may, "{from} {to}");
        }
        assert!(Named::at("10.0.0.1", true).may_lead_to(&url("http://10.0.0.1"), &url("http://10.0.0.2/token")));
    }
}
