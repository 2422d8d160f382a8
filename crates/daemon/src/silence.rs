//! Whether a node has a tracker, in words: for users and for the log.

use std::time::Duration;

use peer::TrackerAddress;
use tokio::sync::watch;
use tokio::time::timeout;

/// There is none for so long before that is said: at a start each takes a moment, and some are only restarted.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says while there is no connection with any of these trackers: a sentence, and an empty one while there is one. `is_up` tells which is the case.
pub(crate) async fn watch_trackers<T>(
    trackers: &[TrackerAddress],
    mut statuses: watch::Receiver<T>,
    is_up: impl Fn(&T) -> bool,
    say: watch::Sender<String>,
) {
    let is_down = |now: &T| !is_up(now);
    while statuses.wait_for(is_down).await.is_ok() {
        match timeout(PATIENCE, statuses.wait_for(&is_up)).await.map(|back| back.is_ok()) {
            Ok(true) => continue,
            Ok(false) => return,
            Err(_) => {}
        }
        let reason = sentence(trackers);
        tracing::warn!(reason, "no tracker");
        say.send_replace(reason);
        if statuses.wait_for(&is_up).await.is_err() {
            return;
        }
        tracing::info!("there is a connection with a tracker");
        say.send_replace(String::new());
    }
}

fn sentence(trackers: &[TrackerAddress]) -> String {
    match trackers {
        [only] => format!("there is no connection with the tracker {}: nobody new finds it", place(only)),
        several => format!("there is no connection with any of the {} trackers: nobody new finds it", several.len()),
    }
}

/// Its name, or its first address.
fn place(tracker: &TrackerAddress) -> String {
    let address = || tracker.addresses.first().map(ToString::to_string);
    tracker.name.clone().or_else(address).unwrap_or_else(|| tracker.id.to_string())
}

#[cfg(test)]
mod tests {
    use peer::Identity;

    use super::*;

    fn tracker(name: Option<&str>) -> TrackerAddress {
        let id = Identity::generate().unwrap().peer_id();
        let addresses = vec!["192.0.2.1:9999".parse().unwrap()];
        TrackerAddress { addresses, id, name: name.map(str::to_owned) }
    }

    #[test]
    fn one_tracker_is_named_and_several_are_counted() {
        assert!(sentence(&[tracker(Some("host:9999"))]).contains("with the tracker host:9999:"));
        assert!(sentence(&[tracker(None)]).contains("with the tracker 192.0.2.1:9999:"));
        assert!(sentence(&[tracker(None), tracker(None)]).contains("with any of the 2 trackers:"));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_said_after_a_while_and_until_one_is_back() {
        let (up, statuses) = watch::channel(false);
        let (say, mut said) = watch::channel(String::new());
        let watching = tokio::spawn(async move {
            watch_trackers(&[tracker(None)], statuses, |is_up| *is_up, say).await;
        });
        tokio::time::sleep(PATIENCE / 2).await;
        up.send_replace(true);
        tokio::time::sleep(PATIENCE * 2).await;
        assert_eq!(*said.borrow(), "", "it has answered in time");
        up.send_replace(false);
        said.wait_for(|reason| !reason.is_empty()).await.unwrap();
        up.send_replace(true);
        said.wait_for(String::is_empty).await.unwrap();
        drop(up);
        watching.await.unwrap();
    }
}
