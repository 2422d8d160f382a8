//! Times as people write them: `30s`, `5m`, `2h`.

use std::time::Duration;

/// A time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |_| format!("{} is no time with a unit: write it like 30s, 5m or 2h", protocol::printable(text));
    humantime::parse_duration(text).map_err(wrong)
}
