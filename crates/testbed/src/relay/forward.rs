//! The thread that forwards datagrams: it receives them, asks the model when they arrive, and sends them at that time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::direction::Direction;
use super::{Counts, Link};

/// Asked of the kernel for each socket, both ways: what is lost should be lost by the model.
const SOCKET_BUFFER: usize = 4 << 20;
/// The largest datagram that UDP carries, in bytes.
const LARGEST: usize = 65_507;
/// Datagrams taken from one socket before others have their turn.
const BATCH: usize = 64;
/// Most bytes under way, should a link have no bottleneck.
const MOST_HELD: usize = 256 << 20;
/// Most senders.
const MOST_SENDERS: usize = 512;
/// Time between two looks whether the relay is to end.
const LOOK: Duration = Duration::from_millis(20);

/// A relay before one listener. It ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What passed a relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Towards the listener.
    pub towards: Counts,
    /// From the listener to those who dialled it.
    pub from: Counts,
}

#[derive(Default)]
struct Shared {
    target: OnceLock<SocketAddr>,
    traffic: Mutex<Traffic>,
    stop: AtomicBool,
}

impl Relay {
    /// A relay at a free port of loopback. What comes waits until it is known where it leads.
    pub fn start(link: Link) -> io::Result<Self> {
        let front = open()?;
        let (address, shared) = (front.local_addr()?, Arc::new(Shared::default()));
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let forward = Forward {
                link: Arc::new(link),
                front,
                sessions: Vec::new(),
                by_client: HashMap::new(),
                held: BinaryHeap::new(),
                bytes_held: 0,
                began: None,
                passed: 0,
                shared: own,
            };
            forward.run();
        })?;
        Ok(Relay { address, shared, thread: Some(thread) })
    }

    /// The address to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to this listener from now on; only the first call counts.
    pub fn lead_to(&self, listener: SocketAddr) {
        let _ = self.shared.target.set(listener);
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        *self.shared.traffic.lock().expect("a thread has panicked while it held this lock")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket at a free port of loopback, with large buffers where the kernel grants them.
fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Forward {
    link: Arc<Link>,
    front: UdpSocket,
    sessions: Vec<Session>,
    by_client: HashMap<SocketAddr, usize>,
    /// Datagrams under way, the next to arrive first.
    held: BinaryHeap<Reverse<Held>>,
    bytes_held: usize,
    /// When the first datagram came.
    began: Option<Instant>,
    /// Datagrams so far: those that arrive at the same time keep their order.
    passed: u64,
    shared: Arc<Shared>,
}

/// The link of one who dials.
struct Session {
    client: SocketAddr,
    /// The socket that the listener knows as the sender.
    back: UdpSocket,
    towards: Direction,
    from: Direction,
    /// When the listener sees another port.
    rebind: Option<Duration>,
}

/// A datagram under way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    arrives: Duration,
    number: u64,
    session: usize,
    towards: bool,
    bytes: Vec<u8>,
}

impl Forward {
    fn run(mut self) {
        let mut buffer = vec![0; LARGEST];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let Some(&target) = self.shared.target.get() else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            self.deliver();
            for ready in self.wait() {
                match ready {
                    None => self.take_from_clients(target, &mut buffer),
                    Some(session) => self.take_from_listener(session, &mut buffer),
                }
            }
            self.report();
        }
    }

    /// Time since the first datagram.
    fn now(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// Sends what has arrived. A full socket at the other end loses it, as a real one would.
    fn deliver(&mut self) {
        let now = self.now();
        while self.held.peek().is_some_and(|Reverse(next)| next.arrives <= now) {
            let Some(Reverse(held)) = self.held.pop() else { return };
            self.bytes_held -= held.bytes.len();
            let session = &self.sessions[held.session];
            let _ = match held.towards {
                true => session.back.send(&held.bytes),
                false => self.front.send_to(&held.bytes, session.client),
            };
        }
    }

    /// Waits until the next datagram arrives or something comes; says from whom: a session's listener, or a dialler.
    fn wait(&self) -> Vec<Option<usize>> {
        let patience = match self.held.peek() {
            Some(Reverse(next)) => next.arrives.saturating_sub(self.now()).min(LOOK),
            None => LOOK,
        };
        let sockets = std::iter::once(&self.front).chain(self.sessions.iter().map(|session| &session.back));
        let mut sockets: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let patience = Timespec::try_from(patience).unwrap_or_default();
        if poll(&mut sockets, Some(&patience)).is_err() {
            // A signal came; whatever else it was, it must not become a busy loop.
            std::thread::sleep(Duration::from_millis(1));
            return Vec::new();
        }
        let ready = sockets.iter().enumerate().filter(|(_, socket)| !socket.revents().is_empty());
        ready.map(|(number, _)| number.checked_sub(1)).collect()
    }

    fn take_from_clients(&mut self, target: SocketAddr, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.front.recv_from(buffer) {
                Ok((len, client)) => {
                    self.began.get_or_insert_with(Instant::now);
                    let Some(number) = self.session(client, target) else { continue };
                    self.rebind(number, target);
                    self.pass(number, true, &buffer[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Someone to whom something was sent is gone.
                Err(_) => {}
            }
        }
    }

    fn take_from_listener(&mut self, number: usize, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.sessions[number].back.recv(buffer) {
                Ok(len) => self.pass(number, false, &buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    /// The link of this client; a new one if it is new and there is room.
    fn session(&mut self, client: SocketAddr, target: SocketAddr) -> Option<usize> {
        if let Some(&number) = self.by_client.get(&client) {
            return Some(number);
        }
        let number = self.sessions.len();
        if number >= MOST_SENDERS {
            return None;
        }
        let back = open_to(target).ok()?;
        let direction = |way| Direction::new(self.link.clone(), 2 * number as u64 + way);
        let rebind = self.link.rebind.map(|every| self.now() + every);
        self.sessions.push(Session { client, back, towards: direction(0), from: direction(1), rebind });
        self.by_client.insert(client, number);
        Some(number)
    }

    /// Gives a session a new port if it is time. What is on its way to the old one is lost, as behind a real NAT.
    fn rebind(&mut self, number: usize, target: SocketAddr) {
        let now = self.now();
        let session = &mut self.sessions[number];
        let Some(every) = self.link.rebind.filter(|_| session.rebind.is_some_and(|at| at <= now)) else { return };
        session.rebind = Some(now + every);
        if let Ok(back) = open_to(target) {
            session.back = back;
        }
    }

    fn pass(&mut self, session: usize, towards: bool, bytes: &[u8]) {
        let now = self.now();
        let Session { towards: there, from: back, .. } = &mut self.sessions[session];
        for arrives in (if towards { there } else { back }).pass(now, bytes.len()).into_iter().flatten() {
            if self.bytes_held + bytes.len() > MOST_HELD {
                return;
            }
            self.bytes_held += bytes.len();
            self.passed += 1;
            let bytes = bytes.to_vec();
            self.held.push(Reverse(Held { arrives, number: self.passed, session, towards, bytes }));
        }
    }

    fn report(&self) {
        let sum = |of: fn(&Session) -> Counts| self.sessions.iter().map(of).fold(Counts::default(), Counts::plus);
        let traffic =
            Traffic { towards: sum(|session| session.towards.counts()), from: sum(|session| session.from.counts()) };
        *self.shared.traffic.lock().expect("a thread has panicked while it held this lock") = traffic;
    }
}

fn open_to(target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open()?;
    socket.connect(target)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that gives up after a while.
    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn relay(link: &str, listener: &UdpSocket) -> Relay {
        let relay = Relay::start(link.parse().unwrap()).unwrap();
        relay.lead_to(listener.local_addr().unwrap());
        relay
    }

    #[test]
    fn a_question_and_its_answer_pass_for_each_who_dials() {
        let listener = socket();
        let relay = relay("rtt=4ms,rate=100mbit", &listener);
        let clients = [socket(), socket()];
        let mut buffer = [0; 100];
        for (client, question) in clients.iter().zip([b"one", b"two"]) {
            client.send_to(question, relay.address()).unwrap();
            let (len, from) = listener.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], question);
            listener.send_to(&[question.as_slice(), b"!"].concat(), from).unwrap();
        }
        for (client, answer) in clients.iter().zip([b"one!", b"two!"]) {
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (answer.as_slice(), relay.address()));
        }
        let Traffic { towards, from } = relay.traffic();
        assert_eq!((towards.datagrams, towards.bytes, from.datagrams, from.bytes), (2, 6, 2, 8));
    }

    #[test]
    fn what_comes_early_waits_for_the_listener() {
        let (listener, client) = (socket(), socket());
        let relay = Relay::start(Link::default()).unwrap();
        client.send_to(b"early", relay.address()).unwrap();
        relay.lead_to(listener.local_addr().unwrap());
        let mut buffer = [0; 100];
        assert_eq!(listener.recv_from(&mut buffer).unwrap().0, 5);
    }

    #[test]
    fn a_nat_that_forgets_shows_another_port() {
        let (listener, client) = (socket(), socket());
        let relay = relay("rebind=1ms", &listener);
        let mut buffer = [0; 100];
        let mut port = || {
            std::thread::sleep(Duration::from_millis(2));
            client.send_to(b"hello", relay.address()).unwrap();
            listener.recv_from(&mut buffer).unwrap().1.port()
        };
        let ports = [port(), port(), port()];
        assert!(ports[0] != ports[1] && ports[1] != ports[2], "{ports:?}");
    }
}
