//! Digesting a file of a content while it comes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use origins::{FileCheck, FileDigest};
use peer::{ContentId, Reader, Status};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Shared;
use super::growing::Verdict;
use super::held::Held;
use super::swarm::Found;
use crate::error::Refusal;
use crate::removal::remove_outside;

/// How often as long as the swarm is waited for otherwise, the next piece is before the file is looked for elsewhere.
const STALL: u32 = 6;
/// Where many begin at once, clients hasten what they wait for, and a check does not.
const NEVER: Duration = Duration::from_secs(86_400);

/// Begins to digest these bytes of a content. A content that is wrong is not taken again, and goes if it was
/// downloaded here, or is nothing but that file. So does one that was begun for this, and does not come.
pub(super) fn begin(shared: &Arc<Shared>, found: Found, range: Range<u64>, digest: FileDigest, is_all: bool) -> Held {
    let (say, verdict) = watch::channel(Verdict::Open);
    let (offset, size) = (range.start, range.end - range.start);
    let held = Held::in_content(found.open.clone(), offset, size, verdict);
    let (shared, checked) = (shared.clone(), held.clone());
    tokio::spawn(async move {
        let mut reader = found.open.read(range).within(&shared.checks);
        if found.is_patient {
            reader = reader.patient(NEVER);
        }
        let status = found.open.status();
        let in_use = checked.source.in_use(&shared.kept);
        let verdict = digested(reader, status, FileCheck::new(digest, size), size, shared.patience * STALL).await;
        drop(in_use);
        let content = found.open.content();
        let say = || {
            let _ = say.send(verdict);
        };
        // Those who hear what is wrong look for another one at once.
        match verdict {
            Verdict::Wrong => {
                is_wrong(&shared, content);
                shared.spoiled.is_wrong(digest, say);
            }
            Verdict::Failed(_) => {
                shared.avoided.slow(content);
                // What clients have of it may be right all the same.
                shared.spoiled.may_be_wrong(digest, (content, offset), || {
                    say();
                    checked.went_out()
                });
            }
            Verdict::Right => {
                shared.spoiled.is_right(digest, (content, offset));
                say();
            }
            Verdict::Open => {}
        }
        let was_begun = matches!(verdict, Verdict::Wrong | Verdict::Failed(_)) && shared.begun.take(content);
        if was_begun || (verdict == Verdict::Wrong && (is_all || found.is_downloaded())) {
            remove(&shared, found).await;
        }
    });
    held
}

async fn digested(
    mut reader: Reader,
    status: watch::Receiver<Status>,
    mut check: FileCheck,
    size: u64,
    patience: Duration,
) -> Verdict {
    let (mut left, mut have) = (size, status.borrow().have);
    while left > 0 {
        let block = match timeout(patience, reader.block()).await {
            Ok(Ok(block)) if !block.is_empty() => block,
            // Others may come before the one that is next.
            Err(_) if std::mem::replace(&mut have, status.borrow().have) != have => continue,
            _ => return Verdict::Failed(Refusal::Late),
        };
        left = left.saturating_sub(block.len() as u64);
        let digesting = spawn_blocking(move || {
            check.update(&block);
            check
        });
        let Ok(digested) = digesting.await else { return Verdict::Failed(Refusal::Failed) };
        check = digested;
    }
    if check.is_right() { Verdict::Right } else { Verdict::Wrong }
}

/// Does not take a content again that is not what its name says.
pub(super) fn is_wrong(shared: &Shared, content: ContentId) {
    tracing::warn!(%content, "a content of the swarm is not what its name says");
    shared.avoided.wrong(content);
}

/// Stops a content, and removes what came of it.
pub(super) async fn remove(shared: &Shared, found: Found) {
    let Found { node, open, folder, .. } = found;
    let Some(again) = node.open(open.content()).await else { return };
    if let Err(error) = again.stop().await {
        tracing::warn!(%error, "a wrong content is not stopped");
    } else if let Some(folder) = folder {
        shared.kept.forget(&folder);
        remove_outside(folder).await;
    }
}
