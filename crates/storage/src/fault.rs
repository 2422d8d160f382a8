//! Signals that would end the process for what a file is like.
//!
//! The last resort of mapped files: a page that cannot be had reads as zeros instead of killing the process.
//!
//! A mapped file that someone else cuts, or a disk that cannot read, raises SIGBUS in the thread that touches the page: here
//! the network's code, in the middle of a packet. The handler puts an empty page in its place and raises a flag,
//! after which the storage refuses every read; a receiver throws the zeros away, since it verifies. Faults outside
//! our maps go to the previous handler, and a signal that somebody sends ends the process as ever: neither takes the
//! guard away. On every Unix; on Windows nothing is mapped.
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
    // atomics, mmap, sigaction, raise, and what the handler before it does. `call_once` makes this the only writer of
    // BEFORE, and no handler of ours that could read it is installed yet.
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

/// Codes of a fault: an address, a page or a device that is wrong. Signals that are sent have none of them: Linux says 0 and
/// less, macOS 0 or 0x10001.
const FAULTS: std::ops::RangeInclusive<libc::c_int> = 1..=5;

#[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
use libc::__errno as errno;
/// Where this thread's error number is.
#[cfg(target_os = "linux")]
use libc::__errno_location as errno;
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
use libc::__error as errno;

type Handler = extern "C" fn(libc::c_int);
type InformedHandler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO, and errno is this thread's own.
    let (code, errno) = unsafe { ((*info).si_code, errno()) };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // With any other code a process sent it, and there is no address in it.
    if !FAULTS.contains(&code) {
        was_sent();
    } else {
        // SAFETY: as above; what the kernel raises for a fault has the address of it.
        let address = unsafe { (*info).si_addr() as usize };
        if !replace_page(address) {
            pass_on(signal, info, context);
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Somebody has sent the signal: it ends the process as it would without a handler, unless it was ignored before.
fn was_sent() {
    // SAFETY: BEFORE was filled before this handler was installed; sigaction and raise may be called in a handler.
    unsafe {
        if (*(&raw const BEFORE).cast::<libc::sigaction>()).sa_sigaction == libc::SIG_IGN {
            return;
        }
        take_down();
        // It waits until the handler returns, and ends the process then.
        libc::raise(libc::SIGBUS);
    }
}

/// A fault that is none of ours goes to the previous handler. The guard stays.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: BEFORE was filled before this handler was installed, and what stands there as a handler is one of the kind
    // that its flags say.
    unsafe {
        let before = &*(&raw const BEFORE).cast::<libc::sigaction>();
        match before.sa_sigaction {
            // The instruction runs again, and its fault ends the process. A fault cannot be ignored.
            libc::SIG_DFL | libc::SIG_IGN => take_down(),
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                std::mem::transmute::<usize, InformedHandler>(handler)(signal, info, context);
            }
            handler => std::mem::transmute::<usize, Handler>(handler)(signal),
        }
    }
}

/// From here on the signal does what it does where nobody handles it.
///
/// # Safety
/// For a handler of the signal that is about to end the process.
unsafe fn take_down() {
    // SAFETY: a structure of zeros is the default action with no flags and no mask.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, &raw const default, std::ptr::null_mut());
    }
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
    // SAFETY: the page lies in a map that is alive, because the thread that touched it holds it; it was read-only and stays so.
    let placed =
        unsafe { libc::mmap((address / page * page) as *mut libc::c_void, page, libc::PROT_READ, flags, -1, 0) };
    placed != libc::MAP_FAILED
}

/// Handles what would end a program for what a file is like. For the start of one: what is needed for a file is set up with it
/// anyway, but until then a signal that is sent might be taken for something else.
pub fn handle_signals() {
    INSTALL.call_once(install);
    ignore_size_signal();
}

/// Ignores the signal for a file that has reached its limit, if nobody handles it: the write fails, too, and says so.
pub(crate) fn ignore_size_signal() {
    // SAFETY: both structures are plain data, filled by zeros and by the call; to ignore a signal runs nothing.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(libc::SIGXFSZ, std::ptr::null(), &raw mut now) == 0;
        if known && now.sa_sigaction == libc::SIG_DFL {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    use super::*;

    /// Which part of a story the process that is started for it plays.
    const PART: &str = "P2P_FAULT_TEST_PART";

    /// Runs a test of this module in a process of its own, since what it does may end it.
    fn in_a_process(test: &str, part: &str) -> ExitStatus {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("fault::tests::{test}"), "--nocapture"]).env(PART, part);
        // No core is wanted of a death that is meant.
        command.current_dir(std::env::temp_dir()).output().unwrap().status
    }

    fn part() -> Option<String> {
        std::env::var(PART).ok()
    }

    /// A map of which the second half was cut off its file. A multiple of every page size.
    fn cut_map(file: &File) -> memmap2::Mmap {
        const HALF: u64 = 64 << 10;
        file.set_len(2 * HALF).unwrap();
        // SAFETY: that it is cut is what the test is about.
        let map = unsafe { memmap2::Mmap::map(file) }.unwrap();
        file.set_len(HALF).unwrap();
        map
    }

    /// Touches a page of a guarded map that cannot be had. Ends the process if nobody guards it.
    fn fault_of_ours() {
        let map = cut_map(&tempfile::tempfile().unwrap());
        let guard = Registration::new(&map).unwrap();
        assert_eq!(*map.last().unwrap(), 0);
        assert!(guard.damaged().load(Ordering::Relaxed));
    }

    /// The same of a map that nobody has registered.
    fn fault_of_others() {
        let map = cut_map(&tempfile::tempfile().unwrap());
        // SAFETY: the address lies in a live map.
        std::hint::black_box(unsafe { std::ptr::read_volatile(map.as_ptr().add(map.len() - 1)) });
    }

    fn send_to_self() {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::BUS).unwrap();
        // It may be taken by another thread of the process.
        std::thread::sleep(std::time::Duration::from_secs(10));
    }

    #[test]
    fn faults_of_guarded_maps_are_caught_again_and_again() {
        if part().is_none() {
            assert!(in_a_process("faults_of_guarded_maps_are_caught_again_and_again", "child").success());
            return;
        }
        (0..100).for_each(|_| fault_of_ours());
    }

    #[test]
    fn a_signal_that_is_sent_ends_the_process_whatever_is_guarded() {
        match part().as_deref() {
            None => {
                for how in ["kill", "thread"] {
                    let status = in_a_process("a_signal_that_is_sent_ends_the_process_whatever_is_guarded", how);
                    assert_eq!(status.signal(), Some(libc::SIGBUS), "{how}: {status}");
                }
            }
            Some("kill") => {
                fault_of_ours();
                send_to_self();
            }
            Some(_) => {
                fault_of_ours();
                // SAFETY: it sends a signal to this thread and nothing else.
                unsafe { libc::raise(libc::SIGBUS) };
            }
        }
    }

    #[test]
    fn a_signal_that_was_ignored_before_is_ignored_and_takes_no_guard_away() {
        if part().is_none() {
            let test = "a_signal_that_was_ignored_before_is_ignored_and_takes_no_guard_away";
            assert!(in_a_process(test, "child").success());
            return;
        }
        // SAFETY: nobody else handles signals in this process.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_IGN) };
        fault_of_ours();
        // SAFETY: it sends a signal to this thread and nothing else.
        unsafe { libc::raise(libc::SIGBUS) };
        fault_of_ours();
    }

    static OTHERS: AtomicUsize = AtomicUsize::new(0);

    /// Mends the fault as ours does, so that the process goes on.
    extern "C" fn handler_of_others(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        OTHERS.fetch_add(1, Ordering::Relaxed);
        let page = PAGE.load(Ordering::Relaxed);
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the test's own map, which is alive.
        unsafe {
            let start = (*info).si_addr() as usize / page * page;
            libc::mmap(start as *mut libc::c_void, page, libc::PROT_READ, flags, -1, 0);
        }
    }

    #[test]
    fn a_fault_of_others_goes_to_their_handler_and_takes_no_guard_away() {
        if part().is_none() {
            let test = "a_fault_of_others_goes_to_their_handler_and_takes_no_guard_away";
            assert!(in_a_process(test, "child").success());
            return;
        }
        // SAFETY: nobody else handles signals in this process.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler_of_others as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
        }
        for times in 1..=3 {
            fault_of_ours();
            fault_of_others();
            assert_eq!(OTHERS.load(Ordering::Relaxed), times);
        }
    }

    #[test]
    fn a_fault_of_others_that_nobody_handles_ends_the_process() {
        if part().is_none() {
            let status = in_a_process("a_fault_of_others_that_nobody_handles_ends_the_process", "child");
            assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
            return;
        }
        fault_of_ours();
        fault_of_others();
    }
}
