//! What an engine wants done, in order. Messages that are limited in length are cut here, and here alone.

use protocol::{ContentId, MAX_OFFERS, PeerAddress, PeerId, PeerMessage, PieceRange, RefusalReason};

use crate::event::{Action, ConnId, RequestId, ServeId};

/// The actions of an engine while it handles an event.
#[derive(Debug, Default)]
pub(crate) struct Actions(Vec<Action>);

impl Actions {
    /// Exchanges the list with that of a caller: before an event is handled, so that actions are appended to the caller's, and
    /// again afterwards.
    pub(crate) fn swap(&mut self, list: &mut Vec<Action>) {
        std::mem::swap(&mut self.0, list);
    }

    pub(crate) fn dial(&mut self, peer: PeerAddress) {
        self.0.push(Action::Dial { peer });
    }

    pub(crate) fn dial_also(&mut self, peer: PeerAddress) {
        self.0.push(Action::DialAlso { peer });
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: &'static str) {
        self.0.push(Action::Close { conn, reason });
    }

    pub(crate) fn send(&mut self, conn: ConnId, message: PeerMessage) {
        self.0.push(Action::Send { conn, message });
    }

    pub(crate) fn offer(&mut self, conn: ConnId, content: ContentId, runs: &[PieceRange]) {
        for runs in runs.chunks(MAX_OFFERS) {
            self.send(conn, PeerMessage::Offer { content, runs: runs.to_vec() });
        }
    }

    /// Says that runs will not be asked for.
    pub(crate) fn decline(&mut self, conn: ConnId, content: ContentId, runs: &[PieceRange]) {
        for runs in runs.chunks(MAX_OFFERS) {
            self.send(conn, PeerMessage::Decline { content, runs: runs.to_vec() });
        }
    }

    /// The same of runs of several contents, in as few messages as possible.
    pub(crate) fn decline_each(&mut self, conn: ConnId, declined: impl IntoIterator<Item = (ContentId, PieceRange)>) {
        for (id, run) in declined {
            match self.0.last_mut() {
                Some(Action::Send { conn: to, message: PeerMessage::Decline { content, runs } })
                    if *to == conn && *content == id && runs.len() < MAX_OFFERS =>
                {
                    runs.push(run);
                }
                _ => self.decline(conn, id, &[run]),
            }
        }
    }

    pub(crate) fn fetch_manifest(&mut self, conn: ConnId, content: ContentId) {
        self.0.push(Action::FetchManifest { conn, content });
    }

    pub(crate) fn cancel_manifest(&mut self, conn: ConnId, content: ContentId) {
        self.0.push(Action::CancelManifest { conn, content });
    }

    pub(crate) fn fetch(
        &mut self,
        conn: ConnId,
        request: RequestId,
        content: ContentId,
        run: PieceRange,
        awaited: bool,
    ) {
        self.0.push(Action::Fetch { conn, request, content, run, awaited });
    }

    pub(crate) fn fetch_first(&mut self, conn: ConnId, request: RequestId, content: ContentId, most: u64) {
        self.0.push(Action::FetchFirst { conn, request, content, most });
    }

    pub(crate) fn take_first(&mut self, request: RequestId, content: ContentId, run: PieceRange) {
        self.0.push(Action::TakeFirst { request, content, run });
    }

    pub(crate) fn cancel(&mut self, request: RequestId) {
        self.0.push(Action::Cancel { request });
    }

    pub(crate) fn serve(&mut self, serve: ServeId) {
        self.0.push(Action::Serve { serve });
    }

    pub(crate) fn choose(&mut self, serve: ServeId, run: PieceRange) {
        self.0.push(Action::Choose { serve, run });
    }

    pub(crate) fn refuse(&mut self, serve: ServeId, reason: RefusalReason) {
        self.0.push(Action::Refuse { serve, reason });
    }

    pub(crate) fn fetch_from_origin(&mut self, request: RequestId, content: ContentId, run: PieceRange) {
        self.0.push(Action::FetchFromOrigin { request, content, run });
    }

    pub(crate) fn completed(&mut self, content: ContentId) {
        self.0.push(Action::Completed { content });
    }

    pub(crate) fn find_more(&mut self, content: ContentId) {
        self.0.push(Action::FindMore { content });
    }

    pub(crate) fn lacking(&mut self, content: ContentId, runs: Vec<PieceRange>) {
        self.0.push(Action::Lacking { content, runs });
    }

    pub(crate) fn banned(&mut self, peer: PeerId) {
        self.0.push(Action::Banned { peer });
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn content(number: u8) -> ContentId {
        ContentId(Digest([number; 32]))
    }

    fn run(first: u32) -> PieceRange {
        PieceRange { first, count: 1 }
    }

    #[test]
    fn declined_runs_share_a_message_while_they_fit() {
        let mut actions = Actions::default();
        let many = (0..MAX_OFFERS as u32 + 1).map(|first| (content(1), run(first)));
        actions.decline_each(7, many.chain([(content(2), run(0))]));
        actions.decline_each(8, [(content(2), run(1))]);
        let told = |action: &Action| match action {
            Action::Send { conn, message: PeerMessage::Decline { content, runs } } => {
                (*conn, content.0.0[0], runs.len())
            }
            other => panic!("{other:?}"),
        };
        let told: Vec<_> = actions.0.iter().map(told).collect();
        assert_eq!(told, [(7, 1, MAX_OFFERS), (7, 1, 1), (7, 2, 1), (8, 2, 1)]);
    }

    #[test]
    fn long_offers_are_cut() {
        let mut actions = Actions::default();
        actions.offer(1, content(1), &(0..600).map(run).collect::<Vec<_>>());
        assert_eq!(actions.0.len(), 600usize.div_ceil(MAX_OFFERS));
    }

    #[test]
    fn a_list_goes_on_where_the_caller_left_it() {
        let (mut actions, mut list) = (Actions::default(), vec![Action::Serve { serve: 1 }]);
        actions.swap(&mut list);
        actions.serve(2);
        actions.swap(&mut list);
        assert_eq!(list, [Action::Serve { serve: 1 }, Action::Serve { serve: 2 }]);
        assert!(actions.0.is_empty());
    }
}
