//! The permissions that a configuration needs, as manifests: nothing beside what is watched, and logs where a
//! rule reads them. `deploy/rbac.yaml`, `deploy/logs.yaml` and the chart ask for the same; that is a test.

use std::fmt::Write as _;

use crate::config::Config;
use crate::rule::RuleSet;
use crate::watch::Kind;

/// The name of roles and bindings; those for logs have `-logs` behind it.
const NAME: &str = "kubeherald";

/// Who is to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    ServiceAccount { namespace: String, name: String },
    User(String),
}

/// Where it is to be allowed.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    Cluster,
    /// A Role in each; kinds without a namespace are left out.
    Namespaces(&'a [String]),
}

/// One line of a role.
struct Allowed {
    group: &'static str,
    resources: Vec<&'static str>,
    verbs: &'static [&'static str],
}

/// Roles and bindings, as YAML documents.
pub fn manifests(config: &Config, reach: Reach<'_>, subject: &Subject) -> String {
    let kinds = Kind::ALL.into_iter().filter(|kind| config.watch.wants_kind(kind.as_str()));
    let kinds: Vec<Kind> = match reach {
        Reach::Cluster => kinds.collect(),
        Reach::Namespaces(_) => kinds.filter(|kind| kind.is_namespaced()).collect(),
    };
    let mut roles = vec![(NAME.to_owned(), watched(&kinds))];
    if reads_logs(&config.rules) {
        let logs = Allowed { group: "", resources: vec!["pods/log"], verbs: &["get"] };
        roles.push((format!("{NAME}-logs"), vec![logs]));
    }
    let mut documents = Vec::new();
    for (name, allowed) in &roles {
        match reach {
            Reach::Cluster => documents.extend(role("Cluster", name, None, allowed, subject)),
            Reach::Namespaces(namespaces) => {
                let each = namespaces.iter().flat_map(|ns| role("", name, Some(ns), allowed, subject));
                documents.extend(each);
            }
        }
    }
    documents.join("---\n")
}

fn watched(kinds: &[Kind]) -> Vec<Allowed> {
    let mut allowed: Vec<Allowed> = Vec::new();
    for kind in kinds {
        match allowed.iter_mut().find(|one| one.group == kind.group()) {
            Some(one) => one.resources.push(kind.plural()),
            None => allowed.push(Allowed {
                group: kind.group(),
                resources: vec![kind.plural()],
                verbs: &["get", "list", "watch"],
            }),
        }
    }
    allowed.sort_by_key(|one| one.group);
    allowed
}

/// Does a rule in force, or an override of a part of one, read logs?
fn reads_logs(rules: &RuleSet) -> bool {
    rules.iter().any(|rule| {
        let overrides = rules.overrides(&rule.name);
        let mut everywhere = overrides.iter().rev().filter(|one| one.matcher.is_everything());
        let last = everywhere.find_map(|one| one.changes.log_tail);
        let in_part = overrides.iter().filter(|one| !one.matcher.is_everything());
        last.unwrap_or(rule.log_tail).is_some()
            || in_part.filter_map(|one| one.changes.log_tail).any(|tail| tail.is_some())
    })
}

fn role(
    scope: &str,
    name: &str,
    namespace: Option<&str>,
    allowed: &[Allowed],
    subject: &Subject,
) -> [String; 2] {
    let head = |kind: &str| {
        let place = namespace.map(|namespace| format!("\n  namespace: {namespace}")).unwrap_or_default();
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {scope}{kind}\nmetadata:\n  name: {name}{place}\n"
        )
    };
    let mut rules = head("Role");
    rules.push_str("rules:\n");
    for Allowed { group, resources, verbs } in allowed {
        let group = if group.is_empty() { "\"\"" } else { group };
        let (resources, verbs) = (resources.join(", "), verbs.join(", "));
        let _written =
            writeln!(rules, "  - apiGroups: [{group}]\n    resources: [{resources}]\n    verbs: [{verbs}]");
    }
    let mut binding = head("RoleBinding");
    let _written = write!(
        binding,
        "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {scope}Role\n  name: {name}\nsubjects:\n{}",
        subject.yaml()
    );
    [rules, binding]
}

impl Subject {
    /// `namespace:name`, as kubectl has it.
    pub fn service_account(text: &str) -> Result<Self, String> {
        let name = |text: &str| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            !text.is_empty() && text.bytes().all(good)
        };
        match text.split_once(':') {
            Some((namespace, account)) if name(namespace) && name(account) => {
                Ok(Self::ServiceAccount { namespace: namespace.to_owned(), name: account.to_owned() })
            }
            _ => Err("expected NAMESPACE:NAME".to_owned()),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::ServiceAccount { namespace, name } => {
                format!("  - kind: ServiceAccount\n    name: {name}\n    namespace: {namespace}\n")
            }
            Self::User(name) => format!(
                "  - apiGroup: rbac.authorization.k8s.io\n    kind: User\n    name: {}\n",
                serde_json::Value::from(name.as_str())
            ),
        }
    }
}
