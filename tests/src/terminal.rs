//! A pseudo-terminal, with a program on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use crate::PATIENCE;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// What the key sends.
pub const CTRL_C: &str = "\x03";
/// What the key sends.
pub const CTRL_D: &str = "\x04";
/// What the key sends.
pub const CTRL_Z: &str = "\x1a";

/// A program on a terminal of its own. It is killed when dropped.
pub struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    seen: String,
    /// What is on its screen now.
    screen: vt100::Parser,
    first_modes: LocalModes,
}

/// Lines that scrolled off the screen and are kept.
const SCROLLED: usize = 1000;

impl Terminal {
    /// Starts it on a terminal of 80 columns and 24 rows, which is not the one that controls it.
    pub fn start(command: &mut Command) -> Self {
        Terminal::sized(command, 80, 24)
    }

    /// Starts it on a terminal of so many columns and rows that controls it: it is told when its size changes.
    pub fn controlling(command: &Command, columns: u16, rows: u16) -> Self {
        let mut alone = Command::new("setsid");
        alone.arg("-c").arg(command.get_program()).args(command.get_args());
        let changes = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        alone.envs(changes);
        for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
            alone.env_remove(name);
        }
        if let Some(folder) = command.get_current_dir() {
            alone.current_dir(folder);
        }
        Terminal::sized(&mut alone, columns, rows)
    }

    /// Starts it with the environment that it has, whatever that says of the terminal.
    pub fn with_environment(command: &mut Command) -> Self {
        Terminal::begin(command, 80, 24)
    }

    /// Starts it on a terminal of so many columns and rows, which is not the one that controls it.
    pub fn sized(command: &mut Command, columns: u16, rows: u16) -> Self {
        Terminal::begin(command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR"), columns, rows)
    }

    fn begin(command: &mut Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(open(name.as_c_str(), flags, Mode::empty()).unwrap());
        tcsetwinsize(&slave, winsize(columns, rows)).unwrap();
        let first_modes = tcgetattr(&slave).unwrap().local_modes;
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // A process that keeps the program's end open never sees the end of what it says.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = sync_channel(100_000);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Linux says EIO once the program has gone.
            while let Ok(count @ 1..) = screen.read(&mut part) {
                if sender.send(part[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal {
            child,
            keys,
            shown,
            seen: String::new(),
            screen: vt100::Parser::new(rows, columns, SCROLLED),
            first_modes,
        }
    }

    /// Makes the terminal larger or smaller.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.keys, winsize(columns, rows)).unwrap();
        self.screen.screen_mut().set_size(rows, columns);
    }

    /// The lines on its screen, as far as they are not empty at the end, with those that scrolled off it.
    pub fn lines(&mut self) -> Vec<String> {
        self.screen.screen_mut().set_scrollback(usize::MAX);
        let (above, columns) = (self.screen.screen().scrollback(), self.screen.screen().size().1);
        let mut lines = Vec::new();
        for offset in (1..=above).rev() {
            self.screen.screen_mut().set_scrollback(offset);
            lines.extend(self.screen.screen().rows(0, columns).next());
        }
        self.screen.screen_mut().set_scrollback(0);
        lines.extend(self.screen.screen().rows(0, columns));
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        lines
    }

    fn sees(&mut self, part: &[u8]) {
        self.screen.process(part);
        self.seen.push_str(&String::from_utf8_lossy(part));
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the program a signal, as `kill -NAME` does.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits until this was shown since the last call, and gives what was shown up to there.
    pub fn shows(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            match self.shown.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => self.sees(&part),
                Err(_) => panic!("{text:?} was not shown, but {:?}", self.seen),
            }
        }
    }

    /// The terminal's modes before a program had it.
    pub fn first_modes(&self) -> LocalModes {
        self.first_modes
    }

    /// The terminal's modes, as the program that has it left them.
    pub fn modes(&self) -> LocalModes {
        tcgetattr(&self.keys).unwrap().local_modes
    }

    /// Waits until the program ends, demands this exit status, and gives what else was shown.
    pub fn ends_with(&mut self, code: i32) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.shown.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => self.sees(&part),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it hangs: {:?}", self.seen),
            }
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{:?}", self.seen);
        std::mem::take(&mut self.seen)
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
