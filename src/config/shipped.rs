//! The rules that come with kubeherald, compiled in.

/// File names and contents, in order of precedence.
pub const PACKS: &[(&str, &str)] = &[
    ("containers.yaml", include_str!("../../rules/containers.yaml")),
    ("scheduling.yaml", include_str!("../../rules/scheduling.yaml")),
    ("volumes.yaml", include_str!("../../rules/volumes.yaml")),
    ("nodes.yaml", include_str!("../../rules/nodes.yaml")),
    ("terminating.yaml", include_str!("../../rules/terminating.yaml")),
    ("workloads.yaml", include_str!("../../rules/workloads.yaml")),
];

/// The part of a pack that is needed to run: `tests:` comes last, and every start would parse it for
/// nothing.
pub fn without_tests(pack: &str) -> &str {
    pack.split_once("\ntests:").map_or(pack, |(rules, _)| rules)
}
