//! The gateway of a daemon: what it shares, its control over HTTP, and its page.

use std::sync::Arc;

use daemon::Service;

use crate::error::Failure;
use crate::flags::gateway::GatewayArguments;
use crate::session::gateway::{self, Running, Source};

/// Whether there is to be one. A build without it says so before anything is started, and the log is kept from then on.
pub fn is_asked_for(arguments: &GatewayArguments) -> Result<bool, Failure> {
    let is_asked_for = gateway::is_asked_for(arguments)?;
    if is_asked_for {
        settings::keep_recent_log();
    }
    Ok(is_asked_for)
}

/// Serves what the daemon shares, and how it is controlled, until what is returned is dropped.
pub async fn serve(arguments: &GatewayArguments, service: &Arc<Service>) -> Result<Option<Running>, Failure> {
    if !gateway::is_asked_for(arguments)? {
        return Ok(None);
    }
    let sources = vec![Source::of(&service.home(), "what this daemon shares, and downloads from its own tracker")];
    start(arguments, sources, service).await.map(Some)
}

#[cfg(feature = "gateway")]
async fn start(arguments: &GatewayArguments, sources: Vec<Source>, service: &Arc<Service>) -> Result<Running, Failure> {
    let trusted = arguments.gateway_token.is_some();
    let options = daemon::http::Options { trusted, log: Arc::new(settings::recent_log) };
    let routes = daemon::http::router(service.clone(), options);
    gateway::start_with(arguments, sources, None, |gateway| gateway.with_routes(routes)).await
}

#[cfg(not(feature = "gateway"))]
async fn start(arguments: &GatewayArguments, sources: Vec<Source>, _: &Arc<Service>) -> Result<Running, Failure> {
    gateway::start(arguments, sources, None).await
}

/// Waits until it serves no more, if there is one.
pub async fn ended(gateway: &mut Option<Running>) {
    match gateway {
        Some(gateway) => gateway.ended().await,
        None => std::future::pending().await,
    }
}

/// What is said of it.
pub fn lines(running: &Running) -> Vec<String> {
    let url = running.url();
    let page = match running.has_token() {
        true => format!("Page at {url}/page (the token is the password)"),
        false => format!("Page at {url}/page, to look at: what changes anything takes --gateway-token"),
    };
    running.lines().into_iter().chain([page]).collect()
}
