//! Accepting connections, whatever errors the listener has in between.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// An accept error is logged at most this often: accept may keep failing for hours.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// The connections that arrive at a listener.
pub struct Arrivals {
    listener: TcpListener,
    failed: &'static str,
    pause: Duration,
    logged: Option<Instant>,
}

impl Arrivals {
    /// Accepts from this listener. `failed` is what the log says if the system gives it no connection, for example because no
    /// descriptor is left; it then pauses for so long.
    pub fn new(listener: TcpListener, failed: &'static str, pause: Duration) -> Self {
        Arrivals { listener, failed, pause, logged: None }
    }

    /// The next connection.
    pub async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) if is_of_one_connection(&error) => tokio::task::yield_now().await,
                Err(error) => {
                    if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_AGAIN) {
                        tracing::warn!(%error, "{}", self.failed);
                        self.logged = Some(Instant::now());
                    }
                    tokio::time::sleep(self.pause).await;
                }
            }
        }
    }
}

/// Whether an error of `accept` concerns a single connection, which was reset before it was accepted: the connections behind it
/// need not wait. Windows and macOS report these, Linux hardly ever.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_listener_need_a_pause() {
        assert!(is_of_one_connection(&ErrorKind::ConnectionAborted.into()));
        assert!(!is_of_one_connection(&ErrorKind::OutOfMemory.into()));
    }

    #[tokio::test]
    async fn connections_arrive_one_after_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut arrivals = Arrivals::new(listener, "no connection can be taken", Duration::ZERO);
        for _ in 0..2 {
            let client = TcpStream::connect(address).await.unwrap();
            assert_eq!(arrivals.next().await.peer_addr().unwrap(), client.local_addr().unwrap());
        }
    }
}
