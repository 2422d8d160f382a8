//! Locks of the standard library, taken in one way: a thread that panics while it holds one takes the others with it.

use std::sync::{Mutex, MutexGuard};

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a thread has panicked while it held this lock")
}
