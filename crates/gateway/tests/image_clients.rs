//! Clients of registries: skopeo and containerd, with the distribution's own registry behind the gateway. What is not installed is skipped,
//! loudly.

mod client;
#[path = "client/programs.rs"]
mod programs;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Client, Peers, noise, serve};
use p2p_fileshare_gateway::{Limits, Options, Origins, Registry, Swarm, Token};
use programs::{must, run};
use sha2::{Digest, Sha256};

const TOKEN: &str = "0123456789abcdef";
/// A patience that only ends a program that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that is ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program in a folder, and waits until it says where it listens; nothing if it is not installed, or may not run here.
async fn start(program: &str, arguments: &[&str], folder: &Path, says: &'static str) -> Option<(Program, String)> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let child = Program(child);
    let listening = tokio::task::spawn_blocking(move || {
        let found = lines.find_map(|line| {
            let (_, address) = line.split_once(says)?;
            Some(address.split(['"', ' ', ',']).next().unwrap_or_default().to_owned())
        });
        // What it says later is read, so that it can go on saying things.
        std::thread::spawn(move || lines.for_each(drop));
        found
    });
    // One that says nothing is ended with `child`, and so is the thread that listens to it.
    let Ok(Ok(Some(address))) = tokio::time::timeout(PATIENCE, listening).await else {
        eprintln!("SKIPPED: {program} does not start here");
        return None;
    };
    Some((child, address))
}

/// A registry of the distribution's own, with an image of one layer: where it is, and the layer's digest.
async fn registry(peers: &Peers) -> Option<(Program, String, String)> {
    let folder = peers.at("registry", "");
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        folder.join("registry").display()
    );
    std::fs::write(folder.join("config.yml"), config).unwrap();
    let (program, address) = start("docker-registry", &["serve", "config.yml"], &folder, "listening on ").await?;
    let layer = image(&folder.join("image"), &noise(3_000_001));
    let to = format!("docker://{address}/library/a:latest");
    let pushing =
        ["--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false", "oci:image:latest", &to];
    must(&run("skopeo", &pushing, &[], &folder).await?);
    Some((program, address, layer))
}

/// A gateway with that registry behind, which has a token.
async fn mirror(peers: &Peers, address: &str) -> Client {
    let node = peers.joined("gateway", &peers.tracker()).await;
    let mut options = Options::default();
    let origin = Registry::new(&format!("http://{address}"), None, &Limits::default()).unwrap();
    options.origins = Some(Origins::new(peers.at("gateway", "out")).registry("docker.io", origin));
    options.token = Some(Token::new(TOKEN).unwrap());
    serve(vec![Swarm::new(node, "all").all().output(peers.at("gateway", "out"))], options).await
}

/// A folder with an image of one layer, as skopeo's `oci:` reads it: the layer's digest.
fn image(folder: &Path, layer: &[u8]) -> String {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(blobs.join(&digest), bytes).unwrap();
        format!("sha256:{digest}")
    };
    let layer_digest = put(layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
    );
    let config_digest = put(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
        config.len(),
        layer.len()
    );
    let manifest_digest = put(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest_digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}]}}"#,
        manifest.len()
    );
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    layer_digest
}

#[tokio::test]
async fn skopeo_copies_an_image_through_the_gateway() {
    let peers = Peers::new();
    let Some((_registry, address, layer)) = registry(&peers).await else { return };
    let (client, folder) = (mirror(&peers, &address).await, peers.at("skopeo", ""));
    let from = format!("docker://{}/library/a:latest", client.0);
    let credentials = format!("any:{TOKEN}");
    let pulling =
        ["--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds", &credentials, &from, "dir:copied"];
    must(&run("skopeo", &pulling, &[], &folder).await.unwrap());
    let copied = folder.join("copied").join(layer.trim_start_matches("sha256:"));
    assert!(std::fs::read(copied).unwrap() == noise(3_000_001));
    let wrong = ["--insecure-policy", "copy", "--src-tls-verify=false", &from, "dir:refused"];
    assert!(!run("skopeo", &wrong, &[], &folder).await.unwrap().status.success(), "without the token");
}

#[tokio::test]
async fn containerd_pulls_an_image_through_the_gateway() {
    let peers = Peers::new();
    let Some((_registry, address, layer)) = registry(&peers).await else { return };
    let (client, folder) = (mirror(&peers, &address).await, peers.at("containerd", ""));
    std::fs::create_dir_all(folder.join("hosts/docker.io")).unwrap();
    let at = |path: &str| folder.join(path).display().to_string();
    let disabled =
        ["grpc.v1.cri", "internal.v1.opt", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs"];
    let disabled = disabled.map(|plugin| format!("\"io.containerd.{plugin}\"")).join(", ");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{disabled}]\n[grpc]\naddress = {:?}\n",
        at("root"),
        at("state"),
        at("sock")
    );
    std::fs::write(folder.join("config.toml"), config).unwrap();
    let hosts = format!(
        "server = \"http://127.0.0.1:9\"\n[host.\"http://{0}\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
         [host.\"http://{0}\".header]\nAuthorization = \"Bearer {TOKEN}\"\n",
        client.0
    );
    std::fs::write(folder.join("hosts/docker.io/hosts.toml"), hosts).unwrap();
    let arguments = ["--config", "config.toml"];
    // It says so of the socket for its own processes first.
    let Some((_containerd, _)) = start("containerd", &arguments, &folder, "successfully booted").await else { return };
    let (socket, image) = (at("sock"), "docker.io/library/a:latest");
    let fetching = ["-a", &socket, "content", "fetch", "--hosts-dir", "hosts", image];
    let Some(output) = run("ctr", &fetching, &[], &folder).await else { return };
    must(&output);
    let kept = folder.join("root/io.containerd.content.v1.content/blobs/sha256");
    assert!(std::fs::read(kept.join(layer.trim_start_matches("sha256:"))).unwrap() == noise(3_000_001));
}
