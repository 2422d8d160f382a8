//! What those who watch a content are shown: who takes part in it, to those who watch here, and how it stands, to those who watch
//! at the tracker.

use std::time::Duration;

use protocol::{ContentId, REPORT_SECONDS};
use swarm::{ConnId, ParticipantView};
use tokio::time::Instant;

use super::participants::room;
use super::progress::Told;
use super::state::Driver;
use crate::net::tracker::ToClient;
use crate::status::Participant;
use crate::tracker_status::TrackerNumber;

/// Contents that are told of at a time.
const MOST: usize = 64;

impl Driver {
    /// Those who take part in a content, or did so.
    pub(super) fn participants(&mut self, content: ContentId) -> Vec<Participant> {
        let views = self.engine.participant_views(content);
        let Some(item) = self.items.get_mut(&content) else { return Vec::new() };
        item.participants.disconnect_all();
        views.iter().for_each(|view| self.look_at(content, view));
        let Some(item) = self.items.get(&content) else { return Vec::new() };
        item.participants.all(&item.sources)
    }

    fn look_at(&mut self, content: ContentId, view: &ParticipantView) {
        let room = room(self.items.len());
        let (Some(item), Some(link)) = (self.items.get_mut(&content), self.links.get_mut(&view.conn)) else { return };
        link.remembered.insert(content);
        let geometry = item.store.as_ref().map(|store| store.manifest().geometry());
        let (total, pieces) = geometry.map_or((0, 0), |geometry| (geometry.total(), geometry.pieces()));
        let (peer, address) = (link.connection.peer_id(), link.connection.remote_addr());
        let own = self.engine.listeners(view.conn).iter().map(|own| own.ip().to_canonical());
        item.participants.look((peer, address), own, view, (total, pieces), room);
    }

    /// The other end of a connection is about to leave: how it stands is looked at a last time.
    pub(super) fn look_before_it_leaves(&mut self, conn: ConnId) {
        self.engine.views_over(conn).iter().for_each(|(content, view)| self.look_at(*content, view));
    }

    /// The other side no longer wants anything of a content. Repeated messages are ignored, so that they cause no work.
    pub(super) fn wants_no_more(&mut self, conn: ConnId, content: ContentId) {
        let Some(view) = self.engine.participant_view(conn, content).filter(|view| view.wants) else { return };
        self.look_at(content, &view);
        if let (Some(link), Some(item)) = (self.links.get(&conn), self.items.get_mut(&content)) {
            item.participants.has_all(link.connection.peer_id());
        }
    }

    /// Somebody watches a content at the tracker, which has asked now.
    pub(super) fn is_watched(&mut self, number: TrackerNumber, content: ContentId) {
        // Of a private content no tracker learns how large it is.
        let Some(item) = self.items.get_mut(&content).filter(|item| !item.private) else { return };
        let until = Instant::now() + Duration::from_secs(REPORT_SECONDS);
        match &mut item.told {
            Some(told) => told.until = until,
            none => *none = Some(Told::nothing(until)),
        }
        if let Some(told) = &mut item.told {
            told.asked.insert(number, until);
        }
    }

    /// Tells the tracker how contents stand that somebody watches there.
    pub(super) fn report_progress(&mut self) {
        let now = Instant::now();
        let due = |told: &Told| told.is_due(now);
        let due = self.items.iter().filter(|(_, item)| item.told.as_ref().is_some_and(due));
        let due: Vec<_> = due.map(|(&content, _)| content).take(MOST).collect();
        for content in due {
            let Some(status) = self.publish(content) else { continue };
            let Some(item) = self.items.get_mut(&content) else { continue };
            let progress = item.told.as_mut().and_then(|told| told.tells(now, &status));
            let asked = item.told.as_mut().map(|told| told.asked(now)).unwrap_or_default();
            for tracker in asked.iter().filter_map(|number| self.trackers.client(*number)) {
                if let Some(progress) = &progress {
                    // Should its queue be full, the next one is as good.
                    let _ = tracker.try_send(ToClient::Progress { content, progress: progress.clone() });
                }
            }
        }
        for item in self.items.values_mut() {
            item.told.take_if(|told| now >= told.until);
        }
    }
}
