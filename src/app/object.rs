//! What people call an object: `pod/api-1`, `deploy/checkout`, `shop/checkout`, `checkout`.

use crate::store::ObjectQuery;

/// Kinds and what kubectl calls them beside their name and its plural.
const KINDS: &[(&str, &[&str])] = &[
    ("Pod", &["po"]),
    ("Node", &["no"]),
    ("Namespace", &["ns"]),
    ("Deployment", &["deploy"]),
    ("ReplicaSet", &["rs"]),
    ("StatefulSet", &["sts"]),
    ("DaemonSet", &["ds"]),
    ("Job", &[]),
    ("CronJob", &["cj"]),
    ("PersistentVolumeClaim", &["pvc"]),
    ("PersistentVolume", &["pv"]),
    ("ReplicationController", &["rc"]),
    ("HorizontalPodAutoscaler", &["hpa"]),
    ("PodDisruptionBudget", &["pdb"]),
    ("Service", &["svc"]),
    ("Ingress", &["ing", "ingresses"]),
    ("ConfigMap", &["cm"]),
    ("ServiceAccount", &["sa"]),
    ("Endpoints", &["ep"]),
];

/// The longest name that is looked for; Kubernetes allows 253.
const MAX: usize = 300;

/// What was asked for, in each way it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As it was typed.
    pub typed: String,
    /// Each way to read it.
    pub readings: Vec<ObjectQuery>,
    /// It may be the id of an incident.
    pub id: Option<String>,
}

/// Reads what was typed. `Err` says what is wrong with it.
pub fn parse(typed: &str, namespace: Option<&str>) -> Result<Asked, String> {
    if typed.chars().count() > MAX {
        return Err("that is too long for a name".to_owned());
    }
    let parts: Vec<&str> = typed.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err("expected KIND/NAME, NAMESPACE/NAME or NAME".to_owned());
    }
    let given = namespace.map(str::to_owned);
    let query = |kind: Option<String>, namespace: Option<String>, name: &str| {
        let (name, prefix) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        ObjectQuery { kind, namespace, name: name.to_owned(), prefix }
    };
    let mut id = None;
    let readings = match *parts.as_slice() {
        [name] => {
            id = is_id(name).then(|| name.to_ascii_lowercase());
            vec![query(None, given, name)]
        }
        [first, name] if first.eq_ignore_ascii_case("incident") && is_id(name) => {
            id = Some(name.to_ascii_lowercase());
            vec![query(None, given, name)]
        }
        [first, name] => match (kind(first), namespace) {
            (Some(kind), _) => vec![query(Some(kind), given, name)],
            // With a namespace given the other part can only be a kind.
            (None, Some(_)) => vec![query(Some(bare(first).to_owned()), given, name)],
            (None, None) => vec![
                query(None, Some(first.to_owned()), name),
                query(Some(bare(first).to_owned()), None, name),
            ],
        },
        [space, first, name] => {
            if namespace.is_some_and(|given| !given.eq_ignore_ascii_case(space)) {
                return Err("the namespace is given twice, and not the same".to_owned());
            }
            let kind = kind(first).unwrap_or_else(|| bare(first).to_owned());
            vec![query(Some(kind), Some(space.to_owned()), name)]
        }
        _ => return Err("expected KIND/NAME, NAMESPACE/NAME, NAMESPACE/KIND/NAME or NAME".to_owned()),
    };
    if readings.iter().any(|r| r.name.is_empty()) {
        return Err("name at least the beginning of it before `*`".to_owned());
    }
    let readings = readings.into_iter().map(scoped).collect();
    Ok(Asked { typed: typed.to_owned(), readings, id })
}

/// Nodes and the like are in no namespace, whatever `-n` says.
fn scoped(mut query: ObjectQuery) -> ObjectQuery {
    if query.kind.as_deref().is_some_and(|kind| matches!(kind, "Node" | "PersistentVolume")) {
        query.namespace = None;
    }
    query
}

/// Is this a kind as Kubernetes writes it, of those that are known here?
pub fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|(name, _)| *name == kind)
}

/// Ids are ten letters and digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `deployments.apps` is `deployments`.
fn bare(kind: &str) -> &str {
    kind.split('.').next().unwrap_or(kind)
}

/// The kind as Kubernetes writes it, of any way to call it.
fn kind(text: &str) -> Option<String> {
    let text = bare(text).to_ascii_lowercase();
    let found = KINDS.iter().find(|(name, short)| {
        let name = name.to_ascii_lowercase();
        text == name || text.strip_suffix('s') == Some(&name) || short.contains(&text.as_str())
    });
    found.map(|(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str, namespace: Option<&str>) -> Vec<String> {
        let text = |q: &ObjectQuery| {
            let star = if q.prefix { "*" } else { "" };
            format!(
                "{}|{}|{}{star}",
                q.namespace.as_deref().unwrap_or("-"),
                q.kind.as_deref().unwrap_or("-"),
                q.name
            )
        };
        parse(typed, namespace).unwrap().readings.iter().map(text).collect()
    }

    #[test]
    fn objects_are_called_as_kubectl_calls_them() {
        assert_eq!(read("pod/a-1", None), ["-|Pod|a-1"]);
        assert_eq!(read("PODS/a-1", Some("shop")), ["shop|Pod|a-1"]);
        assert_eq!(read("deploy/checkout", None), ["-|Deployment|checkout"]);
        assert_eq!(read("deployment.apps/checkout", None), ["-|Deployment|checkout"]);
        assert_eq!(read("deployments.v1.apps/checkout", None), ["-|Deployment|checkout"]);
        assert_eq!(read("ingresses/x", None), ["-|Ingress|x"]);
        assert_eq!(read("checkout", None), ["-|-|checkout"]);
        assert_eq!(read("shop/po/a", None), ["shop|Pod|a"]);
        assert_eq!(read("node/worker-1", Some("shop")), ["-|Node|worker-1"]);
        assert_eq!(read("checkout-*", Some("shop")), ["shop|-|checkout-*"]);
    }

    #[test]
    fn what_can_be_a_namespace_or_a_kind_is_read_both_ways() {
        assert_eq!(read("shop/checkout", None), ["shop|-|checkout", "-|shop|checkout"]);
        assert_eq!(read("rollout.argoproj.io/x", Some("shop")), ["shop|rollout|x"]);
    }

    #[test]
    fn ids_of_incidents_are_names_too() {
        assert_eq!(parse("5H2kq8m1x0", None).unwrap().id.as_deref(), Some("5h2kq8m1x0"));
        assert_eq!(parse("incident/5h2kq8m1x0", None).unwrap().id.as_deref(), Some("5h2kq8m1x0"));
        assert_eq!(parse("checkout", None).unwrap().id, None);
    }

    #[test]
    fn nonsense_is_refused() {
        for (typed, namespace) in [
            ("", None),
            ("pod/", None),
            ("/x", None),
            ("a/b/c/d", None),
            ("pod/*", None),
            ("a/pod/x", Some("b")),
        ] {
            assert!(parse(typed, namespace).is_err(), "{typed}");
        }
        assert!(parse(&"x".repeat(1000), None).is_err());
    }
}
