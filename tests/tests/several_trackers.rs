//! Three trackers that know nothing of each other, and peers that go on when one of them dies.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::event::{Check, Code, Event, Kind, Sharing};
use testbed::programs::at_home;
use tests::machines::ticket;
use tests::{PATIENCE, Process, noise, peer_cli};

/// The trackers, each with a key of its own, and folders for peers.
struct Trackers {
    folder: TempDir,
    all: Vec<Process>,
    ports: Vec<u16>,
    ids: Vec<String>,
}

impl Trackers {
    fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut trackers = Trackers { folder, all: Vec::new(), ports: Vec::new(), ids: Vec::new() };
        for number in 0..count {
            let (tracker, port) = trackers.start_one(number, 0);
            let certificate = trackers.folder.path().join(format!("tracker-{number}/certs/tracker.pem"));
            trackers.ids.push(transport::peer_id_of_certificate_pem(&certificate).unwrap().to_string());
            trackers.all.push(tracker);
            trackers.ports.push(port);
        }
        trackers
    }

    fn start_one(&self, number: usize, port: u16) -> (Process, u16) {
        let folder = self.folder.path().join(format!("tracker-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = tests::tracker();
        command.current_dir(folder).args(["--commands", "--bind", "127.0.0.1", "-p"]).arg(port.to_string());
        let mut tracker = Process::start("tracker", command);
        let address = tracker.wait_for("its address", testbed::tracker::address);
        (tracker, address.port())
    }

    fn restart(&mut self, number: usize) {
        let (tracker, _) = self.start_one(number, self.ports[number]);
        self.all[number] = tracker;
    }

    /// Flags that name these of them.
    fn flags(&self, numbers: &[usize]) -> [String; 4] {
        let hosts: Vec<_> = numbers.iter().map(|&number| format!("127.0.0.1:{}", self.ports[number])).collect();
        let ids: Vec<_> = numbers.iter().map(|&number| self.ids[number].clone()).collect();
        ["-i".to_owned(), hosts.join(","), "--tracker-id".to_owned(), ids.join(",")]
    }

    fn command(&self, peer: &str, arguments: &[&str]) -> Command {
        let folder = self.folder.path().join(peer);
        std::fs::create_dir_all(folder.join("input")).unwrap();
        let mut command = peer_cli();
        command.current_dir(&folder).args(arguments);
        at_home(&mut command, &folder);
        command
    }

    /// A peer that takes part, and says events.
    fn peer(&self, peer: &str, numbers: &[usize], arguments: &[&str]) -> Process {
        let mut command = self.command(peer, &["-p", "0", "--bind", "127.0.0.1", "--json"]);
        command.args(self.flags(numbers)).args(arguments);
        Process::start(peer, command)
    }

    fn put(&self, peer: &str, name: &str, bytes: &[u8]) {
        let input = self.folder.path().join(peer).join("input");
        std::fs::create_dir_all(&input).unwrap();
        std::fs::write(input.join(name), bytes).unwrap();
    }

    fn output(&self, peer: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(peer).join(name)).unwrap()
    }

    /// Waits until a tracker knows of a content.
    fn knows(&mut self, number: usize) {
        let (tracker, began) = (&mut self.all[number], Instant::now());
        loop {
            tracker.type_line("status");
            let status = tracker.line(" of memory");
            if !status.contains(" 0 contents") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "tracker {number}: {status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Reads to the end of a download, which is told of no lost tracker.
fn completes_unnoticed(peer: &mut Process) {
    peer.find_event("completed", |event| match event {
        Event::TrackerLost(_) => panic!("a tracker was missed"),
        Event::Completed(_) => Some(()),
        _ => None,
    });
    peer.ends_with(0);
}

#[test]
fn one_tracker_of_three_dies_and_nobody_notices() {
    let mut trackers = Trackers::start(3);
    let all = [0, 1, 2];
    let bytes = noise(3 << 20, 1);
    trackers.put("seeder", "file", &bytes);
    // Of so many, some are for each tracker.
    let others = 15;
    (0..others).for_each(|number| trackers.put("seeder", &format!("other-{number}"), &noise(1000, number)));
    let mut seeder = trackers.peer("seeder", &all, &["-S", "--piece-size=64KiB", "--up-rate=1MiB"]);
    (0..=others).for_each(|_| drop(seeder.event::<Sharing>()));
    all.into_iter().for_each(|number| trackers.knows(number));
    let mut first = trackers.peer("first", &all, &["-f", "file", "--exit-when-done"]);
    first.pieces(2);
    trackers.all[0].kill();
    completes_unnoticed(&mut first);
    // Of the others, each knows everything when the seeder has noticed. Peers know other trackers than it does.
    let mut second = trackers.peer("second", &[0, 1], &["-f", "file", "--exit-when-done", "--wait=60s"]);
    let mut third = trackers.peer("third", &[2, 0], &["-f", "file", "--exit-when-done", "--wait=60s"]);
    completes_unnoticed(&mut second);
    completes_unnoticed(&mut third);
    for peer in ["first", "second", "third"] {
        assert!(trackers.output(peer, "output/file") == bytes, "{peer}");
    }
    // It knew nothing when it started again: what is its own returns to it.
    trackers.restart(0);
    trackers.knows(0);
    let mut last = trackers.peer("last", &all, &["-f", "file", "--exit-when-done"]);
    completes_unnoticed(&mut last);
}

#[test]
fn a_ticket_of_several_trackers_outlives_one_of_them() {
    let mut trackers = Trackers::start(3);
    let bytes = noise(300_000, 1);
    trackers.put("sharer", "file", &bytes);
    for open in [false, true] {
        let mut command =
            trackers.command("sharer", &["share", "input/file", "--json", "--no-lan", "--no-port-mapping"]);
        command.args(trackers.flags(&[0, 1, 2])).args(["--bind", "127.0.0.1"]);
        if open {
            command.arg("--open");
        }
        let mut sharer = Process::start("sharer", command);
        let ticket = ticket(&mut sharer);
        assert!(ticket.len() > 127, "{ticket}");
        assert!(ticket.len() <= protocol::LONGEST_TICKET, "{ticket}");
        trackers.all[0].kill();
        let getter = if open { "open" } else { "private" };
        let get = ["get", &ticket, "--no-lan", "--bind", "127.0.0.1", "--json"];
        let mut getter_process = Process::start(getter, trackers.command(getter, &get));
        completes_unnoticed(&mut getter_process);
        assert!(trackers.output(getter, "file") == bytes);
        trackers.restart(0);
    }
}

/// It was good for nothing while that one was gone, and its time ran.
#[test]
fn a_code_moves_from_a_tracker_that_is_gone_to_another() {
    let mut trackers = Trackers::start(2);
    let bytes = noise(30_000, 1);
    trackers.put("sharer", "file", &bytes);
    let mut command = trackers.command("sharer", &["share", "input/file", "--json", "--no-lan", "--no-port-mapping"]);
    command.args(trackers.flags(&[0, 1])).args(["--bind", "127.0.0.1"]);
    let mut sharer = Process::start("sharer", command);
    // Whichever of them it was at first.
    for number in [0, 1] {
        let code = sharer.event::<Code>().code;
        trackers.knows(1 - number);
        trackers.all[number].kill();
        let (name, began) = (format!("getter-{number}"), Instant::now());
        loop {
            let mut command = trackers.command(&name, &["get", &code, "--no-lan", "--bind", "127.0.0.1"]);
            command.args(trackers.flags(&[0, 1]));
            let mut getter = Process::start(&name, command);
            if getter.wait().success() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{}", getter.errors());
            std::thread::sleep(Duration::from_millis(500));
        }
        assert!(trackers.output(&name, "file") == bytes);
        trackers.restart(number);
    }
}

#[test]
fn a_tracker_that_does_not_answer_is_named_and_the_others_are_listed() {
    let mut trackers = Trackers::start(2);
    trackers.put("seeder", "file", &noise(1000, 1));
    let mut seeder = trackers.peer("seeder", &[0, 1], &["-S"]);
    seeder.event::<Sharing>();
    [0, 1].into_iter().for_each(|number| trackers.knows(number));
    trackers.all[0].kill();
    let flags = trackers.flags(&[0, 1]);
    let mut ls = Process::start("ls", trackers.command("asks", &["ls", &flags[1], &flags[2], &flags[3]]));
    let line = ls.line("file");
    assert!(line.contains(" 1 "), "its seeder is counted once: {line}");
    ls.ends_with(0);
    let errors = ls.errors();
    let named = format!("The tracker at 127.0.0.1:{} does not answer", trackers.ports[0]);
    assert_eq!(errors.matches(&named).count(), 1, "{errors}");
    // A download succeeds, so nothing is bad.
    let mut doctor = trackers.command("asks", &["doctor", "--json", "--bind=127.0.0.1"]);
    doctor.args(&flags);
    let mut doctor = Process::start("doctor", doctor);
    let silent = doctor.find_event("the one that is silent", |event| {
        Check::from_event(event).filter(|check| check.check == "udp" && check.status != "good")
    });
    assert_eq!(silent.status, "poor", "{silent:?}");
    doctor.ends_with(0);
    trackers.all[1].kill();
    let mut none = Process::start("ls", trackers.command("asks", &["ls", &flags[1], &flags[2], &flags[3]]));
    none.ends_with(3);
}

/// Replicas that were given one key.
#[test]
fn trackers_with_one_key_are_told_apart_and_a_tracker_named_twice_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = tests::tracker();
        command.current_dir(folder.path()).args(["--bind", "127.0.0.1", "-p", "0"]);
        let mut tracker = Process::start("tracker", command);
        let port = tracker.wait_for("its address", testbed::tracker::address).port();
        (tracker, port)
    };
    let ((mut one, first), (_two, second)) = (start(), start());
    let peer = |name: &str, arguments: &[&str]| {
        let here = folder.path().join(name);
        std::fs::create_dir_all(here.join("input")).unwrap();
        std::fs::write(here.join("input/file"), noise(5000, 1)).unwrap();
        let mut command = peer_cli();
        at_home(
            command
                .current_dir(&here)
                .env("P2P_TRACKER_IP", format!("127.0.0.1:{first}, localhost:{first},127.0.0.1:{second}")),
            &here,
        );
        command.args(["-p", "0", "--bind", "127.0.0.1", "--certs=../certs", "--json"]).args(arguments);
        Process::start(name, command)
    };
    let mut seeder = peer("seeder", &["-S"]);
    seeder.event::<Sharing>();
    let mut before = peer("before", &["-f", "file", "--exit-when-done"]);
    completes_unnoticed(&mut before);
    one.kill();
    let mut after = peer("after", &["-f", "file", "--exit-when-done"]);
    completes_unnoticed(&mut after);
}
