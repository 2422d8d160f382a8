//! Settings from the environment and from `p2p-fileshare.toml`, as whoever starts the programs would write them.

use std::fs;

use tests::{Process, Swarm, noise, peer_cli};

/// In the peer's folder, the file says everything; a variable and a flag have their say over it.
#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let swarm = Swarm::new();
    swarm.put("seeder", "from-the-line", &noise(3_000, 1));
    swarm.put("seeder", "from-the-environment", &noise(3_000, 2));
    swarm.put("seeder", "from-the-file", &noise(3_000, 3));
    let _seeder = swarm.seeder("seeder", 3, &[]);
    let folder = swarm.folder("peer");
    let certs = format!("--certs={}", swarm.certs().display());
    let file = format!(
        "# How peers start here.\n[peer-cli]\ntracker-ip = \"127.0.0.1\"\ntracker-port = {}\nport = 0\nbind = \"127.0.0.1\"\n\
         file = [\"from-the-file\"]\nexit-when-done = true\njson = true\n\n[tracker]\nport = 1\n",
        swarm.port
    );
    fs::write(folder.join("p2p-fileshare.toml"), file).unwrap();
    let run = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = peer_cli();
        command.env_remove("P2P_CONFIG").current_dir(&folder).arg(&certs).args(words).envs(variables.iter().copied());
        let mut peer = Process::start("peer", command);
        let name = peer.event("wanted")["name"].as_str().unwrap().to_owned();
        peer.ends_with(0);
        name
    };
    assert_eq!(run(&[], &[]), "from-the-file");
    let variable = [("P2P_FILE", "from-the-environment")];
    assert_eq!(run(&variable, &[]), "from-the-environment");
    assert_eq!(run(&variable, &["-f", "from-the-line"]), "from-the-line");
    assert_eq!(swarm.output("peer", "from-the-line"), noise(3_000, 1));
}

#[test]
fn a_slip_in_the_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p2p-fileshare.toml");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = peer_cli();
        command.env_remove("P2P_CONFIG").current_dir(folder.path()).args(["-i", "127.0.0.1"]);
        let mut peer = Process::start("peer", command);
        peer.ends_with(2);
        peer.errors()
    };
    let key = run("[peer-cli]\nlistners = 5\n");
    assert!(
        key.contains("p2p-fileshare.toml, line 2: there is no setting `listners`; did you mean `listeners`?"),
        "{key}"
    );
    let value = run("[peer-cli]\n\nup-rate = \"fast\"\n");
    assert!(
        value.contains("p2p-fileshare.toml, line 3: `up-rate`: \"fast\" does not do: \"fast\" is no rate"),
        "{value}"
    );
}

#[test]
fn the_tracker_reads_its_own_table_and_variables() {
    let swarm = Swarm::new();
    let file = swarm.certs().with_file_name("tracker.toml");
    fs::write(&file, "[tracker]\nbind = \"127.0.0.1\"\nport = 70000\n").unwrap();
    let errors = swarm.tracker_ends(&["--config", file.to_str().unwrap()], 2);
    assert!(errors.contains("tracker.toml, line 3: `port`"), "{errors}");
}
