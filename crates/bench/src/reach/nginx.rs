//! nginx over plain HTTP, which writes down how much of each file it has sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testbed::process::{Lines, Process};
use tool::interrupt::check_interrupted;

/// It must be ready within this time.
const READY: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A running nginx.
pub struct Nginx {
    /// The process.
    pub process: Process,
    log: PathBuf,
    _lines: Lines,
}

impl Nginx {
    /// Starts `command`, which is nginx somewhere, with this server, and its files in `folder`.
    pub fn start(mut command: Command, folder: &Path, server: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let here = folder.display();
        let config = folder.join("nginx.conf");
        let (pid, log) = (folder.join("pid"), folder.join("sent.log"));
        fs::write(
            &config,
            format!(
                "daemon off; master_process off; pid {here}/pid; error_log {here}/nginx-errors.log;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{ log_format sent '$body_bytes_sent $uri'; access_log {here}/sent.log sent; sendfile on;\n\
                 default_type application/octet-stream; client_body_temp_path {here}/a; proxy_temp_path {here}/b;\n\
                 fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
                 server {{ {server} }} }}\n"
            ),
        )?;
        command.arg("-p").arg(folder).arg("-c").arg(&config);
        let lines = Lines::new(16);
        let process = lines.start(command, folder, 0).context("nginx does not start (package nginx-light)")?;
        let until = Instant::now() + READY;
        // It is written when the ports are open.
        while !fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
            check_interrupted()?;
            ensure!(Instant::now() < until, "nginx does not start: {}", process.last_words());
            std::thread::sleep(LOOK);
        }
        Ok(Nginx { process, log, _lines: lines })
    }

    /// Bytes that were sent so far of what lies below this path, by answers that have ended.
    pub fn sent(&self, path: &str) -> anyhow::Result<u64> {
        let log = fs::read_to_string(&self.log)?;
        Ok(log.lines().filter_map(|line| sent_of(line, path)).sum())
    }
}

fn sent_of(line: &str, path: &str) -> Option<u64> {
    let (bytes, uri) = line.split_once(' ')?;
    uri.starts_with(path).then(|| bytes.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_counted_by_path() {
        assert_eq!(sent_of("100 /big.bin", "/big.bin"), Some(100));
        assert_eq!(sent_of("100 /api/models", "/big.bin"), None);
        assert_eq!(sent_of("- /big.bin", "/big.bin"), None);
    }
}
