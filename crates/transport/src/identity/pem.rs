//! Keys and certificates in PEM files. A key's file is readable by its owner only and never written over; a certificate,
//! which is public, is replaced in one step, because a peer may be reading it. Both are whole or not there: a full disk
//! leaves nothing that a later start trips over.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomic_file::{Prepared, Readers};
use memchr::memmem;
use protocol::PeerId;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::{IdentityError, peer_id_of};

/// Most bytes of a file that are read: a bundle of some hundred certificates.
const MOST: u64 = 1 << 20;
/// Looks at a lock that is held for as long as a rename takes.
const PATIENCE: u32 = 100;
/// Time between two of them.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn file(path: &Path) -> impl Fn(io::Error) -> IdentityError {
    move |source| IdentityError::File { path: path.to_owned(), source }
}

/// All of a file that is not absurdly large.
pub(super) fn read(mut from: impl Read, path: &Path) -> Result<String, IdentityError> {
    // Windows reads nothing of a file that another program has locked, for the moment that a key takes to be loaded.
    let read = atomic_file::patiently(|| {
        let mut bytes = Vec::new();
        from.by_ref().take(MOST).read_to_end(&mut bytes).map(|_| bytes)
    });
    text_of(read.map_err(file(path))?).ok_or_else(|| IdentityError::Malformed(path.to_owned()))
}

/// The text of a file, however an editor or PowerShell of Windows has saved it: with a mark of its order of bytes in front, or in two
/// bytes a character.
fn text_of(bytes: Vec<u8>) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, []) = bytes.as_chunks() else { return None };
        String::from_utf16(&units.iter().copied().map(unit).collect::<Vec<_>>()).ok()
    };
    match &bytes[..] {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Whether this was never written: programs before this one left an empty file on a full disk, and a file system whose power
/// failed leaves one of zeros.
fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == 0 || byte.is_ascii_whitespace())
}

/// The Ed25519 key in a file that was opened already.
pub(super) fn read_key(from: impl Read, path: &Path) -> Result<KeyPair, IdentityError> {
    let malformed = || IdentityError::Malformed(path.to_owned());
    let text = read(from, path)?;
    if is_blank(&text) {
        return Err(IdentityError::Blank(path.to_owned()));
    }
    let key = KeyPair::from_pem(&text).map_err(|_| malformed())?;
    if key.algorithm() == &PKCS_ED25519 { Ok(key) } else { Err(malformed()) }
}

/// Most letters of a key that is looked for in a text: an Ed25519 key has some hundred.
const LONGEST_KEY: usize = 1024;

/// Whether there is an Ed25519 key somewhere in a text, whatever that has made of its lines: indented, quoted, in a string of
/// JSON or in two bytes a character.
pub(super) fn holds_key(text: &[u8]) -> bool {
    const MARK: &str = "-----BEGIN PRIVATE KEY-----";
    let narrow: Vec<u8>;
    let text = if text.contains(&0) {
        narrow = text.iter().copied().filter(|&byte| byte != 0).collect();
        &narrow
    } else {
        text
    };
    memmem::find_iter(text, MARK).any(|at| is_key(&text[at + MARK.len()..]))
}

/// Whether a text begins with what stands between the marks of an Ed25519 key.
fn is_key(text: &[u8]) -> bool {
    let (mut letters, mut rest) = (String::new(), text);
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'-', _) => break,
            // The end of a line in a string.
            (b'\\', [b'n' | b'r' | b't', behind @ ..]) => rest = behind,
            (byte, _) if byte.is_ascii_alphanumeric() || b"+/=".contains(byte) => letters.push(char::from(*byte)),
            _ => {}
        }
        if letters.len() > LONGEST_KEY {
            return false;
        }
    }
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{letters}\n-----END PRIVATE KEY-----\n");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
    der.is_ok_and(|der| KeyPair::try_from(&der).is_ok_and(|key| key.algorithm() == &PKCS_ED25519))
}

/// Opens a file for reading.
pub(super) fn open(path: &Path) -> Result<File, IdentityError> {
    atomic_file::open_patiently(|| File::open(path)).map_err(file(path))
}

/// Writes a key beside its file, and makes the folders to it.
pub(super) fn prepare_key(path: &Path, key: &KeyPair) -> Result<Prepared, IdentityError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(file(path))?;
    }
    atomic_file::prepare(path, key.serialize_pem().as_bytes(), Readers::Owner).map_err(file(path))
}

/// Makes a file of a key, which must not be there yet, and the folders to it.
pub(super) fn write_key(path: &Path, key: &KeyPair) -> Result<(), IdentityError> {
    prepare_key(path, key)?.create().map_err(file(path))
}

/// Fills a key's file that holds none. False if someone else has done so meanwhile.
pub(super) fn fill_key(path: &Path, key: &KeyPair) -> Result<bool, IdentityError> {
    let filled = prepare_key(path, key)?;
    let turn = file_of_turn(path);
    let held = File::options().write(true).create(true).truncate(false).open(&turn).map_err(file(&turn))?;
    // Of two programs that start now, the second finds the key of the first.
    for _ in 0..PATIENCE {
        match held.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            // Where there are no locks nobody waits for one.
            Ok(()) | Err(TryLockError::Error(_)) => break,
        }
    }
    let result = match is_blank(&read(open(path)?, path)?) {
        true => filled.replace().map(|()| true).map_err(file(path)),
        false => Ok(false),
    };
    if turn != path {
        // While it is held: a program that waits for it finds the key.
        let _ = fs::remove_file(turn);
    }
    result
}

/// The file that who fills a key holds locked: the key's own or, since Windows neither reads a file that is locked nor replaces
/// one that is open, another one beside it.
fn file_of_turn(path: &Path) -> PathBuf {
    if cfg!(windows) { path.with_extension("key-lock") } else { path.to_owned() }
}

/// The certificates in a file, at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = read(open(path)?, path)?;
    if is_blank(&text) {
        return Err(IdentityError::Blank(path.to_owned()));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(IdentityError::Malformed(path.to_owned())),
    }
}

/// The first certificate in a file.
pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    Ok(read_certificates(path)?.remove(0))
}

/// A certificate and its key, out of a file that was opened already, and the id that they prove. Nothing if one is not the
/// other's.
pub(super) fn read_pair(
    certificate_path: &Path,
    key_path: &Path,
    key: impl Read,
) -> Result<(CertificateDer<'static>, KeyPair, PeerId), IdentityError> {
    let key = read_key(key, key_path)?;
    let certificate = read_certificate(certificate_path)?;
    let id = PeerId::of_public_key(&key.subject_public_key_info());
    if peer_id_of(&certificate).ok() != Some(id) {
        let (certificate, key) = (certificate_path.to_owned(), key_path.to_owned());
        return Err(IdentityError::OtherKey { certificate, key });
    }
    Ok((certificate, key, id))
}

/// Writes a certificate beside its file.
pub(super) fn prepare_certificate(path: &Path, certificate: &CertificateDer<'_>) -> Result<Prepared, IdentityError> {
    use std::fmt::Write as _;
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in base64(certificate).as_bytes().chunks(64) {
        let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    // Where programs before this one wrote it; a full disk left it there.
    let _ = fs::remove_file(path.with_extension("pem.new"));
    atomic_file::prepare(path, pem.as_bytes(), Readers::Everyone).map_err(file(path))
}

/// Writes a certificate in place of the one that is there.
pub(super) fn write_certificate(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), IdentityError> {
    prepare_certificate(path, certificate)?.replace().map_err(file(path))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As `Get-Content ca.pem > copy.pem` in PowerShell 5, and Notepad, save it.
    #[test]
    fn pem_files_that_windows_has_saved_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = super::super::authority::generate_key().unwrap();
        let pem = key.serialize_pem().replace('\n', "\r\n");
        let units: Vec<u16> = pem.encode_utf16().collect();
        let wide = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            mark.into_iter().chain(units.iter().flat_map(|&unit| bytes(unit))).collect::<Vec<u8>>()
        };
        let marked = [b"\xef\xbb\xbf", pem.as_bytes()].concat();
        for bytes in [marked, wide([0xff, 0xfe], u16::to_le_bytes), wide([0xfe, 0xff], u16::to_be_bytes)] {
            fs::write(&path, bytes).unwrap();
            let found = read_key(open(&path).unwrap(), &path).unwrap();
            assert_eq!(found.serialize_der(), key.serialize_der());
        }
        fs::write(&path, [0xff, 0xfe, 0x2d]).unwrap();
        assert!(matches!(read_key(open(&path).unwrap(), &path), Err(IdentityError::Malformed(_))));
    }
}
