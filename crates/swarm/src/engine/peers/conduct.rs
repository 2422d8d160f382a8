//! How a peer behaves: what it sends wrong, and when it is shut out for that.

use std::time::Duration;

use protocol::PeerId;

use super::flood::MessageBudget;
use crate::engine::Engine;
use crate::event::ConnId;

/// A peer that sent wrong pieces may say within this time that it withdraws the content, because its file was changed under it.
const MERCY: Duration = Duration::from_secs(1);

/// What a peer did on its connection that it should not have done.
#[derive(Debug)]
pub(crate) struct Conduct {
    /// Work that its messages may still make.
    pub(crate) messages: MessageBudget,
    /// Others of the site that it says it is in waited in vain for what it said to have: so many bytes have to have gone either way before its
    /// word about that counts again.
    pub(crate) doubt: Option<u64>,
    /// Wrong pieces.
    wrong: u32,
    /// It sent too many: when it is shut out, unless it withdraws the content by then.
    condemned: Option<Duration>,
}

impl Conduct {
    /// A suspect comes from an address whose strangers misbehaved; `debt` is work that they have had us do.
    pub(crate) fn new(now: Duration, suspect: bool, doubt: Option<u64>, debt: u64) -> Self {
        let doubt = if suspect { Some(u64::MAX) } else { doubt };
        Conduct { messages: MessageBudget::new(now, suspect, debt), doubt, wrong: 0, condemned: None }
    }

    /// Whether it never sent anything wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong == 0
    }

    /// It sent something wrong. Whether that was once too often: from the `most`th time on, until it is condemned.
    fn count_wrong(&mut self, most: u32) -> bool {
        self.wrong += 1;
        self.wrong >= most && self.condemned.is_none()
    }

    fn condemn(&mut self, now: Duration) {
        self.condemned = Some(now + MERCY);
    }

    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.is_some()
    }

    fn is_due(&self, now: Duration) -> bool {
        self.condemned.is_some_and(|at| now >= at)
    }

    fn forgive(&mut self) {
        (self.condemned, self.wrong) = (None, 0);
    }
}

impl Engine {
    /// A peer sent something wrong. After too much of it, it is asked for nothing more, and shut out soon.
    pub(crate) fn count_wrong(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if !state.conduct.count_wrong(self.config.wrong_pieces) {
            return;
        }
        if self.peers.was_pardoned_enough(&state.peer.id) {
            return self.ban(conn);
        }
        state.conduct.condemn(self.now);
        state.download.not_before = Duration::MAX;
        state.download.offers.clear();
        let requests = state.download.requests.clone();
        self.give_up(requests);
    }

    /// A peer withdraws a content: if that is why it sent wrong pieces, they are forgiven.
    pub(crate) fn pardon(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn).filter(|state| state.conduct.is_condemned()) else { return };
        state.conduct.forgive();
        state.download.not_before = self.now;
        self.peers.pardon(state.peer.id);
    }

    /// Shuts out the peers that were condemned and have not withdrawn anything.
    pub(crate) fn ban_condemned(&mut self) {
        let due = self.conns.iter().filter(|(_, state)| state.conduct.is_due(self.now));
        let due: Vec<ConnId> = due.map(|(&conn, _)| conn).collect();
        due.into_iter().for_each(|conn| self.ban(conn));
    }

    /// Shuts a peer out for good.
    pub(crate) fn ban(&mut self, conn: ConnId) {
        let Some(peer) = self.conns.get(&conn).map(|state| state.peer.id) else { return };
        self.shut_out(peer);
        self.close(conn, "it sent wrong pieces");
    }

    pub(crate) fn shut_out(&mut self, peer: PeerId) {
        if self.peers.ban(peer) {
            let knowing: Vec<_> = self.knowers.of(&peer).collect();
            for id in knowing {
                self.knowers.remove(&peer, &id);
                if let Some(content) = self.contents.get_mut(&id) {
                    content.known.forget(&peer);
                }
            }
            self.actions.banned(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condemned_peer_has_a_second_to_withdraw() {
        let (now, mut conduct) = (Duration::from_secs(10), Conduct::new(Duration::ZERO, false, None, 0));
        assert!(!conduct.count_wrong(3) && !conduct.count_wrong(3) && conduct.count_wrong(3));
        conduct.condemn(now);
        assert!(!conduct.count_wrong(3), "it is condemned once");
        assert!(conduct.is_condemned() && !conduct.is_due(now) && conduct.is_due(now + MERCY));
        conduct.forgive();
        assert!(conduct.is_clean() && !conduct.is_condemned() && !conduct.count_wrong(3));
    }
}
