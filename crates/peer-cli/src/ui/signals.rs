//! Being told to stop: by a signal that is meant for the program, even where it cannot hear one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use settings::{Signal, Signals};

use crate::error::ExitCode;
use crate::ui::terminal;

/// How long a signal of our own may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// A program that hears nothing for so long after a signal waits for someone who does not read what it writes.
const STUCK: Duration = Duration::from_secs(3);
/// Longest time in which it ends once it has heard one.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Whether a signal was heard by what is to end.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Who wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `exit`, or Ctrl-D.
    Exit,
    Signal(Signal),
}

/// The next signal that is meant for the program.
pub async fn heard(signals: &mut Signals) -> Signal {
    let signal = meant(signals).await;
    HEARD.store(true, Ordering::Relaxed);
    signal
}

async fn meant(signals: &mut Signals) -> Signal {
    loop {
        let signal = signals.next().await;
        if signal != Signal::Interrupt || !terminal::is_sending_out() {
            return signal;
        }
    }
}

/// Ends the program by a signal even where it cannot hear one, since nobody reads what it writes: a full pipe, or a terminal
/// that Ctrl-S holds. A second one then ends it sooner.
pub fn end_if_stuck() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let mut signals = Signals::listen();
            let signal = meant(&mut signals).await;
            tokio::time::sleep(STUCK).await;
            if HEARD.load(Ordering::Relaxed) {
                let again = async {
                    meant(&mut signals).await;
                    tokio::time::sleep(STUCK).await;
                };
                let _ = tokio::time::timeout(ENDS_WITHIN, again).await;
            }
            std::process::exit(code(signal) as i32);
        });
    });
}

/// The exit status of a program that a signal has ended.
pub fn code(signal: Signal) -> ExitCode {
    match signal {
        Signal::Interrupt => ExitCode::Interrupted,
        Signal::Terminate => ExitCode::Terminated,
        Signal::HangUp => ExitCode::HungUp,
    }
}

/// The line editor was sent out, by a signal that may have come here as well: it is not the user's second Ctrl-C.
pub async fn settle(signals: &mut Signals) {
    let _ = tokio::time::timeout(ON_ITS_WAY, heard(signals)).await;
    terminal::settled();
}
