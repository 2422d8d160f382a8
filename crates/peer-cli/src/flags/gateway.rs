//! Flags of the gateway, for all commands that can have one. They are there in every build, so that one without it can say so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

/// Where a gateway listens unless something else is said.
pub const PORT: u16 = 8642;

/// Over HTTP, too.
#[derive(Debug, Args)]
pub struct GatewayArguments {
    /// Serve over HTTP at this port or ADDRESS:PORT
    ///
    /// Serve over HTTP at this port of 127.0.0.1, or at ADDRESS:PORT, which needs --gateway-token where others reach it. `peer-cli
    /// gateway` listens at 127.0.0.1:8642 if nothing else is said
    #[arg(long = "gateway", value_name = "ADDRESS", value_parser = address)]
    pub address: Option<SocketAddr>,
    /// File with what HTTP clients must know
    ///
    /// File with what HTTP clients must know, 16 characters or more: they give it as Bearer, as the password of Basic, or to
    /// `/s3/` as the secret key
    #[arg(long, value_name = "FILE")]
    pub gateway_token: Option<PathBuf>,
    /// Name by which HTTP clients may call this machine
    ///
    /// Name or address by which HTTP clients may call this machine, beside localhost and its own addresses: needed behind a proxy, a router
    /// or a container's published port. Several with several --gateway-host
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub gateway_host: Vec<String>,
    /// Where a content is in a bucket, over HTTP
    ///
    /// Where a content is to be found by clients of object stores: s3://BUCKET/PREFIX/=NAME, or an id instead of the name; several
    /// with several --s3-bucket. Without it a bucket is the content of that name
    #[arg(long, value_name = "PLACE")]
    pub s3_bucket: Vec<String>,
}

/// What a gateway brings that nobody in the swarm has.
#[derive(Debug, Default, Args)]
pub struct GatewayOriginArguments {
    /// Mirror this registry of container images
    ///
    /// Mirror this registry of container images, as docker.io, ghcr.io or http://127.0.0.1:5000; with NAME=URL it is called so, and is
    /// at that address. Several with several --oci-origin: the first is meant where clients name none. No others are asked
    #[arg(long, value_name = "REGISTRY", requires = "tracker_ip")]
    pub oci_origin: Vec<String>,
    /// Bring models and data sets from this hub
    ///
    /// Bring models and data sets from this hub, as `https://huggingface.co`, with the token of HF_TOKEN if there is one: each file is
    /// compared with what the hub lists, also where the swarm has it
    #[arg(long, value_name = "URL", requires = "tracker_ip")]
    pub hf_origin: Option<String>,
}

impl GatewayOriginArguments {
    /// Whether nothing is brought.
    pub fn are_none(&self) -> bool {
        self.oci_origin.is_empty() && self.hf_origin.is_none()
    }
}

/// A port, or an address with one.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let sentence = "a gateway's address is a port, or written like 127.0.0.1:8642 or [::1]:8642";
    text.parse().map_err(|_| sentence.to_owned())
}

/// A host as clients name it, without a port.
fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(
            "a host is a name or an address alone, as models.example or 203.0.113.5, without http:// and a port"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_neither_a_scheme_nor_a_port() {
        for (text, expected) in [
            ("models.example", "models.example"),
            ("localhost", "localhost"),
            ("203.0.113.5", "203.0.113.5"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("2001:db8::5", "2001:db8::5"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in ["", "models.example:8642", "203.0.113.5:80", "[::1]:80", "http://models.example", "a/b", "a b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for text in ["8642", "localhost:8642", "127.0.0.1:8642"] {
            assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:8642");
        }
        assert_eq!(address("[::1]:1").unwrap().to_string(), "[::1]:1");
        for wrong in ["", "here", "127.0.0.1", "localhost", "99999", "example.org:80"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
