//! Where pieces may be read that no peer has.

use clap::Args;

use crate::flags::sizes;

/// Where pieces may be read that no peer has.
#[derive(Debug, Clone, Default, Args)]
pub struct FallbackArguments {
    /// Read here what no peer has: the URL it was made of
    ///
    /// Read what no peer has from this URL, which the content was made of: https://, hf://org/model@revision, s3://bucket/key,
    /// s3://bucket/prefix/, gs:// and az:// the same, with the credentials of this user
    #[arg(long, value_name = "URL")]
    pub origin: Option<String>,
    #[command(flatten)]
    pub named: NamedOriginArguments,
    /// Where the object store is, if elsewhere
    ///
    /// Where the object store of s3://, gs:// or az:// is, if it is another server than usual, as http://minio:9000
    #[arg(long, value_name = "URL", requires = "origin")]
    pub endpoint: Option<String>,
}

/// Which origins that publishers have named may be read, and how fast all origins are.
#[derive(Debug, Clone, Default, Args)]
pub struct NamedOriginArguments {
    /// Read what no peer has from where the publisher says
    ///
    /// Read what no peer has from the origin that the content's publisher has named in it, if --origin-allow names its host; without
    /// credentials
    #[arg(long)]
    pub origin_fallback: bool,
    /// A host that a publisher may name
    ///
    /// A host that publishers may name for --origin-fallback, or an address; several with several --origin-allow. Addresses of
    /// private networks, of links and of this machine are read only if they are allowed themselves, whatever leads to them
    #[arg(long, value_name = "HOST", value_parser = host, requires = "origin_fallback")]
    pub origin_allow: Vec<String>,
    /// Most bytes a second to read from origins
    ///
    /// Most bytes a second to read from all origins together, as 10MiB or in bits as 80mbit; unlimited if not given
    #[arg(long, value_name = "RATE", value_parser = sizes::rate)]
    pub origin_rate: Option<u64>,
}

/// A name of a host or an address, without a port or a scheme.
fn host(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let is_address = plain.parse::<std::net::IpAddr>().is_ok();
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_address || is_name {
        Ok(plain.to_owned())
    } else {
        Err("a host is a name or an address, without https:// and without a port".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        assert_eq!(host("[::1]").as_deref(), Ok("::1"));
        for text in ["example.org", "10.0.0.1", "fd00::1", "minio"] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in ["", "https://example.org", "example.org:80", "a/b", "*.example.org", "me@host"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
