//! Who somebody is to a registry, whatever told us.

use std::fmt;

/// Who somebody is to a registry.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password, as they stand behind `Basic`.
    Basic(String),
    /// A token for which the registry's service gives others (`identitytoken`), as Azure's registries have.
    Identity(String),
}

/// Without what is secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic(_) => "Basic",
            Credentials::Identity(_) => "Identity",
        })
    }
}
