//! What people do with a ticket: draw it, give it to every command, and put something behind it.

use testbed::event::Ready;
use tests::machines::{Machines, ticket};
#[cfg(target_os = "linux")]
use tests::terminal::Terminal;
use tests::{Process, noise};

#[cfg(target_os = "linux")]
#[test]
fn a_qr_code_is_drawn_whole_or_not_at_all() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let share = |columns| {
        let mut command = machines.command("here", "share", &["-d=0", "--qr", "file"]);
        Terminal::sized(&mut command, columns, 50)
    };
    let mut wide = share(100);
    wide.shows("Sharing file");
    let lines = wide.lines();
    assert!(lines.iter().all(|line| !line.contains("\\u{")), "{lines:#?}");
    let drawn: Vec<_> = lines.iter().filter(|line| line.contains('\u{2588}')).collect();
    assert!(drawn.len() >= 18 && drawn.iter().all(|line| line.chars().count() == 37), "{lines:#?}");
    let mut narrow = share(30);
    let said = narrow.shows("Sharing file");
    assert!(said.contains("The QR code needs 37 columns") && !said.contains('\u{2588}'), "{said:?}");
}

#[test]
fn what_stands_behind_a_ticket_is_not_passed_over() {
    let machines = Machines::new();
    machines.put("here", "one", &noise(5_000, 1));
    machines.put("here", "two", &noise(5_000, 2));
    let mut sharer = machines.share("here", &["-d=0", "one", "two"]);
    let (one, two) = (ticket(&mut sharer), ticket(&mut sharer));
    for (behind, sentence) in [
        (&*two, "these are 2 tickets. Give each to a `peer-cli get` of its own"),
        ("/tmp/folder", "is no part of the ticket"),
        ("folder", "is no part of the ticket"),
        ("7-violin-tadpole", "these are a ticket and a code. Give each to a `peer-cli get` of its own"),
    ] {
        let mut getter = machines.get("there", &["get", &one, behind]);
        getter.ends_with(2);
        assert!(getter.errors().contains(sentence), "{}", getter.errors());
    }
    for text in [
        format!("{one}\n{one}\nthat is all"),
        format!("peer-cli get {one}\nOr, for an hour: peer-cli get -i host 7-violin-tadpole"),
    ] {
        machines.get("there", &[&text]).ends_with(0);
    }
    machines.get("there", &["peer-cli", "get", &one, &one, "."]).ends_with(0);
    assert!(machines.read("there", "output/one") == noise(5_000, 1));
}

/// Whatever they are joined by, no command takes the first of them alone. `add` and `gateway` have tests of their own.
#[test]
fn two_tickets_in_one_word_are_refused() {
    let machines = Machines::new();
    let [one, two] = [1, 2].map(|secret| {
        let tracker = protocol::PeerId::of_public_key(&[7]);
        let addresses = vec!["192.0.2.2:9999".parse().unwrap()];
        protocol::Ticket::private(tracker, addresses, protocol::Secret::new([secret; 16]), None).unwrap()
    });
    let apart = |command: &str| format!("these are 2 tickets. Give each to a `peer-cli {command}` of its own");
    let commands = [
        ("get", 2, apart("get")),
        ("ls", 2, apart("ls")),
        ("inspect", 2, apart("inspect")),
        ("doctor", 2, apart("doctor")),
        ("share", 4, apart("get")),
        ("watch", 2, "a ticket, where the name of a tracker is expected".to_owned()),
    ];
    for (command, status, sentence) in commands {
        for between in [" ", ",", ";", "|", "\n", "\r\n> peer-cli get "] {
            let text = format!("{one}{between}{two}.");
            let output = machines.command("here", command, &[&text]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{command} {between:?}: {said}");
            let is_list = command == "watch" && between == ",";
            let sentence = if is_list { "one of the trackers is a ticket" } else { &sentence };
            assert!(said.contains(sentence), "{command} {between:?}: {said}");
        }
    }
}

/// Nor does a name server ever hear a secret.
#[test]
fn a_ticket_in_the_place_of_a_tracker_is_told_from_a_name() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let of_no_use = [
        ("watch", vec![&*ticket], "this is a ticket"),
        ("get", vec!["-i", &ticket, "file"], "this is a ticket"),
        ("share", vec!["-i", &ticket, "."], "this is a ticket"),
        ("ls", vec![&*ticket, "--watch"], "a ticket is of one content"),
        ("ls", vec![&*ticket, "--only=*"], "a ticket is of one content"),
    ];
    for (command, arguments, sentence) in of_no_use {
        let output = machines.command("there", command, &arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains(sentence), "{command}: {said}");
    }
}

#[test]
fn doctor_names_the_tracker_of_a_ticket_by_its_whole_id() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let tracker = sharer.event::<Ready>().tracker;
    let output = machines.command("there", "doctor", &[&ticket(&mut sharer)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("proved to be {tracker}")), "{said}");
}

/// Shared again, and not hashed yet.
#[test]
fn a_ticket_that_comes_too_early_is_told_so_or_waits() {
    let machines = Machines::new();
    machines.put("here", "file", b"some bytes\n");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let tracker = ticket.parse::<protocol::Ticket>().unwrap().addresses()[0].port().to_string();
    sharer.kill();
    for transport in ["quic", "tcp"] {
        let arguments = ["-d", &tracker, "--name=file", "--json", "-"];
        let mut sharer = Process::start("here", machines.command("here", "share", &arguments));
        sharer.event::<Ready>();
        let flag = format!("--transport={transport}");
        let mut getter = machines.get("there", &[&flag, &ticket]);
        getter.ends_with(4);
        assert!(getter.errors().contains("still being hashed"), "{}", getter.errors());
        let mut getter = machines.get(transport, &[&flag, "--wait=1m", &ticket]);
        getter.line("has not answered yet");
        sharer.type_line("some bytes");
        sharer.end_input();
        getter.ends_with(0);
        assert_eq!(machines.read(transport, "output/file"), b"some bytes\n");
    }
}
