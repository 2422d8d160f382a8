//! Standard output that takes nothing: a full disk, a reader that is gone, a closed descriptor. No command ends as if its words had
//! been read, and a reader that has seen enough is no error.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use tests::machines::{Machines, ticket};
use tests::{Swarm, noise};

/// A device that is always full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Runs it with such a standard output; gives its status, and what it says elsewhere.
fn run(mut command: Command, output: Stdio) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// The same with a descriptor that a shell has closed.
fn closed(command: &Command) -> (Option<i32>, String) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    run(shell, Stdio::null())
}

/// Starts it, and closes its standard output behind the first lines.
fn read_and_close(mut command: Command, lines: usize) -> Child {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(output.lines().take(lines).map_while(Result::ok).count(), lines);
    child
}

#[test]
fn a_share_ends_where_its_ticket_cannot_be_shown() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    for flags in [&["-d=0", "file"][..], &["-d=0", "--json", "file"]] {
        let (code, said) = run(machines.command("here", "share", flags), full());
        assert!(code == Some(7) && said.contains("the ticket cannot be shown"), "{flags:?}: {code:?} {said}");
        let (code, said) = closed(&machines.command("here", "share", flags));
        assert!(code == Some(7) && said.contains("standard output is closed"), "{flags:?}: {code:?} {said}");
    }
    // Nobody has read it: that is the end, and no error.
    let child = read_and_close(machines.command("here", "share", &["-d=0", "--json", "file"]), 1);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("peer-cli:"), "{said}");
}

#[test]
fn a_share_whose_ticket_was_read_goes_on_without_its_reader() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(100_000, 1));
    let mut command = machines.command("here", "share", &["-d=0", "file"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ticket = line.split_whitespace().last().unwrap();
    machines.get("there", &[ticket]).ends_with(0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_download_is_complete_and_its_lost_words_are_no_success() {
    let machines = Machines::new();
    let bytes = noise(100_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    for (machine, flags) in [("plain", &[&*ticket][..]), ("json", &[&*ticket, "--json"])] {
        let (code, said) = run(machines.command(machine, "get", flags), full());
        assert!(code == Some(7) && said.contains("the download is complete"), "{machine}: {code:?} {said}");
        assert!(machines.read(machine, "output/file") == bytes);
    }
    // Thrown away on purpose, or no longer read.
    let (code, said) = run(machines.command("there", "get", &[&ticket]), Stdio::null());
    assert_eq!(code, Some(0), "{said}");
    let mut child = read_and_close(machines.command("piped", "get", &[&ticket]), 1);
    assert!(child.wait().unwrap().success());
    assert!(machines.read("piped", "output/file") == bytes);
}

#[test]
fn what_only_says_something_fails_where_it_cannot() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let command = |words: &[&str]| {
        let mut command = tests::peer_cli();
        command.current_dir(machines.folder("here")).args(words);
        testbed::programs::at_home(&mut command, &machines.home("here"));
        command
    };
    for words in
        [&["ls", &*ticket][..], &["inspect", &ticket], &["hash", "file"], &["completions", "bash"], &["--help"]]
    {
        let (code, said) = run(command(words), full());
        assert!(code == Some(7) && said.contains("standard output takes no more"), "{words:?}: {code:?} {said}");
        if words[0] != "--help" {
            let (code, said) = closed(&command(words));
            assert!(code == Some(7) && said.contains("standard output is closed"), "{words:?}: {code:?} {said}");
        }
        let (code, said) = run(command(words), Stdio::null());
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
}

#[test]
fn what_goes_on_ends_quietly_once_nobody_reads() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    for words in [&["watch", "--json"][..], &["watch"], &["ls", "--watch", "--json"], &["ls", "--watch"]] {
        let mut command = tests::peer_cli();
        let place = format!("127.0.0.1:{}", swarm.port);
        command
            .args(words)
            .arg(place)
            .arg("--bind=127.0.0.1")
            .arg("--tracker-id")
            .arg(swarm.tracker_address().id.to_string());
        testbed::programs::at_home(&mut command, &swarm.home("watcher"));
        let mut child = read_and_close(command, 1);
        // Something changes, so that it has something to say.
        let mut peer = swarm.downloader("peer", "file", &["--exit-when-done"]);
        peer.ends_with(0);
        let mut other = swarm.peer("other", &["-f", "file"]);
        let status = child.wait().unwrap();
        assert!(status.success(), "{words:?}: {status:?}");
        other.kill();
    }
    seeder.kill();
}

#[test]
fn a_tracker_goes_on_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tests::tracker();
    command.current_dir(folder.path()).args(["-p0", "--bind=127.0.0.1"]).stdin(Stdio::null()).stdout(full());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    assert!(first.contains("It goes on without"), "{first}");
    assert!(child.try_wait().unwrap().is_none(), "it runs");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success() && said.next().is_none());
}
