//! Who a peer is: an Ed25519 key, a certificate that it signs itself, and TLS settings that accept nobody unproven.
//!
//! A peer's id is the digest of its public key. Both sides of a connection show a certificate and prove that they hold
//! its key; the dialler also demands one certain id. No authority is asked and no name is checked: the id is the name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use protocol::PeerId;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// The protocol's name in the handshake; whoever speaks another one is refused there.
pub(crate) const ALPN: &[u8] = b"p2p-fileshare/1";
/// TLS wants a name; nobody checks it.
pub(crate) const SERVER_NAME: &str = "p2p-fileshare";

/// A key and its certificate.
#[derive(Clone)]
pub struct Identity {
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    certificate: CertificateDer<'static>,
    id: PeerId,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{0} holds no usable Ed25519 key or certificate; delete it to have a new one made")]
    Malformed(PathBuf),
    /// No key can be made.
    #[error("no key can be made: {0}")]
    Generate(String),
}

impl Identity {
    /// A new identity that nobody had before.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|error| IdentityError::Generate(error.to_string()))?;
        Self::sign(&key).map_err(IdentityError::Generate)
    }

    fn sign(key: &KeyPair) -> Result<Self, String> {
        let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(|error| error.to_string())?;
        let certificate = params.self_signed(key).map_err(|error| error.to_string())?;
        let certificate = certificate.der().clone();
        let id = peer_id_of(&certificate).map_err(|error| error.to_string())?;
        Ok(Identity { key: Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der())), certificate, id })
    }

    /// The identity whose key is in this PEM file; made there if the file is missing. The key file can be read by its
    /// owner only.
    pub fn load_or_create(key_path: &Path) -> Result<Self, IdentityError> {
        let file = |source| IdentityError::File { path: key_path.to_owned(), source };
        match fs::read_to_string(key_path) {
            Ok(pem) => {
                let malformed = || IdentityError::Malformed(key_path.to_owned());
                let key = KeyPair::from_pem(&pem).map_err(|_| malformed())?;
                if key.algorithm() != &PKCS_ED25519 {
                    return Err(malformed());
                }
                Self::sign(&key).map_err(|_| malformed())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key =
                    KeyPair::generate_for(&PKCS_ED25519).map_err(|error| IdentityError::Generate(error.to_string()))?;
                if let Some(folder) = key_path.parent() {
                    fs::create_dir_all(folder).map_err(file)?;
                }
                private_file(key_path).and_then(|mut f| f.write_all(key.serialize_pem().as_bytes())).map_err(file)?;
                Self::sign(&key).map_err(IdentityError::Generate)
            }
            Err(error) => Err(file(error)),
        }
    }

    /// Writes the certificate, which is public, as PEM: others read the id from it.
    pub fn write_certificate(&self, path: &Path) -> Result<(), IdentityError> {
        use std::fmt::Write as _;
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in base64(&self.certificate).as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        // Written beside and renamed: a peer may be reading it at this moment.
        let beside = path.with_extension("pem.new");
        fs::write(&beside, pem)
            .and_then(|()| fs::rename(&beside, path))
            .map_err(|source| IdentityError::File { path: path.to_owned(), source })
    }

    /// The id that this identity proves.
    pub fn peer_id(&self) -> PeerId {
        self.id
    }

    /// TLS for whoever is dialled: demands a certificate from the dialler.
    pub(crate) fn server_tls(&self) -> Result<rustls::ServerConfig, Error> {
        let provider = provider();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyPeer(provider)))
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // Without tickets no session is resumed, so no check is ever skipped.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(tls)
    }

    /// TLS for dialling one certain peer. `found` is told who answered instead, if someone else did.
    pub(crate) fn client_tls(
        &self,
        expected: PeerId,
        found: Arc<OnceLock<PeerId>>,
    ) -> Result<rustls::ClientConfig, Error> {
        let provider = provider();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OnePeer { expected, found, provider }))
            .with_client_auth_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(tls)
    }
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)
}

/// Base64 of RFC 4648, as PEM wants it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * n) & 63) as usize];
            text.push(if n > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// The id of whoever holds the key of the certificate in a PEM file.
pub fn peer_id_of_certificate_pem(path: &Path) -> Result<PeerId, IdentityError> {
    let pem = fs::read(path).map_err(|source| IdentityError::File { path: path.to_owned(), source })?;
    let malformed = |_| IdentityError::Malformed(path.to_owned());
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(malformed)?;
    peer_id_of(&certificate).map_err(|_| IdentityError::Malformed(path.to_owned()))
}

/// The id of whoever holds a certificate's key.
pub(crate) fn peer_id_of(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(PeerId::of_public_key(&parsed.subject_public_key_info()))
}

/// ring, with AES-128-GCM first: it is the fastest wherever the processor helps.
/// Fills `bytes` with what nobody can guess.
pub(crate) fn random(bytes: &mut [u8]) {
    provider().secure_random.fill(bytes).expect("the system has randomness");
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let first = |suite: &rustls::SupportedCipherSuite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(first);
    Arc::new(provider)
}

/// What stands before the 32 bytes of every Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Exactly one certificate, of an Ed25519 key, signed by that key. The list of schemes alone would not hold a peer to
/// Ed25519: rustls checks a signature with any algorithm of the provider, offered or not.
fn one_certificate(end: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<PeerId, Error> {
    let unfit = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let parsed = webpki::EndEntityCert::try_from(end).map_err(|_| unfit())?;
    let key = parsed.subject_public_key_info();
    if !rest.is_empty() || key.len() != ED25519_SPKI.len() + 32 || !key.starts_with(&ED25519_SPKI) {
        return Err(unfit());
    }
    // With the certificate as its own only authority, a valid path means that it signed itself.
    let itself = webpki::anchor_from_trusted_cert(end).map_err(|_| unfit())?;
    let usage = webpki::KeyUsage::server_auth(); // of extensions that our certificates do not have
    parsed
        .verify_for_usage(&[webpki::ring::ED25519], &[itself], &[], now, usage, None, None)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))?;
    Ok(PeerId::of_public_key(&key))
}

/// Accepts any peer that proves that it holds its certificate's key; who it is, is seen afterwards.
#[derive(Debug)]
struct AnyPeer(Arc<CryptoProvider>);

/// Accepts one certain peer.
#[derive(Debug)]
struct OnePeer {
    expected: PeerId,
    found: Arc<OnceLock<PeerId>>,
    provider: Arc<CryptoProvider>,
}

const SCHEMES: [SignatureScheme; 1] = [SignatureScheme::ED25519];

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
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
        one_certificate(end, rest, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
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
        let id = one_certificate(end, rest, now)?;
        if id != self.expected {
            let _ = self.found.set(id);
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_self_signed_ed25519_certificate_will_do() {
        let now = UnixTime::now();
        let ours = Identity::generate().unwrap();
        assert_eq!(one_certificate(&ours.certificate, &[], now).ok(), Some(ours.id));
        assert!(one_certificate(&ours.certificate, std::slice::from_ref(&ours.certificate), now).is_err());

        let params = || CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        let ecdsa = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(one_certificate(params().self_signed(&ecdsa).unwrap().der(), &[], now).is_err());

        let (key, signer) =
            (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let by_another = params().signed_by(&key, &rcgen::Issuer::new(params(), signer)).unwrap();
        assert!(one_certificate(by_another.der(), &[], now).is_err());
    }

    #[test]
    fn an_identity_outlives_its_process_and_its_key_is_private() {
        let folder = std::env::temp_dir().join(format!("identity-{}", std::process::id()));
        let (key, certificate) = (folder.join("tracker.key"), folder.join("tracker.pem"));
        let made = Identity::load_or_create(&key).unwrap();
        made.write_certificate(&certificate).unwrap();
        assert_eq!(Identity::load_or_create(&key).unwrap().peer_id(), made.peer_id());
        assert_eq!(peer_id_of_certificate_pem(&certificate).unwrap(), made.peer_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&key, "nonsense").unwrap();
        assert!(matches!(Identity::load_or_create(&key), Err(IdentityError::Malformed(_))));
        fs::remove_dir_all(folder).unwrap();
    }
}
