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
    for behind in [&*two, "/tmp/folder", "folder"] {
        let mut getter = machines.get("there", &["get", &one, behind]);
        getter.ends_with(2);
        assert!(getter.errors().contains("is no part of the ticket"), "{}", getter.errors());
        assert_eq!(getter.errors().contains("get one after the other"), behind == two, "{}", getter.errors());
    }
    let joined = [" ", ",", ";", "|", "/"].map(|between| (format!("{one}{between}{two}"), 2));
    for (together, status) in joined.into_iter().chain([(format!("{one}\n{one}\nthat is all"), 0)]) {
        let mut getter = machines.get("there", &[&together]);
        getter.ends_with(status);
        assert_eq!(getter.errors().contains("is no part of the ticket"), status == 2, "{}", getter.errors());
    }
    machines.get("there", &["peer-cli", "get", &one, "."]).ends_with(0);
    assert!(machines.read("there", "output/one") == noise(5_000, 1));
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
