//! The task that keeps the beacon going, and the handle to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::PeerId;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::beacon::Beacon;
use crate::key::ContentKey;
use crate::link::{Link, Received};
use crate::{FoundTracker, Holder, Offers, Wanted};

/// Found ones that may wait for those who look for them.
const FOUND: usize = 64;

/// The beacon of this process on the local network. Clones are handles to the same one, which ends with the last of them.
#[derive(Clone)]
pub struct Lan {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

struct Shared {
    beacon: Mutex<Beacon>,
    began: Instant,
    wake: Notify,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lan {
    /// Starts it on the current tokio runtime. Nothing is sent until something is shared or looked for.
    pub fn start(link: impl Link) -> Lan {
        let source = SystemRandom::new();
        let secure = Box::new(move |bytes: &mut [u8]| source.fill(bytes).expect("the system has randomness"));
        let shared =
            Arc::new(Shared { beacon: Mutex::new(Beacon::new(secure)), began: Instant::now(), wake: Notify::new() });
        let task = tokio::spawn(run(link, shared.clone()));
        Lan { shared, _task: Arc::new(Task(task.abort_handle())) }
    }

    /// Which peer it is that takes part in contents here, on which port it listens, and who is told of others that take part
    /// in contents that it wants.
    pub fn node(&self, id: PeerId, port: u16, met: mpsc::Sender<Holder>) {
        self.with(|beacon, _| beacon.node(id, port, met));
    }

    /// Answers for a content from now on, and looks for others who take part in it while it `wants` more of it.
    pub fn take_part(&self, content: &ContentKey, wants: bool) {
        self.with(|beacon, now| beacon.take_part(now, content, wants));
    }

    /// Takes no part in a content any more.
    pub fn leave(&self, content: &ContentKey) {
        self.with(|beacon, _| beacon.leave(content));
    }

    /// Looks again soon for others who take part in a content.
    pub fn hurry(&self, content: &ContentKey) {
        self.with(|beacon, now| beacon.hurry(now, content));
    }

    /// The port of the tracker in this process, which those who know one of its contents are told.
    pub fn own_tracker(&self, port: u16) {
        self.with(|beacon, _| beacon.own_tracker(port));
    }

    /// What the tracker in this process has for everyone who asks.
    pub fn offer(&self, offers: Offers) {
        self.with(|beacon, _| beacon.offer(offers));
    }

    /// Looks for trackers in processes of sharers, until the receiver is dropped: at most 16, each with at most 4 addresses.
    pub fn trackers(&self, wanted: Wanted) -> mpsc::Receiver<FoundTracker> {
        let (found, receiver) = mpsc::channel(FOUND);
        self.with(|beacon, now| beacon.trackers(now, wanted, found));
        receiver
    }

    /// Looks for those who take part in a content, until the receiver is dropped. The same one may be found again and again.
    pub fn holders(&self, content: &ContentKey) -> mpsc::Receiver<Holder> {
        let (found, receiver) = mpsc::channel(FOUND);
        self.with(|beacon, now| beacon.holders(now, content, found));
        receiver
    }

    fn with(&self, work: impl FnOnce(&mut Beacon, Duration)) {
        work(&mut self.shared.lock(), self.shared.began.elapsed());
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Beacon> {
        self.beacon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(mut link: impl Link, shared: Arc<Shared>) {
    loop {
        let (packets, next) = {
            let (mut beacon, now) = (shared.lock(), shared.began.elapsed());
            (beacon.packets(now), beacon.next(now))
        };
        packets.iter().for_each(|packet| link.send(packet));
        let pause = async {
            match next {
                Some(next) => tokio::time::sleep_until(shared.began + next).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(pause);
        // What is not looked at changes nothing.
        let mut goes_on = false;
        while !goes_on {
            goes_on = tokio::select! {
                received = link.receive() => {
                    let now = shared.began.elapsed();
                    match received {
                        Received::Packet(bytes, from) => shared.lock().heard(now, &bytes, from),
                        Received::Moved => {
                            shared.lock().moved(now);
                            true
                        }
                        Received::Closed => return,
                    }
                }
                () = shared.wake.notified() => true,
                () = &mut pause => true,
            };
        }
    }
}
