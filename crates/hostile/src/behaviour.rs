//! The behaviour of a hostile peer of a [`Crowd`](super::Crowd) on a connection: what it says, how it answers, and what it requests.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use protocol::{
    Answer, ContentId, MAX_FRAME, MAX_MANIFEST_BYTES, MAX_OFFERS, PeerMessage, PieceRange, RefusalReason, Request,
    VERSION, Wire,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use transport::frame::{frame, read_frame};
use transport::{Connection, RecvStream, SendStream, TransportError};

use super::{Flood, claim, said};

/// Time between two wide offers at least, and at most.
const OFFER_PAUSE: Duration = Duration::from_millis(200);
const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// How long an offer stands before it is withdrawn, and how long the content stays withdrawn.
const OFFERED: Duration = Duration::from_millis(500);
const WITHDRAWN: Duration = Duration::from_millis(100);
/// Bytes of a question that was not offered, and the pause after a refusal.
const QUESTION: u64 = 4 << 20;
const REFUSED: Duration = Duration::from_millis(100);
/// Bytes that are sent or read at once.
const STEP: usize = 64 << 10;

/// The content that is attacked.
#[derive(Debug, Clone)]
pub struct Victim {
    /// Its id.
    pub content: ContentId,
    /// Its name, as the tracker is told.
    pub name: String,
    /// Its number of pieces.
    pub pieces: u32,
    /// Bytes of a piece.
    pub piece_size: u64,
    /// Bytes of the file.
    pub size: u64,
    /// The file itself: an answer that trickles consists of good bytes.
    pub file: Arc<File>,
}

/// What a peer does on each of its connections.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// The site that it names in its hello.
    pub site: &'static str,
    /// What it says on the control stream.
    pub says: Says,
    /// How it answers questions for pieces.
    pub pieces: Answers,
    /// How it answers questions for the manifest.
    pub manifest: Answers,
    /// What it asks for.
    pub takes: Option<Takes>,
    /// After this long it starts again with another key.
    pub lifetime: Option<Duration>,
    /// The pause before it dials again once a connection has ended.
    pub pause: Duration,
}

/// What is said on the control stream.
#[derive(Debug, Clone, Copy)]
pub enum Says {
    /// Nothing at all.
    Nothing,
    /// A hello.
    Hello,
    /// That it wants the content and has none of it.
    Wants,
    /// That it has all pieces, and that it would give them all at once; again after it was declined.
    OffersAll,
    /// The same, but it withdraws the content at once, in a loop.
    OffersAndWithdraws,
    /// Messages that cost more than they say, at so many bytes a second.
    Floods(Flood, u64),
}

/// How a question is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answers {
    /// Never.
    Silent,
    /// By a refusal.
    Busy,
    /// By a claim, and then so many bytes a second over all answers under way. Pieces are good; a manifest is not.
    Trickle(u64),
    /// By a claim and, as fast as they are taken, all bytes but the last.
    AllButOne,
}

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Pieces.
    Pieces,
    /// The same, as if somebody waited for them.
    Awaited,
    /// The manifest, again and again.
    Manifest,
}

/// How a peer asks.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// For what.
    pub wants: Wants,
    /// Questions under way at once.
    pub questions: usize,
    /// Bytes a second that it reads; 0 to never read.
    pub rate: u64,
    /// Whether it asks only for what it is offered, says what it got, and reads every answer to its end.
    pub polite: bool,
}

impl Behaviour {
    /// One that claims to be a seeder, and answers all questions alike.
    pub fn seeder(answers: Answers) -> Self {
        Behaviour {
            site: "",
            says: Says::OffersAll,
            pieces: answers,
            manifest: answers,
            takes: None,
            lifetime: None,
            pause: Duration::from_millis(500),
        }
    }

    /// One that takes pieces.
    pub fn taker(takes: Takes) -> Self {
        let seeder = Behaviour::seeder(Answers::Busy);
        Behaviour { says: Says::Wants, takes: Some(takes), ..seeder }
    }

    /// One that connects, says this, and does nothing more.
    pub fn idle(says: Says) -> Self {
        Behaviour { says, pause: Duration::from_secs(5), ..Behaviour::seeder(Answers::Busy) }
    }
}

/// Counts of what a crowd did.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that stood.
    pub connections: AtomicU64,
    /// Connections that stand.
    pub standing: AtomicU64,
    /// Questions for pieces that came.
    pub asked: AtomicU64,
    /// Bytes of pieces that were received.
    pub received: AtomicU64,
    /// Bytes said on control streams.
    pub said: AtomicU64,
}

/// A connection that counts as standing until this is dropped.
struct Standing(Arc<Tally>);

impl Standing {
    fn count(tally: &Arc<Tally>) -> Self {
        tally.connections.fetch_add(1, Ordering::Relaxed);
        tally.standing.fetch_add(1, Ordering::Relaxed);
        Standing(tally.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.standing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, from its beginning to its end.
pub(super) struct Conversation {
    pub(super) behaviour: Behaviour,
    pub(super) victim: Victim,
    pub(super) tally: Arc<Tally>,
    pub(super) listeners: Vec<std::net::SocketAddr>,
    /// Answers under way.
    pub(super) active: AtomicUsize,
}

impl Conversation {
    /// Goes on until the connection has ended.
    pub(super) async fn run(self, connection: Arc<dyn Connection>, dialled: bool) {
        let _standing = Standing::count(&self.tally);
        let this = Arc::new(self);
        let talking = async {
            let control = if dialled { connection.open().await } else { connection.accept().await };
            let Ok((send, recv)) = control else { return };
            let (heard, offers) = mpsc::channel(1024);
            let (say, messages) = mpsc::channel(1024);
            // Each ends with the connection, and not before.
            tokio::join!(
                this.listen(recv, heard),
                this.speak(send, messages),
                this.clone().answer(connection.clone()),
                this.ask(connection.clone(), offers, say),
            );
        };
        tokio::select! {
            _ = connection.closed() => {}
            () = talking => {}
        }
    }

    /// Reads the control stream; runs that are offered go to the asker.
    async fn listen(&self, mut recv: Box<dyn RecvStream>, offers: mpsc::Sender<PieceRange>) {
        while let Ok(Some(bytes)) = read_frame(&mut *recv, MAX_FRAME).await {
            if let Ok(PeerMessage::Offer { runs, .. }) = PeerMessage::decode(&bytes) {
                for run in runs {
                    let _ = offers.try_send(run);
                }
            }
        }
    }

    async fn speak(&self, mut send: Box<dyn SendStream>, mut messages: mpsc::Receiver<PeerMessage>) {
        // An error means that the connection has ended.
        let _ = self.say_all(&mut *send, &mut messages).await;
        std::future::pending::<()>().await;
    }

    async fn say_all(
        &self,
        send: &mut dyn SendStream,
        messages: &mut mpsc::Receiver<PeerMessage>,
    ) -> Result<(), TransportError> {
        let Victim { content, pieces, .. } = self.victim;
        let (listeners, site) = (self.listeners.clone(), self.behaviour.site.to_owned());
        let hello = said(&PeerMessage::Hello { version: VERSION, listeners, site });
        let join = |wants| said(&PeerMessage::Join { content, pieces: Some(pieces), wants });
        let everything = vec![PieceRange { first: 0, count: pieces }];
        let have = said(&PeerMessage::Have { content, runs: everything.clone(), in_flight: vec![] });
        let wide = said(&PeerMessage::Offer { content, runs: everything });
        let parts = said(&PeerMessage::Offer { content, runs: parts(pieces, MAX_OFFERS as u32) });
        let offers = [wide, parts].concat();
        match self.behaviour.says {
            Says::Nothing => {}
            Says::Hello => self.say(send, hello).await?,
            Says::Wants => {
                self.say(send, [hello, join(true)].concat()).await?;
                while let Some(message) = messages.recv().await {
                    self.say(send, said(&message)).await?;
                }
            }
            Says::OffersAll => {
                self.say(send, [hello, join(false), have].concat()).await?;
                loop {
                    self.say(send, offers.clone()).await?;
                    sleep(OFFER_PAUSE).await;
                    let _ = tokio::time::timeout(OFFER_AGAIN, messages.recv()).await;
                }
            }
            Says::OffersAndWithdraws => {
                self.say(send, hello).await?;
                let withdraw = said(&PeerMessage::Withdraw { content });
                loop {
                    self.say(send, [join(false), have.clone(), offers.clone()].concat()).await?;
                    sleep(OFFERED).await;
                    self.say(send, withdraw.clone()).await?;
                    sleep(WITHDRAWN).await;
                }
            }
            Says::Floods(flood, rate) => {
                self.say(send, hello).await?;
                let (before, cycle) = flood.messages(content, pieces);
                self.say(send, before).await?;
                let began = tokio::time::Instant::now();
                let mut bytes = 0;
                loop {
                    // As many rounds as make a message worth sending.
                    let round = cycle.repeat((STEP / 4 / cycle.len()).max(1));
                    bytes += round.len() as u64;
                    self.say(send, round).await?;
                    tokio::time::sleep_until(began + Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
                }
            }
        }
        Ok(())
    }

    async fn say(&self, send: &mut dyn SendStream, bytes: Vec<u8>) -> Result<(), TransportError> {
        let len = bytes.len() as u64;
        send.send(bytes.into()).await?;
        self.tally.said.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// Each stream that the other side opens is a question.
    async fn answer(self: Arc<Self>, connection: Arc<dyn Connection>) {
        let mut answers = JoinSet::new();
        while let Ok((send, mut recv)) = connection.accept().await {
            let this = self.clone();
            answers.spawn(async move {
                let Ok(Some(bytes)) = read_frame(&mut *recv, Request::MAX_BYTES).await else { return };
                let Ok(request) = Request::decode(&bytes) else { return };
                let _ = this.answer_one(&request, send).await;
            });
            while answers.try_join_next().is_some() {}
        }
        std::future::pending::<()>().await;
    }

    async fn answer_one(&self, request: &Request, mut send: Box<dyn SendStream>) -> Result<(), TransportError> {
        let Victim { piece_size, size, .. } = self.victim;
        let (answers, begin, len) = match *request {
            Request::Manifest { .. } => (self.behaviour.manifest, None, MAX_MANIFEST_BYTES as u64),
            Request::Pieces { run, .. } | Request::AwaitedPieces { run, .. } => {
                self.tally.asked.fetch_add(1, Ordering::Relaxed);
                let begin = u64::from(run.first) * piece_size;
                let len = (u64::from(run.count) * piece_size).min(size.saturating_sub(begin));
                (self.behaviour.pieces, Some(begin), len)
            }
            Request::FirstPieces { .. } | Request::UpRate { .. } | Request::Receivers { .. } => return Ok(()),
        };
        match answers {
            Answers::Silent => std::future::pending::<()>().await,
            Answers::Busy => {
                let refusal = Answer::Refused(RefusalReason::Busy).encode().expect("it has an encoding");
                send.send(frame(&refusal)).await?;
                send.finish()?;
            }
            Answers::Trickle(rate) => {
                send.send(claim(len).into()).await?;
                self.active.fetch_add(1, Ordering::Relaxed);
                let result = self.trickle(&mut *send, begin, len, rate).await;
                self.active.fetch_sub(1, Ordering::Relaxed);
                result?;
                send.finish()?;
            }
            Answers::AllButOne => {
                send.send(claim(len).into()).await?;
                let mut sent = 0;
                while sent + 1 < len {
                    let count = (len - 1 - sent).min(STEP as u64);
                    send.send(self.bytes(begin, sent, count as usize).into()).await?;
                    sent += count;
                }
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    async fn trickle(
        &self,
        send: &mut dyn SendStream,
        begin: Option<u64>,
        len: u64,
        rate: u64,
    ) -> Result<(), TransportError> {
        let mut sent = 0;
        while sent < len {
            let share = (rate / self.active.load(Ordering::Relaxed).max(1) as u64).max(1);
            let times = share.min(20);
            let count = (share / times).min(len - sent);
            send.send(self.bytes(begin, sent, count as usize).into()).await?;
            sent += count;
            sleep(Duration::from_secs(1) / times as u32).await;
        }
        Ok(())
    }

    /// Bytes of the file, or of a manifest that is none.
    fn bytes(&self, begin: Option<u64>, at: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![7; count];
        if let Some(begin) = begin {
            let _ = storage::positioned::read_exact_at(&self.victim.file, &mut bytes, begin + at);
        }
        bytes
    }

    /// Asks for pieces for as long as the connection stands.
    async fn ask(
        &self,
        connection: Arc<dyn Connection>,
        mut offers: mpsc::Receiver<PieceRange>,
        say: mpsc::Sender<PeerMessage>,
    ) {
        if let Some(takes) = self.behaviour.takes {
            let mut kept = Vec::new();
            let mut questions = JoinSet::new();
            loop {
                let run = if takes.polite {
                    match offers.recv().await {
                        Some(run) => run,
                        None => break,
                    }
                } else {
                    offers.try_recv().unwrap_or_else(|_| self.any_run())
                };
                while questions.len() >= takes.questions {
                    if let Some(Ok(Some(stream))) = questions.join_next().await {
                        // What is not read stays open.
                        kept.push(stream);
                        if kept.len() >= takes.questions {
                            std::future::pending::<()>().await;
                        }
                    }
                }
                let (connection, tally) = (connection.clone(), self.tally.clone());
                let (content, say) = (self.victim.content, say.clone());
                let request = match takes.wants {
                    Wants::Pieces => Request::Pieces { content, run },
                    Wants::Awaited => Request::AwaitedPieces { content, run },
                    Wants::Manifest => Request::Manifest { content },
                };
                let rate = takes.rate / takes.questions as u64;
                questions.spawn(async move {
                    let (stream, whole) = take(&*connection, &request, rate, &tally).await.ok()?;
                    if whole && takes.polite {
                        let _ = say.try_send(PeerMessage::Have { content, runs: vec![run], in_flight: vec![] });
                    }
                    stream
                });
            }
        }
        std::future::pending::<()>().await;
    }

    fn any_run(&self) -> PieceRange {
        let most = ((QUESTION / self.victim.piece_size).max(1) as u32).min(self.victim.pieces);
        PieceRange { first: fastrand::u32(..=self.victim.pieces - most), count: most }
    }
}

type Unread = (Box<dyn SendStream>, Box<dyn RecvStream>);

/// Asks, and reads the answer at so many bytes a second, or never. Gives what stays open, and whether all came.
async fn take(
    connection: &dyn Connection,
    request: &Request,
    rate: u64,
    tally: &Tally,
) -> Result<(Option<Unread>, bool), TransportError> {
    let (mut send, mut recv) = connection.open().await?;
    send.send(frame(&request.encode().expect("it has an encoding"))).await?;
    send.finish()?;
    if rate == 0 {
        return Ok((Some((send, recv)), false));
    }
    let answer = read_frame(&mut *recv, Answer::MAX_BYTES).await?.and_then(|bytes| Answer::decode(&bytes).ok());
    let Some(Answer::Bytes(len)) = answer else {
        sleep(REFUSED).await;
        return Ok((None, false));
    };
    let (mut left, mut part) = (len, vec![0; (rate / 20).clamp(1, STEP as u64) as usize]);
    while left > 0 {
        let count = recv.recv(&mut part).await? as u64;
        if count == 0 {
            return Ok((None, false));
        }
        tally.received.fetch_add(count, Ordering::Relaxed);
        left = left.saturating_sub(count);
        sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
    }
    Ok((None, true))
}

/// All pieces, in so many runs at most.
pub(super) fn parts(pieces: u32, most: u32) -> Vec<PieceRange> {
    let count = pieces.div_ceil(most).max(1);
    (0..pieces).step_by(count as usize).map(|first| PieceRange { first, count: count.min(pieces - first) }).collect()
}
