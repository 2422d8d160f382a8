//! A `.torrent` of one file (BEP 3).

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha1::{Digest, Sha1};

/// Pieces are as large as torrents usually have them: a power of two, some 1,000 of them, and no smaller than this.
const LEAST_PIECE: u64 = 256 << 10;

/// Writes one, with the URL of a tracker if there is one.
pub(super) fn write(torrent: &Path, file: &Path, announce: Option<&str>) -> anyhow::Result<()> {
    let len = file.metadata()?.len();
    let piece = (len / 1024).next_power_of_two().max(LEAST_PIECE);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let info = dictionary(&[
        ("length", integer(len)),
        ("name", string(name.as_bytes())),
        ("piece length", integer(piece)),
        ("pieces", string(&digests(file, piece)?)),
    ]);
    let mut fields = vec![("info", info)];
    fields.extend(announce.map(|url| ("announce", string(url.as_bytes()))));
    Ok(fs::write(torrent, dictionary(&fields))?)
}

fn digests(file: &Path, piece: u64) -> anyhow::Result<Vec<u8>> {
    let (mut file, mut digests, mut bytes) = (File::open(file)?, Vec::new(), Vec::new());
    while file.by_ref().take(piece).read_to_end(&mut bytes)? > 0 {
        digests.extend_from_slice(&Sha1::digest(&bytes));
        bytes.clear();
    }
    Ok(digests)
}

fn integer(number: u64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// Keys stand in the order of their bytes.
fn dictionary(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort();
    let inside: Vec<u8> =
        fields.iter().flat_map(|(key, value)| [string(key.as_bytes()), value.clone()].concat()).collect();
    [b"d", &inside[..], b"e"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_what_the_specification_says() {
        let folder = tempfile::tempdir().unwrap();
        let (file, torrent) = (folder.path().join("abc"), folder.path().join("abc.torrent"));
        fs::write(&file, "abc").unwrap();
        write(&torrent, &file, Some("http://127.0.0.1:1/a")).unwrap();
        // SHA-1 of "abc" as FIPS 180 gives it.
        let digest = b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
        let expected = [
            b"d8:announce20:http://127.0.0.1:1/a4:infod6:lengthi3e4:name3:abc12:piece lengthi262144e6:pieces20:",
            &digest[..],
            b"ee",
        ]
        .concat();
        assert_eq!(fs::read(&torrent).unwrap(), expected);
    }
}
