//! The peers: how they come, and what they do when they have everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use protocol::{ContentId, Digest, PeerId, PeerMessage, PieceSet, VERSION};
use swarm::{Engine, Event, RequestId};

use super::hostile::Brain;
use super::origin::OriginServer;
use super::parts::{PART, PartReader};
use super::readers::Reader;
use super::transfers::TransferId;
use super::{Holding, PeerIx, SECOND, SimEvent, World};
use crate::bound::{Capacities, Demand, least_seconds, least_seconds_of_several};
use crate::network::LinkId;
use crate::plan::{Hostile, Plan, Serves};
use crate::queue::Time;

pub(super) struct Peer {
    /// Nothing before it comes and after it is gone.
    pub(super) brain: Option<Brain>,
    pub(super) id: PeerId,
    /// Where it listens.
    pub(super) address: SocketAddr,
    pub(super) hostile: Option<Hostile>,
    pub(super) seeder: bool,
    pub(super) crashed: bool,
    /// The cuts that keep it apart, a bit each.
    pub(super) cuts: u32,
    /// Its part of the latency and of the goodput to anyone.
    pub(super) latency: Time,
    pub(super) goodput: f64,
    /// Bytes that it has asked for and that have not come.
    pub(super) owed: u64,
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
    /// It knows the manifest of the first content, and reads from its origin.
    pub(super) reads_origin: bool,
    /// What it has read of that, if it shares it from there.
    pub(super) parts: Option<PartReader>,
    /// How it reads the first content.
    pub(super) reader: Option<Reader>,
}

impl Peer {
    /// What decides for it, if it is here and not hostile.
    pub(super) fn engine(&self) -> Option<&Engine> {
        match self.brain.as_ref()? {
            Brain::Honest(engine) => Some(engine),
            Brain::Hostile(_) => None,
        }
    }
}

/// Where a peer with an address of its own listens. Private addresses, which trackers pass on to everyone.
fn address(peer: PeerIx) -> SocketAddr {
    let [_, b, c, d] = peer.to_be_bytes();
    SocketAddr::new(IpAddr::from([10, b, c, d]), 9000)
}

impl World {
    /// Makes all peers of the plan. Engines are made when they come.
    pub(super) fn populate(&mut self, plan: &Plan, random: &mut fastrand::Rng) {
        let pieces = self.contents[0].geometry.pieces();
        let normal = self.contents[0].geometry.total() as f64 / plan.copy_seconds;
        let members = plan.members();
        let first = |group: usize| members.iter().position(|&other| other == group).unwrap_or(0);
        let shift = if plan.group.iter().any(|group| !group.hostile.is_empty()) { random.usize(..) } else { 0 };
        for (number, &group) in members.iter().enumerate() {
            let in_group = number - first(group);
            let group = &plan.group[group];
            let ways = &group.hostile;
            let hostile = ways.get(in_group.wrapping_add(shift) % ways.len().max(1)).cloned();
            let named = |name: &String| plan.group.iter().position(|group| group.name == *name).map(first);
            let host = group.address_of.as_ref().and_then(named);
            let shared = group.addresses.map(|count| number - in_group + in_group % count as usize);
            let address = match host.or(shared) {
                // Others at one address have other ports.
                Some(host) => SocketAddr::new(address(host as PeerIx).ip(), 10_000 + (in_group % 50_000) as u16),
                None => address(number as PeerIx),
            };
            let mut id = [0; 32];
            random.fill(&mut id);
            id[28..].copy_from_slice(&(number as PeerIx).to_be_bytes());
            let seeder = group.seeds();
            let part = |share: f64| (f64::from(pieces) * share).round() as u32;
            let mut have: PieceSet = match group.range {
                Some([from, to]) => (0..pieces).filter(|piece| (part(from)..part(to)).contains(piece)).collect(),
                None if seeder || hostile.is_some() => PieceSet::full(pieces),
                None => PieceSet::empty(pieces),
            };
            have.resize(pieces);
            let holding = |content: usize| {
                let takes_part = group.takes_part(content);
                let have = if takes_part { have.clone() } else { PieceSet::empty(pieces) };
                let holds = seeder || hostile.is_some();
                Holding { have, wanted: takes_part && !holds, manifest: takes_part && holds, done: None }
            };
            let holdings: Vec<Holding> = (0..self.contents.len()).map(holding).collect();
            self.downloads += holdings.iter().filter(|holding| holding.wanted).count();
            self.peers.push(Peer {
                brain: None,
                id: PeerId(Digest(id)),
                address,
                seeder,
                crashed: false,
                cuts: 0,
                latency: (group.latency_ms * 1e6) as Time,
                goodput: 1.0 - group.loss,
                owed: 0,
                serves: group.serves,
                wrong: group.wrong,
                site: group.site.clone(),
                copies_then_crash: group.copies_then_crash,
                up: self.network.add_link(match &hostile {
                    Some(hostile) if hostile.rate > 0.0 => hostile.rate,
                    _ => group.upload * normal,
                }),
                hostile,
                down: self.network.add_link(group.download * normal),
                arrived: 0,
                tick_at: 0,
                requests: BTreeMap::new(),
                holdings,
                reads_origin: group.reads_origin,
                parts: (seeder && group.reads_origin).then(|| PartReader::new(pieces)),
                reader: group.reads.as_ref().map(|reads| Reader::new(reads, pieces, normal)),
            });
            let arrives = (random.f64() * group.arrive_within * SECOND as f64) as Time;
            self.queue.push(arrives, SimEvent::Arrive(number as PeerIx));
            if let Some(mean) = group.mean_stay {
                let stay = -(1.0 - random.f64()).ln() * mean;
                self.queue.push(arrives + (stay * SECOND as f64) as Time, SimEvent::Crash(number as PeerIx));
            }
        }
        self.open = self.downloads;
        self.bound = self.least_seconds(plan).max(self.least_seconds_between_sites(plan));
        self.between_sites = plan.between_sites.map(|capacity| self.network.add_link(capacity * normal));
        self.sites_told = plan.sites_told;
        if let Some(origin) = &plan.origin {
            let up = self.network.add_link(origin.upload * normal);
            self.origin = Some(OriginServer::new(origin, up));
        }
        self.transfers.add_links(self.peers.len() * 2 + 2);
    }

    /// Seconds that any protocol needs, if sites are not apart.
    fn least_seconds(&self, plan: &Plan) -> f64 {
        let mut capacities =
            Capacities { seeders: 0.0, seeder_count: 0, uplinks: Vec::new(), slowest_downlink: f64::INFINITY };
        let (mut demands, mut wanted) = (Vec::new(), vec![false; self.contents.len()]);
        for (group, peer) in plan.members().into_iter().zip(&self.peers) {
            let group = &plan.group[group];
            if peer.hostile.is_some() {
                continue;
            }
            // What is lost takes its part of a link.
            let copies = |capacity: f64| capacity * self.goodput * peer.goodput / plan.copy_seconds;
            let uplink = if group.serves == Serves::Well { copies(group.upload) } else { 0.0 };
            if peer.seeder {
                let read = plan.origin.as_ref().filter(|_| group.reads_origin).map_or(f64::INFINITY, |it| it.upload);
                capacities.seeders += copies(group.upload.min(read));
                capacities.seeder_count += 1;
            } else {
                capacities.uplinks.push(uplink);
                capacities.slowest_downlink = capacities.slowest_downlink.min(copies(group.download));
                let wants = |content: &usize| peer.holdings[*content].wanted;
                let count = (0..wanted.len()).filter(wants).count() as f64;
                demands.push(Demand { copies: count, uplink, downlink: copies(group.download) });
                (0..wanted.len()).filter(wants).for_each(|content| wanted[content] = true);
            }
        }
        if let Some(origin) =
            plan.origin.as_ref().filter(|_| plan.group.iter().any(|it| it.reads_origin && !it.seeds()))
        {
            capacities.seeders += origin.upload / plan.copy_seconds;
            capacities.seeder_count += 1;
        }
        match wanted.len() {
            1 => least_seconds(&capacities, plan.pieces),
            _ => least_seconds_of_several(capacities.seeders, wanted.iter().filter(|it| **it).count() as f64, &demands),
        }
    }

    /// Seconds that the link between sites needs for what is wanted at a site where nobody holds it.
    fn least_seconds_between_sites(&self, plan: &Plan) -> f64 {
        let Some(capacity) = plan.between_sites else { return 0.0 };
        let sites: BTreeSet<&str> = self.peers.iter().map(|peer| peer.site.as_str()).collect();
        let mut pieces = 0;
        for (site, content) in sites.iter().flat_map(|&site| (0..self.contents.len()).map(move |at| (site, at))) {
            let honest = |peer: &&Peer| peer.site == site && peer.hostile.is_none();
            let here = || self.peers.iter().filter(honest).map(|peer| &peer.holdings[content]);
            if here().any(|holding| holding.wanted) {
                let lacks = |piece: &u32| !here().any(|holding| holding.have.contains(*piece));
                pieces += (0..self.contents[content].geometry.pieces()).filter(lacks).count();
            }
        }
        pieces as f64 / f64::from(plan.pieces) * plan.copy_seconds / capacity / self.goodput
    }

    pub(super) fn arrive(&mut self, peer: PeerIx) {
        let site = if self.sites_told { self.peers[peer as usize].site.clone() } else { String::new() };
        let listeners = vec![self.peers[peer as usize].address];
        let hello = PeerMessage::Hello { version: VERSION, listeners, site };
        if self.peers[peer as usize].hostile.is_some() {
            return self.arrive_hostile(peer, hello);
        }
        let state = &mut self.peers[peer as usize];
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(peer));
        state.brain = Some(Brain::Honest(Box::new(Engine::new(self.config.clone(), state.id, hello, seed))));
        state.arrived = self.now;
        for content in 0..self.contents.len() {
            let (id, geometry) = (self.contents[content].id, self.contents[content].geometry.clone());
            let holding = &self.peers[peer as usize].holdings[content];
            if holding.wanted {
                self.tell(peer, Event::Want { content: id });
                if content == 0 && self.peers[peer as usize].reads_origin {
                    self.tell(peer, Event::Origin { content: id, cap: None, spare: false });
                    self.know_manifest(peer, content);
                }
            } else if holding.manifest {
                let have = holding.have.clone();
                have.iter().for_each(|piece| self.contents[content].copies[piece as usize] += 1);
                self.tell(peer, Event::Content { content: id, geometry, have, wanted: PieceSet::empty(0) });
                if content == 0 && self.peers[peer as usize].parts.is_some() {
                    self.tell(peer, Event::ReadInParts { content: id, part: PART });
                }
            } else {
                continue;
            }
            self.announce(peer, content);
        }
    }

    /// A peer has the manifest, and wants everything.
    pub(super) fn know_manifest(&mut self, peer: PeerIx, content: usize) {
        let (id, geometry) = (self.contents[content].id, self.contents[content].geometry.clone());
        let holding = &mut self.peers[peer as usize].holdings[content];
        if !std::mem::replace(&mut holding.manifest, true) {
            let (have, wanted) = (PieceSet::empty(geometry.pieces()), PieceSet::full(geometry.pieces()));
            self.tell(peer, Event::Content { content: id, geometry, have, wanted });
            self.announce(peer, content);
            if content == 0 {
                self.begin_reading(peer);
            }
        }
    }

    /// All pieces are here.
    pub(super) fn complete(&mut self, peer: PeerIx, id: ContentId) {
        let (content, now) = (self.content(id), self.now);
        let holding = &mut self.peers[peer as usize].holdings[content];
        if !holding.have.is_full() {
            self.violated(format_args!("peer {peer} says that it has everything of content {content}"));
        }
        if holding.done.replace(now).is_none() {
            self.open -= 1;
        }
        self.announce(peer, content);
    }

    /// From a peer to the tracker.
    pub(super) fn latency_of(&self, peer: PeerIx) -> Time {
        self.latency + self.peers[peer as usize].latency
    }

    pub(super) fn latency_between(&self, one: PeerIx, other: PeerIx) -> Time {
        self.latency + self.peers[one as usize].latency + self.peers[other as usize].latency
    }
}
