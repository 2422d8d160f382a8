//! The end of a connection on which everything is said.

use std::sync::Arc;
use std::time::Duration;

use protocol::TrackerEvent;
use tokio::time::timeout;
use transport::frame::MessageSender;
use transport::{Connection, TransportError};

/// Ends a connection on which everything is said, when that has arrived.
pub(crate) async fn last_words(
    send: &mut MessageSender<TrackerEvent>,
    connection: &Arc<dyn Connection>,
) -> Result<(), TransportError> {
    let _ = send.finish();
    let _ = timeout(Duration::from_secs(1), connection.closed()).await;
    Ok(())
}
