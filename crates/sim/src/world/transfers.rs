//! Transfers: a question on its way, in the other side's queue, and as a flow of bytes. Either side may end it alone.

use protocol::PieceRange;
use swarm::{ConnId, Event, RequestId, ServeId};

use super::{PeerIx, SimEvent, World};
use crate::network::FlowId;
use crate::queue::Time;

/// Also what the serving engine knows the question by.
pub(super) type TransferId = ServeId;

pub(super) struct Transfer {
    pub(super) generation: u32,
    pub(super) conn: ConnId,
    pub(super) asker: PeerIx,
    pub(super) server: PeerIx,
    pub(super) request: RequestId,
    pub(super) content: usize,
    pub(super) run: PieceRange,
    /// Whether somebody waits for them.
    pub(super) awaited: bool,
    /// Most bytes of an answer that the serving side chooses, and what has come of it before the asker knew what to do with that.
    pub(super) first: Option<u64>,
    pub(super) held: Option<Vec<Came>>,
    /// Whether each side still has to do with it.
    pub(super) asking: bool,
    pub(super) serving: bool,
    pub(super) flow: Option<FlowId>,
    /// The piece that is being sent, and the bytes of the run up to its end.
    pub(super) piece: u32,
    pub(super) piece_end: u64,
    /// Bytes that were told.
    pub(super) told: u64,
    pub(super) told_at: Time,
    /// Bytes that have not come.
    pub(super) owed: u64,
}

/// Bytes that have come: how many, the piece that they end, and whether they are the last.
pub(super) type Came = (u64, Option<u32>, bool);

impl Transfer {
    /// A question over a connection, from one peer to another.
    pub(super) fn new(
        (conn, request): (ConnId, RequestId),
        (asker, server): (PeerIx, PeerIx),
        content: usize,
        (run, owed): (PieceRange, u64),
    ) -> Self {
        Transfer {
            generation: 0,
            conn,
            asker,
            server,
            request,
            content,
            run,
            awaited: false,
            first: None,
            held: None,
            asking: true,
            serving: true,
            flow: None,
            piece: run.first,
            piece_end: 0,
            told: 0,
            told_at: 0,
            owed,
        }
    }
}

/// All transfers. An id is a generation and a slot.
#[derive(Default)]
pub(super) struct Transfers {
    pub(super) slots: Vec<Transfer>,
    free: Vec<u32>,
    /// Which transfer a flow belongs to.
    pub(super) of_flow: Vec<TransferId>,
    /// For each link: the version of its flows' rates.
    pub(super) versions: Vec<u32>,
}

fn id(generation: u32, slot: usize) -> TransferId {
    u64::from(generation) << 32 | slot as u64
}

impl Transfers {
    pub(super) fn add_links(&mut self, count: usize) {
        self.versions.resize(self.versions.len() + count, 0);
    }

    pub(super) fn add(&mut self, transfer: Transfer) -> TransferId {
        match self.free.pop() {
            Some(slot) => {
                let generation = self.slots[slot as usize].generation;
                self.slots[slot as usize] = Transfer { generation, ..transfer };
                id(generation, slot as usize)
            }
            None => {
                self.slots.push(transfer);
                id(0, self.slots.len() - 1)
            }
        }
    }

    /// The connection over which pieces are asked for, and which, if anyone still waits for them.
    pub(super) fn asked_for(&self, id: TransferId) -> Option<(ConnId, usize, PieceRange)> {
        let transfer = self.slots.get(id as u32 as usize)?;
        let waits = transfer.asking && transfer.generation == (id >> 32) as u32;
        waits.then_some((transfer.conn, transfer.content, transfer.run))
    }

    /// Who waits for which pieces of which content that nobody sends yet.
    pub(super) fn waiting(&mut self, id: TransferId) -> Option<(PeerIx, PieceRange, usize)> {
        let transfer = self.get(id).filter(|transfer| transfer.serving && transfer.flow.is_none())?;
        Some((transfer.asker, transfer.run, transfer.content))
    }

    /// It flows from now on; its first piece has so many bytes.
    pub(super) fn flows(&mut self, id: TransferId, flow: FlowId, first: u64, now: Time) {
        if self.of_flow.len() <= flow as usize {
            self.of_flow.resize(flow as usize + 1, 0);
        }
        self.of_flow[flow as usize] = id;
        if let Some(transfer) = self.get(id) {
            (transfer.flow, transfer.piece_end, transfer.told_at) = (Some(flow), first, now);
        }
    }

    pub(super) fn get(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.slots.get_mut(id as u32 as usize).filter(|transfer| transfer.generation == (id >> 32) as u32)
    }
}

impl World {
    /// The connection stands no more for `peer`.
    pub(super) fn end_transfer(&mut self, id: TransferId, peer: PeerIx) {
        let Some(transfer) = self.transfers.get(id) else { return };
        if transfer.asker == peer {
            self.break_asking(id);
        } else if transfer.serving {
            let flowing = transfer.flow.is_some();
            self.stop_serving(id);
            if flowing {
                self.after(0, SimEvent::Tell(peer, Event::Served { serve: id, pieces: 0 }));
            }
        }
    }

    /// What still flows when the run ends counts as sent.
    pub(super) fn stop_all(&mut self) {
        for slot in 0..self.transfers.slots.len() {
            self.stall(id(self.transfers.slots[slot].generation, slot));
        }
    }

    /// Neither side has to do with it any more: its slot is free.
    pub(super) fn forget_if_over(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(id).filter(|transfer| !transfer.asking && !transfer.serving) else {
            return;
        };
        transfer.generation += 1;
        let conn = transfer.conn;
        if let Some((state, _)) = self.connections.get(conn) {
            state.transfers.retain(|&other| other != id);
        }
        self.transfers.free.push(id as u32);
    }
}
