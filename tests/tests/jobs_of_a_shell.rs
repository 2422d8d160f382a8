//! A shell that shares out its terminal among jobs: in the background none of the programs is stopped, Ctrl-Z gives the terminal
//! back as it was, and `fg` takes it again. The shell edits no lines itself, so that the terminal's modes are what the programs
//! left.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::termios::LocalModes;
use tests::machines::{Machines, ticket};
use tests::terminal::{CTRL_C, CTRL_D, CTRL_Z, Terminal};
use tests::{PATIENCE, Process, Swarm, noise};

const MIB: usize = 1 << 20;

/// A shell with job control on a terminal that is its own, in a machine's folder.
fn shell(machines: &Machines) -> Terminal {
    let mut command = Command::new("setsid");
    command.args(["-c", "sh", "-i"]).env("PS1", "% ").env_remove("ENV").env_remove("RUST_LOG");
    testbed::programs::without_settings(&mut command);
    let mut terminal = Terminal::start(command.current_dir(machines.folder("there")));
    terminal.shows("% ");
    terminal
}

/// Someone who shares a file at so many bytes a second, and the line that gets it.
fn sharing(machines: &Machines, size: usize, rate: &str) -> (Process, String) {
    machines.put("here", "file", &noise(size, 1));
    let rate = format!("--up-rate={rate}");
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=16KiB", &rate, "file"]);
    let get = machines.command("there", "get", &[&ticket(&mut sharer)]);
    (sharer, line(&get))
}

/// A command as it is typed.
fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| format!("'{}' ", word.to_str().unwrap())).collect()
}

/// Whether the terminal is as shells leave it for those that read lines.
fn is_plain(terminal: &Terminal) -> bool {
    let modes = terminal.modes();
    modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

fn until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_get_in_the_background_goes_on_and_draws_nothing() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, MIB, "4MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("{get} &\r"));
    let shown = shell.shows("every piece verified");
    assert!(shown.contains("Getting file") && !shown.contains('━') && !shown.contains("peers"), "{shown:?}");
    assert!(is_plain(&shell));
    // What is typed meanwhile is the shell's.
    shell.press("echo y\"\"z\r");
    shell.shows("yz");
    assert!(machines.read("there", "output/file") == machines.read("here", "file"));
}

#[test]
fn a_get_from_the_background_has_a_prompt_in_the_foreground() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, 8 * MIB, "1MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("{get} &\r"));
    shell.shows("Getting file");
    shell.press("fg\r");
    shell.shows("/8.0 MiB");
    until("the editor's modes", || !is_plain(&shell));
    shell.press("prog\r");
    shell.shows("Download in Progress...");
    shell.press(CTRL_D);
    shell.shows("before it was complete");
    shell.press("echo status $?\r");
    shell.shows("status 11");
    assert!(is_plain(&shell));
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, 8 * MIB, "1MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("{get}\r"));
    shell.shows("/8.0 MiB");
    for resume in ["fg\r", "bg; sleep 0.1; fg\r"] {
        shell.press(CTRL_Z);
        shell.shows("Stopped");
        shell.shows("% ");
        assert!(is_plain(&shell), "{resume}");
        shell.press(resume);
        shell.shows("/8.0 MiB");
        until("the editor's modes", || !is_plain(&shell));
        shell.press("prog\r");
        shell.shows("Download in Progress...");
    }
    shell.press(CTRL_C);
    shell.shows("interrupted before it was complete");
    shell.press("echo status $?\r");
    shell.shows("status 130");
    assert!(is_plain(&shell));
}

#[test]
fn a_get_that_ctrl_z_and_bg_put_into_the_background_is_completed() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, 2 * MIB, "1MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("{get}\r"));
    shell.shows("/2.0 MiB");
    shell.press(CTRL_Z);
    shell.shows("Stopped");
    shell.press("bg\r");
    shell.shows("every piece verified");
    until("the end", || is_plain(&shell));
    assert!(is_plain(&shell));
}

/// Told by another program to stop, it gives the terminal back as well; `SIGSTOP` it cannot hear, but it goes on all the same.
#[test]
fn a_stop_by_another_program_is_as_good_as_ctrl_z() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, 8 * MIB, "1MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("sh -c 'echo $$ >pid; exec \"$@\"' - {get}\r"));
    shell.shows("/8.0 MiB");
    let pid = String::from_utf8(machines.read("there", "pid")).unwrap();
    for signal in ["-TSTP", "-STOP"] {
        let status = Command::new("kill").args([signal, pid.trim()]).status().unwrap();
        assert!(status.success());
        shell.shows("Stopped");
        shell.shows("% ");
        if signal == "-TSTP" {
            assert!(is_plain(&shell));
        }
        // A shell that edits no lines leaves the modes as they are: the key Enter would not do.
        shell.press("stty sane; echo y\"\"z; fg\n");
        shell.shows("yz");
        until("the editor's modes", || !is_plain(&shell));
        shell.press("prog\r");
        shell.shows("Download in Progress...");
    }
    shell.press("exit\r");
    shell.shows("before it was complete");
    assert!(is_plain(&shell));
}

/// As in a container: there is nobody who could let it go on, so it does.
#[test]
fn ctrl_z_without_a_shell_stops_nothing() {
    let machines = Machines::new();
    machines.put("there", "file", b"bytes");
    let share = machines.command("there", "share", &["-d=0", "file"]);
    let mut alone = Command::new("setsid");
    alone.arg("-c").arg(share.get_program()).args(share.get_args()).current_dir(machines.folder("there"));
    let mut terminal = Terminal::start(&mut alone);
    terminal.shows("peer-cli get p2p");
    terminal.press(CTRL_Z);
    terminal.press("prog\r");
    terminal.shows("Pieces on Seeder: 1 (100%).");
    terminal.press("exit\r");
    terminal.ends_with(0);
    assert!(is_plain(&terminal));
}

#[test]
fn a_share_and_a_tracker_in_the_background_go_on() {
    let machines = Machines::new();
    machines.put("there", "file", b"bytes");
    let mut shell = shell(&machines);
    let share = machines.command("there", "share", &["-d=0", "file"]);
    shell.press(&format!("{} &\r", line(&share)));
    shell.shows("peer-cli get p2p");
    let tracker = tests::tracker();
    shell.press(&format!("{} --bind 127.0.0.1 -p 0 --certs other &\r", line(&tracker)));
    shell.shows("Tracker id");
    // The shell is asked after they had time to read, and to be stopped for it.
    shell.press("sleep 0.5; jobs; echo y\"\"z\r");
    let jobs = shell.shows("yz");
    assert!(jobs.matches("Running").count() == 2 && !jobs.contains("Stopped"), "{jobs:?}");
    for (job, last) in [("%1", "Stopped sharing: nothing was sent."), ("%2", "Shutdown complete.")] {
        shell.press(&format!("fg {job}\r"));
        if job == "%1" {
            shell.shows("> ");
        }
        shell.press("exit\r");
        shell.shows(last);
        shell.press("echo status $?\r");
        shell.shows("status 0");
    }
    assert!(is_plain(&shell));
}

/// In a session of its own the terminal is others', though it is still written to.
#[test]
fn a_get_in_another_session_leaves_the_keys_to_the_shell() {
    let machines = Machines::new();
    let (_sharer, get) = sharing(&machines, 2 * MIB, "1MiB");
    let mut shell = shell(&machines);
    shell.press(&format!("setsid {get}\r"));
    shell.shows("2.0 MiB");
    shell.press("echo y\"\"z\r");
    shell.shows("yz");
    shell.shows("every piece verified");
    assert!(is_plain(&shell));
}

/// A terminal that is closed ends what runs on it, but not what was to outlive it.
#[test]
fn a_closed_terminal_ends_a_get_but_not_one_under_nohup() {
    for (before, code) in [("", "129"), ("trap '' HUP; ", "0")] {
        let machines = Machines::new();
        let (_sharer, get) = sharing(&machines, 2 * MIB, "1MiB");
        let mut shell = shell(&machines);
        shell.press(&format!("{before}sh -c 'trap \"\" HUP; (trap - HUP; exec \"$@\"); echo $? >status' - {get}\r"));
        shell.shows("/2.0 MiB");
        drop(shell);
        let status = machines.folder("there").join("status");
        let ended = || std::fs::read_to_string(&status).ok().filter(|text| !text.trim().is_empty());
        until("the end", || ended().is_some());
        assert_eq!(ended().unwrap().trim(), code);
    }
}

/// The original's way with everything in one shell: the prompt is the foreground's.
#[test]
fn a_seeder_in_the_background_leaves_the_prompt_to_a_downloader() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let mut shell = shell(&machines);
    let seeder = swarm.command("seeder", &["-S"]);
    shell.press(&format!("(cd '{}' && exec {}) &\r", swarm.folder("seeder").display(), line(&seeder)));
    shell.shows("Sharing file");
    shell.press(&format!("{}\r", line(&swarm.command("peer", &["-f", "file"]))));
    shell.shows("Successfully Downloaded file");
    shell.press("prog\r");
    shell.shows("Download Finished!");
    shell.press("exit\r");
    shell.shows("Shutdown complete.");
    assert!(is_plain(&shell));
    shell.press("kill $!; wait $!; echo the seeder has ended\r");
    shell.shows("\nthe seeder has ended");
}
