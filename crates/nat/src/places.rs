//! Where a machine may be: at a public address, behind one of four kinds of router or behind a firewall, and where it has IPv6, too.

use std::fmt;
use std::str::FromStr;

/// What `--help` says of places.
pub const HELP: &str = "\
Places:
  public  at a public address, with every port open
  home    behind a router that gives a port of this machine the same port whatever it talks to,
          and lets in only who was talked to: most home routers
  masq    behind Linux's masquerade, which filters by address and port
  sym     behind a router that takes another random port for each destination
  noudp   as masq, and UDP is dropped
  only443 as masq, and lets out only what goes to port 443, where the tracker is then
  dual    as public, and at a public address of IPv6, too
  six     as home, and at a public address of IPv6
  wall    at a public address of each family, behind a firewall that drops what is no answer
  lite    as sym, and at a public address of IPv6 behind a firewall that rejects what is no answer:
          a home whose provider translates IPv4
Those with IPv6 come to the tracker over it if they share something. They are no part of `all`, nor is only443.

It builds them from network namespaces (Linux; root, or a system that lets users have namespaces; ip and nft).";

/// Where a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At a public address.
    Public,
    /// Behind a router with endpoint-independent mapping and address- and port-dependent filtering (RFC 4787).
    Home,
    /// Behind a masquerade.
    Masq,
    /// Behind a router with address- and port-dependent mapping.
    Sym,
    /// Behind a router that drops UDP.
    NoUdp,
    /// Behind a router that lets out only what goes to port 443.
    Only443,
    /// At a public address of each family.
    Dual,
    /// Behind a router as at home, and at a public address of IPv6.
    Six,
    /// At a public address of each family, behind a firewall that drops what is no answer.
    Wall,
    /// Behind a router with address- and port-dependent mapping, and at a public address of IPv6 behind a firewall that rejects
    /// what is no answer.
    Lite,
}

/// All with IPv4 alone.
pub const ALL: [Place; 5] = [Place::Public, Place::Home, Place::Masq, Place::Sym, Place::NoUdp];
/// Those with IPv6.
const WITH_IPV6: [Place; 4] = [Place::Dual, Place::Six, Place::Wall, Place::Lite];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Public => "public",
            Place::Home => "home",
            Place::Masq => "masq",
            Place::Sym => "sym",
            Place::NoUdp => "noudp",
            Place::Only443 => "only443",
            Place::Dual => "dual",
            Place::Six => "six",
            Place::Wall => "wall",
            Place::Lite => "lite",
        }
    }

    /// Whether a direct path to another place exists. Over IPv6 it does where both have it: firewalls let in what answers.
    pub fn reaches(self, other: Place) -> bool {
        let hard = |place| matches!(place, Place::Sym | Place::NoUdp | Place::Lite);
        if self == Place::Only443 || other == Place::Only443 {
            return false;
        }
        let over_ipv6 = self.has_ipv6() && other.has_ipv6();
        over_ipv6 || self.is_open() || other.is_open() || !(hard(self) || hard(other))
    }

    /// Whether every port of it is reached over IPv4.
    pub fn is_open(self) -> bool {
        matches!(self, Place::Public | Place::Dual)
    }

    /// Whether there is a router in front of it for IPv4.
    pub fn has_router(self) -> bool {
        !matches!(self, Place::Public | Place::Dual | Place::Wall)
    }

    /// Whether it has IPv6.
    pub fn has_ipv6(self) -> bool {
        WITH_IPV6.contains(&self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Place {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let found = ALL.into_iter().chain(WITH_IPV6).chain([Place::Only443]).find(|place| place.name() == name);
        found.ok_or_else(|| {
            format!("{name:?} is no place: use public, home, masq, sym, noudp, only443, dual, six, wall or lite")
        })
    }
}
