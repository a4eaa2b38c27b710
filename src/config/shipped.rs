//! The rules that come with kubeherald, compiled in.

/// File names and contents, in order of precedence.
pub const PACKS: &[(&str, &str)] = &[
    ("containers.yaml", include_str!("../../rules/containers.yaml")),
    ("scheduling.yaml", include_str!("../../rules/scheduling.yaml")),
    ("volumes.yaml", include_str!("../../rules/volumes.yaml")),
    ("nodes.yaml", include_str!("../../rules/nodes.yaml")),
    ("workloads.yaml", include_str!("../../rules/workloads.yaml")),
];
