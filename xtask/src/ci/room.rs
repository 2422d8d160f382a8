//! Room on the disk: what is free where everything is built, and whether that is enough for what comes next. A full disk fails a
//! build in the middle, with words that hide the reason.

use crate::cross::Skipped;

/// Where everything is built.
const FOLDER: &str = "target";
const GB: f64 = 1e9;

/// Free bytes; none where the system does not say.
fn free() -> Option<u64> {
    fs4::available_space(FOLDER).ok()
}

/// What is free, in words.
pub(super) fn said() -> String {
    free().map_or_else(String::new, |free| format!("{:.1} GB free", free as f64 / GB))
}

/// Whether so many bytes are free for this; otherwise it is skipped.
pub(super) fn is_enough(what: &str, takes: u64, skipped: &mut Skipped) -> bool {
    let short = free().filter(|free| *free < takes);
    if let Some(free) = short {
        let (takes, free) = (takes as f64 / GB, free as f64 / GB);
        skipped.say(&format!("{what}: it may take {takes:.1} GB of the disk, and {free:.1} GB are free"));
    }
    short.is_none()
}
