//! Parts of a program that its build may lack.

/// What is said where somebody asks for a part that this build lacks.
///
/// ```
/// let sentence = p2p_fileshare_settings::not_built("metrics", "tracker", "metrics");
/// assert!(sentence.ends_with("`cargo build --release -p tracker --features metrics`"));
/// ```
pub fn not_built(part: &str, package: &str, feature: &str) -> String {
    format!(
        "this program was built without {part}. Take one from the packages or archives, or build it with `cargo build --release -p \
         {package} --features {feature}`"
    )
}
