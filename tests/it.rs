//! One integration binary.

#[path = "it/notify.rs"]
mod notify;
