//! Stopped before it ends by itself: whether that is a failure, and which. No status says that all is there when it is not.

use std::sync::atomic::{AtomicBool, Ordering};
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
pub fn watch() {
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

fn code(signal: Signal) -> ExitCode {
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
