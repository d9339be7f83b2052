//! Build, lab and house rules.
fn main() {}
