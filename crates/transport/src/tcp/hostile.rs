//! Peers that do not play by the rules of TCP or TLS, or that want all descriptors there are.

use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::dial::WELCOME;
use super::socket::Socket;
use super::*;
use crate::Trust;
use crate::frame::read_exact;
use crate::identity::SERVER_NAME;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Handshakes that may be under way in these tests.
const HANDSHAKES: usize = 32;

fn tcp(sockets: usize) -> Tcp {
    let config = Config::new(Identity::generate().unwrap(), vec![LOOPBACK]);
    Tcp::bind_within(config, (HANDSHAKES, sockets)).unwrap()
}

/// One that takes connections as a tracker does.
fn tracker() -> Tcp {
    let config = Config::new(Identity::generate().unwrap(), vec![LOOPBACK]).standing(true);
    Tcp::bind_within(config, (HANDSHAKES, 64)).unwrap()
}

fn dialler(stranger: &Tcp, to: &Tcp) -> Dialler {
    let found = Arc::new(OnceLock::new());
    let tls =
        Arc::new(stranger.identity.client_tls(&Trust::Anyone, crate::Whom::Peer(to.peer_id()), found.clone()).unwrap());
    let (address, expected) = (to.listeners()[0], Some(to.peer_id()));
    Dialler { route: Route::Direct, address, expected, tls, trust: Trust::Anyone, found, token: rand_token() }
}

/// Waits until something that takes its time is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// The first bytes of a TLS handshake.
fn client_hello() -> Vec<u8> {
    let tls = Identity::generate().unwrap().client_tls(
        &Trust::Anyone,
        crate::Whom::Peer(PeerId::of_public_key(b"")),
        Arc::default(),
    );
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(tls.unwrap()), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

async fn gets_through(honest: &Tcp, to: &Tcp) {
    // A peer at the address of those that stall may be given up for one of them, and comes again.
    let dial = async {
        let first = honest.dial(to.listeners()[0], to.peer_id()).await;
        if first.is_err() { honest.dial(to.listeners()[0], to.peer_id()).await } else { first }
    };
    let (dialled, accepted) = tokio::join!(dial, timeout(Duration::from_secs(30), to.accept()));
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap().unwrap());
    let (mut send, _recv) = dialled.open().await.unwrap();
    send.send(Bytes::from_static(b"through")).await.unwrap();
    let (_send, mut recv) = accepted.accept().await.unwrap();
    let mut got = [0; 7];
    read_exact(&mut *recv, &mut got).await.unwrap();
    assert_eq!(&got, b"through");
}

#[tokio::test]
async fn half_open_connections_do_not_shut_the_door() {
    let (listener, honest) = (tcp(64), tcp(64));
    let (address, hello) = (listener.listeners()[0], client_hello());
    for begun in [0, 1, hello.len() / 2, hello.len()] {
        let mut stalled = Vec::new();
        for _ in 0..3 * HANDSHAKES {
            let mut socket = TcpStream::connect(address).await.unwrap();
            // The listener may have closed it for the next one already.
            let _ = socket.write_all(&hello[..begun]).await;
            stalled.push(socket);
        }
        until("handshakes are bounded", || listener.handshakes.under_way() <= HANDSHAKES).await;
        // Those who came just now are not given up yet.
        sleep(Duration::from_millis(100)).await;
        gets_through(&honest, &listener).await;
    }
}

/// A peer that comes too fast from one address is turned away, and nobody waits behind it.
#[tokio::test]
async fn a_burst_from_one_address_is_closed_and_not_waited_for() {
    let listener = tcp(64);
    let address = listener.listeners()[0];
    // On a busy machine a burst may take so long that the first of it make room instead.
    for _ in 0..20 {
        let mut burst = Vec::new();
        for _ in 0..HANDSHAKES + 8 {
            burst.push(TcpStream::connect(address).await.unwrap());
        }
        let last = burst.last_mut().unwrap();
        let ended = timeout(Duration::from_secs(30), last.read(&mut [0])).await;
        let first_stays = burst[0].try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        drop(burst);
        until("all of them are gone", || listener.handshakes.under_way() == 0).await;
        if first_stays && matches!(ended, Ok(Ok(0) | Err(_))) {
            return;
        }
    }
    panic!("the newest is not the one that is closed");
}

#[tokio::test]
async fn a_client_hello_byte_by_byte_has_no_more_time_than_another() {
    let listener = tcp(64);
    let mut socket = TcpStream::connect(listener.listeners()[0]).await.unwrap();
    let (mut reader, mut writer) = socket.split();
    let trickle = async {
        for byte in client_hello() {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = trickle => {}
        ended = timeout(Duration::from_secs(30), reader.read_to_end(&mut answer)) => {
            let _ = ended.expect("it is ended");
            assert!(answer.is_empty());
        }
    }
    until("its place is free", || listener.handshakes.under_way() == 0).await;
}

#[tokio::test]
async fn a_client_that_offers_no_protocol_or_another_is_refused() {
    let listener = tcp(64);
    for offered in [vec![], vec![b"h2".to_vec()]] {
        let stranger = Identity::generate().unwrap();
        let mut tls =
            stranger.client_tls(&Trust::Anyone, crate::Whom::Peer(listener.peer_id()), Arc::default()).unwrap();
        tls.alpn_protocols = offered;
        let socket = TcpStream::connect(listener.listeners()[0]).await.unwrap();
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let error = TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap_err();
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
        assert!(error.to_string().contains(&alert.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_listener_that_chooses_no_protocol_is_refused() {
    let identity = Identity::generate().unwrap();
    let mut tls = identity.server_tls(&Trust::Anyone, None).unwrap();
    tls.alpn_protocols.clear();
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(tls)).accept(socket).await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        heard
    });
    let error = tcp(64).dial(address, identity.peer_id()).await.err();
    assert!(matches!(error, Some(TransportError::Handshake(_))), "{error:?}");
    assert!(answering.await.unwrap().is_empty(), "it hears nothing of us");
}

/// Five bytes have the side that dialled open a TLS connection.
#[tokio::test]
async fn stream_connections_that_are_wanted_for_nothing_have_an_end() {
    let (honest, identity) = (tcp(1000), Identity::generate().unwrap());
    let tls = Arc::new(identity.server_tls(&Trust::Anyone, None).unwrap());
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let hostile = async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut control = TlsAcceptor::from(tls).accept(socket).await.unwrap();
        let mut greeting = [0; 17];
        control.read_exact(&mut greeting).await.unwrap();
        control.write_all(&[WELCOME]).await.unwrap();
        let want = [2, 0, 0, 0, 0];
        control.write_all(&want.repeat(2000)).await.unwrap();
        let (mut came, mut heard) = (0, [0; 64]);
        loop {
            tokio::select! {
                accepted = listener.accept() => came += usize::from(accepted.is_ok()),
                read = control.read(&mut heard) => {
                    if matches!(read, Ok(0) | Err(_)) {
                        return came;
                    }
                }
            }
        }
    };
    let (dialled, came) =
        tokio::join!(honest.dial(address, identity.peer_id()), timeout(Duration::from_secs(60), hostile));
    assert!(dialled.is_ok());
    let came = came.expect("the connection is closed");
    assert!((100..400).contains(&came), "{came} connections");
}

/// Opens stream connections of a connection that is known by its dialler, and keeps them.
async fn stream_connections(dialler: &Dialler, count: usize, purpose: Purpose) -> Vec<TlsStream<Socket>> {
    let mut stream_connections = Vec::new();
    for _ in 0..count {
        stream_connections.extend(dialler.dial(purpose).await.ok());
    }
    stream_connections
}

async fn has_few_stream_connections_without_a_stream(purpose: Purpose, most: usize) {
    let (listener, stranger) = (tcp(1000), tcp(64));
    let dialler = dialler(&stranger, &listener);
    let _control = dialler.dial(Purpose::Control).await.unwrap();
    let _connection = listener.accept().await.unwrap();
    let _stream_connections = stream_connections(&dialler, 60, purpose).await;
    until("most are closed", || listener.shared.sockets.taken() <= 1 + most).await;
    until("and in the end all", || listener.shared.sockets.taken() <= 1).await;
    drop(_connection);
    until("nothing is left", || listener.shared.sockets.taken() == 0).await;
}

#[tokio::test]
async fn a_connection_has_few_stream_connections_without_a_stream() {
    tokio::join!(
        has_few_stream_connections_without_a_stream(Purpose::Theirs, connection_core::FEW),
        has_few_stream_connections_without_a_stream(Purpose::Yours, connection_core::IDLE_STREAM_CONNECTIONS)
    );
}

#[tokio::test]
async fn stream_connections_that_come_and_go_are_not_counted_for_ever() {
    let (listener, stranger) = (tcp(1000), tcp(64));
    let dialler = dialler(&stranger, &listener);
    let mut control = dialler.dial(Purpose::Control).await.unwrap();
    let connection = listener.accept().await.unwrap();
    for _ in 0..6 {
        for purpose in [Purpose::Theirs, Purpose::Yours] {
            // A ping: on a busy machine all this takes longer than a silent side is waited for.
            control.write_all(&[0; 5]).await.unwrap();
            control.flush().await.unwrap();
            drop(stream_connections(&dialler, 50, purpose).await);
            until("they are gone", || listener.shared.sockets.taken() <= 1 + connection_core::IDLE_STREAM_CONNECTIONS)
                .await;
        }
    }
    let ended = timeout(Duration::from_millis(500), connection.closed()).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_greedy_connection_leaves_descriptors_to_others() {
    const SOCKETS: usize = 24;
    let (listener, stranger, honest) = (tcp(SOCKETS), tcp(64), tcp(64));
    let dial = honest.dial(listener.listeners()[0], listener.peer_id());
    let (dialled, accepted) = tokio::join!(dial, listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    let (mut send, mut answer) = dialled.open().await.unwrap();
    send.send(Bytes::from_static(b"one")).await.unwrap();
    let (mut reply, mut recv) = accepted.accept().await.unwrap();

    // Connections whose stream connections all have a stream, which nobody waits on.
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let dialler = dialler(&stranger, &listener);
        greedy.push(dialler.dial(Purpose::Control).await.unwrap());
        let connection = listener.accept().await.unwrap();
        let mut parked = Vec::new();
        for _ in 0..20 {
            let Ok(mut socket) = dialler.dial(Purpose::Theirs).await else { continue };
            // A frame of one byte on the stream connection's first stream.
            let said = socket.write_all(&[0, 0, 0, 0, 1, 0, 0, 0, 7]).await.and(socket.flush().await);
            if said.is_ok()
                && let Ok(Ok(stream)) = timeout(Duration::from_secs(1), connection.accept()).await
            {
                parked.push(stream);
            }
            greedy.push(socket);
            assert!(listener.shared.sockets.taken() <= SOCKETS);
        }
        std::mem::forget(parked); // as a queue that is never looked at
    }
    // One that was given up may not be replaced yet.
    assert!(listener.shared.sockets.taken() + 3 >= SOCKETS, "descriptors are short");

    send.send(Bytes::from_static(b"two")).await.unwrap();
    let mut got = [0; 6];
    read_exact(&mut *recv, &mut got).await.unwrap();
    assert_eq!(&got, b"onetwo", "who holds little keeps it");
    reply.send(Bytes::from_static(b"yes")).await.unwrap();
    read_exact(&mut *answer, &mut got[..3]).await.unwrap();
    gets_through(&tcp(64), &listener).await;
}

/// A control connection that a stranger speaks on as it likes, and what the tracker has of it.
async fn sole(stranger: &Tcp, tracker: &Tcp) -> (TlsStream<Socket>, Arc<dyn Connection>) {
    let dialler = dialler(stranger, tracker);
    let (dialled, accepted) = tokio::join!(dialler.dial(Purpose::Sole), tracker.accept());
    (dialled.unwrap(), accepted.unwrap())
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_takes_nothing_of_a_tracker_is_let_go() {
    let (tracker, stranger) = (tracker(), tcp(64));
    let (mut unread, accepted) = sole(&stranger, &tracker).await;
    let (mut send, _recv) = accepted.accept().await.unwrap();
    let endless = async {
        let block = Bytes::from(vec![0; 1 << 20]);
        while send.send(block.clone()).await.is_ok() {}
    };
    // It goes on pinging.
    let alive = async {
        while unread.write_all(&[0; 5]).await.is_ok() && unread.flush().await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let both = async { tokio::join!(endless, accepted.closed(), alive) };
    assert!(timeout(PATIENCE, both).await.is_ok());
}

#[tokio::test]
async fn what_has_no_place_on_a_trackers_connection_ends_it() {
    let (tracker, stranger) = (tracker(), tcp(64));
    // It asks for a stream connection, and says what nobody knows.
    for kind in [2, 200] {
        let (mut stream, accepted) = sole(&stranger, &tracker).await;
        stream.write_all(&[kind, 0, 0, 0, 0]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(timeout(PATIENCE, accepted.closed()).await.unwrap(), TransportError::Closed);
    }
}

#[tokio::test]
async fn a_frame_without_end_of_which_nothing_is_read_is_not_taken_in() {
    let (tracker, stranger) = (tracker(), tcp(64));
    let (mut stream, accepted) = sole(&stranger, &tracker).await;
    let (_send, mut recv) = accepted.accept().await.unwrap();
    stream.write_all(&[4, 255, 255, 255, 255]).await.unwrap();
    let endless = async {
        let block = vec![7; 1 << 20];
        while stream.write_all(&block).await.is_ok() {}
    };
    // It gets stuck: what waits is a window, and what the sockets hold.
    assert!(timeout(Duration::from_secs(2), endless).await.is_err());
    assert!(accepted.stats().received <= 2 * sole::WINDOW as u64, "{}", accepted.stats().received);
    assert_eq!(recv.recv(&mut [0; 8]).await, Ok(8));
}
