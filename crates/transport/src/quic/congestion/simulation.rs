//! A link in virtual time: quinn's state machines on both ends, a bottleneck between them, and no sockets or clocks.
//!
//! Ten seconds of a wide-area path take a fraction of one, and the same seed always gives the same run, so that a
//! controller can be tuned and tested by figures. All senders share the bottleneck; acknowledgements go back unhindered.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, Event, StreamEvent, StreamId, TransportConfig,
};

use super::Congestion;
use crate::Identity;
use crate::identity::SERVER_NAME;
use crate::quic::settings;

/// Headers of IPv4 and UDP, in bytes.
const HEADERS: usize = 28;
/// Datagrams that quinn hands over at once.
const BATCH: usize = 10;
const WINDOW: u32 = 32 << 20;
/// Bytes that are sent on a stream, as in an answer.
const STREAM: usize = 1 << 20;
static PAYLOAD: [u8; 16 << 10] = [7; 16 << 10];

/// The bottleneck and the way to and from it.
#[derive(Clone)]
pub(super) struct SimulatedLink {
    /// Bits a second.
    pub(super) rate: f64,
    pub(super) rtt: Duration,
    /// How long a full queue takes to drain.
    pub(super) buffer: Duration,
    /// Share of datagrams that is lost by chance behind the bottleneck.
    pub(super) loss: f64,
    /// Other rates, each from its time on.
    pub(super) later: Vec<(Duration, f64)>,
    /// Nothing passes from the first to the second time, in either direction.
    pub(super) blackout: Option<(Duration, Duration)>,
}

impl SimulatedLink {
    pub(super) fn new(megabits: f64, rtt_ms: u64, buffer_ms: u64) -> Self {
        let (rtt, buffer) = (Duration::from_millis(rtt_ms), Duration::from_millis(buffer_ms));
        SimulatedLink { rate: megabits * 1e6, rtt, buffer, loss: 0.0, blackout: None, later: Vec::new() }
    }
}

/// One sender and its receiver.
pub(super) struct SimulatedFlow {
    pub(super) congestion: Congestion,
    /// When it connects.
    pub(super) start: Duration,
    /// Bytes that the sender has been given to send by then; `None` for no end of them.
    pub(super) offered: Option<fn(Duration) -> u64>,
}

impl SimulatedFlow {
    pub(super) fn endless(congestion: Congestion) -> Self {
        SimulatedFlow { congestion, start: Duration::ZERO, offered: None }
    }
}

/// What became of a flow.
#[derive(Default, Clone)]
pub(super) struct Outcome {
    /// Bytes of payload that arrived by the end of each tenth of a second.
    pub(super) arrived: Vec<u64>,
    /// Bytes of datagrams that were sent, with headers.
    pub(super) sent: u64,
    /// Bytes that were lost by chance, and because the buffer was full.
    pub(super) unlucky: u64,
    pub(super) overflowed: u64,
    /// The queue that its datagrams met: sum of all delays, and their number.
    queued: Duration,
    passed: u32,
}

impl Outcome {
    /// Payload between two times, in bits a second.
    pub(super) fn rate(&self, from: Duration, to: Duration) -> f64 {
        let at = |time: Duration| match (time.as_millis() / 100) as usize {
            0 => 0,
            tenth => self.arrived[tenth - 1],
        };
        (at(to) - at(from)) as f64 * 8.0 / (to - from).as_secs_f64()
    }

    pub(super) fn payload(&self) -> u64 {
        *self.arrived.last().expect("it ran")
    }

    /// Bytes that were sent again although nothing was lost, and those that a full buffer cost, as a share of the payload.
    /// What chance lost, and what headers cost, is not the sender's doing.
    pub(super) fn waste(&self) -> f64 {
        let needed = self.payload() as f64 * (1480.0 / 1416.0);
        (self.sent.saturating_sub(self.unlucky) as f64 / needed - 1.0).max(0.0)
    }

    pub(super) fn mean_queue(&self) -> Duration {
        self.queued / self.passed.max(1)
    }
}

struct Node {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// What is being written, and how much of it is left.
    stream: Option<(StreamId, usize)>,
    /// The timer that an event stands for.
    timer: Option<Instant>,
}

enum What {
    Datagram(BytesMut),
    Timer,
    /// A look at all flows.
    Look,
}

struct Due {
    at: Instant,
    number: u64,
    node: usize,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct World {
    start: Instant,
    now: Instant,
    link: SimulatedLink,
    random: fastrand::Rng,
    free_at: Instant,
    events: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// Two a flow: the sender, then the receiver, who dials.
    nodes: Vec<Node>,
    flows: Vec<SimulatedFlow>,
    written: Vec<u64>,
    received: Vec<u64>,
    outcomes: Vec<Outcome>,
}

/// Runs the flows over the link for so long.
pub(super) fn run(link: &SimulatedLink, flows: Vec<SimulatedFlow>, time: Duration, seed: u64) -> Vec<Outcome> {
    let start = Instant::now();
    let count = flows.len();
    let mut world = World {
        start,
        now: start,
        link: link.clone(),
        random: fastrand::Rng::with_seed(seed),
        free_at: start,
        events: BinaryHeap::new(),
        number: 0,
        nodes: Vec::new(),
        flows,
        written: vec![0; count],
        received: vec![0; count],
        outcomes: vec![Outcome::default(); count],
    };
    for flow in 0..count {
        world.add(flow, seed);
    }
    let tenths = (time.as_millis() / 100) as u32;
    for tenth in 1..=tenths {
        world.schedule(start + Duration::from_millis(100) * tenth, 0, What::Look);
    }
    while let Some(Reverse(event)) = world.events.pop().filter(|event| event.0.at <= start + time) {
        world.now = event.at;
        world.handle(event);
    }
    world.outcomes
}

fn transport(congestion: Congestion) -> Arc<TransportConfig> {
    let mut transport = settings::transport(1452, WINDOW);
    transport.congestion_controller_factory(congestion.factory());
    Arc::new(transport)
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 9000))
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::generate().expect("a key"))
}

impl World {
    fn add(&mut self, flow: usize, seed: u64) {
        let mut config = settings::endpoint();
        config.rng_seed(Some([seed as u8 ^ flow as u8; 32]));
        let config = Arc::new(config);
        let transport = transport(self.flows[flow].congestion);
        let tls = QuicServerConfig::try_from(identity().server_tls(&crate::Trust::Anyone, None).expect("valid"))
            .expect("valid");
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(transport);
        let server = Endpoint::new(config.clone(), Some(Arc::new(server)), true, None);
        let client = Endpoint::new(config, None, true, None);
        for endpoint in [server, client] {
            self.nodes.push(Node { endpoint, connection: None, stream: None, timer: None });
        }
        self.schedule(self.start + self.flows[flow].start, 2 * flow + 1, What::Timer);
    }

    fn schedule(&mut self, at: Instant, node: usize, what: What) {
        self.number += 1;
        self.events.push(Reverse(Due { at, number: self.number, node, what }));
    }

    fn handle(&mut self, event: Due) {
        let (now, node) = (self.now, event.node);
        match event.what {
            What::Look => return self.look(),
            What::Timer => {
                if node % 2 == 1 && self.nodes[node].connection.is_none() {
                    self.dial(node);
                }
                let Node { connection, timer, .. } = &mut self.nodes[node];
                if timer.is_some_and(|timer| timer <= now) {
                    *timer = None;
                    connection.as_mut().expect("it has a timer").1.handle_timeout(now);
                }
            }
            What::Datagram(data) => self.receive(node, data),
        }
        self.drive(node);
    }

    fn look(&mut self) {
        for flow in 0..self.flows.len() {
            self.outcomes[flow].arrived.push(self.received[flow]);
            if self.nodes[2 * flow].connection.is_some() {
                self.drive(2 * flow);
            }
        }
    }

    fn dial(&mut self, node: usize) {
        let tls = identity()
            .client_tls(&crate::Trust::Anyone, crate::Whom::Peer(identity().peer_id()), Arc::new(OnceLock::new()))
            .expect("valid");
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("valid")));
        client.transport_config(transport(self.flows[node / 2].congestion));
        let dialled = self.nodes[node].endpoint.connect(self.now, client, address(node - 1), SERVER_NAME);
        self.nodes[node].connection = Some(dialled.expect("the configuration is valid"));
    }

    fn receive(&mut self, node: usize, data: BytesMut) {
        let (now, other) = (self.now, address(node ^ 1));
        let Node { endpoint, connection, .. } = &mut self.nodes[node];
        let mut response = Vec::new();
        match endpoint.handle(now, other, None, None, data, &mut response) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                connection.as_mut().expect("it was for one").1.handle_event(event);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                *connection = endpoint.accept(incoming, now, &mut response, None).ok();
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }

    fn drive(&mut self, node: usize) {
        let now = self.now;
        let mut buffer = Vec::new();
        loop {
            self.application(node);
            let Node { endpoint, connection, .. } = &mut self.nodes[node];
            let Some((handle, connection)) = connection else { return };
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(event) = endpoint.handle_event(*handle, event) {
                    connection.handle_event(event);
                }
            }
            buffer.clear();
            let Some(transmit) = connection.poll_transmit(now, BATCH, &mut buffer) else { break };
            let size = transmit.segment_size.unwrap_or(transmit.size);
            for datagram in buffer[..transmit.size].chunks(size) {
                self.carry(node, datagram);
            }
        }
        let Node { connection, timer, .. } = &mut self.nodes[node];
        let next = connection.as_mut().and_then(|(_, connection)| connection.poll_timeout());
        if *timer != next {
            *timer = next;
            if let Some(at) = next {
                self.schedule(at.max(now), node, What::Timer);
            }
        }
    }

    /// The sender writes all it may, one stream after another; the receiver reads all there is.
    fn application(&mut self, node: usize) {
        let flow = node / 2;
        let offered = self.flows[flow].offered.map_or(u64::MAX, |offered| offered(self.now - self.start));
        let Node { connection: Some((_, connection)), stream, .. } = &mut self.nodes[node] else { return };
        let mut readable = Vec::new();
        while let Some(event) = connection.poll() {
            match event {
                Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = connection.streams().accept(dir) {
                        connection.send_stream(id).finish().expect("it is open");
                        readable.push(id);
                    }
                }
                _ => {}
            }
        }
        if node % 2 == 1 {
            for id in readable {
                let mut received = connection.recv_stream(id);
                let Ok(mut chunks) = received.read(true) else { continue };
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    self.received[flow] += chunk.bytes.len() as u64;
                }
                let _ = chunks.finalize();
            }
            return;
        }
        while !connection.is_handshaking() && self.written[flow] < offered {
            if stream.is_none() {
                *stream = connection.streams().open(Dir::Bi).map(|id| (id, STREAM));
            }
            let Some((id, left)) = stream else { break };
            let most = (offered - self.written[flow]).min(PAYLOAD.len() as u64) as usize;
            let mut chunk = [Bytes::from_static(&PAYLOAD[..most])];
            let Ok(written) = connection.send_stream(*id).write_chunks(&mut chunk) else { break };
            self.written[flow] += written.bytes as u64;
            *left -= written.bytes.min(*left);
            if *left == 0 {
                connection.send_stream(*id).finish().expect("it is open");
                *stream = None;
            }
        }
    }

    /// A datagram leaves a node.
    fn carry(&mut self, node: usize, datagram: &[u8]) {
        let (now, link, outcome) = (self.now, &self.link, &mut self.outcomes[node / 2]);
        let since = now - self.start;
        let dark = link.blackout.is_some_and(|(from, to)| (from..to).contains(&since));
        let half = link.rtt / 2;
        let mut arrival = now + half;
        if node.is_multiple_of(2) {
            let length = datagram.len() + HEADERS;
            let rate = link.later.iter().rfind(|later| since >= later.0).map_or(link.rate, |later| later.1);
            outcome.sent += length as u64;
            let queue = self.free_at.saturating_duration_since(now);
            if queue > link.buffer {
                outcome.overflowed += length as u64;
                return;
            }
            self.free_at = self.free_at.max(now) + Duration::from_secs_f64(length as f64 * 8.0 / rate);
            outcome.queued += queue;
            outcome.passed += 1;
            if self.random.f64() < link.loss || dark {
                outcome.unlucky += length as u64;
                return;
            }
            arrival = self.free_at + half;
        } else if dark {
            return;
        }
        self.schedule(arrival, node ^ 1, What::Datagram(datagram.into()));
    }
}
