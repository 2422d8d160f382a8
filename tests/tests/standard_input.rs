//! `peer-cli share -`: what another program writes is shared once all of it has come, and nothing of it stays behind.

use std::fs;
#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io::Read;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use testbed::event::{Event, Sharing, Ticket};
use tests::machines::Machines;
use tests::noise;

/// `share -`, with a folder of its own for what is temporary.
fn share(machines: &Machines, flags: &[&str]) -> Command {
    let mut command = machines.command("here", "share", &["--json", "-d=0", "-"]);
    command.args(flags).env("TMPDIR", temporary(machines));
    command.env("TMP", temporary(machines)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn temporary(machines: &Machines) -> std::path::PathBuf {
    machines.folder("temporary")
}

fn is_empty(machines: &Machines) -> bool {
    fs::read_dir(temporary(machines)).unwrap().next().is_none()
}

/// What is shared, and its ticket.
fn shared(sharer: &mut Child) -> (Sharing, String) {
    let (mut sharing, mut lines) = (None, BufReader::new(sharer.stdout.take().unwrap()).lines());
    loop {
        let line = lines.next().expect("it goes on").unwrap();
        match testbed::event::read(&line).unwrap() {
            Event::Sharing(event) => sharing = Some(event),
            Event::Ticket(Ticket { ticket, .. }) => return (sharing.expect("it is said before"), ticket),
            _ => {}
        }
    }
}

fn get(machines: &Machines, ticket: &str) -> Output {
    let mut command = machines.command("there", "get", &[ticket, "-o", "-"]);
    command.env("TMPDIR", temporary(machines)).env("TMP", temporary(machines)).stdin(Stdio::null()).output().unwrap()
}

fn ends(mut command: Command, code: i32) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    errors
}

#[test]
fn an_archive_goes_from_one_pipe_into_another() {
    let machines = Machines::new();
    machines.put("here", "folder/a.bin", &noise(700_000, 1));
    machines.put("here", "folder/deep/b.txt", b"text");
    let mut tar = Command::new("tar");
    let tar = tar.current_dir(machines.folder("here")).args(["cf", "-", "folder"]).stdout(Stdio::piped()).spawn();
    let mut tar = tar.unwrap();
    let mut command = share(&machines, &["--name", "folder.tar"]);
    let mut sharer = command.stdin(tar.stdout.take().unwrap()).spawn().unwrap();
    let (sharing, ticket) = shared(&mut sharer);
    tar.wait().unwrap();
    assert_eq!(sharing.name, "folder.tar");
    let output = get(&machines, &ticket);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let into = machines.folder("there");
    let mut unpack = Command::new("tar").current_dir(&into).args(["xf", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    unpack.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    assert!(unpack.wait().unwrap().success());
    assert!(machines.read("there", "folder/a.bin") == noise(700_000, 1));
    assert_eq!(machines.read("there", "folder/deep/b.txt"), b"text");
    sharer.kill().unwrap();
    sharer.wait().unwrap();
}

#[test]
fn nothing_is_shared_before_all_has_come_and_nothing_stays() {
    let machines = Machines::new();
    let mut sharer = share(&machines, &[]).spawn().unwrap();
    let bytes = noise(5_000_001, 7);
    let mut input = sharer.stdin.take().unwrap();
    input.write_all(&bytes[..3_000_000]).unwrap();
    assert!(!is_empty(&machines), "it waits there");
    let hashed = machines.folder("here").join("hashes");
    assert!(!hashed.join("stdin.manifest").exists());
    input.write_all(&bytes[3_000_000..]).unwrap();
    drop(input);
    let (sharing, ticket) = shared(&mut sharer);
    assert_eq!((sharing.name.as_str(), sharing.size), ("stdin", 5_000_001));
    let output = get(&machines, &ticket);
    assert!(output.status.success() && output.stdout == bytes, "{}", String::from_utf8_lossy(&output.stderr));
    // The same as a file of these bytes and this name would be.
    machines.put("file", "stdin", &bytes);
    let mut file = machines.share("file", &["-d=0", "stdin"]);
    assert_eq!(file.event::<Sharing>().content, sharing.content);
    #[cfg(unix)]
    {
        let pid = sharer.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(sharer.wait().unwrap().code(), Some(0), "Ctrl-C is a normal end");
        assert!(is_empty(&machines));
    }
    let _ = sharer.kill();
    sharer.wait().unwrap();
}

#[test]
fn what_was_killed_is_removed_by_the_next_start() {
    let machines = Machines::new();
    let mut sharer = share(&machines, &[]).spawn().unwrap();
    let mut input = sharer.stdin.take().unwrap();
    input.write_all(&noise(2_000_000, 7)).unwrap();
    while is_empty(&machines) {
        std::thread::yield_now();
    }
    sharer.kill().unwrap();
    sharer.wait().unwrap();
    drop(input);
    assert!(!is_empty(&machines), "killed, it could not take it away");
    machines.put("here", "a.bin", b"bytes");
    let mut next = machines.command("here", "share", &["--json", "-d=0", "a.bin"]);
    next.env("TMPDIR", temporary(&machines)).env("TMP", temporary(&machines));
    let mut next = next.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    shared(&mut next);
    assert!(is_empty(&machines));
    next.kill().unwrap();
    next.wait().unwrap();
}

#[test]
fn what_cannot_be_shared_is_said_in_a_sentence() {
    let machines = Machines::new();
    let errors = ends(share(&machines, &[]), 4);
    assert!(errors.contains("ended before a byte came"), "{errors}");
    assert!(is_empty(&machines));
    let errors = ends(share(&machines, &["--name", "../x"]), 2);
    assert!(errors.contains("--name"), "{errors}");
    ends(share(&machines, &["-"]), 2);
    ends(share(&machines, &["--commands"]), 2);
    machines.put("here", "a.bin", b"bytes");
    let named = machines.command("here", "share", &["-d=0", "a.bin", "--name", "b.bin"]);
    let errors = ends(named, 2);
    assert!(errors.contains("--name is for standard input"), "{errors}");
    // More than the disk may take.
    let mut command = share(&machines, &["--keep-free=1EiB"]);
    let mut sharer = command.spawn().unwrap();
    let _ = sharer.stdin.take().unwrap().write_all(&noise(100_000, 1));
    let output = sharer.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{errors}");
    assert!(errors.contains("Make room"), "{errors}");
    assert!(is_empty(&machines));
}

#[cfg(unix)]
#[test]
fn a_pipe_as_a_path_is_refused_and_told_what_to_do() {
    let machines = Machines::new();
    let fifo = machines.folder("here").join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let errors = ends(machines.command("here", "share", &["-d=0", "fifo"]), 2);
    assert!(errors.contains("is a pipe") && errors.contains("share - --name"), "{errors}");
    let mut command = machines.command("here", "share", &["-d=0", "/dev/stdin"]);
    let mut sharer = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = String::new();
    sharer.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(sharer.wait().unwrap().code(), Some(2), "{errors}");
}

/// What a kernel makes when it is read says of its size what it likes: a file in /sys of two bytes was taken for one that somebody writes
/// to, and one in /proc for an empty one.
#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_on_a_disk_is_not_hashed() {
    let machines = Machines::new();
    for (path, said) in [
        ("-", "hash takes no standard input: name a file"),
        ("/dev/null", "/dev/null is a device: copy what it gives into a file, and hash that"),
        (
            "/proc/self/mem",
            "/proc/self/mem does not say how large it is: copy what it gives into a file, and hash that",
        ),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "does not say how large it is: copy"),
    ] {
        if path != "-" && !std::path::Path::new(path).exists() {
            continue;
        }
        let mut hash = tests::peer_cli();
        hash.current_dir(machines.folder("here")).args(["hash", path]);
        let errors = ends(hash, 2);
        assert!(errors.contains(said), "{path}: {errors}");
    }
    let errors = ends(machines.command("here", "share", &["-d=0", "/proc/self/net"]), 1);
    assert!(errors.contains("its size is not known before it is read"), "{errors}");
    assert!(!machines.folder("here").join("hashes").exists());
}

/// A folder cannot be read as bytes: as a disk that fails in the middle.
#[cfg(unix)]
#[test]
fn input_that_ends_in_an_error_is_not_shared() {
    let machines = Machines::new();
    let folder = File::open(temporary(&machines)).unwrap();
    let mut command = share(&machines, &[]);
    let output = command.stdin(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("Nothing of it is shared"), "{errors}");
    assert!(is_empty(&machines));
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_nobodys_content() {
    let machines = Machines::new();
    let mut terminal = tests::terminal::Terminal::start(&mut machines.command("here", "share", &["-d=0", "-"]));
    terminal.shows("standard input is a terminal");
}
