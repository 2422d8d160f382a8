//! What is shown and typed.

pub mod amounts;
pub mod bottleneck;
pub mod columns;
pub mod counter;
pub mod left_out;
pub mod letters;
pub mod live;
pub mod names;
pub mod pace;
pub mod paint;
pub mod progress;
pub mod prompt;
pub mod qr;
pub mod results;
pub mod row;
pub mod screen;
pub mod sentence;
pub mod sharing;
pub mod signals;
pub mod standard_output;
pub mod terminal;
