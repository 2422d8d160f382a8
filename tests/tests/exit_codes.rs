//! Every exit status of `docs/exit-codes.md`, as a script would meet it.

use std::fs;
use std::sync::Arc;

use protocol::{TrackerEvent, Wire};
#[cfg(unix)]
use testbed::event::{Bye, Error, Manifest};
use testbed::event::{Kind, Lacking};
use tests::{Process, Swarm, noise, peer_cli};
use transport::frame::frame;
use transport::{Config, Identity, Quic, Transport};

#[test]
fn usage_is_2() {
    let mut command = peer_cli();
    command.args(["-i", "localhost", "-r1", "2"]);
    Process::start("usage", command).ends_with(2);
}

#[test]
fn a_folder_is_not_verified_and_that_is_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/one"), "x").unwrap();
    let run = |command: &str| {
        let mut program = peer_cli();
        program.current_dir(folder.path()).args([command, "photos"]);
        Process::start(command, program)
    };
    run("hash").ends_with(0);
    let mut verify = run("verify");
    verify.ends_with(2);
    assert!(verify.errors().contains("verify checks a file, and photos is a folder. "), "{}", verify.errors());
}

/// What has no number of its own.
#[test]
fn another_error_is_1() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let mut command = peer_cli();
    command.current_dir(folder.path()).args(["verify", "file"]);
    let mut peer = Process::start("no manifest", command);
    peer.ends_with(1);
    assert!(peer.errors().contains("for a file of your own, make it with `peer-cli hash`"), "{}", peer.errors());
}

#[test]
fn a_silent_or_wrong_tracker_is_3() {
    let swarm = Swarm::new();
    let mut command = peer_cli();
    command.args(["-i", "127.0.0.1", "-d", "9", "-p", "0", "--tracker-id", &"ab".repeat(32)]);
    Process::start("no tracker", command).ends_with(3);
    let wrong = ["--tracker-id", &"ab".repeat(32), "-f", "x"];
    swarm.peer("peer", &wrong).ends_with(3);
}

#[test]
fn what_nobody_shares_is_4() {
    let swarm = Swarm::new();
    swarm.peer("peer", &["-f", "nothing"]).ends_with(4);
    // Longer than clocks can tell was once a crash that nobody noticed.
    let mut patient = swarm.peer("patient", &["-f", "nothing", "--wait", "500000000000years"]);
    patient.wait_for("waiting", |line| line.contains("waiting for it").then_some(()));
    // A seeder that is to share what is not there has not found it either.
    swarm.peer("peer", &["-S", "-f", "nothing"]).ends_with(4);
    swarm.peer("peer", &["-S", "--input", "nowhere"]).ends_with(4);
}

#[test]
fn a_piece_that_nobody_has_is_5_after_the_wait() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=1KiB", "-m", "3", "4", "7"]);
    let mut peer = swarm.downloader("peer", "file", &["--wait", "1s", "--exit-when-done"]);
    peer.find_event("lacking pieces", |event| {
        Lacking::from_event(event).filter(|lacking| lacking.pieces == [[3, 2], [7, 1]])
    });
    peer.ends_with(5);
}

#[test]
fn a_port_in_use_is_6() {
    let swarm = Swarm::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut command = peer_cli();
    command.args(["-i", "127.0.0.1", "--bind", "127.0.0.1", "-p"]).arg(taken.local_addr().unwrap().port().to_string());
    command.arg("-d").arg(swarm.port.to_string()).args(["--tracker-id", &"ab".repeat(32)]);
    Process::start("port in use", command).ends_with(6);
}

#[test]
fn an_output_folder_that_cannot_be_is_7() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    fs::write(swarm.folder("peer").join("output"), "a file, not a folder").unwrap();
    let mut peer = swarm.peer("peer", &["-f", "file"]);
    peer.ends_with(7);
    let said = peer.errors();
    assert!(said.contains("the folder output cannot be made") && said.contains("--output"), "{said}");
    // A different file of that name is kept, not overwritten.
    fs::create_dir_all(swarm.folder("other").join("output")).unwrap();
    fs::write(swarm.folder("other").join("output/file"), "mine").unwrap();
    swarm.peer("other", &["-f", "file"]).ends_with(7);
    assert_eq!(swarm.output("other", "file"), b"mine");
}

/// The system says that such a folder is not there, which once passed for a missing file and ended with 1.
#[cfg(target_os = "linux")]
#[test]
fn an_output_folder_where_none_can_be_made_is_7() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let mut peer = swarm.peer("peer", &["-f", "file", "--output=/proc/nowhere"]);
    peer.ends_with(7);
    assert!(peer.errors().contains("the folder /proc/nowhere cannot be made"), "{}", peer.errors());
}

/// A file system of its own, in namespaces of its own; where the system allows none, there is nothing to see.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_8() {
    use std::process::Command;
    let may = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this system allows no mount namespaces");
        return;
    }
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(3 << 20, 1));
    let _seeder = swarm.seeder("seeder", 1, &[]);
    fs::create_dir_all(swarm.folder("peer").join("output")).unwrap();
    let peer = swarm.command("peer", &["-f", "file"]);
    let mut command = Command::new("unshare");
    command.current_dir(swarm.folder("peer"));
    command.args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs output && exec \"$0\" \"$@\""]);
    command.arg(peer.get_program()).args(peer.get_args());
    Process::start("full disk", command).ends_with(8);
}

#[test]
fn a_file_that_is_not_its_manifests_is_9() {
    let swarm = Swarm::new();
    let folder = swarm.folder("peer");
    let path = folder.join("file");
    let run = |arguments: &[&str]| {
        let mut command = peer_cli();
        command.current_dir(&folder).args(arguments);
        Process::start("peer-cli", command)
    };
    let mut bytes = noise(10_000, 1);
    fs::write(&path, &bytes).unwrap();
    run(&["hash", "file", "--piece-size", "1KiB"]).ends_with(0);
    run(&["verify", "file"]).ends_with(0);
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut verify = run(&["verify", "file"]);
    assert_eq!(verify.line("differ"), "file: bytes 4096 to 5119 differ");
    verify.ends_with(9);
}

/// A tracker that refuses everyone, as one of another version would.
#[test]
fn a_refusal_is_10() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (transport, address) = runtime.block_on(async {
        let listeners = vec!["127.0.0.1:0".parse().unwrap()];
        let transport = Quic::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap();
        let address = transport.listeners()[0];
        (Arc::new(transport), address)
    });
    let id = transport.peer_id().to_string();
    let tracker = transport.clone();
    runtime.spawn(async move {
        let connection = tracker.accept().await.unwrap();
        let (mut send, _recv) = connection.accept().await.unwrap();
        let refusal = TrackerEvent::Refused("it speaks another version".to_owned()).encode().unwrap();
        send.send(frame(&refusal)).await.unwrap();
        connection.closed().await;
    });
    let mut command = peer_cli();
    command.args(["-i", "127.0.0.1", "--bind", "127.0.0.1", "-p", "0", "-f", "x", "--tracker-id", &id, "-d"]);
    command.arg(address.port().to_string());
    let mut peer = Process::start("refused", command);
    peer.ends_with(10);
    assert!(peer.errors().contains("it speaks another version"), "{}", peer.errors());
    runtime.shutdown_background();
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_130_and_being_told_to_end_is_0() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(10_000, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    seeder.signal("INT");
    seeder.ends_with(130);
    assert!(!seeder.errors().contains("kept"), "it downloads nothing: {}", seeder.errors());
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    seeder.signal("TERM");
    seeder.ends_with(0);
}

/// The first Ctrl-C keeps what is verified and says goodbye; a second one does not wait for that.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_verified() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(4 << 20, 1));
    let _seeder = swarm.seeder("seeder", 1, &["--piece-size=16KiB", "--up-rate=1MiB"]);
    let mut peer = swarm.downloader("peer", "file", &[]);
    peer.pieces(8);
    peer.signal("INT");
    assert_eq!(peer.event::<Error>().code, 130);
    peer.event::<Bye>();
    peer.ends_with(130);
    let mut peer = swarm.downloader("peer", "file", &[]);
    assert!(peer.event::<Manifest>().have >= 8);
    // A tracker that does not answer keeps a goodbye waiting.
    swarm.tracker.signal("STOP");
    peer.signal("INT");
    peer.event::<Error>();
    peer.signal("INT");
    peer.ends_with(130);
    swarm.tracker.signal("CONT");
}

#[test]
fn a_tracker_whose_port_is_in_use_is_6_and_one_without_a_folder_is_7() {
    let swarm = Swarm::new();
    let errors = swarm.tracker_ends(&["--bind", "127.0.0.1", "-p", &swarm.port.to_string()], 6);
    assert!(errors.contains("stop the program that has it"), "{errors}");
    let file = swarm.folder("peer").join("a-file");
    fs::write(&file, "").unwrap();
    let errors = swarm.tracker_ends(&["--bind", "127.0.0.1", "-p", "0", "--certs", file.to_str().unwrap()], 7);
    assert!(errors.contains("choose another with --certs"), "{errors}");
}

/// A reader that has seen enough ends no program with an error; one that takes nothing does, with a sentence.
#[cfg(target_os = "linux")]
#[test]
fn output_that_nobody_reads_is_0_and_output_that_fails_is_7() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = peer_cli().args(["completions", "bash"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = peer_cli().args(["completions", "bash"]).stdout(full).stderr(std::process::Stdio::piped()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("standard output takes no more"), "{said}");
}
