//! What the program can be told to do, a file each.

pub mod control;
pub mod daemon;
pub mod doctor;
pub mod gateway;
pub mod get;
pub mod hash;
pub mod inspect;
pub mod join;
pub mod ls;
pub mod publish;
pub mod share;
pub mod watch;
