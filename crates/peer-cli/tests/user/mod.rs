//! Users of machines: the program with a home of its own for each, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A program that is ended with the test, and what it writes to both of its outputs.
pub struct Program {
    pub child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        Program { child, lines }
    }

    /// Waits for a line with this text, for a minute at most, and gives it with all before it.
    pub fn line(&self, text: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(std::time::Duration::from_secs(60)) {
                Ok(line) if line.contains(text) => return (line, before),
                Ok(line) => before.push(line),
                Err(_) => panic!("it never says {text:?}: {before:#?}"),
            }
        }
    }

    /// The next line, for a minute at most; an error if there is none any more.
    pub fn next_line(&self) -> Result<String, std::sync::mpsc::RecvTimeoutError> {
        self.lines.recv_timeout(std::time::Duration::from_secs(60))
    }

    /// The ticket that it gives, and what it says before.
    pub fn ticket(&self) -> (String, Vec<String>) {
        let (line, before) = self.line("peer-cli get ");
        (line.rsplit(' ').next().unwrap().to_owned(), before)
    }
}

/// A user of a machine.
pub struct User {
    pub folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl User {
    /// With a home that is empty.
    pub fn new() -> Self {
        User { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// With this in the environment.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The program with these arguments.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
        let foreign = |name: &str| {
            ["P2P_", "AWS_", "GOOGLE_", "AZURE_", "HF_", "XDG_"].iter().any(|prefix| name.starts_with(prefix))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        let home = self.folder.path().join("home");
        command.env("HOME", &home).env("USERPROFILE", &home).env("LOCALAPPDATA", &home).env("P2P_NO_LAN", "true");
        // Roles of machines are not asked for.
        command.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("RUST_LOG");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Shares something with a tracker of its own.
    pub fn share(&self, words: &[&str]) -> Program {
        let all = [&["share", "-d=0", "--bind=127.0.0.1", "--no-code"], words].concat();
        Program::start(self.command(&all))
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Gets what a ticket stands for, and gives where it is.
    pub fn get(&self, ticket: &str, name: &str) -> PathBuf {
        let got = self.run(&["get", ticket]);
        assert!(got.status.success(), "{}", said(&got));
        self.folder.path().join(name)
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// So many bytes that look random.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
