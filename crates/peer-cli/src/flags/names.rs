//! What becomes of files whose names are doubtful.

use clap::{Args, ValueEnum};
use peer::NamePolicy;

/// What becomes of files whose names are doubtful.
#[derive(Debug, Clone, Copy, Args)]
pub struct NameArguments {
    /// What to do about doubtful names
    ///
    /// What to do about names that are hidden at the top of a home or the working folder, would be read there by these
    /// programs or by others, are none on this platform or the file system there, or the same as another one there: refuse
    /// the download, skip those files, or rename them, as %2Ebashrc. Where it is given, also about names with control
    /// characters or invisible marks [default: refuse]
    #[arg(long, value_name = "POLICY", value_enum)]
    names: Option<NameAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NameAction {
    Refuse,
    Skip,
    Rename,
}

impl NameArguments {
    /// As the library takes it.
    pub fn policy(self) -> NamePolicy {
        match self.names {
            None => NamePolicy::Default,
            Some(NameAction::Refuse) => NamePolicy::Refuse,
            Some(NameAction::Skip) => NamePolicy::Skip,
            Some(NameAction::Rename) => NamePolicy::Rename,
        }
    }
}
