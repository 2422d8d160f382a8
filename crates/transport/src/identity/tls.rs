//! TLS settings that let in only proven identities: both sides show a certificate and prove that they hold its key.

use std::sync::{Arc, OnceLock};

use protocol::{Key, PeerId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::KeyUsage;

use super::{Identity, Trust};
use crate::{Untrusted, Whom};

/// The protocol's name in the handshake; a peer that speaks another one is refused there.
pub(crate) const ALPN: &[u8] = b"p2p-fileshare/1";
/// What it is called where a tracker is meant, and no peer that listens on the same port. Trackers with a port of their own need
/// not know it: who dials one offers both.
pub(crate) const TRACKER_ALPN: &[u8] = b"p2p-fileshare-tracker/1";

/// What kind of listener a dialler means, of those that share a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    Peer,
    Tracker,
}

impl From<Whom> for Meant {
    fn from(whom: Whom) -> Self {
        match whom {
            Whom::Peer(_) | Whom::AnyPeer => Meant::Peer,
            Whom::Tracker(_) => Meant::Tracker,
        }
    }
}

impl Meant {
    /// What a dialler offers, likeliest first.
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Meant::Peer => vec![ALPN.to_vec()],
            Meant::Tracker => vec![TRACKER_ALPN.to_vec(), ALPN.to_vec()],
        }
    }

    /// Who was meant, by what both sides agreed on. QUIC demands a protocol; TLS would go on without any.
    pub(crate) fn by(agreed: Option<&[u8]>) -> Option<Self> {
        match agreed {
            Some(ALPN) => Some(Meant::Peer),
            Some(TRACKER_ALPN) => Some(Meant::Tracker),
            _ => None,
        }
    }
}

/// Whether who begins a handshake would speak our protocol.
pub(crate) fn offers_our_protocol(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN || protocol == TRACKER_ALPN))
}

/// TLS wants a name; nobody checks it.
pub(crate) const SERVER_NAME: &str = "p2p-fileshare";

impl Identity {
    /// TLS for the dialled side: demands a certificate from the dialler. A tracker that listens on the same port has a certificate
    /// of its own.
    pub(crate) fn server_tls(&self, trust: &Trust, tracker: Option<&Identity>) -> Result<rustls::ServerConfig, Error> {
        let provider = provider();
        let verifier = Arc::new(AnyPeer { trust: trust.clone(), provider: provider.clone() });
        let by_protocol = ByProtocol {
            peer: self.certified_key(&provider)?,
            tracker: tracker.map(|tracker| tracker.certified_key(&provider)).transpose()?,
        };
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(by_protocol));
        // The first of these that a dialler offers, as the certificate is chosen.
        tls.alpn_protocols = if tracker.is_some() { Meant::Tracker } else { Meant::Peer }.protocols();
        // Without tickets no session is resumed, so no check is ever skipped.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(tls)
    }

    /// TLS for dialling one certain peer, or any that answers, which must be the same each time that this is used. `found` is told who
    /// answered instead, if someone else did.
    pub(crate) fn client_tls(
        &self,
        trust: &Trust,
        whom: Whom,
        found: Arc<OnceLock<PeerId>>,
    ) -> Result<rustls::ClientConfig, Error> {
        let provider = provider();
        let expected = whom.expected().map_or_else(OnceLock::new, OnceLock::from);
        let verifier = OnePeer { trust: trust.clone(), expected, found, provider: provider.clone() };
        dialling_tls(provider, verifier, whom.into(), Some(self))
    }

    fn certified_key(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
        let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(self.key.clone_key()))?;
        Ok(Arc::new(CertifiedKey::new(vec![self.certificate.clone()], key)))
    }
}

/// Shows who is meant.
#[derive(Debug)]
struct ByProtocol {
    peer: Arc<CertifiedKey>,
    tracker: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByProtocol {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let means_tracker = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == TRACKER_ALPN));
        let tracker = self.tracker.as_ref().filter(|_| means_tracker);
        Some(tracker.unwrap_or(&self.peer).clone())
    }
}

/// TLS for the side that dials: our protocol alone, and no session is resumed, so no check is ever skipped. It shows the
/// certificate of `own`, if there is one to show.
pub(super) fn dialling_tls(
    provider: Arc<CryptoProvider>,
    verifier: impl ServerCertVerifier + 'static,
    meant: Meant,
    own: Option<&Identity>,
) -> Result<rustls::ClientConfig, Error> {
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut tls = match own {
        Some(own) => {
            builder.with_client_auth_cert(vec![own.certificate.clone()], PrivateKeyDer::Pkcs8(own.key.clone_key()))?
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = meant.protocols();
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

/// What an alert of the other side says about our certificate, if that is what it is about.
pub(crate) fn not_admitted(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::UnknownCA => Some("it is not signed by a CA that is trusted there"),
        AlertDescription::CertificateExpired => Some("it is expired, or not valid yet"),
        AlertDescription::CertificateRequired => Some("there is none"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => Some("it is not of a kind that is accepted there"),
        _ => None,
    }
}

/// What we have against the other side's certificate, if that is why we have ended a handshake with this alert.
pub(crate) fn not_taken(alert: AlertDescription, trust: &Trust) -> Option<Untrusted> {
    match (alert, trust) {
        // It did not sign itself.
        (AlertDescription::UnknownCA, Trust::Anyone) => Some(Untrusted::ClosedSwarm),
        (AlertDescription::UnknownCA, Trust::Authorities(_)) => Some(Untrusted::OtherCa),
        (AlertDescription::CertificateExpired, _) => Some(Untrusted::OutOfDate),
        _ => None,
    }
}

/// What is exported from a TLS session for a connection (RFC 8446, 7.5), and what of it goes with one label.
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-p2p-fileshare";

/// The exporter for one label, from what TLS exports for the connection.
pub(crate) fn exporter_for(label: &str, exported: [u8; 32]) -> [u8; 32] {
    Key::new(exported).mac(&[label.as_bytes()]).bytes()
}

/// Fills `bytes` with what nobody can guess.
pub fn random(bytes: &mut [u8]) {
    provider().secure_random.fill(bytes).expect("the system has randomness");
}

/// ring, with AES-128-GCM first: it is the fastest wherever the processor helps.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let first = |suite: &rustls::SupportedCipherSuite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(first);
    Arc::new(provider)
}

/// Accepts any peer that is trusted and proves that it holds its certificate's key; who it is, is seen afterwards.
#[derive(Debug)]
struct AnyPeer {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

/// Accepts one certain peer: if nobody was named, the first that shows a certificate.
#[derive(Debug)]
struct OnePeer {
    trust: Trust,
    expected: OnceLock<PeerId>,
    found: Arc<OnceLock<PeerId>>,
    provider: Arc<CryptoProvider>,
}

/// What rustls asks of every verifier in the same words: a handshake counts if it is TLS 1.3's, signed with Ed25519.
macro_rules! only_tls13_with_ed25519 {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
    };
}
pub(super) use only_tls13_with_ed25519;

/// The same, of a verifier with which the handshake goes on once the signature is right.
macro_rules! signed_with_ed25519 {
    () => {
        only_tls13_with_ed25519!();

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
        }
    };
}

impl ClientCertVerifier for AnyPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.check(end, rest, now, KeyUsage::client_auth()).map(|_| ClientCertVerified::assertion())
    }

    signed_with_ed25519!();
}

impl ServerCertVerifier for OnePeer {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let id = self.trust.check(end, rest, now, KeyUsage::server_auth())?;
        if !id.answers_to(*self.expected.get_or_init(|| id)) {
            let _ = self.found.set(id);
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    signed_with_ed25519!();
}
