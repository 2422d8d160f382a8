//! Origins: what is shared from where it is already, as a bucket, and how.

use std::path::Path;

use clap::Args;
use peer::Glob;

use crate::flags::sizes;

/// The schemes of origins.
const SCHEMES: [&str; 6] = ["https", "http", "hf", "s3", "gs", "az"];

/// How an origin is read.
#[derive(Debug, Clone, Args)]
pub struct OriginArguments {
    /// Of a bucket or model, only files that fit
    ///
    /// Of a prefix of a bucket, or a model or data set, only files that this pattern fits: *.json by name, or data/* by path;
    /// several with several --only
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<Glob>,
    /// Where the object store is, if elsewhere
    ///
    /// Where the object store of s3://, gs:// or az:// is, if it is another server than usual, as http://minio:9000
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Most bytes a second to read from origins
    ///
    /// Most bytes a second to read from all origins together, as 10MiB or in bits as 80mbit; unlimited if not given
    #[arg(long, value_name = "RATE", value_parser = sizes::rate)]
    pub origin_rate: Option<u64>,
    /// Name the URL in the content, for --origin-fallback
    ///
    /// Name the URL in the content, so that peers with --origin-fallback that allow its host may read what no peer has from there:
    /// https://, http:// and hf:// alone, for nobody's credentials go with it. A content that names its origin has another id
    #[arg(long)]
    pub name_origin: bool,
}

/// Most of what was read that is kept on this machine.
#[derive(Debug, Clone, Copy, Args)]
pub struct CacheArguments {
    /// Most bytes kept of what is read [default: 10GiB]
    ///
    /// Most bytes that are kept on this machine of what was read from a bucket, server or model: the least recently used go first;
    /// 0 keeps nothing [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = sizes::bytes, default_value = "10GiB", hide_default_value = true)]
    pub cache: u64,
}

/// The URL of an origin, if what was typed is one and no path.
pub fn url(typed: &Path) -> Option<&str> {
    let text = typed.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    SCHEMES.contains(&scheme).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for text in ["s3://bucket/key", "hf://org/model@main", "https://host/file?signed=1"] {
            assert_eq!(url(Path::new(text)), Some(text));
        }
        for text in ["s3:/bucket", "file", "C:\\s3", "ftp://host/file", "./s3://a"] {
            assert_eq!(url(Path::new(text)), None, "{text}");
        }
    }
}
