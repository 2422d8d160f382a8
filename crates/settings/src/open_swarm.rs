//! The warning of an open swarm: both programs give it where they serve others.

use std::net::SocketAddr;

/// What to warn of, if anyone may come: no certificate is asked for, and one of these listeners is not on this machine alone.
pub fn open_swarm_warning(listeners: &[SocketAddr], closed: bool) -> Option<String> {
    let beyond = listeners.iter().find(|listener| !listener.ip().is_loopback()).filter(|_| !closed);
    beyond.map(|address| {
        format!(
            "this swarm is open: anyone who reaches {address} may take part and have every file. Close it with --ca, or stay on \
             this machine with --bind 127.0.0.1"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_swarms_beyond_this_machine_are_warned_of() {
        let listeners = ["127.0.0.1:9000".parse().unwrap(), "[::]:9001".parse().unwrap()];
        assert!(open_swarm_warning(&listeners, false).is_some_and(|warning| warning.contains("[::]:9001")));
        assert_eq!(open_swarm_warning(&listeners, true), None);
        assert_eq!(open_swarm_warning(&listeners[..1], false), None);
    }
}
