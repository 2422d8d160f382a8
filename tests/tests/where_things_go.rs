//! Where `get` and `share` put things: the download where one is, state where the platform keeps it, and nothing else.

use std::fs;
use std::path::Path;

#[cfg(unix)]
use testbed::event::Completed;
use testbed::event::{Hashing, Kind, Sharing};
use testbed::programs::at_home;
use tests::machines::{Machines, ticket};
use tests::{Process, Swarm, noise};

/// All that lies in a folder, hidden or not.
fn lies_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `get` as it is typed, without a folder.
fn get(machines: &Machines, machine: &str, words: &[&str]) -> Process {
    let mut command = tests::peer_cli();
    command.current_dir(machines.folder(machine)).args(["get", "--bind=127.0.0.1"]).args(words);
    at_home(&mut command, &machines.home(machine));
    Process::start(machine, command)
}

#[test]
fn the_file_is_all_that_is_left_where_one_is() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(100_000, 1));
    machines.put("here", "folder/a", &noise(1000, 2));
    let mut sharer = machines.share("here", &["-d=0", "file", "folder"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    for ticket in &tickets {
        get(&machines, "there", &[ticket]).ends_with(0);
    }
    assert_eq!(lies_in(&machines.folder("there")), ["file", "folder"]);
    assert_eq!(machines.read("there", "file"), noise(100_000, 1));
    sharer.type_line("exit");
    sharer.ends_with(0);
    assert_eq!(lies_in(&machines.folder("here")), ["file", "folder"]);
    // What was shared and downloaded is known again all the same.
    let run = |machine: &str, words: &[&str]| {
        let mut command = tests::peer_cli();
        command.current_dir(machines.folder(machine)).args(words);
        at_home(&mut command, &machines.home(machine));
        Process::start(machine, command)
    };
    run("here", &["verify", "file"]).ends_with(0);
    let mut inspected = run("here", &["inspect", "file"]);
    let id = inspected.line("content id").rsplit(' ').next().unwrap().to_owned();
    inspected.ends_with(0);
    run("there", &["verify", "file", "--id", &id]).ends_with(0);
    run("there", &["verify", "file"]).ends_with(1);
}

#[test]
fn an_output_folder_is_used_if_it_is_ours_and_left_alone_if_not() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    for (name, seed) in [("one", 1), ("two", 2), ("three", 3)] {
        machines.put("here", name, &noise(10_000, seed));
    }
    let mut sharer = machines.share("here", &["-d=0", "one", "two", "three"]);
    let tickets = [ticket(&mut sharer), ticket(&mut sharer), ticket(&mut sharer)];
    // Of a project, say.
    machines.put("there", "output/results.csv", b"1,2,3");
    get(&machines, "there", &[&tickets[0]]).ends_with(0);
    assert_eq!(lies_in(&machines.folder("there/output")), ["results.csv"]);
    assert_eq!(machines.read("there", "one"), noise(10_000, 1));
    // As the original leaves it.
    swarm.put("seeder", "first", &noise(1000, 4));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let mut join = swarm.command("seeder", &["-f", "first", "--exit-when-done"]);
    join.current_dir(machines.folder("there"));
    Process::start("there", join).ends_with(0);
    let mut second = get(&machines, "there", &[&tickets[1]]);
    second.line("Downloading into output/");
    second.ends_with(0);
    assert_eq!(lies_in(&machines.folder("there/output")), ["first", "results.csv", "two"]);
    let mut third = get(&machines, "there", &[&tickets[2], "-o", "."]);
    third.ends_with(0);
    assert_eq!(machines.read("there", "three"), noise(10_000, 3));
}

#[cfg(unix)]
#[test]
fn what_was_interrupted_leaves_a_part_says_where_and_goes_on() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(12_000_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=16KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut getter = get(&machines, "there", &[&ticket, "--json", "--down-rate=1MiB"]);
    getter.pieces(1);
    getter.signal("INT");
    getter.ends_with(130);
    assert!(getter.errors().contains("what is verified is kept in .file.part: start it again"), "{}", getter.errors());
    let left = lies_in(&machines.folder("there"));
    assert!(left.contains(&".file.part".to_owned()) && left.iter().all(|name| name.starts_with(".file")), "{left:?}");
    let mut getter = get(&machines, "there", &[&ticket, "--json"]);
    getter.event::<Completed>();
    getter.ends_with(0);
    assert_eq!(lies_in(&machines.folder("there")), ["file"]);
}

/// No home, one that cannot be written to, and one that is not there.
#[test]
fn without_a_home_everything_works_and_a_key_that_is_not_kept_is_said() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(100_000, 1));
    machines.put("homes", "a-file", b"");
    let homes = ["homes/a-file/below", "homes/not there yet"].map(|home| machines.folder(".").join(home));
    for (number, home) in homes.iter().enumerate() {
        let words = ["share", "--bind=127.0.0.1", "-d=0", "--json", "--commands", "file"];
        let mut share = tests::peer_cli();
        at_home(share.current_dir(machines.folder("here")).args(words), home);
        let mut sharer = Process::start("here", share);
        let ticket = ticket(&mut sharer);
        let machine = format!("there-{number}");
        let mut command = tests::peer_cli();
        at_home(
            command.current_dir(machines.folder(&machine)).args(["get", "--bind=127.0.0.1", "--no-progress", &ticket]),
            home,
        );
        let mut getter = Process::start(&machine, command);
        getter.ends_with(0);
        assert!(!getter.errors().contains("WARN transport: this") || number < 2, "{}", getter.errors());
        assert_eq!(lies_in(&machines.folder(&machine)), ["file"]);
        sharer.type_line("exit");
        sharer.ends_with(0);
    }
    assert_eq!(lies_in(&machines.folder("here")), ["file"]);
    let mut share = tests::peer_cli();
    at_home(share.current_dir(machines.folder("here")).args(["share", "--bind=127.0.0.1", "-d=0", "file"]), &homes[0]);
    let mut sharer = Process::start("here", share);
    sharer.line("peer-cli get");
    assert!(sharer.errors().contains("the ticket ends with this run, since no key can be kept"), "{}", sharer.errors());
}

#[test]
fn a_ticket_outlives_a_restart_and_what_was_hashed_is_known_whatever_folder_one_is_in() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(100_000, 1));
    machines.put("here", "other/file", &noise(100_000, 2));
    // Young files have no stamp.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let share = |folder: &str, path: &str| {
        let words = ["share", "--bind=127.0.0.1", "-d=0", "--json", "--commands", path];
        let mut command = tests::peer_cli();
        at_home(command.current_dir(machines.folder(folder)).args(words), &machines.home("here"));
        let mut sharer = Process::start("here", command);
        let mut hashed = false;
        let content = sharer.find_event("sharing", |event| {
            hashed |= Hashing::of(&event).is_some();
            Sharing::from_event(event).map(|sharing| sharing.content)
        });
        let ticket: protocol::Ticket = ticket(&mut sharer).parse().unwrap();
        sharer.type_line("exit");
        sharer.ends_with(0);
        (content, hashed, ticket.tracker())
    };
    let (first, hashed, tracker) = share("here", "file");
    assert!(hashed);
    // Another of the same name takes nobody's place.
    let (second, hashed, _) = share("here", "other/file");
    assert!(hashed && second != first);
    assert_eq!(share("here/other", "../file"), (first, false, tracker));
    assert_eq!(share("here/other", "file"), (second, false, tracker));
}

/// Known trackers, and the cache of what private buckets have.
#[cfg(target_os = "linux")]
#[test]
fn a_home_is_shared_without_what_is_kept_in_it() {
    let machines = Machines::new();
    let home = machines.home("here");
    for path in ["notes", ".local/state/p2p-fileshare/known-trackers", ".cache/p2p-fileshare/origins/part"] {
        fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
        fs::write(home.join(path), path).unwrap();
    }
    let mut sharer = machines.share("here", &["-d=0", home.to_str().unwrap()]);
    machines.get("there", &[&ticket(&mut sharer)]).ends_with(0);
    let came = machines.folder("there").join("output/here");
    assert_eq!(lies_in(&came), ["notes"]);
}

#[test]
fn several_at_once_share_one_home() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(100_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = ticket(&mut sharer);
    let getters: Vec<_> = (0..4)
        .map(|number| {
            let machine = format!("there-{number}");
            let mut command = tests::peer_cli();
            command.current_dir(machines.folder(&machine)).args(["get", "--bind=127.0.0.1", &ticket]);
            at_home(&mut command, &machines.home("there"));
            (machine.clone(), Process::start(&machine, command))
        })
        .collect();
    for (machine, mut getter) in getters {
        getter.ends_with(0);
        assert_eq!(lies_in(&machines.folder(&machine)), ["file"]);
    }
}

/// Their names are what a shell, or these programs, read in a working folder.
#[test]
fn a_download_into_the_working_folder_brings_nothing_that_is_read_there() {
    let machines = Machines::new();
    let names = [".envrc", "p2p-fileshare.toml", "certs", "hashes"];
    for name in names {
        machines.put("evil", &format!("{name}/file"), b"evil");
    }
    machines.put("there", "mine", b"mine");
    machines.put("evil", "mine", b"evil");
    let flags = ["-d=0", ".envrc", "p2p-fileshare.toml", "certs", "hashes", "mine"];
    let mut sharer = machines.share("evil", &flags);
    for _ in names {
        get(&machines, "there", &[&ticket(&mut sharer)]).ends_with(7);
    }
    get(&machines, "there", &[&ticket(&mut sharer)]).ends_with(7);
    assert_eq!(machines.read("there", "mine"), b"mine");
    assert_eq!(lies_in(&machines.folder("there")), ["mine"]);
}
