//! The network between peers: links with a capacity, and flows that share them.

mod flows;

pub(crate) use flows::{FlowId, LinkId, Network};
