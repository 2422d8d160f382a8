//! A running tracker: it binds its ports, says how it is reached, and serves until it is told to stop.

use std::io::IsTerminal;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytesize::ByteSize;
use protocol::PeerId;
use settings::{ServiceManager, Signals, terminal};
use tokio::sync::mpsc;
use tracker::{RelayLimits, Server, ServerConfig, transport_config};
use transport::{Config, Kind, Leg, Transport, TransportError, interface_addresses};

use crate::exit_code::ExitCode;
use crate::prompt::{self, Typed};
use crate::{Arguments, certs, label, room, say};

/// A tracker whose ports are bound.
struct Bound {
    id: PeerId,
    transport: Arc<dyn Transport>,
    /// For the connections that try how a peer can be reached.
    config: Config,
    /// Legs of relayed connections, if it is a relay.
    legs: mpsc::Receiver<Leg>,
    /// Most connections over TCP.
    sockets: usize,
}

/// Serves until it is told to stop.
pub(crate) fn serve(arguments: &Arguments) -> Result<(), (ExitCode, anyhow::Error)> {
    let bound = bind(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (ExitCode::Other, error.into()))?;
    // Before anything is said: what reads it may tell it to end at once.
    let signals = runtime.block_on(async {
        settings::end_when_stuck(|_| true, |_| 0);
        Signals::listen()
    });
    let settings = ServerConfig::default().memory(arguments.memory).publishers(arguments.publisher.iter().copied());
    say_how_to_reach(arguments, &bound, &settings);
    let served = runtime.block_on(run(arguments, bound, settings, signals));
    // The thread that reads standard input may still wait there.
    runtime.shutdown_background();
    served
}

/// The address to listen on.
fn address(arguments: &Arguments) -> SocketAddr {
    SocketAddr::new(arguments.bind.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), arguments.port)
}

/// Binds the ports, with the key in the certs folder.
fn bind(arguments: &Arguments) -> Result<Bound, (ExitCode, anyhow::Error)> {
    let (identity, trust) = certs::who(&arguments.certs, &arguments.ca)?;
    let id = identity.peer_id();
    if arguments.relay && arguments.transport == Kind::Quic {
        let hint = "--relay carries connections over TCP: start it without --transport quic";
        return Err((ExitCode::Usage, anyhow::anyhow!(hint)));
    }
    let (take, legs) = transport::legs();
    // What a relay carries takes the other half.
    let sockets = transport::most_sockets() / if arguments.relay { 2 } else { 1 };
    let config = transport_config(identity, trust, address(arguments))
        .legs(arguments.relay.then_some(take))
        .sockets(Some(sockets));
    let transport = arguments.transport.bind(config.clone()).map_err(|error| match error {
        TransportError::AddressInUse(_) => {
            let port = arguments.port;
            let hint = format!("port {port} is in use: stop the program that has it, or choose another with -p");
            (ExitCode::AddressInUse, anyhow::anyhow!(hint))
        }
        TransportError::PrivilegedPort(_) => {
            (ExitCode::Other, anyhow::anyhow!("{error}: choose one above 1023 with -p"))
        }
        error => (ExitCode::Other, error.into()),
    })?;
    Ok(Bound { id, transport, config, legs, sockets })
}

/// Prints how peers are started that are to reach it, and whom it lets in.
fn say_how_to_reach(arguments: &Arguments, Bound { id, transport, sockets, .. }: &Bound, settings: &ServerConfig) {
    let closed: String = arguments.ca.iter().map(|ca| format!(" --ca {}", ca.display())).collect();
    let bound = transport.listeners()[0];
    say(format_args!("Listening on {bound}"));
    say(format_args!("Tracker id: {id}"));
    say(format_args!("{}", room::room(arguments.transport, ByteSize(arguments.memory), settings.room(), *sockets)));
    let (port, host) = (bound.port(), host(bound));
    say(format_args!("On this machine, in this folder:  peer-cli -i localhost -d {port}{closed} -f NAME"));
    say(format_args!("On another machine:  peer-cli -i {host} -d {port} --tracker-id {id}{closed} -f NAME"));
    let is_open = arguments.ca.is_empty() && !address(arguments).ip().is_loopback();
    if is_open {
        say(format_args!("Anyone who reaches it can take part: --ca closes the swarm, --bind 127.0.0.1 keeps it here"));
    }
    if arguments.relay {
        let (bytes, most) = (ByteSize(arguments.relay_bytes), arguments.relay_connections);
        say(format_args!(
            "Relays between peers that cannot connect directly: {bytes} a day for each, {most} connections at once"
        ));
    }
}

/// Serves, with all that was asked for beside it.
async fn run(
    arguments: &Arguments,
    bound: Bound,
    settings: ServerConfig,
    signals: Signals,
) -> Result<(), (ExitCode, anyhow::Error)> {
    let Bound { id, transport, config, legs, .. } = bound;
    let sockets_let_go = config.sockets_let_go();
    let settings = settings.label(label::label(id, transport.listeners()[0].port()));
    let mut server = Server::new(transport.clone(), settings).with_probing(config);
    if arguments.relay {
        let limits = RelayLimits::default().rate(arguments.relay_rate).bytes(Some(arguments.relay_bytes));
        server = server.with_relay(limits.connections(arguments.relay_connections as usize), legs);
    }
    let server = Arc::new(server);
    if let Some(address) = arguments.metrics {
        answer_scrapes(address, &server, sockets_let_go).await?;
    }
    if let Some(address) = arguments.page {
        show_page(address, arguments.page_token.as_deref(), &server).await?;
    }
    tokio::spawn(transport::warn_of_expiry());
    let manager = ServiceManager::of_this_process();
    manager.ready();
    let is_told = tokio::select! {
        () = server.run() => false,
        () = manager.watch() => true,
        () = told_to_stop(&server, arguments.commands, signals) => true,
    };
    manager.stopping();
    say(format_args!("Exited swarm."));
    transport.close().await;
    say(format_args!("Shutdown complete."));
    match is_told {
        true => Ok(()),
        // Nobody listens any more: who started it is to start it again.
        false => Err((ExitCode::Other, anyhow::anyhow!("its listeners have ended. Start it again"))),
    }
}

/// Answers scrapes for as long as the tracker runs.
#[cfg(feature = "metrics")]
async fn answer_scrapes(
    address: SocketAddr,
    server: &Arc<Server>,
    sockets: Arc<AtomicU64>,
) -> Result<(), (ExitCode, anyhow::Error)> {
    let bound = crate::metrics::serve(address, server.clone(), sockets).await.map_err(|error| {
        let hint = format!("cannot serve metrics at {address}: {error}. Choose another address with --metrics");
        (ExitCode::of_listener(&error), anyhow::anyhow!(hint))
    })?;
    say(format_args!("Metrics at http://{bound}/metrics"));
    Ok(())
}

#[cfg(not(feature = "metrics"))]
async fn answer_scrapes(_: SocketAddr, _: &Arc<Server>, _: Arc<AtomicU64>) -> Result<(), (ExitCode, anyhow::Error)> {
    // It was refused at the start.
    Ok(())
}

/// Shows the page for as long as the tracker runs.
#[cfg(feature = "web")]
async fn show_page(
    address: SocketAddr,
    token: Option<&Path>,
    server: &Arc<Server>,
) -> Result<(), (ExitCode, anyhow::Error)> {
    let bound = crate::page::serve(address, token, server.clone()).await.map_err(|error| match error {
        crate::page::PageError::Bind(error) => {
            let hint = format!("the page cannot be had at {address}: {error}. Choose another address with --page");
            (ExitCode::of_listener(&error), anyhow::anyhow!(hint))
        }
        error => (ExitCode::Usage, error.into()),
    })?;
    say(format_args!("Page at http://{bound}/"));
    Ok(())
}

#[cfg(not(feature = "web"))]
async fn show_page(_: SocketAddr, _: Option<&Path>, _: &Arc<Server>) -> Result<(), (ExitCode, anyhow::Error)> {
    // It was refused at the start.
    Ok(())
}

/// What others may call this machine: the address that they likeliest reach, if there is one.
fn host(bound: SocketAddr) -> String {
    if !bound.ip().is_unspecified() {
        return bound.ip().to_string();
    }
    let outside = interface_addresses(&[bound]).into_iter().map(|address| address.ip());
    outside.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()).next().unwrap_or_else(|| "ADDRESS".to_owned())
}

/// Answers what is typed, if standard input is a terminal or is to be read, until it is told to end, by that or by a signal. The
/// end of input is no reason to stop: a service has none. Ctrl-D on a terminal is one.
async fn told_to_stop(server: &Server, commands: bool, mut signals: Signals) {
    let (said, mut heard) = tokio::sync::mpsc::channel(16);
    if commands || std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            let ended = terminal::read_lines(|line| {
                prompt::parse(line).is_none_or(|typed| {
                    let quit = typed == Typed::Quit;
                    said.blocking_send(typed).is_ok() && !quit
                })
            });
            if ended {
                let _ = said.blocking_send(Typed::Quit);
            }
        });
    }
    loop {
        tokio::select! {
            Some(typed) = heard.recv() => match prompt::answer(typed, server) {
                Some(lines) => lines.iter().for_each(|line| say(format_args!("{line}"))),
                None => return,
            },
            _ = signals.next() => return,
        }
    }
}
