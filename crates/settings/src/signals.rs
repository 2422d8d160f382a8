//! Being told to stop by the system: by Ctrl-C, by a service manager, or because a terminal is closed.
//!
//! A program that writes to a full pipe, or to a terminal that Ctrl-S holds, waits there and hears nothing. So a thread of its own
//! hears the same signals, and ends the program where it stands still: [`end_when_stuck`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time between two signs of life of what is to end by a signal, and between two looks for them.
const PULSE: Duration = Duration::from_millis(200);
/// What gives no sign of life for so long after a signal waits for someone who does not read what it writes.
const STUCK: Duration = Duration::from_millis(1500);
/// Longest time in which a program ends once it was told to.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Signs of life.
static PULSES: AtomicU32 = AtomicU32::new(0);

/// What told the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C: `SIGINT`; on Windows Ctrl-Break as well.
    Interrupt,
    /// `SIGTERM`; on Windows the end of the user's session.
    Terminate,
    /// `SIGHUP`: the terminal is gone; on Windows its window was closed.
    HangUp,
}

/// Hears signals from when it is made. Until then they end the program at once.
pub struct Signals(platform::Signals);

impl Signals {
    /// Begins to listen. Needs a runtime of tokio's. A signal that cannot be heard ends the program at once, as ever.
    #[must_use]
    pub fn listen() -> Self {
        Signals(platform::Signals::listen())
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        self.0.next().await
    }

    /// The next one that is `meant` for the program.
    pub async fn next_meant(&mut self, meant: impl Fn(Signal) -> bool) -> Signal {
        loop {
            let signal = self.next().await;
            if meant(signal) {
                return signal;
            }
        }
    }
}

/// Ends the program by a signal that is `meant` for it even where the current runtime, on one thread, does not get to it: since
/// nobody reads what is written there. The exit status is that of `status`.
pub fn end_when_stuck(
    meant: impl Fn(Signal) -> bool + Send + 'static,
    status: impl Fn(Signal) -> i32 + Send + 'static,
) {
    tokio::spawn(async {
        loop {
            PULSES.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PULSE).await;
        }
    });
    let hear = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let signal = Signals::listen().next_meant(meant).await;
            let (began, mut seen) = (Instant::now(), (PULSES.load(Ordering::Relaxed), Instant::now()));
            while began.elapsed() < ENDS_WITHIN && seen.1.elapsed() < STUCK {
                tokio::time::sleep(PULSE).await;
                let pulses = PULSES.load(Ordering::Relaxed);
                if pulses != seen.0 {
                    seen = (pulses, Instant::now());
                }
            }
            std::process::exit(status(signal));
        });
    };
    // Where the system grants no thread, signals are heard as far as the program gets to it.
    let _ = std::thread::Builder::new().spawn(hear);
}

#[cfg(unix)]
mod platform {
    use std::sync::OnceLock;

    use tokio::signal::unix::{self, SignalKind, signal};

    use super::Signal;

    /// None of each that the process was started to ignore: `nohup` wants `SIGHUP` ignored, and a shell without job control
    /// wants `SIGINT` ignored by what it runs in the background, where Ctrl-C is meant for what is in the foreground.
    pub struct Signals {
        interrupt: Option<unix::Signal>,
        terminate: Option<unix::Signal>,
        hang_up: Option<unix::Signal>,
    }

    impl Signals {
        pub fn listen() -> Self {
            let heard = |kind, unknown| {
                let ignored = is_ignored(first_status(), kind).unwrap_or(unknown);
                if ignored { None } else { signal(kind).ok() }
            };
            Signals {
                interrupt: heard(SignalKind::interrupt(), false),
                terminate: heard(SignalKind::terminate(), false),
                // Where nothing is known the system's way stays: it ends the program unless `nohup` has said otherwise.
                hang_up: heard(SignalKind::hangup(), true),
            }
        }

        pub async fn next(&mut self) -> Signal {
            tokio::select! {
                () = arrives(&mut self.interrupt) => Signal::Interrupt,
                () = arrives(&mut self.terminate) => Signal::Terminate,
                () = arrives(&mut self.hang_up) => Signal::HangUp,
            }
        }
    }

    async fn arrives(signal: &mut Option<unix::Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }

    /// What the system says of this process, as it was before anything was heard. Linux tells which signals are ignored; to
    /// ask elsewhere takes code that may do harm.
    fn first_status() -> &'static str {
        static STATUS: OnceLock<String> = OnceLock::new();
        STATUS.get_or_init(|| std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// Whether a signal is ignored, if that is known.
    fn is_ignored(status: &str, signal: SignalKind) -> Option<bool> {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        let ignored = u64::from_str_radix(mask.trim(), 16).ok()?;
        Some(ignored >> (signal.as_raw_value() - 1) & 1 == 1)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn signals_that_were_ignored_at_the_start_stay_ignored() {
            let (hang_up, interrupt) = (SignalKind::hangup(), SignalKind::interrupt());
            let status = |mask| format!("Name:\tx\nSigIgn:\t{mask}\n");
            assert_eq!(is_ignored(&status("0000000000001000"), hang_up), Some(false));
            assert_eq!(is_ignored(&status("0000000000001001"), hang_up), Some(true), "nohup");
            assert_eq!(is_ignored(&status("0000000000001001"), interrupt), Some(false));
            assert_eq!(is_ignored(&status("0000000000001006"), interrupt), Some(true), "`&` without job control");
            assert_eq!(is_ignored("", hang_up), None);
        }
    }
}

/// Windows ends a program some five seconds after it has told it that a window closes or a session ends; tokio keeps the
/// handler from returning, which would end it at once. Of the end of a session services are told in the same way, and all other
/// programs by [`SessionEnd`].
#[cfg(windows)]
mod platform {
    use tokio::signal::windows;

    use super::Signal;
    use crate::session_end::SessionEnd;

    pub struct Signals {
        interrupt: Option<windows::CtrlC>,
        interrupt_too: Option<windows::CtrlBreak>,
        close: Option<windows::CtrlClose>,
        log_off: Option<windows::CtrlLogoff>,
        shut_down: Option<windows::CtrlShutdown>,
        session_end: SessionEnd,
    }

    impl Signals {
        pub fn listen() -> Self {
            Signals {
                interrupt: windows::ctrl_c().ok(),
                interrupt_too: windows::ctrl_break().ok(),
                close: windows::ctrl_close().ok(),
                log_off: windows::ctrl_logoff().ok(),
                shut_down: windows::ctrl_shutdown().ok(),
                session_end: SessionEnd::listen(),
            }
        }

        pub async fn next(&mut self) -> Signal {
            // Each has a type of its own.
            macro_rules! arrives {
                ($signal:expr) => {
                    async {
                        match $signal {
                            Some(signal) => drop(signal.recv().await),
                            None => std::future::pending().await,
                        }
                    }
                };
            }
            let Signals { interrupt, interrupt_too, close, log_off, shut_down, session_end } = self;
            tokio::select! {
                () = arrives!(interrupt) => Signal::Interrupt,
                () = arrives!(interrupt_too) => Signal::Interrupt,
                () = arrives!(close) => Signal::HangUp,
                () = arrives!(log_off) => Signal::Terminate,
                () = arrives!(shut_down) => Signal::Terminate,
                () = session_end.comes() => Signal::Terminate,
            }
        }
    }
}
