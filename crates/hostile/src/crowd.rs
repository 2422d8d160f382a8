//! Many hostile peers at once, each with its own key and port. They join the tracker as seeders, treat everyone who dials them
//! according to their behaviour, and dial a target themselves, again and again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peer::TrackerAddress;
use protocol::PeerId;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use transport::{Config, Connection, Identity, Quic, Transport};

use super::behaviour::{Behaviour, Conversation, Tally, Victim};
use super::{Session, announce};

/// A peer that cannot bind or join tries again after this pause.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The tracker answers within this time.
const ANNOUNCED: Duration = Duration::from_secs(10);

/// The addresses that a crowd binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// 127.0.1.1 and on, one each.
    Own,
    /// Four peers to each of them.
    Fours,
    /// The same for all.
    One(Ipv4Addr),
}

impl Hosts {
    fn of(self, number: usize) -> IpAddr {
        let own = |number: usize| Ipv4Addr::new(127, 0, 1, (number % 254) as u8 + 1);
        match self {
            Hosts::Own => own(number).into(),
            Hosts::Fours => own(number / 4).into(),
            Hosts::One(address) => address.into(),
        }
    }
}

/// A peer to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it is.
    pub id: PeerId,
}

/// Hostile peers that run until they are dropped.
pub struct Crowd {
    runtime: Option<Runtime>,
    target: watch::Sender<Option<Target>>,
    joined: watch::Receiver<usize>,
    count: usize,
    tally: Arc<Tally>,
}

struct Member {
    host: IpAddr,
    tracker: Option<TrackerAddress>,
    victim: Victim,
    behaviour: Behaviour,
    target: watch::Receiver<Option<Target>>,
    joined: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
}

impl Crowd {
    /// Starts one peer for each of these behaviours. Without a tracker they are known to nobody, and only dial.
    pub fn start(
        tracker: Option<&TrackerAddress>,
        victim: &Victim,
        hosts: Hosts,
        behaviours: impl IntoIterator<Item = Behaviour>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (target, targets) = watch::channel(None);
        let (joined, joins) = watch::channel(0);
        let (joined, tally) = (Arc::new(joined), Arc::new(Tally::default()));
        let mut count = 0;
        for behaviour in behaviours {
            let member = Member {
                host: hosts.of(count),
                tracker: tracker.cloned(),
                victim: victim.clone(),
                behaviour,
                target: targets.clone(),
                joined: joined.clone(),
                tally: tally.clone(),
            };
            runtime.spawn(member.run());
            count += 1;
        }
        Ok(Crowd { runtime: Some(runtime), target, joined: joins, count, tally })
    }

    /// Waits until all have joined, at most this long; says whether they have.
    pub fn has_joined(&mut self, most: Duration) -> bool {
        let (Some(runtime), joined) = (&self.runtime, &mut self.joined) else { return false };
        let count = self.count;
        runtime.block_on(async { timeout(most, joined.wait_for(|&joined| joined >= count)).await.is_ok() })
    }

    /// From now on all dial this peer, whenever they are not connected with it.
    pub fn dial(&self, target: Target) {
        self.target.send_replace(Some(target));
    }

    /// What they did so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Member {
    async fn run(self) {
        let mut first = true;
        loop {
            let Some((transport, session)) = self.join().await else {
                sleep(TRY_AGAIN).await;
                continue;
            };
            if std::mem::take(&mut first) {
                self.joined.send_modify(|joined| *joined += 1);
            }
            let life = self.live(transport.clone());
            match self.behaviour.lifetime {
                Some(most) => drop(timeout(most, life).await),
                None => life.await,
            }
            drop(session);
            transport.close().await;
        }
    }

    /// A new key and port, known to the tracker.
    async fn join(&self) -> Option<(Arc<Quic>, Option<Session>)> {
        let identity = Identity::generate().ok()?;
        let transport = Arc::new(Quic::bind(Config::new(identity, vec![(self.host, 0).into()])).ok()?);
        let session = match &self.tracker {
            Some(tracker) => {
                let Victim { content, name, .. } = &self.victim;
                let announcing = announce(&*transport, tracker, *content, name, transport.listeners());
                Some(timeout(ANNOUNCED, announcing).await.ok()?.ok()?)
            }
            None => None,
        };
        Some((transport, session))
    }

    async fn live(&self, transport: Arc<Quic>) {
        let connected = Arc::new(AtomicUsize::new(0));
        let accepting = async {
            let mut conversations = JoinSet::new();
            while let Some(connection) = transport.accept().await {
                let conversation = self.conversation(&transport);
                let connected = connected.clone();
                conversations.spawn(converse(conversation, connection, false, connected));
                while conversations.try_join_next().is_some() {}
            }
        };
        let dialling = async {
            let mut target = self.target.clone();
            loop {
                let aim = *target.borrow_and_update();
                let Some(Target { address, id }) = aim else {
                    if target.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    continue;
                };
                if connected.load(Ordering::Relaxed) == 0
                    && let Ok(connection) = transport.dial(address, id).await
                {
                    converse(self.conversation(&transport), connection, true, connected.clone()).await;
                }
                sleep(self.behaviour.pause).await;
            }
        };
        tokio::join!(accepting, dialling);
    }

    fn conversation(&self, transport: &Quic) -> Conversation {
        Conversation {
            behaviour: self.behaviour.clone(),
            victim: self.victim.clone(),
            tally: self.tally.clone(),
            listeners: transport.listeners(),
            active: AtomicUsize::new(0),
        }
    }
}

async fn converse(
    conversation: Conversation,
    connection: Arc<dyn Connection>,
    dialled: bool,
    connected: Arc<AtomicUsize>,
) {
    connected.fetch_add(1, Ordering::Relaxed);
    conversation.run(connection, dialled).await;
    connected.fetch_sub(1, Ordering::Relaxed);
}
