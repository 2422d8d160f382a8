//! Who takes part: how peers come, and what they do when they have everything.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use protocol::{ContentId, Digest, PeerId, PeerMessage, PieceSet, Stake, VERSION};
use swarm::{Engine, Event, RequestId};

use super::transfers::TransferId;
use super::{Happening, Holding, PeerIx, SECOND, World};
use crate::bound::{Capacities, least_seconds};
use crate::network::LinkId;
use crate::plan::{Holds, Plan, Serves};
use crate::queue::Time;

pub(super) struct Peer {
    /// Nothing before it comes and after it is gone.
    pub(super) engine: Option<Box<Engine>>,
    pub(super) id: PeerId,
    pub(super) seeder: bool,
    pub(super) crashed: bool,
    pub(super) serves: Serves,
    pub(super) wrong: f64,
    pub(super) site: String,
    pub(super) copies_then_crash: Option<f64>,
    pub(super) up: LinkId,
    pub(super) down: LinkId,
    pub(super) arrived: Time,
    pub(super) tick_at: Time,
    pub(super) requests: BTreeMap<RequestId, TransferId>,
    pub(super) holdings: Vec<Holding>,
}

/// Where a peer listens. Private addresses, which trackers pass on to everyone.
pub(super) fn address(peer: PeerIx) -> SocketAddr {
    let [_, b, c, d] = peer.to_be_bytes();
    SocketAddr::new(IpAddr::from([10, b, c, d]), 9000)
}

/// The number at the end of an id; the rest is random, since engines go by the order of ids.
pub(super) fn number(id: PeerId) -> PeerIx {
    let [.., a, b, c, d] = id.0.0;
    PeerIx::from_be_bytes([a, b, c, d])
}

impl World {
    /// Makes all peers of the plan. Engines are made when they come.
    pub(super) fn populate(&mut self, plan: &Plan, random: &mut fastrand::Rng) {
        let pieces = self.contents[0].geometry.pieces();
        let normal = self.contents[0].geometry.total() as f64 / plan.copy_seconds;
        let mut capacities =
            Capacities { seeders: 0.0, seeder_count: 0, uplinks: Vec::new(), slowest_downlink: f64::INFINITY };
        for (number, group) in plan.members().into_iter().enumerate() {
            let group = &plan.group[group];
            let mut id = [0; 32];
            random.fill(&mut id);
            id[28..].copy_from_slice(&(number as PeerIx).to_be_bytes());
            let seeder = group.holds == Holds::All || group.range.is_some();
            let uplink = if group.serves == Serves::Well { group.upload } else { 0.0 };
            if seeder {
                capacities.seeders += group.upload / plan.copy_seconds;
                capacities.seeder_count += 1;
            } else {
                capacities.uplinks.push(uplink / plan.copy_seconds);
                capacities.slowest_downlink = capacities.slowest_downlink.min(group.download / plan.copy_seconds);
            }
            let part = |share: f64| (f64::from(pieces) * share).round() as u32;
            let mut have: PieceSet = match group.range {
                Some([from, to]) => (0..pieces).filter(|piece| (part(from)..part(to)).contains(piece)).collect(),
                None if seeder => PieceSet::full(pieces),
                None => PieceSet::empty(pieces),
            };
            have.resize(pieces);
            self.peers.push(Peer {
                engine: None,
                id: PeerId(Digest(id)),
                seeder,
                crashed: false,
                serves: group.serves,
                wrong: group.wrong,
                site: group.site.clone(),
                copies_then_crash: group.copies_then_crash,
                up: self.network.add_link(group.upload * normal),
                down: self.network.add_link(group.download * normal),
                arrived: 0,
                tick_at: 0,
                requests: BTreeMap::new(),
                holdings: vec![Holding { have, wanted: !seeder, manifest: seeder, done: None }],
            });
            self.downloads += usize::from(!seeder);
            let arrives = (random.f64() * group.arrive_within * SECOND as f64) as Time;
            self.queue.push(arrives, Happening::Arrive(number as PeerIx));
            if let Some(mean) = group.mean_stay {
                let stay = -(1.0 - random.f64()).ln() * mean;
                self.queue.push(arrives + (stay * SECOND as f64) as Time, Happening::Crash(number as PeerIx));
            }
        }
        self.open = self.downloads;
        self.bound = least_seconds(&capacities, pieces);
        self.between_sites = plan.between_sites.map(|capacity| self.network.add_link(capacity * normal));
        self.transfers.add_links(self.peers.len() * 2 + 1);
    }

    pub(super) fn arrive(&mut self, peer: PeerIx) {
        let hello = PeerMessage::Hello {
            version: VERSION,
            listeners: vec![address(peer)],
            site: self.peers[peer as usize].site.clone(),
        };
        let state = &mut self.peers[peer as usize];
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(peer));
        state.engine = Some(Box::new(Engine::new(self.config.clone(), state.id, hello, seed)));
        state.arrived = self.now;
        for content in 0..self.contents.len() {
            let (id, geometry) = (self.contents[content].id, self.contents[content].geometry.clone());
            let holding = &self.peers[peer as usize].holdings[content];
            if holding.wanted {
                self.tell(peer, Event::Want { content: id });
            } else if holding.manifest {
                let have = holding.have.clone();
                have.iter().for_each(|piece| self.contents[content].copies[piece as usize] += 1);
                self.tell(peer, Event::Content { content: id, geometry, have, wanted: false });
            }
            self.announce(peer, content);
        }
    }

    /// All pieces are here.
    pub(super) fn complete(&mut self, peer: PeerIx, id: ContentId) {
        let (content, now) = (self.content(id), self.now);
        let holding = &mut self.peers[peer as usize].holdings[content];
        assert!(holding.have.is_full(), "peer {peer} says that it has everything, seed {}", self.seed);
        if holding.done.replace(now).is_none() {
            self.open -= 1;
        }
        self.announce(peer, content);
    }

    pub(super) fn announce(&mut self, peer: PeerIx, content: usize) {
        let holding = &self.peers[peer as usize].holdings[content];
        let stake = match (holding.have.is_full(), holding.wanted) {
            (true, _) => Stake::Seeder,
            (false, true) => Stake::Downloader,
            (false, false) => Stake::Partial,
        };
        self.send_announcement(peer, content, stake);
    }
}
