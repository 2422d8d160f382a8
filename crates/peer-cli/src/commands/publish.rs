//! `peer-cli publish`: the manifest of what is at an origin, without a swarm: made by one read, kept, and perhaps put beside it, so
//! that nothing is read for it when it is shared later.

use clap::Args;

use crate::error::{ExitCode, Failure};
use crate::flags::cut::Cut;
use crate::flags::origins::OriginArguments;

const EXAMPLES: &str = "\
Examples:
  peer-cli publish s3://models/big.bin            prints the content id
  peer-cli publish s3://models/run-7/ --beside    and puts the manifest there
  peer-cli publish hf://org/model@main --only '*.safetensors'";

/// What is published, and how.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub struct PublishArguments {
    /// What is to be shared later: its URL
    ///
    /// What is to be shared later: s3://bucket/key, s3://bucket/prefix/, gs:// and az:// the same, hf://org/model@revision, https://
    #[arg(value_name = "URL")]
    url: String,
    /// Put the manifest beside it, in the bucket
    ///
    /// Put the manifest beside it, in the bucket, where `peer-cli share` finds it on any machine
    #[arg(long)]
    beside: bool,
    #[command(flatten)]
    origin: OriginArguments,
    #[command(flatten)]
    cut: Cut,
}

/// Makes the manifest and says what it is.
pub async fn run(arguments: PublishArguments) -> Result<(), Failure> {
    let PublishArguments { url, beside, origin, cut } = arguments;
    if crate::flags::origins::url(url.as_ref()).is_none() {
        let url = protocol::printable(&protocol::redacted(&url));
        let sentence = format!("{url} is no URL of an origin: of a file here, `peer-cli hash` makes the manifest");
        return Err(Failure::new(ExitCode::Usage, sentence));
    }
    publish(&url, beside, &origin, &cut).await
}

#[cfg(feature = "origins")]
async fn publish(url: &str, beside: bool, flags: &OriginArguments, cut: &Cut) -> Result<(), Failure> {
    use crate::commands::inspect;
    use crate::session::origin::{self, PublishRequest};
    use crate::ui::screen::print;

    let published = origin::publish(PublishRequest { url, cut, flags, beside }).await?;
    let beside = published.beside.map(|url| format!("beside      {url}"));
    let kept = published.kept.map(|path| format!("manifest    {}", path.display()));
    print(inspect::words(&published.manifest).into_iter().chain(kept).chain(beside))
}

#[cfg(not(feature = "origins"))]
async fn publish(url: &str, _beside: bool, _flags: &OriginArguments, _cut: &Cut) -> Result<(), Failure> {
    Err(crate::session::origin::not_built(url))
}
