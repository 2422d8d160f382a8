//! `peer-cli share` prints a line, and that line is all that another machine needs.

use std::path::Path;
use std::time::Duration;

#[cfg(unix)]
use testbed::event::Sharing;
use testbed::event::{Bye, Completed, Error, Event, Hashing, Kind, Manifest, Ready, Ticket};
use tests::machines::{Machines, ticket};
use tests::{Process, Swarm, free_port, noise};

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn the_printed_line_is_all_that_it_takes() {
    let machines = Machines::new();
    let bytes = noise(3 << 20, 1);
    machines.put("here", "größer 1.bin", &bytes);
    let mut sharer = Process::start("here", machines.command("here", "share", &["-d=0", "--commands", "größer 1.bin"]));
    let line = sharer.line("peer-cli get p2p");
    let ticket = line.strip_prefix("peer-cli get ").unwrap();
    let mut getter = machines.get("there", &[ticket]);
    getter.line("every piece verified → output/größer 1.bin");
    getter.ends_with(0);
    assert!(machines.read("there", "output/größer 1.bin") == bytes);
    sharer.type_line("exit");
    sharer.ends_with(0);
}

#[test]
fn several_files_have_a_ticket_each() {
    let machines = Machines::new();
    let files = ["a", "b", "c"].map(|name| (name, noise(100_000, name.as_bytes()[0].into())));
    files.iter().for_each(|(name, bytes)| machines.put("here", name, bytes));
    let mut sharer = machines.share("here", &["-d=0", "a", "b", "c"]);
    for (name, bytes) in &files {
        let ticket = ticket(&mut sharer);
        machines.get("there", &[&ticket, "-o", "."]).ends_with(0);
        assert!(machines.read("there", name) == *bytes);
    }
}

/// A firewall lets in that port alone; and two that are named are kept apart.
#[test]
fn one_port_leads_to_the_tracker_and_to_what_is_shared() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    for (flags, together) in
        [(&["-d=0"][..], true), (&["-p=0"], true), (&["-p=0", "-d", &free_port().to_string()], false)]
    {
        let mut sharer = machines.share("here", &[flags, &["file"]].concat());
        let listeners = sharer.event::<Ready>().listeners;
        let ticket = ticket(&mut sharer);
        let tracker = ticket.parse::<protocol::Ticket>().unwrap().addresses()[0];
        assert_eq!(listeners == [tracker.to_string()], together, "{flags:?}: {listeners:?} {tracker}");
        for transport in ["auto", "quic", "tcp"] {
            machines.get("there", &[&ticket, "-o", transport, "--transport", transport]).ends_with(0);
            assert_eq!(machines.read("there", &format!("{transport}/file")), b"bytes");
        }
        std::fs::remove_dir_all(machines.folder("there")).unwrap();
    }
}

/// Port 9999 is for one; the second takes another, unless it was asked for that one.
#[test]
fn two_can_share_on_one_machine() {
    let machines = Machines::new();
    for machine in ["one", "two"] {
        machines.put(machine, "file", machine.as_bytes());
    }
    let mut sharers = ["one", "two"].map(|machine| machines.share(machine, &["file"]));
    let tickets = sharers.each_mut().map(ticket);
    for (machine, ticket) in ["one", "two"].iter().zip(&tickets) {
        machines.get(machine, &[ticket]).ends_with(0);
        assert_eq!(machines.read(machine, "output/file"), machine.as_bytes());
    }
}

#[test]
fn a_ticket_outlives_a_restart_of_the_sharer() {
    let machines = Machines::new();
    let port = format!("-d={}", free_port());
    machines.put("here", "file", &noise(200_000, 2));
    let mut sharer = machines.share("here", &[&port, "file"]);
    let before = ticket(&mut sharer);
    sharer.kill();
    let mut sharer = machines.share("here", &[&port, "file"]);
    assert_eq!(ticket(&mut sharer), before);
    machines.get("there", &[&before]).ends_with(0);
}

#[test]
fn a_tracker_elsewhere_stands_in_the_ticket() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    let bytes = noise(300_000, 3);
    machines.put("here", "file", &bytes);
    let (port, certs) = (swarm.port.to_string(), swarm.certs());
    let certs = certs.to_str().unwrap();
    let address = format!("--ticket-address=127.0.0.1:{port}");
    let flags = ["-i=127.0.0.1", "-d", &port, "--certs", certs, &address, "--open", "file"];
    let mut sharer = machines.share("here", &flags);
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
    // By name and by id, with -i.
    machines.get("by name", &["-i=127.0.0.1", "-d", &port, "--certs", certs, "file"]).ends_with(0);
    assert!(machines.read("by name", "output/file") == bytes);
    assert!(!exists(&machines.folder("here").join("certs")), "no tracker was started here");
}

#[test]
fn a_slip_in_a_ticket_is_told_from_a_ticket_that_leads_nowhere() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let good = ticket(&mut sharer);
    let wrong: String =
        good.char_indices().map(|(at, c)| if at == 40 { if c == 'a' { 'b' } else { 'a' } } else { c }).collect();
    let mut getter = machines.get("there", &[&wrong]);
    getter.ends_with(2);
    assert!(getter.errors().contains("a character of the ticket is wrong or missing"), "{}", getter.errors());
    sharer.type_line("exit");
    sharer.ends_with(0);
    machines.get("there", &[&good]).ends_with(3);
    let mut getter = machines.get("there", &["file"]);
    getter.ends_with(2);
    assert!(getter.errors().contains("peer-cli share"), "{}", getter.errors());
}

#[test]
fn what_nobody_shares_any_more_is_said_at_once() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    let (port, certs) = (swarm.port.to_string(), swarm.certs());
    let address = format!("--ticket-address=127.0.0.1:{port}");
    let flags = ["-i=127.0.0.1", "-d", &port, "--certs", certs.to_str().unwrap(), &address, "file"];
    let mut sharer = machines.share("here", &flags);
    let ticket = ticket(&mut sharer);
    sharer.type_line("exit");
    sharer.ends_with(0);
    machines.get("there", &[&ticket]).ends_with(4);
}

#[test]
fn who_gets_shares_on_only_as_long_as_asked() {
    let machines = Machines::new();
    let bytes = noise(500_000, 4);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let mut short = machines.get("short", &[&ticket, "--json", "--seed-for=1s"]);
    short.event::<Completed>();
    short.ends_with(0);
    // Once it has given half of what it got, it goes.
    let mut giver = machines.get("giver", &[&ticket, "--json", "--seed-ratio=0.5"]);
    giver.event::<Completed>();
    for taker in 0..8 {
        machines.get(&format!("taker {taker}"), &[&ticket]).ends_with(0);
    }
    assert!(giver.event::<Bye>().sent >= 250_000);
    giver.ends_with(0);
    let mut forever = machines.get("forever", &[&ticket, "--json", "--commands", "--seed-for=forever"]);
    forever.event::<Completed>();
    forever.type_line("exit");
    forever.ends_with(0);
}

#[test]
fn what_is_there_already_is_verified_and_what_differs_is_not_touched() {
    let machines = Machines::new();
    let bytes = noise(500_000, 5);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    machines.put("there", "file", &bytes);
    let mut getter = machines.get("there", &[&ticket, "-o", ".", "--json"]);
    assert!(getter.event::<Completed>().sources.is_empty());
    getter.ends_with(0);
    machines.put("there", "file", &bytes[1..]);
    machines.get("there", &[&ticket, "-o", "."]).ends_with(7);
    assert!(machines.read("there", "file") == bytes[1..]);
}

/// Shares it until there is a ticket; says the content's id, and whether it was hashed for that.
fn share_once(machines: &Machines, path: &str) -> (String, bool) {
    let mut hashed = false;
    let mut sharer = machines.share("here", &["-d=0", "--hashes=hashes", path]);
    let mut notes = |event: Event| {
        hashed |= Hashing::of(&event).is_some();
        event
    };
    let content = sharer.find_event("ticket", |event| Some(Ticket::from_event(notes(event))?.content));
    sharer.type_line("exit");
    sharer.find_event("bye", |event| Bye::from_event(notes(event)));
    sharer.ends_with(0);
    (content, hashed)
}

#[test]
fn what_has_not_changed_is_not_hashed_again() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(500_000, 6));
    machines.put("here", "folder/a", &noise(500_000, 7));
    machines.put("here", "folder/b", &noise(500_000, 8));
    let young = share_once(&machines, "file");
    assert!(young.1 && share_once(&machines, "file") == young, "what has just changed is hashed whenever it is shared");
    let settle = || std::thread::sleep(Duration::from_millis(2100));
    settle();
    for (path, changed) in [("file", "file"), ("folder", "folder/b")] {
        let (content, hashed) = share_once(&machines, path);
        assert!(hashed, "{path} has no stamp yet");
        assert_eq!(share_once(&machines, path), (content.clone(), false));
        machines.put("here", changed, &noise(500_000, 9));
        settle();
        let (other, hashed) = share_once(&machines, path);
        assert!(hashed && other != content, "{path} has changed");
        // A damaged stamp is none.
        std::fs::write(machines.folder("here").join(format!("hashes/{path}.stamp")), "nonsense").unwrap();
        assert_eq!(share_once(&machines, path), (other.clone(), true));
        assert_eq!(share_once(&machines, path), (other, false));
    }
}

#[test]
fn a_replaced_file_gives_what_it_has_in_common() {
    const PIECE: usize = 64 << 10;
    let new = noise(40 * PIECE + 100, 10);
    let mut edited = new.clone();
    edited[5 * PIECE] ^= 1;
    let longer = [&edited[..], b"and more"].concat();
    // An old file, and how many of the 41 pieces it has in common.
    let olds = [(&edited[..], 40), (&edited[..20 * PIECE + 7], 19), (&longer[..], 40), (&longer[1..], 0), (b"", 0)];
    let machines = Machines::new();
    machines.put("here", "file", &new);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    for storage in ["mmap", "file", "memory"] {
        for (old, common) in olds {
            machines.put("there", "file", old);
            machines.get("there", &[&ticket, "-o", "."]).ends_with(7);
            assert!(machines.read("there", "file") == old, "not without --force");
            let mut getter = machines.get("there", &[&ticket, "-o", ".", "--force", "--json", "--storage", storage]);
            assert_eq!(getter.event::<Manifest>().have, common, "{storage}: {} bytes", old.len());
            let sources = getter.event::<Completed>().sources;
            let came: u64 = sources.values().sum();
            assert_eq!(
                came,
                if common == 40 {
                    PIECE
                } else if common == 19 {
                    new.len() - 19 * PIECE
                } else {
                    new.len()
                } as u64
            );
            getter.ends_with(0);
            assert!(machines.read("there", "file") == new);
            let left = std::fs::read_dir(machines.folder("there")).unwrap();
            let left: Vec<_> = left
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name.to_string_lossy().starts_with(".f"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    // What is shorter than the old one, and all of it in common.
    machines.put("there", "file", &[&new[..], b"and more"].concat());
    let mut getter = machines.get("there", &[&ticket, "-o", ".", "--force", "--json"]);
    assert!(getter.event::<Completed>().sources.is_empty());
    getter.ends_with(0);
    assert!(machines.read("there", "file") == new);
}

#[test]
fn a_killed_replacement_leaves_the_old_file_and_goes_on() {
    let machines = Machines::new();
    let (new, old) = (noise(16 << 20, 11), noise(10_000, 12));
    machines.put("here", "file", &new);
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "--up-rate=4MiB", "file"]);
    let ticket = ticket(&mut sharer);
    machines.put("there", "output/file", &old);
    let mut getter = machines.get("there", &[&ticket, "--force", "--json"]);
    getter.pieces(80);
    getter.kill();
    assert!(machines.read("there", "output/file") == old);
    let mut getter = machines.get("there", &[&ticket, "--force", "--json"]);
    assert!(getter.event::<Manifest>().have > 0);
    getter.ends_with(0);
    assert!(machines.read("there", "output/file") == new);
}

#[test]
fn no_folder_gives_way_to_a_file_and_none_replaces_one() {
    let machines = Machines::new();
    machines.put("here", "file", b"bytes");
    machines.put("here", "folder/file", b"bytes");
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    let (file, folder) = (ticket(&mut sharer), ticket(&mut sharer));
    machines.put("there", "output/file/kept", b"old");
    machines.put("elsewhere", "output/folder", b"old");
    for (machine, ticket) in [("there", &file), ("elsewhere", &folder)] {
        let mut getter = machines.get(machine, &[ticket, "--force"]);
        getter.ends_with(7);
        assert!(getter.errors().contains("only a file is replaced, and only by a file"), "{}", getter.errors());
    }
    assert_eq!(machines.read("there", "output/file/kept"), b"old");
    assert_eq!(machines.read("elsewhere", "output/folder"), b"old");
}

#[test]
fn what_cannot_be_shared_is_named() {
    let machines = Machines::new();
    let mut sharer = machines.share("here", &["-d=0", "nothing here"]);
    assert!(sharer.event::<Error>().message.contains("nothing here"));
    assert!(!sharer.wait().success());
}

/// Each content once kept its files open: as many as there are descriptors, and then nothing was shared any more.
#[cfg(unix)]
#[test]
fn two_hundred_contents_are_shared_with_64_descriptors() {
    let swarm = Swarm::new();
    let names: Vec<_> = (0..200).map(|number| format!("file {number}")).collect();
    let bytes = |number: usize| noise(20_000 + number, number as u64 + 1);
    names.iter().enumerate().for_each(|(number, name)| swarm.put("seeder", name, &bytes(number)));
    let plain = swarm.command("seeder", &["-S", "--json"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(swarm.folder("seeder")).env_remove("RUST_LOG");
    let mut seeder = Process::start("seeder", limited);
    names.iter().for_each(|_| drop(seeder.event::<Sharing>()));
    let wanted: Vec<_> = names.iter().flat_map(|name| ["-f", name.as_str()]).collect();
    swarm.peer("peer", &[&["--exit-when-done"], &wanted[..]].concat()).ends_with(0);
    for (number, name) in names.iter().enumerate() {
        assert!(swarm.output("peer", name) == bytes(number), "{name}");
    }
    seeder.type_line("exit");
    seeder.ends_with(0);
}

/// A user with a line that leads nowhere reads why, and what it was for.
#[test]
fn a_sharer_that_is_gone_is_said_and_the_file_is_named() {
    // The ticket of a private share does not say which content it is for, and leads to nobody's tracker but the sharer's own.
    for (flags, reason) in [(&["-d=0"][..], "reach: no answer from "), (&["-d=0", "--open"], "the tracker at ")] {
        let machines = Machines::new();
        machines.put("here", "model.bin", &noise(100_000, 1));
        let mut sharer = machines.share("here", &[flags, &["model.bin"]].concat());
        let ticket = ticket(&mut sharer);
        machines.get("there", &[&ticket]).ends_with(0);
        sharer.kill();
        for (machine, said) in [
            ("there", "the one who shares model.bin is gone, or out of reach: "),
            ("elsewhere", "the one who gave you this line is gone, or out of reach: "),
        ] {
            let mut getter = machines.get(machine, &[&ticket]);
            getter.ends_with(3);
            let errors = getter.errors();
            for said in [said, reason, "ask for a new ticket"] {
                assert!(errors.contains(said), "{flags:?}, {said}: {errors}");
            }
        }
    }
}
