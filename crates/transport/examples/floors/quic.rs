//! One quinn stream, from static memory into a buffer.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, Runtime, ServerConfig, TokioRuntime};
use socket2::SockRef;

use crate::socket::Batching;
use crate::{CHUNK, settings, tls};

/// What the transport grants the first connection.
const WINDOW: u32 = 8 << 20;

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let _ = SockRef::from(&socket).set_recv_buffer_size(settings::SOCKET_BUFFER);
    let _ = SockRef::from(&socket).set_send_buffer_size(settings::SOCKET_BUFFER);
    let socket = TokioRuntime.wrap_udp_socket(socket).expect("a socket");
    let socket = Arc::new(Batching::new(socket, settings::LARGEST_DATAGRAM.into()));
    Endpoint::new_with_abstract_socket(settings::endpoint(), server, socket, Arc::new(TokioRuntime))
        .expect("an endpoint")
}

pub async fn serve(mtu: u16) {
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls::server()).expect("TLS 1.3")));
    server.transport_config(Arc::new(settings::transport(mtu, WINDOW)));
    let endpoint = endpoint(Some(server));
    crate::listening(endpoint.local_addr().expect("it is bound").port());
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        let Ok((mut send, mut recv)) = connection.accept_bi().await else { continue };
        let mut wanted = [0; 8];
        if recv.read_exact(&mut wanted).await.is_err() {
            continue;
        }
        let (mut left, chunk) = (u64::from_le_bytes(wanted) as usize, Bytes::from(vec![7; CHUNK]));
        while left > 0 {
            let part = chunk.slice(..left.min(CHUNK));
            left -= part.len();
            if send.write_chunk(part).await.is_err() {
                break;
            }
        }
        let _ = send.finish();
        connection.closed().await;
    }
}

pub async fn fetch(port: u16, bytes: u64, mtu: u16) {
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls::client()).expect("TLS 1.3")));
    config.transport_config(Arc::new(settings::transport(mtu, WINDOW)));
    let endpoint = endpoint(None);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = endpoint.connect_with(config, to, "floor").expect("a config").await.expect("a server");
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&bytes.to_le_bytes()).await.expect("a question");
    let (mut buffer, mut got) = (vec![0; CHUNK], 0);
    while let Some(count) = recv.read(&mut buffer).await.expect("an answer") {
        got += count as u64;
    }
    assert_eq!(got, bytes);
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
}
