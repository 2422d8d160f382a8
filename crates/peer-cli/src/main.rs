//! peer-cli
fn main() {}
