//! Events: counted by difference, joined to what they are about, and classified.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{ClusterState, MAX_EVENTS, MAX_ORPHANS, NamespacedName};
use crate::clock;
use crate::signal::event::{self, EventFacts};
use crate::signal::facts::Identity;
use crate::signal::finding::{Finding, weight};
use crate::signal::{Cause, ObjectRef, Phase, Signal, Source, pod};
use crate::watch::Kind;
use crate::watch::decode::fields::Text;
use crate::watch::kinds::{Event, Involved};
use crate::watch::scope::{self, Forged, Scope};

/// What the recorder puts before the text of an Event that stands for several
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/client-go/tools/record/events_cache.go>).
const COMBINED: &str = "(combined from similar events): ";
/// How long the API server keeps an Event that nobody updates.
const LIFE: Duration = Duration::from_secs(3600);

/// Where an Event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The first lists of all kinds.
    FirstLook,
    /// A later list, after a gap.
    List,
    Watch,
}

impl ClusterState {
    pub(in crate::watch) fn event(
        &mut self,
        now: Timestamp,
        mut event: Event,
        listed: bool,
        out: &mut Vec<Signal>,
    ) {
        // Nobody asks for them, and those that wait take room.
        (event.metadata.labels, event.metadata.annotations) = (None, None);
        match scope::of(&event) {
            Ok(Scope::Cluster) => event.involved_object.namespace = None,
            Ok(Scope::Namespace(own)) => event.involved_object.namespace = Some(Text::new(own)),
            Err(forged) => return self.not_believed(&event, forged),
        }
        let waits = listed && needs(&event).is_some_and(|kind| self.to_be_listed(kind, &event));
        if self.ready() && !waits {
            self.event_now(now, event, if listed { Origin::List } else { Origin::Watch }, out);
        } else {
            self.early.push(event);
        }
    }

    fn not_believed(&mut self, event: &Event, forged: Forged) {
        *self.forged.entry(forged).or_default() += 1;
        let (own, about) = (event.metadata.namespace.as_deref().unwrap_or_default(), &event.involved_object);
        tracing::debug!(namespace = own, event = event.metadata.name, kind = %about.kind,
            named = about.namespace.as_deref().unwrap_or_default(), name = %about.name,
            reason = forged.as_str(), "an Event is ignored: its author may not speak about this object");
    }

    /// Whether a list will show which objects of this kind are still there.
    fn to_be_listed(&self, kind: Kind, event: &Event) -> bool {
        let namespace = event.involved_object.namespace.as_deref();
        self.blind.contains(kind, namespace) || self.listing.contains(kind, namespace)
    }

    /// A kind was listed, in one namespace or in all: Events that waited for that are looked at.
    pub(super) fn late_events(
        &mut self,
        now: Timestamp,
        kind: Kind,
        namespace: Option<&str>,
        out: &mut Vec<Signal>,
    ) {
        let waits_for_it = |event: &Event| {
            let own = event.involved_object.namespace.as_deref();
            needs(event) == Some(kind) && (namespace.is_none() || own == namespace)
        };
        let (mut waited, others): (Vec<_>, Vec<_>) = self.early.take().into_iter().partition(waits_for_it);
        for event in others {
            self.early.push(event);
        }
        waited.sort_by(|a, b| (a.last_seen(), &a.metadata.name).cmp(&(b.last_seen(), &b.metadata.name)));
        for event in waited {
            self.event_now(now, event, Origin::List, out);
        }
    }

    /// How many occurrences are new. The count jumps: the recorder counts before its spam filter.
    fn new_occurrences(&mut self, now: Timestamp, event: &Event) -> u64 {
        let total = event.total();
        let Some(uid) = &event.metadata.uid else { return total };
        let known = self.objects.events.get(uid.as_str()).copied();
        if known.is_some() || self.objects.events.len() < MAX_EVENTS {
            self.objects.events.insert(Arc::from(uid.as_str()), total);
        }
        match known {
            Some(known) if total >= known => total - known,
            Some(_) => total,
            // Re-created with its old count after its hour, or from before the start.
            None => {
                let known_until = self.news_since.of(Kind::Event).max(clock::before(now, LIFE));
                if event.first_seen().is_some_and(|first| first < known_until) { 1 } else { total }
            }
        }
    }

    pub(super) fn event_now(&mut self, now: Timestamp, event: Event, from: Origin, out: &mut Vec<Signal>) {
        let new = self.new_occurrences(now, &event);
        if new == 0 {
            return;
        }
        let at = event.last_seen().unwrap_or(now);
        let old = from != Origin::Watch && pod::old_news(at, self.news_since.of(Kind::Event));
        let facts = EventFacts {
            reason: &event.reason,
            kind: &event.r#type,
            // After ten texts within ten minutes the recorder begins to fold them.
            message: event.message.strip_prefix(COMBINED).unwrap_or(&event.message),
            reporter: event.reporter(),
            field_path: event.involved_object.field_path.as_deref(),
            at,
            // What is old was counted when it was news.
            count: if old { 0 } else { u32::try_from(new).unwrap_or(u32::MAX) },
        };
        let involved = &event.involved_object;
        let mut found = match &*involved.kind {
            "Pod" if self.is_elsewhere(involved) => return self.not_believed(&event, Forged::OtherPod),
            "Pod" => match self.pod_event(now, &facts, &event, from, out) {
                Some(found) => found,
                None => {
                    self.orphans.push_back((Arc::from(involved.uid.as_deref().unwrap_or_default()), event));
                    if self.orphans.len() > MAX_ORPHANS {
                        self.orphans.pop_front();
                    }
                    return;
                }
            },
            "Node" => self.node_event(now, &facts, involved),
            "PersistentVolumeClaim" => self.claim_event(now, &facts, involved),
            "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" => {
                self.controller_event(now, &facts, involved)
            }
            _ => None,
        };
        // An old Event is no news; where the state still shows the problem it explains it.
        if old
            && let Some(signal) = &found
            && signal.phase == Phase::Pulse
            && !matches!(
                signal.cause,
                Cause::FailedMount | Cause::FailedAttachVolume | Cause::ProvisioningFailed
            )
        {
            found = None;
        }
        let classified = found.is_some();
        if let Some(mut signal) = found {
            if matches!(
                signal.cause,
                Cause::FailedMount
                    | Cause::FailedAttachVolume
                    | Cause::ProvisioningFailed
                    | Cause::FailedCreate
                    | Cause::ContainerStuck
            ) {
                // Elsewhere one Event object may span many unrelated hiccups of its last hour.
                signal.since = signal.since.or_else(|| event.first_seen());
            }
            signal.event_type = Some(self.interner.text(&event.r#type));
            out.push(signal);
        }
        if self.raw_events && !old && !classified {
            out.push(self.raw_event(now, &facts, &event));
        }
    }

    /// The UID of the pod that an Event names. The mirror of a static pod has another one.
    fn pod_uid(&self, involved: &Involved) -> Arc<str> {
        let uid: Arc<str> = Arc::from(involved.uid.as_deref().unwrap_or_default());
        let key = NamespacedName::new(involved.namespace.as_deref(), uid);
        self.mirrors.get(&key).cloned().unwrap_or(key.name)
    }

    /// Is the pod with this UID one of another namespace than the Event says?
    fn is_elsewhere(&self, involved: &Involved) -> bool {
        let uid = self.pod_uid(involved);
        let pod = self.objects.pods.get(&uid).map(|entry| &entry.facts);
        let known = pod.or_else(|| self.tombstones.get(&uid).map(|tomb| &tomb.facts));
        known.is_some_and(|pod| pod.id.object.namespace.as_deref() != involved.namespace.as_deref())
    }

    /// `None`: the pod is not known yet. `Some(None)`: nothing to say.
    #[allow(clippy::option_option, reason = "unknown and nothing are two answers")]
    fn pod_event(
        &mut self,
        now: Timestamp,
        facts: &EventFacts<'_>,
        event: &Event,
        from: Origin,
        out: &mut Vec<Signal>,
    ) -> Option<Option<Signal>> {
        let uid = self.pod_uid(&event.involved_object);
        self.run_ended_by(now, &uid, facts, out);
        if let Some(entry) = self.objects.pods.get(&uid) {
            let Some(finding) = event::pod(facts, Some(&entry.facts)) else { return Some(None) };
            let evicted = finding.cause == Cause::Evicted;
            let signal = self.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Event);
            if evicted && let Some(entry) = self.objects.pods.get_mut(&uid) {
                entry.facts.evicted = true;
            }
            return Some(Some(signal));
        }
        if let Some(tomb) = self.tombstones.get_mut(&uid) {
            let finding = event::pod(facts, Some(&tomb.facts)).filter(|f| f.cause == Cause::Evicted);
            let Some(finding) = finding else { return Some(None) };
            tomb.facts.evicted = true;
            let (facts, workload) = (tomb.facts.clone(), tomb.workload.clone());
            return Some(Some(self.pod_signal(now, &facts, &workload, finding, Source::Event)));
        }
        if from == Origin::FirstLook
            || self.listed_without(facts.at, event.involved_object.namespace.as_deref())
        {
            return Some(self.past_eviction(now, facts, event));
        }
        // Only what could say something is worth waiting with.
        if event::pod(facts, None).is_none() && !waits(facts.reason) { Some(None) } else { None }
    }

    /// Whether a pod that had an Event then, and is not known, is gone: a list that began later would
    /// have shown it.
    fn listed_without(&self, at: Timestamp, namespace: Option<&str>) -> bool {
        let complete = self.listed_at.last(Kind::Pod, namespace);
        complete.is_some_and(|began| at < began) && !self.is_blind(Kind::Pod, namespace)
    }

    /// An eviction of a pod that was gone before anybody looked. Of a past pod nothing else comes any
    /// more, and nothing else is still worth telling.
    fn past_eviction(&mut self, now: Timestamp, facts: &EventFacts<'_>, event: &Event) -> Option<Signal> {
        let finding = event::pod(facts, None).filter(|finding| finding.cause == Cause::Evicted)?;
        let Involved { namespace, name, uid, .. } = &event.involved_object;
        let mut id = self.identity_of("Pod", namespace.as_deref()?, &Arc::from(&**name));
        id.object.uid = Arc::from(uid.as_deref()?);
        let workload = self.former_workload(&id);
        let mut signal = self.owned_signal(now, &id, &workload, finding, Source::Event);
        signal.node = event.source.host.as_deref().map(|host| self.interner.text(host));
        Some(signal)
    }

    pub(in crate::watch) fn adopt_orphans(&mut self, now: Timestamp, uid: &str, out: &mut Vec<Signal>) {
        if !self.orphans.iter().any(|(of, _)| &**of == uid) {
            return;
        }
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.orphans).into_iter().partition(|(of, _)| &**of == uid);
        self.orphans = others.into();
        for (_, event) in mine {
            if let Some(uid) = &event.metadata.uid {
                self.objects.events.remove(&Arc::from(uid.as_str()));
            }
            self.event_now(now, event, Origin::Watch, out);
        }
    }

    /// By name: the kubelet leaves the UID of its node empty, others put the name there.
    fn node_event(&mut self, now: Timestamp, facts: &EventFacts<'_>, involved: &Involved) -> Option<Signal> {
        let finding = event::node(facts)?;
        let name = self.interner.text(&involved.name);
        if finding.cause == Cause::Rebooted
            && let Some((_, boot)) = finding.message.rsplit_once("boot id: ")
            && !self.first_report(&name, &Arc::from(boot))
        {
            return None;
        }
        let node = self.objects.nodes.get(&name)?;
        if finding.cause == Cause::Rebooted && node.being_removed {
            return None;
        }
        Some(self.node_signal(now, &node.id, finding, Source::Event))
    }

    fn claim_event(&self, now: Timestamp, facts: &EventFacts<'_>, involved: &Involved) -> Option<Signal> {
        let claim = self.objects.claims.get(&involved_key(involved))?;
        let finding = event::claim(facts, !claim.bound && !claim.id.deleting())?;
        Some(self.plain_signal(now, &claim.id, finding, Source::Event))
    }

    fn controller_event(
        &self,
        now: Timestamp,
        facts: &EventFacts<'_>,
        involved: &Involved,
    ) -> Option<Signal> {
        let key = involved_key(involved);
        let owner = match &*involved.kind {
            "ReplicaSet" => self.objects.replica_sets.get(&key).and_then(Clone::clone),
            "Job" => self.objects.jobs.get(&key).and_then(|job| job.id.owner.clone()),
            _ => None,
        };
        let (kind, name) = match owner {
            Some(owner) => (owner.kind, owner.name),
            None => (Arc::from(&*involved.kind), Arc::clone(&key.name)),
        };
        let finding = event::controller(facts, &*kind == "Deployment")?;
        let id = self.identity_of(&kind, &key.namespace, &name);
        Some(self.plain_signal(now, &id, finding, Source::Event))
    }

    fn raw_event(&mut self, now: Timestamp, facts: &EventFacts<'_>, event: &Event) -> Signal {
        let involved = &event.involved_object;
        let finding = Finding {
            at: Some(facts.at),
            count: facts.count,
            container: facts.container().map(Arc::from),
            ..Finding::new(Cause::Event, Phase::Pulse, &self.interner.text(facts.reason))
                .text(Arc::from(facts.message), weight::ERROR)
        };
        let pod =
            (&*involved.kind == "Pod").then(|| self.objects.pods.get(&self.pod_uid(involved))).flatten();
        let mut signal = match pod {
            Some(entry) => self.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Event),
            None => {
                let namespace = involved.namespace.as_deref().unwrap_or_default();
                let id = self.identity_of(&involved.kind, namespace, &Arc::from(&*involved.name));
                if &*involved.kind == "Node" {
                    self.node_signal(now, &id, finding, Source::Event)
                } else {
                    self.plain_signal(now, &id, finding, Source::Event)
                }
            }
        };
        signal.event_type = Some(self.interner.text(facts.kind));
        signal.since = event.first_seen();
        signal
    }

    /// Who `kind/name` is, as far as known; made up of the names otherwise.
    pub(super) fn identity_of(&self, kind: &str, namespace: &str, name: &Arc<str>) -> Identity {
        let object = ObjectRef {
            kind: Arc::from(kind),
            namespace: (!namespace.is_empty()).then(|| Arc::from(namespace)),
            name: Arc::clone(name),
            uid: Arc::from(""),
        };
        self.known(&object).cloned().unwrap_or(Identity {
            object,
            labels: None,
            annotations: None,
            created: None,
            deletion: None,
            owner: None,
        })
    }

    /// An object by its kind and name, as far as it is known. A namespace is asked for by its own name.
    pub(super) fn known(&self, object: &ObjectRef) -> Option<&Identity> {
        let kind = Kind::parse(&object.kind).filter(|kind| *kind != Kind::Namespace)?;
        self.objects.identity(kind, object)
    }
}

/// The kind without whose objects an Event says nothing.
fn needs(event: &Event) -> Option<Kind> {
    let kind = Kind::parse(&event.involved_object.kind)?;
    matches!(kind, Kind::Pod | Kind::Node | Kind::PersistentVolumeClaim).then_some(kind)
}

/// Reasons that mean something only together with the pod.
fn waits(reason: &str) -> bool {
    matches!(
        reason,
        "FailedMount"
            | "FailedMapVolume"
            | "FailedAttachVolume"
            | "FailedCreatePodSandBox"
            | "Failed"
            | "Unhealthy"
            | "Killing"
    )
}

fn involved_key(involved: &Involved) -> NamespacedName {
    NamespacedName::new(involved.namespace.as_deref(), &*involved.name)
}
