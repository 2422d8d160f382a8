//! Names that are more than names where they would lie, and names that are hard to show: what `get` does about them.
#![cfg(unix)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hostile::hello;
use protocol::PeerId;
use testbed::event::{Manifest, Names, Ready};
use tests::machines::{Machines, ticket};
use tests::{PATIENCE, Process, Swarm, noise, peer_cli};
use transport::{Config, Identity, Kind};

/// A machine `here` that shares these, and their tickets.
fn shared(machines: &Machines, paths: &[&str]) -> (Process, Vec<String>) {
    let arguments: Vec<_> = ["-d=0"].iter().chain(paths).copied().collect();
    let mut sharer = machines.share("here", &arguments);
    let tickets = paths.iter().map(|_| ticket(&mut sharer)).collect();
    (sharer, tickets)
}

/// `get` in the folder of `there`, whose home is `home`: its status and what it said, on both streams.
fn get(machines: &Machines, ticket: &str, arguments: &[&str]) -> (i32, String) {
    let arguments = [&[ticket, "--no-progress", "--hashes=hashes"], arguments].concat();
    run(machines.command("there", "get", &arguments).env("HOME", machines.folder("home")))
}

fn run(command: &mut Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Names in a folder of a machine, but for what every peer makes.
fn lies_in(machines: &Machines, machine: &str) -> Vec<String> {
    let entries = fs::read_dir(machines.folder(machine)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "hashes" && name != "certs");
    names.sort();
    names
}

#[test]
fn hidden_names_at_the_top_of_a_home_or_working_folder_are_refused() {
    let machines = Machines::new();
    machines.put("here", ".bashrc", b"evil");
    machines.put("here", "home/.ssh/authorized_keys", b"ssh-ed25519 AAAA");
    machines.put("here", "home/inner/.hidden", b"1");
    machines.put("here", "there/.envrc", b"evil");
    let (_sharer, tickets) = shared(&machines, &[".bashrc", "home", "there"]);
    let (there, home) = (machines.folder("there"), machines.folder("home"));
    std::os::unix::fs::symlink(&home, machines.folder("links").join("to-home")).unwrap();
    let (here, to_home) = (format!("{}/", there.display()), machines.folder("links").join("to-home"));
    for output in [".", "./", &here, "../there", home.to_str().unwrap(), to_home.to_str().unwrap()] {
        let (status, said) = get(&machines, &tickets[0], &["-o", output]);
        assert_eq!(status, 7, "{output}: {said}");
        assert!(said.contains("\".bashrc\" (hidden") && said.contains("--names rename"), "{said}");
    }
    // A folder that has the name of the home, beside it, or that of the folder that we work in.
    for (ticket, name) in [(&tickets[1], "home/.ssh/authorized_keys"), (&tickets[2], "there/.envrc")] {
        let (status, said) = get(&machines, ticket, &["-o", "..", "--force"]);
        assert_eq!(status, 7, "{said}");
        assert!(said.contains(&format!("{name:?} (hidden")) && !said.contains("inner"), "{said}");
    }
    assert!(lies_in(&machines, "there").is_empty() && lies_in(&machines, "home").is_empty());
    assert!(!there.join("hashes").exists(), "nothing is written, and nothing is remembered");
    // Elsewhere it is a name like any other.
    assert_eq!(get(&machines, &tickets[0], &["-o", "elsewhere"]).0, 0);
    assert_eq!(machines.read("there", "elsewhere/.bashrc"), b"evil");
}

#[test]
fn doubtful_names_are_left_out_or_mapped_if_asked_for() {
    let machines = Machines::new();
    machines.put("here", "home/.ssh/authorized_keys", b"ssh-ed25519 AAAA");
    machines.put("here", "home/.profile", b"evil");
    machines.put("here", "home/good", &noise(100_000, 1));
    let (_sharer, tickets) = shared(&machines, &["home"]);
    let (status, said) = get(&machines, &tickets[0], &["-o", "..", "--force", "--names", "skip"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Left out for their names: home/.profile, home/.ssh/authorized_keys"), "{said}");
    assert_eq!(lies_in(&machines, "home"), ["good"]);
    assert_eq!(machines.read("home", "good"), noise(100_000, 1));
    let (status, said) = get(&machines, &tickets[0], &["-o", "..", "--names=rename"]);
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("Written under other names: home/.profile as home/%2Eprofile, home/.ssh as home/%2Essh"),
        "{said}"
    );
    assert_eq!(lies_in(&machines, "home"), ["%2Eprofile", "%2Essh", "good"]);
    assert_eq!(machines.read("home", "%2Essh/authorized_keys"), b"ssh-ed25519 AAAA");
    let mut hashes = fs::read_dir(machines.folder("there").join("hashes")).unwrap().map(|entry| entry.unwrap().path());
    let record = hashes.find(|path| path.extension().is_some_and(|end| end == "names")).unwrap();
    assert!(fs::read_to_string(record).unwrap().contains("home/%2Essh\t\"home/.ssh\"\n"));
    // It is there already, whether that is said again or not.
    for arguments in [&["-o", "..", "--names=rename"][..], &["-o", ".."]] {
        let (status, said) = get(&machines, &tickets[0], arguments);
        assert_eq!(status, 0, "{said}");
        assert!(said.contains("is here already, and right"), "{said}");
    }
    assert_eq!(lies_in(&machines, "home"), ["%2Eprofile", "%2Essh", "good"]);
    // With `refuse` it does not matter what was done before.
    assert_eq!(get(&machines, &tickets[0], &["-o", "..", "--names=refuse"]).0, 7);
}

#[test]
fn a_hidden_file_that_is_spelt_out_is_wanted() {
    let machines = Machines::new();
    machines.put("here", "there/.bashrc", b"mine");
    machines.put("here", "there/.profile", b"not mine");
    let (_sharer, tickets) = shared(&machines, &["there"]);
    for pattern in ["*", ".*", ".b*"] {
        let (status, said) = get(&machines, &tickets[0], &["-o", "..", "--only", pattern]);
        assert_eq!(status, 7, "{pattern}: {said}");
    }
    let (status, said) = get(&machines, &tickets[0], &["-o", "..", "--only", ".bashrc"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(lies_in(&machines, "there"), [".bashrc"]);
    assert_eq!(get(&machines, &tickets[0], &["-o", "..", "--only", ".bashrc", "--only", "*"]).0, 7);
}

#[test]
fn what_the_programs_read_where_they_work_does_not_come_from_a_download() {
    let machines = Machines::new();
    let names = ["p2p-fileshare.toml", "P2P-Fileshare.TOML", "certs", "p2p-fileshare"];
    machines.put("here", names[0], b"[peer-cli]\n");
    machines.put("here", "P2P-Fileshare.TOML/x", b"[peer-cli]\n");
    machines.put("here", "certs/notes", b"evil");
    machines.put("here", "p2p-fileshare/p2p-fileshare.toml", b"[peer-cli]\n");
    let (_sharer, tickets) = shared(&machines, &names);
    for (ticket, name) in tickets.iter().zip(&names[..3]) {
        let (status, said) = get(&machines, ticket, &["-o", "."]);
        assert_eq!(status, 7, "{said}");
        assert!(said.contains("read by these programs"), "{said}");
        assert_eq!(get(&machines, ticket, &["-o", "elsewhere"]).0, 0, "{name}");
    }
    // The folder of settings may be anywhere.
    assert_eq!(get(&machines, &tickets[3], &["-o", "config"]).0, 7);
    assert_eq!(get(&machines, &tickets[0], &["-o", "config/p2p-fileshare"]).0, 7);
    let (status, said) = get(&machines, &tickets[0], &["-o", ".", "--names", "rename"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("p2p-fileshare.toml as %702p-fileshare.toml"), "{said}");
    assert_eq!(lies_in(&machines, "there"), ["%702p-fileshare.toml", "elsewhere"]);
}

const ODD: [&str; 4] = ["a\u{1b}[2Jb", "c\nssh-ed25519 AAAA", "d\u{202e}txt.exe", "%0A"];

#[test]
fn names_that_are_hard_to_show_are_written_and_shown_escaped() {
    let machines = Machines::new();
    ODD.iter().for_each(|name| machines.put("here", &format!("odd/{name}"), name.as_bytes()));
    machines.put("here", "odd/\n/%0A", b"deep");
    let (_sharer, tickets) = shared(&machines, &["odd"]);
    let is_clean = |said: &str| {
        let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        !said.chars().any(bad) && !said.lines().any(|line| line.starts_with("ssh-"))
    };
    let mut command = machines.command("there", "get", &[&tickets[0], "--log-level=trace"]);
    let (status, said) = run(command.env("HOME", machines.folder("home")));
    assert_eq!(status, 0, "{said}");
    assert!(is_clean(&said), "{said:?}");
    assert!(
        said.contains("Names with control characters or invisible marks, shown escaped: odd/\\u{a}, odd/a\\u{1b}[2Jb"),
        "{said}"
    );
    ODD.iter().for_each(|name| assert_eq!(machines.read("there", &format!("output/odd/{name}")), name.as_bytes()));
    let (status, said) = run(&mut machines.command("there", "inspect", &[&tickets[0]]));
    assert_eq!(status, 0, "{said}");
    assert!(is_clean(&said) && said.contains("c\\u{a}ssh-ed25519"), "{said:?}");
    // Only if it is said in so many words.
    let (status, said) = get(&machines, &tickets[0], &["-o", "refused", "--names", "refuse"]);
    assert_eq!(status, 7, "{said}");
    assert!(is_clean(&said) && said.contains("control characters") && !said.contains("\"odd/%0A\""), "{said:?}");
    assert!(!machines.folder("there").join("refused").exists());
    let (status, said) = get(&machines, &tickets[0], &["-o", "skipped", "--names", "skip"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(lies_in(&machines, "there/skipped/odd"), ["%0A"]);
    // A name that looks like a mapped one gives way where there is one.
    let (status, said) = get(&machines, &tickets[0], &["-o", "renamed", "--names", "rename"]);
    assert_eq!(status, 0, "{said}");
    let mapped = ["%0A", "%250A", "a%1B[2Jb", "c%0Assh-ed25519 AAAA", "d%E2%80%AEtxt.exe"];
    assert_eq!(lies_in(&machines, "there/renamed/odd"), mapped);
    assert_eq!(machines.read("there", "renamed/odd/%250A"), b"%0A");
    assert_eq!(machines.read("there", "renamed/odd/%0A/%0A"), b"deep");
}

#[test]
fn a_mapped_download_goes_on_where_it_was() {
    let machines = Machines::new();
    let bytes = noise(4 << 20, 9);
    machines.put("here", "odd/a\nb", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "--up-rate=768KiB", "odd"]);
    let ticket = ticket(&mut sharer);
    let arguments = [ticket.as_str(), "--names=rename", "--json"];
    let mut getter = machines.get("there", &arguments);
    getter.pieces(1400);
    getter.kill();
    assert!(machines.folder("there").join("output/.odd.part/a%0Ab").exists());
    let mut again = machines.get("there", &arguments);
    assert!(again.event::<Manifest>().have > 0);
    let names = again.event::<Names>();
    assert_eq!(names.renamed[0][0], "odd/a\nb");
    again.ends_with(0);
    assert!(machines.read("there", "output/odd/a%0Ab") == bytes);
}

#[test]
fn the_originals_way_has_the_flag_too() {
    let swarm = Swarm::new();
    swarm.put("seeder", ".bashrc", b"evil");
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let get = |arguments: &[&str]| {
        let arguments: Vec<_> =
            ["-f", ".bashrc", "--output=.", "--exit-when-done"].iter().chain(arguments).copied().collect();
        run(&mut swarm.command("peer", &arguments))
    };
    let (status, said) = get(&[]);
    assert_eq!(status, 7, "{said}");
    assert!(!swarm.folder("peer").join(".bashrc").exists());
    assert_eq!(get(&["--names=rename"]).0, 0);
    assert_eq!(fs::read(swarm.folder("peer").join("%2Ebashrc")).unwrap(), b"evil");
}

/// Settings that came in a download, and someone who works where they lie.
#[test]
fn received_settings_change_nothing() {
    let machines = Machines::new();
    let (log, text) = (machines.folder("home").join("profile"), machines.folder("home"));
    let gift = format!(
        "[peer-cli]\nlog-file = {log:?}\nlog-level = \"trace\"\nforce = true\noutput = {text:?}\ntracker-port = 1\n"
    );
    machines.put("here", "gift/p2p-fileshare.toml", gift.as_bytes());
    machines.put("here", "notes", b"evil");
    machines.put("home", "notes", b"my notes");
    let (_sharer, tickets) = shared(&machines, &["gift", "notes"]);
    assert_eq!(get(&machines, &tickets[0], &["-o", "out"]).0, 0);
    let folder = machines.folder("there").join("out/gift");
    let in_gift = |arguments: &[&str]| {
        let mut command = peer_cli();
        command
            .env_remove("P2P_CONFIG")
            .env("XDG_CONFIG_HOME", machines.folder("none"))
            .current_dir(&folder)
            .args(arguments);
        run(&mut command)
    };
    let (status, said) = in_gift(&["get", &tickets[1], "-o", "output", "--bind=127.0.0.1"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(fs::read(folder.join("output/notes")).unwrap(), b"evil");
    // The original's way reads the file, but for its paths.
    let (status, said) = in_gift(&["-i", "127.0.0.1", "-f", "notes"]);
    let left = |long: &str| said.contains(&format!("`{long}` is not read in the working folder"));
    assert!(status != 0 && left("log-file") && left("output"), "{said}");
    assert!(!Path::new(&log).exists());
    assert_eq!(machines.read("home", "notes"), b"my notes");
}

/// Why a peer closes its connection, it says itself.
#[test]
fn a_reason_with_a_newline_makes_no_line_of_the_log() {
    for kind in [Kind::Quic, Kind::Tcp] {
        let swarm = Swarm::new();
        swarm.put("seeder", "file", &noise(3_000, 1));
        let mut seeder = swarm.peer("seeder", &["-S", "--json", "--log-level=trace", "--log-file=log"]);
        let ready = seeder.event::<Ready>();
        let address: SocketAddr = ready.listeners[0].parse().unwrap();
        let id: PeerId = ready.id.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let transport = runtime.block_on(async {
            let config = Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()]);
            kind.bind(config).unwrap()
        });
        runtime.block_on(async {
            let connection = transport.dial(address, id).await.unwrap();
            let (mut send, _recv) = connection.open().await.unwrap();
            send.send(hello().into()).await.unwrap();
            connection.close(7, "x\nssh-ed25519 AAAA\r\u{1b}[2J\u{202e}");
        });
        let read = || fs::read_to_string(swarm.folder("seeder").join("log")).unwrap();
        let until = Instant::now() + PATIENCE;
        while !read().contains("ssh-ed25519") {
            assert!(Instant::now() < until, "{kind:?}: nothing of it is logged: {}", read());
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = read();
        assert!(log.contains(r"x\u{a}ssh-ed25519 AAAA\u{d}\u{1b}[2J\u{202e}"), "{kind:?}: {log}");
        assert!(!log.lines().any(|line| line.starts_with("ssh-")), "{kind:?}: {log}");
    }
}
