//! A socket that a client has to read from: one that takes nothing for too long is closed, and sooner where others wait for room.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use peer::ReadMemory;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::doors::Doors;

/// A client is looked at so often before it is given up, and once where others wait.
const LOOKS: u32 = 12;
/// Fewest bytes that it must have taken between two looks, if it was to take any.
const LEAST: usize = 4096;

/// What clients that do not read keep others from.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) memory: ReadMemory,
    pub(crate) doors: Arc<Doors>,
    /// A client that takes nothing for this long is gone.
    pub(crate) takes: Duration,
}

impl Crowd {
    fn waits(&self) -> bool {
        self.memory.is_short() || self.doors.are_full()
    }
}

pub(crate) struct Patient<S> {
    socket: S,
    crowd: Crowd,
    /// When it is looked at again, if something waits to be taken.
    look: Option<Pin<Box<Sleep>>>,
    /// Bytes that were taken since the last look, and looks at which they were too few.
    taken: usize,
    idle: u32,
}

impl<S> Patient<S> {
    pub(crate) fn new(socket: S, crowd: Crowd) -> Self {
        Patient { socket, crowd, look: None, taken: 0, idle: 0 }
    }

    /// Nothing waits, or enough was taken.
    fn is_content(&mut self) {
        (self.look, self.taken, self.idle) = (None, 0, 0);
    }

    fn judge(&mut self, result: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = result {
            self.taken += result.as_ref().map_or(0, |&bytes| bytes);
            if self.taken >= LEAST {
                self.is_content();
            }
            return Poll::Ready(result);
        }
        loop {
            let every = self.crowd.takes / LOOKS;
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(every)));
            if look.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.idle += 1;
            if self.idle >= LOOKS || self.crowd.waits() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            (self.look, self.taken) = (None, 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.judge(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.judge(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_flush(context);
        if result.is_ready() {
            self.is_content();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    const TAKES: Duration = Duration::from_secs(60);

    fn crowd() -> Crowd {
        Crowd { memory: ReadMemory::new(1), doors: Doors::new(2), takes: TAKES }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let error = Patient::new(ours, crowd()).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up_too() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let trickle = async {
            loop {
                sleep(TAKES / 20).await;
                if theirs.read_u8().await.is_err() {
                    return;
                }
            }
        };
        let mut ours = Patient::new(ours, crowd());
        tokio::select! {
            error = ours.write_all(&[0; 4000]) => assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut),
            () = trickle => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_slow_is_served_to_the_end() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 14);
        let reads = async {
            let mut block = vec![0; 1 << 13];
            for _ in 0..32 {
                sleep(TAKES / 8).await;
                theirs.read_exact(&mut block).await.unwrap();
            }
        };
        let mut ours = Patient::new(ours, crowd());
        let (written, ()) = tokio::join!(ours.write_all(&[0; 1 << 18]), reads);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn where_others_wait_it_is_given_up_sooner() {
        let began = Instant::now();
        let crowd = crowd();
        let _taken = crowd.memory.take(1).await;
        let (ours, _theirs) = tokio::io::duplex(16);
        let waits = crowd.memory.clone();
        tokio::select! {
            error = async { Patient::new(ours, crowd).write_all(&[0; 64]).await } => assert!(error.is_err()),
            _ = waits.take(1) => unreachable!(),
        }
        assert_eq!(began.elapsed().as_secs(), (TAKES / LOOKS).as_secs());
    }
}
