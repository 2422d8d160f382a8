//! The terminal's loan to the line editor. It is taken while this job is in the foreground, and given back before the program
//! stops or ends: Ctrl-Z and its like reach a thread of their own, which first sends the editor out.
//!
//! The editor waits for keys and hears nothing but signals; so it is sent out by one, `SIGINT`, that is marked as ours. On Windows
//! it hears nothing at all: there the modes that it has changed are put back while it waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

#[cfg(unix)]
use std::time::Instant;

use crate::lock::lock;

/// Whether the editor has the terminal.
static LENT: AtomicBool = AtomicBool::new(false);
/// Whether it is not to be lent again.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Whether the terminal is wanted back: a `SIGINT` that comes now is ours, and nothing is lent.
static SENDING_OUT: AtomicBool = AtomicBool::new(false);
/// How often the program was stopped and went on.
static STOPS: AtomicU32 = AtomicU32::new(0);
/// How the terminal was before the editor had it.
static FOUND: InitialModes<modes::Modes> = InitialModes(Mutex::new(None));

/// How long the editor is waited for; it goes within a millisecond unless it waits for a terminal that is stuck.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two signals to it: it may not have been there yet for the first.
const AGAIN: Duration = Duration::from_millis(5);

/// Modes of a terminal that are to be there again in the end.
struct InitialModes<M>(Mutex<Option<M>>);

impl<M> InitialModes<M> {
    /// Those of the first time count: later ones may be the editor's.
    fn keep(&self, modes: Option<M>) {
        let mut kept = lock(&self.0);
        *kept = kept.take().or(modes);
    }

    fn put_back(&self, set: impl FnOnce(&M)) {
        if let Some(modes) = &*lock(&self.0) {
            set(modes);
        }
    }
}

/// Remembers how the terminal is. To be called before the editor has it for the first time.
pub fn keep_modes() {
    FOUND.keep(modes::get());
}

/// Ends the loan before the program ends, whatever the editor is doing. To be called last, for it may just have changed the modes.
pub fn give_back() {
    CLOSED.store(true, SeqCst);
    if LENT.load(SeqCst) {
        FOUND.put_back(modes::set);
    }
}

#[cfg(unix)]
mod modes {
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
    use settings::terminal::{Turn, turn};

    pub type Modes = Termios;

    pub fn get() -> Option<Termios> {
        tcgetattr(std::io::stdin()).ok()
    }

    /// Another job that has the terminal has modes of its own.
    pub fn set(modes: &Termios) {
        if turn() == Turn::Ours {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, modes);
        }
    }
}

#[cfg(windows)]
mod modes {
    use winapi_util::HandleRef;
    use winapi_util::console::{mode, set_mode};

    /// Whether lines are typed, what is typed is shown, and Ctrl-C interrupts.
    pub type Modes = u32;

    pub fn get() -> Option<u32> {
        mode(HandleRef::stdin()).ok()
    }

    pub fn set(modes: &u32) {
        let _ = set_mode(HandleRef::stdin(), *modes);
    }
}

/// Lends the terminal to `read`, unless it is wanted back.
pub fn lend<T>(read: impl FnOnce() -> T) -> Option<T> {
    LENT.store(true, SeqCst);
    let wanted = CLOSED.load(SeqCst) || SENDING_OUT.load(SeqCst);
    let read = (!wanted).then(read);
    LENT.store(false, SeqCst);
    if wanted {
        std::thread::sleep(AGAIN);
    }
    read
}

/// Waits until the editor has the terminal, unless another job has it: keys that are pressed before are echoed among the rows, and
/// those that end a program do not.
#[cfg(unix)]
pub fn wait_until_lent() {
    use rustix::termios::{LocalModes, tcgetattr};
    use settings::terminal::{Turn, turn};
    let is_lent = || tcgetattr(std::io::stdin()).is_ok_and(|now| !now.local_modes.contains(LocalModes::ICANON));
    let until = Instant::now() + PATIENCE;
    while !is_lent() && turn() == Turn::Ours && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The console has modes of its own.
#[cfg(not(unix))]
pub fn wait_until_lent() {}

/// Whether nobody is to read from the terminal any more.
pub fn is_closed() -> bool {
    CLOSED.load(SeqCst)
}

/// Whether an interruption that is seen now is only meant to send the editor out.
pub fn is_sending_out() -> bool {
    SENDING_OUT.load(SeqCst)
}

/// How often another job may have written to the terminal.
pub fn stops() -> u32 {
    STOPS.load(SeqCst)
}

/// Takes the terminal back for good, and clears the line of the prompt. True if the editor had it: until [`settled`] is called
/// interruptions are taken for those that were meant for it.
pub fn close() -> bool {
    CLOSED.store(true, SeqCst);
    if !LENT.load(SeqCst) {
        return false;
    }
    send_out();
    // Where it did not go.
    give_back();
    write(if LENT.load(SeqCst) { b"\x1b[?2004l\r\x1b[K" } else { b"\x1b[1A\r\x1b[J" });
    true
}

/// Clears the line of a prompt that the editor has just left, below which the cursor is: nothing more is typed there.
pub fn clear_prompt() {
    write(b"\x1b[1A\r\x1b[J");
}

fn write(codes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(codes).and_then(|()| out.flush());
}

/// No interruption of ours is on its way any more.
pub fn settled() {
    SENDING_OUT.store(false, SeqCst);
}

/// Has the editor put back the terminal's modes, and waits until it has. The terminal is not lent again until it is no longer
/// wanted back.
#[cfg(unix)]
fn send_out() {
    use nix::sys::signal::{Signal, kill};
    let until = Instant::now() + PATIENCE;
    SENDING_OUT.store(true, SeqCst);
    while LENT.load(SeqCst) && Instant::now() < until && kill(nix::unistd::getpid(), Signal::SIGINT).is_ok() {
        std::thread::sleep(AGAIN);
    }
}

/// The editor hears no signal.
#[cfg(not(unix))]
fn send_out() {}

/// From now on the editor is sent out before the program stops (Ctrl-Z, `SIGTSTP`), or is made to quit (`SIGQUIT`). To be called
/// before there are threads: they must not take the signals either.
#[cfg(unix)]
pub fn give_back_on_stop() {
    use std::io::IsTerminal;

    use nix::sys::signal::{SigSet, Signal};
    let signals = SigSet::from_iter([Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGQUIT]);
    if std::io::stdin().is_terminal()
        && signals.thread_block().is_ok()
        && std::thread::Builder::new().spawn(move || wait_for_stops(&signals)).is_err()
    {
        // Nobody waits for them: the system stops the program as it does others.
        let _ = signals.thread_unblock();
    }
}

/// Nothing is stopped.
#[cfg(not(unix))]
pub fn give_back_on_stop() {}

#[cfg(unix)]
fn wait_for_stops(signals: &nix::sys::signal::SigSet) {
    use nix::sys::signal::{SigSet, Signal, raise};
    // The terminal is put back as the shell has it, though it is the shell's turn.
    settings::terminal::fail_in_background();
    while let Ok(signal) = signals.wait() {
        if signal == Signal::SIGCONT {
            after_stop();
            continue;
        }
        send_out();
        STOPS.fetch_add(1, SeqCst);
        // The system does what it always does: it stops all threads, unless no shell is there to let them go on.
        let only = SigSet::from_iter([signal]);
        let _ = only.thread_unblock().and_then(|()| raise(signal));
        let _ = only.thread_block();
        // A signal that came too early, or too late, for the editor is on its way to the rest of the program.
        std::thread::sleep(4 * AGAIN);
        settled();
    }
}

/// A stop that nobody could hear of (`SIGSTOP`) leaves the editor with a terminal whose modes the shell has changed: it begins
/// anew when it is its turn.
#[cfg(unix)]
fn after_stop() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    use settings::terminal::{Turn, turn};
    STOPS.fetch_add(1, SeqCst);
    let stdin = std::io::stdin();
    let Ok(now) = tcgetattr(&stdin) else { return };
    let ours = turn() == Turn::Ours;
    if !LENT.load(SeqCst) || (ours && !now.local_modes.contains(LocalModes::ICANON)) {
        return;
    }
    send_out();
    if !ours {
        let _ = tcsetattr(&stdin, OptionalActions::Now, &now);
    }
    std::thread::sleep(4 * AGAIN);
    settled();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_that_were_there_first_are_put_back_as_often_as_it_takes() {
        let found = InitialModes(Mutex::new(None));
        found.put_back(|modes: &u32| panic!("nothing was kept, and not {modes}"));
        // Standard input that tells nothing, a console, and the same after the editor has changed it.
        [None, Some(0x1f7), Some(0x1f0)].into_iter().for_each(|modes| found.keep(modes));
        let mut set = Vec::new();
        for _ in 0..2 {
            found.put_back(|modes| set.push(*modes));
        }
        assert_eq!(set, [0x1f7; 2]);
    }
}
