//! The page itself: one HTML file with its style and its script in it, under a policy that lets nothing else run or load.

use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

/// Whose page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// A daemon's: what it shares and downloads.
    Daemon,
    /// A tracker's: what everyone does.
    Tracker,
}

const FRAME: &str = include_str!("../ui/page.html");
const STYLE: &str = include_str!("../ui/style.css");
/// In the order in which they are needed: one script, without modules, so that its digest is all that the policy has to name.
const SCRIPTS: [&str; 10] = [
    include_str!("../ui/format.js"),
    include_str!("../ui/dom.js"),
    include_str!("../ui/table.js"),
    include_str!("../ui/chart.js"),
    include_str!("../ui/map.js"),
    include_str!("../ui/stream.js"),
    include_str!("../ui/peers.js"),
    include_str!("../ui/daemon.js"),
    include_str!("../ui/tracker.js"),
    include_str!("../ui/start.js"),
];

struct Page {
    html: [String; 2],
    policy: String,
}

fn digest(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text.as_bytes())))
}

fn page() -> &'static Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    PAGE.get_or_init(|| {
        let mut script = String::from("\"use strict\";\n");
        SCRIPTS.iter().for_each(|part| script.push_str(part));
        let html = ["daemon", "tracker"]
            .map(|program| FRAME.replace("{program}", program).replace("{style}", STYLE).replace("{script}", &script));
        // Nothing may frame it: a click on it is meant.
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            digest(&script),
            digest(STYLE)
        );
        Page { html, policy }
    })
}

/// The page, as an answer.
pub fn document(program: Program) -> Response {
    let page = page();
    let html = &page.html[usize::from(program == Program::Tracker)];
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page.policy.as_str()),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, html.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser hashes is what stands between the tags.
    #[test]
    fn the_policy_names_the_script_and_the_style_as_they_stand_in_the_page() {
        for html in &page().html {
            for (tag, source) in [("script", "script-src"), ("style", "style-src")] {
                let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
                assert_eq!((html.matches(&open).count(), html.matches(&close).count()), (1, 1), "{tag}");
                let text = html.split_once(&open).unwrap().1.split_once(&close).unwrap().0;
                assert!(page().policy.contains(&format!("{source} {}", digest(text))), "{tag}");
            }
            assert!(!html.contains("{script}") && !html.contains("{style}") && !html.contains("{program}"));
        }
        assert!(!page().policy.contains("unsafe"));
    }

    /// Names come from strangers: they are text, wherever they are put.
    #[test]
    fn nothing_is_made_of_markup() {
        for script in SCRIPTS {
            for way in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", ".style ="]
            {
                assert!(!script.contains(way), "{way}");
            }
        }
        assert!(!FRAME.contains(" style=") && !FRAME.contains(" onclick="), "the policy would not let them be");
    }
}
