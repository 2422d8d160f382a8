//! Short codes in place of tickets: a sharer offers one at a tracker, and who has it gets the ticket.
//!
//! The code's words become a key by SPAKE2 ([RFC 9382](https://www.rfc-editor.org/rfc/rfc9382)), a key exchange in which each
//! side has one guess, and of which no recording can be searched for the words. The getter proves first that its key is the
//! same: so each guess is one that the sharer sees, and it ends the code after three wrong ones. `pake.rs` has the exchange,
//! `guesses.rs` decides what the sharer answers, `sharer.rs` and `getter.rs` talk, `numbers.rs` keeps codes of one sharer apart.
//!
//! A *place* where both meet is nothing but the address of a tracker, however it was found.

mod getter;
mod guesses;
mod numbers;
mod pake;
mod sharer;

pub use getter::RedeemError;
pub(crate) use getter::redeem;
pub(crate) use numbers::Numbers;
pub use sharer::{CodeEvent, CodeOffer, CodeOptions, NoCode};
pub(crate) use sharer::{is_old, offer};
