//! Downloads stopped early never end with status 0. And what is read from standard input, and what is not.

#[cfg(unix)]
use std::io::Write;
#[cfg(unix)]
use std::process::Stdio;
#[cfg(unix)]
use std::time::Duration;

use testbed::event::{Bye, Error, Manifest};
#[cfg(unix)]
use testbed::event::{Completed, Ready, Ticket, Waiting};
#[cfg(unix)]
use tests::Swarm;
use tests::machines::{Machines, ticket};
use tests::{Process, noise};

const MIB: usize = 1 << 20;

/// Someone who shares a file of 8 MiB at 1 MiB a second, and its ticket.
fn slow_share(machines: &Machines) -> (Process, String) {
    machines.put("here", "file", &noise(8 * MIB, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=16KiB", "--up-rate=1MiB", "file"]);
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

#[test]
fn get_that_is_told_to_exit_is_11_and_goes_on_where_it_was() {
    let machines = Machines::new();
    let (_sharer, ticket) = slow_share(&machines);
    let mut get = machines.get("there", &[&ticket, "--json", "--commands"]);
    get.pieces(8);
    get.type_line("exit");
    let error = get.event::<Error>();
    assert_eq!(error.code, 11);
    assert!(error.message.contains("before it was complete"), "{error:?}");
    get.event::<Bye>();
    get.ends_with(11);
    let mut again = machines.get("there", &[&ticket, "--json", "--commands"]);
    assert!(again.event::<Manifest>().have >= 8);
    again.type_line("exit");
    again.ends_with(11);
}

#[cfg(unix)]
#[test]
fn get_that_is_stopped_by_a_signal_has_its_status() {
    let machines = Machines::new();
    let (_sharer, ticket) = slow_share(&machines);
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut get = machines.get("there", &[&ticket, "--json"]);
        get.pieces(1);
        get.signal(signal);
        assert_eq!(i32::from(get.event::<Error>().code), code);
        get.event::<Bye>();
        get.ends_with(code);
    }
}

/// It has not written all of it, however much has come.
#[cfg(unix)]
#[test]
fn get_to_standard_output_that_is_stopped_is_not_complete() {
    let machines = Machines::new();
    let (_sharer, ticket) = slow_share(&machines);
    let mut command = machines.command("there", "get", &[&ticket, "-o", "-"]);
    let mut get = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The first byte has come.
    std::io::Read::read_exact(get.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let kill = std::process::Command::new("kill").arg("-TERM").arg(get.id().to_string()).status();
    assert!(kill.unwrap().success());
    let output = get.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(output.stdout.len() < 8 * MIB && said.contains("only a part"), "{said}");
}

#[cfg(unix)]
#[test]
fn get_that_is_complete_and_shares_on_is_0_however_it_ends() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(10_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    for signal in ["TERM", "INT", "HUP"] {
        let mut get = machines.get(signal, &[&ticket, "--json", "--seed-for=forever"]);
        get.event::<Completed>();
        // The start is over when that is said on.
        get.pieces(1);
        get.signal(signal);
        get.ends_with(0);
    }
    for signal in ["TERM", "INT", "HUP"] {
        let mut sharer = machines.share(signal, &["-d=0", "../here/file"]);
        sharer.event::<Ticket>();
        sharer.signal(signal);
        sharer.ends_with(0);
    }
}

/// The original's way: only with `--exit-when-done` is there something to complete.
#[cfg(unix)]
#[test]
fn of_several_downloads_each_counts_with_exit_when_done() {
    let swarm = Swarm::new();
    swarm.put("seeder", "small", &noise(1000, 1));
    swarm.put("seeder", "large", &noise(8 * MIB, 2));
    let _seeder = swarm.seeder("seeder", 2, &["--piece-size=16KiB", "--up-rate=1MiB"]);
    for (flags, exit, terminate) in [(&["--exit-when-done"][..], 11, 143), (&[], 0, 0)] {
        let arguments = [&["-f", "small", "-f", "large", "--json"][..], flags].concat();
        let mut peer = swarm.peer("peer", &arguments);
        peer.event::<Completed>();
        peer.type_line("exit");
        peer.ends_with(exit);
        let mut peer = swarm.peer("peer", &arguments);
        peer.event::<Completed>();
        peer.signal("TERM");
        peer.ends_with(terminate);
    }
}

/// While nobody has it yet, or before the tracker answers, nothing is there either.
#[cfg(unix)]
#[test]
fn get_that_waits_for_a_sharer_is_not_complete() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    let (port, certs) = (swarm.port.to_string(), swarm.certs());
    let flags = ["-i=127.0.0.1", "-d", &port, "--certs", certs.to_str().unwrap(), "--json", "--wait=1h", "nothing"];
    let mut get = machines.get("there", &flags);
    get.event::<Ready>();
    assert!(get.event::<Waiting>().reason.contains("for 1h at most"));
    get.signal("TERM");
    get.ends_with(143);
    swarm.tracker.signal("STOP");
    let mut get = machines.get("there", &[&flags[..], &["--commands"]].concat());
    get.type_line("exit");
    get.ends_with(11);
    swarm.tracker.signal("CONT");
}

/// A script reads tickets line by line, and gets each.
#[cfg(unix)]
#[test]
fn a_loop_over_a_list_keeps_its_lines() {
    let machines = Machines::new();
    let names = ["a", "b", "c"];
    names.iter().zip(1..).for_each(|(name, seed)| machines.put("here", name, &noise(100_000, seed)));
    let mut sharer = machines.share("here", &["-d=0", "a", "b", "c"]);
    let tickets: Vec<_> = names.iter().map(|_| ticket(&mut sharer) + "\n").collect();
    let peer = tests::peer_cli().get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    let script = "while read -r ticket; do \"$0\" get --bind=127.0.0.1 \"$ticket\" || exit; done";
    shell.arg("-c").arg(script).arg(peer).current_dir(machines.folder("there")).stdin(Stdio::piped());
    testbed::programs::without_settings(&mut shell);
    testbed::programs::at_home(&mut shell, &machines.home("there"));
    let mut shell = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(tickets.concat().as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    for name in names {
        assert!(machines.read("there", name) == machines.read("here", name), "{name}");
    }
}

/// What is typed into a share, or a tracker, that was not asked to listen is not for it.
#[cfg(unix)]
#[test]
fn commands_are_read_from_a_pipe_only_when_asked_for() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = Process::start("here", machines.command("here", "share", &["-d=0", "--json", "file"]));
    let ticket = ticket(&mut sharer);
    sharer.type_line("exit");
    machines.get("there", &[&ticket]).ends_with(0);
    sharer.signal("TERM");
    sharer.ends_with(0);
    let mut swarm = Swarm::new();
    swarm.tracker.type_line("exit");
    swarm.put("seeder", "file", b"bytes");
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    seeder.type_line("exit");
    seeder.ends_with(0);
    swarm.restart_tracker_with(&["--commands"]);
    swarm.tracker.type_line("exit");
    swarm.tracker.ends_with(0);
}

/// What a script runs in the background ignores `SIGINT`: Ctrl-C is meant for what is in the foreground.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_for_the_foreground_ends_nothing_in_the_background_of_a_script() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(2 * MIB, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=16KiB", "--up-rate=1MiB", "file"]);
    let inner = machines.command("there", "get", &["--json", &ticket(&mut sharer)]);
    let mut shell = std::process::Command::new("sh");
    let script = "\"$0\" \"$@\" & echo pid $!; wait $!";
    shell.arg("-c").arg(script).arg(inner.get_program()).args(inner.get_args());
    shell.current_dir(machines.folder("there")).env_remove("RUST_LOG");
    let mut get = Process::start("there", shell);
    let pid = get.line("pid ").trim_start_matches("pid ").to_owned();
    get.pieces(1);
    let told = std::process::Command::new("kill").args(["-INT", &pid]).status();
    assert!(told.unwrap().success());
    get.event::<Completed>();
    get.ends_with(0);
}

/// Time in which a job is stopped is no time in which anyone could answer.
#[cfg(target_os = "linux")]
#[test]
fn a_get_that_is_stopped_for_longer_than_it_waits_goes_on_waiting() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    sharer.kill();
    let mut get = machines.get("there", &[&ticket, "--json", "--wait=4s"]);
    get.event::<Waiting>();
    get.signal("STOP");
    std::thread::sleep(Duration::from_secs(5));
    let port = ticket.parse::<protocol::Ticket>().unwrap().addresses()[0].port().to_string();
    let mut sharer = machines.share("here", &["-d", &port, "file"]);
    sharer.event::<Ticket>();
    get.signal("CONT");
    get.ends_with(0);
}

/// A full pipe blocks its writer; a signal must still end the program.
#[cfg(unix)]
#[test]
fn a_signal_ends_a_program_whose_output_nobody_reads() {
    let machines = Machines::new();
    machines.put("here", "folder/file", b"bytes");
    // Each is left out, and that is an event of more than a hundred bytes.
    for number in 0..2000 {
        let link = machines.folder("here").join(format!("folder/a-link-to-nothing-{number}-{}", "x".repeat(60)));
        std::os::unix::fs::symlink("/nothing/there", link).unwrap();
    }
    let mut share = machines.command("here", "share", &["-d=0", "--json", "folder"]);
    let mut share = share.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let unread = share.stdout.take();
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..60 {
        if let Some(status) = share.try_wait().unwrap() {
            assert!([Some(0), Some(143)].contains(&status.code()), "{status}");
            return;
        }
        let told = std::process::Command::new("kill").args(["-TERM", &share.id().to_string()]).status();
        assert!(told.unwrap().success());
        std::thread::sleep(Duration::from_millis(500));
    }
    share.kill().unwrap();
    drop(unread);
    panic!("it hears nothing");
}

/// The same of a log that nobody reads.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_tracker_whose_log_nobody_reads() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let machines = Machines::new();
    let (unread, mut log) = std::io::pipe().unwrap();
    let mut command = tests::tracker();
    command.current_dir(machines.folder("here")).args(["--bind=127.0.0.1", "-p=0", "--log-level=trace"]);
    let mut tracker =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().unwrap()).spawn().unwrap();
    drop(command);
    let mut said = std::io::BufReader::new(tracker.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("On another machine:") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0, "it ended");
    }
    // The pipe fills up, and the next line that is logged waits.
    let flags = fcntl_getfl(&log).unwrap();
    fcntl_setfl(&log, flags | OFlags::NONBLOCK).unwrap();
    while log.write(&[b'x'; 512]).is_ok() {}
    while log.write(b"x").is_ok() {}
    fcntl_setfl(&log, flags).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let at = |flag| words[words.iter().position(|word| *word == flag).unwrap() + 1];
    let mut asks = tests::peer_cli();
    asks.current_dir(machines.folder("there")).args(["ls", "-i=127.0.0.1", "-d", at("-d"), "--tracker-id"]);
    let _asks = Process::start("ls", {
        asks.arg(at("--tracker-id"));
        asks
    });
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..60 {
        if let Some(status) = tracker.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        let told = std::process::Command::new("kill").args(["-TERM", &tracker.id().to_string()]).status();
        assert!(told.unwrap().success());
        std::thread::sleep(Duration::from_millis(500));
    }
    tracker.kill().unwrap();
    drop(unread);
    panic!("it hears nothing");
}
