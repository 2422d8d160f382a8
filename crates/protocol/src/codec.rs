//! The one file that uses bincode: messages to bytes and back, never trusting a length.
//!
//! bincode's own limit bounds neither the allocation for a sequence nor the encoded size, and trailing bytes
//! pass unnoticed. So every sequence in a message goes through [`bounded`], which caps its count before it
//! allocates; what is encoded is checked against the cap; and no byte may be left over.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message that travels in a frame, with the most bytes its encoding may take.
pub trait Wire: Serialize + DeserializeOwned {
    /// Most bytes of one encoded message.
    const MAX_BYTES: usize;

    /// The message as bytes.
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let bytes = bincode::serde::encode_to_vec(self, bincode::config::standard())
            .map_err(|error| EncodeError::Invalid(error.to_string()))?;
        if bytes.len() > Self::MAX_BYTES { Err(EncodeError::TooLong(bytes.len())) } else { Ok(bytes) }
    }

    /// The message that `bytes`, and all of them, stand for.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let config = bincode::config::standard().with_limit::<MAX_MESSAGE_BYTES>();
        // Borrowed: a string is cut out of what is there. Otherwise bincode would allocate what its length claims first.
        let (message, used) = bincode::serde::borrow_decode_from_slice(bytes, config)
            .map_err(|error| DecodeError::Invalid(error.to_string()))?;
        if used != bytes.len() {
            return Err(DecodeError::Trailing(bytes.len() - used));
        }
        Ok(message)
    }
}

/// Most bytes of any message. The largest is a manifest's header.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than such a message may be.
    #[error("a message of {0} bytes is over the limit")]
    TooLong(usize),
    /// Not an encoding of such a message.
    #[error("malformed message: {0}")]
    Invalid(String),
    /// Bytes are left over behind the message.
    #[error("{0} bytes behind the message")]
    Trailing(usize),
}

/// A message that may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Longer than such a message may be.
    #[error("a message of {0} bytes is over the limit")]
    TooLong(usize),
    /// It has no encoding.
    #[error("message without an encoding: {0}")]
    Invalid(String),
}

/// `#[serde(with = "bounded::<N>")]`-like (de)serialisation for sequences: at most `N` items, counted before
/// anything is allocated.
pub(crate) mod bounded {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

    struct Capped<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Capped<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
            if sequence.size_hint().is_some_and(|count| count > N) {
                return Err(A::Error::custom(format!("more than {N} items")));
            }
            // No capacity from the claimed count: the vector grows with what is really there.
            let mut items = Vec::new();
            while let Some(item) = sequence.next_element()? {
                if items.len() == N {
                    return Err(A::Error::custom(format!("more than {N} items")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    /// For `#[serde(deserialize_with = "bounded::vec::<_, _, N>")]`.
    pub(crate) fn vec<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Capped::<T, N>(PhantomData))
    }
}
