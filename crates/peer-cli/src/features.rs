//! Parts of this program that a build may lack. Their flags are there in every build, so that one without them can say so.

use crate::error::{ExitCode, Failure};

/// A part that is there if the program was built with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Contents over HTTP.
    Gateway,
    /// What a monitoring system reads.
    Metrics,
    /// Buckets, web servers and hubs to read from.
    Origins,
}

impl Feature {
    /// Fails if this build lacks it. Asked before anything is begun.
    pub fn must_be_built(self) -> Result<(), Failure> {
        if self.is_built() { Ok(()) } else { Err(self.not_built()) }
    }

    /// What is said where this build lacks it.
    pub fn not_built(self) -> Failure {
        let (part, feature) = self.names();
        Failure::new(ExitCode::Usage, settings::not_built(part, "peer-cli", feature))
    }

    fn is_built(self) -> bool {
        match self {
            Feature::Gateway => cfg!(feature = "gateway"),
            Feature::Metrics => cfg!(feature = "metrics"),
            Feature::Origins => cfg!(feature = "origins"),
        }
    }

    /// What it is called in a sentence, and what cargo calls it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Feature::Gateway => ("the gateway", "gateway"),
            Feature::Metrics => ("metrics", "metrics"),
            Feature::Origins => ("origins", "origins"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_lacks_is_refused_with_the_whole_command_to_build_it() {
        for feature in [Feature::Gateway, Feature::Metrics, Feature::Origins] {
            match feature.must_be_built() {
                Ok(()) => assert!(feature.is_built(), "{feature:?}"),
                Err(Failure { code, message, .. }) => {
                    assert!(!feature.is_built() && code == ExitCode::Usage, "{feature:?}");
                    let command = format!("cargo build --release -p peer-cli --features {}", feature.names().1);
                    assert!(message.contains(&command), "{message}");
                }
            }
        }
    }
}
