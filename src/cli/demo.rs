//! `kubeherald demo`

pub mod config;
