//! A tracker that says whatever a test wants, over the real transport and in the real messages. It knows who has come, and that
//! is all the truth there is in it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use peer::TrackerAddress;
use protocol::{ContentId, MAX_FRAME, PeerAddress, Ticket, TrackerEvent, TrackerRequest, Wire};
use tokio::runtime::Runtime;
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Quic, Transport};

/// What it says to a question or an announcement, when these others have come.
type Answering = Box<dyn Fn(&TrackerRequest, &[PeerAddress]) -> Vec<TrackerEvent> + Send>;

/// A running one.
pub struct FalseTracker {
    _runtime: Runtime,
    transport: Arc<dyn Transport>,
    state: Arc<State>,
}

struct State {
    answering: Mutex<Answering>,
    came: Mutex<Vec<PeerAddress>>,
}

impl Default for FalseTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl FalseTracker {
    /// One that welcomes everyone, and says nothing more yet.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listeners = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let identity = Identity::generate().expect("a key");
        let transport = runtime.block_on(async { Quic::bind(Config::new(identity, listeners)).expect("a port") });
        let transport: Arc<dyn Transport> = Arc::new(transport);
        let state = State { answering: Mutex::new(Box::new(|_, _| Vec::new())), came: Mutex::default() };
        let (state, accepting) = (Arc::new(state), transport.clone());
        let shared = state.clone();
        runtime.spawn(async move {
            while let Some(connection) = accepting.accept().await {
                tokio::spawn(session(connection, shared.clone()));
            }
        });
        FalseTracker { _runtime: runtime, transport, state }
    }

    /// From now on it answers so.
    pub fn answers(&self, answering: impl Fn(&TrackerRequest, &[PeerAddress]) -> Vec<TrackerEvent> + Send + 'static) {
        *self.state.answering.lock().expect("a thread has panicked while it held this lock") = Box::new(answering);
    }

    /// Where it is, and who.
    pub fn address(&self) -> TrackerAddress {
        TrackerAddress { addresses: self.transport.listeners(), id: self.transport.peer_id(), name: None }
    }

    /// A ticket that leads to it.
    pub fn ticket(&self, content: ContentId) -> String {
        let TrackerAddress { addresses, id, .. } = self.address();
        Ticket::new(id, addresses, content).expect("it has a port").to_string()
    }

    /// The flags that lead to it.
    pub fn flags(&self) -> Vec<String> {
        let TrackerAddress { addresses, id, .. } = self.address();
        vec!["-i=127.0.0.1".to_owned(), format!("-d={}", addresses[0].port()), format!("--tracker-id={id}")]
    }
}

async fn session(connection: Arc<dyn Connection>, state: Arc<State>) {
    let Ok((mut send, mut recv)) = connection.accept().await else { return };
    while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
        let Ok(message) = TrackerRequest::decode(&bytes) else { return };
        let said = match message {
            TrackerRequest::Hello { listeners, .. } => {
                let peer = PeerAddress { id: connection.peer_id(), addresses: listeners };
                state.came.lock().expect("a thread has panicked while it held this lock").push(peer);
                vec![TrackerEvent::Welcome { seen: connection.remote_addr() }]
            }
            TrackerRequest::Bye => return,
            message => {
                let mut others = state.came.lock().expect("a thread has panicked while it held this lock").clone();
                others.retain(|peer| peer.id != connection.peer_id());
                (state.answering.lock().expect("a thread has panicked while it held this lock"))(&message, &others)
            }
        };
        for message in said {
            let Ok(bytes) = message.encode() else { return };
            if send.send(frame(&bytes)).await.is_err() {
                return;
            }
        }
    }
}
