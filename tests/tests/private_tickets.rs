//! What holders of a private ticket can do with it: paste it, go on by it, give to each other, and until when.

use protocol::{Secret, Ticket};
use testbed::event::{Completed, Ready, Sent};
use tests::machines::{Machines, share, ticket};
use tests::{Process, Swarm, noise};

/// What everyone is told who cannot prove that they have the ticket.
const REFUSED: &str = "this share is private";

#[test]
fn the_pasted_line_is_taken_however_it_came() {
    let machines = Machines::new();
    let bytes = noise(50_000, 1);
    machines.put("here", "file", &bytes);
    let sharer = share(&machines, "here", &[], &["file"]);
    let ticket = sharer.tickets[0].to_string();
    assert!(ticket.len() <= 80, "{ticket}");
    let (one, two) = ticket.split_at(40);
    let upper = ticket.to_uppercase();
    let forms: [Vec<String>; 6] = [
        vec![upper],
        vec!["peer-cli".into(), "get".into(), ticket.clone()],
        vec![format!("$ peer-cli get {ticket}.")],
        vec![format!("> {one}\n> {two}")],
        vec![one.into(), two.into()],
        vec![format!("\u{201c}{ticket}\u{201d}\u{200b}")],
    ];
    for (number, form) in forms.iter().enumerate() {
        let machine = format!("form {number}");
        let words: Vec<_> = form.iter().map(String::as_str).collect();
        machines.get(&machine, &words).ends_with(0);
        assert!(machines.read(&machine, "output/file") == bytes, "{form:?}");
    }
    let mut damaged = machines.get("damaged", &[&format!("{}x{}", &ticket[..50], &ticket[51..])]);
    damaged.ends_with(2);
    assert!(damaged.errors().contains("damaged"), "{}", damaged.errors());
}

#[test]
fn a_ticket_of_another_secret_is_refused_with_a_sentence() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(50_000, 1));
    let sharer = share(&machines, "here", &[], &["file"]);
    let right = &sharer.tickets[0];
    let wrong = Ticket::private(right.tracker(), right.addresses().to_vec(), Secret::new([1; 16]), None).unwrap();
    let mut getter = machines.get("there", &[&wrong.to_string()]);
    getter.ends_with(10);
    assert!(getter.errors().contains(REFUSED), "{}", getter.errors());
    assert!(getter.errors().contains("nothing that is shared there now"), "{}", getter.errors());
}

#[test]
fn other_commands_take_a_ticket_too() {
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("here", "file", &bytes);
    machines.put("here", "other", &bytes[1..]);
    let sharer = share(&machines, "here", &[], &["file", "other"]);
    let ticket = sharer.tickets[0].to_string();
    let said = |command: &str, arguments: &[&str]| {
        let output = machines.command("there", command, arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let listed = String::from_utf8(said("ls", &[&ticket])).unwrap();
    assert!(listed.contains("file") && !listed.contains("other") && listed.lines().count() == 2, "{listed}");
    assert!(String::from_utf8(said("inspect", &[&ticket])).unwrap().contains("300000"));
    assert!(said("get", &[&ticket, "-o", "-"]) == bytes);
}

#[test]
fn a_download_by_a_private_ticket_goes_on_where_it_was() {
    let machines = Machines::new();
    let bytes = noise(3_000_000, 1);
    machines.put("here", "file", &bytes);
    let sharer = share(&machines, "here", &["--up-rate=1MiB", "--piece-size=16KiB"], &["file"]);
    let ticket = sharer.tickets[0].to_string();
    let mut getter = machines.get("there", &["--json", &ticket]);
    getter.find_event("progress", |event| {
        let testbed::event::Event::Progress(progress) = event else { return None };
        (progress.have > 20).then_some(())
    });
    getter.kill();
    let mut again = machines.get("there", &["--json", &ticket]);
    let had = again.event::<testbed::event::Manifest>().have;
    assert!(had > 0);
    again.event::<Completed>();
    again.ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
}

/// By a tracker that is not the sharer's own, which goes on when the sharer has left.
#[test]
fn receivers_give_to_other_holders_when_the_sharer_is_gone() {
    let (swarm, machines) = (Swarm::new(), Machines::new());
    let bytes = noise(300_000, 3);
    machines.put("here", "secret-name", &bytes);
    let (port, certs) = (swarm.port.to_string(), swarm.certs());
    let certs = certs.to_str().unwrap();
    let address = format!("--ticket-address=127.0.0.1:{port}");
    let elsewhere = ["-i=127.0.0.1", "-d", &port, "--certs", certs];
    let arguments: Vec<_> = elsewhere.iter().copied().chain([&*address, "secret-name"]).collect();
    let mut sharer = machines.share("here", &arguments);
    let ticket = ticket(&mut sharer);
    assert!(ticket.len() <= 120, "{ticket}");
    let mut first = machines.get("first", &["--json", "--seed-for=forever", &ticket]);
    first.event::<Completed>();
    sharer.kill();
    machines.get("second", &[&ticket]).ends_with(0);
    assert!(machines.read("second", "output/secret-name") == bytes);
    // A peer that knows the tracker alone finds nothing there.
    let arguments: Vec<_> = elsewhere.to_vec();
    let listed = machines.command("third", "ls", &arguments).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.trim(), "Nobody shares anything.");
    let by_name: Vec<_> = elsewhere.iter().copied().chain(["secret-name"]).collect();
    machines.get("fourth", &by_name).ends_with(4);
}

#[test]
fn an_open_share_is_for_everyone() {
    let machines = Machines::new();
    let bytes = noise(50_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--open", "file"]);
    let tracker = sharer.event::<Ready>().tracker;
    let ticket: Ticket = ticket(&mut sharer).parse().unwrap();
    assert_eq!(ticket.secret(), None);
    let port = ticket.addresses()[0].port().to_string();
    machines.get("there", &["-i=127.0.0.1", "-d", &port, "--tracker-id", &tracker, "file"]).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
    // A ticket from when it was private.
    let secret = Secret::new([1; 16]);
    let private = Ticket::private(ticket.tracker(), ticket.addresses().to_vec(), secret, None).unwrap();
    let mut getter = machines.get("late", &[&private.to_string()]);
    getter.ends_with(10);
    assert!(getter.errors().contains("is open to everyone"), "{}", getter.errors());
}

#[test]
fn a_share_is_over_when_its_receivers_have_it() {
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = share(&machines, "here", &["--receivers=2"], &["file"]);
    let ticket = sharer.tickets[0].to_string();
    let mut first = machines.get("first", &["--seed-for=forever", "--json", &ticket]);
    first.event::<Completed>();
    let sent = sharer.process.event::<Sent>();
    assert!(sent.complete && sent.bytes == bytes.len() as u64, "{sent:?}");
    let second = machines.command("second", "get", &[&ticket]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stdout);
    assert!(second.status.success() && machines.read("second", "output/file") == bytes);
    assert!(!said.contains("is over"), "who has all of it is told nothing: {said}");
    sharer.process.ends_with(0);
}

#[test]
fn one_receiver_more_is_told_so() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(3_000_000, 1));
    let sharer = share(&machines, "here", &["--receivers=1", "--up-rate=1MiB"], &["file"]);
    let ticket = sharer.tickets[0].to_string();
    let mut first = machines.get("first", &["--json", &ticket]);
    first.event::<testbed::event::Manifest>();
    let mut second = machines.get("second", &[&ticket]);
    second.ends_with(10);
    assert!(second.errors().contains("for one receiver"), "{}", second.errors());
}

#[test]
fn a_receiver_that_is_killed_gives_its_place_back() {
    let machines = Machines::new();
    let bytes = noise(3_000_000, 1);
    machines.put("here", "file", &bytes);
    // Over TCP the kernel says at once that it is gone; over QUIC its silence does, after some seconds.
    let flags = ["--receivers=1", "--up-rate=1MiB", "--transport=tcp"];
    let sharer = share(&machines, "here", &flags, &["file"]);
    let ticket = sharer.tickets[0].to_string();
    let mut first = machines.get("first", &["--json", &ticket]);
    first.event::<testbed::event::Manifest>();
    first.kill();
    let until = std::time::Instant::now() + tests::PATIENCE;
    while !machines.command("second", "get", &[&ticket]).output().unwrap().status.success() {
        assert!(std::time::Instant::now() < until, "its place is still taken");
    }
    assert!(machines.read("second", "output/file") == bytes);
}

#[test]
fn a_share_expires_with_a_sentence_on_both_sides() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000_000, 1));
    let mut sharer =
        Process::start("here", machines.command("here", "share", &["-d=0", "--expires=3s", "--up-rate=1MiB", "file"]));
    let line = sharer.line("peer-cli get p2p");
    let mut getter = machines.get("there", &["--wait=1s", &line]);
    sharer.line("This share has expired.");
    sharer.ends_with(0);
    getter.line("Who shares it says: this share has expired.");
    getter.wait();
}
