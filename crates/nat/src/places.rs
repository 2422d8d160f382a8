//! Where a machine may be: at a public address, or behind one of four kinds of router.

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
}

/// All of them.
pub const ALL: [Place; 5] = [Place::Public, Place::Home, Place::Masq, Place::Sym, Place::NoUdp];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Public => "public",
            Place::Home => "home",
            Place::Masq => "masq",
            Place::Sym => "sym",
            Place::NoUdp => "noudp",
        }
    }

    /// Whether a direct path to another place exists.
    pub fn reaches(self, other: Place) -> bool {
        let hard = |place| matches!(place, Place::Sym | Place::NoUdp);
        self == Place::Public || other == Place::Public || !(hard(self) || hard(other))
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
        let found = ALL.into_iter().find(|place| place.name() == name);
        found.ok_or_else(|| format!("{name:?} is no place: use public, home, masq, sym or noudp"))
    }
}
