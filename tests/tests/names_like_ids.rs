//! A file may have any name, even that of an id, and a content's id or ticket finds only that content.

use std::process::{Output, Stdio};

use hostile::{Hostile, Script, answer};
use protocol::{Algorithm, ContentId, Digest, FileEntry, Geometry, Manifest, ManifestHeader, Request, Ticket};
use testbed::event::Sharing;
use tests::{Process, Swarm, noise};

const PIECE: u32 = 1 << 20;

/// An honest seeder's content, and its ticket.
fn honest(swarm: &Swarm, bytes: &[u8]) -> (Process, ContentId, String) {
    swarm.put("honest", "real.bin", bytes);
    let mut seeder = swarm.peer("honest", &["-S", "--json"]);
    let content = seeder.event::<Sharing>().content.parse().unwrap();
    let tracker = swarm.tracker_address();
    let ticket = Ticket::new(tracker.id, tracker.addresses, content).unwrap().to_string();
    (seeder, content, ticket)
}

/// A seeder of a file of this name that announces it by that name, whatever it reads as.
fn announced_so(swarm: &Swarm, name: &str, bytes: &[u8]) -> Hostile {
    let file = FileEntry { path: name.to_owned(), size: bytes.len() as u64, executable: false, root: Digest([0; 32]) };
    let header = ManifestHeader {
        name: name.to_owned(),
        folder: false,
        algorithm: Algorithm::Sha256,
        piece_size: PIECE,
        files: vec![file],
        empty_folders: vec![],
    };
    let geometry = Geometry::new(PIECE, vec![bytes.len() as u64]).unwrap();
    let digest = Algorithm::Sha256.integrity().piece(geometry.piece(0).unwrap().place(), bytes);
    let manifest = Manifest::build(header, &[digest]).unwrap();
    let (content, manifest, bytes) = (manifest.id(), manifest.bytes().clone(), bytes.to_vec());
    let script = Script::answers(content, 1, move |request| match request {
        Request::Manifest { .. } => Some(answer(&manifest)),
        Request::Pieces { .. } | Request::AwaitedPieces { .. } => Some(answer(&bytes)),
        Request::FirstPieces { .. } | Request::UpRate { .. } | Request::Receivers { .. } => None,
    });
    Hostile::seeder(&swarm.tracker_address(), content, name, script)
}

/// Runs `peer-cli` in an empty folder.
fn run(swarm: &Swarm, arguments: &[&str]) -> Output {
    let _ = std::fs::remove_dir_all(swarm.folder("there"));
    let mut command = tests::peer_cli();
    command.current_dir(swarm.folder("there")).args(arguments).arg("--bind=127.0.0.1");
    if arguments[0] == "get" && !arguments.contains(&"-o") {
        command.arg("--output=output");
    }
    command.arg("--certs").arg(swarm.certs()).stdin(Stdio::null()).output().unwrap()
}

/// Each way to ask for a content by its id or ticket.
fn ways<'a>(id: &'a str, ticket: &'a str, port: &'a str) -> Vec<Vec<&'a str>> {
    let tracker = ["-i", "127.0.0.1", "-d", port];
    vec![
        vec!["get", ticket],
        [&["get", id][..], &tracker].concat(),
        [&["get", id, "-o", "-"][..], &tracker].concat(),
        [&tracker[..], &["-p", "0", "--exit-when-done", "-f", id]].concat(),
        [&tracker[..], &["-p", "0", "--exit-when-done", "-f", ticket]].concat(),
        [&["inspect", id][..], &tracker].concat(),
        vec!["inspect", ticket],
    ]
}

#[test]
fn a_file_called_as_the_id_of_another_is_never_delivered_for_it() {
    let swarm = Swarm::new();
    let (bytes, evil) = (noise(400_000, 1), noise(400_000, 2));
    let (mut seeder, content, ticket) = honest(&swarm, &bytes);
    let (id, port) = (content.to_string(), swarm.port.to_string());
    // By an unmodified program, and by one that announces it all the same.
    swarm.put("evil", &id, &evil);
    swarm.put("evil", &ticket, &evil);
    let _evil = swarm.seeder("evil", 2, &[]);
    let _announced: Vec<_> = [&id, &ticket].map(|name| announced_so(&swarm, name, &evil)).into();
    for arguments in ways(&id, &ticket, &port) {
        let output = run(&swarm, &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        match (arguments[0], arguments.contains(&"-")) {
            ("inspect", _) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains("name        real.bin") && said.contains(&id), "{arguments:?}: {said}");
            }
            (_, true) => assert!(output.stdout == bytes, "{arguments:?}: {} bytes", output.stdout.len()),
            _ => assert!(swarm.output("there", "real.bin") == bytes, "{arguments:?}"),
        }
    }
    seeder.type_line("exit");
    seeder.ends_with(0);
    for arguments in ways(&id, &ticket, &port) {
        let output = run(&swarm, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {errors}");
        assert!(!swarm.folder("there").join("output").exists(), "{arguments:?}");
        assert!(!arguments.contains(&"-") || output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Who waits for an id is served once it is there.
#[test]
fn an_id_that_nobody_shares_yet_is_waited_for() {
    let swarm = Swarm::new();
    let bytes = noise(400_000, 1);
    let (mut seeder, content, _) = honest(&swarm, &bytes);
    seeder.type_line("exit");
    seeder.ends_with(0);
    let _evil = announced_so(&swarm, &content.to_string(), &noise(400_000, 2));
    let mut waiting = swarm.peer("there", &["-f", &content.to_string(), "--wait=5m", "--exit-when-done"]);
    waiting.line("Nobody shares ");
    let _seeder = swarm.seeder("honest", 1, &[]);
    waiting.ends_with(0);
    assert!(swarm.output("there", "real.bin") == bytes);
}

/// Otherwise the two would wait for each other for ever.
#[test]
fn one_that_waits_for_an_id_is_not_one_that_shares_it() {
    let swarm = Swarm::new();
    let (mut seeder, content, _) = honest(&swarm, &noise(400_000, 1));
    seeder.type_line("exit");
    seeder.ends_with(0);
    let (id, port) = (content.to_string(), swarm.port.to_string());
    let mut waiting = swarm.peer("first", &["-f", &id, "--wait=5m", "--exit-when-done"]);
    waiting.line("Nobody shares ");
    for output in [&["-o", "out"][..], &["-o", "-"]] {
        let output = run(&swarm, &[&["get", &id, "-i", "127.0.0.1", "-d", &port], output].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{errors}");
    }
}

/// A digest, a date and a word of six letters from a to f are names of many files. Their sharer is told how they are found.
#[test]
fn a_file_that_is_called_like_an_id_is_had_by_its_own() {
    let swarm = Swarm::new();
    let names = ["20241128".to_owned(), "FACADE".to_owned(), "ab".repeat(32)];
    for (name, seed) in names.iter().zip(1..) {
        swarm.put("seeder", name, &noise(1000, seed));
    }
    let mut seeder = swarm.peer("seeder", &["-S"]);
    for name in &names {
        let line = seeder.line(&format!("Sharing {name}: "));
        seeder.line(&format!("{name} could be taken for an id or a ticket"));
        let id = line.rsplit(' ').next().unwrap();
        swarm.peer("there", &["-f", id, "--exit-when-done"]).ends_with(0);
        swarm.peer("elsewhere", &["-f", name]).ends_with(4);
    }
    for (name, seed) in names.iter().zip(1..) {
        assert!(swarm.output("there", name) == noise(1000, seed), "{name}");
    }
}

/// A manifest that is here already is found by its id, and no file here is taken for it.
#[test]
fn a_file_here_that_is_called_as_an_id_is_not_inspected_for_it() {
    let swarm = Swarm::new();
    let folder = swarm.folder("here");
    let run = |arguments: &[&str], code| {
        let mut command = tests::peer_cli();
        command.current_dir(&folder).args(arguments);
        let mut process = Process::start("peer-cli", command);
        let says = code == 0 && arguments[0] != "verify";
        let id = says.then(|| process.line("content id").rsplit(' ').next().unwrap().to_owned());
        process.ends_with(code);
        id
    };
    for (name, seed) in [("real.bin", 1), ("evil.bin", 2)] {
        std::fs::write(folder.join(name), noise(5000, seed)).unwrap();
    }
    let [real, _] = ["real.bin", "evil.bin"].map(|name| run(&["hash", name], 0).unwrap());
    let evil = folder.join("hashes/evil.bin.manifest");
    for name in [&real[..], &real[..12]] {
        std::fs::copy(&evil, folder.join(name)).unwrap();
        std::fs::copy(&evil, folder.join(format!("hashes/{name}.manifest"))).unwrap();
        assert_eq!(run(&["inspect", name], 0).as_ref(), Some(&real));
    }
    std::fs::create_dir(folder.join("hashes/by-id")).unwrap();
    std::fs::copy(&evil, folder.join(format!("hashes/by-id/{real}.manifest"))).unwrap();
    run(&["verify", "real.bin", "--id", &real], 0);
    std::fs::remove_file(folder.join("hashes/real.bin.manifest")).unwrap();
    for name in [&real[..], &real[..12]] {
        run(&["inspect", name], 4);
    }
    // It is, where a path says that it is meant.
    run(&["inspect", &format!("./{}", &real[..12])], 0);
    run(&["verify", "evil.bin", "--id", &real], 1);
    run(&["verify", "evil.bin"], 0);
}
