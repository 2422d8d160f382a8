//! TLS for learning who answers somewhere, and nothing more: the probe behind trust on first use.
//!
//! A probe takes no certificate. It checks one, sees its key proven over this very handshake, notes whose it is, and ends the
//! handshake there: before it has shown a certificate of its own, and before either side could say anything. So it never
//! becomes a connection. A connection is dialled anew, and demands the id.

use std::sync::{Arc, OnceLock};

use protocol::PeerId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::KeyUsage;

use super::tls::{Meant, dialling_tls, only_tls13_with_ed25519, provider};
use super::{Trust, peer_id_of};

/// TLS for a dialler that ends every handshake. `proven` is told who answered.
pub(crate) fn probing_tls(trust: &Trust, proven: Arc<OnceLock<PeerId>>) -> Result<rustls::ClientConfig, Error> {
    let provider = provider();
    let verifier = OnlyLooks { trust: trust.clone(), proven, provider: provider.clone() };
    // It asks for a tracker.
    dialling_tls(provider, verifier, Meant::Tracker, None)
}

/// Accepts nobody, and notes who has proven to be there.
#[derive(Debug)]
struct OnlyLooks {
    trust: Trust,
    proven: Arc<OnceLock<PeerId>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OnlyLooks {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The signature comes next, and there it ends.
        self.trust.check(end, rest, now, KeyUsage::server_auth()).map(|_| ServerCertVerified::assertion())
    }

    only_tls13_with_ed25519!();

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)?;
        let _ = self.proven.set(peer_id_of(certificate)?);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, ClientConnection, ServerConnection};

    use super::*;
    use crate::identity::{Identity, SERVER_NAME};

    /// Hands over all that one side has to send.
    fn pass(from: &mut rustls::ConnectionCommon<impl rustls::SideData>, to: &mut Vec<u8>) {
        while from.wants_write() {
            from.write_tls(to).unwrap();
        }
    }

    #[test]
    fn a_probe_learns_the_id_and_shows_nothing() {
        let there = Identity::generate().unwrap();
        let proven = Arc::new(OnceLock::new());
        let tls = probing_tls(&Trust::Anyone, proven.clone()).unwrap();
        let mut probe = ClientConnection::new(Arc::new(tls), ServerName::try_from(SERVER_NAME).unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(there.server_tls(&Trust::Anyone, None).unwrap())).unwrap();
        let (mut hello, mut answer, mut last) = (Vec::new(), Vec::new(), Vec::new());
        pass(&mut probe, &mut hello);
        server.read_tls(&mut &hello[..]).unwrap();
        server.process_new_packets().unwrap();
        pass(&mut server, &mut answer);
        probe.read_tls(&mut &answer[..]).unwrap();
        assert!(probe.process_new_packets().is_err() && probe.is_handshaking());
        assert_eq!(proven.get(), Some(&there.peer_id()));
        pass(&mut probe, &mut last);
        server.read_tls(&mut &last[..]).unwrap();
        // All that comes is that it ends: no certificate, no end of a handshake, no bytes.
        let ended = server.process_new_packets().unwrap_err();
        assert_eq!(ended, Error::AlertReceived(AlertDescription::AccessDenied));
        assert!(server.peer_certificates().is_none() && server.is_handshaking());
    }

    /// A certificate is public: without its key it proves nothing.
    #[test]
    fn a_certificate_of_another_key_proves_nothing() {
        let (there, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let forged = Identity { certificate: there.certificate.clone(), ..other };
        let proven = Arc::new(OnceLock::new());
        let tls = probing_tls(&Trust::Anyone, proven.clone()).unwrap();
        let mut probe = ClientConnection::new(Arc::new(tls), ServerName::try_from(SERVER_NAME).unwrap()).unwrap();
        let Ok(tls) = forged.server_tls(&Trust::Anyone, None) else { return };
        let mut server = ServerConnection::new(Arc::new(tls)).unwrap();
        let (mut hello, mut answer) = (Vec::new(), Vec::new());
        pass(&mut probe, &mut hello);
        server.read_tls(&mut &hello[..]).unwrap();
        server.process_new_packets().unwrap();
        pass(&mut server, &mut answer);
        probe.read_tls(&mut &answer[..]).unwrap();
        assert!(probe.process_new_packets().is_err());
        assert_eq!(proven.get(), None);
    }
}
