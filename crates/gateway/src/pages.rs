//! The plain pages: which swarms this gateway serves, what is here, and what a folder has.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Response};
use peer::{OpenContent, Query};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::contents::Contents;
use crate::files::ASK_AGAIN;
use crate::paths::below;

/// What need not be escaped in one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');
/// Most contents and files on one page.
const MOST: usize = 10_000;

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            character if character.is_control() => html.push('\u{fffd}'),
            character => html.push(character),
        }
    }
    html
}

fn page(title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<h1>{title}</h1>\n{body}</html>\n"
    );
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
    response
}

/// The swarms, and what is here of each.
pub(crate) async fn index(contents: &Contents) -> Response {
    let here = contents.here(|_| true).await;
    let mut body = String::new();
    for (number, swarm) in contents.swarms.iter().enumerate() {
        let _ = writeln!(body, "<h2>{}</h2>", escaped(&swarm.about));
        let mut of_swarm: Vec<_> = here.iter().filter(|(of, _)| *of == number).map(|(_, open)| open).collect();
        of_swarm.sort_by_key(|open| open.manifest().header().name.clone());
        let _ = writeln!(body, "<ul>");
        for open in of_swarm.into_iter().take(MOST) {
            let header = open.manifest().header();
            let status = open.status().borrow().clone();
            let (id, name, size) = (open.content(), escaped(&header.name), open.manifest().geometry().total());
            let part = if status.is_complete() {
                String::new()
            } else {
                format!(", {} of {} pieces", status.have, status.pieces)
            };
            let slash = if header.folder { "/" } else { "" };
            let _ = write!(body, "<li><a href=\"/content/{id}{slash}\">{name}{slash}</a> {size} bytes{part}");
            if header.folder {
                let _ = write!(body, ", <a href=\"/content/{id}/?tar\">as tar</a>");
            }
            let _ = writeln!(body, "</li>");
        }
        let _ = writeln!(body, "</ul>");
        if swarm.asks {
            let _ = writeln!(body, "<p>Whatever its tracker knows is served, too: /name/NAME or /content/ID.</p>");
        }
    }
    page("P2P Fileshare", &body)
}

/// What a folder has.
pub(crate) fn folder(open: &OpenContent, folder: &str) -> Response {
    let mut entries: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let files = open.files().map(|file| (&file.entry.path, Some(file.entry.size)));
    let empty = open.manifest().header().empty_folders.iter().map(|path| (path, None));
    for (path, size) in files.chain(empty) {
        let Some(path) = below(path, folder) else { continue };
        match path.split_once('/') {
            Some((first, _)) => entries.insert(format!("{first}/"), None),
            None if size.is_none() => entries.insert(format!("{path}/"), None),
            None => entries.insert(path.to_owned(), size),
        };
    }
    let name = &open.manifest().header().name;
    let title = if folder.is_empty() { escaped(name) } else { escaped(&format!("{name}/{folder}")) };
    let mut body = String::from("<p><a href=\"?tar\">as tar</a></p>\n<ul>\n");
    for (entry, size) in entries.iter().take(MOST) {
        let (bare, slash) = entry.strip_suffix('/').map_or((entry.as_str(), ""), |bare| (bare, "/"));
        let size = size.map_or_else(String::new, |size| format!(" {size} bytes"));
        let link = utf8_percent_encode(bare, SEGMENT);
        let _ = writeln!(body, "<li><a href=\"./{link}{slash}\">{}</a>{size}</li>", escaped(entry));
    }
    body.push_str("</ul>\n");
    page(&title, &body)
}

/// Whether a text could be the name of a content.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.parse::<Query>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_no_markup() {
        assert_eq!(escaped("<a href='x'>\"&\"\u{7}"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;\u{fffd}");
    }
}
