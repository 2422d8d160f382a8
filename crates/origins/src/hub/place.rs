//! Where the hub is and which token it is given, as its own clients find out.

use std::env;
use std::path::PathBuf;

const USUAL: &str = "https://huggingface.co";

/// `HF_ENDPOINT`, or the public hub.
pub(super) fn endpoint() -> String {
    variable("HF_ENDPOINT").unwrap_or_else(|| USUAL.to_owned())
}

/// The token of `HF_TOKEN`, or of the file that `hf auth login` writes.
pub(super) fn token() -> Option<String> {
    if let Some(token) = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")) {
        return Some(token);
    }
    let path = variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home().map(|home| home.join("token")))?;
    clean(&std::fs::read_to_string(path).ok()?)
}

fn home() -> Option<PathBuf> {
    if let Some(home) = variable("HF_HOME") {
        return Some(home.into());
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")))?;
    Some(cache.join("huggingface"))
}

fn variable(name: &str) -> Option<String> {
    clean(&env::var(name).ok()?)
}

/// Without line ends; what is empty, or could not stand in a header, is none.
fn clean(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_from_a_file_has_no_line_end() {
        assert_eq!(clean("hf_abc\r\n").as_deref(), Some("hf_abc"));
        assert_eq!(clean(" \n"), None);
        assert_eq!(clean("a\nInjected: header"), None);
    }
}
