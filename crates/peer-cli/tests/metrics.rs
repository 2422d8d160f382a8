//! What a daemon and a gateway say to Prometheus: its tools take it, and every query of the dashboard and every alert finds what it asks for.
//! Where there is no Prometheus, that part says that it was skipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// After this long a test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer_cli(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer-cli"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("P2P_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("HOME", folder).env("P2P_CONFIG", "/dev/null").env("P2P_NO_LAN", "true");
    for name in ["XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    command
}

/// Starts a daemon that answers scrapes, and gives where.
fn daemon(folder: &Path) -> (Running, String) {
    let mut command = peer_cli(folder);
    command.args(["daemon", "-p0", "--bind=127.0.0.1", "--metrics=0", "--socket"]).arg(folder.join("control"));
    let (running, [metrics]) = started(command, ["Metrics at http://"]);
    (running, metrics)
}

/// Starts a program, and gives the addresses that it prints behind these words, in this order.
fn started<const N: usize>(mut command: Command, words: [&str; N]) -> (Running, [String; N]) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let running = Running(child);
    let address = |word: &str| {
        let found = lines.find_map(|line| Some(line.strip_prefix(word)?.trim_end_matches("/metrics").to_owned()));
        found.unwrap_or_else(|| panic!("it does not print {word}"))
    };
    (running, words.map(address))
}

fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn until<T>(what: &str, mut finds: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = finds() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Where a program is: in the path, or in the folder that the environment names.
fn tool(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PROMETHEUS_FOLDER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = folder.into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)
}

/// Tells the daemon of a folder something, and gives what it prints.
fn control(folder: &Path, words: &[&str]) -> String {
    let mut command = peer_cli(folder);
    let output = command.args(words).arg("--socket").arg(folder.join("control")).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A daemon that shares a file, where its metrics are, and the ticket.
fn giver(folder: &Path) -> (Running, String, String) {
    let folder = folder.join("giver");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.bin"), vec![7; 3 << 20]).unwrap();
    let (running, metrics) = daemon(&folder);
    let said = control(&folder, &["add", "a.bin"]);
    let ticket = said.lines().find_map(|line| line.strip_prefix("peer-cli get ")).expect("a ticket");
    (running, metrics, ticket.to_owned())
}

/// Two daemons of which one has downloaded from the other.
fn after_a_download(folder: &Path) -> (Vec<Running>, String, String) {
    let (one, given, ticket) = giver(folder);
    let taker = folder.join("taker");
    std::fs::create_dir(&taker).unwrap();
    let (other, taken) = daemon(&taker);
    control(&taker, &["add", &ticket]);
    until("the download is complete", || {
        ask(&taken, "/metrics").contains("p2p_completion_seconds_count 1").then_some(())
    });
    (vec![one, other], given, taken)
}

#[test]
fn a_scrape_says_what_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, given, taken) = after_a_download(folder.path());
    let metrics = ask(&taken, "/metrics");
    for line in [
        "p2p_received_bytes_total{source=\"peer\"} 3145728",
        "p2p_received_bytes_total{source=\"relay\"} 0",
        "p2p_received_bytes_total{source=\"origin\"} 0",
        "p2p_pieces_wrong_total 0",
        "p2p_first_piece_seconds_count 1",
        "p2p_contents{state=\"sharing\"} 1",
        "p2p_waited_seconds_total{limiter=\"network\"}",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    until("its tracker is up", || {
        let metrics = ask(&given, "/metrics");
        (metrics.contains("p2p_trackers{state=\"up\"} 1") && metrics.contains("p2p_trackers{state=\"lost\"} 0"))
            .then_some(())
    });
    until("what was sent is counted", || {
        ask(&given, "/metrics").contains("p2p_sent_bytes_total{source=\"peer\"} 3145728").then_some(())
    });
    assert!(ask(&given, "/livez").starts_with("HTTP/1.1 200"));
    until("it is ready", || ask(&given, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    // Nobody is told who takes part, or in what.
    assert!(!metrics.contains("a.bin") && !metrics.contains("127.0.0.1"), "{metrics}");
}

#[test]
fn a_gateway_says_what_its_nodes_have_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (_giver, _, ticket) = giver(folder.path());
    let there = folder.path().join("gateway");
    std::fs::create_dir(&there).unwrap();
    let mut command = peer_cli(&there);
    command.args(["gateway", &ticket, "--bind=127.0.0.1", "--gateway=0", "--metrics=0"]);
    let (_gateway, [served, metrics]) = started(command, ["Gateway at http://", "Metrics at http://"]);
    assert!(ask(&served, "/name/a.bin").starts_with("HTTP/1.1 200"));
    let said = until("the download is complete", || {
        let said = ask(&metrics, "/metrics");
        said.contains("p2p_contents{state=\"sharing\"} 1").then_some(said)
    });
    for line in [
        "p2p_received_bytes_total{source=\"peer\"} 3145728",
        "p2p_received_bytes_total{source=\"origin\"} 0",
        "p2p_origin_read_bytes_total 0",
        "p2p_pieces_wrong_total 0",
        "p2p_first_piece_seconds_count 1",
        "p2p_contents{state=\"downloading\"} 0",
        "p2p_waited_seconds_total{limiter=\"network\"}",
        "p2p_gateway_kept_contents 1",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let Some(promtool) = tool("promtool") else {
        eprintln!("skipped: there is no promtool here (apt install prometheus, or PROMETHEUS_FOLDER)");
        return;
    };
    let [rules, cases] = ["rules", "test"].map(|part| packaging(&format!("prometheus/p2p-fileshare.{part}.yml")));
    let checked = Command::new(promtool).args(["test", "rules"]).arg(&cases).output().unwrap();
    let said = [checked.stdout, checked.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(checked.status.success(), "{said:?}");
    let (rules, cases) = (std::fs::read_to_string(rules).unwrap(), std::fs::read_to_string(cases).unwrap());
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 9);
    for alert in alerts {
        let of_alert = |case: &&str| case.trim_end().ends_with(&format!("alertname: {alert}"));
        assert!(cases.lines().any(|line| of_alert(&line)), "no case in which {alert} fires");
    }
}

#[test]
fn prometheus_takes_it_with_the_dashboard_and_the_alerts() {
    let (Some(prometheus), Some(promtool)) = (tool("prometheus"), tool("promtool")) else {
        eprintln!("skipped: there is no Prometheus here (apt install prometheus, or PROMETHEUS_FOLDER)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (_running, _, taken) = after_a_download(folder.path());
    let rules = packaging("prometheus/p2p-fileshare.rules.yml").canonicalize().unwrap();
    let checked = Command::new(&promtool).args(["check", "rules"]).arg(&rules).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let at = folder.path().join("prometheus.yml");
    let config = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\nrule_files: [{:?}]\nscrape_configs:\n- job_name: p2p\n  \
         static_configs: [{{targets: [{taken:?}]}}]\n",
        rules.display().to_string()
    );
    std::fs::write(&at, config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", at.display())).arg(format!("--web.listen-address={address}"));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _prometheus = Running(child);
    let query = |expression: &str| -> Option<serde_json::Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        TcpStream::connect(&address).ok()?;
        let answer = ask(&address, &format!("/api/v1/query?query={encoded}"));
        let body = answer.split_once("\r\n\r\n")?.1;
        let (begin, end) = (body.find('{')?, body.rfind('}')?);
        serde_json::from_str(&body[begin..=end]).ok()
    };
    let found = |expression: &str| {
        let answer = query(expression)?;
        (answer["status"] == "success" && answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty()))
            .then_some(())
    };
    until("a scrape is stored", || found("p2p_received_bytes_total"));
    let dashboard = std::fs::read_to_string(packaging("grafana/p2p-fileshare.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    // Grafana's own word for a window that has some scrapes in it.
    let expression = |target: &serde_json::Value| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
    let expressions: Vec<_> = expressions.map(expression).collect();
    assert!(expressions.len() > 10);
    // Trackers are scraped elsewhere, and certificates end in closed swarms: their queries need only make sense.
    for expression in &expressions {
        match expression.contains("tracker") || expression.contains("certificate") {
            true => assert_eq!(query(expression).expect(expression)["status"], "success", "{expression}"),
            false => until(expression, || found(expression)),
        }
    }
    let answer = ask(&address, "/api/v1/rules");
    assert!(answer.contains("P2pStuckDownloads") && !answer.contains("\"health\":\"err\""), "{answer}");
}
