//! What is still to be said on a control connection, besides its one stream.
//!
//! It is kept as what is wanted, and not as a queue of frames: so it takes the same few bytes for each of a tracker's connections, whatever
//! the other side asks, and a flood of pings is answered once for all that came meanwhile.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::lock::lock;

/// Most stream connections that wait to be asked for.
const MOST_WANTED: u32 = 256;

/// What our side wants said on the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlFrame {
    /// The other side has pinged with this number.
    Pong(u32),
    /// A sign of life is wanted.
    Ping,
    /// No more is wanted of the one stream; with this code.
    Stop(u32),
    /// One more stream connection is needed for streams that we open.
    Want,
}

/// The frames that wait for the control connection's task.
#[derive(Default)]
pub(super) struct PendingFrames {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    pong: Option<u32>,
    ping: bool,
    stop: Option<u32>,
    wanted: u32,
}

impl PendingFrames {
    /// One more is to be said. Of those that mean the same the last is.
    pub(super) fn add(&self, frame: ControlFrame) {
        let mut waiting = lock(&self.waiting);
        match frame {
            ControlFrame::Pong(number) => waiting.pong = Some(number),
            ControlFrame::Ping => waiting.ping = true,
            ControlFrame::Stop(code) => waiting.stop = Some(code),
            ControlFrame::Want => waiting.wanted = (waiting.wanted + 1).min(MOST_WANTED),
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Waits for the next. Nothing is lost if it is dropped while it waits.
    pub(super) async fn next(&self) -> ControlFrame {
        loop {
            if let Some(frame) = self.take() {
                return frame;
            }
            self.more.notified().await;
        }
    }

    /// The other side can have an answer wait at any time, so answers come last.
    fn take(&self) -> Option<ControlFrame> {
        let mut waiting = lock(&self.waiting);
        if let Some(code) = waiting.stop.take() {
            return Some(ControlFrame::Stop(code));
        }
        if waiting.wanted > 0 {
            waiting.wanted -= 1;
            return Some(ControlFrame::Want);
        }
        if std::mem::take(&mut waiting.ping) {
            return Some(ControlFrame::Ping);
        }
        waiting.pong.take().map(ControlFrame::Pong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_pings_is_answered_once_and_keeps_nothing_back() {
        let frames = PendingFrames::default();
        for frame in [ControlFrame::Want, ControlFrame::Ping, ControlFrame::Stop(7), ControlFrame::Want] {
            (0..1000).for_each(|number| frames.add(ControlFrame::Pong(number)));
            frames.add(frame);
        }
        let mut said = Vec::new();
        for number in 0..5 {
            said.push(frames.next().await);
            frames.add(ControlFrame::Pong(2000 + number));
        }
        let ours = [ControlFrame::Stop(7), ControlFrame::Want, ControlFrame::Want, ControlFrame::Ping];
        assert_eq!(said, [&ours[..], &[ControlFrame::Pong(2003)]].concat());
        assert_eq!((frames.take(), frames.take()), (Some(ControlFrame::Pong(2004)), None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_of_what_comes() {
        let frames = PendingFrames::default();
        let late = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            frames.add(ControlFrame::Want);
        };
        let (said, ()) = tokio::join!(frames.next(), late);
        assert_eq!(said, ControlFrame::Want);
    }

    #[test]
    fn no_more_stream_connections_are_asked_for_than_may_wait() {
        let frames = PendingFrames::default();
        (0..2 * MOST_WANTED).for_each(|_| frames.add(ControlFrame::Want));
        assert_eq!(std::iter::from_fn(|| frames.take()).count(), MOST_WANTED as usize);
    }
}
