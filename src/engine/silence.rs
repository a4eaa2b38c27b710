//! What is known and due, and still not told: silences, mute times and annotations.
//!
//! Nothing else about an incident changes: it is followed, it holds back what follows from it, and
//! its end is told if its beginning was. It is asked here only when something would be told, and
//! what was held is told when nothing holds it any more, as it is by then.

mod list;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

pub use list::{KEEP_EXPIRED, MAX_EXPIRED, MAX_SILENCES, Silences, TooMany};

use super::annotations::places;
use super::incident::{Life, object_key};
use super::judge::steps_passed;
use super::{Effects, Engine, Incident, Member, Note, Suppression};
use crate::message::{Decision, Reason};
use crate::rule::silence::{Affected, short_id};
use crate::rule::{MuteTime, RouteFacts, Silence};

use crate::signal::silence::{self, AnnotationSilence};
use crate::signal::{ObjectRef, World};

/// At most so many annotations that cannot be read are told apart.
const MAX_BAD: usize = 1000;
/// Annotations of at most so many members are looked at for mistakes.
const MAX_LOOK: usize = 50;

/// What [`Suppression::by`] begins with where an annotation holds an incident back.
pub(in crate::engine) const BY_ANNOTATION: &str = "annotation ";

/// Why an annotation that was meant to silence does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyIgnored {
    /// Its value cannot be read.
    Unreadable,
    /// The configuration does not let annotations of nodes count.
    OfNode,
}

/// An annotation that was meant to silence and does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BadAnnotation {
    /// Of which object, workload or namespace.
    pub of: Arc<str>,
    pub key: &'static str,
    /// Its value, cut and cleaned.
    pub value: Arc<str>,
    /// Why it silences nothing.
    pub why: WhyIgnored,
}

/// What holds an incident back at this moment.
pub(super) struct HeldBy {
    reason: Reason,
    by: Arc<str>,
    comment: Option<Arc<str>>,
    /// When to ask again; `None`: only when something changes.
    pub until: Option<Timestamp>,
}

impl Engine {
    pub const fn silences(&self) -> &Silences {
        &self.silences
    }

    pub const fn silences_mut(&mut self) -> &mut Silences {
        &mut self.silences
    }

    /// An id for a silence of the API. `draft` says what was asked for, which may be asked for again; the
    /// number tells the two apart, also after the first is forgotten.
    pub fn name_silence(&mut self, draft: &str) -> Arc<str> {
        self.identity.numbers.silences += 1;
        short_id(&[draft, &self.identity.store, &self.identity.numbers.silences.to_string()])
    }

    /// The mute times of the configuration.
    pub fn mute_times(&self) -> &[MuteTime] {
        &self.settings.mute_times
    }

    /// How many annotations that cannot be read were met.
    pub fn bad_annotations(&self) -> u64 {
        u64::try_from(self.bad_annotations.len()).unwrap_or(u64::MAX)
    }

    /// Is [`Self::review`] to be called?
    pub const fn wants_review(&self) -> bool {
        self.silences.review
    }

    /// Looks at every incident that was held back: what held it may be gone.
    pub fn review(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.silences.review = false;
        let held = self.incidents.iter().filter(|incident| incident.quiet.is_some());
        let ids = held.map(|incident| Arc::clone(&incident.id)).collect();
        self.review_these(ids, now, world, out);
    }

    /// The annotations of this object, workload or namespace changed: looks at what they may have
    /// held back, and whether they are right.
    pub fn review_about(&mut self, object: &ObjectRef, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let id = |incident: &Incident| Arc::clone(&incident.id);
        let of = |namespace| self.incidents.of_namespace(namespace).map(id).collect();
        let ids = match &*object.kind {
            "Namespace" => of(&Some(Arc::clone(&object.name))),
            // What stands behind the members of an incident is not indexed under every grouping.
            "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job" => of(&object.namespace),
            _ => self.incidents.of_object(&object_key(object)).map(id).collect(),
        };
        self.review_these(ids, now, world, out);
    }

    fn review_these(&mut self, mut ids: Vec<Arc<str>>, now: Timestamp, world: &dyn World, out: &mut Effects) {
        ids.sort();
        for id in ids {
            let Some(incident) = self.incidents.get(&id).filter(|i| !i.is_ended()) else {
                continue;
            };
            let held = incident.quiet.is_some();
            self.look_for_mistakes(&id, world, out);
            if held {
                self.evaluate(&id, now, world, out);
            }
        }
    }

    /// Is something about to be told that must not be? Recorded once for each change.
    pub(super) fn silenced_by(
        &mut self,
        id: &Arc<str>,
        what: Decision,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<HeldBy> {
        self.look_for_mistakes(id, world, out);
        self.see_annotations(id, now, world, out);
        let found = self.quiet(self.incidents.get(id)?, now, world)?;
        let incident = self.incidents.get_mut(id)?;
        let step = steps_passed(&self.settings, incident);
        let same = incident.quiet.take().filter(|q| (q.reason, &q.by) == (found.reason, &found.by));
        let known = same.is_some();
        let mut quiet = same.unwrap_or_else(|| Suppression {
            reason: found.reason,
            by: Arc::clone(&found.by),
            held: BTreeSet::new(),
            step: 0,
        });
        let news = quiet.held.insert(what) || (what == Decision::Grew && step > quiet.step);
        quiet.step = quiet.step.max(step);
        incident.quiet = Some(quiet);
        if news || !known {
            *self.counts.entry(found.reason).or_default() += 1;
            self.count_held_in_digests(id, found.reason, out);
            out.notes.push(Note {
                detail: Some(Arc::clone(&found.by)),
                comment: found.comment.clone(),
                held: Some(what),
                until: found.until,
                ..Note::of(self.incidents.get(id)?, now, found.reason)
            });
        }
        if let Some(incident) = self.incidents.get_mut(id).filter(|i| !i.is_open()) {
            incident.waits_for(found.reason, Some(Arc::clone(&found.by)), found.until, now);
        }
        Some(found)
    }

    /// It was gathered for a summary and is silenced by now: back to what it was before. True if so.
    pub(super) fn withdraw(
        &mut self,
        id: &Arc<str>,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> bool {
        let Some(incident) = self.incidents.get(id) else { return false };
        let before = matches!(incident.life(), Life::Gathering { ended: Some(_), .. });
        let what = if before { Decision::Reopened } else { Decision::First };
        if self.silenced_by(id, what, now, world, out).is_none() {
            return false;
        }
        if let Some(incident) = self.incidents.get_mut(id) {
            incident.flaps = incident.flaps.saturating_sub(u32::from(before));
        }
        self.incidents.advance(id, |life| life.withdraw(now));
        self.evaluate(id, now, world, out);
        true
    }

    /// Must nothing be told of it now?
    pub(super) fn is_quiet(&self, incident: &Incident, now: Timestamp, world: &dyn World) -> bool {
        self.quiet(incident, now, world).is_some()
    }

    /// What holds an incident back: silences before mute times, and of several the one that lasts
    /// longest, so that the fewest changes are recorded.
    fn quiet(&self, incident: &Incident, now: Timestamp, world: &dyn World) -> Option<HeldBy> {
        let rule = self.rule_of(incident)?;
        let facts = RouteFacts { signal: &incident.signal, rule: &rule, severity: incident.severity };
        let affected = || {
            let known = concerned(incident).map(|member| Affected {
                name: &member.object.name,
                node: member.node.as_deref(),
                container: member.part.as_deref(),
            });
            // Past the cap nothing is known of them: no condition on them can be met.
            let unknown = Affected { name: "", node: None, container: None };
            known.chain((incident.unnamed > 0).then_some(unknown))
        };
        let silence = self
            .silences
            .all()
            .filter(|silence| silence.active(now) && silence.filter.matches(facts, affected()))
            .max_by_key(|silence| (silence.until, Arc::clone(&silence.id)));
        if let Some(silence) = silence {
            return Some(HeldBy {
                reason: Reason::SilencedBy,
                by: Arc::clone(silence.called()),
                comment: remark(silence),
                until: Some(silence.until),
            });
        }
        let allowed = self.settings.annotations.enabled
            && !self.settings.annotations.except.as_ref().is_some_and(|f| f.matches(facts, affected()));
        let annotated = if allowed { self.annotated(incident, now, world) } else { None };
        if let Some(found) = annotated.as_ref().filter(|found| found.reason == Reason::SilencedBy) {
            return Some(HeldBy { by: Arc::clone(&found.by), comment: None, ..*found });
        }
        let mute = self.settings.mute_times.iter().filter_map(|mute| {
            let window = mute.when.current(now)?;
            mute.filter.matches(facts, affected()).then_some((window.until, mute))
        });
        if let Some((until, mute)) = mute.max_by_key(|(until, mute)| (*until, Arc::clone(&mute.name))) {
            let by = Arc::clone(&mute.name);
            return Some(HeldBy { reason: Reason::Muted, by, comment: None, until: Some(until) });
        }
        annotated
    }

    /// Tells, once each, of annotations that were meant to silence and say nothing.
    fn look_for_mistakes(&mut self, id: &Arc<str>, world: &dyn World, out: &mut Effects) {
        let Some(incident) = self.incidents.get(id) else { return };
        if !self.settings.annotations.enabled {
            return;
        }
        for member in concerned(incident).take(MAX_LOOK) {
            let layers = layers(incident, member, world);
            let mut found: Vec<(usize, &'static str, Arc<str>, WhyIgnored)> = silence::bad(&layers)
                .map(|(layer, key, value)| (layer, key, value, WhyIgnored::Unreadable))
                .collect();
            if &*member.object.kind == "Node" && !self.settings.annotations.nodes {
                let own = silence::KEYS.into_iter().filter_map(|key| {
                    let value = layers[0].as_ref()?.get(key)?;
                    Some((0, key, silence::shown(value), WhyIgnored::OfNode))
                });
                found.extend(own);
            }
            for (layer, key, value, why) in found {
                let bad = BadAnnotation { of: place(incident, member, layer), key, value, why };
                if self.bad_annotations.len() < MAX_BAD && self.bad_annotations.insert(bad.clone()) {
                    out.bad_annotations.push(bad);
                }
            }
        }
    }

    /// From here on the annotations that may hold it back are counted, if they were not seen before.
    fn see_annotations(&mut self, id: &Arc<str>, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let Some(incident) = self.incidents.get(id).filter(|_| self.settings.annotations.enabled) else {
            return;
        };
        let speaks = |layers: &silence::Layers| {
            let of_layer =
                |map: &crate::signal::Labels| silence::KEYS.iter().any(|key| map.contains_key(*key));
            layers.iter().flatten().any(of_layer)
        };
        let members: Vec<([String; 3], silence::Layers)> = concerned(incident)
            .take(MAX_LOOK)
            .map(|member| (places(incident, member), layers(incident, member, world)))
            .filter(|(_, layers)| speaks(layers))
            .collect();
        self.see_annotations_of(&members, now, out);
    }

    /// An incident is quiet when each of its members is.
    fn annotated(&self, incident: &Incident, now: Timestamp, world: &dyn World) -> Option<HeldBy> {
        let mut found: Option<HeldBy> = None;
        for member in concerned(incident) {
            let bound = |layer, key| self.annotation_counts_until(incident, member, (layer, key), now);
            let layers = layers(incident, member, world);
            let (reason, until, key, layer) = match silence::silenced_within(&layers, now, bound)? {
                AnnotationSilence::Until(until, layer) => {
                    (Reason::SilencedBy, Some(until), silence::SILENCE_UNTIL, layer)
                }
                AnnotationSilence::Mute(layer) => {
                    (Reason::Muted, bound(layer, silence::MUTE), silence::MUTE, layer)
                }
            };
            if layer == 0 && incident.unnamed > 0 {
                // What those past the cap say is not known.
                return None;
            }
            let Some(found) = &mut found else {
                let by = Arc::from(format!("{BY_ANNOTATION}{key} of {}", place(incident, member, layer)));
                found = Some(HeldBy { reason, by, comment: None, until });
                continue;
            };
            found.until = match (found.until, until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            if reason == Reason::Muted {
                found.reason = Reason::Muted;
            }
            if layer == 0 {
                found.by = Arc::from(format!("{BY_ANNOTATION}{key} of each object"));
            }
        }
        found
    }
}

/// Who has the problem; those who had it last, where nobody has it now.
fn concerned(incident: &Incident) -> impl Iterator<Item = &Member> {
    let none = incident.raised().next().is_none();
    incident.members.values().filter(move |member| none || member.raised)
}

/// The annotations that count for a member, as they are now.
pub(super) fn layers(incident: &Incident, member: &Member, world: &dyn World) -> silence::Layers {
    let live = world.annotations(&member.object, &incident.signal.workload);
    live.unwrap_or_else(|| incident.signal.annotations.clone())
}

/// Whose annotations a layer holds.
fn place(incident: &Incident, member: &Member, layer: usize) -> Arc<str> {
    let namespace = member.object.namespace.as_deref().unwrap_or_default();
    match layer {
        0 => Arc::from(member.object.to_string()),
        1 => Arc::from(silence::workload_place(namespace, &incident.signal.workload)),
        _ => Arc::from(format!("Namespace/{namespace}")),
    }
}

/// "drained for repair (by anna)"
fn remark(silence: &Silence) -> Option<Arc<str>> {
    match (&*silence.comment, &*silence.by) {
        ("", "") => None,
        (_, "") => Some(Arc::clone(&silence.comment)),
        ("", by) => Some(Arc::from(format!("by {by}"))),
        (comment, by) => Some(Arc::from(format!("{comment} (by {by})"))),
    }
}

#[cfg(test)]
mod tests;
