//! What is typed on a terminal, keys and all: the line editor only runs on one, so the programs get a pseudo-terminal.
#![cfg(target_os = "linux")]

use std::time::Duration;

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
fn no_row_stays_of_a_file_that_came_into_the_input_folder_and_was_hashed() {
    let swarm = Swarm::new();
    swarm.put("seeder", "first", &noise(100_000, 1));
    let mut terminal = Terminal::controlling(&swarm.command("seeder", &["-S"]), 120, 24);
    terminal.shows("Sharing first");
    swarm.put("seeder", "second", &noise(3_000_000, 2));
    terminal.shows("Sharing second");
    terminal.press("status\r");
    terminal.shows("second  2.9 MiB  all of it is here");
    terminal.press("exit\r");
    terminal.ends_with(0);
    assert!(!terminal.lines().iter().any(|line| line.contains("Hashing")), "{:#?}", terminal.lines());
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
fn ctrl_c_leaves_no_row_of_hash() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("large")).unwrap().set_len(1 << 40).unwrap();
    let mut command = tests::peer_cli();
    command.current_dir(folder.path()).args(["hash", "--piece-size=16MiB", "large"]);
    let mut terminal = Terminal::controlling(&command, 80, 24);
    terminal.shows("%");
    terminal.press(CTRL_C);
    terminal.ends_with(130);
    assert!(!terminal.lines().iter().any(|line| line.contains('%')), "{:?}", terminal.lines());
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
    // It must not be complete before the keys are pressed, however busy this machine is.
    let slow = swarm.seeder("seeder", 1, &["--up-rate=64KiB"]);
    let mut terminal = Terminal::start(&mut swarm.command("peer", &["-f", "file"]));
    terminal.shows("Downloading file");
    // Until it is known what the file consists of, nothing can be kept.
    let is_known = |_| {
        std::thread::sleep(Duration::from_millis(50));
        terminal.press("prog\r");
        terminal.shows("Download in Progress...");
        !terminal.shows(" downloaded.").contains("0/0 ")
    };
    assert!((0..100).any(is_known));
    terminal.press(CTRL_C);
    let said = terminal.ends_with(130);
    assert!(said.contains("what is verified is kept"), "{said}");
    drop(slow);
    let _seeder = swarm.seeder("seeder", 1, &[]);
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
        terminal.shows("/8.0 MiB");
        terminal.press("pro");
        terminal.signal(signal);
        let said = terminal.ends_with(code);
        assert!(said.contains("before it was complete") && !said.contains("Shutdown complete."), "{said:?}");
        assert_eq!(terminal.modes(), terminal.first_modes(), "{signal}");
    }
}

/// What was under way when it ended is not so any more.
#[test]
fn no_row_that_is_not_true_any_more_stays_when_it_ends() {
    let machines = Machines::new();
    let digest = |byte| protocol::Digest([byte; 32]);
    let (tracker, content) = (protocol::PeerId(digest(7)), protocol::ContentId(digest(8)));
    let gone = protocol::Ticket::new(tracker, vec![([127, 0, 0, 1], 9).into()], content).unwrap().to_string();
    for (keys, code) in [(CTRL_C, 130), (CTRL_D, 11), ("exit\r", 11)] {
        let mut terminal = Terminal::start(&mut machines.command("there", "get", &[&gone, "--wait=60s"]));
        terminal.shows("Connecting to the tracker");
        terminal.press(keys);
        terminal.ends_with(code);
        let lines = terminal.lines().join("\n");
        assert!(lines.contains("before it was complete") && !lines.contains("Connecting"), "{keys:?}: {lines}");
    }
    let mut terminal = Terminal::start(&mut machines.command("there", "get", &[&gone]));
    terminal.shows("Connecting to the tracker");
    terminal.ends_with(3);
    assert!(!terminal.lines().join("\n").contains("Connecting"), "an error");
    // How far a download has come stays.
    machines.put("here", "file", &noise(8 << 20, 3));
    let mut sharer = machines.share("here", &["-d=0", "--up-rate=1MiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut terminal = Terminal::start(&mut machines.command("there", "get", &[&ticket]));
    terminal.shows("/8.0 MiB");
    terminal.press(CTRL_C);
    terminal.ends_with(130);
    assert!(terminal.lines().iter().any(|line| line.starts_with("file ") && line.contains("/8.0 MiB")));
}

#[test]
fn every_line_that_is_pasted_at_the_prompt_counts() {
    let machines = Machines::new();
    ["first", "a", "b c", "d"].iter().for_each(|name| machines.put("here", name, name.as_bytes()));
    for paste in [
        "add a\radd b c\radd d\r",
        "\x1b[200~add a\nb c\nd\x1b[201~\r",
        "\x1b[200~add a\nadd 'b c'\nadd d\n\x1b[201~\r",
    ] {
        let mut terminal = Terminal::start(&mut machines.command("here", "share", &["-d=0", "first"]));
        terminal.shows("Type help for commands.");
        terminal.press(paste);
        for name in ["a", "b c", "d"] {
            terminal.shows(&format!("On the other machine, for {name}:"));
        }
        terminal.press(CTRL_D);
        terminal.ends_with(0);
    }
}
