//! `peer-cli get -o -`: a file to standard output, for whatever program comes next.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tests::machines::{Machines, ticket};
use tests::{Process, noise};

/// `get` to standard output, with a folder of its own for what is temporary.
fn get(machines: &Machines, ticket: &str, flags: &[&str]) -> Command {
    let mut command = machines.command("there", "get", &[ticket, "-o", "-"]);
    command.args(flags).env("TMPDIR", temporary(machines)).stdin(Stdio::null());
    command
}

fn temporary(machines: &Machines) -> std::path::PathBuf {
    machines.folder("temporary")
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_goes_to_standard_output_and_words_do_not() {
    let machines = Machines::new();
    for (name, len) in [("large", 9 << 20), ("small", 5), ("empty", 0)] {
        let bytes = noise(len, len as u64);
        machines.put("here", name, &bytes);
        let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", name]);
        let ticket = ticket(&mut sharer);
        for flags in [&["--storage=mmap"][..], &["--storage=file"], &["--storage=memory"], &["--json"], &["--quiet"]] {
            let output = get(&machines, &ticket, flags).output().unwrap();
            assert!(output.status.success(), "{name} {flags:?}: {}", errors(&output));
            assert!(output.stdout == bytes, "{name} {flags:?}: {} bytes came", output.stdout.len());
            match flags[0] {
                "--quiet" => assert_eq!(errors(&output), ""),
                "--json" => assert!(errors(&output).contains(r#""path":"-""#), "{}", errors(&output)),
                _ => assert!(errors(&output).contains("→ standard output"), "{}", errors(&output)),
            }
            assert!(is_empty(&temporary(&machines)), "nothing temporary stays");
            assert!(!machines.folder("there").join("output").exists(), "and nothing is put into a folder");
        }
    }
}

/// It once came, left with the manifest and came again, and was said to have left with nothing.
#[test]
fn who_takes_it_so_is_said_to_have_all_of_it() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(2_900_000, 1));
    let mut sharer = Process::start("here", machines.command("here", "share", &["-d=0", "--no-code", "file"]));
    let line = sharer.line("peer-cli get ");
    let ticket = line.split(' ').next_back().unwrap();
    for _ in 0..8 {
        let output = get(&machines, ticket, &[]).output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        sharer.line("has all of file");
    }
}

/// Until `len` bytes have come.
fn read(child: &mut Child, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn who_stops_reading_ends_it_quietly() {
    let machines = Machines::new();
    let bytes = noise(8 << 20, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut getter =
        get(&machines, &ticket, &["--quiet"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(read(&mut getter, 1000) == bytes[..1000]);
    drop(getter.stdout.take());
    let output = getter.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{:?} {}", output.status, errors(&output));
    assert!(is_empty(&temporary(&machines)));
}

#[test]
fn a_reader_that_does_not_read_is_named() {
    let machines = Machines::new();
    let bytes = noise(2 << 20, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut getter =
        get(&machines, &ticket, &["--no-progress"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(getter.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
    assert!(lines.into_iter().any(|line| line.contains("reads standard output is slow")), "it ended");
    let mut all = Vec::new();
    getter.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert!(all == bytes && getter.wait().unwrap().success());
}

#[test]
fn what_a_killed_one_left_is_gone_after_the_next() {
    let machines = Machines::new();
    let bytes = noise(8 << 20, 3);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    // It waits for its reader, and is killed then.
    let mut killed = get(&machines, &ticket, &["--quiet"]).stdout(Stdio::piped()).spawn().unwrap();
    read(&mut killed, 1000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!is_empty(&temporary(&machines)), "a program that is killed cannot remove its folder");

    let mut running = get(&machines, &ticket, &["--quiet"]).stdout(Stdio::piped()).spawn().unwrap();
    read(&mut running, 1000);
    let folders = std::fs::read_dir(temporary(&machines)).unwrap().count();
    assert_eq!(folders, 1, "the next removes it and has its own");

    let output = get(&machines, &ticket, &["--quiet"]).output().unwrap();
    assert!(output.status.success() && output.stdout == bytes, "{}", errors(&output));
    let mut rest = Vec::new();
    running.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
    assert!(rest == bytes[1000..], "one that runs is left alone");
    assert!(running.wait().unwrap().success());
    assert!(is_empty(&temporary(&machines)));
}

#[test]
fn a_folder_is_refused_before_it_comes() {
    let machines = Machines::new();
    machines.put("here", "folder/file", &noise(1 << 20, 2));
    let mut sharer = machines.share("here", &["-d=0", "folder"]);
    let output = get(&machines, &ticket(&mut sharer), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && errors(&output).contains("is a folder"), "{}", errors(&output));
    assert!(is_empty(&temporary(&machines)));
}

/// The system puts the null device in its place, which takes everything.
#[cfg(unix)]
#[test]
fn a_closed_standard_output_is_7() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let inner = get(&machines, &ticket(&mut sharer), &["--quiet"]);
    let run = |redirection: &str| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")])
            .arg(inner.get_program())
            .args(inner.get_args());
        shell.current_dir(machines.folder("there")).env("TMPDIR", temporary(&machines)).stdin(Stdio::null());
        shell.output().unwrap()
    };
    let output = run(">&-");
    assert_eq!(output.status.code(), Some(7), "{}", errors(&output));
    assert!(errors(&output).contains("standard output is closed"), "{}", errors(&output));
    for others in [">&- 2>&-", "<&- >&- 2>&-"] {
        assert_eq!(run(others).status.code(), Some(7), "{others}");
    }
    // As shells open the null device, and as Python and Node do.
    for thrown in ["> /dev/null", "> /dev/null 2>&1", "1<> /dev/null", "1<> /dev/null 2<> /dev/null"] {
        let output = run(thrown);
        assert!(output.status.success(), "{thrown} is no error: {}", errors(&output));
    }
}

/// It once waited for a reader of the pipe for ever.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_lock_is_refused() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let lock = machines.folder("there").join(".file.lock");
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    machines.get("there", &[&ticket, "-o", "."]).ends_with(7);
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_text_and_nothing_else() {
    use tests::terminal::Terminal;
    let machines = Machines::new();
    machines.put("here", "letter.txt", "Grüße\n".as_bytes());
    machines.put("here", "program", b"\x7fELF\0\x01");
    let mut sharer = machines.share("here", &["-d=0", "letter.txt", "program"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    let mut terminal = Terminal::start(&mut get(&machines, &tickets[0], &[]));
    terminal.shows("Grüße");
    terminal.ends_with(0);
    let mut terminal = Terminal::start(&mut get(&machines, &tickets[1], &[]));
    terminal.shows("standard output is a terminal, and this is no text");
    terminal.ends_with(2);
}
