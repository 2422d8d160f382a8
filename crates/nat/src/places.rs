//! Where a machine may be: at a public address or behind one of four kinds of router, and where it has IPv6, too.

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
  dual    as public, and at a public address of IPv6, too
  six     as home, and at a public address of IPv6
Those with IPv6 come to the tracker over it if they share something. They are no part of `all`.

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
    /// At a public address of each family.
    Dual,
    /// Behind a router as at home, and at a public address of IPv6.
    Six,
}

/// All with IPv4 alone.
pub const ALL: [Place; 5] = [Place::Public, Place::Home, Place::Masq, Place::Sym, Place::NoUdp];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Public => "public",
            Place::Home => "home",
            Place::Masq => "masq",
            Place::Sym => "sym",
            Place::NoUdp => "noudp",
            Place::Dual => "dual",
            Place::Six => "six",
        }
    }

    /// Whether a direct path to another place exists.
    pub fn reaches(self, other: Place) -> bool {
        let hard = |place| matches!(place, Place::Sym | Place::NoUdp);
        let over_ipv6 = self.has_ipv6() && other.has_ipv6();
        over_ipv6 || self.is_open() || other.is_open() || !(hard(self) || hard(other))
    }

    /// Whether every port of it is reached over IPv4.
    pub fn is_open(self) -> bool {
        matches!(self, Place::Public | Place::Dual)
    }

    /// Whether it has IPv6.
    pub fn has_ipv6(self) -> bool {
        matches!(self, Place::Dual | Place::Six)
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
        let found = ALL.into_iter().chain([Place::Dual, Place::Six]).find(|place| place.name() == name);
        found.ok_or_else(|| format!("{name:?} is no place: use public, home, masq, sym, noudp, dual or six"))
    }
}
