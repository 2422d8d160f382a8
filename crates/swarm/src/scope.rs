//! How far an address leads: what decides who may be told of it, and by whom one lets oneself be told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It cannot be dialled, or nobody can say where it leads.
    Nowhere,
    /// To the machine that dials.
    Loopback,
    /// To the link of the one that dials.
    Link,
    /// Into a network of the one that dials, and nowhere outside of it.
    Private,
    /// To the same place for every dialler.
    Public,
}

impl Scope {
    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                match ip {
                    _ if ip.is_loopback() => Scope::Loopback,
                    // Of 0.0.0.0/8 the first is this machine for some systems.
                    _ if a == 0 || a >= 224 => Scope::Nowhere,
                    _ if ip.is_link_local() => Scope::Link,
                    // The shared space of RFC 6598 is private, as overlay networks use it, and so is that of RFC 2544.
                    _ if ip.is_private() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18) => {
                        Scope::Private
                    }
                    _ => Scope::Public,
                }
            }
            IpAddr::V6(ip) => match embedded(ip) {
                _ if ip.is_loopback() => Scope::Loopback,
                // Those of a link mean nothing without the interface's name.
                _ if ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() => Scope::Nowhere,
                // fec0::/10 are the site's addresses of old.
                _ if ip.is_unique_local() || ip.segments()[0] & 0xffc0 == 0xfec0 => Scope::Private,
                Some(inner) if Scope::of(inner.into()) != Scope::Public => Scope::Nowhere,
                _ => Scope::Public,
            },
        }
    }
}

/// The IPv4 address that a translated address leads to: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), IPv4-compatible.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] | [0, 0, 0, 0, 0, 0, ..] => {
            Some(Ipv4Addr::from_bits(bits as u32))
        }
        [0x2002, ..] => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_scope_whatever_it_is_dressed_as() {
        let rows: [(Scope, &[&str]); 5] = [
            (Scope::Loopback, &["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"]),
            (Scope::Link, &["169.254.169.254", "::ffff:169.254.0.1"]),
            (
                Scope::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.9.9",
                    "192.168.1.1",
                    "100.64.0.1",
                    "198.18.0.1",
                    "fd00::1",
                    "fec0::1",
                ],
            ),
            (
                Scope::Nowhere,
                &[
                    "0.0.0.0",
                    "0.0.0.1",
                    "224.0.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::",
                    "ff02::1",
                    "fe80::1",
                    "64:ff9b::7f00:1",
                    "64:ff9b::c0a8:101",
                    "64:ff9b:1::a9fe:a9fe",
                    "2002:a00:1::1",
                    "2002:7f00:1::1",
                    "::10.0.0.1",
                ],
            ),
            (
                Scope::Public,
                &[
                    "8.8.8.8",
                    "100.63.0.1",
                    "100.128.0.1",
                    "172.15.0.1",
                    "172.32.0.1",
                    "64:ff9b::808:808",
                    "2001:4860::8888",
                ],
            ),
        ];
        for (scope, addresses) in rows {
            for address in addresses {
                assert_eq!(Scope::of(address.parse().unwrap()), scope, "{address}");
            }
        }
    }
}
