//! `annotations`: what annotations of objects, workloads and namespaces may silence.

use super::matching::{Match, Scope, matching};
use super::read::fields::{Head, section};
use super::read::kind::{Kind, boolean, span};
use crate::rule::AnnotationRules;

pub fn annotations<'a>() -> Kind<'a, AnnotationRules> {
    let head = Head::new("annotations", "`{enabled, max, nodes, except}`", "What annotations may silence.");
    section(head, |fields| {
        let usual = AnnotationRules::default();
        let except = matching(Scope::Silence).check(|reader, node, found: &Match| {
            if found.is_empty {
                let help = "if no annotation is to silence anything: `enabled: false`";
                reader.error(node.span, "this would exempt every incident", "no condition", Some(help));
            }
            !found.is_empty
        });
        let max = "Each counts for at most so long from when it was first seen.";
        let rules = AnnotationRules {
            enabled: fields.or("enabled", "Annotations silence at all.", boolean(), usual.enabled),
            max: fields.or("max", max, span(), usual.max),
            nodes: fields.or("nodes", "Annotations of nodes count, too.", boolean(), usual.nodes),
            except: fields
                .get("except", "These incidents they cannot silence; at least one condition.", except)
                .map(Match::filter),
        };
        for key in ["max", "nodes", "except"] {
            if let Some(span) = fields.key(key).filter(|_| !rules.enabled) {
                let message = format!("`{key}` is of no use here");
                fields.warn(span, message, "annotations are not enabled", None);
            }
        }
        Some(rules)
    })
}
