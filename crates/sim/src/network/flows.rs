//! Flows that share links max-min fairly: no flow can have more without another that has no more getting less
//! (Bertsekas and Gallager, "Data Networks", 1992, section 6.5.2). It is what many equal TCP or QUIC streams come to.
//!
//! An allocation is max-min fair if and only if every flow has a *bottleneck*: a full link on which no flow is faster. So
//! when a flow comes or goes, only flows that are tied to it through full links can change: those are gathered, filled
//! anew in what the others leave, and if that filled up another link, its flows are gathered too. With uplinks as
//! bottlenecks that is a handful of flows, whatever the size of the swarm.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::queue::Time;

pub(crate) type LinkId = u32;
pub(crate) type FlowId = u32;

/// Uplink, downlink, and what lies between.
const MOST_LINKS: usize = 3;
const NO_LINK: LinkId = LinkId::MAX;
/// A link counts as full from this part of its capacity on: sums of rates are not exact.
const FULL: f64 = 1.0 - 1e-9;
/// Flows that are filled anew at once at most. Beyond, flows on further links keep their rates for the moment: they come to
/// their share with the next change near them.
const REGION: usize = 2048;

struct Link {
    /// Bytes a second.
    capacity: f64,
    used: f64,
    flows: Vec<FlowId>,
    /// Marks of the gathering that is under way.
    touched: u64,
    whole: u64,
    /// While rates are filled in: what is left, and for how many flows.
    left: f64,
    waiting: u32,
}

struct Flow {
    links: [LinkId; MOST_LINKS],
    /// Where in its links' lists it stands.
    places: [u32; MOST_LINKS],
    rate: f64,
    /// Bytes that arrived in good order, as of `since`.
    sent: f64,
    since: Time,
    /// The part of what is sent that is not lost.
    goodput: f64,
    gathered: u64,
    filled: bool,
    fresh: f64,
}

/// A number that sorts.
#[derive(Clone, Copy)]
struct Level(f64);

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Level {}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// All links and flows.
#[derive(Default)]
pub(crate) struct Network {
    links: Vec<Link>,
    flows: Vec<Flow>,
    free: Vec<FlowId>,
    gathering: u64,
    region: Vec<FlowId>,
    touched: Vec<LinkId>,
    whole: Vec<LinkId>,
    levels: BinaryHeap<Reverse<(Level, LinkId)>>,
    changed: Vec<LinkId>,
}

impl Network {
    /// A new link, in bytes a second.
    pub(crate) fn add_link(&mut self, capacity: f64) -> LinkId {
        self.links.push(Link { capacity, used: 0.0, flows: Vec::new(), touched: 0, whole: 0, left: 0.0, waiting: 0 });
        (self.links.len() - 1) as LinkId
    }

    /// Starts a flow over these links, the uplink first.
    pub(crate) fn start(&mut self, now: Time, links: impl IntoIterator<Item = LinkId>, goodput: f64) -> FlowId {
        let id = self.free.pop().unwrap_or(self.flows.len() as FlowId);
        let mut flow = Flow {
            links: [NO_LINK; MOST_LINKS],
            places: [0; MOST_LINKS],
            rate: 0.0,
            sent: 0.0,
            since: now,
            goodput,
            gathered: 0,
            filled: false,
            fresh: 0.0,
        };
        for (at, link) in links.into_iter().enumerate() {
            flow.links[at] = link;
            flow.places[at] = self.links[link as usize].flows.len() as u32;
            self.links[link as usize].flows.push(id);
        }
        match self.flows.get_mut(id as usize) {
            Some(slot) => *slot = flow,
            None => self.flows.push(flow),
        }
        self.begin();
        self.gather(id);
        self.rebalance(now);
        id
    }

    /// Ends a flow; what it sent.
    pub(crate) fn stop(&mut self, now: Time, id: FlowId) -> f64 {
        let sent = self.sent(id, now);
        let Flow { links, places, rate, .. } = self.flows[id as usize];
        self.begin();
        for (link, place) in links.into_iter().zip(places).filter(|(link, _)| *link != NO_LINK) {
            if self.is_full(link) {
                self.take_whole(link);
            }
            let state = &mut self.links[link as usize];
            state.used -= rate;
            state.flows.swap_remove(place as usize);
            if let Some(&moved) = state.flows.get(place as usize) {
                let moved = &mut self.flows[moved as usize];
                let at = moved.links.iter().position(|&other| other == link).expect("it stands in the link's list");
                moved.places[at] = place;
            }
        }
        self.free.push(id);
        self.rebalance(now);
        sent
    }

    /// Bytes that a flow has sent by now.
    pub(crate) fn sent(&self, id: FlowId, now: Time) -> f64 {
        let flow = &self.flows[id as usize];
        flow.sent + flow.rate * flow.goodput * (now - flow.since) as f64 / 1e9
    }

    /// When a flow will have sent so many bytes; `None` while it stands still.
    pub(crate) fn reaches(&self, id: FlowId, bytes: f64) -> Option<Time> {
        let flow = &self.flows[id as usize];
        let rate = flow.rate * flow.goodput;
        (rate > 0.0).then(|| flow.since + ((bytes - flow.sent).max(0.0) / rate * 1e9).ceil() as Time)
    }

    /// The flows on a link.
    pub(crate) fn flows(&self, link: LinkId) -> &[FlowId] {
        &self.links[link as usize].flows
    }

    /// The uplinks on which rates changed with the last start or stop.
    pub(crate) fn changed(&mut self) -> &mut Vec<LinkId> {
        &mut self.changed
    }

    fn begin(&mut self) {
        self.gathering += 1;
        self.region.clear();
        self.touched.clear();
        self.whole.clear();
        self.changed.clear();
    }

    fn is_full(&self, link: LinkId) -> bool {
        let link = &self.links[link as usize];
        link.used >= link.capacity * FULL
    }

    fn take_whole(&mut self, link: LinkId) {
        let state = &mut self.links[link as usize];
        if state.whole != self.gathering {
            state.whole = self.gathering;
            self.whole.push(link);
        }
    }

    /// Takes a flow into the region; its full links follow.
    fn gather(&mut self, id: FlowId) {
        let flow = &mut self.flows[id as usize];
        if std::mem::replace(&mut flow.gathered, self.gathering) == self.gathering {
            return;
        }
        self.region.push(id);
        for link in flow.links.into_iter().filter(|link| *link != NO_LINK) {
            let state = &mut self.links[link as usize];
            if std::mem::replace(&mut state.touched, self.gathering) != self.gathering {
                self.touched.push(link);
            }
            if self.is_full(link) {
                self.take_whole(link);
            }
        }
    }

    /// Gathers, fills, and gathers what that has tied in, until nothing is.
    fn rebalance(&mut self, now: Time) {
        let mut next = 0;
        loop {
            while next < self.whole.len() && self.region.len() < REGION {
                for at in 0..self.links[self.whole[next] as usize].flows.len() {
                    self.gather(self.links[self.whole[next] as usize].flows[at]);
                }
                next += 1;
            }
            self.fill();
            if self.region.len() >= REGION {
                break;
            }
            for at in 0..self.touched.len() {
                let link = self.touched[at];
                let state = &self.links[link as usize];
                if state.whole != self.gathering && state.left <= state.capacity * (1.0 - FULL) {
                    self.take_whole(link);
                }
            }
            if next == self.whole.len() {
                break;
            }
        }
        self.settle(now);
    }

    /// Gives the gathered flows their rates in what the others leave (progressive filling).
    fn fill(&mut self) {
        for &link in &self.touched {
            let link = &mut self.links[link as usize];
            (link.left, link.waiting) = (link.capacity - link.used, 0);
        }
        for &id in &self.region {
            let flow = &mut self.flows[id as usize];
            flow.filled = false;
            for link in flow.links.into_iter().filter(|link| *link != NO_LINK) {
                let link = &mut self.links[link as usize];
                link.left += flow.rate;
                link.waiting += 1;
            }
        }
        self.levels.clear();
        for &id in &self.touched {
            let link = &mut self.links[id as usize];
            if link.waiting as usize == link.flows.len() {
                link.left = link.capacity;
            }
            self.levels.push(Reverse((Level(link.left.max(0.0) / f64::from(link.waiting)), id)));
        }
        while let Some(Reverse((Level(level), id))) = self.levels.pop() {
            let link = &self.links[id as usize];
            if link.waiting == 0 {
                continue;
            }
            // Levels only rise while others are filled, so the least that is not stale is the least.
            let actual = link.left.max(0.0) / f64::from(link.waiting);
            if actual > level {
                self.levels.push(Reverse((Level(actual), id)));
                continue;
            }
            for at in 0..self.links[id as usize].flows.len() {
                let flow = &mut self.flows[self.links[id as usize].flows[at] as usize];
                if flow.gathered != self.gathering || flow.filled {
                    continue;
                }
                (flow.filled, flow.fresh) = (true, actual);
                for link in flow.links.into_iter().filter(|link| *link != NO_LINK) {
                    let link = &mut self.links[link as usize];
                    link.left -= actual;
                    link.waiting -= 1;
                }
            }
        }
    }

    /// Makes the fresh rates the ones that hold from now on.
    fn settle(&mut self, now: Time) {
        for &link in &self.touched {
            let link = &mut self.links[link as usize];
            link.used = link.capacity - link.left;
        }
        for &link in &self.whole {
            // A link that lost its last flow is touched by none.
            let link = &mut self.links[link as usize];
            if link.flows.is_empty() {
                link.used = 0.0;
            }
        }
        for at in 0..self.region.len() {
            let id = self.region[at];
            let sent = self.sent(id, now);
            let flow = &mut self.flows[id as usize];
            if (flow.rate - flow.fresh).abs() > flow.rate * 1e-12 {
                (flow.sent, flow.since, flow.rate) = (sent, now, flow.fresh);
                if !self.changed.contains(&flow.links[0]) {
                    self.changed.push(flow.links[0]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Time = 1_000_000_000;

    fn rates(network: &Network, flows: &[FlowId]) -> Vec<f64> {
        flows.iter().map(|&flow| (network.flows[flow as usize].rate * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn one_uplink_is_shared_evenly_and_flows_keep_what_they_sent() {
        let mut network = Network::default();
        let up = network.add_link(100.0);
        let downs = [0, 1].map(|_| network.add_link(1000.0));
        let one = network.start(0, [up, downs[0]], 1.0);
        let other = network.start(SECOND, [up, downs[1]], 0.5);
        assert_eq!(rates(&network, &[one, other]), [50.0, 50.0]);
        assert_eq!(network.reaches(one, 125.0), Some(SECOND * 3 / 2));
        assert_eq!(network.sent(other, 2 * SECOND), 25.0, "half is lost");
        assert_eq!(network.stop(2 * SECOND, one), 150.0);
        assert_eq!(rates(&network, &[other]), [100.0]);
        assert_eq!(network.changed(), &[up]);
        assert_eq!(network.reaches(other, 75.0), Some(3 * SECOND));
    }

    #[test]
    fn what_a_slow_downlink_leaves_goes_to_the_others() {
        let mut network = Network::default();
        let (up, slow, fast) = (network.add_link(100.0), network.add_link(10.0), network.add_link(1000.0));
        let flows = [slow, fast, fast].map(|down| network.start(0, [up, down], 1.0));
        assert_eq!(rates(&network, &flows), [10.0, 45.0, 45.0]);
    }

    /// Bertsekas and Gallager's example: a chain of links, one flow over each and one over several.
    #[test]
    fn a_flow_over_two_links_gets_the_share_of_the_narrower() {
        let mut network = Network::default();
        let (a, b, thin) = (network.add_link(90.0), network.add_link(60.0), network.add_link(20.0));
        let long = network.start(0, [a, b, thin], 1.0);
        let short = network.start(0, [a], 1.0);
        let others = [0, 1].map(|_| network.start(0, [b], 1.0));
        assert_eq!(rates(&network, &[long, short, others[0], others[1]]), [20.0, 70.0, 20.0, 20.0]);
        let third = network.start(0, [b], 1.0);
        assert_eq!(rates(&network, &[long, short, third]), [15.0, 75.0, 15.0]);
        network.stop(0, third);
        network.stop(0, others[0]);
        assert_eq!(rates(&network, &[long, short, others[1]]), [20.0, 70.0, 40.0]);
    }

    /// The local steps end where filling everything anew would.
    #[test]
    fn any_order_of_starts_and_stops_leaves_every_flow_with_a_bottleneck() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut network = Network::default();
            let links: Vec<_> = (0..12).map(|_| network.add_link(f64::from(random.u32(10..200)))).collect();
            let mut flows = Vec::new();
            for step in 0..200 {
                if flows.len() > 30 || (!flows.is_empty() && random.f64() < 0.4) {
                    network.stop(step, flows.swap_remove(random.usize(..flows.len())));
                } else {
                    let (up, down) = (random.usize(..6), random.usize(6..11));
                    let over_last = random.bool().then_some(links[11]);
                    flows.push(network.start(step, [links[up], links[down]].into_iter().chain(over_last), 1.0));
                }
                for &flow in &flows {
                    let Flow { rate, links, .. } = network.flows[flow as usize];
                    let is_bottleneck = |link: &LinkId| {
                        let link = &network.links[*link as usize];
                        let all = || link.flows.iter().map(|&flow| network.flows[flow as usize].rate);
                        let used: f64 = all().sum();
                        assert!(used <= link.capacity * 1.000001, "seed {seed}, step {step}");
                        used >= link.capacity * 0.999999 && all().all(|other| other <= rate * 1.000001)
                    };
                    let found = links.iter().filter(|link| **link != NO_LINK).any(is_bottleneck);
                    assert!(found, "seed {seed}, step {step}: a flow could be faster");
                }
            }
        }
    }
}
