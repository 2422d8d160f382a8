//! One TLS 1.3 connection over TCP, from memory into a buffer.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::CHUNK;

/// AES-128 first: it is what quinn and the transport settle on where the processor has instructions for it.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

pub fn server() -> ServerConfig {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let certificate = CertificateParams::new(vec!["floor".to_owned()]).expect("a name").self_signed(&key);
    let certificate = certificate.expect("a certificate").der().clone();
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("its key")
}

pub fn client() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth()
}

pub async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    crate::listening(listener.local_addr().expect("it is bound").port());
    let acceptor = TlsAcceptor::from(Arc::new(server()));
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let Ok(mut stream) = acceptor.accept(socket).await else { continue };
        let Ok(wanted) = stream.read_u64_le().await else { continue };
        let (mut left, chunk) = (wanted as usize, vec![7; CHUNK]);
        while left > 0 {
            let part = left.min(CHUNK);
            left -= part;
            if stream.write_all(&chunk[..part]).await.is_err() {
                break;
            }
        }
        let _ = stream.shutdown().await;
    }
}

pub async fn fetch(port: u16, bytes: u64) {
    let connector = TlsConnector::from(Arc::new(client()));
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("a server");
    let name = ServerName::try_from("floor").expect("a name");
    let mut stream = connector.connect(name, socket).await.expect("a handshake");
    stream.write_u64_le(bytes).await.expect("a question");
    stream.flush().await.expect("a question");
    let (mut buffer, mut got) = (vec![0; CHUNK], 0);
    while got < bytes {
        let count = stream.read(&mut buffer).await.expect("an answer");
        assert!(count > 0, "it ended after {got} bytes");
        got += count as u64;
    }
}

/// A floor proves nothing about anyone: it listens on loopback, and what it sends is thrown away.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
