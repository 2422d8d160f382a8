//! All files of a repository at a commit, page by page.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::LINK;
use serde::Deserialize;

use super::{Hub, HubFile, Repo};
use crate::OriginError;
use crate::client::{header, send};
use crate::http::small_body;
use crate::reader::persist;

/// Most files of a repository: more than a content may have.
const FILES: usize = 100_000;
/// Most pages, and most bytes of one.
const PAGES: usize = 1_000;
const PAGE: usize = 16 << 20;

#[derive(Deserialize)]
struct Entry {
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

impl Entry {
    fn file(self) -> Option<HubFile> {
        let Entry { kind, path, size, oid, lfs } = self;
        // Some servers write the digest's name before it.
        let sha256 = lfs.as_ref().map(|lfs| lfs.oid.trim_start_matches("sha256:").to_ascii_lowercase());
        let size = lfs.and_then(|lfs| lfs.size).unwrap_or(size);
        (kind == "file").then(|| HubFile { path, size, oid: oid.to_ascii_lowercase(), sha256 })
    }
}

pub(super) async fn files(hub: &Hub, repo: &Repo, commit: &str) -> Result<Vec<HubFile>, OriginError> {
    let shown = format!("{}@{commit}", repo.url());
    let mut next = Some(hub.at(&["api", repo.kind.plural()], repo, &["tree", commit]));
    if let Some(url) = &mut next {
        url.set_query(Some("recursive=true&expand=false"));
    }
    let mut all = BTreeMap::new();
    for _ in 0..PAGES {
        let Some(url) = next.take() else { return Ok(all.into_values().collect()) };
        let (page, link) = persist(&hub.limits, || page(hub, &url, &shown)).await?;
        all.extend(page.into_iter().filter_map(Entry::file).map(|file| (file.path.clone(), file)));
        if all.len() > FILES {
            return Err(OriginError::refused(&shown, format!("it has more than {FILES} files")));
        }
        next = link.and_then(|link| next_page(&hub.endpoint, &url, &link));
    }
    Err(OriginError::refused(&shown, "the list of its files does not end"))
}

async fn page(hub: &Hub, url: &Url, shown: &str) -> Result<(Vec<Entry>, Option<String>), OriginError> {
    let response = send(hub.get(url), shown, &hub.limits).await.map_err(|error| hub.explained(error))?;
    let link = header(response.headers(), &LINK);
    let body = small_body(response, shown, PAGE, &hub.limits).await?;
    let page = serde_json::from_slice(&body)
        .map_err(|_| OriginError::refused(shown, format!("{} does not answer as a hub does", hub.endpoint)))?;
    Ok((page, link))
}

/// The next page, by a header `Link` (RFC 8288). A mirror may pass on the hub's own address: it is asked itself, and the token
/// goes nowhere else.
fn next_page(endpoint: &Url, page: &Url, link: &str) -> Option<Url> {
    let target = link.split(',').find_map(|link| {
        let (target, attributes) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |part: &str| matches!(part.trim(), "rel=\"next\"" | "rel=next");
        attributes.split(';').any(is_next).then_some(target)
    })?;
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
        let next = |link: &str| next_page(&endpoint, &page, link).map(|url| url.to_string());
        let expected = Some("http://mirror/hub/api/models/a/b/tree/c?cursor=x".to_owned());
        assert_eq!(next("<http://mirror/hub/api/models/a/b/tree/c?cursor=x>; rel=\"next\""), expected);
        assert_eq!(next("</first>; rel=\"first\", </hub/api/models/a/b/tree/c?cursor=x>; rel=next"), expected);
        assert_eq!(next("<https://elsewhere/api/models/a/b/tree/c?cursor=x>; rel=\"next\""), expected);
        assert_eq!(next("</last>; rel=\"last\""), None);
        assert_eq!(next("nonsense"), None);
    }

    #[test]
    fn a_file_of_lfs_has_the_size_of_its_bytes() {
        let text = r#"[{"type":"directory","path":"d","oid":"1"},
            {"type":"file","path":"d/a","size":9,"oid":"AB","lfs":{"oid":"sha256:CD","size":5000,"pointerSize":9}},
            {"type":"file","path":"b","size":3,"oid":"ef"}]"#;
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
        let files: Vec<_> = entries.into_iter().filter_map(Entry::file).collect();
        assert_eq!((files.len(), files[0].size, files[0].etag(), files[1].etag()), (2, 5000, "cd", "ef"));
    }
}
