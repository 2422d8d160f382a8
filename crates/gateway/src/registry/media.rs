//! What kind of manifest some bytes are: what peers have are bytes alone.

use serde_json::Value;

/// Most characters of a media type.
const LONGEST: usize = 127;

/// The media type that a manifest says, or that its fields show; nothing if it is none.
pub(super) fn media_type(bytes: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    let fields = manifest.as_object()?;
    match fields.get("mediaType").and_then(Value::as_str) {
        Some(said) if is_manifest(said) => Some(said.to_owned()),
        Some(_) => None,
        None if fields.contains_key("manifests") => Some("application/vnd.oci.image.index.v1+json".to_owned()),
        None if fields.contains_key("layers") && fields.contains_key("config") => {
            Some("application/vnd.oci.image.manifest.v1+json".to_owned())
        }
        None => None,
    }
}

/// Whether it is a kind of manifest, and can stand in a header: of nothing else, such as pages, a client is told that it is some.
fn is_manifest(said: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/.+-_".contains(&byte);
    let known = ["application/vnd.oci.", "application/vnd.docker.distribution.", "application/vnd.cncf."];
    said.len() <= LONGEST && said.bytes().all(fits) && known.iter().any(|known| said.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_shows_its_kind() {
        let index = "application/vnd.oci.image.index.v1+json";
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        for (text, expected) in [
            (format!(r#"{{"mediaType": "{docker}", "layers": []}}"#), Some(docker)),
            (r#"{"schemaVersion": 2, "manifests": []}"#.to_owned(), Some(index)),
            (r#"{"config": {}, "layers": []}"#.to_owned(), Some("application/vnd.oci.image.manifest.v1+json")),
            (r#"{"mediaType": "text/html", "layers": []}"#.to_owned(), None),
            (r#"{"architecture": "amd64", "rootfs": {}}"#.to_owned(), None),
            ("[]".to_owned(), None),
            ("\u{1f}\u{8b}".to_owned(), None),
        ] {
            assert_eq!(media_type(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }
}
