//! What tells this tracker from others that have the same key, and is the same after a restart: the machine's name and the port.

use std::fs;

use protocol::{Digest, PeerId};

/// Where the machine's name stands, as far as the system has such a file; the first is that of a container.
const FILES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];
/// Variables that have it elsewhere.
const VARIABLES: [&str; 2] = ["HOSTNAME", "COMPUTERNAME"];

/// The label of a tracker on this machine.
pub(crate) fn label(id: PeerId, port: u16) -> [u8; 16] {
    let named = FILES.iter().find_map(|file| fs::read_to_string(file).ok());
    let named = named.or_else(|| VARIABLES.iter().find_map(|variable| std::env::var(variable).ok()));
    of(id, named.unwrap_or_default().trim(), port)
}

fn of(id: PeerId, machine: &str, port: u16) -> [u8; 16] {
    let bytes = [b"p2p-fileshare tracker label".as_slice(), &id.0.0, &port.to_be_bytes(), machine.as_bytes()].concat();
    let mut label = [0; 16];
    label.copy_from_slice(&Digest::of(&bytes).0[..16]);
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_outlives_a_restart_and_tells_machines_and_ports_apart() {
        let id = PeerId::of_public_key(b"tracker");
        assert_eq!(label(id, 9999), label(id, 9999));
        assert_ne!(of(id, "tracker-0", 9999), of(id, "tracker-1", 9999));
        assert_ne!(of(id, "tracker-0", 9999), of(id, "tracker-0", 9998));
    }
}
