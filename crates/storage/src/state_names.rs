//! How the files are called that stand beside a download until it is done.

/// End of the name of what is built.
pub(crate) const PART: &str = ".part";
/// Ends of the names: the bytes, the journal, the lock.
pub(crate) const STATE: [&str; 3] = [PART, ".part.journal", ".lock"];

/// Whether something of this name, beside downloads, would be taken for the state of one.
pub fn is_state_name(name: &str) -> bool {
    name.starts_with('.') && STATE.iter().any(|end| name.ends_with(end))
}
