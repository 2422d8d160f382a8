use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

/// A rate at which as much is joined as fits, in bytes a second.
const FAST: f64 = 1e9;

/// What one call of the kernel carried: each datagram with where it goes and how it is marked.
type Call = Vec<(SocketAddr, Option<EcnCodepoint>, Vec<u8>)>;

/// A socket that keeps what is sent, and is full after so many calls until it is let go on.
#[derive(Debug)]
struct Kept {
    calls: Mutex<Vec<Call>>,
    room: AtomicUsize,
    emptied: Arc<Notify>,
}

impl Kept {
    fn with_room(calls: usize) -> Arc<Self> {
        Arc::new(Kept { calls: Mutex::default(), room: AtomicUsize::new(calls), emptied: Arc::default() })
    }

    fn empty(&self, calls: usize) {
        self.room.store(calls, Ordering::Relaxed);
        self.emptied.notify_waiters();
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct Writable(Arc<Kept>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        if self.0.room.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(Ok(()));
        }
        let (emptied, waker) = (self.0.emptied.clone().notified_owned(), cx.waker().clone());
        tokio::spawn(async move {
            emptied.await;
            waker.wake();
        });
        Poll::Pending
    }
}

impl AsyncUdpSocket for Kept {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        assert!(transmit.contents.len() <= BATCH);
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.store(room - 1, Ordering::Relaxed);
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let datagrams: Call =
            transmit.contents.chunks(segment).map(|part| (transmit.destination, transmit.ecn, part.to_vec())).collect();
        assert!(datagrams.len() <= MOST_DATAGRAMS);
        self.calls.lock().unwrap().push(datagrams);
        Ok(())
    }

    fn poll_recv(&self, _: &mut Context, _: &mut [IoSliceMut<'_>], _: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(peer(0))
    }
}

fn peer(number: u16) -> SocketAddr {
    ([127, 0, 0, 1], 1000 + number).into()
}

/// On a socket that has sent so many bytes a second of late.
fn joining(kept: &Arc<Kept>, bytes_per_second: f64) -> Joining {
    let socket = Joining::new(kept.clone(), Handle::current());
    // The test takes less than that.
    let since = Some(Instant::now() + Duration::from_secs(1000));
    socket.state.lock().unwrap().rate = Rate { bytes_per_second, since, bytes: 0 };
    socket
}

/// A batch of so many datagrams of this size, numbered from here.
fn batch(first: usize, count: usize, size: usize) -> Vec<u8> {
    let datagram = |number: usize| (0..size).map(move |at| if at < 8 { number.to_le_bytes()[at] } else { 7 });
    (first..first + count).flat_map(datagram).collect()
}

fn send(socket: &Joining, to: u16, contents: &[u8], size: usize) -> io::Result<()> {
    let segment_size = (contents.len() > size).then_some(size);
    let ecn = Some(EcnCodepoint::Ect0);
    socket.try_send(&Transmit { destination: peer(to), ecn, contents, segment_size, src_ip: None })
}

/// All other tasks have had their turn, and theirs theirs.
async fn idle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn full_batches_of_one_turn_leave_in_one_call() {
    let kept = Kept::with_room(usize::MAX);
    let socket = joining(&kept, FAST);
    for first in [0, 10, 20, 30] {
        send(&socket, 1, &batch(first, 10, 1452), 1452).unwrap();
    }
    assert!(kept.calls().is_empty());
    send(&socket, 1, &batch(40, 5, 1452), 1452).unwrap();
    let calls = kept.calls();
    assert_eq!(
        calls.iter().map(Vec::len).collect::<Vec<_>>(),
        [40, 5],
        "the last one is not full, and waits for nothing"
    );
    let sent: Vec<u8> = calls.concat().into_iter().flat_map(|(.., datagram)| datagram).collect();
    assert!(sent == batch(0, 45, 1452));
}

#[tokio::test]
async fn nothing_is_held_once_the_other_tasks_have_had_their_turn() {
    let kept = Kept::with_room(usize::MAX);
    let socket = joining(&kept, FAST);
    for round in 1..4 {
        send(&socket, 1, &batch(0, 10, 1200), 1200).unwrap();
        assert_eq!(kept.calls().len(), round - 1);
        idle().await;
        assert_eq!(kept.calls().len(), round);
    }
}

#[tokio::test]
async fn what_cannot_be_joined_is_sent_at_once() {
    let kept = Kept::with_room(usize::MAX);
    let socket = joining(&kept, FAST);
    for (count, size) in [(1, 1452), (9, 1452), (2, 32_000), (10, 6_500), (11, 1200)] {
        send(&socket, 1, &batch(0, count, size), size).unwrap();
    }
    assert_eq!(kept.calls().iter().map(Vec::len).collect::<Vec<_>>(), [1, 9, 2, 10, 11]);
}

/// Any order of any batches, to any of several peers, over a socket that is full now and then.
#[tokio::test]
async fn each_peer_gets_all_that_it_was_sent_in_order() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let kept = Kept::with_room(3);
        let socket = joining(&kept, FAST);
        let mut sent = [(); 6].map(|()| Vec::new());
        for number in 0..100 {
            let (to, size) = (random.usize(..6), [1200, 1452, 9000][random.usize(..3)]);
            let contents = batch(number * 100, if random.bool() { 10 } else { random.usize(1..=10) }, size);
            let contents = &contents[..contents.len().min(BATCH / size * size)];
            while send(&socket, to as u16, contents, size).is_err() {
                kept.empty(random.usize(1..4));
            }
            sent[to].extend(contents.chunks(size).map(<[u8]>::to_vec));
            if random.u8(..) < 20 {
                idle().await;
            }
        }
        for _ in 0..10 {
            kept.empty(10);
            idle().await;
        }
        let calls = kept.calls();
        for (to, sent) in sent.iter().enumerate() {
            let all = calls.iter().flatten().filter(|(destination, ..)| *destination == peer(to as u16));
            let all: Vec<_> = all.collect();
            assert!(all.iter().all(|(_, ecn, _)| *ecn == Some(EcnCodepoint::Ect0)), "seed {seed}");
            assert!(all.into_iter().map(|(.., datagram)| datagram).eq(sent), "seed {seed}: peer {to}");
        }
    }
}

#[tokio::test]
async fn a_full_socket_keeps_what_is_held_until_there_is_room() {
    let kept = Kept::with_room(0);
    let socket = joining(&kept, FAST);
    send(&socket, 1, &batch(0, 10, 1452), 1452).unwrap();
    idle().await;
    assert!(kept.calls().is_empty());
    let full = send(&socket, 1, &batch(10, 1, 1452), 1452).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock, "what comes behind waits, too");
    kept.empty(usize::MAX);
    idle().await;
    assert_eq!(kept.calls().iter().map(Vec::len).collect::<Vec<_>>(), [10]);
}

#[tokio::test]
async fn no_more_is_joined_than_leaves_in_a_moment() {
    for (megabits, joined) in [(50.0, vec![10; 4]), (500.0, vec![10; 4]), (1000.0, vec![20; 2]), (2500.0, vec![40])] {
        let kept = Kept::with_room(usize::MAX);
        let socket = joining(&kept, megabits * 1e6 / 8.0);
        for first in [0, 10, 20, 30] {
            send(&socket, 1, &batch(first, 10, 1452), 1452).unwrap();
        }
        idle().await;
        assert_eq!(kept.calls().iter().map(Vec::len).collect::<Vec<_>>(), joined, "at {megabits} Mbit/s");
    }
}

#[test]
fn the_rate_is_that_of_the_last_milliseconds() {
    let (mut rate, mut now) = (Rate::default(), Instant::now());
    for _ in 0..100 {
        now += Duration::from_millis(1);
        rate.count(500_000, now);
    }
    assert_eq!(rate.joined(), BATCH);
    rate.count(1200, now + Duration::from_secs(1));
    assert!(rate.joined() < 1200, "a pause: {}", rate.joined());
}
