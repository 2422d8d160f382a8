//! How many sockets of incoming connections a transport may hold. Files need descriptors too, and so do our own dials.

use atomic_file::descriptor_limit;

use crate::handshakes;

/// Most sockets of connections that stand, whatever the system grants.
const MOST: usize = 65_536;

/// Handshakes under way at once, and sockets of connections that stand; of those so many, if it is said.
pub(super) fn room(sockets: Option<usize>) -> (usize, usize) {
    let (handshakes, half) = shared_out(descriptor_limit());
    (handshakes, sockets.unwrap_or(half))
}

/// Sockets of incoming connections that a process has descriptors for which needs them for little else.
pub fn most_sockets() -> usize {
    let granted = descriptor_limit();
    (granted - granted / 8).saturating_sub(handshakes::MOST).max(6)
}

/// Half of all descriptors, of which handshakes get a fourth and no more than they need.
fn shared_out(granted: usize) -> (usize, usize) {
    let half = (granted / 2).max(8);
    let handshakes = (half / 4).min(handshakes::MOST);
    (handshakes, (half - handshakes).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_is_left_to_others() {
        assert_eq!(shared_out(1024), (128, 384));
        assert_eq!(shared_out(4096), (384, 1664));
        assert_eq!(shared_out(usize::MAX), (384, MOST));
        assert_eq!(shared_out(0), (2, 6));
    }
}
