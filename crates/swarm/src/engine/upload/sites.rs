//! Which peers are near: peers say which site they are in, and what one of a site gets is left to it to pass on there.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ContentId;

use crate::engine::participation::Participation;
use crate::engine::peers::connection::Connection;
use crate::engine::{Engine, STARVING};

/// How long a stranger's word about its site counts.
const BELIEVED: Duration = Duration::from_secs(1);

/// The parts that peers of each site take in one content.
pub(super) type Sites<'a> = BTreeMap<&'a str, Vec<&'a Participation>>;

impl Engine {
    /// Whether a peer is in another place than this one, as far as both said where they are.
    pub(crate) fn is_far(&self, state: &Connection) -> bool {
        !self.site.is_empty() && !state.peer.site.is_empty() && state.peer.site != self.site
    }

    /// Whether a connected peer of this site has the piece or will have it. A site is what a stranger says: it counts for who
    /// has given us something or taken from us, for others only at first, and once somebody waited in vain for what they claim, only for
    /// those of whom more has travelled than of that one.
    pub(crate) fn someone_gets(&self, site: &str, id: ContentId, piece: u32) -> bool {
        let gets = |state: &Connection| {
            state.peer.site == *site && state.participation(&id).is_some_and(|theirs| theirs.gets(piece))
        };
        self.conns.values().any(|state| self.is_believed(state) && gets(state))
    }

    /// The same for all pieces and other sites: the parts that those take in a content whose word counts. To ask everyone of each piece is
    /// more than a message may cost.
    pub(super) fn believed_by_site(&self, id: ContentId) -> Sites<'_> {
        let mut sites = Sites::new();
        let far = self.conns.values().filter(|state| self.is_far(state) && self.is_believed(state));
        for (state, theirs) in far.filter_map(|state| Some((state, state.participation(&id)?))) {
            sites.entry(&state.peer.site[..]).or_default().push(theirs);
        }
        sites
    }

    fn is_believed(&self, state: &Connection) -> bool {
        let download = &state.download;
        let broke = download.is_useless() || download.refusals > 0 || download.credit.stalled;
        let new = !broke && self.now.saturating_sub(state.peer.since) < BELIEVED;
        match state.conduct.doubt {
            Some(bytes) => state.travelled() > bytes,
            None => state.was_of_use() || new,
        }
    }

    /// Someone starves, though others of its site say that they have or get what it lacks: they are believed no more. A stranger may say
    /// that it starves, and where it is, too: so its word counts as much as it has taken from us, and against nobody who has taken more.
    pub(crate) fn doubt_sites(&mut self) {
        let now = self.now;
        let starves = |grew: Duration| now.saturating_sub(grew) >= STARVING;
        let mut sites: BTreeMap<String, u64> = BTreeMap::new();
        if !self.site.is_empty() && self.contents.values().any(|content| content.wanted && starves(content.grew)) {
            sites.insert(self.site.clone(), u64::MAX);
        }
        let is_starving =
            |state: &&Connection| state.participations.values().any(|theirs| theirs.takes && starves(theirs.grew));
        let far = self.conns.values().filter(|state| state.upload.taken > 0 && self.is_far(state)).filter(is_starving);
        for state in far {
            let most = sites.entry(state.peer.site.clone()).or_default();
            *most = state.upload.taken.max(*most);
        }
        if sites.is_empty() {
            return;
        }
        for state in self.conns.values_mut() {
            let Some(&bytes) = sites.get(&state.peer.site) else { continue };
            if state.conduct.doubt >= Some(bytes) || state.travelled() > bytes {
                continue;
            }
            // A peer that sends at the moment keeps nobody waiting.
            let sends = !state.download.is_idle() && !starves(state.download.heard);
            let claims = state.participations.values().any(|theirs| !theirs.takes || !starves(theirs.grew));
            if sends || !claims {
                continue;
            }
            state.conduct.doubt = Some(bytes);
            if state.download.credit.verified == 0 {
                // Nor is it believed under its next id.
                self.peers.doubt(state.peer.address.ip(), bytes);
            }
        }
    }
}
