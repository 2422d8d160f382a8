//! `--site auto`: where this machine is, as its platform says.
//!
//! In Kubernetes a pod is told by the downward API, where the cluster copies the zone of the node to its labels: in a variable, or in a file
//! of labels. Machines of EC2 and of Google ask an address that only their own host answers. That is a few lines of HTTP without TLS, so
//! it is spoken here: what comes is short, or no answer, and leads nowhere else.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::flags::peer::PeerArguments;
use crate::ui::screen::complain;

/// What stands for a site that is to be found.
const AUTO: &str = "auto";
/// The label of a node, and where it is copied to pods, of theirs.
const LABEL: &str = "topology.kubernetes.io/zone";
/// Where a pod that is told in a file has it, as in Kubernetes' own examples; and the variable of one that is told in a variable.
const LABELS: &str = "/etc/podinfo/labels";
const VARIABLE: &str = "TOPOLOGY_ZONE";
/// Where the hosts of EC2 and of Google answer.
const METADATA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// All answers are there within this time, or there are none.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of an answer, and of a file of labels.
const LONGEST: usize = 4 << 10;
const LONGEST_LABELS: u64 = 64 << 10;

/// What says where a machine is.
struct Platform {
    variable: Option<String>,
    labels: PathBuf,
    metadata: SocketAddr,
}

/// Finds the site, if it is to be found.
pub async fn settle(arguments: &mut PeerArguments) {
    if arguments.site.as_deref() != Some(AUTO) {
        return;
    }
    let variable = std::env::var(VARIABLE).ok();
    arguments.site = find(&Platform { variable, labels: LABELS.into(), metadata: METADATA }).await;
    match &arguments.site {
        Some(site) => tracing::info!(%site, "the site, as the platform says"),
        None => complain(
            "--site auto found no site: Kubernetes, EC2 and Google Cloud do not say where this machine is. It goes on without one",
        ),
    }
}

async fn find(platform: &Platform) -> Option<String> {
    let told = platform.variable.as_deref().and_then(named).or_else(|| labelled(platform));
    if told.is_some() {
        return told;
    }
    let (ec2, google) =
        tokio::join!(timeout(PATIENCE, ec2(platform.metadata)), timeout(PATIENCE, google(platform.metadata)));
    ec2.ok().flatten().or(google.ok().flatten())
}

/// A name of a place, if it is one.
fn named(text: &str) -> Option<String> {
    let name = text.trim();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (is_plain && !name.is_empty() && name.len() <= protocol::MAX_SITE).then(|| name.to_owned())
}

/// The label in a file of lines like `topology.kubernetes.io/zone="eu-1a"`.
fn labelled(Platform { labels, .. }: &Platform) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(labels).ok()?.take(LONGEST_LABELS).read_to_string(&mut text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(LABEL)?.strip_prefix('='))?;
    named(value.strip_prefix('"')?.strip_suffix('"')?)
}

/// The zone of a machine of EC2, whose host wants a token to be fetched first.
async fn ec2(metadata: SocketAddr) -> Option<String> {
    let lifetime = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let token = ask(metadata, "PUT /latest/api/token", lifetime).await?.body;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let shown = format!("X-aws-ec2-metadata-token: {token}");
    named(&ask(metadata, "GET /latest/meta-data/placement/availability-zone", &shown).await?.body)
}

/// The zone of a machine of Google, as in `projects/123/zones/europe-west1-b`. Its host says that it is Google's.
async fn google(metadata: SocketAddr) -> Option<String> {
    const FLAVOUR: &str = "Metadata-Flavor: Google";
    let answer = ask(metadata, "GET /computeMetadata/v1/instance/zone", FLAVOUR).await?;
    let is_google = answer.head.lines().any(|line| line.trim().eq_ignore_ascii_case(FLAVOUR));
    named(answer.body.rsplit_once("/zones/")?.1).filter(|_| is_google)
}

/// An answer of status 200.
struct Answer {
    head: String,
    body: String,
}

/// Asks, with one header. Whatever is no plain answer is none: it leads nowhere.
async fn ask(at: SocketAddr, what: &str, header: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let host = at.ip();
    let request =
        format!("{what} HTTP/1.1\r\nHost: {host}\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while answer.len() < LONGEST {
        let mut block = [0; 1024];
        let count = stream.read(&mut block).await.ok()?;
        answer.extend_from_slice(&block[..count]);
        if let Some(read) = read(&answer, count == 0) {
            return read;
        }
        if count == 0 {
            break;
        }
    }
    None
}

/// An answer as far as it has come: nothing as long as more is to come, and then whether it is one.
fn read(bytes: &[u8], is_over: bool) -> Option<Option<Answer>> {
    const END: &[u8] = b"\r\n\r\n";
    let head = bytes.windows(END.len()).position(|window| window == END)?;
    let Ok(text) = std::str::from_utf8(&bytes[..head]) else { return Some(None) };
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1));
    let value = |name: &str| {
        let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    if status != Some("200") || value("Transfer-Encoding").is_some() {
        return Some(None);
    }
    let body = &bytes[head + END.len()..];
    let length = match value("Content-Length").map(str::parse::<usize>) {
        Some(Ok(length)) if length <= LONGEST => Some(length),
        Some(_) => return Some(None),
        None => None,
    };
    let body = match length {
        Some(length) if body.len() >= length => &body[..length],
        None if is_over => body,
        _ => return is_over.then_some(None),
    };
    let body = std::str::from_utf8(body).ok().map(str::to_owned);
    Some(body.map(|body| Answer { head: text.to_owned(), body }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn without_kubernetes(metadata: SocketAddr) -> Platform {
        Platform { variable: Some(String::new()), labels: "no/such/file".into(), metadata }
    }

    /// A host that answers each question as `answer` says, and how often it was asked.
    async fn host(answer: fn(&str) -> String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut asked = vec![0; 2048];
                    let count = stream.read(&mut asked).await.unwrap();
                    let answer = answer(std::str::from_utf8(&asked[..count]).unwrap());
                    let _ = stream.write_all(answer.as_bytes()).await;
                    // As some hosts do, it stays open until the other side has enough.
                    let _ = stream.read(&mut asked).await;
                });
            }
        });
        at
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_pod_is_told_by_the_downward_api() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("labels");
        std::fs::write(&labels, "app=\"peer\"\ntopology.kubernetes.io/zone=\"eu-west-1b\"\n").unwrap();
        let mut platform = Platform { variable: None, labels, metadata: nobody };
        assert_eq!(find(&platform).await.as_deref(), Some("eu-west-1b"));
        platform.variable = Some("eu-west-1a".to_owned());
        assert_eq!(find(&platform).await.as_deref(), Some("eu-west-1a"));
        // What is no name is none.
        platform.variable = Some("a zone\n".to_owned());
        assert_eq!(find(&platform).await.as_deref(), Some("eu-west-1b"));
        assert_eq!(find(&without_kubernetes(nobody)).await, None);
    }

    #[tokio::test]
    async fn ec2_wants_a_token_first() {
        let at = host(|asked| match asked.split("\r\n").next().unwrap() {
            "PUT /latest/api/token HTTP/1.1" if asked.contains("\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n") => {
                ok("AQAEALp-token==")
            }
            "GET /latest/meta-data/placement/availability-zone HTTP/1.1"
                if asked.contains("\r\nX-aws-ec2-metadata-token: AQAEALp-token==\r\n") =>
            {
                ok("us-east-1c")
            }
            _ => MISSING.to_owned(),
        });
        assert_eq!(find(&without_kubernetes(at.await)).await.as_deref(), Some("us-east-1c"));
    }

    #[tokio::test]
    async fn google_says_that_it_is() {
        let at = host(|asked| {
            match asked.starts_with("GET /computeMetadata/v1/instance/zone HTTP/1.1\r\n") {
            true if asked.contains("\r\nMetadata-Flavor: Google\r\n") => {
                "HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\nContent-Length: 34\r\n\r\nprojects/123/zones/europe-west1-b\n"
                    .to_owned()
            }
            _ => MISSING.to_owned(),
        }
        });
        assert_eq!(find(&without_kubernetes(at.await)).await.as_deref(), Some("europe-west1-b"));
        let at = host(|asked| match asked.starts_with("GET") {
            true => ok("projects/123/zones/europe-west1-b"),
            false => MISSING.to_owned(),
        });
        assert_eq!(find(&without_kubernetes(at.await)).await, None, "anyone could say this");
    }

    #[tokio::test]
    async fn what_is_no_answer_leads_nowhere() {
        let redirects = host(|_| {
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 10\r\n\r\nus-east-1c".to_owned()
        });
        let endless = host(|_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(1 << 20)));
        let long = host(|_| "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\na".to_owned());
        let page = host(|_| ok("<html>us-east-1c</html>"));
        let silent = host(|_| String::new());
        for at in [redirects.await, endless.await, long.await, page.await, silent.await] {
            assert_eq!(find(&without_kubernetes(at)).await, None);
        }
    }
}
