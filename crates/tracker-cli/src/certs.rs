//! Who the tracker is: the files of an open swarm, made at the first start, or of a closed one, made by `--init-closed`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use transport::{CertRequest, Certs, FileChange, Identity, IdentityError, Trust};

use crate::exit_code::ExitCode;
use crate::say;

/// So many peers have certificates unless it is said otherwise: as many as `cargo xtask swarm` runs.
const PEERS: u16 = 5;

/// Making the files of a closed swarm.
#[derive(clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// Make the certificates of a closed swarm, and end
    ///
    /// Make a CA, and certificates for this tracker and for peers, in the certs folder, and end. Keys that are there stay,
    /// and so do certificates, unless they end within 30 days
    #[arg(long)]
    pub init_closed: bool,
    /// Make certificates for peers named peer-1, peer-2, … [default: 5, or none if there is a --name]
    #[arg(long, value_name = "N", requires = "init_closed", value_parser = clap::value_parser!(u16).range(..=10_000))]
    peers: Option<u16>,
    /// Make a certificate for a peer of this name; several with several --name
    #[arg(long, value_name = "NAME", requires = "init_closed")]
    name: Vec<String>,
    /// Days that certificates are valid
    #[arg(long, value_name = "N", requires = "init_closed", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace the CA, which is called ca-old from then on, and all certificates here; keys, and so ids, stay
    #[arg(long, requires = "init_closed")]
    rotate: bool,
}

/// Makes what is missing, and says so.
pub fn make(arguments: &Arguments, folder: &Path) -> Result<(), (ExitCode, anyhow::Error)> {
    let count = arguments.peers.unwrap_or(if arguments.name.is_empty() && !arguments.rotate { PEERS } else { 0 });
    let numbered = (1..=count).map(|number| format!("peer-{number}"));
    let lifetime = Duration::from_secs(u64::from(arguments.days) * 24 * 60 * 60);
    let names = numbered.chain(arguments.name.iter().cloned());
    let request = CertRequest::new(names, lifetime).rotate(arguments.rotate);
    let done = Certs::new(folder).provision(&request).map_err(failed)?;
    for done in done {
        match done {
            FileChange::Made(path) => say(format_args!("made     {}", path.display())),
            FileChange::Kept(path) => say(format_args!("kept     {}", path.display())),
            FileChange::Renewed(path) => say(format_args!("renewed  {}", path.display())),
            FileChange::Moved(from, to) => say(format_args!("moved    {} to {}", from.display(), to.display())),
            _ => {}
        }
    }
    let shown = folder.display();
    say(format_args!("Start the tracker with:  tracker --ca {shown}/ca.pem"));
    say(format_args!("Give each machine ca.pem, tracker.pem, and NAME.pem and NAME.key of its own; keep ca.key here."));
    if arguments.rotate {
        say(format_args!("Until everyone has a new certificate, everyone needs both:  --ca ca.pem --ca ca-old.pem"));
        say(format_args!("Running programs keep the certificates that they started with: restart them."));
    }
    Ok(())
}

/// The tracker's identity, and whom it lets in.
pub fn who(folder: &Path, authorities: &[PathBuf]) -> Result<(Identity, Trust), (ExitCode, anyhow::Error)> {
    let certs = Certs::new(folder);
    if !authorities.is_empty() {
        let trust = Trust::authorities(authorities).map_err(failed)?;
        return Ok((certs.tracker(&trust).map_err(failed)?, trust));
    }
    std::fs::create_dir_all(folder).map_err(|error| {
        let folder = folder.display();
        (ExitCode::CannotWrite, anyhow!("cannot make the folder {folder}: {error}; choose another with --certs"))
    })?;
    let closed = || {
        let folder = folder.display();
        let sentence = "the certificate of the tracker in it is a CA's; without --ca everyone could come in. Give";
        (
            ExitCode::VerificationFailed,
            anyhow!("{folder} is of a closed swarm: {sentence} --ca {folder}/ca.pem, or another folder with --certs"),
        )
    };
    let identity = certs.open_tracker().map_err(failed)?.ok_or_else(closed)?;
    Ok((identity, Trust::Anyone))
}

fn failed(error: IdentityError) -> (ExitCode, anyhow::Error) {
    let code = match error {
        IdentityError::File { .. } | IdentityError::Generate(_) => ExitCode::CannotWrite,
        IdentityError::InUse(_) | IdentityError::Name(_) | IdentityError::Rotating(_) => ExitCode::Usage,
        _ => ExitCode::VerificationFailed,
    };
    (code, error.into())
}
