//! A connection over which a peer proves its second address, of the other IP family than that of its session.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::{AddressToken, PeerId, TrackerEvent, TrackerRequest};
use transport::frame::{MessageReceiver, MessageSender};
use transport::{Connection, TransportError};

use crate::last_words::last_words;
use crate::private;
use crate::state::State;

/// What is said where a token is not, or no more, one of a session of this peer.
const UNKNOWN: &str = "this token proves no second address here: ask for another one over the session";
/// After so many contents it is others' turn.
const A_TURN: usize = 16;

/// What is shown first.
pub(crate) struct Shown {
    pub(crate) token: AddressToken,
    pub(crate) listeners: Vec<SocketAddr>,
}

/// Takes a proof, and stays for as long as the peer keeps the connection.
pub(crate) async fn serve(
    session: u64,
    connection: &Arc<dyn Connection>,
    (mut send, mut recv): (MessageSender<TrackerEvent>, MessageReceiver<TrackerRequest>),
    shown: Shown,
    state: &State,
) -> Result<(), TransportError> {
    let peer = connection.peer_id();
    let proven = {
        let Shown { token, listeners } = shown;
        state.prove_second_address(session, &**connection, token, &listeners)
    };
    let Some(main) = proven else {
        // Of a private share a stranger hears what it hears everywhere.
        let sentence = if state.private().is_some() { private::REFUSED } else { UNKNOWN };
        send.send(&TrackerEvent::Refused(sentence.to_owned())).await?;
        return last_words(&mut send, connection).await;
    };
    send.send(&TrackerEvent::AlsoSeen { seen: connection.remote_addr() }).await?;
    pass_on(state, (main, peer), true).await;
    match recv.recv().await? {
        None => {
            state.second_address_finished(session, peer);
            last_words(&mut send, connection).await
        }
        Some(_) => Err(TransportError::Lost("it had nothing more to say".to_owned())),
    }
}

/// Has all contents of a member know its addresses as they are now; those who know it are told, if they are to hear of it.
pub(crate) async fn pass_on(state: &State, member: (u64, PeerId), tells: bool) {
    for (turn, content) in (1..).zip(state.contents_of(member.0, member.1)) {
        state.readdress(member, content, tells);
        if turn % A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}
