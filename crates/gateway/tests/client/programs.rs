//! Running programs that people have, where they are installed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a program away from the gateway's thread; nothing if it is not installed.
pub async fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)], folder: &Path) -> Option<Output> {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(program);
    // A proxy of this machine is not meant.
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HF_HUB_OFFLINE", "AWS_CA_BUNDLE"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    match output {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// What it said, if it succeeded.
pub fn must(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {said} {errors}", output.status);
    said
}
