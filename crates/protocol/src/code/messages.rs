//! How a code becomes a ticket: what a sharer and a getter say to the tracker between them, and through it to each other.
//!
//! A tracker keeps a mailbox for a sharer for as long as that one's connection stands, and hands on what a getter says to it, and
//! what it answers: twice each. It need not understand any of that, and learns nothing by it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::PeerId;
use crate::codec::{Wire, bounded};

/// Most bytes of what is handed on at once: a sealed ticket with many addresses.
pub const MAX_CODE_MESSAGE: usize = 1024;
/// Most bytes of an element of the group.
const MAX_ELEMENT: usize = 64;
/// Most bytes of a sealed ticket.
const MAX_SEALED: usize = 1000;

/// What is said to a tracker about mailboxes. The first two are said first on a connection of their own, before any hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxRequest {
    /// The sender shares something, and wants a mailbox for as long as this connection stands.
    Claim {
        /// The number that it had before, or would like.
        wish: Option<u16>,
    },
    /// The sender has a code for this mailbox, and says the first thing to its owner.
    Open {
        /// The mailbox.
        mailbox: u16,
        /// What is handed on.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
    /// The second thing, from the getter who has opened a mailbox and was answered.
    Say {
        /// What is handed on.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
    /// The owner answers.
    Answer {
        /// Whom, as [`MailboxEvent::Opened`] has said.
        exchange: u32,
        /// What is handed on.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
}

/// What a tracker says about mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxEvent {
    /// To the owner: this mailbox is its own now.
    Claimed {
        /// Its number.
        mailbox: u16,
    },
    /// To the owner: someone has opened it.
    Opened {
        /// By which the exchange is known from now on.
        exchange: u32,
        /// Who that is.
        peer: PeerId,
        /// Where its connection comes from.
        from: SocketAddr,
        /// What it says.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
    /// To the owner: the second thing that was said.
    Said {
        /// In this exchange.
        exchange: u32,
        /// What it says.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
    /// To the owner: the exchange is over, whatever has come of it.
    Over {
        /// The exchange.
        exchange: u32,
    },
    /// To who has opened a mailbox: what the owner answers.
    Answered {
        /// What it says.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CODE_MESSAGE>")]
        message: Vec<u8>,
    },
    /// It cannot be had, or not now. The connection ends.
    Refused(MailboxRefusal),
}

/// Why a mailbox cannot be had or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxRefusal {
    /// There is none of this number.
    None,
    /// Too many are at it, or it does not answer: to be tried again.
    Busy,
    /// There is no room for one more.
    Full,
}

/// What a getter and a sharer say to each other, through a tracker that hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeMessage {
    /// The getter begins.
    Begin {
        /// Its element of the exchange.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ELEMENT>")]
        element: Vec<u8>,
    },
    /// The sharer's answer, from which no guess can be tried.
    Reply {
        /// Its element of the exchange.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_ELEMENT>")]
        element: Vec<u8>,
        /// The sharer.
        sharer: PeerId,
    },
    /// The getter proves that it has the code.
    Proof([u8; 32]),
    /// It has. That this can be opened proves the same of the sharer.
    Ticket {
        /// The ticket.
        #[serde(deserialize_with = "bounded::vec::<_, _, MAX_SEALED>")]
        sealed: Vec<u8>,
    },
    /// It has not, or the code is not valid any more.
    Wrong,
    /// Too many are trying at the same time: to be tried again.
    Busy,
}

impl Wire for CodeMessage {
    const MAX_BYTES: usize = MAX_CODE_MESSAGE;
}
