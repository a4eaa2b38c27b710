//! Memory.
/// Per-UID facts.
#[derive(Debug, Default)]
pub struct Memory;
