//! `gs://` and `az://` against small servers that answer as Google Cloud Storage (its XML API) and Azure Blob Storage do: ranges that are
//! pinned by ETags, lists, and manifests that are put there.

#[allow(dead_code)]
mod user;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tests::web::{Request, Response, WebServer};
use user::{Program, User, pattern, said};

const MODIFIED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

/// What lies in a bucket, with its ETag.
type Objects = Arc<Mutex<BTreeMap<String, (Vec<u8>, String)>>>;

#[derive(Clone, Copy)]
enum Cloud {
    Google,
    Azure,
}

/// A server with a bucket, or container, `models`.
struct Store {
    server: WebServer,
    objects: Objects,
    cloud: Cloud,
}

impl Store {
    fn start(cloud: Cloud) -> Self {
        let objects = Objects::default();
        let lying = objects.clone();
        let server = WebServer::start(move |request| answer(cloud, request, &mut lying.lock().unwrap()));
        Store { server, objects, cloud }
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        put(&mut self.objects.lock().unwrap(), key, bytes);
    }

    fn url(&self, key: &str) -> String {
        match self.cloud {
            Cloud::Google => format!("gs://models/{key}"),
            Cloud::Azure => format!("az://models/{key}"),
        }
    }

    fn user(&self) -> User {
        match self.cloud {
            // With `GOOGLE_SKIP_SIGNATURE`, what is written would still ask Google who writes it.
            Cloud::Google => {
                let url = self.server.url();
                let key = format!(
                    r#"{{"gcs_base_url": "{url}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#
                );
                User::new().with("GOOGLE_SERVICE_ACCOUNT_KEY", &key)
            }
            Cloud::Azure => User::new()
                .with("AZURE_STORAGE_ACCOUNT_NAME", "account")
                .with("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0IG9mIHRoZSBhY2NvdW50"),
        }
    }
}

fn put(objects: &mut BTreeMap<String, (Vec<u8>, String)>, key: &str, bytes: &[u8]) {
    let tag = format!("0x{:08X}", objects.len() * 1000 + bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>());
    objects.insert(key.to_owned(), (bytes.to_vec(), tag));
}

fn answer(cloud: Cloud, request: &Request, objects: &mut BTreeMap<String, (Vec<u8>, String)>) -> Response {
    // Azure's requests are signed by the key of the account.
    let signed = request.headers.get("authorization").is_some_and(|value| value.starts_with("SharedKey account:"));
    if matches!(cloud, Cloud::Azure) && !signed {
        return Response::new(403, "");
    }
    let path = decoded(&request.path);
    let Some(key) = path.strip_prefix("/models") else { return Response::new(404, "") };
    let key = key.trim_start_matches('/');
    if key.is_empty() {
        return list(cloud, request, objects);
    }
    if request.method == "PUT" {
        let bytes = request.body.clone();
        put(objects, key, &bytes);
        let tag = format!("\"{}\"", objects[key].1);
        return Response::new(201, "").header("ETag", tag).header("Last-Modified", MODIFIED);
    }
    match objects.get(key) {
        Some((bytes, tag)) => {
            let found = Response::of_bytes(request, bytes, &format!("\"{tag}\"")).header("Last-Modified", MODIFIED);
            let code = if matches!(cloud, Cloud::Azure) && found.status == 412 { "ConditionNotMet" } else { "" };
            if code.is_empty() { found } else { found.header("x-ms-error-code", code) }
        }
        None => Response::new(404, ""),
    }
}

/// Google's client encodes all that is no letter or digit.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

/// As each writes lists: Azure's ETags have no quotation marks there.
fn list(cloud: Cloud, request: &Request, objects: &BTreeMap<String, (Vec<u8>, String)>) -> Response {
    let parameter = |name: &str| {
        let mut parts = request.query.split('&').filter_map(|part| part.split_once('='));
        let value = parts.find(|(found, _)| *found == name).map(|(_, value)| value);
        decoded(&value.unwrap_or_default().replace('+', " "))
    };
    let prefix = parameter("prefix");
    let below = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let xml = match cloud {
        Cloud::Google => {
            assert_eq!(parameter("list-type"), "2");
            let entry = |(key, (bytes, tag)): (&String, &(Vec<u8>, String))| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"{tag}\"</ETag><Size>{}</Size></Contents>",
                    bytes.len()
                )
            };
            let entries: String = below.map(entry).collect();
            format!(
                "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><Name>models</Name>{entries}</ListBucketResult>"
            )
        }
        Cloud::Azure => {
            assert_eq!((parameter("restype"), parameter("comp")), ("container".to_owned(), "list".to_owned()));
            let entry = |(key, (bytes, tag)): (&String, &(Vec<u8>, String))| {
                format!(
                    "<Blob><Name>{key}</Name><Properties><Last-Modified>{MODIFIED}</Last-Modified><Etag>{tag}</Etag>\
                     <Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type>\
                     <BlobType>BlockBlob</BlobType></Properties></Blob>",
                    bytes.len()
                )
            };
            let entries: String = below.map(entry).collect();
            format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"models\"><Blobs>{entries}</Blobs>\
                 <NextMarker /></EnumerationResults>"
            )
        }
    };
    Response::new(200, xml).header("Content-Type", "application/xml")
}

/// An object, and a folder of some, are shared; what was published is found by another machine; what changes is withdrawn.
fn is_shared(cloud: Cloud) {
    let store = Store::start(cloud);
    store.put("run 7/weights/big.bin", &pattern(3_000_000));
    store.put("run 7/small", b"small");
    store.put("other", b"other");
    let (one, endpoint) = (store.user(), store.server.url());
    let endpoint = format!("--endpoint={endpoint}");
    let published = one.run(&["publish", &store.url("run 7/"), "--beside", &endpoint]);
    assert!(published.status.success(), "{}", said(&published));
    assert!(said(&published).contains(&format!("beside      {}", store.url("run 7/"))), "{}", said(&published));
    let read = store.server.sent();
    let two = store.user();
    let share = two.share(&[&store.url("run 7/"), &endpoint]);
    let (ticket, before) = share.ticket();
    assert!(!before.iter().any(|line| line.starts_with("Hashing")), "{before:?}");
    let other = User::new();
    let folder = other.get(&ticket, "run 7");
    assert!(std::fs::read(folder.join("weights/big.bin")).unwrap() == pattern(3_000_000));
    assert_eq!(std::fs::read(folder.join("small")).unwrap(), b"small");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "the manifest there is no part of the content");
    // Each byte once for the manifest, and once to serve it; the rest is lists and the manifest.
    let again = store.server.sent() - read;
    assert!((3_000_005..3_100_000).contains(&again), "{again} bytes were read to serve 3,000,005");
    let ranges = store.server.requests();
    let mut ranges =
        ranges.iter().filter(|request| decoded(&request.path).ends_with("big.bin") && request.method == "GET");
    assert!(ranges.all(|request| request.headers.contains_key("range") && request.headers.contains_key("if-match")));
    // One object, which is replaced before anything of it was served.
    let share = two.share(&["--cache=0", &store.url("other"), &endpoint]);
    let (ticket, _) = share.ticket();
    store.put("other", b"thing");
    let third = User::new();
    let mut get = Program::start(third.command(&["get", &ticket, "--wait=1s"]));
    share.line("Not sharing other any more");
    assert!(!get.child.wait().unwrap().success() && !third.folder.path().join("other").exists());
    let none = one.run(&["publish", &store.url("none"), &endpoint]);
    assert_eq!(none.status.code(), Some(4), "{}", said(&none));
}

#[test]
fn google_cloud_storage_is_an_origin() {
    is_shared(Cloud::Google);
}

#[test]
fn azure_blob_storage_is_an_origin() {
    is_shared(Cloud::Azure);
}
