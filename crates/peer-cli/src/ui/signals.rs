//! Being told to stop: by a signal that is meant for the program, even where it cannot hear one.

use std::time::Duration;

use settings::{Signal, Signals};

use crate::error::ExitCode;
use crate::flags::end::End;
use crate::ui::terminal;

/// How long a signal of our own may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// What wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `exit`, or Ctrl-D.
    Exit,
    Signal(Signal),
}

/// The next signal that is meant for the program.
pub async fn heard(signals: &mut Signals) -> Signal {
    signals.next_meant(is_meant).await
}

/// Whether it is not the one that only sends the line editor out.
fn is_meant(signal: Signal) -> bool {
    signal != Signal::Interrupt || !terminal::is_sending_out()
}

/// Ends the program by a signal even where it cannot hear one.
pub fn end_when_stuck(end: End) {
    settings::end_when_stuck(is_meant, move |signal| {
        terminal::give_back();
        match end {
            End::AtWill => 0,
            End::Never if signal != Signal::Interrupt => 0,
            End::Never | End::Done | End::Shared { .. } => code(signal) as i32,
        }
    });
}

/// The status of a signal that is a failure.
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
