//! The programs that people have: curl, wget, aria2, and the library of Hugging Face. What is not installed is skipped, loudly.
//! `P2P_TEST_PYTHON` says which Python has `huggingface_hub`.

mod client;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use client::{Client, Peers, noise, serve};
use p2p_fileshare_gateway::{Options, Swarm, Token};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "0123456789abcdef";

/// Runs a program away from the gateway's thread; nothing if it is not installed.
async fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)], folder: &Path) -> Option<Output> {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = Command::new(program);
    // A proxy of this machine is not meant.
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HF_HUB_OFFLINE"] {
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

fn must(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {said} {errors}", output.status);
    said
}

/// A file of some megabytes that a gateway has, or gets.
async fn file(peers: &Peers) -> (Vec<u8>, Client, String) {
    let bytes = noise(6_000_007);
    let (node, id) = peers.share("seeder", "model.bin", &bytes).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let url = client.url(&format!("/content/{id}"));
    (bytes, client, url)
}

#[tokio::test]
async fn curl_gets_resumes_and_finds_that_it_is_complete() {
    let peers = Peers::new();
    let (bytes, _client, url) = file(&peers).await;
    let folder = peers.at("curl", "");
    let Some(output) = run("curl", &["-sS", "-f", "-OJ", &url], &[], &folder).await else { return };
    must(&output);
    assert!(std::fs::read(folder.join("model.bin")).unwrap() == bytes);
    std::fs::write(folder.join("part"), &bytes[..1_234_567]).unwrap();
    must(&run("curl", &["-sS", "-f", "-C", "-", "-o", "part", &url], &[], &folder).await.unwrap());
    assert!(std::fs::read(folder.join("part")).unwrap() == bytes);
    let again = run("curl", &["-sS", "-C", "-", "-o", "part", "-w", "%{http_code}", &url], &[], &folder).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), "416");
    assert!(std::fs::read(folder.join("part")).unwrap() == bytes, "what is complete stays");
    let tail =
        must(&run("curl", &["-sS", "-f", "-r", "-7", "-o", "tail", "-D", "-", &url], &[], &folder).await.unwrap());
    assert!(tail.contains("206 Partial Content"), "{tail}");
    assert!(std::fs::read(folder.join("tail")).unwrap() == bytes[bytes.len() - 7..]);
}

#[tokio::test]
async fn wget_gets_and_resumes() {
    let peers = Peers::new();
    let (bytes, _client, url) = file(&peers).await;
    let folder = peers.at("wget", "");
    let url = format!("{url}/model.bin");
    let Some(output) = run("wget", &["-q", "--content-disposition", &url], &[], &folder).await else { return };
    must(&output);
    assert!(std::fs::read(folder.join("model.bin")).unwrap() == bytes);
    std::fs::write(folder.join("model.bin"), &bytes[..3_000_000]).unwrap();
    must(&run("wget", &["-q", "-c", &url], &[], &folder).await.unwrap());
    must(&run("wget", &["-q", "-c", &url], &[], &folder).await.unwrap());
    assert!(std::fs::read(folder.join("model.bin")).unwrap() == bytes);
}

#[tokio::test]
async fn aria2_takes_it_in_four_parts() {
    let peers = Peers::new();
    let (bytes, _client, url) = file(&peers).await;
    let folder = peers.at("aria2", "");
    let arguments = ["-q", "-x4", "-s4", "-k1M", "--no-conf", "-o", "model.bin", &url];
    let Some(output) = run("aria2c", &arguments, &[], &folder).await else { return };
    must(&output);
    assert!(std::fs::read(folder.join("model.bin")).unwrap() == bytes);
}

const SNAPSHOT: &str = r#"
import hashlib, os, pathlib, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
commit = sys.argv[1]
print(snapshot_download("org/model"))
assert HfApi().model_info("org/model").sha == commit
path = hf_hub_download("org/model", "sub/b.bin", revision=commit)
print(hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest())
print(snapshot_download("org/data", repo_type="dataset"))
fs = HfFileSystem()
print(sorted(fs.ls("org/model", detail=False)), sorted(fs.ls("org/model/sub", detail=False)))
with fs.open("org/model/model.safetensors", "rb", block_size=1 << 16) as file:
    file.seek(2_000_000)
    print(file.read(1000).hex())
for error, call in [
    (EntryNotFoundError, lambda: hf_hub_download("org/model", "none.json")),
    (RevisionNotFoundError, lambda: hf_hub_download("org/model", "config.json", revision="f" * 40)),
    (RepositoryNotFoundError, lambda: HfApi().model_info("org/other")),
]:
    try:
        call()
    except error as caught:
        print(type(caught).__name__)
"#;

#[tokio::test]
async fn hugging_face_clients_get_a_model_through_the_swarm() {
    let python = std::env::var("P2P_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let peers = Peers::new();
    let folder = peers.at("python", "");
    let there = run(&python, &["-c", "import huggingface_hub"], &[], &folder).await;
    if !there.is_some_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} has no huggingface_hub (P2P_TEST_PYTHON says which Python has it)");
        return;
    }
    let weights = noise(5_000_011);
    let model = format!("org--model@{COMMIT}");
    peers.put("seeder", &format!("{model}/config.json"), b"{}");
    peers.put("seeder", &format!("{model}/model.safetensors"), &weights);
    peers.put("seeder", &format!("{model}/sub/b.bin"), b"b");
    peers.put("seeder", &format!("datasets--org--data@{COMMIT}/train.csv"), b"a,b\n1,2\n");
    let (sharer, id) = peers.share_path("seeder", &model).await;
    let data = sharer.share(peers.at("seeder", &format!("datasets--org--data@{COMMIT}"))).await.unwrap().content();
    // The gateway has nothing yet: it gets the model when it is asked for.
    let node = peers.node("gateway", None);
    let swarm =
        Swarm::new(node.clone(), "tickets").ticket(id, None).ticket(data, None).output(peers.at("gateway", "out"));
    let mut options = Options::default();
    options.token = Some(Token::new(TOKEN).unwrap());
    let client = serve(vec![swarm], options).await;
    let bearer = format!("Bearer {TOKEN}");
    for content in [id, data] {
        let (path, headers) = (format!("/content/{content}/"), [("authorization", bearer.as_str())]);
        let (page, ()) = tokio::join!(client.get(&path, &headers), Peers::introduce(&node, content, &sharer));
        assert_eq!(page.status, 200);
    }
    let (endpoint, home) = (client.url(""), folder.join("home"));
    let variables = [
        ("HF_ENDPOINT", endpoint.as_str()),
        ("HF_HOME", home.to_str().unwrap()),
        ("HF_TOKEN", TOKEN),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
    ];
    let said = must(&run(&python, &["-c", SNAPSHOT, COMMIT], &variables, &folder).await.unwrap());
    let lines: Vec<&str> = said.lines().collect();
    let snapshot = Path::new(lines[0]);
    assert!(snapshot.ends_with(COMMIT), "{said}");
    assert!(std::fs::read(snapshot.join("model.safetensors")).unwrap() == weights);
    assert_eq!(std::fs::read(snapshot.join("sub/b.bin")).unwrap(), b"b");
    assert_eq!(lines[1], "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
    assert_eq!(std::fs::read(Path::new(lines[2]).join("train.csv")).unwrap(), b"a,b\n1,2\n");
    assert!(lines[3].contains("org/model/model.safetensors") && lines[3].contains("org/model/sub/b.bin"), "{said}");
    let hex: String = weights[2_000_000..2_001_000].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[4], hex);
    assert_eq!(
        lines[5..],
        ["EntryNotFoundError", "RevisionNotFoundError", "RepositoryNotFoundError"]
            .map(|name| { if name == "EntryNotFoundError" { "RemoteEntryNotFoundError" } else { name } })
    );
    let hf = Path::new(&python).with_file_name("hf");
    let into = ["download", "org/model", "config.json", "--local-dir", "local"];
    if let Some(output) = run(hf.to_str().unwrap(), &into, &variables, &folder).await {
        must(&output);
        assert_eq!(std::fs::read(folder.join("local/config.json")).unwrap(), b"{}");
    }
}
