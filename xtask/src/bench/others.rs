//! Other programs that people would use instead, timed in the same run, the same way.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Sample;
use super::floors::{Running, time};
use super::subject::{Subject, Way};
use crate::swarm;

/// A program that moves files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Other {
    /// nginx with TLS 1.3, and curl, which verify nothing but the transport.
    Nginx,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Other::Nginx => "nginx",
        })
    }
}

impl Other {
    /// How to get it, if it is not there.
    pub fn missing(self) -> Option<&'static str> {
        let there = |program: &str, flag: &str| {
            let status = Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let (programs, hint) = match self {
            Other::Nginx => (
                &[("nginx", "-v"), ("curl", "--version"), ("openssl", "version")][..],
                "install nginx-light, curl and openssl with the system's package manager (apt, dnf, brew)",
            ),
        };
        (!programs.iter().all(|(program, flag)| there(program, flag))).then_some(hint)
    }

    /// What it is timed at.
    pub fn subjects(self, size: u64) -> Vec<Subject> {
        let subject = |name: &str, bytes| Subject {
            name: format!("{name} {self}"),
            floor: None,
            bytes,
            receivers: 1,
            way: Way::Other(self),
        };
        vec![subject("1-1", size), subject("10MiB", 10 << 20)]
    }

    /// Moves the file once.
    pub fn measure(self, file: &Path, folder: &Path) -> anyhow::Result<Sample> {
        match self {
            Other::Nginx => nginx(file, folder),
        }
    }
}

/// A port that is free at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn nginx(file: &Path, folder: &Path) -> anyhow::Result<Sample> {
    let folder = fs::canonicalize(folder)?;
    let port = free_port()?;
    let keys = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(&folder)
        .stderr(Stdio::null())
        .status()?;
    ensure!(keys.success(), "openssl makes no certificate");
    let (root, here) = (file.parent().context("it lies in a folder")?, folder.display());
    let root = fs::canonicalize(root)?;
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "daemon off; worker_processes 1; pid {here}/pid; error_log {here}/errors.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {here}/a; proxy_temp_path {here}/b;\n\
             fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; root {};\n\
             ssl_certificate {here}/certificate.pem; ssl_certificate_key {here}/key.pem; }} }}\n",
            root.display()
        ),
    )?;
    // The master process is our child and one worker is its; ending the master ends both.
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).stderr(Stdio::null());
    let mut serving = Nginx(Running(command.spawn()?));
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(Instant::now() < until && serving.0.0.try_wait()?.is_none(), "nginx does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    swarm::warm_up(&folder, file.metadata()?.len())?;
    let name = file.file_name().context("it has a name")?.to_string_lossy().into_owned();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-f", "--cacert", "certificate.pem", "-o", "out"])
        .arg(format!("https://localhost:{port}/{name}"))
        .current_dir(&folder);
    time(&mut curl, worker_of(serving.0.0.id()))
}

/// nginx, whose master must end its worker.
struct Nginx(Running);

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends on the signal that `kill` sends; `Running` makes sure of it.
        let _ = Command::new("kill").arg(self.0.0.id().to_string()).status();
        for _ in 0..200 {
            if !matches!(self.0.0.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The process that serves.
fn worker_of(master: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
