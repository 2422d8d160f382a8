//! Downloads that wait for what comes back by itself: room on a disk, or the tracker of a private share. The times at which they look
//! again are spread, so that many of them do not come at once.

use std::time::Duration;

use peer::{PeerError, StorageError, Ticket};
use tokio::time::{sleep, timeout};

use super::{Next, Task};
use crate::control::Doing;
use crate::nodes::Told;

/// Time between two attempts to download what there is no room for: doubled each time up to the second, and spread.
const FIRST_ROOM: Duration = Duration::from_secs(60);
const LONGEST_ROOM: Duration = Duration::from_secs(3600);
/// How long a download that is tried again leaves the queue to say whether it is its turn: it looks each second.
const TURN: Duration = Duration::from_secs(2);
/// The tracker of a complete download that is not shared meanwhile is looked for after this time, more or less, for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
const LOOKS: Duration = Duration::from_secs(30);
const TRACKER_GONE: &str =
    "it is complete, and shared again when the tracker of its ticket is back, which is looked for once an hour";

impl Task {
    /// Waits until the tracker of a private share is back, which is looked for now and then, or it is told something else.
    pub(super) async fn rest(&mut self, ticket: &Ticket) -> Next {
        self.say(Doing::Waiting, TRACKER_GONE);
        let nodes = self.nodes.clone();
        let is_back = async {
            loop {
                sleep(LOOK_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
                // Where there is no room, others go first.
                let Ok(tracked) = nodes.of_ticket(ticket) else { continue };
                let mut told = tracked.told.clone();
                let joined = told.wait_for(|told| matches!(told, Told::Joined(_)));
                if matches!(timeout(LOOKS, joined).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        tokio::select! {
            next = self.told() => next,
            () = is_back => {
                self.rests = false;
                Next::Again
            }
        }
    }

    /// Why a download has failed, and after what time it is tried again by itself.
    pub(super) fn failure(&mut self, error: &PeerError) -> (String, Option<Duration>) {
        let pause = pause_after(error, self.roomless);
        if pause.is_none() {
            return (error.to_string(), None);
        }
        self.roomless += 1;
        (format!("{error}; it is tried again until there is room"), pause)
    }

    /// Waits until it is told something else, or it is tried again and it is its turn.
    pub(super) async fn tried_again(&mut self, pause: Option<Duration>) -> Next {
        let Some(pause) = pause else { return self.told().await };
        tokio::select! {
            next = self.told() => return next,
            () = sleep(pause) => {}
        }
        self.say(Doing::Queued, "");
        self.told_within(TURN).await
    }
}

/// After what time a download is tried again that has failed so often before: only where room is all that it lacked, which comes back
/// without anyone doing something here.
fn pause_after(error: &PeerError, before: u32) -> Option<Duration> {
    match error {
        // No file of such a size can ever be there.
        PeerError::Storage(StorageError::TooLarge { .. }) => None,
        PeerError::Storage(storage) if storage.is_no_room() => {
            let pause = (FIRST_ROOM * 2u32.saturating_pow(before.min(8))).min(LONGEST_ROOM);
            Some(pause.mul_f64(0.75 + fastrand::f64() / 2.0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_room_is_tried_again_less_and_less_often() {
        let after = |error: StorageError, before| pause_after(&error.into(), before);
        let full = || StorageError::Full("file".into());
        let near = |pause: Option<Duration>, expected: Duration| {
            (expected.mul_f64(0.75)..=expected.mul_f64(1.25)).contains(&pause.unwrap())
        };
        assert!(near(after(full(), 0), FIRST_ROOM) && near(after(full(), 2), FIRST_ROOM * 4));
        assert!(near(after(full(), u32::MAX), LONGEST_ROOM));
        assert_eq!(after(StorageError::TooLarge { path: "file".into(), limit: None }, 0), None);
        assert_eq!(after(StorageError::Denied("file".into()), 0), None);
        assert_eq!(pause_after(&PeerError::Cancelled, 0), None);
    }
}
