//! `kubeherald demo`

pub mod tune;
