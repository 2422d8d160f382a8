//! Settings from the environment and from `p2p-fileshare.toml`, as users of the programs would write them.

use std::fs;

use testbed::event::{Ready, Wanted};
use tests::{Process, Swarm, noise, peer_cli};

/// The file that the peer is told of says everything; a variable and a flag have their say over it.
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
    fs::write(folder.join("peers.toml"), file).unwrap();
    let run = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = peer_cli();
        command
            .env_remove("P2P_CONFIG")
            .current_dir(&folder)
            .args([&certs, "--config=peers.toml"])
            .args(words)
            .envs(variables.iter().copied());
        let mut peer = Process::start("peer", command);
        let name = peer.event::<Wanted>().name;
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
        value.contains("p2p-fileshare.toml, line 3: `up-rate`: \"fast\" is not valid: \"fast\" is no rate"),
        "{value}"
    );
}

/// A peer, started the original's way in a folder that came with a file of settings.
#[test]
fn a_settings_file_from_others_shares_no_key() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(3_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let folder = swarm.folder("peer");
    let (key, certs) = (swarm.folder("home").join("id_ed25519"), format!("--certs={}", swarm.certs().display()));
    fs::write(&key, b"secret").unwrap();
    let gift = format!(
        "[peer-cli]\ntracker-ip = \"203.0.113.1\"\nseeder = true\nfile = [{:?}, \"../../home/id_ed25519\"]\nbind = \
         \"0.0.0.0\"\ntracker-id = \"{}\"\nlisteners = 2\n",
        key.display(),
        "0".repeat(64),
    );
    fs::write(folder.join("p2p-fileshare.toml"), gift).unwrap();
    let mut command = peer_cli();
    let port = format!("-d={}", swarm.port);
    let words =
        ["-i", "127.0.0.1", &port, "-p0", "--bind=127.0.0.1", "-f", "file", "--json", "--exit-when-done", &certs];
    command.env_remove("P2P_CONFIG").current_dir(&folder).args(words);
    let mut peer = Process::start("peer", command);
    assert_eq!(peer.event::<Ready>().listeners.len(), 2, "what is harmless counts");
    assert_eq!(peer.event::<Wanted>().name, "file");
    peer.ends_with(0);
    for long in ["seeder", "tracker-id"] {
        assert!(peer.errors().contains(&format!("`{long}` is not read in the working folder")), "{}", peer.errors());
    }
}

#[test]
fn the_tracker_reads_its_own_table_and_variables() {
    let swarm = Swarm::new();
    let file = swarm.certs().with_file_name("tracker.toml");
    fs::write(&file, "[tracker]\nbind = \"127.0.0.1\"\nport = 70000\n").unwrap();
    let errors = swarm.tracker_ends(&["--config", file.to_str().unwrap()], 2);
    assert!(errors.contains("tracker.toml, line 3: `port`"), "{errors}");
}
