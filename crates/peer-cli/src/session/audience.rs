//! Who can get what is shared: what a sharer is told of that, and by whom it is decided.

use crate::flags::peer::PeerArguments;
use crate::session::bind::address;

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

    /// A sentence for the sharer of so many contents, each of which has a line of its own.
    pub fn promise(self, open: bool, contents: usize) -> String {
        let who = match (self, open) {
            (Audience::Anyone, true) => "Anyone who reaches this machine",
            (Audience::Anyone, false) => "Only those who have",
            (Audience::ThisMachine, true) => "Only this machine",
            (Audience::ThisMachine, false) => "Only those on this machine who have",
            (Audience::Closed, true) => "Only those with a certificate of its CA",
            (Audience::Closed, false) => "Only those with a certificate of its CA who have",
        };
        match (open, contents) {
            (true, 0 | 1) => format!("{who} can get it."),
            (true, _) => format!("{who} can get them."),
            (false, 0 | 1) => format!("{who} this line can get it."),
            (false, _) => format!("Each line is for one of them. {who} its line can get it."),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_contents_each_has_its_own_line() {
        let said = |open, contents| Audience::Anyone.promise(open, contents);
        assert_eq!(said(false, 1), "Only those who have this line can get it.");
        assert_eq!(said(false, 2), "Each line is for one of them. Only those who have its line can get it.");
        assert_eq!(said(true, 1), "Anyone who reaches this machine can get it.");
        assert_eq!(said(true, 2), "Anyone who reaches this machine can get them.");
    }
}
