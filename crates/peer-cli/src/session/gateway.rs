//! The gateway of a command that has one. A build without the feature has none, and says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use peer::json::{self, Event};
use peer::{ContentId, Node, Secret};

use crate::error::{ExitCode, Failure};
use crate::flags::gateway::{GatewayArguments, PORT};

/// A swarm that a gateway serves.
pub struct Source {
    pub node: Node,
    /// Which one it is, in a few words.
    pub about: String,
    /// The content of a ticket, with what opens it.
    pub ticket: Option<(ContentId, Option<Secret>)>,
    /// Whether all that its tracker knows is served.
    pub all: bool,
    /// Where what is asked for is downloaded, if it is.
    pub output: Option<PathBuf>,
}

impl Source {
    /// What a node shares and downloads anyway.
    pub fn of(node: &Node, about: impl Into<String>) -> Self {
        Source { node: node.clone(), about: about.into(), ticket: None, all: false, output: None }
    }
}

/// A gateway that serves until it is dropped.
pub struct Running {
    address: SocketAddr,
    about: Vec<String>,
    /// Whether its clients must know a token.
    has_token: bool,
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
        std::iter::once(format!("Gateway at {}", self.url())).chain(served).collect()
    }

    /// Who can get what is shared, where that was said of the swarm without it.
    pub fn promise(&self, of_swarm: &str) -> String {
        let who = if self.has_token { "those who know the gateway's token" } else { "everyone on this machine" };
        format!("{}, and over HTTP {who}.", of_swarm.trim_end_matches('.'))
    }

    /// What is said of it, for programs.
    pub fn event(&self) -> Event {
        Event::Gateway(json::Gateway { url: self.url(), swarms: self.about.clone() })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts the gateway of `share` or `-S`, if one is asked for.
pub async fn beside(arguments: &GatewayArguments, source: impl FnOnce() -> Source) -> Result<Option<Running>, Failure> {
    match arguments.address {
        Some(_) => start(arguments, vec![source()]).await.map(Some),
        None if arguments.gateway_token.is_some() || !arguments.gateway_host.is_empty() => {
            let sentence = "--gateway-token and --gateway-host are for a gateway: --gateway says where it listens";
            Err(Failure::new(ExitCode::Usage, sentence))
        }
        None => Ok(None),
    }
}

/// Where it is to listen.
fn address(arguments: &GatewayArguments) -> SocketAddr {
    arguments.address.unwrap_or((Ipv4Addr::LOCALHOST, PORT).into())
}

/// Whether this build has a gateway at all.
pub fn must_be_built() -> Result<(), Failure> {
    if cfg!(feature = "gateway") {
        return Ok(());
    }
    let sentence = "this program was built without the gateway. What is handed out has it, and so has what \
                    `cargo build --release -p peer-cli --features gateway` builds";
    Err(Failure::new(ExitCode::Usage, sentence))
}

/// Starts a gateway that serves these swarms.
#[cfg(feature = "gateway")]
pub async fn start(arguments: &GatewayArguments, sources: Vec<Source>) -> Result<Running, Failure> {
    use gateway::{Gateway, GatewayError, Options, Swarm, Token};

    let failed = |error: GatewayError| {
        let code = match &error {
            GatewayError::NeedsToken(_) | GatewayError::Token | GatewayError::TokenFile { .. } => ExitCode::Usage,
            _ => ExitCode::AddressInUse,
        };
        Failure::new(code, error.to_string())
    };
    let about = sources.iter().map(|source| source.about.clone()).collect();
    let swarms = sources.into_iter().map(|source| {
        let mut swarm = Swarm::new(source.node, source.about);
        if let Some((content, secret)) = source.ticket {
            swarm = swarm.ticket(content, secret);
        }
        if source.all {
            swarm = swarm.all();
        }
        match source.output {
            Some(folder) => swarm.output(folder),
            None => swarm,
        }
    });
    let mut options = Options::default();
    options.hosts.clone_from(&arguments.gateway_host);
    options.token = arguments.gateway_token.as_deref().map(Token::read).transpose().map_err(failed)?;
    let gateway = Gateway::bind(address(arguments), swarms.collect(), options).await.map_err(failed)?;
    let (address, has_token) = (gateway.address(), arguments.gateway_token.is_some());
    Ok(Running { address, about, has_token, serving: tokio::spawn(gateway.serve()) })
}

/// There is none in this build.
#[cfg(not(feature = "gateway"))]
pub async fn start(arguments: &GatewayArguments, sources: Vec<Source>) -> Result<Running, Failure> {
    must_be_built()?;
    let about = sources.into_iter().map(|Source { node, about, ticket, all, output }| {
        drop((node, ticket, all, output));
        about
    });
    let has_token = arguments.gateway_token.is_some();
    Ok(Running { address: address(arguments), about: about.collect(), has_token, serving: tokio::spawn(async {}) })
}
