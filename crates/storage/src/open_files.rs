//! How many files the process holds open, over all its contents: a system grants only so many descriptors, and sockets need
//! some of them.
//!
//! A file that is closed here is opened again when it is needed. Those that were opened longest ago go first, whichever
//! content they are of: a thousand files that are shared one by one cost no more than a folder of a thousand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use atomic_file::descriptor_limit;

use crate::StorageError;
use crate::lock::lock;

/// Most open files, whatever the system grants: as many maps as are guarded against a file that is cut. To open one again
/// costs little.
const MOST: usize = 1024;

/// Something that holds files open.
pub(crate) trait Holder: Send + Sync {
    /// Closes one of them, as soon as nobody uses it any more.
    fn close(&self, file: usize);
}

/// The files that are open.
pub(crate) struct OpenFiles {
    most: usize,
    /// In the order in which they were opened.
    order: Mutex<VecDeque<(Weak<dyn Holder>, usize)>>,
}

impl OpenFiles {
    pub(crate) fn new(most: usize) -> Self {
        OpenFiles { most, order: Mutex::new(VecDeque::new()) }
    }

    /// Those of this process: half of what it is granted, when the first is opened.
    pub(crate) fn of_process() -> &'static Self {
        static OPEN: OnceLock<OpenFiles> = OnceLock::new();
        OPEN.get_or_init(|| OpenFiles::new((descriptor_limit() / 2).clamp(1, MOST)))
    }

    /// Opens something. If the process has as many files open as it may, others are closed for it.
    pub(crate) fn open<T>(&self, open: impl Fn() -> Result<T, StorageError>) -> Result<T, StorageError> {
        loop {
            match open() {
                Err(StorageError::TooManyOpen(_)) if self.close_half() => {}
                result => return result,
            }
        }
    }

    /// A file of a holder is open now. What is too much is closed.
    pub(crate) fn opened(&self, holder: &Arc<impl Holder + 'static>, file: usize) {
        let holder: Weak<dyn Holder> = Arc::downgrade(holder) as _;
        let mut order = lock(&self.order);
        order.push_back((holder, file));
        let more = order.len().saturating_sub(self.most);
        let oldest: Vec<_> = order.drain(..more).collect();
        drop(order);
        close(oldest);
    }

    /// A holder is about to go, with all its files.
    pub(crate) fn forget(&self, holder: &Arc<impl Holder + 'static>) {
        let gone = Arc::as_ptr(holder).cast::<()>();
        lock(&self.order).retain(|(holder, _)| holder.as_ptr().cast::<()>() != gone);
    }

    /// Closes half of them. False if there are none.
    fn close_half(&self) -> bool {
        let mut order = lock(&self.order);
        let half = order.len().div_ceil(2);
        let oldest: Vec<_> = order.drain(..half).collect();
        drop(order);
        close(oldest)
    }
}

/// Not under the lock: to close a file may wait for the disk.
fn close(files: Vec<(Weak<dyn Holder>, usize)>) -> bool {
    let any = !files.is_empty();
    for (holder, file) in files {
        if let Some(holder) = holder.upgrade() {
            holder.close(file);
        }
    }
    any
}
