//! Takes connections: each handshake in a task with a deadline, which hands the connection on once it is done.

use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::abandoned::Abandoned;
use super::choices::{Choices, path_to, standing_path, transport_to};
use super::connection::{self, QuicConnection};
use super::held::{Accepted, Held};
use super::runtime;
use super::windows::Windows;
use crate::Connection;
use crate::expiry::Expiry;
use crate::handshakes::{Handshake, Handshakes};
use crate::identity::Meant;
use crate::keep_alive;
use crate::shared_port::TrackerDoor;
use crate::turns::turn;

/// What a failed handshake leaves is gone after so long: quinn keeps a closed connection for three timeouts (RFC 9000, 10.2).
const FORGOTTEN: Duration = Duration::from_secs(3);
/// With more handshakes under way than this, strangers must first show that their address is theirs (RFC 9000, 8.1). A
/// handshake from within this machine takes 200 KB, for datagrams as large as loopback carries.
const VALIDATE_ABOVE: usize = 16;

/// What is needed to take a connection.
pub(super) struct Listener {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) server: quinn::ServerConfig,
    pub(super) choices: Choices,
    pub(super) arrivals: mpsc::Sender<QuicConnection>,
    pub(super) tracker: Option<TrackerDoor>,
    /// What is said to a tracker is little, and takes nothing from pieces.
    pub(super) tracker_windows: Arc<Windows>,
    pub(super) windows: Arc<Windows>,
    pub(super) expiry: Expiry,
    pub(super) abandoned: Abandoned,
}

impl Listener {
    /// Takes handshakes, each in a task with a deadline, and hands the connections on.
    pub(super) async fn accept(self: Arc<Self>, handshakes: Handshakes) {
        while let Some(incoming) = self.endpoint.accept().await {
            let many = handshakes.under_way() > VALIDATE_ABOVE;
            if many && !incoming.remote_address_validated() {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().ignore();
                }
                continue;
            }
            if self.abandoned.contains(incoming.orig_dst_cid()) {
                incoming.ignore();
                continue;
            }
            // An honest peer asks again in a second.
            let Some(handshake) = handshakes.begin(incoming.remote_address().ip()) else {
                incoming.ignore();
                continue;
            };
            let standing = self.endpoint.open_connections();
            tokio::spawn(self.clone().shake_hands(incoming, handshake, (many, standing)));
        }
    }

    /// The place is held until the connection is taken: who waits in that queue is bounded too.
    async fn shake_hands(
        self: Arc<Self>,
        incoming: Incoming,
        mut handshake: Handshake,
        (many, standing): (bool, usize),
    ) {
        let (from, id) = (incoming.remote_address(), incoming.orig_dst_cid());
        let mut server = self.server.clone();
        server.transport_config(match many {
            _ if self.choices.standing => Arc::new(standing_path(self.choices, keep_alive::of_tracker(standing))),
            true => Arc::new(path_to(from, self.choices, &self.windows)),
            false => transport_to(from, self.choices, &self.windows),
        });
        let Ok(turn) = handshake.run(turn()).await else { return incoming.ignore() };
        let (connecting, driver, shakes_hands) = runtime::driver_of(|| incoming.accept_with(Arc::new(server)));
        drop(turn);
        let connecting = match connecting {
            Ok(connecting) => connecting,
            Err(error) => return tracing::debug!(%error, %from, "handshake"),
        };
        let ended = handshake.run(connecting).await;
        drop(shakes_hands);
        match ended {
            Ok(Ok(connection)) => {
                handshake.is_done();
                let tracker =
                    self.tracker.as_ref().filter(|_| connection::meant_by(&connection) == Some(Meant::Tracker));
                let (windows, expiry) = match tracker {
                    Some(tracker) => (&self.tracker_windows, &tracker.expiry),
                    None => (&self.windows, &self.expiry),
                };
                let standing = self.choices.standing || tracker.is_some();
                let thread = Handle::current();
                let accepted =
                    driver.map(|driver| Accepted { endpoint: self.endpoint.clone(), driver, thread: thread.clone() });
                let connection = Held::new(connection, accepted);
                let connection = QuicConnection::new(connection, from, thread, (windows, standing), expiry);
                match (connection, tracker) {
                    (Ok(connection), Some(tracker)) => match handshake.run(tracker.arrivals.reserve()).await {
                        Ok(Ok(place)) => place.send(Arc::new(connection)),
                        _ => connection.close(0, ""),
                    },
                    // What nobody takes is closed, so that it is forgotten.
                    (Ok(connection), None) => match handshake.run(self.arrivals.reserve()).await {
                        Ok(Ok(place)) => place.send(connection),
                        _ => connection.close(0, ""),
                    },
                    (Err(_), _) => {}
                }
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, %from, "handshake");
                // Until then it says why again, and takes as much memory as one that is under way.
                handshake.failed(FORGOTTEN).await;
            }
            Err(given_up) => {
                tracing::debug!(%given_up, %from, "handshake");
                self.abandoned.add(id);
            }
        }
        // quinn would keep what is left of it for another three seconds: a client that begins thousands of handshakes must not
        // make us hold thousands.
        if let Some(driver) = driver {
            driver.abort();
        }
    }
}
