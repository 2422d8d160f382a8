//! nginx and curl: HTTP over TLS 1.3, which is how most large files move.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use tool::interrupt::check_interrupted;

use super::{Done, LOOK, Needs, READY, Receive, Stage, free_ports, last_words};

pub(super) const NEEDS: Needs = (
    &[&["nginx", "-v"], &["curl", "--version"], &["openssl", "version"]],
    "install nginx-light, curl and openssl with the system's package manager (apt, dnf, brew)",
);

pub(super) fn set_up(stage: &mut Stage) -> anyhow::Result<Receive> {
    let folder = stage.folder("nginx")?;
    let port = free_ports(1)?[0];
    make_certificate(&folder)?;
    let (root, here) = (stage.file.parent().context("it lies in a folder")?.display(), folder.display());
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/errors.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {here}/a; proxy_temp_path {here}/b;\n\
             fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; root {root};\n\
             ssl_certificate {here}/certificate.pem; ssl_certificate_key {here}/key.pem; }} }}\n",
        ),
    )?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
    stage.send(command, &folder)?;
    let until = Instant::now() + READY;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        check_interrupted()?;
        ensure!(Instant::now() < until, "nginx does not start: {}", last_words(&stage.senders[0]));
        std::thread::sleep(LOOK);
    }
    let curl = |_| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-f", "-o", "out", "--cacert"]).arg(folder.join("certificate.pem"));
        curl.arg(format!("https://localhost:{port}/{}", stage.file_name()));
        curl
    };
    let commands = (0..stage.receivers).map(curl).collect();
    Ok(Receive { commands, done: Done::Ends, output: PathBuf::from("out"), _alive: None })
}

fn make_certificate(folder: &Path) -> anyhow::Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()?;
    ensure!(made.success(), "openssl makes no certificate");
    Ok(())
}
