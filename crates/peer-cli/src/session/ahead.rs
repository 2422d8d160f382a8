//! Questions to a tracker that is still being dialled. They are sent together with the hello, so that a far tracker costs one round
//! trip and not three.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Mutex;

use peer::{Node, PeerError};
use protocol::{ContentId, ContentMatch, Query, Secret, Ticket};
use tokio::task::JoinHandle;

/// A tracker's answer that is on its way.
type Answer = JoinHandle<Result<Vec<ContentMatch>, PeerError>>;

/// What the tracker is to be asked for, and what is wanted of it if that is known already.
#[derive(Default)]
pub struct Ahead {
    query: Option<String>,
    content: Option<(ContentId, Option<Secret>)>,
    /// The sharer of a private share, who is where its tracker is, and the secret.
    sharer: Option<(Vec<SocketAddr>, Secret)>,
    answer: Mutex<Option<Answer>>,
}

impl Ahead {
    /// What a ticket stands for. The sharer's own tracker tells that by itself, and the sharer is met meanwhile.
    pub fn of_ticket(ticket: &Ticket) -> Self {
        let Some(content) = ticket.content() else {
            let sharer = ticket.secret().map(|secret| (ticket.addresses().to_vec(), secret));
            return Ahead { sharer, ..Ahead::default() };
        };
        let asked = ticket.secret().map_or(content, |secret| secret.share_key().swarm());
        Ahead { query: Some(asked.to_string()), content: Some((content, ticket.secret())), ..Ahead::default() }
    }

    /// What was typed: an id, the beginning of one, or a name.
    pub fn of_text(wanted: &str) -> Self {
        match wanted.parse() {
            Ok(Query::Id(id)) => {
                let content = (!id.is_private()).then_some((id, None));
                Ahead { query: Some(wanted.to_owned()), content, ..Ahead::default() }
            }
            Ok(Query::Name(_) | Query::Prefix(_)) => Ahead { query: Some(wanted.to_owned()), ..Ahead::default() },
            // No tracker is told a secret.
            Ok(Query::Private(_)) | Err(_) => Ahead::default(),
        }
    }

    /// Joins, and has the question wait for the tracker meanwhile. To be called once for each try.
    pub async fn during<T>(&self, node: &Node, join: impl Future<Output = T>) -> T {
        let mut join = pin!(join);
        // The node knows which tracker is meant once this has begun.
        tokio::select! {
            biased;
            joined = &mut join => return joined,
            () = std::future::ready(()) => {}
        }
        if let Some((addresses, secret)) = self.sharer.clone() {
            let _ = node.approach(addresses, secret).await;
        }
        if let Some(query) = self.query.clone() {
            let (node, content) = (node.clone(), self.content);
            let asking = tokio::spawn(async move {
                let expect = async {
                    if let Some((content, secret)) = content {
                        let _ = node.expect(content, secret).await;
                    }
                };
                tokio::join!(node.find(&query), expect).0
            });
            let before = self.answer.lock().unwrap_or_else(|error| error.into_inner()).replace(asking);
            before.inspect(|before| before.abort());
        }
        join.await
    }

    /// The tracker's answer, once: nothing if it was not asked or has not answered.
    pub async fn answer(&self, node: &Node) -> Option<Vec<ContentMatch>> {
        let asked = self.answer.lock().unwrap_or_else(|error| error.into_inner()).take();
        let found = asked?.await.ok()?.ok()?;
        let Some((content, _)) = self.content else { return Some(found) };
        // A tracker of an earlier version counts this node among those who take part.
        let may_be_own = |found: &ContentMatch| found.seeders == 0 && found.others <= 1;
        if !found.iter().all(may_be_own) {
            return Some(found);
        }
        let _ = node.unexpect(content).await;
        found.is_empty().then_some(found)
    }
}
