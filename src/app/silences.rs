//! What the API says about silences, and how those of the API are stored.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pipeline::{Output, Pipeline};
use super::silencing::Resolved;
use super::status;
use crate::config::silences as reader;
use crate::engine::silence::{BadAnnotation, WhyIgnored};
use crate::rule::calendar::WEEKDAYS;
use crate::rule::silence::Origin;
use crate::rule::{MuteTime, Silence};
use crate::signal::silence::{KEYS, MUTE, SILENCE_UNTIL, silenced_within};
use crate::signal::{ObjectRef, Workload};
use crate::store::SilenceRow;
use crate::web::Refusal;

/// So many incidents that a silence is about are named.
const MAX_NAMED: usize = 10;

/// A silence of the API as it is stored. The `match` is compiled anew when it is read.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    r#match: Value,
    from: Timestamp,
    until: Timestamp,
    comment: Arc<str>,
    by: Arc<str>,
}

/// One to be stored.
pub(super) fn row(silence: &Silence) -> SilenceRow {
    let stored = Stored {
        r#match: written(&silence.written),
        from: silence.from,
        until: silence.until,
        comment: Arc::clone(&silence.comment),
        by: Arc::clone(&silence.by),
    };
    let body = serde_json::to_string(&stored).unwrap_or_default();
    SilenceRow { id: silence.id.to_string(), until: silence.until, body }
}

/// Stored ones. One that cannot be read is logged and silences nothing.
pub(super) fn restore(rows: Vec<(String, String)>) -> Vec<Silence> {
    let read = |id: &str, body: &str| -> Result<Silence, String> {
        let stored: Stored = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let match_as_json = stored.r#match.to_string();
        let filter = reader::restored(&match_as_json).map_err(|found| found.to_string())?;
        Ok(Silence {
            id: Arc::from(id),
            name: None,
            filter,
            written: Arc::from(match_as_json),
            from: stored.from,
            until: stored.until,
            comment: stored.comment,
            by: stored.by,
            origin: Origin::Api,
        })
    };
    let mut silences = Vec::with_capacity(rows.len());
    for (id, body) in rows {
        match read(&id, &body) {
            Ok(silence) => silences.push(silence),
            Err(error) => {
                tracing::error!(silence = %id, %error, "a stored silence cannot be read: it silences nothing");
            }
        }
    }
    silences
}

/// Says in the log that an annotation does not do what was meant.
pub(super) fn complain(bad: &BadAnnotation) {
    if bad.why == WhyIgnored::OfNode {
        tracing::warn!(of = %bad.of, annotation = bad.key, value = %bad.value,
            "an annotation of a node silences nothing unless `annotations.nodes` is `true` in the configuration");
        return;
    }
    let problem = if bad.key == SILENCE_UNTIL { status::A_MOMENT } else { status::A_SWITCH };
    tracing::warn!(of = %bad.of, annotation = bad.key, value = %bad.value, problem,
        "an annotation cannot be read: it silences nothing");
}

impl Pipeline {
    /// Adds the silence that `body` asks for, and shows it.
    pub fn add_silence(&mut self, body: &str, now: Timestamp, out: &mut Output) -> Result<Value, Refusal> {
        let Resolved { body, concerned } = self.resolve(body)?;
        let is_rule = |name: &str| self.engine().rules().get(name).is_some();
        let mut silence = reader::from_request(&body, now, &is_rule)
            .map_err(|found| Refusal::Invalid(found.to_string()))?;
        let id = self
            .with_engine(out, |engine, effects| {
                silence.id = engine.name_silence(&silence.id);
                engine.silences_mut().add(silence, now, effects)
            })
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        self.engine().silences().get(&id).map_or_else(
            || Err(Refusal::Failed("the silence is not there".into())),
            |silence| {
                tracing::info!(silence = %silence.id, until = %silence.until, by = %silence.by,
                    comment = %silence.comment, matching = %silence.written, "silenced");
                let mut shown = self.shown(silence, now);
                // What was named is open, and the silence does not hold it: others have the problem as well.
                let held = self.engine().open_that_match(&silence.filter);
                let near: Vec<Arc<str>> = concerned.into_iter().filter(|id| !held.contains(id)).collect();
                if let Some(map) = shown.as_object_mut().filter(|_| held.is_empty()) {
                    map.insert("near".into(), self.named(&near, now));
                }
                Ok(shown)
            },
        )
    }

    /// Ends a silence of the API now, and shows it.
    pub fn expire_silence(&mut self, id: &str, now: Timestamp, out: &mut Output) -> Result<Value, Refusal> {
        let found = self.engine().silences().get(id).map(|silence| silence.origin);
        let mute = self.engine().mute_times().iter().any(|mute| &*mute.name == id);
        match found {
            Some(Origin::Api) => {}
            None if mute => return Err(fixed(&format!("`{id}` is a mute time of the configuration"))),
            Some(Origin::Config) => return Err(fixed(&format!("`{id}` stands in the configuration"))),
            None if id.starts_with("annotation:") => {
                return Err(Refusal::Invalid("an annotation is removed with kubectl annotate KEY-".into()));
            }
            None => return Err(Refusal::NotFound(format!("there is no silence `{id}`"))),
        }
        if !self.with_engine(out, |engine, effects| engine.silences_mut().expire(id, now, effects)) {
            return Err(Refusal::Invalid(format!("the silence `{id}` is over already")));
        }
        tracing::info!(silence = %id, "a silence was ended");
        let silence = self.engine().silences().get(id);
        silence.map_or_else(
            || Err(Refusal::NotFound(format!("there is no silence `{id}`"))),
            |silence| Ok(self.shown(silence, now)),
        )
    }

    /// All silences, mute times and annotations that silence; `all`: also those that are over.
    pub fn silences(&self, all: bool, now: Timestamp) -> Value {
        let silences = self.engine().silences().all().filter(|silence| all || now < silence.until);
        let mut list: Vec<Value> = silences.map(|silence| self.shown(silence, now)).collect();
        list.extend(self.engine().mute_times().iter().map(|mute| self.shown_mute(mute, now)));
        for (object, annotations) in self.memory().annotated() {
            let until = KEYS.map(|key| self.annotation_until(&object, key, now));
            let bound = |_, key| KEYS.iter().zip(until).find(|(known, _)| **known == key)?.1;
            let layers = [Some(annotations), None, None];
            let annotations = layers.first().and_then(Option::as_ref);
            let active = silenced_within(&layers, now, bound).is_some();
            if !all && !active {
                continue;
            }
            for (key, until) in KEYS.into_iter().zip(until) {
                if let Some(value) = annotations.and_then(|map| map.get(key)) {
                    list.push(self.shown_annotation(&object, key, value, until, now));
                }
            }
        }
        Value::Array(list)
    }

    /// Open incidents by id and in a line, the first of them.
    fn named(&self, ids: &[Arc<str>], now: Timestamp) -> Value {
        let shown = ids.iter().take(MAX_NAMED).filter_map(|id| {
            let (open, view) = self.engine().open_one(id, now, self.memory())?;
            let open = self.titled(open, view);
            Some(json!({ "incident": open.incident, "title": open.title }))
        });
        Value::Array(shown.collect())
    }

    /// With the open incidents it is about: how many, and the first of them.
    fn with_open(&self, mut shown: Value, ids: &[Arc<str>], now: Timestamp) -> Value {
        if let Some(map) = shown.as_object_mut() {
            map.insert("matches".into(), ids.len().into());
            map.insert("incidents".into(), self.named(ids, now));
        }
        shown
    }

    /// The open incidents that an annotation or a mute time holds back, as recorded.
    fn held_open(&self, by: &str) -> Vec<Arc<str>> {
        let held = self.engine().incidents().filter(|incident| !incident.is_ended());
        let held = held.filter(|incident| incident.quiet.as_ref().is_some_and(|quiet| &*quiet.by == by));
        let mut ids: Vec<Arc<str>> = held.map(|incident| Arc::clone(&incident.id)).collect();
        ids.sort();
        ids
    }

    /// How many incidents it holds back, as recorded.
    fn holds(&self, by: impl Fn(&str) -> bool) -> usize {
        let held = self.engine().incidents().filter(|incident| !incident.is_ended());
        held.filter(|incident| incident.quiet.as_ref().is_some_and(|quiet| by(&quiet.by))).count()
    }

    fn shown(&self, silence: &Silence, now: Timestamp) -> Value {
        let state = silence.state(now);
        let holds = if state == "active" { self.holds(|by| by == &**silence.called()) } else { 0 };
        let open =
            if state == "expired" { Vec::new() } else { self.engine().open_that_match(&silence.filter) };
        let shown = json!({
            "id": silence.id,
            "kind": "silence",
            "name": silence.name,
            "match": written(&silence.written),
            "from": (silence.from > Timestamp::MIN).then(|| silence.from.to_string()),
            "until": silence.until.to_string(),
            "comment": silence.comment,
            "by": silence.by,
            "state": state,
            "source": silence.origin.as_str(),
            "holds": holds,
        });
        self.with_open(shown, &open, now)
    }

    fn shown_mute(&self, mute: &MuteTime, now: Timestamp) -> Value {
        let window = mute.window(now);
        let active = window.is_some_and(|(on, _)| on);
        let days = WEEKDAYS.iter().zip(mute.when.days).filter(|(_, on)| *on).map(|((name, _), _)| *name);
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let open = if active { self.engine().open_that_match(&mute.filter) } else { Vec::new() };
        let shown = json!({
            "id": mute.name,
            "kind": "mute_time",
            "name": mute.name,
            "match": written(&mute.written),
            "from": window.map(|(_, window)| window.from.to_string()),
            "until": window.map(|(_, window)| window.until.to_string()),
            "comment": "",
            "by": "",
            "state": if active { "active" } else { "pending" },
            "source": "config",
            "holds": if active { self.holds(|by| by == &*mute.name) } else { 0 },
            "weekly": {
                "weekdays": days.collect::<Vec<_>>(),
                "from": clock(mute.when.from),
                "to": clock(mute.when.to),
                "timezone": mute.timezone,
            },
        });
        self.with_open(shown, &open, now)
    }

    /// Until when an annotation may silence by the configuration; `None`: not at all.
    fn annotation_until(&self, object: &ObjectRef, key: &'static str, now: Timestamp) -> Option<Timestamp> {
        let engine = self.engine();
        let rules = engine.annotation_rules();
        let allowed = rules.enabled && (rules.nodes || &*object.kind != "Node");
        let place = Arc::from(self.memory().counted_for(object));
        if allowed { engine.annotation_until(&(place, key), now) } else { None }
    }

    fn shown_annotation(
        &self,
        object: &ObjectRef,
        key: &str,
        value: &str,
        bound: Option<Timestamp>,
        now: Timestamp,
    ) -> Value {
        let written: Option<Timestamp> = if key == SILENCE_UNTIL { value.trim().parse().ok() } else { None };
        let readable = if key == MUTE { value.trim() == "true" } else { written.is_some() };
        let until = bound.filter(|_| readable).map(|bound| written.map_or(bound, |at| at.min(bound)));
        let state = match until {
            _ if !readable => "invalid",
            None => "not_allowed",
            Some(until) if now < until => "active",
            Some(_) => "expired",
        };
        let mut matching = json!({});
        if let Some(map) = matching.as_object_mut() {
            let name = &*object.name;
            match (&*object.kind, object.namespace.as_deref()) {
                ("Namespace", _) => drop(map.insert("namespace".into(), name.into())),
                (kind @ ("Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job"), namespace) => {
                    map.insert("workload".into(), Workload::new(kind, name).to_string().into());
                    map.insert("namespace".into(), namespace.into());
                }
                (kind, namespace) => {
                    map.insert("kind".into(), kind.into());
                    map.insert("name".into(), name.into());
                    namespace.and_then(|ns| map.insert("namespace".into(), ns.into()));
                }
            }
        }
        let of = object.to_string();
        let by = format!("annotation {key} of {of}");
        let open = if state == "active" { self.held_open(&by) } else { Vec::new() };
        let shown = json!({
            "id": format!("annotation:{}:{of}", key.rsplit('/').next().unwrap_or(key)),
            "kind": "annotation",
            "name": key,
            "match": matching,
            "from": null,
            "until": until.map(|until| until.to_string()),
            "comment": "",
            "by": "",
            "state": state,
            "source": "annotation",
            "holds": open.len(),
        });
        self.with_open(shown, &open, now)
    }
}

/// A `match` that was accepted before.
fn written(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!({}))
}

fn fixed(what: &str) -> Refusal {
    Refusal::Invalid(format!("{what}: change it there, and reload"))
}
