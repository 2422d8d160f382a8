//! A registry of images for tests: it answers as the specification says, wants a token if it is told to, and has faults as they are met
//! with.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::web::{Request, Response, WebServer};

/// A kind of manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A running registry. It ends when it is dropped.
pub struct MockRegistry {
    server: WebServer,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    /// By `NAME/KIND/REFERENCE`: the media type and the bytes.
    objects: BTreeMap<String, (String, Vec<u8>)>,
    /// Whether it wants a token of its own service, and where that is said to be.
    realm: Option<String>,
    fault: Option<Box<Fault>>,
}

/// What is answered in place of the right answer, if anything.
type Fault = dyn FnMut(&Request) -> Option<Response> + Send;

/// `sha256:…`.
pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

impl MockRegistry {
    pub fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let shared = world.clone();
        let server = WebServer::start(move |request| {
            let mut world = shared.lock().unwrap();
            if let Some(answer) = world.fault.as_mut().and_then(|fault| fault(request)) {
                return answer;
            }
            answer(&world, request)
        });
        MockRegistry { server, world }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The paths that were read, beside those of tokens.
    pub fn read(&self, part: &str) -> usize {
        let requests = self.server.requests();
        requests.iter().filter(|request| request.method == "GET" && request.path.contains(part)).count()
    }

    pub fn asked(&self) -> usize {
        self.server.requests().len()
    }

    /// Bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.server.sent()
    }

    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> String {
        self.put(name, "blobs", &digest(bytes), "application/octet-stream", bytes)
    }

    /// The same under its SHA-512.
    pub fn put_blob_by_sha512(&self, name: &str, bytes: &[u8]) -> String {
        let digits: String = sha2::Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.put(name, "blobs", &format!("sha512:{digits}"), "application/octet-stream", bytes)
    }

    pub fn put_manifest(&self, name: &str, tag: &str, bytes: &[u8]) -> String {
        self.put(name, "manifests", tag, MANIFEST, bytes);
        self.put(name, "manifests", &digest(bytes), MANIFEST, bytes)
    }

    /// An image of one layer, with a tag: the digests of its manifest and its layer.
    pub fn put_image(&self, name: &str, tag: &str, layer: &[u8]) -> (String, String) {
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let (layer_digest, config_digest) = (self.put_blob(name, layer), self.put_blob(name, config));
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer_digest,
                "size": layer.len(),
            }],
        });
        (self.put_manifest(name, tag, manifest.to_string().as_bytes()), layer_digest)
    }

    fn put(&self, name: &str, kind: &str, reference: &str, media: &str, bytes: &[u8]) -> String {
        let key = format!("{name}/{kind}/{reference}");
        self.world.lock().unwrap().objects.insert(key, (media.to_owned(), bytes.to_owned()));
        reference.to_owned()
    }

    /// Wants a token from now on, of the service at this place, or of its own.
    pub fn wants_token(&self, realm: Option<&str>) {
        let own = format!("{}/token", self.url());
        self.world.lock().unwrap().realm = Some(realm.unwrap_or(&own).to_owned());
    }

    /// Answers as this function says, where it says something.
    pub fn fault(&self, fault: impl FnMut(&Request) -> Option<Response> + Send + 'static) {
        self.world.lock().unwrap().fault = Some(Box::new(fault));
    }

    pub fn mend(&self) {
        self.world.lock().unwrap().fault = None;
    }
}

fn answer(world: &World, request: &Request) -> Response {
    if request.path == "/token" {
        let scope = request.query.split('&').find_map(|part| part.strip_prefix("scope=")).unwrap_or_default();
        return Response::new(200, format!(r#"{{"token": "of-{}", "expires_in": 300}}"#, scope.replace('%', "-")));
    }
    let Some(rest) = request.path.strip_prefix("/v2/") else { return Response::new(404, "") };
    if let Some(realm) = &world.realm {
        let name = rest.rsplitn(3, '/').nth(2).unwrap_or_default();
        let wanted = format!("Bearer of-repository-3A{}-3Apull", name.replace('/', "-2F"));
        if request.headers.get("authorization") != Some(&wanted) {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
            return Response::new(401, "{}").header("WWW-Authenticate", challenge);
        }
    }
    if rest.is_empty() {
        return Response::new(200, "{}");
    }
    let Some((media, bytes)) = world.objects.get(rest) else { return Response::new(404, "{}") };
    Response::of_bytes(request, bytes, &format!("\"{}\"", digest(bytes)))
        .header("Content-Type", media.clone())
        .header("Docker-Content-Digest", digest(bytes))
}
