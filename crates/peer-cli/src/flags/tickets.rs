//! What is said where a ticket was to be given and is damaged, or several were given as one.

use protocol::TicketError;

use crate::error::{ExitCode, Failure};

/// The commands that take several tickets, each as a word of its own.
const TAKE_SEVERAL: [&str; 2] = ["add", "gateway"];

/// What is wrong with the ticket that a command was given, and what to do.
pub fn sentence(error: &TicketError, command: &str) -> String {
    match error {
        TicketError::Several(count) if TAKE_SEVERAL.contains(&command) => {
            format!(
                "these are {count} tickets in one word. Give each as a word of its own: peer-cli {command} TICKET TICKET"
            )
        }
        TicketError::Several(count) => {
            format!("these are {count} tickets. Give each to a `peer-cli {command}` of its own")
        }
        error => error.to_string(),
    }
}

/// The same as what ends the command.
pub fn failure(error: &TicketError, command: &str) -> Failure {
    Failure::new(ExitCode::Usage, sentence(error, command))
}
