//! Reading as from an object store.

mod client;

use client::{Client, Peers, noise, serve};
use p2p_fileshare_gateway::{BucketPlace, Options, Swarm};

/// A folder of some files that is here, in the places of these buckets.
async fn store(peers: &Peers, places: &[&str]) -> (Client, Vec<u8>) {
    let bytes = noise(1_000_003);
    peers.put("seeder", "run-7/model.safetensors", &bytes);
    peers.put("seeder", "run-7/sub/a b&c.txt", b"text");
    peers.put("seeder", "run-7/sub/deep/x", b"");
    let (node, _) = peers.share_path("seeder", "run-7").await;
    let mut options = Options::default();
    options.buckets = places.iter().map(|place| BucketPlace::parse(place).unwrap()).collect();
    (serve(vec![Swarm::new(node, "here")], options).await, bytes)
}

#[tokio::test]
async fn objects_are_read_in_ranges() {
    let peers = Peers::new();
    let (client, bytes) = store(&peers, &[]).await;
    let path = "/s3/run-7/model.safetensors";
    let whole = client.get(path, &[]).await;
    assert!(whole.is_success() && whole.body == bytes);
    assert_eq!(whole.header("last-modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    let tag = whole.header("etag").unwrap();
    let part = client.get(path, &[("range", "bytes=10-19"), ("if-match", tag)]).await;
    assert!(part.status == 206 && part.body == bytes[10..20]);
    let head = client.ask("HEAD", path, &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000003"), 0));
    assert_eq!(client.get("/s3/run-7/sub/a%20b%26c.txt?x-id=GetObject", &[]).await.body, b"text");
    // As boto3 signs URLs beforehand unless it is told otherwise.
    let signed =
        "/s3/run-7/sub/a%20b%26c.txt?AWSAccessKeyId=any&Signature=NIcXv5gm%2FwpTz28pqTRPdwLeYs8%3D&Expires=1796081930";
    assert_eq!(client.get(signed, &[]).await.body, b"text");
    let empty = client.get("/s3/run-7/sub/deep/x", &[]).await;
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    for (path, status, code) in [
        ("/s3/run-7/none", 404, "NoSuchKey"),
        ("/s3/run-7/sub/deep/x/", 404, "NoSuchKey"),
        ("/s3/run-7/sub", 404, "NoSuchKey"),
        ("/s3/run-7/../run-7/sub/deep/x", 404, "NoSuchKey"),
        ("/s3/run-7/%2e%2e/seeder", 404, "NoSuchKey"),
        ("/s3/run-7//sub/deep/x", 404, "NoSuchKey"),
        ("/s3/none?list-type=2", 404, "NoSuchBucket"),
        ("/s3/none/model.safetensors", 404, "NoSuchBucket"),
        ("/s3/run-7?acl", 501, "NotImplemented"),
        ("/s3/run-7?website", 501, "NotImplemented"),
        ("/s3/run-7/model.safetensors?tagging", 501, "NotImplemented"),
        ("/s3/run-7/model.safetensors?partNumber=2", 501, "NotImplemented"),
        ("/s3/run-7/model.safetensors?versionId=nope", 501, "NotImplemented"),
        ("/s3/run-7?list-type=2&max-keys=x", 400, "InvalidArgument"),
    ] {
        let answer = client.get(path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(&format!("<Code>{code}</Code>")), "{path}: {}", answer.text());
    }
    let range = client.get(path, &[("range", "bytes=1000003-")]).await;
    assert_eq!((range.status, range.header("content-range")), (416, Some("bytes */1000003")));
    assert_eq!(client.get(path, &[("if-match", "\"x\"")]).await.status, 412);
    assert_eq!(client.ask("HEAD", "/s3/run-7", &[]).await.status, 200);
    assert_eq!(client.ask("HEAD", "/s3/none", &[]).await.status, 404);
    for method in ["PUT", "DELETE", "POST"] {
        let answer = client.ask(method, path, &[]).await;
        assert!(answer.status == 405 && answer.text().contains("<Code>MethodNotAllowed</Code>"), "{method}");
    }
}

#[tokio::test]
async fn keys_are_listed() {
    let peers = Peers::new();
    let (client, _) = store(&peers, &[]).await;
    let list = client.get("/s3/run-7?list-type=2&delimiter=%2F&prefix=sub%2F", &[]).await.text();
    assert!(list.contains("<Key>sub/a b&amp;c.txt</Key>") && list.contains("<Size>4</Size>"), "{list}");
    assert!(list.contains("<CommonPrefixes><Prefix>sub/deep/</Prefix></CommonPrefixes>"), "{list}");
    assert!(!list.contains("safetensors"));
    // Clients in Go write a space so where they do not sign.
    for (prefix, is_there) in [("sub%2Fa+b", true), ("sub%2Fa%20b", true), ("sub%2Fa%2Bb", false)] {
        let list = client.get(&format!("/s3/run-7?list-type=2&prefix={prefix}"), &[]).await.text();
        assert_eq!(list.contains("<Key>sub/a b&amp;c.txt</Key>"), is_there, "{prefix}: {list}");
    }
    assert!(client.get("/s3/", &[]).await.text().contains("<Bucket><Name>run-7</Name>"));
    assert!(client.get("/s3/run-7?location", &[]).await.text().contains("LocationConstraint"));
}

#[tokio::test]
async fn contents_have_places_in_buckets() {
    let peers = Peers::new();
    let (client, bytes) = store(&peers, &["s3://models/runs/7/=run-7", "s3://models/other/=nowhere"]).await;
    assert!(client.get("/s3/models/runs/7/model.safetensors", &[]).await.body == bytes);
    let list = client.get("/s3/models?list-type=2&prefix=runs/&max-keys=1", &[]).await.text();
    assert!(list.contains("<Key>runs/7/model.safetensors</Key>") && list.contains("<IsTruncated>true"), "{list}");
    for path in ["/s3/models/model.safetensors", "/s3/models/runs/7", "/s3/models/other/x", "/s3/other/runs/7/x"] {
        assert_eq!(client.get(path, &[]).await.status, 404, "{path}");
    }
}
