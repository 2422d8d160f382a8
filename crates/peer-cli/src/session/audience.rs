//! Who can get what is shared: what a sharer is told of that, and by whom it is decided.

use crate::flags::peer::PeerArguments;
use crate::session::connect::address;

/// Those who can get what is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everyone on a network from which this machine can be reached.
    Anyone,
    /// Everyone on this machine.
    ThisMachine,
    /// Those with a certificate of the swarm's CA.
    Closed,
}

impl Audience {
    /// Those who can get what is shared openly with these arguments. What is shared privately, those among them get who have its
    /// ticket.
    pub fn of(arguments: &PeerArguments) -> Self {
        if !arguments.ca.is_empty() {
            Audience::Closed
        } else if address(arguments).is_loopback() {
            Audience::ThisMachine
        } else {
            Audience::Anyone
        }
    }

    /// A sentence for the sharer.
    pub fn promise(self, open: bool) -> &'static str {
        match (self, open) {
            (Audience::Anyone, true) => "Anyone who reaches this machine can get it.",
            (Audience::Anyone, false) => "Only those who have this line can get it.",
            (Audience::ThisMachine, true) => "Only this machine can get it.",
            (Audience::ThisMachine, false) => "Only those on this machine who have this line can get it.",
            (Audience::Closed, true) => "Only those with a certificate of its CA can get it.",
            (Audience::Closed, false) => "Only those with a certificate of its CA who have this line can get it.",
        }
    }

    /// A warning, with what to do, where one is due.
    pub fn warning(self) -> Option<&'static str> {
        (self == Audience::Anyone).then_some(
            "This swarm is open: anyone who reaches this machine can take part and get every file. --ca closes it, --bind \
             127.0.0.1 keeps it on this machine.",
        )
    }
}
