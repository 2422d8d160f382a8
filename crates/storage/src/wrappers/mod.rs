//! Storages around storages: one is slow, one fails, one forgets what was not synced, one rots. Tests and simulations put them
//! around any backend to see what the rest does about it.

mod fail;
mod forget;
mod rot;
mod throttle;

pub use fail::{Failing, Operation};
pub use forget::Forgetful;
pub use rot::Rotten;
pub use throttle::Throttled;
