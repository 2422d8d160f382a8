//! The secrets of private shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ContentId, Secret};
use transport::Identity;

/// The secret of each content.
pub type Secrets = Arc<dyn Fn(ContentId) -> Secret + Send + Sync>;

/// Secrets that follow from the tracker's key: shared again from the same folder, a content has the same ticket.
pub fn secrets_of(identity: Identity) -> Secrets {
    const PURPOSE: &str = "p2p-fileshare 2026-11-28 private share: secret of a content";
    Arc::new(move |content| first_half(identity.derive_key(PURPOSE, &content.0.0)))
}

/// Secrets of this run alone.
pub fn random_secrets() -> Secrets {
    let known = Mutex::new(HashMap::new());
    Arc::new(move |content| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(content).or_insert_with(|| {
            let mut bytes = [0; 32];
            transport::random(&mut bytes);
            first_half(bytes)
        })
    })
}

fn first_half(bytes: [u8; 32]) -> Secret {
    let mut half = [0; Secret::BYTES];
    half.copy_from_slice(&bytes[..Secret::BYTES]);
    Secret::new(half)
}
