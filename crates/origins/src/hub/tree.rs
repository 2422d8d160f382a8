//! All files of a repository at a commit, page by page.

use std::collections::BTreeMap;

use protocol::MAX_MANIFEST_BYTES;
use reqwest::Url;
use reqwest::header::LINK;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Hub, HubFile, Repo};
use crate::OriginError;
use crate::client::send;
use crate::http::small_body;

/// Most files of a repository: more than a content may have.
const FILES: usize = 100_000;
/// Most pages, and most bytes of one.
const PAGES: usize = 1_000;
const PAGE: usize = 16 << 20;
/// How often all pages may take as long as one answer.
const ANSWERS: u32 = 20;

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

impl TreeEntry {
    fn file(self) -> Option<HubFile> {
        let TreeEntry { kind, path, size, oid, lfs } = self;
        // Some servers write the digest's name before it.
        let sha256 = lfs.as_ref().map(|lfs| lfs.oid.trim_start_matches("sha256:").to_ascii_lowercase());
        let size = lfs.and_then(|lfs| lfs.size).unwrap_or(size);
        (kind == "file").then(|| HubFile { path, size, oid: oid.to_ascii_lowercase(), sha256 })
    }
}

/// All of them, or an error: a list that is cut short would be another content.
pub(super) async fn files(hub: &Hub, repo: &Repo, commit: &str) -> Result<Vec<HubFile>, OriginError> {
    let shown = format!("{}@{commit}", repo.url());
    match timeout(hub.limits.answer.saturating_mul(ANSWERS), all_pages(hub, repo, commit, &shown)).await {
        Ok(files) => files,
        Err(_) => Err(OriginError::unreachable(&shown, "the list of its files does not come to an end")),
    }
}

async fn all_pages(hub: &Hub, repo: &Repo, commit: &str, shown: &str) -> Result<Vec<HubFile>, OriginError> {
    let mut next = Some(hub.at(&["api", repo.kind.plural()], repo, &["tree", commit]));
    if let Some(url) = &mut next {
        url.set_query(Some("recursive=true&expand=false"));
    }
    let (mut all, mut bytes) = (BTreeMap::new(), 0);
    for _ in 0..PAGES {
        let Some(url) = next.take() else { return Ok(all.into_values().collect()) };
        let (page, link) = hub.outage.persist(&hub.limits, || page(hub, &url, shown)).await?;
        for file in page.into_iter().filter_map(TreeEntry::file) {
            bytes += file.path.len() + file.oid.len() + file.sha256.as_ref().map_or(0, String::len);
            if all.len() > FILES || bytes > MAX_MANIFEST_BYTES {
                let reason =
                    format!("it has more than {FILES} files, or their names are longer than those of a content");
                return Err(OriginError::refused(shown, reason));
            }
            all.insert(file.path.clone(), file);
        }
        next = match target(&link) {
            Some(target) => Some(next_page(&hub.endpoint, &url, &target).ok_or_else(|| endless(shown))?),
            None => None,
        };
    }
    Err(endless(shown))
}

fn endless(shown: &str) -> OriginError {
    OriginError::refused(shown, "the list of its files does not end")
}

async fn page(hub: &Hub, url: &Url, shown: &str) -> Result<(Vec<TreeEntry>, String), OriginError> {
    let response = send(hub.get(url), shown, &hub.limits).await.map_err(|error| hub.explained(error))?;
    // There may be several; what is no text of theirs is no URL either.
    let links: Vec<_> =
        response.headers().get_all(LINK).iter().map(|link| String::from_utf8_lossy(link.as_bytes())).collect();
    let link = links.join(",");
    let body = small_body(response, shown, PAGE, &hub.limits).await?;
    let page = serde_json::from_slice(&body).map_err(|_| {
        OriginError::refused(shown, format!("{} does not answer as a hub does", crate::client::shown(&hub.endpoint)))
    })?;
    Ok((page, link))
}

/// The next page in headers `Link` (RFC 8288), as it is written there. URLs have no `<`, but may have commas.
fn target(links: &str) -> Option<String> {
    links.split('<').skip(1).find_map(|link| {
        let (target, attributes) = link.split_once('>')?;
        let is_next = |part: &str| matches!(part.trim().trim_end_matches(','), "rel=\"next\"" | "rel=next");
        attributes.split([';', ',']).any(is_next).then(|| target.to_owned())
    })
}

/// Its URL; nothing if it is no other page. A mirror may pass on the hub's own address: it is asked itself, and the token goes nowhere
/// else.
fn next_page(endpoint: &Url, page: &Url, target: &str) -> Option<Url> {
    let mut next = page.join(target).ok()?;
    if next.origin() != endpoint.origin() {
        let mut own = page.clone();
        own.set_query(next.query());
        next = own;
    }
    (next != *page).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_of_the_same_hub() {
        let url = |text: &str| Url::parse(text).unwrap();
        let (endpoint, page) =
            (url("http://mirror/hub"), url("http://mirror/hub/api/models/a/b/tree/c?recursive=true"));
        let next = |link: &str| Some(next_page(&endpoint, &page, &target(link)?)?.to_string());
        let expected = Some("http://mirror/hub/api/models/a/b/tree/c?cursor=x".to_owned());
        assert_eq!(next("<http://mirror/hub/api/models/a/b/tree/c?cursor=x>; rel=\"next\""), expected);
        assert_eq!(next("</first>; rel=\"first\", </hub/api/models/a/b/tree/c?cursor=x>; rel=next"), expected);
        assert_eq!(next("<https://elsewhere/api/models/a/b/tree/c?cursor=x>; rel=\"next\""), expected);
        assert_eq!(next("</last>; rel=\"last\""), None);
        let comma = "</first?a=1,2>; rel=\"first\",<?cursor=1,2>;rel=\"next\"; title=\"x\"";
        assert_eq!(next(comma), Some("http://mirror/hub/api/models/a/b/tree/c?cursor=1,2".to_owned()));
        assert_eq!(next("nonsense"), None);
    }

    #[test]
    fn a_file_of_lfs_has_the_size_of_its_bytes() {
        let text = r#"[{"type":"directory","path":"d","oid":"1"},
            {"type":"file","path":"d/a","size":9,"oid":"AB","lfs":{"oid":"sha256:CD","size":5000,"pointerSize":9}},
            {"type":"file","path":"b","size":3,"oid":"ef"}]"#;
        let entries: Vec<TreeEntry> = serde_json::from_str(text).unwrap();
        let files: Vec<_> = entries.into_iter().filter_map(TreeEntry::file).collect();
        assert_eq!((files.len(), files[0].size, files[0].etag(), files[1].etag()), (2, 5000, "cd", "ef"));
    }
}
