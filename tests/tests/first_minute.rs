//! What a newcomer sees: a line that goes on, and never more than one; who gets what one shares; and what can be typed.
#![cfg(target_os = "linux")]

use testbed::event::Waiting;
use tests::machines::{Machines, ticket};
use tests::terminal::{CTRL_C, Terminal};
use tests::{Process, free_port, noise};

const MIB: usize = 1 << 20;
/// A name of 120 characters.
const LONG: &str = "Meta-Llama-3.1-70B-Instruct-of-the-people-by-the-people-for-the-people-Q4_K_M-imatrix-00001-of-00002-abcdefghijklmn.gguf";
const WIDE: &str = "日本語のとても長いファイル名です日本語のとても長いファイル名です.bin";

/// Lines that say how far something is.
fn rows(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains('%')).collect()
}

fn share(machines: &Machines, path: &str) -> (Process, String) {
    let mut sharer = machines.share("here", &["-d=0", path]);
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

#[test]
fn one_row_is_all_that_progress_takes_at_any_width() {
    let machines = Machines::new();
    for name in [LONG, WIDE] {
        machines.put("here", name, &noise(3 * MIB, 1));
        let (_sharer, ticket) = share(&machines, name);
        let get = |columns: u16| {
            let folder = columns.to_string();
            let get = machines.command(&folder, "get", &[&ticket, "--down-rate=2MiB"]);
            (columns, Terminal::controlling(&get, columns, 24))
        };
        for (columns, mut terminal) in [80, 40, 20].map(get) {
            terminal.ends_with(0);
            let lines = terminal.lines();
            assert_eq!(rows(&lines).len(), 1, "{columns}: {lines:#?}");
            assert!(lines[0].contains('…') && lines[0].contains("100%"), "{columns}: {lines:#?}");
            assert!(lines.join(" ").contains("every piece verified"), "a sentence is broken between words: {lines:#?}");
        }
    }
}

#[test]
fn a_terminal_that_changes_its_width_keeps_one_row() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(8 * MIB, 1));
    let (_sharer, ticket) = share(&machines, "file");
    let get = machines.command("there", "get", &[&ticket, "--down-rate=4MiB"]);
    let mut terminal = Terminal::controlling(&get, 80, 24);
    terminal.shows("━");
    terminal.resize(40, 24);
    terminal.shows("% ");
    terminal.resize(100, 24);
    terminal.shows("━");
    terminal.ends_with(0);
    let lines = terminal.lines();
    assert_eq!(rows(&lines).len(), 1, "{lines:#?}");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].starts_with("file: 8.0 MiB in "), "{lines:#?}");
}

#[test]
fn a_sharer_sees_who_gets_it_and_ends_well() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(4 * MIB, 1));
    let share = machines.command("here", "share", &["-d=0", "--up-rate=4MiB", "file"]);
    let mut sharer = Terminal::controlling(&share, 200, 24);
    let said = sharer.shows("Type help for commands.");
    assert!(said.contains("On the other machine:") && !said.contains("WARN"), "{said:?}");
    assert!(
        said.contains("Sharing file until Ctrl-C. Only those on this machine who have this line can get it."),
        "{said:?}"
    );
    let line = sharer.lines().into_iter().find(|line| line.starts_with("    peer-cli get ")).expect("a ticket");
    let ticket = line.trim().strip_prefix("peer-cli get ").unwrap();
    machines.get("one", &[ticket]).ends_with(0);
    sharer.shows("127.0.0.1 is getting file");
    sharer.shows("127.0.0.1 has all of file (4.0 MiB in ");
    machines.get("two", &[ticket]).ends_with(0);
    sharer.shows("has all of file");
    // It is there already: it did not get it here. And all of this is one machine, one run after the other.
    machines.get("two", &[ticket]).ends_with(0);
    sharer.press(CTRL_C);
    sharer.ends_with(0);
    let lines = sharer.lines();
    let last = lines.last().unwrap();
    assert!(last.starts_with("Stopped sharing: sent 8.") && last.ends_with(" to 1 machine."), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("has all of file")).count(), 2, "{lines:#?}");
    assert!(rows(&lines).len() <= 1, "only what was hashed stays: {lines:#?}");
}

#[test]
fn a_machine_that_came_back_is_one_line_of_peers() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(300_000, 1));
    let mut sharer = Process::start("here", machines.command("here", "share", &["-d=0", "--commands", "file"]));
    let line = sharer.line("peer-cli get p2p");
    let ticket = line.trim().strip_prefix("peer-cli get ").unwrap().to_owned();
    for machine in ["one", "two", "two"] {
        machines.get(machine, &[&ticket]).ends_with(0);
    }
    let mut looks = machines.command("one", "ls", &[&ticket]);
    assert!(looks.status().unwrap().success());
    // That the last one has left is noticed soon.
    let mut connected = || {
        sharer.type_line("peers");
        sharer.line("file: ")
    };
    assert!((0..1000).any(|_| connected() == "file: 0 connected"));
    let line = sharer.line("sent ");
    assert!(line.starts_with("  127.0.0.1  100%  sent 5") && line.ends_with("received 0 B  (has left)"), "{line}");
    sharer.type_line("quit");
    sharer.wait_for("the end", |line| {
        assert!(!line.contains("(has left)"), "a second line: {line}");
        line.starts_with("Stopped sharing: ").then_some(())
    });
    sharer.ends_with(0);
}

#[test]
fn a_sharer_tells_some_files_from_all_of_a_folder() {
    let machines = Machines::new();
    machines.put("here", "folder/one", &noise(20_000, 1));
    machines.put("here", "folder/two", &noise(20_000, 2));
    let mut sharer = Process::start("here", machines.command("here", "share", &["-d=0", "folder"]));
    let line = sharer.line("peer-cli get p2p");
    let ticket = line.trim().strip_prefix("peer-cli get ").unwrap().to_owned();
    machines.get("one", &[&ticket, "--only=one"]).ends_with(0);
    sharer.line("127.0.0.1 has the files that it wanted of folder (19.5 KiB in ");
    machines.get("two", &[&ticket]).ends_with(0);
    sharer.line("127.0.0.1 has all of folder (39.1 KiB in ");
}

/// `| cat` prints on the same terminal, at any time.
#[test]
fn what_a_program_behind_a_pipe_prints_is_not_drawn_over() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(3 * MIB, 1));
    let (_sharer, ticket) = share(&machines, "file");
    let get = machines.command("there", "get", &[&ticket, "--down-rate=2MiB"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" | cat", "sh"]).arg(get.get_program()).args(get.get_args());
    shell.current_dir(get.get_current_dir().unwrap());
    for (name, value) in get.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut terminal = Terminal::controlling(&shell, 100, 24);
    terminal.ends_with(0);
    let said = terminal.lines().concat();
    assert!(said.contains("Getting file, 3.0 MiB") && said.contains("every piece verified"), "{said}");
}

#[test]
fn a_sharer_answers_what_is_typed() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    machines.put("here", "other one", b"more bytes");
    let mut sharer = Terminal::controlling(&machines.command("here", "share", &["-d=0", "file"]), 200, 50);
    sharer.shows("Type help for commands.");
    let mut ask = |typed: &str, answer: &str| {
        sharer.press(&format!("{typed}\r"));
        sharer.shows(answer)
    };
    ask("help", "quit");
    ask("ls", "file  5 B  content id ");
    ask("status", "all of it is here  sent 0 B  0 peers connected");
    ask("peers", "file: 0 connected");
    ask("rate 10MiB", "From now on at most 10.0 MiB/s are sent.");
    ask("add other one", "On the other machine, for other one:");
    ask("add nothing", "nothing does not exist");
    ask("add /dev/null", "/dev/null is not shared: ");
    ask("stop file", "file is not shared any more.");
    ask("stop file", "Nothing here is called \"file\": ls lists what there is.");
    ask("statsu", "\"statsu\" is no command. Did you mean status? help lists all of them.");
    ask("prog", "Pieces on Seeder: 1 (100%).");
    ask("stop other one", "Nothing is shared any more. Type add PATH to share something, or quit to end.");
    ask("quit", "Stopped sharing: nothing was sent.");
    sharer.ends_with(0);
}

#[test]
fn a_tracker_answers_what_is_typed() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut tracker = tests::tracker();
    tracker.current_dir(machines.folder("here")).args(["--bind=127.0.0.1", "-p=0", "--commands"]);
    let mut tracker = Process::start("tracker", tracker);
    let port = tracker.line("Listening on ").rsplit_once(':').unwrap().1.to_owned();
    tracker.type_line("ls");
    tracker.line("Nothing is shared or wanted now.");
    let mut sharer = machines.share("here", &["--open", "-i=127.0.0.1", &format!("-d={port}"), "file"]);
    ticket(&mut sharer);
    // The sharer's word is on its way to the tracker.
    let mut listed = || {
        tracker.type_line("LS");
        let is_answer = |line: &str| line.contains("content id") || line.contains("Nothing is shared");
        tracker.wait_for("an answer", |line| is_answer(line).then(|| line.to_owned()))
    };
    let line = (0..1000).map(|_| listed()).find(|line| line.contains("content id")).expect("it is listed");
    assert!(line.starts_with("  file  5 B  1 seeder, 0 downloaders  content id "), "{line}");
    tracker.type_line("peers");
    tracker.line("takes part in 1 content");
    tracker.type_line("status");
    tracker.line("1 peer, 1 content, ");
    tracker.type_line("quti");
    tracker.line("\"quti\" is no command. Did you mean quit?");
    tracker.type_line("quit");
    tracker.ends_with(0);
}

/// What does not come is not waited for in silence, and has no rate.
#[test]
fn a_download_that_stalls_says_so_and_keeps_its_row() {
    let machines = Machines::new();
    // What comes within four seconds may be on its way, and goes on coming.
    machines.put("here", "file", &noise(12 * MIB, 1));
    let (sharer, ticket) = share(&machines, "file");
    let get = machines.command("there", "get", &[&ticket, "--down-rate=1MiB"]);
    let mut terminal = Terminal::controlling(&get, 80, 24);
    terminal.shows("/s");
    sharer.signal("STOP");
    terminal.shows("stalled");
    let lines = terminal.lines();
    let row = rows(&lines)[0];
    assert!(row.contains('━') && !row.contains("/s"), "{lines:#?}");
    sharer.signal("CONT");
    terminal.ends_with(0);
    assert_eq!(rows(&terminal.lines()).len(), 1);
}

/// Who has pasted a ticket knows of no tracker, and that a sharer ends is no fault.
#[test]
fn a_sharer_that_stops_is_named_and_waited_for() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(4 * MIB, 1));
    let port = format!("-d={}", free_port());
    let share = |rate: &str| machines.share("here", &[&port, rate, "file"]);
    let mut sharer = share("--up-rate=1MiB");
    let mut getter = machines.get("there", &["--json", &ticket(&mut sharer)]);
    getter.pieces(1);
    sharer.signal("INT");
    sharer.ends_with(0);
    let said = getter.event::<Waiting>().reason;
    assert!(said.starts_with("127.0.0.1 has stopped sharing, or is out of reach. Waiting as long as it"), "{said}");
    let mut sharer = share("--up-rate=1GiB");
    ticket(&mut sharer);
    getter.ends_with(0);
}

/// What is wrong is read on narrow terminals, too, and what is to be typed is copied from them.
#[test]
fn errors_are_broken_between_words() {
    let machines = Machines::new();
    let mut terminal = Terminal::sized(&mut machines.command("here", "share", &["nothere"]), 30, 24);
    terminal.ends_with(4);
    assert_eq!(terminal.lines()[..2], ["peer-cli: there is no file or", "folder nothere. Check the"]);
    let mut program = tests::peer_cli();
    let mut terminal = Terminal::sized(program.args(["7-violin-tadpole"]), 40, 24);
    terminal.ends_with(2);
    assert_eq!(terminal.lines(), ["peer-cli: To get it:", "peer-cli get 7-violin-tadpole"]);
}

#[test]
fn help_is_ascii_where_the_locale_has_no_other_letters() {
    for words in [&[][..], &["-h"], &["--help"], &["get", "--help"], &["share", "--help"]] {
        let mut program = tests::peer_cli();
        program.args(words).env("TERM", "xterm").env("LC_ALL", "C");
        let said = Terminal::with_environment(&mut program).ends_with(if words.is_empty() { 2 } else { 0 });
        assert!(said.is_ascii() && said.contains("peer-cli"), "{words:?}: {said}");
    }
}

/// A pipe, a dumb terminal and who wants no colours get lines.
#[test]
fn without_a_terminal_that_draws_there_are_no_control_codes() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(2 * MIB, 1));
    let (_sharer, ticket) = share(&machines, "file");
    for (variable, value) in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let mut get = machines.command(value, "get", &[&ticket, "--down-rate=2MiB"]);
        get.env("TERM", "xterm").env(variable, value);
        let mut terminal = Terminal::with_environment(&mut get);
        let said = terminal.ends_with(0);
        assert!(!said.contains('\x1b') && said.contains("file  ") && said.contains("every piece verified"), "{said:?}");
    }
}
