//! Builds every part from a compiled configuration and runs them.

pub mod pipeline;
