//! Which certificates are accepted: any in an open swarm, those signed by its authorities in a closed one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::PeerId;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{IdentityError, pem};

/// Whom a transport lets in and talks to. A dialler always demands one certain peer as well.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// An open swarm: every peer that proves to hold the key of a certificate that this key signed.
    #[default]
    Anyone,
    /// A closed swarm: every peer that proves to hold the key of a certificate that one of these authorities signed, both ways.
    Authorities(Arc<[CertificateDer<'static>]>),
}

impl Trust {
    /// A closed swarm of the authorities whose certificates are in these PEM files: several while one replaces another.
    pub fn authorities(files: &[PathBuf]) -> Result<Self, IdentityError> {
        let (now, mut all) = (UnixTime::now(), Vec::new());
        for path in files {
            for certificate in pem::read_certificates(path)? {
                anchor_from_trusted_cert(&certificate).map_err(|_| IdentityError::Malformed(path.clone()))?;
                // The old one of two may expire before it is taken away.
                match valid_at(&certificate, now) {
                    Err(error) if files.len() == 1 => return Err(error.about(path)),
                    Err(error) => tracing::warn!("{}", error.about(path)),
                    Ok(()) => {}
                }
                all.push(certificate);
            }
        }
        Ok(Trust::Authorities(all.into()))
    }

    /// When a certificate that is to be taken now is not any more: at its end, or at that of the authority that signed it.
    /// In an open swarm it says nothing of anybody but its key, and has no end.
    pub(crate) fn until(&self, end: &CertificateDer<'_>) -> Option<SystemTime> {
        let Trust::Authorities(authorities) = self else { return None };
        let signed_by = |authority: &&CertificateDer<'static>| {
            let alone = Trust::Authorities([(*authority).clone()].into());
            alone.check(end, &[], UnixTime::now(), KeyUsage::client_auth()).is_ok()
        };
        let of_authorities = authorities.iter().filter(signed_by).filter_map(expires).max()?;
        Some(expires(end)?.min(of_authorities))
    }

    /// Whose certificate this is, if it is to be taken: exactly one, of an Ed25519 key. The list of schemes alone would
    /// not hold a peer to Ed25519: rustls checks a signature with any algorithm of the provider, offered or not.
    pub(super) fn check(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<PeerId, Error> {
        let unfit = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let parsed = EndEntityCert::try_from(end).map_err(|_| unfit())?;
        let key = parsed.subject_public_key_info();
        if !rest.is_empty() || key.len() != ED25519_SPKI.len() + 32 || !key.starts_with(&ED25519_SPKI) {
            return Err(unfit());
        }
        match self {
            Trust::Anyone => {
                // With the certificate as its own only authority, a valid path means that it signed itself.
                let itself = anchor_from_trusted_cert(end).map_err(|_| unfit())?;
                parsed
                    .verify_for_usage(&[webpki::ring::ED25519], &[itself], &[], now, usage, None, None)
                    .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
            }
            Trust::Authorities(authorities) => {
                // An anchor has no dates, so its certificate's are looked at here.
                let valid = authorities.iter().filter(|authority| valid_at(authority, now).is_ok());
                let anchors: Vec<_> = valid.filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
                parsed
                    .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], now, usage, None, None)
                    .map_err(|error| Error::InvalidCertificate(reason(&error)))?;
            }
        }
        Ok(PeerId::of_public_key(&key))
    }
}

/// What stands before the 32 bytes of every Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Which alert the other side gets.
fn reason(error: &webpki::Error) -> CertificateError {
    match *error {
        webpki::Error::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        webpki::Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        _ => CertificateError::UnknownIssuer,
    }
}

/// A certificate's time is over, or has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutOfDate {
    Expired(UnixTime),
    NotYet(UnixTime),
}

impl OutOfDate {
    pub(super) fn about(self, path: &std::path::Path) -> IdentityError {
        let path = path.to_owned();
        match self {
            OutOfDate::Expired(on) => IdentityError::Expired { path, on: day(on) },
            OutOfDate::NotYet(from) => IdentityError::NotYetValid { path, from: day(from) },
        }
    }
}

/// The day of a time, as 2026-11-25.
fn day(time: UnixTime) -> String {
    (rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_secs())).date().to_string()
}

/// When a certificate ends.
fn expires(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match valid_at(certificate, never) {
        Err(OutOfDate::Expired(not_after)) => {
            // Its last second counts.
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs() + 1))
        }
        _ => None,
    }
}

/// Whether a certificate is valid at this time; its signer does not matter here. webpki looks at the dates before it looks for a signer.
pub(super) fn valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), OutOfDate> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else { return Ok(()) };
    match parsed.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Err(OutOfDate::Expired(not_after)),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => Err(OutOfDate::NotYet(not_before)),
        _ => Ok(()),
    }
}
