//! The signature of a program for macOS, verified without macOS: Apple silicon kills a program that has none, or whose
//! bytes were changed after it was signed, for one by stripping it.
//!
//! It is what linkers put there of their own accord ("ad hoc"): the digest of each page, and nobody's name.

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

const MAGIC_64: u32 = 0xfeed_facf;
const LC_CODE_SIGNATURE: u32 = 0x1d;
const SUPER_BLOB: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
/// `CS_HASHTYPE_SHA256`.
const SHA256: u8 = 2;
const CPU_X86_64: u32 = 0x0100_0007;

/// Fails if a program's signature does not fit it. An Intel Mac runs a program without one.
pub(super) fn check_signature(program: &[u8]) -> anyhow::Result<()> {
    let little = |at: usize| number(program, at).map(u32::swap_bytes);
    ensure!(little(0)? == MAGIC_64, "it is no program for macOS");
    let (cpu, commands) = (little(4)?, little(16)?);
    let mut at = 32;
    for _ in 0..commands {
        if little(at)? == LC_CODE_SIGNATURE {
            let (from, len) = (little(at + 8)? as usize, little(at + 12)? as usize);
            let signature = program.get(from..from + len).context("its signature is cut off")?;
            return check_directory(program, signature);
        }
        at += little(at + 4)? as usize;
    }
    ensure!(cpu == CPU_X86_64, "it has no signature: macOS would kill it");
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> anyhow::Result<u32> {
    let bytes = bytes.get(at..at + 4).context("it is cut off")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

/// Compares the digests of pages with those in the signature.
fn check_directory(program: &[u8], signature: &[u8]) -> anyhow::Result<()> {
    ensure!(number(signature, 0)? == SUPER_BLOB, "its signature is of no known kind");
    for index in 0..number(signature, 8)? as usize {
        let at = number(signature, 12 + 8 * index + 4)? as usize;
        if number(signature, at)? != CODE_DIRECTORY {
            continue;
        }
        let directory = signature.get(at..).context("its signature is cut off")?;
        let (hashes, slots, limit) =
            (number(directory, 16)? as usize, number(directory, 28)? as usize, number(directory, 32)? as usize);
        let [size, kind, _, page] = number(directory, 36)?.to_be_bytes();
        ensure!(kind == SHA256 && size == 32 && page < 32, "its digests are of no known kind");
        let code = program.get(..limit).context("it is shorter than what was signed")?;
        let pages = code.chunks(1 << page);
        ensure!(pages.len() == slots, "it has {} pages, and {slots} were signed", pages.len());
        for (number, bytes) in pages.enumerate() {
            let expected = directory.get(hashes + 32 * number..hashes + 32 * (number + 1));
            ensure!(
                expected == Some(&Sha256::digest(bytes)[..]),
                "page {number} is not what was signed: macOS would kill it"
            );
        }
        return Ok(());
    }
    bail!("its signature says nothing of its pages")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one page and a bit, signed.
    fn signed() -> Vec<u8> {
        const LEN: usize = 5000;
        let mut program: Vec<u8> = Vec::new();
        let cpu = 0x0100_000c_u32;
        for word in [MAGIC_64, cpu, 0, 2, 1, 16, 0, 0, LC_CODE_SIGNATURE, 16, LEN as u32, 20 + 44 + 64] {
            program.extend(word.to_le_bytes());
        }
        program.resize(LEN, 7);
        let digests: Vec<u8> = program.chunks(4096).flat_map(|page| Sha256::digest(page).to_vec()).collect();
        let mut signature: Vec<u8> = Vec::new();
        let directory =
            [CODE_DIRECTORY, 44 + 64, 0, 0, 44, 0, 0, 2, LEN as u32, u32::from_be_bytes([32, SHA256, 0, 12]), 0];
        for word in [SUPER_BLOB, 20 + 44 + 64, 1, 0, 20].into_iter().chain(directory) {
            signature.extend(word.to_be_bytes());
        }
        program.extend(signature);
        program.extend(digests);
        program
    }

    #[test]
    fn a_program_that_was_changed_after_it_was_signed_is_found() {
        let program = signed();
        check_signature(&program).unwrap();
        let mut stripped = program.clone();
        stripped[4500] = 0;
        assert!(check_signature(&stripped).unwrap_err().to_string().contains("page 1"));
        let mut unsigned = program.clone();
        unsigned[32] = 0;
        assert!(check_signature(&unsigned).unwrap_err().to_string().contains("no signature"));
        assert!(check_signature(&program[..program.len() - 1]).is_err());
        assert!(check_signature(b"MZ").is_err());
    }
}
