//! What is typed on a terminal, keys and all: the line editor only runs on one, so the programs get a pseudo-terminal.
#![cfg(target_os = "linux")]

use tests::machines::{Machines, ticket};
use tests::terminal::{CTRL_C, CTRL_D, Terminal};
use tests::{Process, Swarm, noise};

/// A swarm whose seeder has a file, and a downloader on a terminal that has it already.
fn done() -> (Swarm, Process, Terminal) {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let seeder = swarm.seeder("seeder", 1, &[]);
    let mut terminal = Terminal::start(&mut swarm.command("peer", &["-f", "file"]));
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
        let mut terminal = Terminal::start(&mut program);
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
    let mut terminal = Terminal::start(&mut swarm.command("peer", &["-f", "file"]));
    terminal.shows("Downloading file");
    terminal.press("prog\r");
    terminal.shows("Download in Progress...");
    terminal.press(CTRL_C);
    assert!(terminal.ends_with(130).contains("what is verified is kept"));
    let mut terminal = Terminal::start(&mut swarm.command("peer", &["-f", "file", "--exit-when-done"]));
    terminal.shows("Successfully Downloaded file");
    terminal.ends_with(0);
    assert!(swarm.output("peer", "file") == bytes);
}

/// The line editor takes signals for itself; one was once lost in it.
#[test]
fn a_signal_ends_a_get_at_its_prompt_and_the_terminal_is_as_it_was() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(8 << 20, 3));
    let mut sharer = machines.share("here", &["-d=0", "--up-rate=1MiB", "file"]);
    let ticket = ticket(&mut sharer);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::start(&mut machines.command("there", "get", &[&ticket]));
        let before = terminal.modes();
        terminal.shows("/8.0 MiB");
        terminal.press("pro");
        terminal.signal(signal);
        let said = terminal.ends_with(code);
        assert!(said.contains("before it was complete") && !said.contains("Shutdown complete."), "{said:?}");
        assert_eq!(terminal.modes(), before, "{signal}");
    }
}
