//! Being told to stop by the system: by Ctrl-C, by a service manager, or because a terminal is closed.

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
}

#[cfg(unix)]
mod platform {
    use tokio::signal::unix::{self, SignalKind, signal};

    use super::Signal;

    pub struct Signals {
        interrupt: Option<unix::Signal>,
        terminate: Option<unix::Signal>,
        /// None where `nohup` wants it ignored, or where that cannot be known: the system's way stays.
        hang_up: Option<unix::Signal>,
    }

    impl Signals {
        pub fn listen() -> Self {
            let heard = |kind| signal(kind).ok();
            Signals {
                interrupt: heard(SignalKind::interrupt()),
                terminate: heard(SignalKind::terminate()),
                hang_up: if hang_up_counts() { heard(SignalKind::hangup()) } else { None },
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

    /// Whether this process was not started to outlive its terminal. Linux tells which signals are ignored; to ask elsewhere
    /// takes code that may do harm.
    fn hang_up_counts() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        counts(&status, SignalKind::hangup())
    }

    fn counts(status: &str, signal: SignalKind) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|ignored| ignored >> (signal.as_raw_value() - 1) & 1 == 0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_program_under_nohup_hears_no_hang_up() {
            let hang_up = SignalKind::hangup();
            assert!(counts("Name:\tx\nSigIgn:\t0000000000001000\n", hang_up));
            assert!(!counts("Name:\tx\nSigIgn:\t0000000000001001\n", hang_up));
            assert!(!counts("", hang_up), "where nothing is known the system's way stays");
        }
    }
}

/// Windows ends a program some five seconds after it has told it that a window closes or a session ends; tokio keeps the
/// handler from returning, which would end it at once.
#[cfg(windows)]
mod platform {
    use tokio::signal::windows;

    use super::Signal;

    pub struct Signals {
        interrupt: Option<windows::CtrlC>,
        interrupt_too: Option<windows::CtrlBreak>,
        close: Option<windows::CtrlClose>,
        log_off: Option<windows::CtrlLogoff>,
        shut_down: Option<windows::CtrlShutdown>,
    }

    impl Signals {
        pub fn listen() -> Self {
            Signals {
                interrupt: windows::ctrl_c().ok(),
                interrupt_too: windows::ctrl_break().ok(),
                close: windows::ctrl_close().ok(),
                log_off: windows::ctrl_logoff().ok(),
                shut_down: windows::ctrl_shutdown().ok(),
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
            let Signals { interrupt, interrupt_too, close, log_off, shut_down } = self;
            tokio::select! {
                () = arrives!(interrupt) => Signal::Interrupt,
                () = arrives!(interrupt_too) => Signal::Interrupt,
                () = arrives!(close) => Signal::HangUp,
                () = arrives!(log_off) => Signal::Terminate,
                () = arrives!(shut_down) => Signal::Terminate,
            }
        }
    }
}
