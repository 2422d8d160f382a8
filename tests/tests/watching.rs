//! `peer-cli watch` and `ls --watch`: a fleet seen from anywhere, while it downloads.

use std::collections::BTreeMap;
#[cfg(unix)]
use std::process::Stdio;

use testbed::event::{Listed, Watched};
use tests::{Process, Swarm, noise};

const SIZE: usize = 8 << 20;

fn watch(swarm: &Swarm, flags: &[&str]) -> Process {
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("watcher")).arg("watch").arg(format!("127.0.0.1:{}", swarm.port));
    command.arg("--certs").arg(swarm.certs()).args(["--bind", "127.0.0.1"]).args(flags);
    Process::start("watcher", command)
}

fn ls(swarm: &Swarm, flags: &[&str]) -> Process {
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("watcher")).arg("ls").arg(format!("127.0.0.1:{}", swarm.port));
    command.arg("--certs").arg(swarm.certs()).args(["--bind", "127.0.0.1"]).args(flags);
    Process::start("watcher", command)
}

#[test]
fn six_downloaders_are_seen_to_get_further_and_from_whom_until_all_have_it() {
    let swarm = Swarm::new();
    swarm.put("seeder", "big.bin", &noise(SIZE, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size", "16KiB", "--up-rate", "4MiB"]);
    let mut watcher = watch(&swarm, &["--json", "--until-complete", "--copies", "7"]);
    let getters: Vec<_> =
        (0..6).map(|n| swarm.downloader(&format!("getter-{n}"), "big.bin", &["--down-rate", "1MiB"])).collect();
    let mut seen: BTreeMap<String, Vec<Watched>> = BTreeMap::new();
    // Until every one of them was seen to be on its way, or to have it.
    while seen.len() < 7 || !seen.values().flatten().any(|peer| peer.down > 0 && !peer.from.is_empty()) {
        let event = watcher.event::<Watched>();
        assert_eq!(event.name, "big.bin");
        assert!(!event.address.is_empty() && event.have <= event.pieces, "{event:?}");
        seen.entry(event.peer.clone()).or_default().push(event);
    }
    let sources = seen.values().flatten().flat_map(|peer| peer.from.keys());
    assert!(sources.into_iter().all(|peer| peer.len() == 64));
    watcher.ends_with(0);
    drop(getters);
}

#[test]
fn rows_are_plain_lines_where_nobody_reads_a_terminal() {
    let swarm = Swarm::new();
    swarm.put("seeder", "a.bin", &noise(100_000, 1));
    swarm.put("seeder", "b.txt", b"text");
    let mut seeder = swarm.seeder("seeder", 2, &[]);
    let mut watcher = watch(&swarm, &["--only", "*.bin"]);
    watcher.line("PEER");
    let row = watcher.line("100%");
    assert!(row.starts_with("127.0.0.1") && !row.contains('\u{1b}'), "{row}");
    let mut list = ls(&swarm, &["--watch", "--json", "--only", "*.bin"]);
    assert_eq!(list.event::<Listed>().name, "a.bin");
    seeder.type_line("exit");
    seeder.ends_with(0);
}

#[test]
fn patterns_choose_what_is_listed_and_each_that_matches_nothing_is_named() {
    let swarm = Swarm::new();
    swarm.put("seeder", "a[1].bin", &noise(100, 1));
    swarm.put("seeder", "b.txt", b"text");
    let _seeder = swarm.seeder("seeder", 2, &[]);
    let mut list = ls(&swarm, &["--only", "a[1].bin"]);
    list.line("a[1].bin");
    list.ends_with(0);
    let mut list = ls(&swarm, &["--only", "*.txt", "--only", "*.iso", "--only", "x"]);
    list.ends_with(4);
    assert!(list.errors().contains(r#""*.iso", "x""#), "{}", list.errors());
}

#[test]
fn in_a_closed_swarm_only_members_watch() {
    let swarm = Swarm::closed();
    swarm.put("seeder", "big.bin", &noise(SIZE, 1));
    let ca = swarm.certs().join("ca.pem").display().to_string();
    let _seeder = swarm.seeder("seeder", 1, &["--ca", &ca]);
    let mut stranger = watch(&swarm, &["--json", "--until-complete"]);
    stranger.ends_with(3);
    let mut member = watch(&swarm, &["--json", "--until-complete", "--ca", &ca]);
    assert_eq!(member.event::<Watched>().role, "seeder");
    member.ends_with(0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_and_that_is_a_failure_only_where_something_was_waited_for() {
    let swarm = Swarm::new();
    for (flags, code) in [(&[][..], 0), (&["--until-complete"], 130)] {
        let mut watcher = watch(&swarm, flags);
        // Nobody shares anything: there is no line to wait for.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        watcher.signal("INT");
        watcher.ends_with(code);
    }
}

/// The reader of the lines may have enough of them.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_the_end() {
    let swarm = Swarm::new();
    swarm.put("seeder", "a.bin", &noise(100_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("watcher")).arg("ls").arg(format!("127.0.0.1:{}", swarm.port)).arg("--watch");
    command.arg("--certs").arg(swarm.certs()).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut list = command.spawn().unwrap();
    drop(list.stdout.take());
    assert_eq!(list.wait().unwrap().code(), Some(0));
}
