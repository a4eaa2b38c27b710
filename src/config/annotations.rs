//! `annotations`: what annotations of objects, workloads and namespaces may silence.

use super::compile::matching::{self, Scope};
use super::error::At;
use super::raw::Node;
use super::read::Reader;
use crate::rule::{AnnotationRules, Filter};

/// The section; the rules that `except` names are added to `named`, to be looked up later.
pub fn read(reader: &mut Reader, node: &Node, named: &mut Vec<(String, At)>) -> Option<AnnotationRules> {
    let mut map = reader.map(node, "`{enabled, max, nodes, except}`")?;
    let mut rules = AnnotationRules::default();
    rules.enabled = map.get(reader, "enabled", Reader::boolean).unwrap_or(rules.enabled);
    rules.max = map.get(reader, "max", Reader::span_of_time).unwrap_or(rules.max);
    rules.nodes = map.get(reader, "nodes", Reader::boolean).unwrap_or(rules.nodes);
    let except = map.get(reader, "except", |reader, node| {
        let found = matching::read(reader, node, Scope::Silence)?;
        if found.is_empty {
            let help = "if no annotation is to silence anything: `enabled: false`";
            reader.error(node.span, "this would except everything", "no condition", Some(help));
            return None;
        }
        Some(found)
    });
    if let Some(found) = except {
        named.extend(found.rules);
        rules.except = Some(Filter::new(found.matcher, found.severity, found.rule));
    }
    for key in ["max", "nodes", "except"] {
        if let Some(span) = map.key_span(key).filter(|_| !rules.enabled) {
            let message = format!("`{key}` is of no use here");
            reader.warn(span, message, "annotations are not enabled", None);
        }
    }
    map.finish(reader, "`annotations`");
    Some(rules)
}
