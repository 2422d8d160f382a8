//! Downloads that read from the origin what no peer has, as processes: by a URL that the user names, and by one that a manifest names.

#[allow(dead_code)]
mod user;

use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests::web::{Request, Response, Sending, WebServer};
use user::{Program, User, pattern, said};

const PATH: &str = "/a/file.bin";

/// A web server with one file, and the manifest beside it once somebody has put it there.
struct Origin {
    server: WebServer,
    path: &'static str,
    manifest: Arc<Mutex<Vec<u8>>>,
    /// Bytes of the file that were sent.
    sent: Arc<AtomicU64>,
}

impl Origin {
    /// `answer` may change what is answered for the file.
    fn start(bytes: Vec<u8>, answer: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) -> Self {
        Origin::start_at(PATH, bytes, answer)
    }

    fn start_at(
        path: &'static str,
        bytes: Vec<u8>,
        answer: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
    ) -> Self {
        let (manifest, sent) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicU64>::default());
        let (beside, count) = (manifest.clone(), sent.clone());
        let server = WebServer::start(move |request| {
            if request.path == format!("{path}.p2p-manifest") {
                let bytes = beside.lock().unwrap().clone();
                return if bytes.is_empty() { Response::new(404, "") } else { Response::new(200, bytes) };
            }
            if request.path != path {
                return answer(request, Response::new(404, ""));
            }
            let response = answer(request, Response::of_bytes(request, &bytes, "\"v1\""));
            if request.method == "GET" && response.status < 300 {
                count.fetch_add(response.body.len() as u64, Ordering::Relaxed);
            }
            response
        });
        Origin { server, path, manifest, sent }
    }

    fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.path)
    }

    /// Publishes it, puts the manifest beside it, and gives the content's id.
    fn publish(&self) -> String {
        let user = User::new();
        let published = user.run(&["publish", &self.url()]);
        assert!(published.status.success(), "{}", said(&published));
        let path = line(&published, "manifest ");
        *self.manifest.lock().unwrap() = std::fs::read(path).unwrap();
        line(&published, "content id ")
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// What stands behind a word in what a program said.
fn line(output: &Output, word: &str) -> String {
    let said = said(output);
    let found = said.lines().find_map(|line| line.strip_prefix(word));
    found.unwrap_or_else(|| panic!("{word:?}: {said}")).trim().to_owned()
}

#[test]
fn what_nobody_shares_comes_from_its_origin() {
    let bytes = pattern(3_000_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let id = origin.publish();
    let (before, user) = (origin.sent(), User::new());
    let got = user.run(&["get", &id, "--origin", &origin.url()]);
    assert!(got.status.success(), "{}", said(&got));
    assert!(std::fs::read(user.folder.path().join("file.bin")).unwrap() == bytes);
    // A byte of a look beside the file itself.
    assert!(origin.sent() - before <= 3_000_002, "{} bytes were read", origin.sent() - before);
    assert!(said(&got).contains("Reading from"), "{}", said(&got));
}

#[test]
fn standard_output_gets_what_nobody_shares_too() {
    let bytes = pattern(300_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (id, user) = (origin.publish(), User::new());
    let got = user.run(&["get", &id, "-o", "-", "--wait=120s", "--origin", &origin.url()]);
    assert!(got.status.success(), "{}", said(&got));
    assert!(got.stdout == bytes, "{} bytes came", got.stdout.len());
}

/// A tracker for everyone on this machine.
fn tracker() -> (User, Program, Vec<String>) {
    let user = User::new();
    std::fs::write(user.folder.path().join("other"), "other").unwrap();
    let share = user.share(&["--open", "other"]);
    let (ticket, _) = share.ticket();
    let ticket: protocol::Ticket = ticket.parse().unwrap();
    let port = ticket.addresses()[0].port();
    let flags = vec!["-i".to_owned(), "127.0.0.1".to_owned(), "-d".to_owned(), port.to_string()];
    let flags = [flags, vec!["--tracker-id".to_owned(), ticket.tracker().to_string()]].concat();
    (user, share, flags)
}

#[test]
fn a_fleet_without_a_seeder_reads_an_origin_about_once() {
    const SIZE: usize = 4_000_000;
    let bytes = pattern(SIZE);
    // Its link is slow, and all who read share it.
    let link = Mutex::new(());
    let origin = Origin::start(bytes.clone(), move |request, response| {
        if request.headers.contains_key("range") && response.status == 206 {
            let _turn = link.lock().unwrap();
            thread::sleep(Duration::from_nanos(response.body.len() as u64 * 600));
        }
        response
    });
    let (_user, _share, tracker) = tracker();
    let tracker: Vec<&str> = tracker.iter().map(String::as_str).collect();
    let publisher = User::new();
    let url = origin.url();
    let published = publisher.run(&[&["publish", &url, "--open"][..], &tracker].concat());
    assert!(published.status.success(), "{}", said(&published));
    *origin.manifest.lock().unwrap() = std::fs::read(line(&published, "manifest ")).unwrap();
    let command = line(&published, "peer-cli get ");
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["--origin", &url], "{command}");
    let before = origin.sent();
    let users: Vec<User> = (0..4).map(|_| User::new()).collect();
    let getting = users.iter().map(|user| {
        let words = [&["get", "--bind=127.0.0.1", "--seed-for=20s"][..], &words].concat();
        Program::start(user.command(&words))
    });
    let getting: Vec<Program> = getting.collect();
    getting.iter().for_each(|program| drop(program.line("every piece verified")));
    for user in &users {
        assert!(std::fs::read(user.folder.path().join("file.bin")).unwrap() == bytes);
    }
    let read = origin.sent() - before;
    // Each would have read all of it alone. How close to one copy it comes is measured elsewhere.
    assert!(read < 2 * SIZE as u64, "{read} bytes of {SIZE} were read by four peers");
}

#[test]
fn an_origin_that_fails_for_a_while_only_delays_a_download() {
    let (bytes, failures) = (pattern(1_000_000), Arc::new(AtomicU32::new(0)));
    let left = failures.clone();
    let origin = Origin::start(bytes.clone(), move |_, response| {
        let fails = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Response::new(503, "") } else { response }
    });
    let (id, user) = (origin.publish(), User::new());
    failures.store(3, Ordering::Relaxed);
    let got = user.run(&["get", &id, "--origin", &origin.url()]);
    assert!(got.status.success() && said(&got).contains("answers 503"), "{}", said(&got));
    assert!(std::fs::read(user.folder.path().join("file.bin")).unwrap() == bytes);
}

/// Of an origin that does not do what it should that is said, and nothing wrong is stored.
fn is_refused(words: &str, answer: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) {
    let broken = Arc::new(AtomicBool::new(false));
    let now = broken.clone();
    let origin =
        Origin::start(
            pattern(300_000),
            move |request, response| {
                if now.load(Ordering::Relaxed) { answer(request, response) } else { response }
            },
        );
    let (id, user) = (origin.publish(), User::new());
    broken.store(true, Ordering::Relaxed);
    let get = Program::start(user.command(&["get", &id, "--origin", &origin.url()]));
    get.line(words);
    drop(get);
    assert!(!user.folder.path().join("file.bin").exists());
}

#[test]
fn an_object_that_has_changed_is_not_stored() {
    is_refused("changed", |request, _| Response::of_bytes(request, &pattern(300_001), "\"v2\""));
}

#[test]
fn other_bytes_of_the_same_size_are_not_stored() {
    is_refused("other bytes", |request, _| Response::of_bytes(request, &[7; 300_000], "\"v1\""));
}

#[test]
fn an_answer_that_breaks_off_is_not_stored_as_a_piece() {
    is_refused("It goes on with peers", |_, mut response| {
        response.sending = Sending::Cut(1000);
        response
    });
}

#[test]
fn redirects_without_an_end_are_refused() {
    is_refused("redirects again and again", |_, _| Response::new(302, "").header("Location", PATH));
}

/// A sharer that names its origin, and one who gets it with these flags and to whom little is given before the sharer is gone: what
/// that one says, and what it has.
fn named(flags: &[&str]) -> (String, Option<Vec<u8>>, u64) {
    let bytes = pattern(4_000_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (sharer, user) = (User::new(), User::new());
    let share = sharer.share(&["--open", "--name-origin", "--up-rate=200KiB", &origin.url()]);
    let (ticket, _) = share.ticket();
    let words = [&["get", &ticket, "--json"][..], flags].concat();
    let mut get = Program::start(user.command(&words));
    let (_, mut said) = get.line("\"event\":\"manifest\"");
    drop(share);
    let before = origin.sent();
    while let Ok(line) = get.next_line() {
        said.push(line);
    }
    let done = get.child.wait().unwrap().success();
    let came = done.then(|| std::fs::read(user.folder.path().join("file.bin")).unwrap());
    if let Some(came) = &came {
        assert!(*came == bytes);
    }
    (said.join("\n"), came, origin.sent() - before)
}

#[test]
fn an_origin_that_the_publisher_named_is_read_where_the_user_allowed_its_host() {
    let (said, came, read) = named(&["--origin-fallback", "--origin-allow=127.0.0.1"]);
    assert!(came.is_some() && read > 1_000_000, "{read}: {said}");
    assert!(said.contains("\"event\":\"origin\""), "{said}");
}

#[test]
fn an_origin_that_was_not_allowed_is_not_asked() {
    for flags in [&["--wait=3s"][..], &["--wait=3s", "--origin-fallback", "--origin-allow=example.org"]] {
        let (said, came, read) = named(flags);
        assert!(came.is_none(), "{said}");
        assert_eq!(read, 0, "{said}");
        assert_eq!(said.contains("--origin-allow 127.0.0.1"), flags.len() > 1, "{said}");
    }
}

/// What a gateway or a daemon is told about origins that publishers name.
const ALLOWED: [&str; 2] = ["--origin-fallback", "--origin-allow=127.0.0.1"];

/// What a gateway answers, and what is done once it has begun to.
#[cfg(feature = "gateway")]
fn answer(gateway: &str, path: &str, meanwhile: impl FnOnce()) -> Vec<u8> {
    use std::io::{Read, Write};

    let mut answer = std::net::TcpStream::connect(gateway).unwrap();
    write!(answer, "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n").unwrap();
    let mut came = vec![0; 100];
    answer.read_exact(&mut came).unwrap();
    meanwhile();
    answer.read_to_end(&mut came).unwrap();
    let head = came.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    came.split_off(head)
}

#[cfg(feature = "gateway")]
#[test]
fn a_gateway_reads_what_is_lost_from_where_the_publisher_said() {
    let bytes = pattern(4_000_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (sharer, user) = (User::new(), User::new());
    let share = sharer.share(&["--open", "--name-origin", "--up-rate=200KiB", &origin.url()]);
    let (ticket, _) = share.ticket();
    let words = [&["gateway", &ticket, "--gateway=0", "--bind=127.0.0.1"][..], &ALLOWED].concat();
    let gateway = Program::start(user.command(&words));
    let (line, _) = gateway.line("Gateway at http://");
    let came = answer(line.rsplit("//").next().unwrap(), "/name/file.bin", || drop(share));
    assert!(came == bytes, "{} bytes came", came.len());
}

#[cfg(feature = "gateway")]
#[test]
fn a_gateway_serves_what_nobody_has_announced_from_its_origin() {
    let bytes = pattern(3_000_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let id = origin.publish();
    let (_user, _share, tracker) = tracker();
    let (user, named) = (User::new(), format!("{id}={}", origin.url()));
    let tracker: Vec<&str> = tracker.iter().map(String::as_str).collect();
    let words = ["gateway", "--open", "--gateway=0", "--bind=127.0.0.1", "--origin", &named];
    let gateway = Program::start(user.command(&[&words[..], &tracker].concat()));
    let (line, _) = gateway.line("Gateway at http://");
    let address = line.rsplit("//").next().unwrap();
    for path in ["/name/file.bin".to_owned(), format!("/content/{id}")] {
        assert!(answer(address, &path, || ()) == bytes, "{path}");
    }
    drop(gateway);
    // Why a wrong URL brings nothing stands in the log.
    let wrong = |named: &str| {
        let words = ["gateway", "--open", "--gateway=0", "--bind=127.0.0.1", "--origin", named];
        let other = User::new();
        let gateway = Program::start(other.command(&[&words[..], &tracker].concat()));
        let (line, _) = gateway.line("Gateway at http://");
        let told = answer(line.rsplit("//").next().unwrap(), &format!("/content/{id}"), || ());
        let told = String::from_utf8(told).unwrap();
        assert!(told.starts_with("Its origin does not answer as it should. The gateway's log says why"), "{told}");
        gateway.line("WARN").0
    };
    let logged = wrong(&format!("{id}={}/none", origin.server.url()));
    assert!(logged.contains(&format!("/none has no manifest of {id} beside it")), "{logged}");
    let logged = wrong(&format!("{id}=http://no-such-host.invalid/x"));
    assert!(logged.contains("cannot be resolved"), "{logged}");
    // Of which content it is the origin must be clear.
    let url = origin.url();
    let refused = user.run(&[&words[..5], &[url.as_str()], &tracker].concat());
    assert!(refused.status.code() == Some(2) && said(&refused).contains("ID=URL"), "{}", said(&refused));
}

#[test]
fn a_daemon_reads_what_is_lost_from_where_the_publisher_said() {
    let bytes = pattern(4_000_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (sharer, user) = (User::new(), User::new());
    let share = sharer.share(&["--open", "--name-origin", "--up-rate=200KiB", &origin.url()]);
    let (ticket, _) = share.ticket();
    let socket = user.folder.path().join("control").display().to_string();
    let flags = ["daemon", "-p0", "--bind=127.0.0.1", "--state=state", "--output=out", "--socket", &socket];
    let daemon = Program::start(user.command(&[&flags[..], &ALLOWED].concat()));
    daemon.line("Controlled at ");
    let added = user.run(&["add", &ticket, "--socket", &socket]);
    assert!(added.status.success(), "{}", said(&added));
    let until = |is_so: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is_so() {
            let status = user.run(&["status", "--socket", &socket]);
            assert!(began.elapsed() < Duration::from_secs(120), "{}", said(&status));
            thread::sleep(Duration::from_millis(50));
        }
    };
    until(&|| !said(&user.run(&["status", "--json", "--socket", &socket])).contains("\"have\":0,"));
    drop(share);
    let file = user.folder.path().join("out/file.bin");
    until(&|| file.exists());
    assert!(std::fs::read(file).unwrap() == bytes);
}

#[test]
fn settings_of_a_swarm_do_not_stop_what_is_published_without_one() {
    let user = User::new();
    let origin = Origin::start(pattern(1000), |_, response| response);
    let mut published = user.command(&["publish", &origin.url()]);
    published.env("P2P_TRACKER_IP", "127.0.0.1").env("P2P_TRACKER_PORT", "1");
    let published = published.output().unwrap();
    assert!(published.status.success(), "{}", said(&published));
    assert!(!said(&published).contains("peer-cli get"), "{}", said(&published));
}

#[test]
fn where_no_tracker_answers_the_origin_is_read() {
    let bytes = pattern(300_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (id, user) = (origin.publish(), User::new());
    let got = user.run(&["get", "-i", "127.0.0.1", "-d", "1", &id, "--origin", &origin.url()]);
    assert!(got.status.success(), "{}", said(&got));
    // Nobody knows which tracker that would be.
    assert!(said(&got).contains("--tracker-id") && !said(&got).contains("in the background"), "{}", said(&got));
    assert!(std::fs::read(user.folder.path().join("file.bin")).unwrap() == bytes);
}

#[test]
fn who_joins_as_the_original_does_needs_no_tracker_either() {
    let bytes = pattern(300_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (id, user) = (origin.publish(), User::new());
    let tracker = protocol::PeerId::of_public_key(b"nobody").to_string();
    let joining = ["-i", "127.0.0.1", "-d", "1", "--tracker-id", &tracker, "-p", "0", "--exit-when-done"];
    let got = user.run(&[&joining[..], &["-f", &id, "--origin", &origin.url()]].concat());
    assert!(got.status.success(), "{}", said(&got));
    assert!(said(&got).contains("It will be tried again in the background"), "{}", said(&got));
    assert!(std::fs::read(user.folder.path().join("output/file.bin")).unwrap() == bytes);
}

#[test]
fn that_no_tracker_answers_is_said_once_for_several_files() {
    let user = User::new();
    let origins =
        ["/a/one.bin", "/a/other.bin"].map(|path| Origin::start_at(path, pattern(300_000), |_, response| response));
    let ids = origins.each_ref().map(|origin| {
        let sharer = User::new();
        let share = sharer.share(&["--open", "--name-origin", &origin.url()]);
        let (ticket, _) = share.ticket();
        let got = user.run(&["get", &ticket, "--hashes", "hashes"]);
        assert!(got.status.success(), "{}", said(&got));
        ticket.parse::<protocol::Ticket>().unwrap().content().unwrap().to_string()
    });
    let tracker = protocol::PeerId::of_public_key(b"nobody").to_string();
    let joining = ["-i", "127.0.0.1", "-d", "1", "--tracker-id", &tracker, "-p", "0", "--exit-when-done", "--json"];
    let wanted = ["--origin-fallback", "--origin-allow=127.0.0.1", "--hashes", "hashes", "-f", &ids[0], "-f", &ids[1]];
    let got = user.run(&[&joining[..], &wanted].concat());
    assert!(got.status.success(), "{}", said(&got));
    let output = String::from_utf8_lossy(&got.stdout).into_owned();
    let count = |event: &str| output.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("ready"), count("completed")), (1, 2), "{output}");
}

#[test]
fn a_cap_that_is_low_is_no_stall() {
    // Three pieces of the least size, which come for six seconds.
    let bytes = pattern(48_000);
    let origin = Origin::start(bytes.clone(), |_, response| response);
    let (id, user) = (origin.publish(), User::new());
    let before = origin.sent();
    let got = user.run(&["get", &id, "--origin", &origin.url(), "--origin-rate=8KiB"]);
    assert!(got.status.success(), "{}", said(&got));
    assert!(origin.sent() - before <= 48_002, "no read is given up: {}", said(&got));
    assert!(std::fs::read(user.folder.path().join("file.bin")).unwrap() == bytes);
}

#[test]
fn a_url_with_no_manifest_beside_it_is_said_to_have_none() {
    let origin = Origin::start(pattern(1000), |_, response| response);
    let id = origin.publish();
    origin.manifest.lock().unwrap().clear();
    let user = User::new();
    let get = Program::start(user.command(&["get", &id, "--origin", &origin.url()]));
    get.line("has no manifest of");
}

#[test]
fn what_cannot_be_named_is_not_published() {
    let user = User::new();
    let origin = Origin::start(pattern(1000), |_, response| response);
    let signed = format!("{}?signature=1", origin.url());
    for (words, expected) in [
        (vec!["publish", &signed, "--name-origin"], "may hold a secret"),
        (vec!["publish", "https://host/a", "--open"], "-i"),
        (vec!["get", "--origin", "file.bin", "p2p"], "no URL of an origin"),
        (vec!["get", "--origin-allow", "host", "p2p"], "--origin-fallback"),
        (vec!["get", "--origin-fallback", "--origin-allow", "https://host/", "p2p"], "a host is a name"),
    ] {
        let output = user.run(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{words:?}: {}", said(&output));
    }
}
