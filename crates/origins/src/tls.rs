//! What is wrong with the TLS of a server, where no other try would mend it.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Said of a certificate that no authority of this machine vouches for.
const UNTRUSTED: &str =
    "is signed by nobody that this machine trusts: install your company's CA, or name its file in SSL_CERT_FILE";

/// What is wrong, if that is why a request failed: the server does not prove who it is, or has no TLS that this program knows.
pub(crate) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let (mut next, mut connecting) = (Some(error), false);
    while let Some(error) = next {
        connecting |= error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return sentence(tls, connecting);
        }
        // What an error of input and output holds is not its source, and may be such an error, too.
        let mut held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        while let Some(inner) = held {
            if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                return sentence(tls, connecting);
            }
            held = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        }
        next = error.source();
    }
    None
}

fn sentence(error: &rustls::Error, connecting: bool) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(wrong) => Some(certificate_words(wrong)),
        // A connection that was there has broken.
        _ if !connecting => None,
        rustls::Error::InvalidMessage(_) => {
            Some("the server does not speak TLS at this port: does its URL begin with http://?".to_owned())
        }
        rustls::Error::PeerIncompatible(_) => Some(format!("the server has no TLS that is known here: {error}")),
        // As servers say that start, or have too much to do.
        rustls::Error::AlertReceived(AlertDescription::InternalError) => None,
        rustls::Error::AlertReceived(_) => Some(format!("the server refuses the TLS connection: {error}")),
        _ => None,
    }
}

/// What is wrong with a server's certificate, and what to do.
fn certificate_words(error: &CertificateError) -> String {
    let wrong = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: the server needs a new one, or the clock of this machine is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: the clock of this machine, or of who has signed it, is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not valid for this name: check the host in the URL"
        }
        CertificateError::UnknownIssuer => UNTRUSTED,
        // It has signed itself.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => UNTRUSTED,
        error => return format!("the server's certificate cannot be used: {error}"),
    };
    format!("the server's certificate {wrong}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use reqwest::{Certificate, Client};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use crate::client::{answer, build, use_ring};
    use crate::reader::persist;
    use crate::{Limits, OriginError};

    /// A server that answers whoever takes its certificate, which is its own authority.
    fn server(name: &str, last_year: i32) -> (SocketAddr, Certificate) {
        use_ring();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let authority = Certificate::from_der(certificate.der()).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                if tls.read(&mut [0; 4096]).is_ok() {
                    let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                }
            }
        });
        (address, authority)
    }

    /// A server that says this whatever it is asked, and how often it was asked.
    fn saying(words: &'static [u8]) -> (SocketAddr, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicU32>::default());
        let count = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(words);
                if !words.is_empty() {
                    // Until the other side has read it, and closes.
                    let _ = stream.read(&mut [0; 4096]);
                }
            }
        });
        (address, asked)
    }

    /// Asks as often as an origin does.
    async fn ask(address: SocketAddr, authority: Option<&Certificate>) -> Result<(), OriginError> {
        let client = build(|| match authority {
            Some(authority) => Client::builder().no_proxy().tls_certs_only([authority.clone()]),
            None => Client::builder().no_proxy(),
        });
        let client = client.unwrap();
        let limits = Limits::default().pause(Duration::from_millis(5)).patience(Duration::from_millis(200));
        let url = format!("https://{address}/file");
        persist(&limits, || answer(client.get(&url), "the file", &limits)).await.map(drop)
    }

    #[tokio::test]
    async fn a_server_that_does_not_prove_who_it_is_is_refused_in_a_sentence() {
        let (address, authority) = server("127.0.0.1", 4000);
        ask(address, Some(&authority)).await.unwrap();
        let said = async |address, authority: Option<&Certificate>| match ask(address, authority).await {
            Err(OriginError::Refused { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        let untrusted = said(address, None).await;
        assert!(untrusted.ends_with("name its file in SSL_CERT_FILE"), "{untrusted}");
        let (address, authority) = server("127.0.0.1", 2000);
        assert!(said(address, Some(&authority)).await.contains("expired"));
        let (address, authority) = server("other.example", 4000);
        assert!(said(address, Some(&authority)).await.contains("not valid for this name"));
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_asked_again() {
        for (words, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], "does not speak TLS"),
            // Fatal: handshake_failure, protocol_version.
            (&[21, 3, 3, 0, 2, 2, 40], "refuses the TLS connection"),
            (&[21, 3, 3, 0, 2, 2, 70], "refuses the TLS connection"),
        ] {
            let (address, asked) = saying(words);
            let error = ask(address, None).await.unwrap_err();
            assert!(!error.is_transient() && error.to_string().contains(expected), "{error}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{error}");
        }
        // internal_error, and one that closes without a word.
        for words in [&[21, 3, 3, 0, 2, 2, 80][..], &[]] {
            let (address, asked) = saying(words);
            let error = ask(address, None).await.unwrap_err();
            assert!(error.is_transient() && asked.load(Ordering::SeqCst) > 1, "{error}");
        }
    }
}
