//! What is shown and typed.

pub mod bottleneck;
pub mod left_out;
pub mod live;
pub mod names;
pub mod progress;
pub mod prompt;
pub mod screen;
pub mod signals;
pub mod terminal;
