//! A client that wants all the memory of a tracker, to see what it gets:
//!
//!     cargo run --release -p p2p-fileshare-tracker --example wants_it_all -- 127.0.0.1:9999 TRACKER_ID repeat|many|names [ADDRESS]
//!
//! `repeat`: one connection announces one content, which fifty others share, 31,000 times and reads nothing. `many`: 64
//! connections announce 8,000 contents each, with long names and 32 addresses. `names`: one announces 16,000 contents of one
//! name, and another asks for that name a hundred times. It stays until its input ends, so that the tracker can be weighed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Announce, ContentId, Digest, MAX_FRAME, PeerId, Role, TrackerEvent, TrackerRequest, VERSION, Wire};
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Quic, RecvStream, SendStream, Transport, TransportError};

struct Client {
    _transport: Arc<Quic>,
    _connection: Arc<dyn Connection>,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
    sent: usize,
}

impl Client {
    async fn new(tracker: SocketAddr, id: PeerId, from: IpAddr) -> Result<Self, TransportError> {
        let identity = Identity::generate().map_err(|error| TransportError::Io(error.to_string()))?;
        let transport = Arc::new(Quic::bind(Config::new(identity, vec![SocketAddr::new(from, 0)]))?);
        let connection = transport.dial_tracker(tracker, id).await?;
        let (send, recv) = connection.open().await?;
        let mut client = Client { _transport: transport, _connection: connection, send, recv, sent: 0 };
        let listeners = (1..=32).map(|port| ([10, 9, 8, 7], port).into()).collect();
        client.say(&TrackerRequest::Hello { version: VERSION, listeners }).await?;
        client.hear().await?;
        Ok(client)
    }

    async fn say(&mut self, message: &TrackerRequest) -> Result<(), TransportError> {
        let bytes = frame(&message.encode()?);
        self.sent += bytes.len();
        let stuck = |_| TransportError::Lost("the tracker takes no more".to_owned());
        tokio::time::timeout(Duration::from_secs(30), self.send.send(bytes)).await.map_err(stuck)?
    }

    async fn hear(&mut self) -> Result<TrackerEvent, TransportError> {
        let bytes = read_frame(&mut *self.recv, MAX_FRAME).await?.ok_or(TransportError::Truncated)?;
        Ok(TrackerEvent::decode(&bytes)?)
    }

    async fn announce(&mut self, number: u64, name: Option<String>) -> Result<(), TransportError> {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let (content, about) = (ContentId(Digest(digest)), name.map(|name| (name, 5)));
        self.say(&TrackerRequest::Announce(Announce { content, about, role: Role::Downloader })).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tracker, id, what, ..] = &arguments[..] else { return Err("ADDRESS ID repeat|many|names".into()) };
    let (tracker, id): (SocketAddr, PeerId) = (tracker.parse()?, id.parse()?);
    let from: IpAddr = arguments.get(3).map_or(Ok([127, 0, 1, 1].into()), |from| from.parse())?;
    let mut clients = Vec::new();
    let count = match &**what {
        "repeat" => 51,
        "many" => 64,
        _ => 2,
    };
    for _ in 0..count {
        clients.push(Client::new(tracker, id, from).await?);
    }
    let result = attack(what, &mut clients).await;
    println!("{} bytes sent, {result:?}", clients.iter().map(|client| client.sent).sum::<usize>());
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

async fn attack(what: &str, clients: &mut [Client]) -> Result<(), TransportError> {
    match what {
        "repeat" => {
            for client in clients.iter_mut() {
                client.announce(1, None).await?;
            }
            for _ in 0..31_000 {
                clients[0].announce(1, None).await?;
            }
        }
        "many" => {
            for round in 0..8_000 {
                for (number, client) in clients.iter_mut().enumerate() {
                    // Some are let go meanwhile.
                    let number = (number as u64) << 32 | round;
                    let _ = client.announce(number, Some(format!("{number:0>250}"))).await;
                }
            }
        }
        _ => {
            for number in 0..16_000 {
                clients[0].announce(number, Some("model.bin".to_owned())).await?;
                clients[0].hear().await?;
            }
            let began = Instant::now();
            for _ in 0..100 {
                clients[1].say(&TrackerRequest::Find("model.bin".to_owned())).await?;
                clients[1].hear().await?;
            }
            println!("{:?} for an answer", began.elapsed() / 100);
        }
    }
    Ok(())
}
