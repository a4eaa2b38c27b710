//! `redact`: further secrets to mask in text from the cluster.

use super::read::fields::{Head, section};
use super::read::kind::{Kind, list, text};
use crate::signal::redact::{MAX_PATTERNS, Redactor, compile};

pub fn redact<'a>() -> Kind<'a, Redactor> {
    let head = Head::new("redact", "`{patterns}`", "Further secrets to mask.");
    section(head, |fields| {
        let pattern = text().then(|reader, node, text| match compile(&text) {
            Ok(pattern) => Some(pattern),
            Err(wrong) => {
                let message = format!("{} cannot be a pattern for secrets", reader.show(node));
                reader.error(node.span, message, &wrong.to_string(), None);
                None
            }
        });
        let patterns = list("a list of regular expressions", pattern).check(|reader, node, patterns| {
            let many = patterns.len() > MAX_PATTERNS;
            if many {
                let message = format!("more than {MAX_PATTERNS} patterns");
                reader.error(node.span, message, "", Some("join some with `|`"));
            }
            !many
        });
        fields
            .require("patterns", "Regular expressions of what is to be masked.", patterns)
            .map(Redactor::new)
    })
}
