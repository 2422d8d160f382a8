//! A gateway beside nginx: both serve a file that they have, in turn, to `curl` over loopback, which writes it to a file.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;
use testbed::event::Gateway;
use testbed::files::{first_difference, random_file};
use testbed::program::Program;
use testbed::programs::Programs;
use tool::interrupt::check_interrupted;
use tool::usage::{of_ended_children, processor_time};

use super::figure::{Figure, Target, median};
use super::lab::READY;
use super::nginx::Nginx;

/// A server, where it has the file, and what was measured: seconds, and seconds of processor time.
struct Server {
    name: &'static str,
    process: u32,
    url: String,
    samples: Vec<[f64; 2]>,
}

impl Server {
    fn medians(&self) -> [f64; 2] {
        [0, 1].map(|at| median(self.samples.iter().map(|sample| sample[at]).collect()))
    }
}

/// Measures both in turn. The first round is not among the medians: the gateway verifies then what it has not read yet.
pub fn measure(size: u64, rounds: u16, programs: &Programs, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let file = random_file(folder, size)?;
    let port = crate::others::free_ports(1)?[0];
    let server = format!("listen 127.0.0.1:{port}; root {};", folder.display());
    let nginx = Nginx::start(Command::new("nginx"), &folder.join("nginx"), &server)?;
    let mut command = Command::new(&programs.peer);
    command.args(["share", "--json", "-d0", "--no-code", "--bind=127.0.0.1", "--gateway=127.0.0.1:0"]).arg(&file);
    let home = folder.join("share");
    std::fs::create_dir_all(&home)?;
    let mut share = Program::start("the share", command, &home)?;
    let Gateway { url, .. } = share.event(READY)?;
    let of_nginx = format!("http://127.0.0.1:{port}/random.bin");
    let mut servers =
        [("nginx", nginx.process.number(), of_nginx), ("gateway", share.process.number(), url + "/name/random.bin")]
            .map(|(name, process, url)| Server { name, process, url, samples: Vec::new() });
    let out = folder.join("out");
    let mut figures = Vec::new();
    for round in 0..=rounds {
        for server in &mut servers {
            check_interrupted()?;
            let sample = transfer(server, &out)?;
            if round == 0 {
                let differs = first_difference(&file, &out)?;
                ensure!(differs.is_none(), "{} does not send the file", server.name);
                figures.push(Figure::new(format!("{}, first time, CPU s", server.name), sample[1], Target::None));
            } else {
                server.samples.push(sample);
            }
            std::fs::remove_file(&out)?;
        }
    }
    let [[nginx_seconds, nginx_cpu], [seconds, cpu]] = servers.each_ref().map(Server::medians);
    let mib = |seconds: f64| size as f64 / seconds / f64::from(1 << 20);
    figures.extend([
        Figure::new("nginx, MiB/s", mib(nginx_seconds), Target::None),
        Figure::new("nginx and curl, CPU s", nginx_cpu, Target::None),
        Figure::new("gateway, MiB/s", mib(seconds), Target::None),
        Figure::new("gateway and curl, CPU s", cpu, Target::None),
        Figure::new("gateway's rate, of nginx's", nginx_seconds / seconds, Target::AtLeast(0.9)),
        Figure::new("gateway's CPU with curl's, of nginx's", cpu / nginx_cpu, Target::AtMost(1.2)),
    ]);
    Ok(figures)
}

/// Seconds, and seconds of processor time of the server and curl together.
fn transfer(server: &Server, out: &Path) -> anyhow::Result<[f64; 2]> {
    let used = || processor_time(server.process).unwrap_or(0.0) + of_ended_children();
    let (before, began) = (used(), Instant::now());
    let status = Command::new("curl").args(["-q", "-s", "-f", "-o"]).arg(out).arg(&server.url).status()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "curl does not get {}: {status}", server.url);
    Ok([seconds, used() - before])
}
