//! Two legs, coupled: what comes over one goes over the other, with as little held here as possible.
//!
//! Nothing is read for a side that has no room for it, so that who does not read holds up its own other side. What was read and
//! does not fit after all is held: for each direction a buffer at most. While all of them hold much, a connection that holds its part
//! already has small buffers, and others have what is left of theirs: peers that do not read slow down nobody else.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::account::Account;

/// Most bytes that are read at once, and so held for one direction.
const BUFFER: usize = 64 << 10;
/// The same while all directions together hold `MOST_HELD`, and those of this connection their part of it.
const SMALL_BUFFER: usize = 4 << 10;
/// When all directions together hold so much, those of a connection hold little more than their part of as much again: thousands of
/// peers that do not read must not fill the memory.
const MOST_HELD: usize = 8 << 20;
/// Legs over which nothing passes for this long, either way, are cut. Peers say something every two seconds over one of them, and
/// close the others when they have been idle for fifteen.
const IDLE: Duration = Duration::from_secs(60);
/// After so many buffers it is others' turn.
const A_TURN: usize = 16;

thread_local! {
    /// What all legs of a thread read into, one after another.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// The bytes that all directions of a relay hold together.
pub(crate) struct HeldByRelay {
    bytes: AtomicUsize,
    most: usize,
}

impl Default for HeldByRelay {
    fn default() -> Self {
        HeldByRelay { bytes: AtomicUsize::new(0), most: MOST_HELD }
    }
}

/// The bytes that all directions of one relayed connection hold together.
pub(crate) struct HeldByConnection {
    all: Arc<HeldByRelay>,
    own: AtomicUsize,
    /// What it may hold when all of them hold much.
    part: usize,
}

impl HeldByConnection {
    /// Those of one of so many connections.
    pub(crate) fn of(all: &Arc<HeldByRelay>, connections: usize) -> Self {
        HeldByConnection { all: all.clone(), own: AtomicUsize::new(0), part: all.most / connections.max(1) }
    }

    /// How much may be read at once.
    fn buffer(&self) -> usize {
        if self.all.bytes.load(Ordering::Relaxed) < self.all.most {
            return BUFFER;
        }
        self.part.saturating_sub(self.own.load(Ordering::Relaxed)).clamp(SMALL_BUFFER, BUFFER)
    }

    /// Holds these bytes until they are dropped.
    fn hold(&self, bytes: &[u8]) -> HeldBytes<'_> {
        for count in [&self.all.bytes, &self.own] {
            count.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        HeldBytes { bytes: bytes.to_vec(), held: self }
    }
}

/// What was read and did not fit.
struct HeldBytes<'a> {
    bytes: Vec<u8>,
    held: &'a HeldByConnection,
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        for count in [&self.held.all.bytes, &self.held.own] {
            count.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        }
    }
}

/// Passes on what comes until both sides have said all, or one of them is gone.
pub(crate) async fn couple(
    first: TcpStream,
    second: TcpStream,
    first_pays: &[Arc<Account>],
    second_pays: &[Arc<Account>],
    held: &HeldByConnection,
) -> io::Result<()> {
    let ((first_reads, first_writes), (second_reads, second_writes)) = (first.into_split(), second.into_split());
    let moved = AtomicBool::new(false);
    tokio::try_join!(
        carry(first_reads, second_writes, first_pays, held, &moved),
        carry(second_reads, first_writes, second_pays, held, &moved),
    )?;
    Ok(())
}

/// One direction, until it ends. The end is passed on.
async fn carry(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    paid_by: &[Arc<Account>],
    held: &HeldByConnection,
    moved: &AtomicBool,
) -> io::Result<()> {
    for turn in 1.. {
        let passing = pass(&from, &to, paid_by, held);
        tokio::pin!(passing);
        let ended = loop {
            match timeout(IDLE, &mut passing).await {
                Ok(passed) => break passed?,
                // The other direction is looked at too.
                Err(_) if moved.swap(false, Ordering::Relaxed) => {}
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        moved.store(true, Ordering::Relaxed);
        if ended {
            break;
        }
        if turn % A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Passes one buffer on. True at the end of what comes.
async fn pass(
    from: &OwnedReadHalf,
    to: &OwnedWriteHalf,
    paid_by: &[Arc<Account>],
    held: &HeldByConnection,
) -> io::Result<bool> {
    if !Account::ready(paid_by).await {
        return Err(io::Error::other("the bytes of a day are spent"));
    }
    let (count, rest) = loop {
        to.writable().await?;
        from.readable().await?;
        let passed = SCRATCH.with_borrow_mut(|buffer| {
            let count = from.try_read(&mut buffer[..held.buffer()])?;
            let written = match to.try_write(&buffer[..count]) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            Ok((count, held.hold(&buffer[written..count])))
        });
        match passed {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            passed => break passed?,
        }
    };
    Account::charge(paid_by, count);
    let mut rest = &rest.bytes[..];
    while !rest.is_empty() {
        to.writable().await?;
        match to.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count == 0)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A socket, and its other end.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialling = TcpStream::connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialling, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_end_is_passed_on() {
        let ((one, leg), (other, second)) = (pair().await, pair().await);
        let coupled =
            tokio::spawn(async move { couple(leg, second, &[], &[], &HeldByConnection::of(&Arc::default(), 1)).await });
        let bytes: Vec<u8> = (0..3 << 20).map(|n: u32| (n % 251) as u8).collect();
        let talk = |mut socket: TcpStream| {
            let bytes = bytes.clone();
            async move {
                let (mut reads, mut writes) = socket.split();
                let mut came = Vec::new();
                let write = async {
                    writes.write_all(&bytes).await.unwrap();
                    writes.shutdown().await.unwrap();
                };
                tokio::join!(write, async { reads.read_to_end(&mut came).await.unwrap() });
                assert!(came == bytes);
            }
        };
        tokio::join!(talk(one), talk(other));
        coupled.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_does_not_read_holds_up_the_sender_and_nobody_else() {
        let ((mut one, leg), (other, second)) = (pair().await, pair().await);
        let coupled =
            tokio::spawn(async move { couple(leg, second, &[], &[], &HeldByConnection::of(&Arc::default(), 1)).await });
        let chunk = vec![7; 1 << 20];
        let mut sent = 0;
        // The kernel's buffers fill, and then nothing more is taken.
        while let Ok(written) = timeout(Duration::from_millis(300), one.write(&chunk)).await {
            sent += written.unwrap();
            assert!(sent < 256 << 20, "it takes what nobody reads");
        }
        let (mut back, mut came) = (other, vec![0; sent]);
        back.write_all(b"still here").await.unwrap();
        let mut heard = [0; 10];
        one.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here", "the other direction is not held up");
        back.read_exact(&mut came).await.unwrap();
        assert!(came.iter().all(|byte| *byte == 7));
        drop((one, back));
        let _ = coupled.await.unwrap();
    }

    /// As `pair`, but the first has little room for what it reads, and the other, its leg, for what it writes.
    async fn narrow_pair() -> (TcpStream, TcpStream) {
        let (peer, leg) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        peer.set_recv_buffer_size(4 << 10).unwrap();
        leg.set_send_buffer_size(4 << 10).unwrap();
        leg.set_recv_buffer_size(128 << 10).unwrap();
        leg.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = leg.listen(1).unwrap();
        let dialling = peer.connect(listener.local_addr().unwrap());
        let (dialled, accepted) = tokio::join!(dialling, listener.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    /// Writes until nothing more is taken, and reads nothing.
    async fn fill(socket: TcpStream) -> TcpStream {
        let chunk = vec![7; 256 << 10];
        while let Ok(writable) = timeout(Duration::from_millis(500), socket.writable()).await {
            writable.unwrap();
            let _ = socket.try_write(&chunk);
        }
        socket
    }

    #[tokio::test]
    async fn many_that_do_not_read_take_little_memory_together() {
        const COUPLED: usize = 32;
        let all = Arc::new(HeldByRelay { most: 256 << 10, ..HeldByRelay::default() });
        let held = Arc::new(HeldByConnection::of(&all, COUPLED));
        let mut talks = Vec::new();
        for _ in 0..COUPLED {
            let ((one, leg), (other, second)) = (narrow_pair().await, narrow_pair().await);
            let held = held.clone();
            talks.push(tokio::spawn(async move {
                let fills = async {
                    let _both = tokio::join!(fill(one), fill(other));
                    held.all.bytes.load(Ordering::Relaxed)
                };
                tokio::select! {
                    bytes = fills => bytes,
                    ended = couple(leg, second, &[], &[], &held) => panic!("neither has gone: {ended:?}"),
                }
            }));
        }
        for talk in talks {
            let bytes = talk.await.unwrap();
            assert!(bytes < all.most + BUFFER + 2 * COUPLED * SMALL_BUFFER, "{bytes} bytes are held");
        }
        let counts = [&all.bytes, &held.own].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 0], "nothing is held for those that have gone");
    }

    #[test]
    fn one_connection_that_holds_much_leaves_the_others_their_part() {
        let all = Arc::<HeldByRelay>::default();
        let [greedy, honest] = [(); 2].map(|()| HeldByConnection::of(&all, 400));
        let part = MOST_HELD / 400;
        assert_eq!(greedy.buffer(), BUFFER);
        let held: Vec<_> = (0..MOST_HELD / BUFFER).map(|_| greedy.hold(&[0; BUFFER])).collect();
        assert_eq!((greedy.buffer(), honest.buffer()), (SMALL_BUFFER, part));
        let own = honest.hold(&vec![0; part - 1]);
        assert_eq!(honest.buffer(), SMALL_BUFFER, "it holds its part");
        drop(own);
        assert_eq!(honest.buffer(), part);
        drop(held);
        assert_eq!((greedy.buffer(), honest.buffer()), (BUFFER, BUFFER));
    }

    #[tokio::test]
    async fn a_side_that_goes_takes_the_other_with_it() {
        let ((one, leg), (mut other, second)) = (pair().await, pair().await);
        let coupled =
            tokio::spawn(async move { couple(leg, second, &[], &[], &HeldByConnection::of(&Arc::default(), 1)).await });
        drop(one);
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 0);
        drop(other);
        let _ = coupled.await.unwrap();
    }
}
