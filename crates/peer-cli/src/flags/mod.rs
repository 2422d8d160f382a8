//! Flags that several commands have, and how their values are read.

pub mod cut;
pub mod durations;
pub mod end;
pub mod fallback;
pub mod gateway;
pub mod guess;
pub mod help;
pub mod links;
pub mod named;
pub mod names;
pub mod origins;
pub mod output;
pub mod own_folders;
pub mod paths;
pub mod patterns;
pub mod peer;
pub mod range;
pub mod sizes;
pub mod tickets;
