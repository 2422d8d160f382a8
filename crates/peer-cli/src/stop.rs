//! Stopped before it ends by itself: whether that is a failure, and which. No status says that all is there when it is not.

use std::time::{Duration, Instant};

use settings::{Signal, Signals};

use crate::exit_code::{ExitCode, Failure};
use crate::screen::Outlet;
use crate::swarm::{End, Run};
use crate::terminal;

/// How long what is verified has to take its name.
const LAST_STEP: Duration = Duration::from_secs(2);
/// Time between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a signal of our own may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// Who wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `exit`, or Ctrl-D.
    Exit,
    Signal(Signal),
}

impl Run {
    /// What it means to be stopped: no failure where there was nothing to complete, or where that is complete.
    pub async fn stopped(&mut self, stop: Stop) -> Result<(), Failure> {
        let (code, cause) = match stop {
            Stop::Exit => (ExitCode::Stopped, "stopped"),
            Stop::Signal(signal @ Signal::Interrupt) => (code(signal), "interrupted"),
            Stop::Signal(signal @ Signal::Terminate) => (code(signal), "told to end"),
            Stop::Signal(signal @ Signal::HangUp) => (code(signal), "the terminal was closed"),
        };
        match self.manner.end {
            End::AtWill => return Ok(()),
            End::Never if code == ExitCode::Interrupted => {
                return Err(Failure::new(code, "interrupted; what is verified is kept"));
            }
            End::Never => return Ok(()),
            End::Done | End::Shared { .. } => {}
        }
        if self.is_complete().await? {
            return Ok(());
        }
        let kept = match self.manner.outlet {
            Outlet::Output => "what is verified is kept: start it again to go on",
            Outlet::Errors => "standard output has only a part of it",
        };
        Err(Failure::new(code, format!("{cause} before it was complete; {kept}")))
    }

    /// Whether all that was asked for is there. What is verified is given a moment to take its name.
    async fn is_complete(&mut self) -> Result<bool, Failure> {
        let until = Instant::now() + LAST_STEP;
        loop {
            // What has ended just now, and was not heard of.
            for content in self.pending.clone() {
                let turns = self.node.standing(content).await.turns;
                self.turns(content, turns).await?;
            }
            let complete = self.started && self.pending.is_empty();
            if complete || !self.is_verified().await || Instant::now() >= until {
                return Ok(complete);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether every piece of what is not complete is verified.
    async fn is_verified(&self) -> bool {
        for content in &self.pending {
            match self.node.progress(*content).await {
                Some(progress) if progress.pieces > 0 && progress.have == progress.pieces => {}
                _ => return false,
            }
        }
        self.started
    }
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
pub fn watch(end: End) {
    settings::end_when_stuck(is_meant, move |signal| match end {
        End::AtWill => 0,
        End::Never if signal != Signal::Interrupt => 0,
        End::Never | End::Done | End::Shared { .. } => code(signal) as i32,
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
