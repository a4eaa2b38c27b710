//! The `kubeherald` binary.

fn main() {}
