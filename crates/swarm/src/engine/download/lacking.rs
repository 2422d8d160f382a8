//! Saying which pieces nobody has.

use std::time::Duration;

use protocol::PieceSet;

use crate::engine::Engine;

/// Pieces must lack for this long before it is said.
const LACKING: Duration = Duration::from_secs(2);

impl Engine {
    /// Says which pieces nobody has, once nothing else can be done, and again when that changes.
    pub(crate) fn say_what_lacks(&mut self) {
        for (&id, content) in &mut self.contents {
            let idle = content.wanted
                && !content.origin.as_ref().is_some_and(|origin| origin.works())
                && content.geometry.is_some()
                && !self.downloads.requests.values().any(|request| request.content == id);
            let runs = if idle {
                let lacking = content.have.missing().filter(|&piece| content.goal.contains(piece));
                lacking.filter(|&piece| content.picker.availability(piece) == 0).collect::<PieceSet>().runs()
            } else {
                Vec::new()
            };
            let since = *content.lacking_since.get_or_insert(self.now);
            if runs.is_empty() {
                content.lacking_since = None;
            }
            let ripe = runs.is_empty() || self.now.saturating_sub(since) >= LACKING;
            if ripe && runs != content.lacking {
                content.lacking = runs.clone();
                self.actions.lacking(id, runs);
            }
        }
    }
}
