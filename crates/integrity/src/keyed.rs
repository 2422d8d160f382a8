//! BLAKE3 with a key: keys from secrets, and proofs that someone has one.
//!
//! Two proofs are compared in constant time, so that how long a wrong one takes says nothing of the right one.

/// A key. Everyone who has it can make and check proofs. It is never shown.
#[derive(Clone, Copy)]
pub struct Key([u8; 32]);

/// What nobody without the key can make. Compared in constant time.
#[derive(Debug, Clone, Copy)]
pub struct Mac(blake3::Hash);

impl Key {
    /// The key for one purpose from a secret, as `derive_key` of BLAKE3 makes it. `context` is a constant that names the
    /// purpose, and no other use has the same.
    pub fn derive(context: &str, secret: &[u8]) -> Self {
        Key(blake3::derive_key(context, secret))
    }

    /// A key from bytes that are uniformly random already.
    pub fn new(bytes: [u8; 32]) -> Self {
        Key(bytes)
    }

    /// The proof over these parts. Each has its length before it, so that no two lists of parts are the same bytes.
    pub fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Mac(hasher.finalize())
    }

    /// The key's bytes, for what is derived from it and is not secret itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Mac {
    /// The bytes that travel.
    pub fn bytes(&self) -> [u8; 32] {
        *self.0.as_bytes()
    }

    /// Whether these bytes are this proof, in constant time.
    pub fn is(&self, bytes: &[u8; 32]) -> bool {
        self.0 == *bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_depends_on_key_purpose_and_every_part() {
        let proof = |context: &str, secret: &[u8], parts: &[&[u8]]| Key::derive(context, secret).mac(parts).bytes();
        let one = proof("a", b"secret", &[b"ab", b"c"]);
        assert_eq!(one, proof("a", b"secret", &[b"ab", b"c"]));
        for other in [
            proof("b", b"secret", &[b"ab", b"c"]),
            proof("a", b"Secret", &[b"ab", b"c"]),
            proof("a", b"secret", &[b"a", b"bc"]),
            proof("a", b"secret", &[b"ab", b"c", b""]),
            proof("a", b"secret", &[b"abc"]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_proof_is_itself_and_nothing_else() {
        let mac = Key::new([7; 32]).mac(&[b"x"]);
        assert!(mac.is(&mac.bytes()));
        for bit in 0..256 {
            let mut other = mac.bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!mac.is(&other), "bit {bit}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key(…)");
    }
}
