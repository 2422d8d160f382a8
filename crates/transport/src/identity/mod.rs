//! Who a peer is: an Ed25519 key and a certificate of it.
//!
//! A peer's id is the digest of its public key. Both sides of a connection show a certificate and prove that they hold
//! its key; the dialler also demands one certain id. In an open swarm a certificate is signed by its own key: no authority
//! is asked and no name is checked, the id is the name. In a closed swarm it must be signed by one of the swarm's
//! authorities as well; the id stays the same. What is in which file: `pem` reads and writes, `authority` signs,
//! `folder` keeps the files of a closed swarm, `trust` decides whom to take, `tls` says so to rustls.

mod authority;
mod folder;
mod pem;
mod probe;
mod tls;
mod trust;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Key, PeerId};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::{CertificateError, Error};

pub use authority::{Authority, from_now};
pub use folder::{CertRequest, Certs, FileChange};
pub(crate) use probe::probing_tls;
pub use tls::random;
pub(crate) use tls::{EXPORTER, Meant, SERVER_NAME, exporter_for, not_admitted, not_taken, offers_our_protocol};
pub use trust::Trust;

/// A key and its certificate.
#[derive(Clone)]
pub struct Identity {
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    certificate: CertificateDer<'static>,
    id: PeerId,
    /// The key's file, locked, so that no two running peers have one id.
    held: Option<Arc<File>>,
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The file holds nothing.
    #[error(
        "{0} is empty: the disk was full, or the power failed, when it was written. Put it back from a copy; or delete it, and \
         what belongs to it, to have a new one made"
    )]
    Blank(PathBuf),
    /// A key is lost, and its certificate is not.
    #[error(
        "{key} is empty, and {certificate} shows that there was a key: the disk was full, or the power failed. Put the key back \
         from a copy; or delete both files to have a new key made: then the id is another, and if it is the tracker's, tickets \
         from before lead nowhere"
    )]
    LostKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// No key can be made.
    #[error("no key or certificate can be made: {0}")]
    Generate(String),
    /// A certificate is too old.
    #[error("the certificate {path} expired on {on}: have it made anew, for the same key, by `tracker --init-closed`")]
    Expired {
        /// Its file.
        path: PathBuf,
        /// The last day.
        on: String,
    },
    /// A certificate is too new.
    #[error("the certificate {path} is not valid before {from}: is the clock of this machine right?")]
    NotYetValid {
        /// Its file.
        path: PathBuf,
        /// The first day.
        from: String,
    },
    /// A certificate is not signed by an authority that counts.
    #[error("the certificate {0} is not of a CA that is trusted here: is it of another swarm, or is its CA replaced?")]
    Stranger(PathBuf),
    /// A certificate and a key do not belong together.
    #[error("the certificate {certificate} is not that of the key {key}")]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Another process is this peer already.
    #[error("the key {0} is in use by a peer that runs: every peer needs a key and certificate of its own")]
    InUse(PathBuf),
    /// A folder has certificates, but none is left.
    #[error(
        "running peers use all {used} certificates in {folder}: have one more made by `tracker --init-closed --name \
         NAME`, and copy NAME.pem and NAME.key there"
    )]
    NoneFree {
        /// The folder.
        folder: PathBuf,
        /// How many are in use.
        used: usize,
    },
    /// A folder has no certificate for a peer.
    #[error(
        "{0} holds no certificate for a peer: have one made by `tracker --init-closed --name NAME` where the CA is, and \
         copy NAME.pem and NAME.key there"
    )]
    NoCertificate(PathBuf),
    /// The authority's key signs under another name than its certificate has.
    #[error("{0} is not a CA that `tracker --init-closed` made: sign with the tools that made it")]
    ForeignAuthority(PathBuf),
    /// A name that a file of a certificate may not have.
    #[error(
        "{0:?} is no name for a certificate: letters, digits, -, _ and single dots between them will do, but neither `ca` nor `tracker`"
    )]
    Name(String),
    /// The authority was replaced once before, and its predecessor is still there.
    #[error("{0} is still there from the last time: remove it once nobody trusts it any more, and try again")]
    Rotating(PathBuf),
}

impl Identity {
    /// A new identity that nobody had before.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::of_key(&authority::generate_key()?)
    }

    /// With a certificate that the key signs itself.
    fn of_key(key: &KeyPair) -> Result<Self, IdentityError> {
        let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(authority::unable)?;
        let certificate = params.self_signed(key).map_err(authority::unable)?.der().clone();
        let id = peer_id_of(&certificate).map_err(|error| IdentityError::Generate(error.to_string()))?;
        Ok(Identity { key: secret(key), certificate, id, held: None })
    }

    /// The identity whose key is in this PEM file, for an open swarm; made there if the file is missing or empty. The key file
    /// can be read by its owner only.
    pub fn load_or_create(key_path: &Path) -> Result<Self, IdentityError> {
        if let Some(folder) = key_path.parent() {
            let here = Path::new(".");
            atomic_file::sweep(if folder.as_os_str().is_empty() { here } else { folder });
        }
        let load = || Self::of_key(&pem::read_key(pem::open(key_path)?, key_path)?);
        let made = match load() {
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let key = authority::generate_key()?;
                match pem::write_key(key_path, &key) {
                    // Another program that starts now was faster.
                    Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => None,
                    written => Some(written.map(|()| key)?),
                }
            }
            Err(IdentityError::Blank(_)) => {
                tracing::warn!(
                    "{} was empty, as a full disk leaves it: a new key is made, and with it a new id",
                    key_path.display()
                );
                let key = authority::generate_key()?;
                pem::fill_key(key_path, &key)?.then_some(key)
            }
            loaded => return loaded,
        };
        made.map_or_else(load, |key| Self::of_key(&key))
    }

    /// The identity of this certificate and key, for a closed swarm whose members are trusted like this. While it is in
    /// use, nobody else on this machine can load it.
    pub fn load(certificate_path: &Path, key_path: &Path, trust: &Trust) -> Result<Self, IdentityError> {
        let file = pem::open(key_path)?;
        let held = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(IdentityError::InUse(key_path.to_owned())),
            Err(TryLockError::Error(error)) => {
                tracing::warn!("{}: {error}: it cannot be seen whether another peer uses it", key_path.display());
                false
            }
        };
        let mut identity = Self::read(certificate_path, key_path, &file)?;
        if held && cfg!(windows) {
            // Nobody else can read what is locked there, and renewing the certificate reads the key. A lock that is
            // shared keeps other peers out as well, for each wants it alone at first.
            // Wine says of what it has unlocked that it could not.
            let _ = file.unlock();
            file.try_lock_shared().map_err(|_| IdentityError::InUse(key_path.to_owned()))?;
        }
        let now = UnixTime::now();
        trust::valid_at(&identity.certificate, now).map_err(|error| error.about(certificate_path))?;
        let check = trust.check(&identity.certificate, &[], now, webpki::KeyUsage::client_auth());
        check.map_err(|_| IdentityError::Stranger(certificate_path.to_owned()))?;
        identity.held = held.then(|| Arc::new(file));
        Ok(identity)
    }

    /// A certificate and its key, of any signer.
    fn read(certificate_path: &Path, key_path: &Path, key: &File) -> Result<Self, IdentityError> {
        let (certificate, key, id) = pem::read_pair(certificate_path, key_path, key)?;
        Ok(Identity { key: secret(&key), certificate, id, held: None })
    }

    /// Writes the certificate, which is public, as PEM: others read the id from it.
    pub fn write_certificate(&self, path: &Path) -> Result<(), IdentityError> {
        pem::write_certificate(path, &self.certificate)
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A key that follows from this identity's private key, for one purpose and `material`: the same again for everyone who has the
    /// identity, and random for everyone else.
    pub fn derive_key(&self, context: &str, material: &[u8]) -> [u8; 32] {
        Key::derive(context, self.key.secret_pkcs8_der()).mac(&[material]).bytes()
    }

    /// The id that this identity proves.
    pub fn peer_id(&self) -> PeerId {
        self.id
    }
}

fn secret(key: &KeyPair) -> Arc<PrivatePkcs8KeyDer<'static>> {
    Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// Whether the bytes of a file hold a private key as peers, trackers and authorities have: an Ed25519 key in PEM, whatever
/// else stands around it.
pub fn holds_private_key(bytes: &[u8]) -> bool {
    pem::holds_key(bytes)
}

/// The id of the peer whose certificate is in a PEM file.
pub fn peer_id_of_certificate_pem(path: &Path) -> Result<PeerId, IdentityError> {
    peer_id_of(&pem::read_certificate(path)?).map_err(|_| IdentityError::Malformed(path.to_owned()))
}

/// The id of a certificate's holder.
pub(crate) fn peer_id_of(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(PeerId::of_public_key(&parsed.subject_public_key_info()))
}

#[cfg(test)]
mod tests;
