//! `match`, of rules and of routes.

use serde_json::{Value, json};

use super::{Defs, by_key, count, duration, int, object, of, one_of, one_or_more, text};
use crate::config::compile::matching::{SEVERITIES, Scope};
use crate::rule::Field;
use crate::signal::{Cause, Source};

pub(super) fn severity(description: &str) -> Value {
    one_of(description, SEVERITIES.iter().map(|(name, _)| *name))
}

pub(super) fn cause(description: &str) -> Value {
    one_of(description, Cause::ALL.iter().map(|cause| cause.as_str()))
}

pub(super) fn source() -> Value {
    let names = [Source::Status, Source::Event].map(Source::as_str);
    one_of("Where it was read: the status of an object, or an Event.", names)
}

const fn about(field: Field) -> &'static str {
    match field {
        Field::Reason => "The raw reason as Kubernetes spells it.",
        Field::Namespace => "The namespace of the object.",
        Field::Kind => "The kind of the object: Pod, Node, Job, …",
        Field::Name => "The name of the object.",
        Field::Workload => "The top owner, as Kind/name: Deployment/web.",
        Field::Container => "The container.",
        Field::Node => "The node.",
        Field::Message => "The explaining text.",
        Field::Type => "The type of an Event: Warning or Normal.",
    }
}

/// Adds `match` as it is written in this place, and what it needs.
pub(super) fn add(defs: &mut Defs, scope: Scope) {
    let mut keys = vec![("cause", of("cause_match", "What is wrong, by its stable name."))];
    keys.extend(Field::NAMES.iter().map(|(name, field)| (*name, of("text_match", about(*field)))));
    keys.extend([
        ("source", source()),
        (
            "labels",
            by_key("Labels: of the object, its workload, its namespace.", &of("text_match", "The value.")),
        ),
        ("annotations", by_key("Annotations, in the same order as labels.", &of("text_match", "The value."))),
        ("exit_code", of("exit_code_match", "How the container's last run ended.")),
    ]);
    match scope {
        Scope::Rule => {
            keys.push(("count", of("count", "How often it must happen before it is told.")));
            add_count(defs);
        }
        Scope::Route | Scope::Silence => {
            keys.push(("severity", of("severity_match", "How bad.")));
            keys.push(("rule", of("text_match", "The name of the rule.")));
            add_severity(defs);
        }
    }
    defs.insert("match".into(), object("Conditions by field; all of them must hold.", keys));
    add_conditions(defs);
}

fn add_severity(defs: &mut Defs) {
    let several = one_or_more("One of these.", &severity("How bad."));
    let condition =
        object("Conditions.", vec![("any_of", several.clone()), ("at_least", severity("This or worse."))]);
    defs.insert("severity_condition".into(), condition);
    defs.insert(
        "severity_match".into(),
        json!({"anyOf": [several, of("severity_condition", "Conditions.")]}),
    );
}

fn add_conditions(defs: &mut Defs) {
    let patterns =
        || one_or_more("Regular expressions, found anywhere in it.", &text("A regular expression."));
    let condition = |item: &Value| {
        object(
            "Conditions; all given ones must hold.",
            vec![
                ("any_of", one_or_more("Equal to one of these.", item)),
                ("none_of", one_or_more("Equal to none of these.", item)),
                ("regex", patterns()),
                ("not_regex", patterns()),
            ],
        )
    };
    for (name, conditions, item) in [
        ("text_match", "text_condition", text("Exactly this text.")),
        ("cause_match", "cause_condition", cause("This cause.")),
    ] {
        defs.insert(conditions.into(), condition(&item));
        let plain = one_or_more("This, or one of these.", &item);
        defs.insert(name.into(), json!({"anyOf": [plain, of(conditions, "Conditions.")]}));
    }
    let codes = || one_or_more("Exit codes.", &int("An exit code.", -1, 255));
    let condition = object("Conditions.", vec![("any_of", codes()), ("none_of", codes())]);
    defs.insert("exit_code_condition".into(), condition);
    defs.insert(
        "exit_code_match".into(),
        json!({"anyOf": [codes(), of("exit_code_condition", "Conditions.")]}),
    );
}

fn add_count(defs: &mut Defs) {
    defs.insert(
        "count".into(),
        object(
            "So many occurrences in a span of time.",
            vec![("at_least!", count("How many.")), ("within!", duration("In which span of time."))],
        ),
    );
}
