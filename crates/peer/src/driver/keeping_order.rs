//! Tells the engine which pieces are to come next, where the storage is quicker with those in ascending order.

use protocol::ContentId;
use swarm::Event;

use super::state::Driver;

/// The number that the engine knows this by: those of readers count from 0.
const READER: u64 = u64::MAX;

impl Driver {
    /// Some pieces of a content were stored, or it is open now: says which are to come next if they are to come in order.
    pub(super) fn keep_order(&mut self, content: ContentId) {
        let Some(have) = self.engine.have(content) else { return };
        let order = self.items.get_mut(&content).and_then(|item| item.in_order.as_mut());
        let Some(order) = order else { return };
        if order.moves(have) {
            // Nothing lacks once it is complete.
            let (window, first) = (order.told, order.first.take());
            self.event(Event::Reading { content, reader: READER, window });
            // If they lie behind the window they were given up just now, and are stored by nobody.
            if let Some((request, run)) = first {
                self.take_first(request, content, run);
            }
        }
    }
}
