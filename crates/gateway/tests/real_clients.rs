//! The programs that people have: curl, wget, aria2, clients of object stores, and the library of Hugging Face. What is not installed is
//! skipped, loudly.
//! `P2P_TEST_PYTHON` says which Python has `huggingface_hub`.

mod client;
#[allow(dead_code)]
#[path = "../../../tests/src/hub.rs"]
mod hub;
#[path = "client/programs.rs"]
mod programs;
#[allow(dead_code)]
#[path = "../../../tests/src/web.rs"]
mod web;

use std::path::Path;

use client::{Client, Peers, noise, serve};
use p2p_fileshare_gateway::{Options, Swarm, Token};
use programs::{must, run};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "0123456789abcdef";

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

const BOTO: &str = r#"
import sys, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
endpoint, secret = sys.argv[1:]
def client(secret):
    return boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="any", aws_secret_access_key=secret, region_name="eu-central-1",
                        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
s3 = client(secret)
assert s3.head_object(Bucket="run-7", Key="sub/a b&c+d=ö.txt")["ContentLength"] == 4
assert s3.get_object(Bucket="run-7", Key="sub/a b&c+d=ö.txt")["Body"].read() == b"text"
keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="run-7", PaginationConfig={"PageSize": 1}) for o in page["Contents"]]
assert keys == ["model.bin", "sub/a b&c+d=ö.txt"], keys
assert [p["Prefix"] for p in s3.list_objects_v2(Bucket="run-7", Delimiter="/")["CommonPrefixes"]] == ["sub/"]
s3.head_bucket(Bucket="run-7")
s3.download_file("run-7", "model.bin", "model.bin")
part = s3.get_object(Bucket="run-7", Key="model.bin", Range="bytes=2000000-2000999")["Body"].read()
assert part == open("model.bin", "rb").read()[2000000:2001000]
print(s3.generate_presigned_url("get_object", Params={"Bucket": "run-7", "Key": "model.bin"}, ExpiresIn=60))
for code, ask in [("NoSuchKey", lambda: s3.get_object(Bucket="run-7", Key="none")), ("NoSuchBucket", lambda: s3.list_objects_v2(Bucket="none")),
                  ("AccessDenied", lambda: client("another secret key").get_object(Bucket="run-7", Key="model.bin"))]:
    try:
        ask()
        raise SystemExit(code)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
"#;

#[tokio::test]
async fn clients_of_object_stores_read_and_list() {
    let python = std::env::var("P2P_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let peers = Peers::new();
    let folder = peers.at("boto", "");
    let bytes = noise(20_000_003);
    peers.put("seeder", "run-7/model.bin", &bytes);
    peers.put("seeder", "run-7/sub/a b&c+d=ö.txt", b"text");
    let (node, _) = peers.share_path("seeder", "run-7").await;
    let mut options = Options::default();
    options.token = Some(Token::new(TOKEN).unwrap());
    let client = serve(vec![Swarm::new(node, "here")], options).await;
    let endpoint = client.url("/s3");
    if run(&python, &["-c", "import boto3"], &[], &folder).await.is_some_and(|output| output.status.success()) {
        // Its parts come in several threads.
        let signed = [("PYTHONUTF8", "1"), ("AWS_EC2_METADATA_DISABLED", "true")];
        let url = must(&run(&python, &["-c", BOTO, &endpoint, TOKEN], &signed, &folder).await.unwrap());
        assert!(std::fs::read(folder.join("model.bin")).unwrap() == bytes);
        if let Some(output) = run("curl", &["-sS", "-f", "-o", "signed.bin", url.trim()], &[], &folder).await {
            must(&output);
            assert!(std::fs::read(folder.join("signed.bin")).unwrap() == bytes);
        }
    } else {
        eprintln!("SKIPPED: {python} has no boto3 (P2P_TEST_PYTHON says which Python has it)");
    }
    let variables = [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", TOKEN), ("AWS_REGION", "us-east-1")];
    let s5cmd = Path::new(&python).with_file_name("s5cmd");
    let copying = ["--endpoint-url", &endpoint, "cp", "s3://run-7/*", "s5/"];
    if let Some(output) = run(s5cmd.to_str().unwrap(), &copying, &variables, &folder).await {
        must(&output);
        assert!(std::fs::read(folder.join("s5/model.bin")).unwrap() == bytes);
        assert_eq!(std::fs::read(folder.join("s5/sub/a b&c+d=ö.txt")).unwrap(), b"text");
    }
    let remote = format!(":s3,provider=Other,env_auth=true,force_path_style=true,endpoint='{endpoint}':run-7");
    if let Some(output) = run("rclone", &["copy", "--config", "", &remote, "rclone"], &variables, &folder).await {
        must(&output);
        assert!(std::fs::read(folder.join("rclone/model.bin")).unwrap() == bytes);
        assert_eq!(std::fs::read(folder.join("rclone/sub/a b&c+d=ö.txt")).unwrap(), b"text");
    }
}

const UNPUBLISHED: &str = r#"
import hashlib, pathlib
from huggingface_hub import HfFileSystem, snapshot_download
folder = snapshot_download("org/model")
print(folder)
print(hashlib.sha256(pathlib.Path(folder, "model.safetensors").read_bytes()).hexdigest())
with HfFileSystem().open("org/model/model.safetensors", "rb", block_size=1 << 16) as file:
    file.seek(2_000_000)
    print(file.read(1000).hex())
"#;

#[tokio::test]
async fn hugging_face_clients_get_a_model_that_nobody_has_shared() {
    use p2p_fileshare_gateway::{Hub, Limits, Origins};

    let python = std::env::var("P2P_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let peers = Peers::new();
    let folder = peers.at("python", "");
    let there = run(&python, &["-c", "import huggingface_hub"], &[], &folder).await;
    if !there.is_some_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} has no huggingface_hub (P2P_TEST_PYTHON says which Python has it)");
        return;
    }
    let (weights, hub) = (noise(5_000_011), hub::MockHub::start());
    hub.put("models/org/model", "config.json", b"{}", false);
    hub.put("models/org/model", "sub/b c.bin", b"b", false);
    hub.put("models/org/model", "model.safetensors", &weights, true);
    let node = peers.joined("gateway", &peers.tracker()).await;
    let mut options = Options::default();
    let origin = Hub::new(&hub.url(), None, &Limits::default()).unwrap();
    options.origins = Some(Origins::new(peers.at("gateway", "out")).hub(origin));
    let swarm = Swarm::new(node, "all").all().output(peers.at("gateway", "out"));
    let client = serve(vec![swarm], options).await;
    let (endpoint, home) = (client.url(""), folder.join("home"));
    let variables = [
        ("HF_ENDPOINT", endpoint.as_str()),
        ("HF_HOME", home.to_str().unwrap()),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
    ];
    let said = must(&run(&python, &["-c", UNPUBLISHED], &variables, &folder).await.unwrap());
    let lines: Vec<&str> = said.lines().collect();
    assert!(std::fs::read(Path::new(lines[0]).join("model.safetensors")).unwrap() == weights);
    assert_eq!(std::fs::read(Path::new(lines[0]).join("sub/b c.bin")).unwrap(), b"b");
    let hex: String = weights[2_000_000..2_001_000].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[2], hex);
}
