//! What a request to silence an incident or an object comes to: a `match`, made of what is open now.
//!
//! `{"incident": ID}` is the group of that incident under its rule, so that the same problem stays silent when it
//! comes back under another id. `{"object": "deploy/checkout", "namespace": "shop"}` is what
//! `kubeherald explain` understands. Conditions of `match` that are given as well are added.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::object::{self, Asked};
use super::pipeline::Pipeline;
use crate::engine::Incident;
use crate::message::text::words::{list, one_line};
use crate::rule::GroupBy;
use crate::store::ObjectQuery;
use crate::web::Refusal;

/// Kinds whose pods have problems on their behalf.
const WORKLOADS: [&str; 5] = ["Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job"];
/// Kinds without a namespace.
const UNSCOPED: [&str; 3] = ["Node", "PersistentVolume", "Namespace"];
/// So many are named where one has to be chosen.
const NAMED: usize = 5;
/// The longest name that is repeated.
const NAME: usize = 120;

/// A request that has a `match` only.
pub(super) struct Resolved {
    pub body: String,
    /// Open incidents that the named object is part of.
    pub concerned: Vec<Arc<str>>,
}

impl Pipeline {
    /// What does not name an incident or an object is left to the reader of requests.
    pub(super) fn resolve(&self, body: &str) -> Result<Resolved, Refusal> {
        let unchanged = || Ok(Resolved { body: body.to_owned(), concerned: Vec::new() });
        let Ok(Value::Object(mut request)) = serde_json::from_str::<Value>(body) else { return unchanged() };
        let (incident, object) = (request.remove("incident"), request.remove("object"));
        let namespace = request.get("namespace").and_then(Value::as_str).map(str::to_owned);
        let (found, concerned) = match (incident, object) {
            (None, None) => return unchanged(),
            (Some(Value::String(id)), None) => self.match_of_incident(&id)?,
            (None, Some(Value::String(object))) => {
                let asked = object::parse(&object, namespace.as_deref())
                    .map_err(|why| invalid(&format!("`{}`: {why}", one_line(&object, NAME))))?;
                self.match_of_object(&asked)?
            }
            _ => return Err(invalid("name one incident or one object, as a text")),
        };
        request.remove("namespace");
        let given = request.entry("match").or_insert_with(|| json!({}));
        if let Some(given) = given.as_object_mut() {
            for (key, value) in found {
                given.entry(key).or_insert(value);
            }
        }
        Ok(Resolved { body: Value::Object(request).to_string(), concerned })
    }

    fn match_of_incident(&self, id: &str) -> Result<Found, Refusal> {
        let id = id.trim().to_ascii_lowercase();
        match self.engine().incident(&id) {
            Some(incident) if incident.is_ended() => {
                Err(invalid(&format!("the incident {id} is over; its object can be silenced by its name")))
            }
            Some(incident) => Ok((self.group(incident), vec![Arc::clone(&incident.id)])),
            None => Err(Refusal::NotFound(format!("there is no open incident `{}`", one_line(&id, NAME)))),
        }
    }

    /// Everything that its rule puts into one incident with it.
    fn group(&self, incident: &Incident) -> Map<String, Value> {
        let signal = &incident.signal;
        let mut found = Map::new();
        let mut put = |key: &str, value: &str| drop(found.insert(key.to_owned(), value.into()));
        put("rule", &incident.rule);
        let group_by =
            self.engine().rules().get(&incident.rule).map_or(GroupBy::DEFAULT, |rule| &rule.group_by);
        for part in group_by {
            match part {
                GroupBy::Cause => put("cause", incident.cause.as_str()),
                GroupBy::Namespace => signal.namespace().into_iter().for_each(|ns| put("namespace", ns)),
                GroupBy::Workload => put("workload", &signal.workload),
                GroupBy::Container => signal.container.iter().for_each(|name| put("container", name)),
                GroupBy::Node => signal.node.iter().for_each(|node| put("node", node)),
                GroupBy::Object => {
                    put("kind", &signal.object.kind);
                    put("name", &signal.object.name);
                    signal.namespace().into_iter().for_each(|ns| put("namespace", ns));
                }
                GroupBy::Reason => put("reason", &signal.reason),
            }
        }
        found
    }

    fn match_of_object(&self, asked: &Asked) -> Result<Found, Refusal> {
        if let Some(id) = asked.id.as_deref().filter(|id| self.engine().incident(id).is_some()) {
            return self.match_of_incident(id);
        }
        for query in &asked.readings {
            let open: Vec<&Incident> =
                self.engine().incidents().filter(|incident| !incident.is_ended()).collect();
            let concerned: Vec<&Incident> =
                open.into_iter().filter(|incident| concerns(incident, query)).collect();
            if !concerned.is_empty() {
                let mut ids: Vec<Arc<str>> =
                    concerned.iter().map(|incident| Arc::clone(&incident.id)).collect();
                ids.sort();
                return Ok((of_open(asked, query, &concerned)?, ids));
            }
        }
        let named = asked.readings.iter().find_map(|query| Some((query, query.kind.as_deref()?)));
        match named {
            Some((query, kind)) if object::is_known(kind) => Ok((of_kind(query, None, false), Vec::new())),
            _ => Err(Refusal::NotFound(format!(
                "nothing that is open is called `{}`; to silence it ahead of time name its kind, such as \
                 deploy/NAME",
                one_line(&asked.typed, NAME)
            ))),
        }
    }
}

/// Conditions, and the incidents that were found by what was named.
type Found = (Map<String, Value>, Vec<Arc<str>>);

fn invalid(text: &str) -> Refusal {
    Refusal::Invalid(text.to_owned())
}

fn is_called(query: &ObjectQuery, kind: &str, namespace: Option<&str>, name: &str) -> bool {
    let same = |wanted: &Option<String>, is: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
    };
    let begins = || name.get(..query.name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(&query.name));
    same(&query.kind, kind)
        && same(&query.namespace, namespace.unwrap_or_default())
        && if query.prefix { begins() } else { name.eq_ignore_ascii_case(&query.name) }
}

/// All that is in a namespace is silenced with it.
fn is_namespace(query: &ObjectQuery) -> bool {
    query.kind.as_deref() == Some("Namespace") && !query.prefix
}

fn concerns(incident: &Incident, query: &ObjectQuery) -> bool {
    let inside = incident.namespace.as_deref().is_some_and(|ns| ns.eq_ignore_ascii_case(&query.name));
    (is_namespace(query) && inside)
        || incident.objects().any(|(_, object)| is_called(query, object.0, object.1, object.2))
}

/// What was meant, by what is open: where it is, and whether it is a workload.
fn of_open(asked: &Asked, query: &ObjectQuery, open: &[&Incident]) -> Result<Map<String, Value>, Refusal> {
    let unscoped = query.kind.as_deref().is_some_and(|kind| UNSCOPED.contains(&kind));
    let places: BTreeSet<&str> = open.iter().filter_map(|incident| incident.namespace.as_deref()).collect();
    let typed = one_line(&asked.typed, NAME);
    let choice = |names: Vec<String>| list(names.iter().map(String::as_str), NAMED, names.len());
    if places.len() > 1 && query.namespace.is_none() && !unscoped {
        let places = choice(places.iter().map(|place| one_line(place, NAME)).collect());
        return Err(invalid(&format!(
            "`{typed}` has problems in several namespaces ({places}): say which with -n"
        )));
    }
    let mut query = query.clone();
    if !unscoped && query.namespace.is_none() {
        query.namespace = places.first().map(|place| (*place).to_owned());
    }
    // Workloads before the objects that are theirs.
    let mut named: [BTreeSet<Named>; 2] = Default::default();
    for incident in open {
        for (is_workload, (kind, namespace, name)) in incident.objects() {
            if is_called(&query, kind, namespace, name) {
                let [workloads, objects] = &mut named;
                let place = if is_workload { workloads } else { objects };
                place.insert(Named { kind: kind.to_owned(), name: name.to_owned() });
            }
        }
    }
    let [workloads, objects] = named;
    let is_workload = !workloads.is_empty();
    let names = if is_workload { workloads } else { objects };
    match names.first() {
        _ if is_namespace(&query) => Ok(of_kind(&query, None, false)),
        Some(_) if query.prefix => Ok(of_kind(&query, None, is_workload)),
        Some(named) if names.len() == 1 => Ok(of_kind(&query, Some(named), is_workload)),
        Some(_) => {
            let names = names.iter().map(|named| one_line(&format!("{}/{}", named.kind, named.name), NAME));
            Err(invalid(&format!(
                "`{typed}` is the name of several ({}): say which",
                choice(names.collect())
            )))
        }
        None => Ok(of_kind(&query, None, false)),
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    kind: String,
    name: String,
}

/// Conditions for an object: as it is called where it was found, otherwise as it was asked for.
fn of_kind(query: &ObjectQuery, found: Option<&Named>, is_workload: bool) -> Map<String, Value> {
    let mut conditions = Map::new();
    let kind = found.map(|named| named.kind.as_str()).or(query.kind.as_deref());
    let name = found.map_or(query.name.as_str(), |named| named.name.as_str());
    if is_namespace(query) {
        conditions.insert("namespace".to_owned(), name.into());
        return conditions;
    }
    if let Some(namespace) = &query.namespace {
        conditions.insert("namespace".to_owned(), namespace.as_str().into());
    }
    let is_workload = is_workload || found.is_none() && kind.is_some_and(|kind| WORKLOADS.contains(&kind));
    let text = |text: String| {
        if query.prefix { json!({ "regex": format!("^{}", regex::escape(&text)) }) } else { json!(text) }
    };
    match kind {
        Some(kind) if is_workload => {
            conditions.insert("workload".to_owned(), text(format!("{kind}/{name}")));
        }
        _ => {
            if let Some(kind) = kind {
                conditions.insert("kind".to_owned(), kind.into());
            }
            conditions.insert("name".to_owned(), text(name.to_owned()));
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(typed: &str, namespace: Option<&str>) -> Value {
        let asked = object::parse(typed, namespace).unwrap();
        let query = asked.readings.first().unwrap();
        Value::Object(of_kind(query, None, false))
    }

    #[test]
    fn what_is_not_open_is_silenced_by_its_kind() {
        assert_eq!(
            conditions("deploy/checkout", Some("shop")),
            json!({ "namespace": "shop", "workload": "Deployment/checkout" })
        );
        assert_eq!(
            conditions("po/checkout-*", Some("shop")),
            json!({ "namespace": "shop", "kind": "Pod", "name": { "regex": "^checkout\\-" } })
        );
        assert_eq!(conditions("node/worker-1", Some("shop")), json!({ "kind": "Node", "name": "worker-1" }));
        assert_eq!(conditions("ns/shop", None), json!({ "namespace": "shop" }));
        assert_eq!(
            conditions("shop/pvc/data", None),
            json!({ "namespace": "shop", "kind": "PersistentVolumeClaim", "name": "data" })
        );
    }
}
