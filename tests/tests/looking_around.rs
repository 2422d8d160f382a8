//! Asking a swarm what it offers, without taking part in it.

use testbed::event::{Check, Event, Inspected, Kind, Listed, Sharing};
use tests::{Process, Swarm, noise};

/// Runs a subcommand in a peer's folder, and gives what it wrote to standard output.
fn ask(swarm: &Swarm, words: &[&str], code: i32) -> (Vec<String>, String) {
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("asker")).args(words);
    command.args(["--bind", "127.0.0.1", "--certs"]).arg(swarm.certs());
    let output = command.output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
    (String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(), errors)
}

fn events(lines: &[String]) -> Vec<Event> {
    lines.iter().map(|line| Event::parse(line).expect("an event a line")).collect()
}

fn tracker(swarm: &Swarm) -> String {
    format!("127.0.0.1:{}", swarm.port)
}

#[test]
fn ls_says_what_there_is_and_who_has_it() {
    let swarm = Swarm::new();
    let (lines, _) = ask(&swarm, &["ls", &tracker(&swarm)], 0);
    assert_eq!(lines, ["Nobody shares anything."]);
    swarm.put("whole", "a.bin", &noise(10_000, 1));
    swarm.put("part", "a.bin", &noise(10_000, 1));
    swarm.put("part", "b.bin", &noise(5_000, 2));
    let _whole = swarm.seeder("whole", 1, &[]);
    let _part = swarm.seeder("part", 2, &["--piece-size=2KiB", "-m", "0"]);
    // Cut otherwise, it is another content of the same name.
    let (lines, _) = ask(&swarm, &["ls", &tracker(&swarm), "--json"], 0);
    assert!(lines.iter().all(|line| line.starts_with(r#"{"v":1,"event":"listed","#)), "{lines:?}");
    let events = events(&lines);
    let known = |name: &str, seeders: u32| {
        let fits = |listed: &&Listed| listed.name == name && listed.seeders == seeders;
        let found = events.iter().filter_map(Listed::of).find(fits);
        found.unwrap_or_else(|| panic!("no {name} with {seeders} seeders in {events:?}"))
    };
    let whole = known("a.bin", 1);
    assert_eq!((whole.size, whole.copies_at_least, whole.copies_exact), (10_000, 1, true));
    let part = known("b.bin", 0);
    assert_eq!((part.partial, part.copies_at_least, part.copies_exact), (1, 0, false));
    let (lines, _) = ask(&swarm, &["ls", "-i", "127.0.0.1", "-d", &swarm.port.to_string()], 0);
    assert!(lines[0].starts_with("NAME") && lines.len() == 4, "{lines:?}");
}

/// More than two pages of a tracker, each listed once.
#[test]
fn ls_lists_more_than_a_page() {
    let swarm = Swarm::new();
    let names: Vec<_> = (0..150).map(|number| format!("file-{number:03}")).collect();
    names.iter().enumerate().for_each(|(seed, name)| swarm.put("seeder", name, &noise(100, seed as u64)));
    let _seeder = swarm.seeder("seeder", 150, &[]);
    let (lines, _) = ask(&swarm, &["ls", &tracker(&swarm)], 0);
    let mut listed: Vec<_> = lines[1..].iter().filter_map(|line| line.split_whitespace().next()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
}

#[test]
fn inspect_asks_the_swarm_and_downloads_nothing() {
    let swarm = Swarm::new();
    swarm.put("seeder", "a.bin", &noise(10_000, 1));
    let mut seeder = swarm.peer("seeder", &["-S", "--json"]);
    let content = seeder.event::<Sharing>().content;
    let port = swarm.port.to_string();
    let (lines, _) = ask(&swarm, &["inspect", "a.bin", "-i", "127.0.0.1", "-d", &port, "--json"], 0);
    let inspected = Inspected::from_event(Event::parse(&lines[0]).unwrap()).unwrap();
    assert_eq!((&inspected.content, inspected.size, &*inspected.files[0].path), (&content, 10_000, "a.bin"));
    let (lines, _) = ask(&swarm, &["inspect", &content[..10], "-i", "127.0.0.1", "-d", &port], 0);
    assert!(lines.iter().any(|line| *line == format!("content id  {content}")), "{lines:?}");
    let folder = swarm.folder("asker");
    assert!(!folder.join("output").exists() && !folder.join("hashes").exists(), "nothing is kept");
    // What lies in the hashes folder needs no swarm.
    let manifest = swarm.folder("seeder").join("hashes/a.bin.manifest");
    let (lines, _) = ask(&swarm, &["inspect", manifest.to_str().unwrap()], 0);
    assert_eq!(lines[0], "name        a.bin");
    let (_, errors) = ask(&swarm, &["inspect", "b.bin"], 4);
    assert!(errors.contains("Ask a swarm for it with -i"), "{errors}");
}

#[test]
fn a_name_that_nobody_shares_is_answered_with_near_ones() {
    let swarm = Swarm::new();
    swarm.put("seeder", "model.safetensors", &noise(10_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let mut peer: Process = swarm.peer("peer", &["-f", "modell.safetensors"]);
    peer.ends_with(4);
    let errors = peer.errors();
    assert!(errors.contains("Did you mean \"model.safetensors\"?"), "{errors}");
    let (_, errors) = ask(&swarm, &["get", "model.safetensor", "-i", "127.0.0.1", "-d", &swarm.port.to_string()], 4);
    assert!(errors.contains("Did you mean \"model.safetensors\"?"), "{errors}");
}

#[test]
fn asking_nobody_is_3_and_not_saying_whom_is_2() {
    let swarm = Swarm::new();
    let id = "ab".repeat(32);
    ask(&swarm, &["ls", "127.0.0.1:9", "--tracker-id", &id], 3);
    let (_, errors) = ask(&swarm, &["ls"], 2);
    assert!(errors.contains("which tracker?"), "{errors}");
}

#[test]
fn the_doctor_tries_the_machine_and_the_way_to_the_tracker() {
    let swarm = Swarm::new();
    let port = swarm.port.to_string();
    let (lines, _) = ask(&swarm, &["doctor", "--json", "-i", "127.0.0.1", "-d", &port], 0);
    let checks: Vec<_> = events(&lines).into_iter().filter_map(Check::from_event).collect();
    let status = |name: &str| {
        let found = checks.iter().find(|check| check.check == name);
        &*found.unwrap_or_else(|| panic!("no {name} in {checks:?}")).status
    };
    for check in ["udp", "tcp", "identity", "datagrams", "disk", "hashing", "clock"] {
        assert_eq!(status(check), "good", "{check}: {checks:?}");
    }
    for check in ["buffers", "offload", "files", "space"] {
        assert_ne!(status(check), "bad", "{check}: {checks:?}");
    }
    assert!(checks.iter().all(|check| ["good", "skipped"].contains(&&*check.status) || !check.advice.is_empty()));
}

/// A tracker that answers over TCP only is what a network looks like that drops UDP.
#[test]
fn the_doctor_says_that_udp_is_dropped() {
    let mut swarm = Swarm::new();
    swarm.restart_tracker_with(&["--transport=tcp"]);
    let port = swarm.port.to_string();
    let (lines, _) = ask(&swarm, &["doctor", "-i", "127.0.0.1", "-d", &port], 0);
    let line = lines.iter().find(|line| line.contains(" udp ")).unwrap();
    assert!(line.starts_with("poor") && line.contains("QUIC does not get through, TCP does"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("-> Let UDP pass in the tracker's firewall")), "{lines:#?}");
    let id = "ab".repeat(32);
    let (lines, _) = ask(&swarm, &["doctor", "-i", "127.0.0.1", "-d", "9", "--tracker-id", &id], 3);
    assert!(lines.iter().any(|line| line.starts_with("bad      udp")), "{lines:#?}");
}

#[test]
fn a_name_that_reads_as_an_id_is_said_to_be_none() {
    let swarm = Swarm::new();
    swarm.put("seeder", "facade", &noise(10_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let whole = "0".repeat(64);
    for (asked, is_said) in [("facade", true), (&whole, true), ("no such name", false)] {
        let mut peer: Process = swarm.peer("peer", &["-f", asked]);
        peer.ends_with(4);
        let errors = peer.errors();
        let said = "A name that reads as an id is never looked up: use the ticket or the whole id.";
        assert_eq!(errors.contains(said), is_said, "{errors}");
    }
}
