//! `peer-cli get`: fetch what a ticket, an id or a name stands for, and end.

mod find;
mod flags;
mod wanted;

use std::time::Duration;

use lan::Lan;
use peer::NamePolicy;

use crate::error::{ExitCode, Failure};
use crate::flags::{named, output};
use crate::session::connect::NamedBy;
use crate::session::find::Found;
use crate::session::lan::{self as network, ByDefault};
use crate::session::patience::Patience;
use crate::session::query::complain;
use crate::session::temp_folder::{self, TempFolder};
use crate::session::{Session, SessionOptions, bind, origin, pipe, site, standstill, trust};
use crate::ui::{prompt, screen};
use find::{Search, nearby};
pub use flags::GetArguments;
use wanted::{Asked, What, asked};

/// Downloads until it is done, or was shared on as asked.
pub async fn run(mut arguments: GetArguments) -> Result<(), Failure> {
    // What is wrong with the ticket should be known before anything is bound.
    let mut asked = asked(&arguments)?;
    let origin = origin::fallback(&arguments.fallback)?;
    if cfg!(windows) && arguments.to_stdout() && !arguments.peer.quiet && !arguments.peer.json {
        screen::complain(pipe::BYTES);
    }
    temp_folder::sweep_left();
    site::settle(&mut arguments.peer).await;
    trust_tracker(&mut arguments, &mut asked).await?;
    let lan = network::start(&arguments.peer, ByDefault::On);
    let what = match asked {
        Asked::Placed(what) => what,
        Asked::Unplaced(query) => nearby(lan.as_ref(), &arguments, query).await?,
    };
    let node = bind::bind(&arguments.peer, arguments.port, 1)?.private(what.is_private()).lan(lan.clone());
    // Pieces come in any order, so what is to come in order waits in a file that goes away.
    let output_stream = arguments.output_stream();
    let temporary = if arguments.to_stdout() { Some(temporary_folder()?) } else { None };
    let (default, said) = if arguments.output.is_some() { Default::default() } else { output::default_folder() };
    let output = temporary.as_ref().map_or(arguments.output.as_deref().unwrap_or(&default), TempFolder::path);
    // A file for standard output never appears under its name, so any name is accepted.
    let names = if arguments.to_stdout() { NamePolicy::Rename } else { arguments.names.policy() };
    let node = origin::with_named(node, &arguments.fallback.named);
    let node = node.output(output).overwrite(arguments.force).names(names).start();
    let folder = output.to_owned();
    let named_origins = arguments.fallback.named.origin_fallback.then(|| arguments.peer.hashes().to_owned());
    let mut options = SessionOptions {
        folder,
        output_stream,
        origin,
        named_origins,
        ..SessionOptions::new(&arguments.peer, arguments.end())
    };
    let is_unplaced = matches!(what, What::Id(_)) || (matches!(what, What::Code(_)) && arguments.tracker_ip.is_none());
    if is_unplaced && lan.is_some() {
        options.first = "Looking for it on this network …";
    }
    let face = prompt::start(&arguments.peer, output_stream, prompt::CommandSource::Terminal, options.end);
    let result = Session::run(node, options, face, async |session: &Session| {
        said.into_iter().for_each(|sentence| session.note(sentence));
        begin(session, &arguments, what, lan.as_ref()).await
    });
    let result = result.await;
    if temporary.is_some() {
        drop(temporary);
        temp_folder::forget_parent();
    }
    result
}

/// Settles who the tracker is, while the terminal can be asked: later it is the prompt's.
async fn trust_tracker(arguments: &mut GetArguments, asked: &mut Asked) -> Result<(), Failure> {
    if let (Some(given), Asked::Placed(What::Text(_, silent))) = (&arguments.tracker_ip, asked) {
        let has_origin = arguments.fallback.origin.is_some();
        let patience = Patience::new(arguments.peer.wait.filter(|_| !has_origin));
        let named = named::trackers(given, arguments.tracker_port)?;
        match trust::trackers(named, &arguments.peer, NamedBy::Flags, patience, &complain).await {
            Ok(trusted) => arguments.peer.trusted = trusted,
            Err(failure) if has_origin && failure.code == ExitCode::TrackerUnreachable => *silent = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn temporary_folder() -> Result<TempFolder, Failure> {
    TempFolder::for_spool().map_err(|error| {
        let variable = temp_folder::parent_variable();
        let sentence = format!("there is no temporary folder: {error}. {variable} says where one is made");
        Failure::new(ExitCode::CannotWrite, sentence)
    })
}

async fn begin(session: &Session, arguments: &GetArguments, what: What, lan: Option<&Lan>) -> Result<(), Failure> {
    let (patience, tell) = (Patience::new(arguments.peer.wait), |sentence: String| session.waits(&sentence));
    // A tracker that knows nobody who has it says so at once, instead of us waiting for nothing; and where there is an origin, nobody
    // need be waited for.
    let finding = session.patience_of(what.content(), patience);
    let found = Search { session, arguments, lan, patience, finding, tell: &tell }.find(what).await?;
    if arguments.to_stdout() {
        return to_standard_output(session, arguments, found, patience, &tell).await;
    }
    session.download(found, &arguments.only).await
}

/// Downloads what was found, and writes it to standard output in order while it comes.
async fn to_standard_output(
    session: &Session,
    arguments: &GetArguments,
    found: Found,
    patience: Patience,
    tell: &dyn Fn(String),
) -> Result<(), Failure> {
    let content = found.content;
    // It would leave once the manifest is here, and come again.
    session.node.expect(content, found.secret).await?;
    let wait = arguments.peer.wait.map(|_| patience.bound(Duration::MAX));
    let late = (wait, ExitCode::NobodyHasAPiece);
    let wanted = (&found, session.origin());
    let manifest = standstill::manifest(&session.node, wanted, late, arguments.peer.transport, tell).await?;
    pipe::must_be_one_file(&manifest, &found, &arguments.only)?;
    session.download(found, &arguments.only).await?;
    let Some(reader) = session.read(content) else { return Ok(()) };
    if !pipe::write(reader, tell).await? {
        session.unread();
    }
    Ok(())
}
