//! Flags that several commands have, and how their values are read.

pub mod cut;
pub mod end;
pub mod links;
pub mod names;
pub mod paths;
pub mod patterns;
pub mod peer;
pub mod range;
pub mod sizes;
