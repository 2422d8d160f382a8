//! What `share` shares is for holders of its ticket: a stranger learns nothing of it, whatever it says, and wherever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    AddressToken, Announce, ContentId, ContentMatch, Digest, LeaseRequest, MAX_FRAME, MailboxRequest, OriginKey,
    PROOF_LABEL, PeerAddress, PeerId, PeerMessage, PieceRange, ProbeRequest, Request, Role, Secret, TrackerEvent,
    TrackerRequest, Turn, VERSION, Wire,
};
use testbed::event::Sharing;
use tests::false_tracker::FalseTracker;
use tests::machines::{Machines, share, ticket};
use tests::noise;
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Kind, Transport, TransportError};

/// No answer takes longer; on a slow, busy machine most take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);
const REFUSED: &str = "this share is private";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Someone who can reach every port.
#[derive(Clone)]
struct Stranger(Arc<dyn Transport>);

impl Stranger {
    fn new(kind: Kind) -> Self {
        let config = Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]);
        Stranger(kind.bind(config).unwrap())
    }

    async fn dial(&self, (address, id): (SocketAddr, PeerId)) -> Arc<dyn Connection> {
        // So many come at once that a handshake may take too long on a busy machine.
        for _ in 0..5 {
            if let Ok(connection) = self.0.dial(address, id).await {
                return connection;
            }
            // A sharer's tracker listens on the same port.
            if let Ok(connection) = self.0.dial_tracker(address, id).await {
                return connection;
            }
        }
        self.0.dial(address, id).await.unwrap()
    }

    /// Everything that comes back when these are said on one stream each, and how the connection ends.
    async fn hear(&self, to: (SocketAddr, PeerId), streams: &[Vec<Vec<u8>>]) -> (Vec<u8>, TransportError) {
        let connection = self.dial(to).await;
        let mut heard = Vec::new();
        let talk = async {
            let mut open = Vec::new();
            for says in streams {
                let Ok((mut send, recv)) = connection.open().await else { break };
                for message in says {
                    let _ = send.send(frame(message)).await;
                }
                open.push((send, recv));
            }
            for (_send, recv) in &mut open {
                while let Ok(Some(bytes)) = read_frame(&mut **recv, MAX_FRAME).await {
                    heard.extend(bytes);
                }
            }
            connection.closed().await
        };
        let ended = tokio::time::timeout(DEADLINE, talk).await.expect("a stranger is refused in time");
        (heard, ended)
    }
}

fn peer_messages(content: ContentId) -> Vec<Vec<u8>> {
    let run = PieceRange { first: 0, count: 1 };
    let someone = PeerAddress { id: PeerId(Digest([9; 32])), addresses: vec![([127, 0, 0, 1], 1).into()] };
    let all = [
        PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() },
        PeerMessage::Join { content, pieces: None, wants: true },
        PeerMessage::Have { content, runs: vec![run], in_flight: vec![] },
        PeerMessage::Interest { content, interested: true },
        PeerMessage::Offer { content, runs: vec![run] },
        PeerMessage::Decline { content, runs: vec![run] },
        PeerMessage::Peers { content, peers: vec![someone] },
        PeerMessage::Withdraw { content },
        PeerMessage::Bye,
        PeerMessage::Skip { content, runs: vec![run] },
        PeerMessage::Prove { proofs: vec![] },
        PeerMessage::Prove { proofs: vec![[7; 32]; 16] },
        PeerMessage::Proven { proofs: vec![[7; 32]] },
    ];
    all.iter().map(|message| message.encode().unwrap()).collect()
}

fn tracker_messages(content: ContentId, name: &str) -> Vec<Vec<u8>> {
    let all = [
        TrackerRequest::Hello { version: VERSION, listeners: vec![] },
        TrackerRequest::Announce(Announce { content, about: None, role: Role::Downloader }),
        TrackerRequest::Leave(content),
        TrackerRequest::Find(name.to_owned()),
        TrackerRequest::Find(content.to_string()),
        TrackerRequest::Find(content.to_string()[..8].to_owned()),
        TrackerRequest::Find(String::new()),
        TrackerRequest::Bye,
        TrackerRequest::List { before: None },
        TrackerRequest::Watch { content, after: None },
        TrackerRequest::Prove { proofs: vec![] },
        TrackerRequest::Prove { proofs: vec![[7; 32]; 16] },
        TrackerRequest::Mailbox(MailboxRequest::Claim { wish: Some(7) }),
        TrackerRequest::Probe(ProbeRequest { dialled: [127, 0, 0, 1].into(), tcp: Some(9000) }),
        TrackerRequest::Instance,
        TrackerRequest::Lease(LeaseRequest::Release { key: OriginKey(content.0) }),
        TrackerRequest::SecondAddress,
        TrackerRequest::AlsoAt { token: AddressToken([7; 16]), listeners: vec![] },
    ];
    all.iter().map(|message| message.encode().unwrap()).collect()
}

/// Which of these secrets stand in the bytes.
fn leaked(bytes: &[u8], secrets: &[Vec<u8>]) -> bool {
    secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret))
}

#[test]
fn a_stranger_who_says_whatever_there_is_to_say_hears_one_sentence() {
    let machines = Machines::new();
    machines.put("here", "secret-name.bin", &noise(50_000, 1));
    let sharer = share(&machines, "here", &[], &["secret-name.bin"]);
    let (content, swarm) = (sharer.contents[0], sharer.tickets[0].secret().unwrap().share_key().swarm());
    let (id, swarm_id) = (content.0.0, swarm.0.0);
    let peer_id = sharer.peer.1.0.0;
    let secrets = [id.to_vec(), swarm_id.to_vec(), b"secret-name".to_vec(), peer_id.to_vec()];
    let secrets: &'static [Vec<u8>] = secrets.to_vec().leak();
    runtime().block_on(async {
        let mut talks = tokio::task::JoinSet::new();
        for kind in [Kind::Quic, Kind::Tcp] {
            let stranger = Stranger::new(kind);
            // Even one who has guessed the content.
            for asked in [content, swarm, ContentId(Digest([3; 32]))] {
                for says in to_peer(asked) {
                    let (stranger, peer) = (stranger.clone(), sharer.peer);
                    talks.spawn(async move {
                        let (heard, ended) = stranger.hear(peer, &says).await;
                        assert!(heard.is_empty(), "{kind:?}: {heard:?}");
                        assert!(!leaked(ended.to_string().as_bytes(), secrets), "{kind:?}: {ended}");
                    });
                }
                for says in to_tracker(asked, "secret-name.bin") {
                    let (stranger, tracker) = (stranger.clone(), sharer.tracker);
                    talks.spawn(async move {
                        let (heard, _) = stranger.hear(tracker, &says).await;
                        assert!(!leaked(&heard, secrets), "{kind:?}: {heard:?}");
                        let refusal = TrackerEvent::decode(&heard).unwrap();
                        assert!(
                            matches!(&refusal, TrackerEvent::Refused(why) if why.starts_with(REFUSED)),
                            "{refusal:?}"
                        );
                    });
                }
            }
        }
        while let Some(talk) = talks.join_next().await {
            talk.unwrap();
        }
    });
}

/// What can be said to a peer: each message alone, all of them, and questions with and without a hello before.
fn to_peer(content: ContentId) -> Vec<Vec<Vec<Vec<u8>>>> {
    let mut all: Vec<_> = peer_messages(content).into_iter().map(|message| vec![vec![message]]).collect();
    let run = PieceRange { first: 0, count: 1 };
    let manifest = Request::Manifest { content }.encode().unwrap();
    let pieces = Request::Pieces { content, run }.encode().unwrap();
    let rate = Request::UpRate { content }.encode().unwrap();
    let hello = peer_messages(content).swap_remove(0);
    all.push(vec![peer_messages(content)]);
    all.extend([&manifest, &pieces, &rate].map(|question| vec![vec![question.clone()]]));
    all.push(vec![vec![hello], vec![manifest], vec![pieces], vec![rate]]);
    all
}

/// The same to a tracker.
fn to_tracker(content: ContentId, name: &str) -> Vec<Vec<Vec<Vec<u8>>>> {
    let each = tracker_messages(content, name).into_iter().map(|message| vec![vec![message]]);
    each.chain([vec![tracker_messages(content, name)]]).collect()
}

/// A connection with the right proof in it, and what that proves.
async fn first_proof(connection: &dyn Connection, from: PeerId, secret: Secret) -> [u8; 32] {
    let exporter = connection.exporter(PROOF_LABEL).unwrap();
    secret.share_key().proof(Turn::First, &exporter, from, connection.peer_id()).bytes()
}

async fn say_first(connection: &dyn Connection, message: &PeerMessage) -> Option<PeerMessage> {
    let (mut send, mut recv) = connection.open().await.ok()?;
    send.send(frame(&message.encode().unwrap())).await.ok()?;
    let heard = tokio::time::timeout(DEADLINE, read_frame(&mut *recv, MAX_FRAME)).await.unwrap().ok()??;
    // Both halves are kept until now.
    drop(send);
    PeerMessage::decode(&heard).ok()
}

#[test]
fn a_proof_opens_the_connection_that_it_was_made_for_and_no_other() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(50_000, 1));
    let sharer = share(&machines, "here", &[], &["file"]);
    let secret = sharer.tickets[0].secret().unwrap();
    runtime().block_on(async {
        for kind in [Kind::Quic, Kind::Tcp] {
            let (holder, thief) = (Stranger::new(kind), Stranger::new(kind));
            let from = holder.0.peer_id();
            let one = holder.dial(sharer.peer).await;
            let proof = first_proof(&*one, from, secret).await;
            // Somebody in between, to whom the holder spoke, has another connection and another id.
            for (what, by) in [("replayed", &holder), ("relayed", &thief)] {
                let other = by.dial(sharer.peer).await;
                let heard = say_first(&*other, &PeerMessage::Prove { proofs: vec![proof] }).await;
                assert_eq!(heard, None, "{kind:?}: {what}");
            }
            let guessed = holder.dial(sharer.peer).await;
            let wrong = first_proof(&*guessed, from, Secret::new([0; 16])).await;
            assert_eq!(say_first(&*guessed, &PeerMessage::Prove { proofs: vec![wrong] }).await, None, "{kind:?}");
            // The right one is answered by another proof.
            let heard = say_first(&*one, &PeerMessage::Prove { proofs: vec![proof] }).await;
            let Some(PeerMessage::Proven { proofs }) = heard else { panic!("{kind:?}: {heard:?}") };
            let exporter = one.exporter(PROOF_LABEL).unwrap();
            let expected = secret.share_key().proof(Turn::Second, &exporter, sharer.peer.1, from);
            assert!(proofs.len() == 1 && expected.is(&proofs[0]) && proofs[0] != proof);
            // And that sent back opens nothing.
            let other = thief.dial(sharer.peer).await;
            assert_eq!(say_first(&*other, &PeerMessage::Prove { proofs }).await, None, "{kind:?}: reflected");
        }
    });
}

/// Messages on the control stream of a holder, for a second.
async fn hear_for_a_while(recv: &mut dyn transport::RecvStream) -> Vec<PeerMessage> {
    let mut all = Vec::new();
    while let Ok(Ok(Some(bytes))) = tokio::time::timeout(Duration::from_secs(1), read_frame(recv, MAX_FRAME)).await {
        all.push(PeerMessage::decode(&bytes).unwrap());
    }
    all
}

#[test]
fn the_holder_of_one_ticket_learns_nothing_of_another() {
    let machines = Machines::new();
    machines.put("here", "mine", &noise(50_000, 1));
    machines.put("here", "other-name", &noise(50_000, 2));
    let sharer = share(&machines, "here", &[], &["mine", "other-name"]);
    let secret = sharer.tickets[0].secret().unwrap();
    let (mine, other) = (sharer.contents[0], sharer.contents[1]);
    let (swarm, other_swarm) = (secret.share_key().swarm(), sharer.tickets[1].secret().unwrap().share_key().swarm());
    runtime().block_on(async {
        for kind in [Kind::Quic, Kind::Tcp] {
            let holder = Stranger::new(kind);
            let me = holder.0.peer_id();
            // The tracker.
            let connection = holder.dial(sharer.tracker).await;
            let (mut send, mut recv) = connection.open().await.unwrap();
            let proofs = vec![first_proof(&*connection, me, secret).await];
            let announce =
                |content| TrackerRequest::Announce(Announce { content, about: None, role: Role::Downloader });
            for message in [
                TrackerRequest::Prove { proofs },
                TrackerRequest::Hello { version: VERSION, listeners: vec![] },
                TrackerRequest::List { before: None },
                TrackerRequest::Find("other-name".to_owned()),
                TrackerRequest::Find(other.to_string()),
                TrackerRequest::Watch { content: other_swarm, after: None },
                TrackerRequest::Find(String::new()),
                announce(other_swarm),
                announce(ContentId(Digest([3; 32]))),
                announce(swarm),
            ] {
                send.send(frame(&message.encode().unwrap())).await.unwrap();
            }
            let (mut refused, mut named) = (Vec::new(), false);
            while !named || refused.len() < 2 {
                let frame = tokio::time::timeout(DEADLINE, read_frame(&mut *recv, MAX_FRAME)).await.unwrap();
                match TrackerEvent::decode(&frame.unwrap().unwrap()).unwrap() {
                    TrackerEvent::Proven { shares } => {
                        let told: Vec<_> =
                            shares.iter().map(|share| (share.found.content, &*share.found.name)).collect();
                        assert_eq!(told, [(mine, "mine")]);
                    }
                    TrackerEvent::Listed { contents, .. } => {
                        assert_eq!(contents.iter().map(|found| found.content).collect::<Vec<_>>(), [mine]);
                    }
                    TrackerEvent::Found { matches, query } => assert_eq!(matches, [], "{query}"),
                    TrackerEvent::Refused(why) => refused.push(why),
                    TrackerEvent::Peers { content, joined, .. } => {
                        assert_eq!((content, joined.len()), (swarm, 1));
                        named = true;
                    }
                    TrackerEvent::Watched { peers, .. } => assert_eq!(peers, []),
                    TrackerEvent::Welcome { .. } => {}
                    other @ (TrackerEvent::Relayed { .. }
                    | TrackerEvent::Leg { .. }
                    | TrackerEvent::Mailbox(_)
                    | TrackerEvent::Instance(_)
                    | TrackerEvent::Lease(_)
                    | TrackerEvent::AddressToken { .. }
                    | TrackerEvent::AlsoSeen { .. }
                    | TrackerEvent::Probe(_)) => {
                        panic!("nothing asked for {other:?}")
                    }
                }
            }
            assert_eq!(refused[0], refused[1], "there or not, it is the same");
            // The peer.
            let connection = holder.dial(sharer.peer).await;
            let (mut send, mut recv) = connection.open().await.unwrap();
            let proofs = vec![first_proof(&*connection, me, secret).await];
            let hello = PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() };
            let join = |content| PeerMessage::Join { content, pieces: None, wants: true };
            for message in [PeerMessage::Prove { proofs }, hello, join(other), join(mine)] {
                send.send(frame(&message.encode().unwrap())).await.unwrap();
            }
            let heard = hear_for_a_while(&mut *recv).await;
            assert!(heard.iter().any(|message| message.content() == Some(mine)), "{heard:?}");
            assert!(heard.iter().all(|message| message.content().is_none_or(|about| about == mine)), "{heard:?}");
            let mut answers = Vec::new();
            for content in [other, ContentId(Digest([3; 32])), mine] {
                let run = PieceRange { first: 0, count: 1 };
                for request in
                    [Request::Manifest { content }, Request::Pieces { content, run }, Request::UpRate { content }]
                {
                    let (mut send, mut recv) = connection.open().await.unwrap();
                    send.send(frame(&request.encode().unwrap())).await.unwrap();
                    send.finish().unwrap();
                    answers.push(read_frame(&mut *recv, 64).await.unwrap().unwrap());
                }
            }
            assert_eq!(answers[..3], answers[3..6], "there or not, it is the same");
            assert!(answers[6..].iter().zip(&answers).all(|(mine, other)| mine != other), "what was proven is given");
        }
    });
}

/// It knows the swarm, names everyone as one of it, and has another content to offer.
#[test]
fn a_tracker_that_is_not_the_sharers_can_withhold_and_nothing_else() {
    let (tracker, machines) = (FalseTracker::new(), Machines::new());
    let bytes = noise(100_000, 1);
    machines.put("honest", "real.bin", &bytes);
    machines.put("evil", "evil.bin", &noise(100_000, 2));
    let share = |machine: &str, flags: &[&str]| {
        let own = tracker.flags();
        let arguments: Vec<_> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let mut process = machines.share(machine, &arguments);
        let content: ContentId = process.event::<Sharing>().content.parse().unwrap();
        let ticket = ticket(&mut process);
        (process, content, ticket)
    };
    let (_honest, content, ticket) = share("honest", &["real.bin"]);
    let (_evil, other, _) = share("evil", &["--open", "evil.bin"]);
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let lies = move |honest: bool| {
        let heard = heard.clone();
        tracker.answers(move |message, peers| {
            heard.lock().unwrap().extend(message.encode().unwrap());
            assert!(!leaked(&heard.lock().unwrap(), &[content.0.0.to_vec(), b"real.bin".to_vec()]), "{message:?}");
            let found = |content| ContentMatch {
                content,
                name: "real.bin".to_owned(),
                size: 5,
                seeders: 1,
                others: 0,
                downloaders: 0,
            };
            match message {
                TrackerRequest::Find(query) => {
                    let asked = query.parse().ok().filter(|_| honest).map(found);
                    let matches = asked.into_iter().chain([found(other), found(content)]).collect();
                    vec![TrackerEvent::Found { query: query.clone(), matches }]
                }
                TrackerRequest::Announce(announce) => {
                    let named = |content| TrackerEvent::Peers { content, joined: peers.to_vec(), gone: vec![] };
                    vec![named(other), named(content), named(announce.content)]
                }
                _ => Vec::new(),
            }
        });
    };
    lies(false);
    machines.get("withheld", &[&ticket]).ends_with(4);
    lies(true);
    machines.get("there", &[&ticket]).ends_with(0);
    assert!(machines.read("there", "output/real.bin") == bytes);
}

/// The chaos case `strangers-private` judges how fast it stays.
#[test]
fn a_get_is_done_beside_strangers_who_come_without_end() {
    let machines = Machines::new();
    let bytes = noise(3_000_000, 1);
    machines.put("here", "file", &bytes);
    let sharer = share(&machines, "here", &["--up-rate=4MiB"], &["file"]);
    let (peer, tracker) = (sharer.peer, sharer.tracker);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let strangers = std::thread::spawn(move || {
        runtime().block_on(async {
            let (quic, tcp) = (Stranger::new(Kind::Quic), Stranger::new(Kind::Tcp));
            let mut refused = 0;
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                for stranger in [&quic, &tcp] {
                    for (address, id) in [peer, tracker] {
                        let dialled = match id == peer.1 {
                            true => stranger.0.dial(address, id).await,
                            false => stranger.0.dial_tracker(address, id).await,
                        };
                        let Ok(connection) = dialled else { continue };
                        let proofs = PeerMessage::Prove { proofs: vec![[7; 32]; 16] };
                        assert_eq!(say_first(&*connection, &proofs).await.filter(|_| id == peer.1), None);
                        refused += 1;
                    }
                }
            }
            refused
        })
    });
    machines.get("there", &[&sharer.tickets[0].to_string()]).ends_with(0);
    drop(stop);
    assert!(strangers.join().unwrap() > 0);
    assert!(machines.read("there", "output/file") == bytes);
}
