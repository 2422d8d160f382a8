//! First pieces: they are asked for together with the manifest, and go where pieces go once that is here.

use std::sync::Arc;

use protocol::{ContentId, PieceRange};
use swarm::{ConnId, Event, Failure, RequestId, ServeId};
use tokio::sync::oneshot;

use super::state::{Driver, FirstFetching, PendingServe};
use crate::net::fetch::FirstFetch;
use crate::net::intake::Intake;
use crate::net::rate::Turn;
use crate::net::serve::{self, Answering};

impl Driver {
    pub(super) fn fetch_first(&mut self, conn: ConnId, request: RequestId, content: ContentId, most: u64) {
        let passes = self.may_pass(conn, content);
        let Some(link) = self.links.get(&conn).filter(|_| passes) else {
            return self.event(Event::Finished { request, failure: Some(Failure::Broken) });
        };
        let (from, connection) = (link.connection.peer_id(), link.connection.clone());
        let (intake, given) = oneshot::channel();
        let fetch =
            FirstFetch { connection: connection.clone(), request, content, most, reports: self.reports.clone() };
        let task = connection.spawn(Box::pin(fetch.run(given)));
        let came = Arc::default();
        self.firsts.insert(request, FirstFetching { came: Arc::clone(&came), intake });
        self.note_request(request, content, (conn, from), came, task);
    }

    pub(super) fn take_first(&mut self, request: RequestId, content: ContentId, run: PieceRange) {
        let order = self.items.get_mut(&content).and_then(|item| item.in_order.as_mut());
        if order.is_some_and(|order| order.holds(request, run)) {
            return;
        }
        // Where nothing waits for it any more, its end is on its way to the engine.
        let Some((first, item)) = self.firsts.remove(&request).zip(self.items.get(&content)) else { return };
        let Some(intake) = self.intake(request, item, run) else { return };
        let link = self.requests.get(&request).and_then(|fetching| self.links.get(&fetching.conn));
        let intake = match link {
            Some(link) => Intake { blocks: link.blocks.clone(), turn: Turn::new(link.lane, false), ..intake },
            None => intake,
        };
        let _ = first.intake.send(Intake { came: first.came, ..intake });
    }

    /// Says which pieces answer a question.
    pub(super) fn choose(&mut self, serve: ServeId, run: PieceRange) {
        let Some(asked) = self.questions.remove(&serve) else { return };
        let store = self.items.get(&asked.content).and_then(|item| item.store.clone());
        let (Some(store), Answering::Quiet(stream)) = (store, asked.answering) else { return };
        let bytes = store.manifest().geometry().bytes(run);
        let answering = Answering::Chosen(tokio::spawn(serve::choose(stream, run, bytes)));
        self.questions.insert(serve, PendingServe { run, answering, ..asked });
    }
}
