//! Fakes at the wire, strict both ways: for tests, benches and `demo`.

pub mod receivers;
