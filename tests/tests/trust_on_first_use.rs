//! A tracker that is named by its host alone: its id is read, shown, confirmed and kept, and any other is refused.

use std::process::{Command, Output, Stdio};

use testbed::programs::at_home;
use tests::{Process, Swarm, noise};

/// `peer-cli` where no tracker is known.
fn ask(swarm: &Swarm, words: &[&str]) -> Command {
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("asker")).args(words).arg("--bind=127.0.0.1");
    at_home(&mut command, &swarm.home("asker"));
    command
}

fn run(swarm: &Swarm, words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = ask(swarm, words).stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

fn id(swarm: &Swarm) -> String {
    swarm.tracker_address().id.to_string()
}

/// Everything that was kept of trackers.
fn known(swarm: &Swarm) -> String {
    fn look(folder: &std::path::Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => look(&path, found),
                path if path.ends_with("known-trackers") => found.push_str(&std::fs::read_to_string(path).unwrap()),
                _ => {}
            }
        }
    }
    let mut found = String::new();
    look(&swarm.home("asker"), &mut found);
    found
}

#[test]
fn without_a_terminal_the_line_to_paste_is_given_and_nothing_is_kept() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(1000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let (place, port, id) = (format!("127.0.0.1:{}", swarm.port), swarm.port.to_string(), id(&swarm));
    let cases: [&[&str]; 5] = [
        &["ls", &place],
        &["inspect", "file", "-i", "127.0.0.1", "-d", &port],
        &["get", "file", "-i", "127.0.0.1", "-d", &port],
        &["ls", &place, "--transport=tcp"],
        &["ls", &place, "--transport=quic"],
    ];
    for words in cases {
        let (code, out, errors) = run(&swarm, words);
        assert_eq!((code, &*out), (Some(2), ""), "{words:?}: {errors}");
        assert!(
            errors.lines().count() == 1 && errors.trim_end().ends_with(&format!("--tracker-id {id}")),
            "{words:?}: {errors}"
        );
        let paste = ["--tracker-id", &id];
        let (code, _, errors) = run(&swarm, &[words, &paste].concat());
        assert_eq!(code, Some(0), "{words:?}: {errors}");
    }
    assert_eq!(known(&swarm), "");
    // What is to be shared is not begun either.
    swarm.put("asker", "x", b"x");
    let (code, _, errors) = run(&swarm, &["share", "input/x", "-i", "127.0.0.1", "-d", &port]);
    assert!(code == Some(2) && errors.contains(&format!("--tracker-id {id}")), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_the_id_is_shown_confirmed_and_kept() {
    use tests::terminal::Terminal;
    let swarm = Swarm::new();
    let (place, id) = (format!("127.0.0.1:{}", swarm.port), id(&swarm));
    let answered = |answer: &str| {
        let mut terminal = Terminal::start(&mut ask(&swarm, &["ls", &place]));
        let shown = terminal.shows("(yes or no)? ");
        assert!(shown.contains(&id) && shown.contains(&place), "{shown}");
        terminal.press(answer);
        terminal
    };
    for no in ["no\r", "\r", "maybe\r"] {
        let mut terminal = answered(no);
        if no != "no\r" {
            terminal.shows("Please type yes, or no, ");
            terminal.press("yesterday\r");
        }
        terminal.shows("is not trusted: nothing was said to it");
        terminal.ends_with(11);
    }
    assert_eq!(known(&swarm), "");
    let mut terminal = answered("maybe\r");
    terminal.shows("Please type yes, or no, ");
    terminal.press("yes\r");
    terminal.shows("Nobody shares anything.");
    terminal.ends_with(0);
    assert!(known(&swarm).ends_with(&format!("\n{place} {id}\n")), "{}", known(&swarm));
    // From now on nobody is asked, terminal or not.
    let (code, out, errors) = run(&swarm, &["ls", &place]);
    assert_eq!((code, &*out), (Some(0), "Nobody shares anything.\n"), "{errors}");
}

/// Commands that hear Ctrl-C themselves, and do not leave the end of the line to the shell.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_at_the_question_ends_its_line() {
    use tests::terminal::{CTRL_C, Terminal};
    let swarm = Swarm::new();
    let place = format!("127.0.0.1:{}", swarm.port);
    for (words, code) in
        [(&["ls", "--watch", &place][..], 0), (&["watch", &place], 0), (&["doctor", "-i", &place], 130)]
    {
        let mut terminal = Terminal::controlling(&ask(&swarm, words), 80, 24);
        terminal.shows("(yes or no)? ");
        terminal.press(CTRL_C);
        let rest = terminal.ends_with(code);
        assert!(rest.contains("^C\r\n"), "{words:?}: {rest:?}");
        assert!(!terminal.lines().iter().any(|line| line.contains("^Cpeer-cli")), "{:#?}", terminal.lines());
        assert_eq!(known(&swarm), "");
    }
}

#[cfg(unix)]
fn keep(swarm: &Swarm, line: &str) {
    let folder = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/state" };
    let folder = swarm.home("asker").join(folder).join("p2p-fileshare");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("known-trackers"), format!("# mine\n{line}\n")).unwrap();
}

#[cfg(unix)]
#[test]
fn a_changed_id_is_refused_loudly_with_what_to_do() {
    let swarm = Swarm::new();
    let (place, port, id) = (format!("127.0.0.1:{}", swarm.port), swarm.port.to_string(), id(&swarm));
    let before = "ab".repeat(32);
    keep(&swarm, &format!("{place} {before}"));
    for words in [&["ls", &place][..], &["get", "file", "-i", "127.0.0.1", "-d", &port]] {
        let (code, _, errors) = run(&swarm, words);
        assert_eq!(code, Some(3), "{errors}");
        let says = |text: &str| errors.contains(text);
        assert!(says("IS NOT THE ONE IT WAS") && says(&before) && says(&id), "{errors}");
        assert!(says("remove line 2 of ") && says("known-trackers"), "{errors}");
    }
    // What is known right is taken, and says nothing.
    keep(&swarm, &format!("{place} {id}"));
    assert_eq!(run(&swarm, &["ls", &place]).0, Some(0));
    // A list that cannot be read is no empty one.
    keep(&swarm, "\0");
    std::fs::write(swarm.home("asker").join(".local/state/p2p-fileshare/known-trackers"), [0xff, 0xfe]).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(run(&swarm, &["ls", &place]).0, Some(7));
    }
}

/// As the original has it.
#[test]
fn a_certificate_in_certs_says_who_the_tracker_is() {
    let swarm = Swarm::new();
    let place = format!("127.0.0.1:{}", swarm.port);
    let certs = swarm.folder("asker").join("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::copy(swarm.certs().join("tracker.pem"), certs.join("tracker.pem")).unwrap();
    let (code, _, errors) = run(&swarm, &["ls", &place]);
    assert_eq!(code, Some(0), "{errors}");
    let other = Swarm::new();
    std::fs::copy(other.certs().join("tracker.pem"), certs.join("tracker.pem")).unwrap();
    let (code, _, errors) = run(&swarm, &["ls", &place]);
    assert!(code == Some(3) && errors.contains("somebody else answers"), "{errors}");
}

#[test]
fn the_tracker_of_an_own_share_is_known() {
    let swarm = Swarm::new();
    swarm.put("asker", "file", b"bytes");
    let mut command = ask(&swarm, &["share", "--open", "-d=0", "--json", "--commands", "input/file"]);
    let mut sharer = Process::start("sharer", {
        command.env("RUST_LOG", "error");
        command
    });
    let ticket: protocol::Ticket = tests::machines::ticket(&mut sharer).parse().unwrap();
    let (code, out, errors) = run(&swarm, &["ls", &ticket.addresses()[0].to_string()]);
    assert!(code == Some(0) && out.contains("file"), "{errors}");
}

/// Someone who takes the connection and never says a word, over either transport.
#[test]
fn a_tracker_that_stalls_is_given_up() {
    let swarm = Swarm::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _socket = std::net::UdpSocket::bind(address).unwrap();
    let (code, _, errors) = run(&swarm, &["ls", &address.to_string()]);
    assert!(code == Some(3) && errors.contains("cannot be reached"), "{errors}");
}

/// A host with two addresses, and a tracker of its own at each.
#[test]
fn two_trackers_at_one_host_are_told_apart() {
    use std::net::ToSocketAddrs;
    let swarm = Swarm::new();
    let has = |four: bool| {
        ("localhost", swarm.port).to_socket_addrs().is_ok_and(|mut found| found.any(|at| at.is_ipv4() == four))
    };
    if !has(true) || !has(false) || std::net::UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let mut command = tests::tracker();
    command.current_dir(swarm.folder("other")).args(["--bind", "::1", "-p"]).arg(swarm.port.to_string());
    let mut other = Process::start("tracker", command);
    let other_id = other.line("Tracker id: ").rsplit(' ').next().unwrap().to_owned();
    let (code, _, errors) = run(&swarm, &["ls", &format!("localhost:{}", swarm.port)]);
    assert!(code == Some(2) && errors.contains(&other_id) && errors.contains(&id(&swarm)), "{errors}");
    // Each of them is somebody.
    let (code, _, errors) = run(&swarm, &["ls", &format!("[::1]:{}", swarm.port), "--tracker-id", &other_id]);
    assert_eq!(code, Some(3), "it is bound to IPv4: {errors}");
}
