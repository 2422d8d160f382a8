//! What a shell may take from a program: address space (`ulimit -v`), the size of files (`ulimit -f`), the stack (`ulimit -s`),
//! threads (`ulimit -u`) and open files (`ulimit -n`).
#![cfg(target_os = "linux")]

use std::process::{Command, Output, Stdio};

use tests::machines::{Machines, ticket};
use tests::{noise, peer_cli};

/// Runs a command under a limit, as a shell does.
fn under(limit: &str, command: &Command) -> Output {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(command.get_program());
    limited.args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.output().unwrap()
}

#[test]
fn little_address_space_is_made_do_with_and_too_little_is_said() {
    let machines = Machines::new();
    let bytes = noise(20 << 20, 1);
    machines.put("here", "big.bin", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "big.bin"]);
    let ticket = ticket(&mut sharer);
    let too_little = under("-v 60000", &machines.command("there", "get", &[&ticket]));
    let errors = String::from_utf8_lossy(&too_little.stderr);
    assert_eq!(too_little.status.code(), Some(1), "{errors}");
    assert!(errors.contains("ulimit -v"), "{errors}");
    for kib in [250_000, 500_000, 1_000_000] {
        let machine = format!("there-{kib}");
        let output = under(&format!("-v {kib}"), &machines.command(&machine, "get", &[&ticket]));
        assert!(output.status.success(), "{kib}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(machines.read(&machine, "output/big.bin") == bytes);
    }
}

#[test]
fn a_file_that_may_not_be_so_large_is_refused_and_what_cannot_be_kept_ends_nothing() {
    let machines = Machines::new();
    machines.put("here", "big.bin", &noise(2 << 20, 1));
    let mut sharer = machines.share("here", &["-d=0", "big.bin"]);
    let ticket = ticket(&mut sharer);
    let output = under("-f 100", &machines.command("there", "get", &[&ticket]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{errors}");
    assert!(errors.contains("ulimit -f"), "{errors}");
    // It waits in a temporary file, which may be no larger either.
    let output = under("-f 100", &machines.command("there", "get", &[&ticket, "-o", "-"]));
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));
    machines.get("there", &[&ticket]).ends_with(0);
    assert!(machines.read("there", "output/big.bin") == noise(2 << 20, 1));
}

#[test]
fn a_small_stack_is_enough() {
    let machines = Machines::new();
    machines.put("here", "small.bin", &noise(100_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "small.bin"]);
    let ticket = ticket(&mut sharer);
    let output = under("-s 128", &machines.command("there", "get", &[&ticket]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a program says at its end, and its status, if it is to share something.
fn sharing(machines: &Machines, limit: &str, variable: Option<(&str, &str)>) -> (String, Option<i32>) {
    let mut command = machines.command("here", "share", &["-d=0", "small.bin"]);
    command.envs(variable);
    let output = under(limit, &command);
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

/// Root may have any number of processes, so what a thread is refused here is its stack; the error is the same.
const NO_THREADS: (&str, &str) = ("RUST_MIN_STACK", "70368744177664");

#[test]
fn files_are_hashed_by_one_thread_if_there_is_no_other() {
    let machines = Machines::new();
    machines.put("here", "some.bin", &noise(10 << 20, 1));
    let mut hash = peer_cli();
    hash.current_dir(machines.folder("here")).args(["hash", "some.bin"]).envs([NO_THREADS]);
    let output = under("-s 8192", &hash);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_thread_that_cannot_be_started_is_a_sentence() {
    let machines = Machines::new();
    machines.put("here", "small.bin", &noise(100_000, 1));
    let (errors, status) = sharing(&machines, "-s 8192", Some(NO_THREADS));
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("(ulimit -u)") && !errors.contains("fault of the program"), "{errors}");
}

#[test]
fn too_few_open_files_are_a_sentence() {
    let machines = Machines::new();
    machines.put("here", "small.bin", &noise(100_000, 1));
    for files in 5..20 {
        let (errors, status) = sharing(&machines, &format!("-n {files}"), None);
        assert_eq!(status, Some(1), "{files}: {errors}");
        assert!(errors.contains("(ulimit -n)"), "{files}: {errors}");
    }
}

/// Where it fails depends on how many there may be.
#[test]
fn a_download_with_too_few_open_files_says_that_and_nothing_else() {
    let machines = Machines::new();
    machines.put("here", "small.bin", &noise(100_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "small.bin"]);
    let ticket = ticket(&mut sharer);
    for files in (24..42).step_by(3) {
        let machine = format!("there-{files}");
        let output = under(&format!("-n {files}"), &machines.command(&machine, "get", &["--wait=5s", &ticket]));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || errors.contains("(ulimit -n)"), "{files}: {errors}");
    }
}

#[test]
fn a_tracker_says_that_it_may_use_too_little_address_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tests::tracker();
    command.current_dir(folder.path()).args(["-p0", "--bind=127.0.0.1"]);
    let output = under("-v 60000", &command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("ulimit -v"), "{said}");
}
