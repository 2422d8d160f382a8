//! The authority of a closed swarm: a key whose certificate everyone trusts, and which signs everyone's own.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use atomic_file::Prepared;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::tls::{SERVER_NAME, random};
use super::trust::valid_at;
use super::{Identity, IdentityError, Trust, pem};

/// How long an authority lasts. To replace it is work for everyone, and nothing is gained by doing it often.
const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Certificates are valid from a little earlier than they were made: clocks differ, by half a day where a time zone is set wrongly.
const CLOCKS: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority with its secret key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new one, valid for ten years.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::new(generate_key()?)
    }

    fn new(key: KeyPair) -> Result<Self, IdentityError> {
        let mut params = params(&key);
        date(&mut params, &from_now(LIFETIME));
        params.serial_number = Some(serial());
        let certificate = params.self_signed(&key).map_err(unable)?.der().clone();
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// The one in these files.
    pub fn load(certificate_path: &Path, key_path: &Path) -> Result<Self, IdentityError> {
        let (certificate, key, _) = pem::read_pair(certificate_path, key_path, pem::open(key_path)?)?;
        valid_at(&certificate, UnixTime::now()).map_err(|error| error.about(certificate_path))?;
        let authority = Authority { issuer: Issuer::new(params(&key), key), certificate };
        // One that was made by other means may be called otherwise: what it signs would lead nowhere.
        let trial = authority.certify("trial", &Identity::generate()?, from_now(CLOCKS))?;
        let check = authority.trust().check(&trial.certificate, &[], UnixTime::now(), KeyUsage::client_auth());
        check.map_err(|_| IdentityError::ForeignAuthority(certificate_path.to_owned()))?;
        Ok(authority)
    }

    /// The one whose key is in this file, with a new certificate: the name is made of the key, so a peer that trusts a certificate
    /// from before trusts what this one signs.
    pub(super) fn of_key(key_path: &Path) -> Result<Self, IdentityError> {
        Self::new(pem::read_key(pem::open(key_path)?, key_path)?)
    }

    /// Writes its key and its certificate beside their files.
    pub(super) fn prepare(&self, certificate: &Path, key: &Path) -> Result<[Prepared; 2], IdentityError> {
        Ok([pem::prepare_key(key, self.issuer.key())?, pem::prepare_certificate(certificate, &self.certificate)?])
    }

    /// Writes its certificate in place of the one that is there.
    pub(super) fn write_certificate(&self, path: &Path) -> Result<(), IdentityError> {
        pem::write_certificate(path, &self.certificate)
    }

    /// What members of the swarm trust.
    pub fn trust(&self) -> Trust {
        Trust::Authorities([self.certificate.clone()].into())
    }

    /// The same identity, by a certificate of this authority. `name` is for people who look at it.
    pub fn certify(
        &self,
        name: &str,
        identity: &Identity,
        valid: Range<SystemTime>,
    ) -> Result<Identity, IdentityError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&identity.key, &PKCS_ED25519).map_err(unable)?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(unable)?;
        params.distinguished_name = called(name);
        date(&mut params, &valid);
        params.serial_number = Some(serial());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(unable)?.der().clone();
        Ok(Identity { certificate, held: None, ..identity.clone() })
    }
}

/// Valid from now on, for so long.
pub fn from_now(lifetime: Duration) -> Range<SystemTime> {
    SystemTime::now()..SystemTime::now() + lifetime
}

/// All that a signature needs can be told from the key: the name is made of it.
fn params(key: &KeyPair) -> CertificateParams {
    let id = protocol::PeerId::of_public_key(&key.subject_public_key_info()).to_string();
    let mut params = CertificateParams::default();
    params.distinguished_name = called(&format!("p2p-fileshare CA {}", &id[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    random(&mut bytes);
    bytes[0] &= 0x7f; // a positive number
    SerialNumber::from_slice(&bytes)
}

/// Sets the times of a certificate.
fn date(params: &mut CertificateParams, valid: &Range<SystemTime>) {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since(valid.start).saturating_sub(CLOCKS);
    params.not_after = epoch + since(valid.end);
}

pub(super) fn generate_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(unable)
}

pub(super) fn unable(error: rcgen::Error) -> IdentityError {
    IdentityError::Generate(error.to_string())
}

#[cfg(test)]
impl Authority {
    pub(super) fn certificate_for_tests(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// What a member's key signs in the member's name, as if it were an authority.
    pub(super) fn signed_by_a_member_for_tests(&self, member: &Identity) -> Identity {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&member.key, &PKCS_ED25519).expect("it is a key");
        let mut params = params(&key);
        params.distinguished_name = called("member");
        let forger = Authority { issuer: Issuer::new(params, key), certificate: member.certificate.clone() };
        forger.certify("forged", &Identity::generate().expect("a key"), from_now(CLOCKS)).expect("it signs")
    }
}
