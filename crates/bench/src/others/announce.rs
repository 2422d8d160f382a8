//! An HTTP tracker for loopback (BEP 3 and 23): it tells every client that announces about all earlier ones, whatever they
//! announce. Trackers do not affect the rate of a transfer, so one thread is enough.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tool::interrupt::check_interrupted;

use super::LOOK;
use crate::lock::lock;

/// A question must be said and its answer taken within this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Seconds after which clients announce again.
const INTERVAL: u32 = 2;

/// It runs until it is dropped.
pub(super) struct Tracker {
    address: SocketAddr,
    ports: Arc<Mutex<BTreeSet<u16>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ports = Arc::new(Mutex::new(BTreeSet::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (announced, stopped) = (ports.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // Who goes away, or asks for something else, gets no answer.
                let _ = client.and_then(|client| answer(&client, &announced));
            }
        });
        Ok(Tracker { address, ports, stop, thread: Some(thread) })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Waits until so many peers have announced themselves.
    pub(super) fn until_announced(&self, peers: usize, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        while lock(&self.ports).len() < peers {
            check_interrupted()?;
            ensure!(Instant::now() < until, "it does not announce itself");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut client: &TcpStream, ports: &Mutex<BTreeSet<u16>>) -> std::io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client).lines();
    let question = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let Some(port) = port_of(&question) else { return Ok(()) };
    let others: Vec<u8> = {
        let mut ports = lock(ports);
        ports.insert(port);
        let compact = |&other: &u16| [&Ipv4Addr::LOCALHOST.octets()[..], &other.to_be_bytes()].concat();
        ports.iter().filter(|&&other| other != port).flat_map(compact).collect()
    };
    let body = [format!("d8:intervali{INTERVAL}e5:peers{}:", others.len()).as_bytes(), &others, b"e"].concat();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    client.write_all(&body)
}

/// The port in `GET /announce?…&port=6881&… HTTP/1.1`.
fn port_of(question: &str) -> Option<u16> {
    let (_, query) = question.split_whitespace().nth(1)?.split_once('?')?;
    query.split('&').find_map(|field| field.strip_prefix("port="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_announcer_hears_of_earlier_ones() {
        let tracker = Tracker::start().unwrap();
        let announce = |port: u16| {
            let mut client = TcpStream::connect(tracker.address).unwrap();
            write!(client, "GET /announce?info_hash=x&port={port}&left=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        };
        assert!(announce(0x1234).ends_with(b"\r\n\r\nd8:intervali2e5:peers0:e"));
        assert!(announce(0x5678).ends_with(b"5:peers6:\x7f\0\0\x01\x12\x34e"));
        tracker.until_announced(2, PATIENCE).unwrap();
    }
}
