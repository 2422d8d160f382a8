//! Some files of a folder, the rest of it later, and a folder of which some files have changed: as a user types it.

use std::fs;
use std::path::PathBuf;

use tests::machines::{Machines, ticket};
use tests::{Process, noise};

const FILES: [(&str, usize); 6] = [
    ("model/weights-1.bin", 700_000),
    ("model/weights-2.bin", 300_001),
    ("model/config.json", 2_000),
    ("model/deep/er/config.json", 10),
    ("model/tokens/a.txt", 40_000),
    ("model/empty.json", 0),
];

fn bytes(path: &str, version: u64) -> Vec<u8> {
    let (number, size) =
        FILES.iter().enumerate().find_map(|(n, (name, size))| (*name == path).then_some((n, *size))).unwrap();
    noise(size, number as u64 + 100 * version)
}

/// A machine `here` that shares the folder, and the ticket.
fn shared(machines: &Machines) -> (Process, String) {
    FILES.iter().for_each(|(path, _)| machines.put("here", path, &bytes(path, 1)));
    fs::create_dir(machines.folder("here").join("model/nothing")).unwrap();
    let mut sharer = machines.share("here", &["-d=0", "model"]);
    let ticket = ticket(&mut sharer);
    (sharer, ticket)
}

/// What lies in the output folder of `there`, by paths inside the model; state files would be among them.
fn lies_there(machines: &Machines) -> Vec<String> {
    let (top, mut found) = (machines.folder("there").join("output"), Vec::new());
    let mut waiting: Vec<PathBuf> = vec![top.clone()];
    while let Some(folder) = waiting.pop() {
        let mut entries = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()).peekable();
        if entries.peek().is_none() {
            found.push(format!("{}/", folder.strip_prefix(&top).unwrap().display()));
        }
        for path in entries {
            match path.is_dir() {
                true => waiting.push(path),
                false => found.push(path.strip_prefix(&top).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

fn is_equal(machines: &Machines, path: &str, version: u64) -> bool {
    machines.read("there", &format!("output/{path}")) == bytes(path, version)
}

#[test]
fn the_files_that_fit_come_alone_and_the_rest_comes_later() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    let mut getter = machines.get("there", &[&ticket, "--only", "*.json"]);
    getter.line("every piece verified → output/model");
    getter.ends_with(0);
    let expected = ["model/config.json", "model/deep/er/config.json", "model/empty.json"];
    assert_eq!(lies_there(&machines), expected);
    assert!(expected.iter().all(|path| is_equal(&machines, path, 1)));
    // Again: nothing is to be done.
    machines.get("there", &[&ticket, "--only=*.json"]).ends_with(0);
    assert_eq!(lies_there(&machines), expected);
    // More of it, beside the first.
    machines.get("there", &[&ticket, "--only", "tokens", "--only", "/weights-2*"]).ends_with(0);
    assert_eq!(lies_there(&machines).len(), 5);
    // All of it, into the same folder, which is then what was shared.
    machines.get("there", &[&ticket]).ends_with(0);
    assert!(FILES.iter().all(|(path, _)| is_equal(&machines, path, 1)));
    assert_eq!(lies_there(&machines).len(), FILES.len() + 1, "{:?}", lies_there(&machines));
    assert!(machines.folder("there").join("output/model/nothing").is_dir());
}

#[test]
fn what_fits_nothing_is_said() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    machines.get("there", &[&ticket, "--only", "*.jpeg"]).ends_with(4);
    assert!(lies_there(&machines).iter().all(|path| path == "/"), "{:?}", lies_there(&machines));
    machines.get("there", &[&ticket, "--only", "a["]).ends_with(2);
}

#[test]
fn one_file_of_a_folder_goes_to_standard_output() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    let mut command = machines.command("there", "get", &[&ticket, "-o", "-", "--only", "weights-2.bin"]);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == bytes("model/weights-2.bin", 1));
}

#[test]
fn a_folder_is_replaced_file_by_file_and_only_with_force() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    let old = bytes("model/weights-1.bin", 1);
    let mut changed = old.clone();
    changed[600_000..].fill(7);
    for (path, was) in [
        ("model/weights-1.bin", &changed[..]),
        ("model/config.json", b"other"),
        ("model/tokens/a.txt", &bytes("model/tokens/a.txt", 1)),
        ("model/mine.txt", b"mine"),
    ] {
        machines.put("there", &format!("output/{path}"), was);
    }
    let before = lies_there(&machines);
    machines.get("there", &[&ticket]).ends_with(7);
    machines.get("there", &[&ticket, "--only", "*.json"]).ends_with(7);
    assert_eq!(lies_there(&machines), before, "nothing is touched without --force");
    assert_eq!(machines.read("there", "output/model/config.json"), b"other");
    machines.get("there", &[&ticket, "--force"]).ends_with(0);
    assert!(FILES.iter().all(|(path, _)| is_equal(&machines, path, 1)));
    assert_eq!(machines.read("there", "output/model/mine.txt"), b"mine", "what is not of the content stays");
    assert_eq!(lies_there(&machines).len(), FILES.len() + 2, "{:?}", lies_there(&machines));
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_in_a_folder_that_is_replaced() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    machines.put("there", "elsewhere/a.txt", b"elsewhere");
    machines.put("there", "output/model/config.json", b"other");
    std::os::unix::fs::symlink("../../elsewhere", machines.folder("there").join("output/model/tokens")).unwrap();
    machines.get("there", &[&ticket, "--force"]).ends_with(7);
    assert_eq!(machines.read("there", "elsewhere/a.txt"), b"elsewhere");
    assert_eq!(machines.read("there", "output/model/config.json"), b"other");
}

#[test]
fn a_file_in_place_of_an_empty_folder_is_not_taken_for_it() {
    let machines = Machines::new();
    let (_sharer, ticket) = shared(&machines);
    machines.put("there", "output/model/nothing", b"mine");
    machines.get("there", &[&ticket, "--force"]).ends_with(7);
    machines.get("there", &[&ticket, "--only", "nothing"]).ends_with(7);
    assert_eq!(machines.read("there", "output/model/nothing"), b"mine");
    assert_eq!(lies_there(&machines), ["model/nothing"], "nothing else came");
}
