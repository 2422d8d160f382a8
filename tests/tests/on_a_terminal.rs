//! What is typed on a terminal, keys and all: the line editor only runs on one, so the programs get a pseudo-terminal.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tests::{PATIENCE, Process, Swarm, noise};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// A program on a terminal of its own. It is killed when dropped.
struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(open(name.as_c_str(), flags, Mode::empty()).unwrap());
        command.env("TERM", "xterm").stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // Whoever keeps the program's end open never sees the end of what it says.
        drop(command);
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
        Terminal { child, keys, shown, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this was shown since the last call.
    fn shows(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.shown.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => self.seen.push_str(&String::from_utf8_lossy(&part)),
                Err(_) => panic!("{text:?} was not shown, but {:?}", self.seen),
            }
        }
    }

    /// Waits until the program ends, demands this exit status, and gives what else was shown.
    fn ends_with(mut self, code: i32) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.shown.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(part) => self.seen.push_str(&String::from_utf8_lossy(&part)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it hangs: {:?}", self.seen),
            }
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{:?}", self.seen);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A swarm whose seeder has a file, and a downloader on a terminal that has it already.
fn done() -> (Swarm, Process, Terminal) {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let seeder = swarm.seeder("seeder", 1, &[]);
    let mut terminal = Terminal::start(swarm.command("peer", &["-f", "file"]));
    terminal.shows("Successfully Downloaded file to output/file");
    (swarm, seeder, terminal)
}

#[test]
fn prog_and_exit_are_typed_at_a_prompt() {
    let (_swarm, _seeder, mut terminal) = done();
    terminal.press("prog\r");
    terminal.shows("Download Finished!");
    terminal.press("nonsense\r");
    terminal.shows("nonsense");
    // The line editor's own keys work: what is wrong is rubbed out.
    terminal.press("exot\x7f\x7fit\r");
    let rest = terminal.ends_with(0);
    assert!(rest.contains("Exited swarm.") && rest.contains("Shutdown complete."), "{rest:?}");
}

#[test]
fn hash_and_verify_show_how_far_they_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), noise(1 << 20, 1)).unwrap();
    for (command, word) in [("hash", "Hashing "), ("verify", "Verifying ")] {
        let mut program = tests::peer_cli();
        program.current_dir(folder.path()).args([command, "file"]);
        let mut terminal = Terminal::start(program);
        terminal.shows(word);
        terminal.ends_with(0);
    }
}

#[test]
fn ctrl_d_says_goodbye() {
    let (_swarm, _seeder, mut terminal) = done();
    terminal.press(CTRL_D);
    assert!(terminal.ends_with(0).contains("Exited swarm."));
}

#[test]
fn ctrl_c_interrupts_and_what_is_there_is_kept() {
    let swarm = Swarm::new();
    let bytes = noise(4 << 20, 2);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &["--up-rate=1MiB"]);
    let mut terminal = Terminal::start(swarm.command("peer", &["-f", "file"]));
    terminal.shows("Downloading file");
    terminal.press("prog\r");
    terminal.shows("Download in Progress...");
    terminal.press(CTRL_C);
    assert!(terminal.ends_with(130).contains("what is verified is kept"));
    let mut terminal = Terminal::start(swarm.command("peer", &["-f", "file", "--exit-when-done"]));
    terminal.shows("Successfully Downloaded file");
    terminal.ends_with(0);
    assert!(swarm.output("peer", "file") == bytes);
}
