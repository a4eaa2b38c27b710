//! What is open and what is wrong with annotations, for `kubeherald status` and the page of the bot.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::pipeline::{Pipeline, Start};
use super::{commit, silences};
use crate::config::{Config, suggest};
use crate::message::status::{AnnotationMistake, HeldBack, OpenIncident, Status};
use crate::message::text;
use crate::message::text::words::one_line;
use crate::signal::silence::{self, KNOWN_KEYS, MUTE, PREFIX, SILENCE_UNTIL};
use crate::store::{AnnotationRow, Store, StoreError};
use crate::watch::Kind;

/// So many mistakes in annotations are listed; the rest is counted.
const MAX_MISTAKES: usize = 50;
/// The longest key of an annotation that is shown.
const MAX_KEY: usize = 120;

/// What is said where a silence's moment cannot be read.
pub(super) const A_MOMENT: &str = "expected a moment such as 2026-11-21T18:00:00Z (RFC 3339)";
/// What is said where a mute is neither.
pub(super) const A_SWITCH: &str = "expected \"true\" or \"false\"";

impl Pipeline {
    /// Everything that is open, at most `most` incidents of it. What only the other parts of the bot know
    /// (receivers, watches, configuration) is left out.
    pub fn status(&self, most: usize, now: Timestamp) -> Status {
        let count = self.engine().open_count();
        let open = self.engine().open(most, now, self.memory());
        let (annotations, annotations_total) = self.annotation_mistakes();
        Status {
            cluster: self.cluster().to_string(),
            asked_at: now,
            synced: self.synced(),
            incidents: open.into_iter().map(|(open, view)| self.titled(open, view)).collect(),
            incidents_total: count.total(),
            critical: count.critical,
            warning: count.warning,
            info: count.info,
            annotations,
            annotations_total,
            ..Status::default()
        }
    }

    /// With the words that a message would have.
    pub(super) fn titled(&self, open: OpenIncident, mut view: crate::message::IncidentView) -> OpenIncident {
        self.put_title(&mut view);
        OpenIncident { title: text::incident_title(&view), size: text::extent(&view), ..open }
    }

    /// Annotations of the `kubeherald.io/` family that do nothing, by object; the first of them and how many.
    fn annotation_mistakes(&self) -> (Vec<AnnotationMistake>, u64) {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let nodes = self.engine().annotation_rules().nodes;
        for (object, annotations) in self.memory().annotated_with(PREFIX) {
            for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
                let silences = silence::KEYS.contains(&key.as_str());
                let Some(problem) = problem(key, value, &*object.kind == "Node" && silences && !nodes) else {
                    continue;
                };
                // The pods of a workload have what its template says.
                let place = self.memory().counted_for(&object);
                let first = seen.insert((place.clone(), key.clone(), value.clone()));
                if first && found.len() < MAX_MISTAKES {
                    found.push(AnnotationMistake {
                        object: one_line(&place, 2 * MAX_KEY),
                        annotation: one_line(key, MAX_KEY),
                        value: silence::shown(value).to_string(),
                        problem,
                    });
                }
            }
        }
        (found, u64::try_from(seen.len()).unwrap_or(u64::MAX))
    }
}

/// Why an annotation does nothing; `None`: it does what it says.
fn problem(key: &str, value: &str, of_node: bool) -> Option<String> {
    if of_node {
        return Some("annotations of nodes silence nothing unless `annotations.nodes` is `true`".to_owned());
    }
    match key {
        SILENCE_UNTIL => (!silence::is_moment(value)).then(|| A_MOMENT.to_owned()),
        MUTE => (!silence::is_switch(value)).then(|| A_SWITCH.to_owned()),
        known if KNOWN_KEYS.contains(&known) => None,
        unknown => Some(match suggest::nearest(unknown, KNOWN_KEYS) {
            Some(near) => format!("unknown annotation: did you mean `{near}`?"),
            None => format!("unknown annotation; there are {}", KNOWN_KEYS.join(", ")),
        }),
    }
}

/// Why nothing is sent of incidents (ids and bodies of a store) that are open.
pub fn held_back(
    store: &Store,
    incidents: Vec<(String, String)>,
    config: &Config,
    now: Timestamp,
) -> Result<BTreeMap<String, HeldBack>, StoreError> {
    let (silences, annotations) = (store.load_silences().wait()?, store.load_annotations().wait()?);
    let pipeline = stored(incidents, silences, annotations, config);
    let open = pipeline.engine().open(usize::MAX, now, pipeline.memory()).into_iter();
    Ok(open.filter_map(|(open, _)| Some((open.incident, open.held_back?))).collect())
}

/// What a store says is open, where no bot can be asked. It knows what was notified, is silenced or was only seen in
/// Events; sizes of workloads and annotations are not in it.
pub async fn of_store(
    store: &Store,
    config: &Config,
    most: usize,
    now: Timestamp,
) -> Result<Status, StoreError> {
    let pipeline = stored(
        store.load_incidents().await?,
        store.load_silences().await?,
        store.load_annotations().await?,
        config,
    );
    Ok(Status { synced: true, ..pipeline.status(most, now) })
}

/// A pipeline with what was stored, which looks at no cluster.
fn stored(
    incidents: Vec<(String, String)>,
    silences: Vec<(String, String)>,
    annotations: Vec<AnnotationRow>,
    config: &Config,
) -> Pipeline {
    let annotations = annotations.into_iter();
    let start = Start {
        incidents: commit::restore(incidents),
        silences: silences::restore(silences),
        annotations: annotations
            .filter_map(|row| row.seen.map(|(value, since)| (row.place, row.key, value, since)))
            .collect(),
        ..Start::default()
    };
    Pipeline::new(config, &Kind::ALL, Timestamp::MIN, start).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_annotations_say_what_would_be_right() {
        let said = |key: &str, value: &str| problem(key, value, false);
        assert_eq!(said("kubeherald.io/mute", "true"), None);
        assert_eq!(said("kubeherald.io/silence-until", "2026-11-21T18:00:00Z"), None);
        assert_eq!(said("kubeherald.io/runbook", "https://x.example"), None);
        assert_eq!(said("kubeherald.io/mute", "yes").as_deref(), Some(A_SWITCH));
        assert_eq!(said("kubeherald.io/silence-until", "tomorrow").as_deref(), Some(A_MOMENT));
        let near = said("kubeherald.io/silence-untill", "2026-11-21T18:00:00Z").unwrap();
        assert_eq!(near, "unknown annotation: did you mean `kubeherald.io/silence-until`?");
        assert!(said("kubeherald.io/owner", "x").unwrap().starts_with("unknown annotation"));
        assert!(problem("kubeherald.io/mute", "true", true).unwrap().contains("`annotations.nodes`"));
    }
}
