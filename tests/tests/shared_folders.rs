//! Folders that people share as they are: the one they work in, the one that downloads go to, the cache of a model.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use testbed::event::{Error, Manifest, Sharing};
use tests::machines::{Machines, ticket};
use tests::{Process, noise};

/// Paths of the files in a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for path in fs::read_dir(next).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => waiting.push(path),
                false => found.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

/// What is shared, and its ticket.
fn content_and_ticket(sharer: &mut Process) -> (String, String) {
    let content = sharer.event::<Sharing>().content;
    (content, ticket(sharer))
}

#[test]
fn the_working_folder_is_shared_without_keys_and_is_the_same_after_a_restart() {
    let machines = Machines::new();
    machines.put("here", "main.c", b"code");
    let state = ["--certs=certs", "--hashes=hashes"];
    let flags = ["-d=0", state[0], state[1], "--log-file", "run.log", "--log-level", "info", "."];
    let mut sharer = machines.share("here", &flags);
    let (content, ticket) = content_and_ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    assert_eq!(files(&machines.folder("there").join("output/here")), ["main.c"]);
    sharer.type_line("exit");
    sharer.ends_with(0);
    // Now there are manifests and stamps, too, and a key from before.
    assert!(machines.folder("here").join("certs/tracker.key").is_file());
    assert!(machines.folder("here").join("hashes/here.manifest").is_file());
    let mut sharer = machines.share("here", &flags);
    let (again, _ticket) = content_and_ticket(&mut sharer);
    assert_eq!(again, content);
    sharer.type_line("exit");
    sharer.ends_with(0);
    for own in ["certs/tracker.key", "certs", "hashes"] {
        let mut sharer = machines.share("here", &["-d=0", own]);
        let message = sharer.event::<Error>().message;
        assert!(message.contains("private key") || message.contains("files of its own"), "{own}: {message}");
    }
}

#[test]
fn a_download_that_runs_is_no_part_of_the_output_folder() {
    let machines = Machines::new();
    machines.put("here", "large.bin", &noise(4_000_000, 1));
    machines.put("there", "output/done.bin", &noise(1000, 2));
    let mut sharer = machines.share("here", &["-d=0", "large.bin"]);
    let ticket_of_large = ticket(&mut sharer);
    let mut getter = machines.get("there", &[&ticket_of_large, "--json", "--down-rate=100KiB"]);
    getter.event::<Manifest>();
    let mut sharer = machines.share("there", &["-d=0", "output"]);
    let ticket = ticket(&mut sharer);
    machines.get("elsewhere", &[&ticket]).ends_with(0);
    assert_eq!(files(&machines.folder("elsewhere").join("output/output")), ["done.bin"]);
    getter.kill();
}

/// What is printed goes to a file in the folder, which grows with it.
#[cfg(unix)]
#[test]
fn output_that_is_kept_in_the_shared_folder_is_no_part_of_it() {
    let machines = Machines::new();
    machines.put("here", "main.c", b"code");
    let inner = machines.command("here", "share", &["--json", "-d=0", "."]);
    let mut outer = Command::new("sh");
    outer.args(["-c", "exec \"$0\" \"$@\" >run.log"]).arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(machines.folder("here"));
    let _sharer = Process::start("here", outer);
    let log = machines.folder("here").join("run.log");
    let ticket = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let said = fs::read_to_string(&log).unwrap_or_default();
        let (_, rest) = said.split_once("\"ticket\":\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    machines.get("there", &[&ticket.expect("it is printed")]).ends_with(0);
    assert_eq!(files(&machines.folder("there").join("output/here")), ["main.c"]);
    assert!(!fs::read_to_string(&log).unwrap().contains("withdrawn"));
}

#[cfg(unix)]
#[test]
fn a_snapshot_of_a_model_cache_arrives_whole() {
    use std::os::unix::fs::symlink;
    let machines = Machines::new();
    machines.put("here", "hub/models--o--m/blobs/1111", &noise(100_000, 1));
    machines.put("here", "hub/models--o--m/blobs/2222", b"{}");
    machines.put("here", "elsewhere/3333", b"{}");
    let snapshot = machines.folder("here").join("hub/models--o--m/snapshots/abc");
    fs::create_dir_all(snapshot.join("sub")).unwrap();
    symlink("../../blobs/1111", snapshot.join("model.safetensors")).unwrap();
    symlink("../../../blobs/2222", snapshot.join("sub/config.json")).unwrap();
    let mut sharer = machines.share("here", &["-d=0", "hub/models--o--m/snapshots/abc"]);
    let ticket_of_snapshot = ticket(&mut sharer);
    machines.get("there", &[&ticket_of_snapshot]).ends_with(0);
    assert_eq!(files(&machines.folder("there").join("output/abc")), ["model.safetensors", "sub/config.json"]);
    assert_eq!(machines.read("there", "output/abc/model.safetensors"), noise(100_000, 1));
    // Links that lead elsewhere are asked for.
    let links = machines.folder("here").join("links");
    fs::create_dir(&links).unwrap();
    symlink("../elsewhere/3333", links.join("config.json")).unwrap();
    let mut sharer = machines.share("here", &["-d=0", "links"]);
    let message = sharer.event::<Error>().message;
    assert!(message.contains("--follow-links"), "{message}");
    sharer.ends_with(4);
    let mut sharer = machines.share("here", &["-d=0", "--follow-links", "links"]);
    let ticket = ticket(&mut sharer);
    machines.get("there", &[&ticket]).ends_with(0);
    assert_eq!(machines.read("there", "output/links/config.json"), b"{}");
}
