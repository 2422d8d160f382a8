//! Which peers are near: peers say which site they are in, and what one of a site gets is left to it to pass on there.
//!
//! A site, and what somebody there has, is what strangers say. Whom to believe how far is decided here: over a thin link each piece that
//! is not believed to come crosses twice, and each one that is believed and never comes is waited for in vain.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ContentId, PieceSet};

use crate::engine::content::Content;
use crate::engine::participation::Participation;
use crate::engine::peers::connection::Connection;
use crate::engine::{Engine, STARVING};

/// A stranger is believed for this long, whatever it says.
const BELIEVED: Duration = Duration::from_secs(1);
/// A stranger is believed for this long about what is on its way to it, if that is at most this many bytes, or one piece.
const COMING_BELIEVED: Duration = Duration::from_secs(30);
const MOST_COMING: u64 = 8 << 20;
/// A peer that is doubted is believed again once twice as much has travelled as before, and this many bytes more.
const AMENDS: u64 = 1 << 20;
/// After a stranger was wrong, all strangers are believed only at first. This lasts so long.
const DECEIVED: Duration = Duration::from_secs(600);
/// Once nothing has come for `QUIET`, it is noted which open pieces peers near have. A peer near that has one of them `WITHHELD` later does not
/// give it.
const QUIET: Duration = Duration::from_secs(1);
const WITHHELD: Duration = Duration::from_secs(3);
/// It is noted again who has what after this time.
const NOTED: Duration = Duration::from_secs(6);
/// The longest wait for the next piece while far peers send.
const LONG_STARVING: Duration = Duration::from_secs(30);

/// What peers of each site say of one content, as far as it counts.
pub(super) type Sites<'a> = BTreeMap<&'a str, Vec<Word<'a>>>;

/// What a peer says of its part in a content, as far as it counts.
pub(crate) struct Word<'a> {
    theirs: &'a Participation,
    belief: Belief,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// Only what is on its way counts.
    Coming,
    /// What it has counts as well.
    All,
}

impl Word<'_> {
    /// Whether the peer has the piece, or will have it.
    pub(crate) fn gets(&self, piece: u32) -> bool {
        match self.belief {
            // What it skips it passes on to nobody.
            Belief::All => self.theirs.have.contains(piece) || self.theirs.expects(piece),
            Belief::Coming => self.theirs.expects(piece),
        }
    }
}

impl Engine {
    /// Whether a peer is in another place than this one, as far as both said where they are.
    pub(crate) fn is_far(&self, state: &Connection) -> bool {
        !self.site.is_empty() && !state.peer.site.is_empty() && state.peer.site != self.site
    }

    /// Whether a connected peer of this site has the piece or will have it, as far as its word counts.
    pub(crate) fn someone_gets(&self, site: &str, id: ContentId, piece: u32) -> bool {
        self.words(site, id).any(|word| word.gets(piece))
    }

    /// What connected peers of a site say of a content, as far as it counts.
    fn words<'a>(&'a self, site: &'a str, id: ContentId) -> impl Iterator<Item = Word<'a>> {
        self.conns.values().filter(move |state| state.peer.site == *site).filter_map(move |state| self.word(state, id))
    }

    /// The same for all pieces and other sites. To ask everyone of each piece is more than a message may cost.
    pub(super) fn believed_by_site(&self, id: ContentId) -> Sites<'_> {
        let mut sites = Sites::new();
        let far = self.conns.values().filter(|state| self.is_far(state));
        for (state, word) in far.filter_map(|state| Some((state, self.word(state, id)?))) {
            sites.entry(&state.peer.site[..]).or_default().push(word);
        }
        sites
    }

    fn word<'a>(&'a self, state: &'a Connection, id: ContentId) -> Option<Word<'a>> {
        let theirs = state.participation(&id)?;
        let belief = self.belief(state, theirs)?;
        let size = self.contents.get(&id)?.piece_size();
        let little = || theirs.coming().saturating_mul(size) <= MOST_COMING.max(size);
        (belief == Belief::All || little()).then_some(Word { theirs, belief })
    }

    /// How much of what a peer says is believed. All of it, if pieces have travelled either way. Of strangers all at first, for a while if most of
    /// what they have came while we watched, and else what is on its way to them. Once somebody waited in vain for what a peer
    /// claims, that peer is believed only after more pieces have travelled.
    fn belief(&self, state: &Connection, theirs: &Participation) -> Option<Belief> {
        let download = &state.download;
        let broke = download.is_useless() || download.refusals > 0 || download.credit.stalled;
        let age = self.now.saturating_sub(state.peer.since);
        let mostly_new = theirs.came_with.is_some_and(|with| with <= theirs.have.count() / 2);
        let grows = mostly_new && age < COMING_BELIEVED && self.now.saturating_sub(theirs.grew) < STARVING;
        match state.conduct.doubt {
            Some(bytes) => (state.travelled() > bytes).then_some(Belief::All),
            None if state.was_of_use() => Some(Belief::All),
            None if broke => None,
            None if age < BELIEVED => Some(Belief::All),
            None if self.was_deceived() => None,
            None if grows => Some(Belief::All),
            None => (age < COMING_BELIEVED).then_some(Belief::Coming),
        }
    }

    /// Whether a stranger of this site was wrong lately.
    fn was_deceived(&self) -> bool {
        self.deceived.is_some_and(|at| self.now.saturating_sub(at) < DECEIVED)
    }

    /// What peers near say of a content. Nothing, if we have waited long: then it is asked of far peers, too.
    pub(crate) fn words_near(&self, id: ContentId) -> Vec<Word<'_>> {
        let starves = self.contents.get(&id).is_some_and(|content| self.starves(content));
        if self.site.is_empty() || starves { Vec::new() } else { self.words(&self.site, id).collect() }
    }

    /// Whether nothing of a content has come for long. The wait is longer while far peers send.
    fn starves(&self, content: &Content) -> bool {
        let since = |time| self.now.saturating_sub(time);
        since(content.grew) >= LONG_STARVING || since(content.grew.max(content.far_heard)) >= STARVING
    }

    /// Stops believing strangers of this site if far peers have pieces that we lack: nothing is under way, so strangers must have
    /// claimed them all.
    pub(crate) fn doubt_strangers(&mut self, id: ContentId) {
        let far = |state: &Connection| self.is_far(state) && self.may_ask(state) && state.takes_part_in(&id);
        let Some(content) = self.contents.get(&id).filter(|_| self.conns.values().any(far)) else { return };
        let open = content.open();
        let has_any = |state: &Connection| state.participation(&id).is_some_and(|theirs| theirs.has_any(&open));
        if !self.conns.values().any(|state| far(state) && has_any(state)) {
            return;
        }
        for state in self.conns.values_mut().filter(|state| state.peer.site == self.site && !state.was_of_use()) {
            state.conduct.doubt = state.conduct.doubt.max(Some(0));
            self.deceived = Some(self.now);
        }
    }

    /// Someone starves, though others of its site say that they have or get what it lacks: they are believed no more. A stranger may say
    /// that it starves, and where it is, too: so its word counts as much as it has taken from us, and against nobody who has taken more.
    pub(crate) fn doubt_sites(&mut self) {
        let now = self.now;
        let starves = |grew: Duration| now.saturating_sub(grew) >= STARVING;
        self.note_what_is_withheld();
        let mut sites: BTreeMap<String, u64> = BTreeMap::new();
        if !self.site.is_empty() && self.contents.values().any(|content| content.wanted && self.starves(content)) {
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
        let withheld = if sites.contains_key(&self.site) { self.withheld() } else { BTreeMap::new() };
        for state in self.conns.values_mut() {
            let Some(&bytes) = sites.get(&state.peer.site) else { continue };
            if state.conduct.doubt >= Some(bytes) || state.travelled() > bytes {
                continue;
            }
            // A peer that sends at the moment keeps nobody waiting.
            let sends = !state.download.is_idle() && !starves(state.download.heard);
            let claims = |(id, theirs): (&ContentId, &Participation)| match state.peer.site == self.site {
                // What only comes to it, or came a moment ago, nobody could have had from it.
                true => withheld.get(id).is_some_and(|pieces| theirs.has_any(pieces)),
                false => !theirs.takes || !starves(theirs.grew),
            };
            if sends || !state.participations.iter().any(claims) {
                continue;
            }
            if state.peer.site == self.site {
                self.deceived = Some(now);
            }
            // One that was of use may be so again.
            state.conduct.doubt = state.conduct.doubt.max(Some(bytes.min(state.travelled() * 2 + AMENDS)));
            if state.download.credit.verified == 0 {
                // Nor is it believed under its next id.
                self.peers.doubt(state.peer.address.ip(), bytes);
            }
        }
    }

    /// Notes what peers near have that we could take, while nothing comes. It is noted by piece and not by peer: a peer that leaves and comes
    /// again would count as one that has just got everything.
    fn note_what_is_withheld(&mut self) {
        if self.site.is_empty() {
            return;
        }
        let now = self.now;
        let is_due = |content: &&Content| {
            let noted = content.withheld.as_ref().map(|&(at, _)| at).filter(|&at| at >= content.grew);
            let again = noted.is_none_or(|at| now.saturating_sub(at) >= NOTED);
            content.wanted && now.saturating_sub(content.grew) >= QUIET && again
        };
        let mut near: BTreeMap<ContentId, PieceSet> = BTreeMap::new();
        for state in self.conns.values().filter(|state| state.peer.site == self.site) {
            for (id, theirs) in &state.participations {
                if let Some(content) = self.contents.get(id).filter(is_due) {
                    near.entry(*id).or_insert_with(|| PieceSet::empty(content.have.len())).insert_all(&theirs.have);
                }
            }
        }
        for (id, mut pieces) in near {
            if let Some(content) = self.contents.get_mut(&id) {
                pieces.keep_only(&content.open());
                content.withheld = Some((now, pieces));
            }
        }
    }

    /// What peers near have had for long of each content, and we could take.
    fn withheld(&self) -> BTreeMap<ContentId, PieceSet> {
        let contents = self.contents.iter().filter(|(_, content)| content.wanted);
        let withheld = contents.filter_map(|(&id, content)| {
            let (at, pieces) = content.withheld.as_ref()?;
            let long = *at >= content.grew && self.now.saturating_sub(*at) >= WITHHELD && !pieces.is_empty();
            long.then(|| {
                let mut pieces = pieces.clone();
                pieces.keep_only(&content.open());
                (id, pieces)
            })
        });
        withheld.collect()
    }
}
