//! A peer as a service: told what to do from another terminal, it does that, and goes on with it after a crash.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::machines::Machines;
use tests::{PATIENCE, Process, free_port, noise};

/// A daemon, and the terminal beside it.
struct Daemon<'a> {
    machines: &'a Machines,
    name: &'static str,
    process: Process,
}

impl<'a> Daemon<'a> {
    fn start(machines: &'a Machines, name: &'static str, flags: &[&str]) -> Self {
        let process = run(machines, name, flags);
        Daemon { machines, name, process }
    }

    /// Kills it as a crash would, and starts it again.
    fn crash(&mut self, flags: &[&str]) {
        self.process.kill();
        self.process = run(self.machines, self.name, flags);
    }

    /// Runs a command that controls it.
    fn control(&self, command: &str, arguments: &[&str]) -> Output {
        control(self.machines, self.name, command, arguments)
    }

    /// The same, which succeeds; gives what it has printed.
    fn does(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.control(command, arguments);
        let [out, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{command} {arguments:?}: {errors}{out}");
        out
    }

    fn contents(&self) -> Vec<Value> {
        let lines = self.does("status", &["--json"]);
        let answers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        answers.filter(|answer| answer["answer"] == "content").collect()
    }

    /// Waits until its first content fits.
    fn first(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.until(what, |contents| contents.first().filter(|content| fits(content)).cloned())
    }

    fn until<T>(&self, what: &str, finds: impl Fn(&[Value]) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let contents = self.contents();
            if let Some(found) = finds(&contents) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {contents:#?}\n{}", self.process.errors());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Shares something, and gives its ticket.
    fn share(&self, path: &str) -> String {
        let said = self.does("add", &[path]);
        said.lines().find_map(|line| line.strip_prefix("peer-cli get ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

fn socket(machines: &Machines, name: &str) -> PathBuf {
    machines.folder(name).join("control")
}

fn run(machines: &Machines, name: &'static str, flags: &[&str]) -> Process {
    let mut command = machines.command(name, "daemon", &["--output=output", "--socket"]);
    command.arg(socket(machines, name)).args(flags);
    let mut process = Process::start(name, command);
    process.line("Controlled at ");
    process
}

fn control(machines: &Machines, name: &str, command: &str, arguments: &[&str]) -> Output {
    let mut program = tests::peer_cli();
    program.current_dir(machines.folder(name)).arg(command).arg("--socket").arg(socket(machines, name)).args(arguments);
    program.output().unwrap()
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |content| content["state"] == state
}

/// As `watch` and `ls --watch` do.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_look_at_its_state_well() {
    use tests::terminal::{CTRL_C, Terminal};
    let machines = Machines::new();
    machines.put("giver", "empty", b"");
    let giver = Daemon::start(&machines, "giver", &["-p0"]);
    giver.share("empty");
    let mut program = tests::peer_cli();
    program.args(["status", "--watch", "--socket"]).arg(socket(&machines, "giver"));
    let mut terminal = Terminal::controlling(&program, 80, 24);
    assert!(terminal.shows("Ctrl-C ends this.").contains("100%   0 B"));
    terminal.press(CTRL_C);
    terminal.ends_with(0);
}

#[test]
fn a_daemon_shares_and_downloads_what_it_is_told() {
    let machines = Machines::new();
    let bytes = noise(3 << 20, 1);
    machines.put("giver", "a.bin", &bytes);
    machines.put("giver", "folder/inner.txt", b"inner");
    let (giver, taker) = (Daemon::start(&machines, "giver", &["-p0"]), Daemon::start(&machines, "taker", &["-p0"]));
    let ticket = giver.share("a.bin");
    let folder = giver.share("folder");
    assert!(String::from_utf8_lossy(&giver.control("add", &["a.bin"]).stderr).contains("there already"));
    taker.does("add", &[&ticket, &folder]);
    taker.until("both are complete", |contents| {
        (contents.len() == 2 && contents.iter().all(is("sharing"))).then_some(())
    });
    assert_eq!(machines.read("taker", "output/a.bin"), bytes);
    assert_eq!(machines.read("taker", "output/folder/inner.txt"), b"inner");
    giver.until("what was sent is counted", |contents| {
        let sent: u64 = contents.iter().map(|content| content["sent"].as_u64().unwrap()).sum();
        (sent >= 3 << 20).then_some(())
    });
    assert!(taker.does("rm", &["folder"]).contains("its files stay"));
    assert_eq!(taker.contents().len(), 1);
    assert_eq!(machines.read("taker", "output/folder/inner.txt"), b"inner");
    assert!(taker.does("status", &[]).contains("a.bin"));
}

/// As a home is: the tickets of everything else stand in that state.
#[test]
fn a_folder_is_shared_without_the_state_of_a_daemon_in_it() {
    let machines = Machines::new();
    machines.put("giver", "all/file", b"bytes");
    let giver = Daemon::start(&machines, "giver", &["-p0", "--state=all/state"]);
    let ticket = giver.share("all");
    // Its state changes, and the folder does not.
    giver.does("limit", &["--up", "1GiB"]);
    machines.get("taker", &[&ticket]).ends_with(0);
    assert_eq!(machines.read("taker", "output/all/file"), b"bytes");
    assert!(!machines.folder("taker").join("output/all/state").exists());
}

#[test]
fn what_it_was_told_survives_a_crash() {
    let machines = Machines::new();
    let bytes = noise(2 << 20, 2);
    machines.put("giver", "a.bin", &bytes);
    machines.put("giver", "b.bin", b"b");
    let flags = &["-p0"];
    let giver = Daemon::start(&machines, "giver", flags);
    let mut taker = Daemon::start(&machines, "taker", flags);
    let (ticket, other) = (giver.share("a.bin"), giver.share("b.bin"));
    taker.does("limit", &["--down=64KiB", "--up=1mbit"]);
    taker.does("add", &[&ticket]);
    taker.does("add", &[&other]);
    taker.until("something came", |contents| {
        contents.iter().find(|content| content["number"] == 1 && content["received"].as_u64() > Some(0)).cloned()
    });
    taker.does("pause", &["1"]);
    taker.does("prioritise", &["2"]);
    taker.crash(flags);
    let order: Vec<_> = taker.contents().iter().map(|content| content["number"].as_u64().unwrap()).collect();
    assert_eq!(order, [2, 1], "their order");
    taker.until("the second is complete and the first paused", |contents| {
        (is("sharing")(&contents[0]) && is("paused")(&contents[1])).then_some(())
    });
    let limits = taker.does("limit", &["--up=none"]);
    assert!(limits.contains("Sending: unlimited. Receiving: 64"), "{limits}");
    taker.does("limit", &["--down=none"]);
    taker.does("resume", &["a.bin"]);
    taker.until("it is complete", |contents| is("sharing")(&contents[1]).then_some(()));
    assert_eq!(machines.read("taker", "output/a.bin"), bytes);
    // What was complete is not downloaded again, not even where somebody has removed it.
    std::fs::remove_file(machines.folder("taker").join("output/a.bin")).unwrap();
    taker.crash(flags);
    let gone = taker.until("it is gone", |contents| contents.get(1).filter(|content| is("failed")(content)).cloned());
    assert!(gone["reason"].as_str().unwrap().contains("peer-cli resume"), "{gone}");
    taker.does("resume", &["1"]);
    taker.until("it is there again", |contents| is("sharing")(&contents[1]).then_some(()));
    assert_eq!(machines.read("taker", "output/a.bin"), bytes);
}

#[test]
fn tickets_hold_after_a_crash() {
    let machines = Machines::new();
    machines.put("giver", "a.bin", b"the same");
    let port = free_port().to_string();
    let flags = &["-p", &port];
    let mut giver = Daemon::start(&machines, "giver", flags);
    let ticket = giver.share("a.bin");
    giver.crash(flags);
    let again = giver.first("it is shared again", is("sharing"));
    assert_eq!(again["ticket"], Value::from(ticket.clone()));
    machines.get("taker", &[&ticket]).ends_with(0);
    assert_eq!(machines.read("taker", "output/a.bin"), b"the same");
}

#[test]
fn one_download_at_a_time_goes_in_their_order() {
    let machines = Machines::new();
    for name in ["a", "b", "c"] {
        machines.put("giver", name, &noise(1 << 20, u64::from(name.as_bytes()[0])));
    }
    let giver = Daemon::start(&machines, "giver", &["-p0"]);
    let taker = Daemon::start(&machines, "taker", &["-p0", "--at-once=1", "--down-rate=16KiB"]);
    for name in ["a", "b", "c"] {
        taker.does("add", &[&giver.share(name)]);
    }
    let states = |contents: &[Value]| -> Vec<(u64, String)> {
        let state =
            |content: &Value| (content["number"].as_u64().unwrap(), content["state"].as_str().unwrap().to_owned());
        contents.iter().map(state).collect()
    };
    let runs = |contents: &[Value], running: u64| {
        let states = states(contents);
        let (first, rest) = states.split_first().unwrap();
        first == &(running, "downloading".to_owned()) && rest.iter().all(|(_, state)| state == "queued")
    };
    taker.until("the first runs", |contents| runs(contents, 1).then_some(()));
    taker.does("prioritise", &["3"]);
    taker.until("the third runs", |contents| runs(contents, 3).then_some(()));
    taker.does("pause", &["3"]);
    taker.until("another runs instead", |contents| {
        let states = states(contents);
        (states[0].1 == "paused" && states.iter().filter(|(_, state)| state == "downloading").count() == 1)
            .then_some(())
    });
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let machines = Machines::new();
    let says = |output: Output, code: i32, sentence: &str| {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(sentence) && errors.lines().count() == 1, "{errors}");
    };
    says(control(&machines, "a", "status", &[]), 4, "no daemon runs here");
    machines.put("a", "file", b"1");
    let mut daemon = Daemon::start(&machines, "a", &["-p0"]);
    says(daemon.control("rm", &["9"]), 4, "has no content \"9\"");
    says(daemon.control("add", &["missing"]), 4, "there is no file or folder missing");
    says(daemon.control("add", &["p2pabcdefgh"]), 4, "there is no file or folder");
    says(daemon.control("add", &["file", "--force"]), 2, "are for downloads");
    says(daemon.control("limit", &["--up=fast"]), 2, "is no rate");
    says(daemon.control("limit", &[]), 2, "--up");
    says(daemon.control("pause", &[]), 2, "");
    let ticket = daemon.share("file");
    let (mut damaged, cut) = (ticket.clone(), &ticket[..30]);
    damaged.replace_range(20..21, if &ticket[20..21] == "a" { "b" } else { "a" });
    says(daemon.control("add", &[&damaged]), 2, "damaged");
    says(daemon.control("add", &[cut]), 2, "cut off");
    says(daemon.control("add", &["p2p2aeb6…"]), 2, "only the beginning of a ticket");
    let said = daemon.control("prioritise", &["1"]);
    assert!(said.stdout.is_empty(), "{}", String::from_utf8_lossy(&said.stdout));
    says(said, 0, "shares have no order; nothing changed");
    // A second one with the same state, or in the same place.
    let mut second = machines.command("a", "daemon", &["-p0", "--socket"]);
    second.arg(machines.folder("a").join("other"));
    says(second.output().unwrap(), 6, "a daemon runs with this state already");
    // An ambiguous name.
    machines.put("a", "sub/file", b"2");
    daemon.share("sub/file");
    says(daemon.control("rm", &["file"]), 2, "may be any of the numbers 1, 2");
    daemon.process.kill();
    says(daemon.control("status", &[]), 4, "no daemon runs here");
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let machines = Machines::new();
    machines.put("a", "file", b"1");
    let flags = &["-p0", "--state=state"];
    let mut daemon = Daemon::start(&machines, "a", flags);
    // Nothing can take the place of a folder.
    let state = machines.folder("a").join("state/daemon.json");
    std::fs::create_dir_all(&state).unwrap();
    let said = daemon.control("add", &["file"]);
    assert_eq!(said.status.code(), Some(7), "{}", String::from_utf8_lossy(&said.stderr));
    std::fs::remove_dir(&state).unwrap();
    assert!(daemon.share("file").starts_with("p2p"));
    daemon.crash(flags);
    assert_eq!(daemon.contents().len(), 1, "it is remembered");
}

#[test]
fn a_paused_share_that_is_added_again_is_shared() {
    let machines = Machines::new();
    machines.put("a", "sub/file", b"1");
    let daemon = Daemon::start(&machines, "a", &["-p0"]);
    let ticket = daemon.share("sub/file");
    // A path is meant from where it is typed.
    assert!(daemon.does("pause", &["./sub/file"]).contains("is paused"));
    assert_eq!(daemon.share("sub/file"), ticket);
    daemon.first("it is shared", is("sharing"));
    daemon.does("rm", &["sub/file"]);
    assert_eq!(daemon.contents().len(), 0);
}

#[test]
fn the_same_content_twice_is_one_share_until_the_first_is_removed() {
    let machines = Machines::new();
    for folder in ["one", "two"] {
        machines.put("a", &format!("{folder}/file"), b"the same");
    }
    let daemon = Daemon::start(&machines, "a", &["-p0"]);
    daemon.share("one/file");
    for flags in [&["two/file"][..], &["--json", "two/file"]] {
        let said = daemon.control("add", flags);
        assert_eq!(said.status.code(), Some(1), "{flags:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
    let second = daemon.contents().remove(1);
    assert!(second["reason"].as_str().unwrap().contains("the same content as number 1"), "{second}");
    assert_eq!(second["state"], "waiting", "nothing is wrong with it");
    daemon.does("rm", &["1"]);
    daemon.first("the second is shared instead", |content| content["number"] == 2 && is("sharing")(content));
}

#[test]
fn force_is_taken_over_by_a_download_that_is_there() {
    let machines = Machines::new();
    machines.put("giver", "file", b"right");
    machines.put("taker", "output/file", b"different");
    let (giver, mut taker) = (Daemon::start(&machines, "giver", &["-p0"]), Daemon::start(&machines, "taker", &["-p0"]));
    let ticket = giver.share("file");
    // It may have failed already when that is answered.
    taker.control("add", &[&ticket]);
    taker.first("a different file is in its way", is("failed"));
    let elsewhere = taker.control("add", &[&ticket, "-o", "elsewhere"]);
    let errors = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert!(elsewhere.status.code() == Some(2) && errors.contains("peer-cli rm 1"), "{errors}");
    taker.control("add", &[&ticket, "--force"]);
    taker.first("it is replaced", is("sharing"));
    assert_eq!(machines.read("taker", "output/file"), b"right");
    // It was said of what lay there then, and not of what its user writes later.
    machines.put("taker", "output/file", b"my own");
    // What is known by now is written when that is answered.
    taker.does("limit", &["--down=1GiB"]);
    taker.crash(&["-p0"]);
    taker.first("what was written since stays", is("failed"));
    assert_eq!(machines.read("taker", "output/file"), b"my own");
    taker.control("add", &[&ticket, "--force"]);
    taker.first("it is replaced once more", is("sharing"));
    assert_eq!(machines.read("taker", "output/file"), b"right");
}

#[test]
fn two_daemons_never_have_one_socket() {
    let machines = Machines::new();
    let first = Daemon::start(&machines, "a", &["-p0", "--state=first"]);
    let mut second = machines.command("a", "daemon", &["-p0", "--state=second", "--socket"]);
    let output = second.arg(socket(&machines, "a")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(6) && errors.contains("is controlled at"), "{errors}");
    assert_eq!(first.contents().len(), 0, "the first one answers");
}

#[cfg(unix)]
mod on_unix {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn the_socket_is_its_users_alone() {
        let machines = Machines::new();
        let runtime = machines.folder("runtime");
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = machines.command("a", "daemon", &["-p0"]);
        command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", &runtime);
        let mut process = Process::start("a", command);
        process.line("Controlled at ");
        let mode = |path: &str| std::fs::symlink_metadata(runtime.join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("p2p-fileshare"), mode("p2p-fileshare/control.sock")), (0o700, 0o600));
        let mut status = tests::peer_cli();
        let output = status.arg("status").env("XDG_RUNTIME_DIR", &runtime).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        process.signal("TERM");
        process.ends_with(0);
        assert!(!runtime.join("p2p-fileshare/control.sock").exists());
    }

    #[test]
    fn it_ends_orderly_when_it_is_told_to_and_keeps_what_is_verified() {
        let machines = Machines::new();
        let bytes = noise(4 << 20, 5);
        machines.put("giver", "a.bin", &bytes);
        let giver = Daemon::start(&machines, "giver", &["-p0"]);
        let mut taker = Daemon::start(&machines, "taker", &["-p0", "--down-rate=256KiB"]);
        taker.does("add", &[&giver.share("a.bin")]);
        let have = taker.first("some pieces are here", |content| content["have"].as_u64() > Some(0));
        taker.process.signal("TERM");
        taker.process.ends_with(0);
        taker.process = run(&machines, "taker", &["-p0"]);
        let then = taker.first("it goes on", |content| content["have"].as_u64() >= have["have"].as_u64());
        assert_eq!(then["received"].as_u64().map(|received| received < 4 << 20), Some(true), "{then}");
        taker.first("it is complete", is("sharing"));
        assert_eq!(machines.read("taker", "output/a.bin"), bytes);
    }

    #[test]
    fn a_hang_up_has_it_read_its_settings_and_look_at_what_it_shares() {
        let machines = Machines::new();
        machines.put("a", "folder/one", b"1");
        let settings = machines.folder("a").join("settings.toml");
        std::fs::write(&settings, "[peer-cli]\nup-rate = \"1MiB\"\n").unwrap();
        let daemon = Daemon::start(&machines, "a", &["-p0", "--config", settings.to_str().unwrap()]);
        daemon.share("folder");
        let before = daemon.first("it is shared", is("sharing"));
        machines.put("a", "folder/two", b"22");
        std::fs::write(&settings, "[peer-cli]\nup-rate = \"2MiB\"\n").unwrap();
        daemon.process.signal("HUP");
        let after = daemon.first("it is looked at anew", |content| {
            content["state"] == "sharing" && content["content"] != before["content"] && content["size"] == 3
        });
        assert_eq!(after["number"], 1);
        let status = daemon.does("status", &[]);
        assert!(status.contains("Sending: 2.0 MiB/s"), "{status}");
        // What cannot be read changes nothing.
        std::fs::write(&settings, "[peer-cli]\nup-rate = \"fast\"\n").unwrap();
        daemon.process.signal("HUP");
        daemon.does("limit", &["--down=3MiB"]);
        assert!(daemon.does("status", &[]).contains("Sending: 2.0 MiB/s. Receiving: 3.0 MiB/s."));
        // What was asked for overrides a setting, until it is to hold again.
        daemon.does("limit", &["--up=none"]);
        machines.put("a", "folder/three", b"333");
        std::fs::write(&settings, "[peer-cli]\nup-rate = \"4MiB\"\n").unwrap();
        daemon.process.signal("HUP");
        daemon.first("it is looked at once more", |content| content["state"] == "sharing" && content["size"] == 6);
        assert!(daemon.does("status", &[]).contains("Sending: unlimited."));
        let limits = daemon.does("limit", &["--up=default"]);
        assert!(limits.contains("Sending: 4.0 MiB/s. Receiving: 3.0 MiB/s."), "{limits}");
    }

    #[test]
    fn a_hang_up_has_it_write_its_log_into_a_new_file() {
        let machines = Machines::new();
        let folder = machines.folder("a");
        let daemon = Daemon::start(&machines, "a", &["-p0", "--log-level=info", "--log-file=log"]);
        std::fs::rename(folder.join("log"), folder.join("log.1")).unwrap();
        daemon.process.signal("HUP");
        daemon.until("it logs into a new file", |_| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            log.contains("the settings are read again").then_some(())
        });
    }

    #[test]
    fn the_log_says_why_a_share_stops_and_that_it_goes_on() {
        let machines = Machines::new();
        let folder = machines.folder("a");
        machines.put("a", "file", b"something");
        let flags = ["-p0", "--log-level=info", "--log-file=log", "--log-format=json"];
        let daemon = Daemon::start(&machines, "a", &flags);
        daemon.share("file");
        std::fs::remove_file(folder.join("file")).unwrap();
        let failed = daemon.first("it has failed", is("failed"));
        let lines = |level: &str| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.filter(|line| line["level"] == level && line["number"] == 1).collect::<Vec<_>>()
        };
        let last =
            daemon.until("it is logged", |_| lines("WARN").pop().filter(|last| last["reason"] == failed["reason"]));
        assert_eq!(last["path"], failed["path"]);
        assert!(lines("INFO").is_empty());
        machines.put("a", "file", b"something");
        daemon.until("it goes on", |_| lines("INFO").pop());
    }

    #[test]
    fn a_hang_up_stops_no_other_share() {
        let machines = Machines::new();
        let giver = machines.folder("a");
        machines.put("a", "one/file", b"one");
        machines.put("a", "two/file", &noise(100_000, 3));
        let daemon = Daemon::start(&machines, "a", &["-p0"]);
        daemon.share("one/file");
        let ticket = daemon.share("two/file");
        machines.get("taker", &[&ticket]).ends_with(0);
        let sent = daemon.until("it was sent", |contents| contents[1]["sent"].as_u64().filter(|&sent| sent >= 100_000));
        // Number 1 is what number 2 is already.
        std::fs::copy(giver.join("two/file"), giver.join("one/file")).unwrap();
        daemon.process.signal("HUP");
        daemon.until("the first is a copy", |contents| {
            contents[0]["reason"].as_str().unwrap().contains("the same content as number 2").then_some(())
        });
        let second = daemon.until("the second is shared", |contents| {
            contents.get(1).filter(|content| is("sharing")(content)).cloned()
        });
        assert!(second["sent"].as_u64() >= Some(sent), "what was sent is still counted: {second}");
        machines.get("another", &[&ticket]).ends_with(0);
        // The other one has its turn when it changes.
        std::fs::write(giver.join("two/file"), b"something else").unwrap();
        daemon.process.signal("HUP");
        daemon.until("both are shared", |contents| contents.iter().all(is("sharing")).then_some(()));
        let second = daemon.contents().remove(1);
        assert!(second["sent"].as_u64() >= Some(sent), "its counters go on: {second}");
    }

    #[test]
    fn the_service_manager_hears_that_it_is_ready_lives_and_stops() {
        let machines = Machines::new();
        let path = machines.folder("a").join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = machines.command("a", "daemon", &["-p0", "--socket"]);
        command.arg(socket(&machines, "a")).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
        let process = Process::start("a", command);
        let mut heard = [0; 64];
        let mut next = || {
            let length = manager.recv(&mut heard).expect("the manager hears something");
            String::from_utf8_lossy(&heard[..length]).into_owned()
        };
        assert_eq!(next(), "READY=1");
        assert_eq!([next(), next()], ["WATCHDOG=1", "WATCHDOG=1"]);
        process.signal("TERM");
        while next() != "STOPPING=1" {}
    }

    #[test]
    fn nonsense_on_the_socket_harms_nobody() {
        let machines = Machines::new();
        let daemon = Daemon::start(&machines, "a", &["-p0"]);
        let connect = || {
            let stream = UnixStream::connect(socket(&machines, "a")).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        let mut stream = connect();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for nonsense in
            ["", "nonsense", "{}", "[[[[", r#"{"v":2,"request":"status"}"#, r#"{"v":1,"request":"dance"}"#, "\u{0}"]
        {
            stream.write_all(format!("{nonsense}\n").as_bytes()).unwrap();
            let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!((&answer["answer"], &answer["code"]), (&"error".into(), &"usage".into()), "{nonsense}");
        }
        stream.write_all(b"{\"v\":1,\"request\":\"status\"}\n").unwrap();
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["answer"], "done", "the same connection goes on");
        // A line without an end is cut off, and others are still heard.
        let mut endless = connect();
        let _ = endless.write_all(&vec![b'x'; 1 << 20]);
        let mut rest = Vec::new();
        let _ = endless.read_to_end(&mut rest);
        // More of those who say nothing than it takes.
        let silent: Vec<_> = (0..40).map(|_| connect()).collect();
        drop(silent);
        daemon.does("status", &[]);
    }
}
