//! Private shares between nodes in one process, as those see it who embed the library: beside open contents, several at once,
//! stopped and shared again, and with peers who are no holders.

use std::sync::Arc;
use std::time::Duration;

use p2p_fileshare::{Node, PeerEvent, Secret, Shares, TrackerAddress};
use protocol::{
    Answer, ContentId, Digest, MAX_FRAME, PROOF_LABEL, PeerAddress, PeerId, PeerMessage, PieceRange, Request,
    TrackerEvent, TrackerRequest, Turn, VERSION, Wire,
};
use tokio::sync::broadcast;
use tokio::time::timeout;
use transport::frame::{frame, read_frame};
use transport::{Connection, MemoryTransport, RecvStream, SendStream, Transport};

use super::world::{LONG, World, address, noise};

/// What is not said within this time is not said.
const SILENCE: Duration = Duration::from_millis(500);

impl World {
    /// A node that is the same when it starts again.
    fn known(&self, name: &str) -> Node {
        self.builder_over(self.bind(name), name).start()
    }

    fn has(&self, node: &str, name: &str) -> bool {
        self.output(node, name) == bytes_of(name)
    }

    async fn share(&self, node: &Node, name: &str, secret: Option<u8>) -> ContentId {
        let share = node.share(self.file(name, &bytes_of(name))).piece_size(1024);
        let share = match secret {
            Some(number) => share.private(move |_| secret_of(number)),
            None => share,
        };
        share.await.unwrap().content()
    }
}

/// Bytes that depend on the name.
fn bytes_of(name: &str) -> Vec<u8> {
    noise(20_000, name.bytes().map(u64::from).sum())
}

fn secret_of(number: u8) -> Secret {
    Secret::new([number; 16])
}

async fn get(node: &Node, content: ContentId, secret: Option<u8>, from: &Node) {
    let download = node.download(content).private(secret.map(secret_of)).start().await.unwrap();
    node.add_peer(content, address(from)).await.unwrap();
    timeout(LONG, download).await.expect("it ends").expect("it completes");
}

/// A peer that is no node, and says what it likes.
struct Stranger {
    connection: Arc<dyn Connection>,
    me: PeerId,
    send: Box<dyn SendStream>,
    recv: Box<dyn RecvStream>,
}

impl Stranger {
    async fn dials(from: &MemoryTransport, node: &Node) -> Self {
        let connection = from.dial(node.listeners()[0], node.id()).await.unwrap();
        let (send, recv) = connection.open().await.unwrap();
        Stranger { connection, me: from.peer_id(), send, recv }
    }

    async fn says(&mut self, message: PeerMessage) {
        self.send.send(frame(&message.encode().unwrap())).await.unwrap();
    }

    async fn says_hello(&mut self) {
        self.says(PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() }).await;
    }

    /// Proves what it has the secret of, over and over in one message.
    async fn proves(&mut self, number: u8, times: usize) {
        let exporter = self.connection.exporter(PROOF_LABEL).unwrap();
        let key = secret_of(number).share_key();
        let proof = key.proof(Turn::First, &exporter, self.me, self.connection.peer_id()).bytes();
        self.says(PeerMessage::Prove { proofs: vec![proof; times] }).await;
    }

    /// Everything that is said to it until there is silence.
    async fn hears(&mut self) -> Vec<PeerMessage> {
        let mut all = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout(SILENCE, read_frame(&mut *self.recv, MAX_FRAME)).await {
            all.push(PeerMessage::decode(&bytes).unwrap());
        }
        all
    }

    /// Bytes that come of these pieces when it asks for them.
    async fn takes(&self, content: ContentId, count: u32) -> u64 {
        let (mut send, mut recv) = self.connection.open().await.unwrap();
        let request = Request::Pieces { content, run: PieceRange { first: 0, count } };
        send.send(frame(&request.encode().unwrap())).await.unwrap();
        send.finish().unwrap();
        let answer = timeout(LONG, read_frame(&mut *recv, MAX_FRAME)).await.unwrap().unwrap().unwrap();
        assert!(matches!(Answer::decode(&answer), Ok(Answer::Bytes(_))));
        let (mut came, mut part) = (0, vec![0; 64 << 10]);
        while let Ok(count @ 1..) = recv.recv(&mut part).await {
            came += count as u64;
        }
        came
    }

    /// The beginning of the answer to a question, or nothing if the stream is reset.
    async fn asks(&self, request: Request) -> Option<Vec<u8>> {
        let (mut send, mut recv) = self.connection.open().await.unwrap();
        send.send(frame(&request.encode().unwrap())).await.unwrap();
        send.finish().unwrap();
        timeout(LONG, read_frame(&mut *recv, 64)).await.unwrap().ok().flatten()
    }
}

/// What may be said of a content.
fn everything_about(content: ContentId) -> Vec<PeerMessage> {
    let run = PieceRange { first: 0, count: 1 };
    let peers = vec![PeerAddress { id: PeerId(Digest([9; 32])), addresses: vec![([127, 0, 0, 1], 1).into()] }];
    vec![
        PeerMessage::Join { content, pieces: None, wants: true },
        PeerMessage::Join { content, pieces: Some(20), wants: true },
        PeerMessage::Have { content, runs: vec![run], in_flight: vec![] },
        PeerMessage::Interest { content, interested: true },
        PeerMessage::Offer { content, runs: vec![run] },
        PeerMessage::Decline { content, runs: vec![run] },
        PeerMessage::Peers { content, peers },
        PeerMessage::Skip { content, runs: vec![run] },
        PeerMessage::Withdraw { content },
        PeerMessage::Interest { content, interested: false },
    ]
}

fn questions(content: ContentId) -> [Request; 3] {
    let run = PieceRange { first: 0, count: 1 };
    [Request::Manifest { content }, Request::Pieces { content, run }, Request::UpRate { content }]
}

#[tokio::test]
async fn beside_an_open_content_a_private_one_does_not_exist_for_strangers() {
    let world = World::new();
    let node = world.known("node");
    let open = world.share(&node, "open", None).await;
    let (early, late) = (world.bind("early"), world.bind("late"));
    // One is there before it is shared, and asks for the open one.
    let mut early = Stranger::dials(&early, &node).await;
    early.says_hello().await;
    early.says(PeerMessage::Join { content: open, pieces: None, wants: true }).await;
    assert!(early.hears().await.iter().any(|message| message.content() == Some(open)));
    let private = world.share(&node, "private", Some(1)).await;
    let mut late = Stranger::dials(&late, &node).await;
    late.says_hello().await;
    // A guess that is let in because something is open.
    let guesser = world.bind("guesser");
    let mut guesser = Stranger::dials(&guesser, &node).await;
    guesser.proves(2, 16).await;
    guesser.says_hello().await;
    // Somebody gets it meanwhile, which is told to nobody else.
    let holder = world.known("holder");
    get(&holder, private, Some(1), &node).await;
    let unknown = ContentId(Digest([3; 32]));
    for stranger in [&mut early, &mut late, &mut guesser] {
        let heard = stranger.hears().await;
        let proves = |message: &&PeerMessage| matches!(message, PeerMessage::Proven { proofs } if !proofs.is_empty());
        assert!(heard.iter().all(|message| message.content() != Some(private) && !proves(&message)), "{heard:?}");
        // There or not, it is the same: questions, messages, and questions after those.
        let mut answers = Vec::new();
        for content in [unknown, private] {
            let mut told = Vec::new();
            for question in questions(content) {
                told.push(stranger.asks(question).await);
            }
            for message in everything_about(content) {
                stranger.says(message).await;
            }
            let mut heard = stranger.hears().await;
            // One of them is offered what is open.
            heard.retain(|message| message.content() != Some(open));
            for question in questions(content) {
                told.push(stranger.asks(question).await);
            }
            assert!(heard.iter().all(|message| message.content() == Some(content)), "{heard:?}");
            answers.push((told, heard.into_iter().map(|message| message.about(unknown)).collect::<Vec<_>>()));
        }
        assert_eq!(answers[0], answers[1]);
    }
    assert!(world.has("holder", "private"));
}

#[tokio::test]
async fn several_private_contents_come_over_one_connection() {
    let world = World::new();
    let (one, two) = (world.known("one"), world.known("two"));
    let open = world.share(&one, "open", None).await;
    get(&two, open, None, &one).await;
    let (mut contents, mut downloads) = (Vec::new(), Vec::new());
    for number in 1..6 {
        contents.push(world.share(&one, &format!("file-{number}"), Some(number)).await);
    }
    for (&content, number) in contents.iter().zip(1..) {
        downloads.push(two.download(content).private(Some(secret_of(number))).start().await.unwrap());
    }
    // All are proven before any answer is here.
    for &content in &contents {
        two.add_peer(content, address(&one)).await.unwrap();
    }
    for download in downloads {
        timeout(LONG, download).await.expect("it ends").expect("it completes");
    }
    assert!((1..6).all(|number| world.has("two", &format!("file-{number}"))));
}

/// It connects for something else, and hears only then that the peer has it.
#[tokio::test]
async fn what_was_wanted_before_the_connection_stood_is_proven_over_it() {
    let world = World::new();
    let (one, two) = (world.known("one"), world.known("two"));
    let open = world.share(&one, "open", None).await;
    let private = world.share(&one, "private", Some(1)).await;
    let download = two.download(private).private(Some(secret_of(1))).start().await.unwrap();
    get(&two, open, None, &one).await;
    two.add_peer(private, address(&one)).await.unwrap();
    timeout(LONG, download).await.expect("it ends").expect("it completes");
    assert!(world.has("two", "private"));
}

#[tokio::test]
async fn a_private_share_that_was_stopped_is_shared_again() {
    let world = World::new();
    let (sharer, mut receivers) = (world.known("sharer"), Vec::new());
    for round in 0..3 {
        let share = sharer
            .share(world.file("file", &bytes_of("file")))
            .piece_size(1024)
            .private(|_| secret_of(1))
            .await
            .unwrap();
        let content = share.content();
        let name = format!("receiver {round}");
        let receiver = world.known(&name);
        get(&receiver, content, Some(1), &sharer).await;
        assert!(world.has(&name, "file"));
        // Those from before are still connected.
        receivers.push(receiver);
        share.stop().await.unwrap();
    }
    for receiver in receivers {
        receiver.shutdown().await;
    }
    world.share(&sharer, "file", Some(1)).await;
}

#[tokio::test]
async fn proofs_that_are_said_again_are_not_kept() {
    let world = World::new();
    let node = world.known("node");
    let private = world.share(&node, "private", Some(1)).await;
    let transport = world.bind("holder");
    let mut holder = Stranger::dials(&transport, &node).await;
    holder.proves(1, 1).await;
    holder.says_hello().await;
    assert!(holder.hears().await.iter().any(|message| message.content() == Some(private)));
    for _ in 0..200 {
        holder.proves(1, 1).await;
    }
    timeout(LONG, holder.connection.closed()).await.expect("who says the same without end is sent away");
}

/// A private share for one receiver, of 20 pieces, which says what is sent of it.
async fn share_for_one(world: &World) -> (Node, Arc<Shares>, ContentId, broadcast::Receiver<PeerEvent>) {
    let shares = Arc::<Shares>::default();
    let node = world.builder("node").shares(shares.clone()).start();
    let content = world.share(&node, "private", Some(1)).await;
    shares.limit(content, Some(1));
    let events = node.events();
    (node, shares, content, events)
}

/// One that proves the secret, and says neither that it wants anything nor that it has it.
async fn taker(transport: &MemoryTransport, node: &Node, content: ContentId) -> Stranger {
    let mut taker = Stranger::dials(transport, node).await;
    taker.proves(1, 1).await;
    taker.says_hello().await;
    taker.says(PeerMessage::Join { content, pieces: Some(20), wants: false }).await;
    taker
}

/// Bytes that were sent to the next one that leaves or is done, whether it has everything, and whether it was the last.
async fn next_sent(events: &mut broadcast::Receiver<PeerEvent>) -> (u64, bool, bool) {
    loop {
        let event = timeout(LONG, events.recv()).await.expect("it is said").unwrap();
        if let PeerEvent::Sent { bytes, complete, last, .. } = event {
            return (bytes, complete, last);
        }
    }
}

/// A receiver that shares on does as the sharer would, also when that has gone.
#[tokio::test]
async fn a_receiver_of_a_share_for_one_sends_it_to_nobody_else() {
    let world = World::new();
    let (sharer, _, content, _events) = share_for_one(&world).await;
    let shares = Arc::<Shares>::default();
    let receiver = world.builder("receiver").shares(shares.clone()).start();
    receiver.approach(vec![sharer.listeners()[0]], secret_of(1)).await.unwrap();
    get(&receiver, content, Some(1), &sharer).await;
    let named = async {
        while shares.named_by(content) != Some(sharer.id()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, named).await.expect("it hears who the receivers are");
    let pieces = Request::Pieces { content, run: PieceRange { first: 0, count: 1 } };
    let (early, late) = (world.bind("early"), world.bind("late"));
    let early = taker(&early, &receiver, content).await;
    assert!(early.asks(pieces.clone()).await.is_none(), "the sharer may let it in yet");
    sharer.shutdown().await;
    let late = taker(&late, &receiver, content).await;
    let sentence = async {
        loop {
            // It has not noticed yet that the sharer has gone.
            let nothing = late.asks(pieces.clone()).await;
            assert!(nothing.is_none());
            if let Ok(reason) = timeout(SILENCE, late.connection.closed()).await {
                return reason.to_string();
            }
        }
    };
    let sentence = timeout(LONG, sentence).await.expect("it is sent away");
    assert!(sentence.contains("one receiver"), "{sentence}");
}

async fn is_refused(world: &World, node: &Node) -> String {
    let late = world.bind("late");
    let mut late = Stranger::dials(&late, node).await;
    late.proves(1, 1).await;
    timeout(LONG, late.connection.closed()).await.expect("it is sent away").to_string()
}

#[tokio::test]
async fn who_takes_a_share_without_a_word_is_its_receiver() {
    let world = World::new();
    let (node, shares, content, mut events) = share_for_one(&world).await;
    let transport = world.bind("taker");
    let taker = taker(&transport, &node, content).await;
    assert_eq!(taker.takes(content, 20).await, 20_000);
    assert!(is_refused(&world, &node).await.contains("one receiver"));
    assert!(!shares.is_complete(content), "it may ask again for what it has lost");
    taker.connection.close(0, "done");
    assert_eq!(next_sent(&mut events).await, (20_000, true, true));
    assert!(shares.is_complete(content));
}

/// What was handed to the transport may not have come.
#[tokio::test]
async fn who_wants_everything_and_goes_before_it_says_that_it_has_it_does_not_have_it() {
    let world = World::new();
    let (node, shares, content, mut events) = share_for_one(&world).await;
    let transport = world.bind("taker");
    let mut taker = taker(&transport, &node, content).await;
    assert_eq!(taker.takes(content, 20).await, 20_000);
    taker.says(PeerMessage::Interest { content, interested: true }).await;
    taker.says(PeerMessage::Bye).await;
    assert_eq!(next_sent(&mut events).await, (20_000, false, false));
    assert!(!shares.is_complete(content));
}

/// Each of them leaves with all but the last piece, and four times all of it is sent: as often as one that begins again may need it.
#[tokio::test]
async fn who_takes_a_share_under_many_ids_does_not_get_it_without_end() {
    let world = World::new();
    let (node, shares, content, mut events) = share_for_one(&world).await;
    for number in 0..5 {
        assert!(!shares.is_complete(content));
        let transport = world.bind(&format!("taker {number}"));
        let taker = taker(&transport, &node, content).await;
        assert_eq!(taker.takes(content, 19).await, 19 * 1024);
        taker.connection.close(0, "done");
        assert_eq!(next_sent(&mut events).await, (19 * 1024, false, false));
    }
    assert!(shares.is_complete(content));
    assert!(is_refused(&world, &node).await.contains("over"));
}

/// Says that someone is a peer of whatever is announced.
async fn liar(transport: MemoryTransport, stranger: PeerAddress) {
    while let Some(connection) = transport.accept().await {
        let (mut send, mut recv) = connection.accept().await.unwrap();
        let stranger = stranger.clone();
        tokio::spawn(async move {
            while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
                let message = match TrackerRequest::decode(&bytes).unwrap() {
                    TrackerRequest::Hello { .. } => TrackerEvent::Welcome { seen: connection.remote_addr() },
                    TrackerRequest::Announce(announce) => {
                        TrackerEvent::Peers { content: announce.content, joined: vec![stranger.clone()], gone: vec![] }
                    }
                    _ => continue,
                };
                let _ = send.send(frame(&message.encode().unwrap())).await;
            }
        });
    }
}

/// Also if the download has ended by then for which it is dialled, or if it is dialled for an open one as well.
#[tokio::test]
async fn a_stranger_that_a_tracker_names_hears_proofs_and_nothing_else() {
    for beside_an_open_one in [false, true] {
        let world = World::new();
        let (stranger, tracker) = (world.bind("stranger"), world.bind("tracker"));
        let listener = stranger.listeners()[0];
        let place = TrackerAddress { addresses: tracker.listeners(), id: tracker.peer_id(), name: None };
        tokio::spawn(liar(tracker, PeerAddress { id: stranger.peer_id(), addresses: vec![listener] }));
        let node = world.known("node");
        node.join(place).await.unwrap();
        let (private, open) = (ContentId(Digest([5; 32])), ContentId(Digest([6; 32])));
        // The open one first: a peer that is dialled for the private one alone hears no hello.
        let beside = if beside_an_open_one { Some(node.download(open).start().await.unwrap()) } else { None };
        let download = node.download(private).private(Some(secret_of(1))).start().await.unwrap();
        let connection = timeout(LONG, stranger.accept()).await.expect("it is dialled").unwrap();
        if !beside_an_open_one {
            download.cancel().await.unwrap();
        }
        let (mut send, mut recv) = timeout(LONG, connection.accept()).await.unwrap().unwrap();
        let wrong = PeerMessage::Proven { proofs: vec![[1; 32]] };
        let hello = PeerMessage::Hello { version: VERSION, listeners: vec![], site: String::new() };
        for message in [wrong, hello].into_iter().chain(everything_about(open)) {
            let _ = send.send(frame(&message.encode().unwrap())).await;
        }
        let mut heard = Vec::new();
        while let Ok(Ok(Some(bytes))) = timeout(SILENCE, read_frame(&mut *recv, MAX_FRAME)).await {
            heard.push(PeerMessage::decode(&bytes).unwrap());
        }
        assert!(heard.iter().all(|message| message.content().is_none_or(|content| content == open)), "{heard:?}");
        let is_hello = |message: &PeerMessage| matches!(message, PeerMessage::Hello { .. });
        assert_eq!(heard.iter().any(is_hello), beside.is_some(), "{heard:?}");
    }
}
