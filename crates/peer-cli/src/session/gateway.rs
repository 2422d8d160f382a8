//! The gateway of a command that has one. A build without the feature has none, and says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::json::{self, Event};
use peer::{ContentId, Fallback, Node, Secret};

use crate::error::{ExitCode, Failure};
use crate::features::Feature;
use crate::flags::gateway::{GatewayArguments, GatewayOriginArguments, PORT};

/// A swarm that a gateway serves.
pub struct Source {
    pub node: Node,
    /// Which one it is, in a few words.
    pub about: String,
    /// The content of a ticket, with what opens it.
    pub ticket: Option<(ContentId, Option<Secret>)>,
    /// Whether all that its tracker knows is served.
    pub all: bool,
    /// Contents of which the user has named the origins.
    pub origins: Vec<(ContentId, Arc<dyn Fallback>)>,
    /// Where what is asked for is downloaded, if it is.
    pub output: Option<PathBuf>,
}

impl Source {
    /// What a node shares and downloads anyway.
    pub fn of(node: &Node, about: impl Into<String>) -> Self {
        let (node, about) = (node.clone(), about.into());
        Source { node, about, ticket: None, all: false, origins: Vec::new(), output: None }
    }
}

/// What nobody in the swarm has, and where it is kept once it is brought.
pub struct Brought<'a> {
    pub from: &'a GatewayOriginArguments,
    pub folder: &'a Path,
    /// Bytes that stay free on the folder's disk, if that is said.
    pub keep_free: Option<u64>,
    /// Most bytes that are kept of all that was downloaded and brought, if that is said.
    pub cache: Option<u64>,
    /// Most bytes a second that are read from origins, if that is said.
    pub rate: Option<u64>,
}

/// A gateway that serves until it is dropped.
pub struct Running {
    address: SocketAddr,
    about: Vec<String>,
    /// Whether its clients must know a token.
    has_token: bool,
    /// Where its metrics are, if they can be had.
    metrics: Option<String>,
    #[cfg(all(feature = "gateway", feature = "metrics"))]
    kept: Arc<dyn Fn() -> gateway::KeptFigures + Send + Sync>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    /// What is said of it.
    pub fn lines(&self) -> Vec<String> {
        let served = self.about.iter().map(|about| format!("Over HTTP: {about}"));
        let metrics = self.metrics.iter().map(|url| format!("Metrics at {url}"));
        std::iter::once(format!("Gateway at {}", self.url())).chain(served).chain(metrics).collect()
    }

    /// Its metrics are served here.
    pub fn has_metrics_at(&mut self, address: SocketAddr) {
        self.metrics = Some(format!("http://{address}/metrics"));
    }

    /// Who can get what is shared, where that was said of the swarm without it.
    pub fn promise(&self, of_swarm: &str) -> String {
        let who = if self.has_token { "those who know the gateway's token" } else { "everyone on this machine" };
        format!("{}, and over HTTP {who}.", of_swarm.trim_end_matches('.'))
    }

    /// Whether its clients must know a token.
    pub fn has_token(&self) -> bool {
        self.has_token
    }

    /// Asks how much it keeps.
    #[cfg(all(feature = "gateway", feature = "metrics"))]
    pub fn kept(&self) -> Arc<dyn Fn() -> gateway::KeptFigures + Send + Sync> {
        self.kept.clone()
    }

    /// What is said of it, for programs.
    pub fn event(&self) -> Event {
        let metrics = self.metrics.clone().unwrap_or_default();
        Event::Gateway(json::Gateway { url: self.url(), swarms: self.about.clone(), metrics })
    }

    /// Waits until it serves no more, which nobody has told it.
    pub async fn ended(&mut self) {
        let _ = (&mut self.serving).await;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts the gateway of `share` or `-S`, if one is asked for.
pub async fn beside(arguments: &GatewayArguments, source: impl FnOnce() -> Source) -> Result<Option<Running>, Failure> {
    match is_asked_for(arguments)? {
        true => start(arguments, vec![source()], None).await.map(Some),
        false => Ok(None),
    }
}

/// Whether there is to be one beside something else. Fails where this build has none.
pub fn is_asked_for(arguments: &GatewayArguments) -> Result<bool, Failure> {
    let is_meant =
        arguments.gateway_token.is_some() || !arguments.gateway_host.is_empty() || !arguments.s3_bucket.is_empty();
    if arguments.address.is_none() && is_meant {
        let sentence =
            "--gateway-token, --gateway-host and --s3-bucket are for a gateway: --gateway says where it listens";
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    let is_asked_for = arguments.address.is_some();
    if is_asked_for {
        Feature::Gateway.must_be_built()?;
    }
    Ok(is_asked_for)
}

/// Where it is to listen.
fn address(arguments: &GatewayArguments) -> SocketAddr {
    arguments.address.unwrap_or((Ipv4Addr::LOCALHOST, PORT).into())
}

/// The registry of the public images is not at its name.
#[cfg(feature = "gateway")]
const PUBLIC: (&str, &str) = ("docker.io", "https://registry-1.docker.io");

/// A registry's name and address: `NAME`, an address, or `NAME=ADDRESS`.
#[cfg(feature = "gateway")]
fn registry(text: &str) -> (String, String) {
    if let Some((name, url)) = text.split_once('=').filter(|(name, _)| !name.contains("://")) {
        return (name.to_owned(), url.to_owned());
    }
    match text.split_once("://") {
        Some((_, rest)) => (rest.split('/').next().unwrap_or(rest).to_owned(), text.to_owned()),
        None if text == PUBLIC.0 => (text.to_owned(), PUBLIC.1.to_owned()),
        None => (text.to_owned(), format!("https://{text}")),
    }
}

/// Where what nobody has comes from.
#[cfg(feature = "gateway")]
fn origins(brought: &Brought<'_>) -> Result<gateway::Origins, Failure> {
    use std::time::Duration;

    use gateway::{Hub, Limits, Login, Registry, login};

    use crate::session::origin::pace;

    // Those who wait for it do not wait for ever.
    let limits = Limits::default().patience(Duration::from_secs(30));
    let wrong = |error: gateway::OriginError| Failure::new(ExitCode::Usage, protocol::printable(&error.to_string()));
    let pace = pace(brought.rate);
    let mut origins = gateway::Origins::new(brought.folder).keep_free(brought.keep_free);
    for text in &brought.from.oci_origin {
        let (name, url) = registry(text);
        let at = url.clone();
        let login: Login = Arc::new(move || login(&at));
        let registry = Registry::new(&url, Some(login), &limits).map_err(wrong)?;
        origins = origins.registry(name, registry.paced(pace.clone()));
    }
    Ok(match &brought.from.hf_origin {
        Some(url) => origins.hub(Hub::at_url(url, &limits).map_err(wrong)?.paced(pace)),
        None => origins,
    })
}

/// Where contents are in buckets.
#[cfg(feature = "gateway")]
fn places(arguments: &GatewayArguments) -> Result<Vec<gateway::BucketPlace>, Failure> {
    let place = |text: &String| {
        gateway::BucketPlace::parse(text).ok_or_else(|| {
            let sentence = format!("a place in a bucket is written s3://BUCKET/PREFIX/=NAME, and not {text:?}");
            Failure::new(ExitCode::Usage, sentence)
        })
    };
    arguments.s3_bucket.iter().map(place).collect()
}

/// Fails where what is asked for cannot be: before anybody is waited for.
pub fn check(arguments: &GatewayArguments, brought: &Brought<'_>) -> Result<(), Failure> {
    Feature::Gateway.must_be_built()?;
    #[cfg(feature = "gateway")]
    return places(arguments).and_then(|_| origins(brought)).map(|_| ());
    #[cfg(not(feature = "gateway"))]
    {
        let Brought { from, folder, keep_free, cache, rate } = brought;
        let _ = (arguments, from.are_none(), folder, keep_free, cache, rate);
        Ok(())
    }
}

/// Starts a gateway that serves these swarms.
#[cfg(feature = "gateway")]
pub async fn start(
    arguments: &GatewayArguments,
    sources: Vec<Source>,
    brought: Option<Brought<'_>>,
) -> Result<Running, Failure> {
    start_with(arguments, sources, brought, |gateway| gateway).await
}

/// The same, with something added to it.
#[cfg(feature = "gateway")]
pub async fn start_with(
    arguments: &GatewayArguments,
    sources: Vec<Source>,
    brought: Option<Brought<'_>>,
    add: impl FnOnce(gateway::Gateway) -> gateway::Gateway,
) -> Result<Running, Failure> {
    use gateway::{Gateway, GatewayError, Options, Swarm, Token};

    let failed = |error: GatewayError| {
        let code = match &error {
            GatewayError::NeedsToken(_) | GatewayError::Token(_) => ExitCode::Usage,
            GatewayError::Bind { source, .. } => ExitCode::of_listener(source),
            _ => ExitCode::Other,
        };
        Failure::new(code, error.to_string())
    };
    let mut about: Vec<String> = sources.iter().map(|source| source.about.clone()).collect();
    let swarms = sources.into_iter().map(|source| {
        let mut swarm = Swarm::new(source.node, source.about);
        if let Some((content, secret)) = source.ticket {
            swarm = swarm.ticket(content, secret);
        }
        if source.all {
            swarm = swarm.all();
        }
        for (content, origin) in source.origins {
            swarm = swarm.origin(content, origin);
        }
        match source.output {
            Some(folder) => swarm.output(folder),
            None => swarm,
        }
    });
    let mut options = Options::default();
    options.hosts.clone_from(&arguments.gateway_host);
    options.buckets = places(arguments)?;
    options.cache = brought.as_ref().and_then(|brought| brought.cache);
    if let Some(brought) = brought.filter(|brought| !brought.from.are_none()) {
        let origins = origins(&brought)?;
        about_origins(&brought, &mut about);
        options.origins = Some(origins);
    }
    options.token =
        arguments.gateway_token.as_deref().map(Token::read).transpose().map_err(|error| failed(error.into()))?;
    let gateway = Gateway::bind(address(arguments), swarms.collect(), options).await.map_err(failed)?;
    let (address, has_token) = (gateway.address(), arguments.gateway_token.is_some());
    Ok(Running {
        address,
        about,
        has_token,
        metrics: None,
        #[cfg(feature = "metrics")]
        kept: Arc::new(gateway.kept()),
        serving: tokio::spawn(add(gateway).serve()),
    })
}

/// Says what else is served.
#[cfg(feature = "gateway")]
fn about_origins(brought: &Brought<'_>, about: &mut Vec<String>) {
    let registries = brought.from.oci_origin.iter().map(|text| format!("images of {}", registry(text).0));
    let hub = brought.from.hf_origin.iter().map(|url| format!("models and data sets of {}", protocol::redacted(url)));
    about.extend(registries.chain(hub));
}

/// There is none in this build.
#[cfg(not(feature = "gateway"))]
pub async fn start(
    arguments: &GatewayArguments,
    sources: Vec<Source>,
    _: Option<Brought<'_>>,
) -> Result<Running, Failure> {
    Feature::Gateway.must_be_built()?;
    let about = sources.into_iter().map(|Source { node, about, ticket, all, origins, output }| {
        drop((node, ticket, all, origins, output));
        about
    });
    let has_token = arguments.gateway_token.is_some();
    let (address, about) = (address(arguments), about.collect());
    Ok(Running { address, about, has_token, metrics: None, serving: tokio::spawn(async {}) })
}

#[cfg(all(test, feature = "gateway"))]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_as_their_images_are() {
        for (text, name, url) in [
            ("docker.io", "docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "ghcr.io", "https://ghcr.io"),
            ("127.0.0.1:5000", "127.0.0.1:5000", "https://127.0.0.1:5000"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("https://host/sub?a=b", "host", "https://host/sub?a=b"),
            ("docker.io=http://mirror:5000", "docker.io", "http://mirror:5000"),
        ] {
            assert_eq!(registry(text), (name.to_owned(), url.to_owned()), "{text}");
        }
    }
}
