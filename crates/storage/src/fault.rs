//! The last resort of mapped files: a page that cannot be had reads as zeros instead of killing the process.
//!
//! A mapped file that someone else cuts, or a disk that cannot read, raises SIGBUS in whoever touches the page: here
//! the network's code, in the middle of a packet. The handler puts an empty page in its place and raises a flag,
//! after which the storage refuses every read; a receiver throws the zeros away, since it verifies. Faults outside
//! our maps go to whoever handled them before. Linux only: elsewhere the checks before each read must do.
#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Maps that are guarded at a time; a map beyond that has only the checks before each read.
const SLOTS: usize = 1024;
/// A start that no address reaches: the slot is being filled.
const CLAIMED: usize = usize::MAX;

/// A guarded range of addresses. Only atomics, since the handler reads it at any moment.
struct Slot {
    /// First address; 0 if the slot is free.
    start: AtomicUsize,
    end: AtomicUsize,
    damaged: AtomicBool,
}

static REGISTRY: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), damaged: AtomicBool::new(false) } }; SLOTS];
static PAGE: AtomicUsize = AtomicUsize::new(0);
static INSTALL: Once = Once::new();
/// What handled SIGBUS before; written once, before the handler is installed.
static mut BEFORE: std::mem::MaybeUninit<libc::sigaction> = std::mem::MaybeUninit::uninit();

/// A guarded map. Drop it before the map goes.
pub(crate) struct Registration(&'static Slot);

impl Registration {
    /// Guards a map; nothing if too many are guarded already.
    pub(crate) fn new(map: &[u8]) -> Option<Self> {
        INSTALL.call_once(install);
        let claim =
            |slot: &&Slot| slot.start.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let slot = REGISTRY.iter().find(claim)?;
        let start = map.as_ptr() as usize;
        slot.damaged.store(false, Ordering::Relaxed);
        slot.end.store(start + map.len(), Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
        Some(Registration(slot))
    }

    /// Raised once a page of the map could not be had.
    pub(crate) fn damaged(&self) -> &'static AtomicBool {
        &self.0.damaged
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

fn install() {
    // SAFETY: a question about a constant of the machine.
    PAGE.store(unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize, Ordering::Relaxed);
    // SAFETY: the structure is plain data and filled as sigaction(2) says; the handler does only what a handler may:
    // atomics, mmap and sigaction. `call_once` makes this the only writer of BEFORE, and no handler of ours that
    // could read it is installed yet.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        let before = (&raw mut BEFORE).cast::<libc::sigaction>();
        libc::sigaction(libc::SIGBUS, std::ptr::null(), before);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn handle(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO, and errno is this thread's own.
    let (address, errno) = unsafe { ((*info).si_addr() as usize, libc::__errno_location()) };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    if !replace_page(address) {
        // Not ours: the instruction runs again and faults for whoever handled it before.
        // SAFETY: BEFORE was filled before this handler was installed.
        unsafe { libc::sigaction(libc::SIGBUS, (&raw const BEFORE).cast(), std::ptr::null_mut()) };
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Puts an empty page where a page of a guarded map cannot be had. False if the address is in none.
fn replace_page(address: usize) -> bool {
    let holds = |slot: &&Slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != 0 && start <= address && address < slot.end.load(Ordering::Relaxed)
    };
    let Some(slot) = REGISTRY.iter().find(holds) else { return false };
    slot.damaged.store(true, Ordering::Relaxed);
    let page = PAGE.load(Ordering::Relaxed);
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the page lies in a map that is alive, because whoever touched it holds it; it was read-only and stays so.
    let placed =
        unsafe { libc::mmap((address / page * page) as *mut libc::c_void, page, libc::PROT_READ, flags, -1, 0) };
    placed != libc::MAP_FAILED
}
