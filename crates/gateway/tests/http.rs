//! What a gateway answers, asked over real sockets.

mod client;

use std::collections::BTreeMap;
use std::io::Read;

use client::{Peers, noise, serve};
use p2p_fileshare_gateway::{Gateway, GatewayError, Options, Swarm, Token};
use peer::ReadMemory;

#[tokio::test]
async fn any_range_of_a_file_is_served() {
    let peers = Peers::new();
    let bytes = noise(3_000_001);
    let (node, id) = peers.share("seeder", "a b.bin", &bytes).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let path = format!("/content/{id}");
    let size = bytes.len();
    let whole = client.get(&path, &[]).await;
    assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
    assert_eq!(whole.header("content-length"), Some("3000001"));
    assert_eq!(whole.header("content-disposition"), Some("attachment; filename=\"a b.bin\""));
    assert_eq!(whole.header("access-control-allow-origin"), None);
    assert!(whole.body == bytes);
    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ("bytes=2999990-", 2_999_990, size),
        ("bytes=-500", size - 500, size),
        ("bytes=-99999999", 0, size),
        ("bytes=2999990-99999999999999999999", 2_999_990, size),
    ] {
        let part = client.get(&path, &[("range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), Some(format!("bytes {first}-{}/{size}", end - 1).as_str()));
        assert_eq!(part.header("content-length"), Some((end - first).to_string().as_str()));
        assert!(part.body == bytes[first..end], "{range}");
    }
    let none = client.get(&path, &[("range", "bytes=3000001-")]).await;
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */3000001")));
    let head = client.ask("HEAD", &path, &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("3000001"), 0));
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let peers = Peers::new();
    let bytes = noise(100_000);
    let (node, id) = peers.share("seeder", "a", &bytes).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let answer = client.get(&format!("/content/{id}"), &[("range", "bytes=0-9,99990-,50-50")]).await;
    assert_eq!(answer.status, 206);
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    let mut expected: Vec<u8> = Vec::new();
    for (first, end) in [(0, 10), (99_990, 100_000), (50, 51)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{}/100000\r\n\r\n",
            end - 1
        );
        expected.extend(head.as_bytes());
        expected.extend(&bytes[first..end]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected);
}

#[tokio::test]
async fn tags_say_which_version_it_is() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", &noise(5000)).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let path = format!("/content/{id}");
    let tag = client.get(&path, &[]).await.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.len() == 66, "{tag}");
    let status = async |headers: &[(&str, &str)]| client.get(&path, headers).await.status;
    assert_eq!(status(&[("if-none-match", &tag)]).await, 304);
    assert_eq!(status(&[("if-none-match", "\"other\"")]).await, 200);
    let known = client.ask("HEAD", &path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.header("content-length")), (304, Some("5000")), "as without the condition");
    assert_eq!(status(&[("if-match", "\"other\"")]).await, 412);
    assert_eq!(status(&[("range", "bytes=1-2"), ("if-range", &tag)]).await, 206);
    assert_eq!(status(&[("range", "bytes=1-2"), ("if-range", "\"other\"")]).await, 200);
    assert_eq!(status(&[("range", "lines=1-2")]).await, 200);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "empty", b"").await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let path = format!("/content/{id}");
    let answer = client.get(&path, &[]).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("0"), 0));
    let answer = client.get(&path, &[("range", "bytes=0-")]).await;
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */0")));
}

#[tokio::test]
async fn a_folder_is_a_page_and_an_archive() {
    let peers = Peers::new();
    let long = format!("deep/{}/c <i>.txt", "d".repeat(150));
    let files: BTreeMap<&str, Vec<u8>> =
        [("a.bin", noise(700_000)), ("deep/b ö.txt", b"b".to_vec()), (long.as_str(), noise(513)), ("none", vec![])]
            .into();
    for (path, bytes) in &files {
        peers.put("seeder", &format!("model/{path}"), bytes);
    }
    let (node, id) = peers.share_path("seeder", "model").await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let moved = client.get(&format!("/content/{id}"), &[]).await;
    assert_eq!((moved.status, moved.header("location")), (308, Some(format!("/content/{id}/").as_str())));
    let page = client.get(&format!("/content/{id}/deep/"), &[]).await.text();
    assert!(page.contains("./b%20%C3%B6.txt") && page.contains("b ö.txt") && !page.contains("a.bin"), "{page}");
    let file = client.get(&format!("/content/{id}/deep/b%20%C3%B6.txt"), &[]).await;
    assert_eq!(file.body, b"b");
    let file = client
        .get(&format!("/name/model/{}", long.replace(' ', "%20").replace('<', "%3C").replace('>', "%3E")), &[])
        .await;
    assert!(file.body == files[long.as_str()]);
    for missing in ["b", "a.bin/x", "deep/b", "../model/a.bin", "deep//b", "%2e%2e/a.bin"] {
        assert_eq!(client.get(&format!("/content/{id}/{missing}"), &[]).await.status, 404, "{missing}");
    }
    let archive = client.get(&format!("/content/{id}/?tar"), &[]).await;
    assert_eq!(archive.header("content-type"), Some("application/x-tar"));
    assert_eq!(archive.header("content-disposition"), Some("attachment; filename=\"model.tar\""));
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(&archive.body[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        found.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    let expected = files.iter().map(|(path, bytes)| (format!("model/{path}"), bytes.clone())).collect();
    assert!(found == expected, "{:?}", found.keys());
    let part = client.get(&format!("/content/{id}/deep/"), &[("accept", "application/x-tar")]).await;
    let paths = |bytes: &[u8]| {
        let mut archive = tar::Archive::new(bytes);
        let paths = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned());
        paths.collect::<Vec<_>>()
    };
    assert!(paths(&part.body).iter().all(|path| path.starts_with("deep/")) && paths(&part.body).len() == 2);
}

#[tokio::test]
async fn a_revision_that_is_not_there_is_told_from_a_repository() {
    let peers = Peers::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    peers.put("seeder", &format!("org--m@{commit}/a"), b"bytes");
    let (node, _) = peers.share_path("seeder", &format!("org--m@{commit}")).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    assert_eq!(client.get("/org/m/resolve/main/a", &[]).await.body, b"bytes");
    let other = commit.replace('0', "1");
    for (path, code) in [
        ("/org/m/resolve/v1/a", "RevisionNotFound"),
        ("/org/m/resolve/refs%2Fpr%2F1/a", "RevisionNotFound"),
        (&format!("/org/m/resolve/{other}/a"), "RevisionNotFound"),
        ("/org/none/resolve/main/a", "RepoNotFound"),
        ("/org/none/resolve/v1/a", "RepoNotFound"),
        (&format!("/org/none/resolve/{commit}/a"), "RepoNotFound"),
    ] {
        let answer = client.get(path, &[]).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (404, Some(code)), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_told_from_what_is_nobodys_business() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", b"bytes").await;
    let (_other, elsewhere) = peers.share("other", "b", b"other bytes").await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let unknown = id.to_string().replace(|_: char| true, "7");
    let answers = [
        client.get(&format!("/content/{elsewhere}"), &[]).await,
        client.get(&format!("/content/{unknown}"), &[]).await,
        client.get("/name/b", &[]).await,
        client.get("/nowhere", &[]).await,
    ];
    assert!(answers.iter().all(|answer| answer.status == 404 && answer.body == answers[0].body));
    assert!(!String::from_utf8_lossy(&answers[0].body).contains('/'), "a path");
    assert_eq!(client.get("/content/nonsense", &[]).await.status, 400);
    let index = client.get("/", &[]).await.text();
    assert!(index.contains(&id.to_string()) && index.contains("here"), "{index}");
    assert_eq!(client.get("/name/a", &[]).await.body, b"bytes");
}

#[tokio::test]
async fn only_those_who_name_it_and_know_its_token_are_answered() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", b"bytes").await;
    let mut options = Options::default();
    options.token = Some(Token::new("0123456789abcdef").unwrap());
    options.hosts = vec!["Models.Example".to_owned()];
    let client = serve(vec![Swarm::new(node.clone(), "here")], options).await;
    let path = format!("/content/{id}");
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    assert_eq!(client.get(&path, &[bearer]).await.status, 200);
    let refused = client.get(&path, &[]).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic realm=\"p2p-fileshare\"")));
    for path in ["/", "/content/nonsense", "/name/a", "/api/models/a/b/revision/main"] {
        assert_eq!(client.get(path, &[]).await.status, 401, "{path}");
    }
    let with_host = async |host: &str| {
        client
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
                bearer.1
            ))
            .await
            .status
    };
    assert_eq!(with_host("models.example:80").await, 200);
    assert_eq!(with_host("evil.example").await, 421);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        assert_eq!(client.ask(method, &path, &[bearer, ("content-length", "0")]).await.status, 405, "{method}");
    }
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = Gateway::bind(everywhere, vec![Swarm::new(node, "here")], Options::default()).await;
    assert!(matches!(refused, Err(GatewayError::NeedsToken(_))));
}

#[tokio::test]
async fn hostile_clients_harm_nobody() {
    let peers = Peers::new();
    let bytes = noise(300_000);
    let (node, id) = peers.share("seeder", "a", &bytes).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let huge = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(5000));
    for raw in [
        "\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        huge.as_str(),
        many.as_str(),
    ] {
        let status = client.try_raw(raw).await.map_or(0, |answer| answer.status);
        assert!([0, 400, 431].contains(&status), "{status} {:?}", &raw[..raw.len().min(40)]);
    }
    assert_eq!(client.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.status, 421, "no host");
    // Some open a connection and say nothing, some ask and do not read.
    let mut idle = Vec::new();
    for number in 0..300 {
        let request = format!("GET /content/{id} HTTP/1.1\r\nHost: localhost\r\n");
        let request = if number % 2 == 0 { request } else { request + "\r\n" };
        idle.push(client.open(&request).await);
    }
    let answer = client.get(&format!("/content/{id}"), &[("range", "bytes=7-299999")]).await;
    assert!(answer.body == bytes[7..]);
    drop(idle);
    assert_eq!(client.get("/name/a", &[]).await.status, 200);
}

/// Paths are asked about at once, and a page of another site may ask, too.
#[tokio::test]
async fn a_list_of_paths_is_bounded_and_looked_up_in_one_pass() {
    let peers = Peers::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = format!("org--m@{commit}");
    for number in 0..3000 {
        peers.put("seeder", &format!("{model}/f{}/{number}.bin", number % 10), b"");
    }
    let (node, _) = peers.share_path("seeder", &model).await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let ask = async |kind: &str, paths: &[&str]| {
        let list = format!("{{\"paths\": [{}]}}", paths.join(","));
        let (path, len) = (format!("/api/models/org/m/paths-info/{commit}"), list.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n");
        client.raw(&format!("{head}Content-Length: {len}\r\n\r\n{list}")).await
    };
    let answer = ask("application/json", &["\"f1\"", "\"f1/1.bin\"", "\"f2/\"", "\"f\"", "\"f1/2.bin\""]).await;
    let found: Vec<(String, String)> = serde_json::from_str::<serde_json::Value>(&answer.text())
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["type"].as_str().unwrap().to_owned(), entry["path"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [("file", "f1/1.bin"), ("directory", "f1"), ("directory", "f2")];
    assert_eq!(found, expected.map(|(kind, path)| (kind.to_owned(), path.to_owned())));
    assert_eq!(ask("application/json", &vec!["\"f\""; 1000]).await.status, 200);
    assert_eq!(ask("application/json", &vec!["\"f\""; 1001]).await.status, 400);
    assert_eq!(ask("text/plain", &["\"f1\""]).await.status, 400);
}

#[tokio::test]
async fn an_archive_says_how_long_it_is() {
    let peers = Peers::new();
    let long = format!("model/{}/c", "d".repeat(180));
    for (path, bytes) in [("model/a", noise(700_001)), ("model/empty", vec![]), (&long, noise(512))] {
        peers.put("seeder", path, &bytes);
    }
    std::fs::create_dir(peers.at("seeder", "model/nothing")).unwrap();
    let (node, id) = peers.share_path("seeder", "model").await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let path = format!("/content/{id}/?tar");
    let whole = client.get(&path, &[]).await;
    assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));
    assert_eq!(tar::Archive::new(&whole.body[..]).entries().unwrap().count(), 4);
    // A client that knows of no chunks tells by that whether it has all.
    let old = client.raw(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
    assert_eq!(old.header("content-length"), whole.header("content-length"));
    assert!(old.body == whole.body);
    let head = client.ask("HEAD", &path, &[]).await;
    assert_eq!(head.header("content-length"), whole.header("content-length"));
}

#[tokio::test]
async fn what_no_tracker_can_be_asked_about_is_not_called_missing() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", b"bytes").await;
    let unknown = id.to_string().replace(|_: char| true, "7");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    // The first one's tracker is not there, and what the other one has is served all the same.
    let swarms = vec![Swarm::new(peers.node("gateway", None), "all of a swarm").all(), Swarm::new(node, "here")];
    let client = serve(swarms, Options::default()).await;
    for path in [
        format!("/content/{unknown}"),
        "/name/b".to_owned(),
        "/api/models/org/m/revision/main".to_owned(),
        format!("/org/m/resolve/{commit}/config.json"),
    ] {
        let answer = client.get(&path, &[]).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (504, None), "{path}");
        assert!(answer.text().contains("The tracker does not answer"), "{path}");
    }
    for path in [format!("/content/{id}"), "/name/a".to_owned()] {
        assert_eq!(client.get(&path, &[]).await.body, b"bytes", "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", b"bytes").await;
    let client = serve(vec![Swarm::new(node, "here")], Options::default()).await;
    let path = format!("/content/{id}");
    for headers in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://evil.example")]] {
        for path in [&path, "/", "/name/b", "/api/models/a/b/revision/main"] {
            assert_eq!(client.get(path, headers).await.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(client.get(&path, &[("sec-fetch-site", "none")]).await.body, b"bytes");
}

#[tokio::test]
async fn silent_connections_shut_nobody_out() {
    let peers = Peers::new();
    let (node, id) = peers.share("seeder", "a", b"bytes").await;
    let mut options = Options::default();
    options.token = Some(Token::new("0123456789abcdef").unwrap());
    options.connections = 16;
    let client = serve(vec![Swarm::new(node, "here")], options).await;
    let path = format!("/content/{id}");
    let mut idle = Vec::new();
    for number in 0..100 {
        // Some say nothing, some a part, and some do not know the token and stay.
        idle.push(
            client.open(["", "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"][number % 3]).await,
        );
    }
    assert_eq!(client.get(&path, &[("authorization", "Bearer 0123456789abcdef")]).await.body, b"bytes");
}

#[tokio::test]
async fn clients_that_do_not_read_leave_memory_for_others() {
    let peers = Peers::new();
    // More than the sockets' buffers take.
    let bytes = noise(24 << 20);
    let (node, id) = peers.share("seeder", "a", &bytes).await;
    let mut options = Options::default();
    (options.memory, options.takes) = (2 << 20, std::time::Duration::from_secs(6));
    let client = serve(vec![Swarm::new(node, "here")], options).await;
    let request = format!("GET /content/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(client.open(&request).await);
    }
    let answer = client.get(&format!("/content/{id}"), &[]).await;
    assert!(answer.status == 200 && answer.body == bytes);
}

#[tokio::test]
async fn a_block_is_read_once_there_is_room_for_it() {
    let peers = Peers::new();
    let bytes = noise(8 << 20);
    let (node, id) = peers.share("seeder", "a", &bytes).await;
    let open = node.open(id).await.unwrap();
    let memory = ReadMemory::new(2 << 20);
    let mut readers: Vec<_> = (0..3).map(|_| open.read(0..8 << 20).within(&memory)).collect();
    let mut blocks = Vec::new();
    for reader in &mut readers[..2] {
        blocks.push(reader.block().await.unwrap());
    }
    // Nothing was read ahead.
    assert!(blocks.iter().all(|block| block.len() == 1 << 20) && memory.free() == 0);
    let last = tokio::spawn(async move { readers.pop().unwrap().block().await });
    while !memory.is_short() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // A part of a block keeps all of it.
    let part = blocks.pop().unwrap().slice(0..1);
    assert!(memory.is_short() && !last.is_finished());
    drop(part);
    assert_eq!(last.await.unwrap().unwrap(), bytes[..1 << 20]);
}
