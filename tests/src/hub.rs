//! A hub of a test: it answers as Hugging Face's does to those who read models and data sets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::web::{Request, Response, WebServer};

/// The commit of a repository that has had no other.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running hub with models and data sets. It ends when it is dropped.
pub struct MockHub {
    server: WebServer,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    /// By `models/org/name` and `datasets/org/name`.
    repos: BTreeMap<String, Repo>,
    /// Without it nothing is given out.
    token: Option<String>,
    per_page: usize,
    fault: Option<Box<Fault>>,
}

/// What is answered in place of the right answer, if anything.
type Fault = dyn FnMut(&Request) -> Option<Response> + Send;

#[derive(Default)]
struct Repo {
    /// Branches and tags.
    revisions: BTreeMap<String, String>,
    /// Files by commit.
    commits: BTreeMap<String, BTreeMap<String, File>>,
}

#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    lfs: bool,
}

impl File {
    fn oid(&self) -> String {
        hex(&Sha1::new_with_prefix(format!("blob {}\0", self.bytes.len())).chain_update(&self.bytes).finalize())
    }

    fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }

    fn etag(&self) -> String {
        if self.lfs { self.sha256() } else { self.oid() }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl MockHub {
    /// A hub without anything, on loopback.
    pub fn start() -> Self {
        let world = Arc::new(Mutex::new(World { per_page: 1000, ..World::default() }));
        let shared = world.clone();
        let server = WebServer::start(move |request| {
            let mut world = shared.lock().expect("a thread has panicked while it held this lock");
            if let Some(answer) = world.fault.as_mut().and_then(|fault| fault(request)) {
                return answer;
            }
            answer(&world, request)
        });
        MockHub { server, world }
    }

    /// `HF_ENDPOINT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The server, which counts.
    pub fn server(&self) -> &WebServer {
        &self.server
    }

    /// Adds a file to a repository (`models/org/name` or `datasets/org/name`) at [`COMMIT`], which `main` is.
    pub fn put(&self, repo: &str, path: &str, bytes: &[u8], lfs: bool) {
        self.put_at(repo, COMMIT, path, bytes, lfs);
    }

    /// Adds a file at a commit of 40 digits, which `main` is from now on.
    pub fn put_at(&self, repo: &str, commit: &str, path: &str, bytes: &[u8], lfs: bool) {
        let mut world = self.world.lock().expect("a thread has panicked while it held this lock");
        let repo = world.repos.entry(repo.to_owned()).or_default();
        repo.revisions.insert("main".to_owned(), commit.to_owned());
        let files = repo.commits.entry(commit.to_owned()).or_default();
        files.insert(path.to_owned(), File { bytes: bytes.to_owned(), lfs });
    }

    /// Gives a commit a name.
    pub fn tag(&self, repo: &str, name: &str, commit: &str) {
        let mut world = self.world.lock().expect("a thread has panicked while it held this lock");
        let repo = world.repos.entry(repo.to_owned()).or_default();
        repo.revisions.insert(name.to_owned(), commit.to_owned());
    }

    /// Lists so many files a page.
    pub fn per_page(&self, files: usize) {
        self.world.lock().expect("a thread has panicked while it held this lock").per_page = files;
    }

    /// Gives nothing to those who do not have this token.
    pub fn token(&self, token: &str) {
        self.world.lock().expect("a thread has panicked while it held this lock").token = Some(token.to_owned());
    }

    /// Answers as this function says, where it says something.
    pub fn fault(&self, fault: impl FnMut(&Request) -> Option<Response> + Send + 'static) {
        self.world.lock().expect("a thread has panicked while it held this lock").fault = Some(Box::new(fault));
    }
}

fn answer(world: &World, request: &Request) -> Response {
    if let Some(token) = &world.token
        && request.headers.get("authorization") != Some(&format!("Bearer {token}"))
    {
        return missing("RepoNotFound", 401);
    }
    let path: Vec<String> = request.path.split('/').skip(1).map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["api", kind @ ("models" | "datasets"), org, name, "revision", revision] => {
            let found = find(world, kind, &[org, name], revision);
            found.map_or_else(|missing| missing, |(commit, files)| info(&format!("{org}/{name}"), commit, files))
        }
        ["api", kind @ ("models" | "datasets"), org, name, "tree", revision] => {
            let found = find(world, kind, &[org, name], revision);
            found.map_or_else(|missing| missing, |(_, files)| tree(world, request, files))
        }
        ["datasets", org, name, "resolve", revision, ref path @ ..] => {
            resolve(world, request, "datasets", &[org, name], revision, path)
        }
        [org, name, "resolve", revision, ref path @ ..] => {
            resolve(world, request, "models", &[org, name], revision, path)
        }
        _ => Response::new(404, ""),
    }
}

fn missing(code: &str, status: u16) -> Response {
    Response::new(status, "").header("X-Error-Code", code)
}

fn find<'w>(
    world: &'w World,
    kind: &str,
    id: &[&str],
    revision: &str,
) -> Result<(&'w str, &'w BTreeMap<String, File>), Response> {
    let repo = world.repos.get(&format!("{kind}/{}", id.join("/"))).ok_or_else(|| missing("RepoNotFound", 404))?;
    let commit = repo.revisions.get(revision).map_or(revision, String::as_str);
    let (commit, files) = repo.commits.get_key_value(commit).ok_or_else(|| missing("RevisionNotFound", 404))?;
    Ok((commit, files))
}

fn info(id: &str, commit: &str, files: &BTreeMap<String, File>) -> Response {
    let siblings: Vec<_> = files.keys().map(|path| serde_json::json!({ "rfilename": path })).collect();
    let info = serde_json::json!({ "id": id, "sha": commit, "private": false, "siblings": siblings });
    Response::new(200, info.to_string()).header("Content-Type", "application/json").header("X-Repo-Commit", commit)
}

fn tree(world: &World, request: &Request, files: &BTreeMap<String, File>) -> Response {
    let cursor = request.query.split('&').find_map(|part| part.strip_prefix("cursor=")?.parse().ok());
    let from: usize = cursor.unwrap_or(0);
    let page = files.iter().skip(from).take(world.per_page).map(|(path, file)| {
        let mut entry =
            serde_json::json!({ "type": "file", "path": path, "size": file.bytes.len(), "oid": file.oid() });
        if file.lfs {
            let lfs = serde_json::json!({ "oid": file.sha256(), "size": file.bytes.len(), "pointerSize": 134 });
            entry["lfs"] = lfs;
        }
        entry
    });
    let page: Vec<_> = page.collect();
    let body = serde_json::Value::Array(page).to_string();
    let response = Response::new(200, body).header("Content-Type", "application/json");
    let next = from + world.per_page;
    if next >= files.len() {
        return response;
    }
    // As the public hub does: with its own address, whatever it was asked by.
    let link = format!("<https://huggingface.co{}?recursive=true&cursor={next}>; rel=\"next\"", request.path);
    response.header("Link", link)
}

fn resolve(world: &World, request: &Request, kind: &str, id: &[&str], revision: &str, path: &[&str]) -> Response {
    let (commit, files) = match find(world, kind, id, revision) {
        Ok(found) => found,
        Err(missing) => return missing,
    };
    let Some(file) = files.get(&path.join("/")) else {
        return missing("EntryNotFound", 404).header("X-Repo-Commit", commit);
    };
    let etag = format!("\"{}\"", file.etag());
    let mut response = Response::of_bytes(request, &file.bytes, &etag).header("X-Repo-Commit", commit);
    if file.lfs {
        response = response.header("X-Linked-Etag", etag).header("X-Linked-Size", file.bytes.len().to_string());
    }
    response
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = behind;
        let escaped = (*first == b'%').then(|| text.get(text.len() - behind.len()..)?.get(..2)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
