//! A web server of a test: files with ranges and ETags, and faults as they are met with. It counts what it sends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A request's first line and headers; names of headers are in lower case.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD` and so on.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// What stands behind `?`.
    pub query: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers, but for the length.
    pub headers: Vec<(String, String)>,
    /// The body, or what it would be for `HEAD`.
    pub body: Vec<u8>,
    /// How the body is sent.
    pub sending: Sending,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// At once.
    Well,
    /// So many bytes of it, and then the connection is closed.
    Cut(usize),
    /// So many bytes, and then nothing more for ever.
    Stuck(usize),
}

impl Response {
    /// With this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response { status, headers: Vec::new(), body: body.into(), sending: Sending::Well }
    }

    /// With a header more.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What a request gets of these bytes: a range of them if it asks for one, of this version.
    pub fn of_bytes(request: &Request, bytes: &[u8], etag: &str) -> Self {
        let size = bytes.len() as u64;
        if request.headers.get("if-match").is_some_and(|asked| asked != etag && asked != "*") {
            return Response::new(412, "");
        }
        let whole = || Response::new(200, bytes).header("ETag", etag).header("Accept-Ranges", "bytes");
        let Some(asked) = request.headers.get("range") else { return whole() };
        match range(asked, size) {
            Some((first, last)) => Response::new(206, &bytes[first as usize..=last as usize])
                .header("ETag", etag)
                .header("Content-Range", format!("bytes {first}-{last}/{size}")),
            None => Response::new(416, "").header("Content-Range", format!("bytes */{size}")),
        }
    }
}

/// The first and last byte of a range that can be met.
fn range(asked: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size.checked_sub(1)?),
        (first, "") => (first.parse().ok()?, size.checked_sub(1)?),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.min(size.checked_sub(1)?)),
    };
    (first <= last && first < size).then_some((first, last))
}

type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// A running server. It ends when it is dropped.
pub struct WebServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    /// Bytes a second over all connections, and when the next may be sent.
    rate: Mutex<Option<(u64, Instant)>>,
    requests: Mutex<Vec<Request>>,
    handler: Box<Handler>,
}

impl WebServer {
    /// A server on loopback that answers as the function says.
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            rate: Mutex::default(),
            requests: Mutex::default(),
            handler: Box::new(handler),
        });
        let server = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if server.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (server, Ok(stream)) = (server.clone(), stream) else { continue };
                thread::spawn(move || {
                    let _ = serve(&stream, &server);
                });
            }
        });
        WebServer { address, shared }
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of bodies that were sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Sends so many bytes a second from now on, over all connections together.
    pub fn rate(&self, bytes: u64) {
        *self.shared.rate.lock().expect("a thread has panicked while it held this lock") =
            Some((bytes, Instant::now()));
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("a thread has panicked while it held this lock").clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The thread that accepts sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Bytes of a body that are sent at once.
const PART: usize = 16 << 10;

impl Shared {
    /// Waits for the turn of so many bytes.
    fn wait(&self, bytes: u64) {
        let turn = {
            let mut rate = self.rate.lock().expect("a thread has panicked while it held this lock");
            let Some((a_second, next)) = rate.as_mut() else { return };
            let turn = (*next).max(Instant::now());
            *next = turn + Duration::from_secs_f64(bytes as f64 / *a_second as f64);
            turn
        };
        thread::sleep(turn.saturating_duration_since(Instant::now()));
    }
}

fn serve(stream: &TcpStream, server: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream);
    while let Some(request) = read_request(&mut lines)? {
        if server.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        server.requests.lock().expect("a thread has panicked while it held this lock").push(request.clone());
        let response = (server.handler)(&request);
        let mut head = format!("HTTP/1.1 {} .\r\nContent-Length: {}\r\n", response.status, response.body.len());
        // What says how long it is itself answers without a body.
        if response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head = format!("HTTP/1.1 {} .\r\n", response.status);
        }
        for (name, value) in &response.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = stream;
        stream.write_all((head + "\r\n").as_bytes())?;
        if request.method == "HEAD" {
            continue;
        }
        let len = match response.sending {
            Sending::Well => response.body.len(),
            Sending::Cut(len) | Sending::Stuck(len) => len.min(response.body.len()),
        };
        for part in response.body[..len].chunks(PART) {
            server.wait(part.len() as u64);
            // It counts before the other side can have it.
            server.sent.fetch_add(part.len() as u64, Ordering::Relaxed);
            stream.write_all(part)?;
        }
        match response.sending {
            Sending::Well => {}
            Sending::Cut(_) => return Ok(()),
            Sending::Stuck(_) => {
                while !server.stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_request(lines: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if lines.by_ref().take(64 << 10).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let mut line = String::new();
        if lines.by_ref().take(64 << 10).read_line(&mut line)? == 0 || line.trim().is_empty() {
            let len = headers.get("content-length").and_then(|len| len.parse::<u64>().ok()).unwrap_or(0);
            let mut body = Vec::new();
            lines.by_ref().take(len).read_to_end(&mut body)?;
            return Ok(Some(Request { method, path, query, headers, body }));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}
