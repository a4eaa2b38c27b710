//! Deletions that take too long. Nothing changes in an object whose deletion hangs, so the memory looks
//! at it again by the clock: shortly after its grace period.
//!
//! One timer for each pod and namespace that is being deleted, and none for anything else: a rollout or a
//! drain raises nothing, and the timer goes with the object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ClusterState;
use crate::clock;
use crate::signal::facts::{Deletion, Identity};
use crate::signal::finding::Finding;
use crate::signal::terminating::{self, Host};
use crate::signal::{Cause, ObjectRef, Phase, Signal, Source, Standing};
use crate::watch::Kind;

/// The kubelet confirms the end of a pod, and the namespace controller that of a namespace, within
/// seconds. What is still there after this is worth a look; the rule decides what is worth a message.
const CONFIRMED: Duration = Duration::from_secs(60);

/// An object whose deletion is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deleted {
    Pod(Arc<str>),
    Namespace(Arc<str>),
}

/// Bounded by the pods and namespaces that are remembered.
#[derive(Debug, Default)]
pub(super) struct Terminating {
    /// When to look at which again.
    timers: BTreeSet<(Timestamp, Deleted)>,
    /// The timer of each.
    due: BTreeMap<Deleted, Timestamp>,
    /// What was found overdue, and since when.
    stuck: BTreeMap<Deleted, Timestamp>,
    /// Until when it has a right to be there, by the clock of this process: for its grace period from when
    /// it was seen to be deleted, and a namespace for a moment after the last pod went.
    legal: BTreeMap<Deleted, Timestamp>,
    /// Namespaces that are being deleted.
    namespaces: BTreeSet<Arc<str>>,
}

impl Terminating {
    fn schedule(&mut self, what: Deleted, at: Timestamp) {
        if let Some(old) = self.due.insert(what.clone(), at) {
            self.timers.remove(&(old, what.clone()));
        }
        self.timers.insert((at, what));
    }

    fn forget(&mut self, what: &Deleted) {
        if let Some(at) = self.due.remove(what) {
            self.timers.remove(&(at, what.clone()));
        }
        self.stuck.remove(what);
        self.legal.remove(what);
        if let Deleted::Namespace(name) = what {
            self.namespaces.remove(name);
        }
    }

    fn pop(&mut self, now: Timestamp) -> Option<Deleted> {
        let (at, what) = self.timers.first().filter(|(at, _)| *at <= now).cloned()?;
        self.timers.remove(&(at, what.clone()));
        self.due.remove(&what);
        Some(what)
    }
}

impl ClusterState {
    /// When [`Self::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let (at, _) = self.terminating.timers.first().filter(|_| self.ready())?;
        Some(self.own_time(*at))
    }

    /// Looks at the objects whose deletion should be over by `now`.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        if !self.ready() {
            return;
        }
        let before = out.len();
        self.overdue(self.server_time(now), out);
        self.drop_with_namespaces(before, out);
        self.translate(now, out.get_mut(before..).unwrap_or_default());
    }

    /// `now` is by the API server's clock.
    pub(super) fn overdue(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        while let Some(what) = self.terminating.pop(now) {
            let Some(since) = self.overdue_since(&what) else { continue };
            if since > now {
                self.terminating.schedule(what, clock::after(since, CONFIRMED));
                continue;
            }
            self.terminating.stuck.insert(what.clone(), since);
            out.extend(self.stuck_signal(now, &what));
        }
    }

    /// A pod was seen.
    pub(in crate::watch) fn pod_terminates(&mut self, now: Timestamp, uid: &Arc<str>, out: &mut Vec<Signal>) {
        let what = Deleted::Pod(Arc::clone(uid));
        self.watch_deletion(now, what, out);
    }

    /// A namespace was seen.
    pub(in crate::watch) fn namespace_terminates(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        out: &mut Vec<Signal>,
    ) {
        if self.objects.namespaces.get(name).is_some_and(|space| space.id.deleting()) {
            self.terminating.namespaces.insert(Arc::clone(name));
        }
        self.watch_deletion(now, Deleted::Namespace(Arc::clone(name)), out);
    }

    fn watch_deletion(&mut self, now: Timestamp, what: Deleted, out: &mut Vec<Signal>) {
        let Some(deletion) = self.deletion(&what) else { return };
        // Timers never lie in the past: what is decided now was not known before.
        let at = clock::after(deletion.at, CONFIRMED).max(now);
        if !self.terminating.stuck.contains_key(&what) {
            // The clocks of the API server and of this process may differ by more than a grace period: what
            // is seen to be deleted has its grace period from then on.
            if self.ready() && !self.terminating.due.contains_key(&what) {
                let legal = clock::after(now, deletion.grace);
                self.terminating.legal.entry(what.clone()).or_insert(legal);
            }
            self.terminating.schedule(what, at);
        } else if self.ready() {
            // What keeps it may have changed.
            out.extend(self.stuck_signal(now, &what));
        }
    }

    /// The object is gone. Its namespace can go now, and gets its time for that.
    pub(in crate::watch) fn pod_terminated(&mut self, now: Timestamp, object: &ObjectRef) {
        self.terminating.forget(&Deleted::Pod(Arc::clone(&object.uid)));
        let Some(name) = object.namespace.as_ref() else { return };
        let space = Deleted::Namespace(Arc::clone(name));
        if self.terminating.namespaces.contains(name) && !self.terminating.stuck.contains_key(&space) {
            self.terminating.legal.insert(space.clone(), now);
            self.terminating.schedule(space, clock::after(now, CONFIRMED));
        }
    }

    /// The namespace is gone.
    pub(in crate::watch) fn namespace_terminated(&mut self, name: &Arc<str>) {
        self.terminating.forget(&Deleted::Namespace(Arc::clone(name)));
    }

    /// A kubelet that is back has the whole grace period for each pod that was deleted without it.
    pub(in crate::watch) fn node_returned(&mut self, now: Timestamp, node: &str, out: &mut Vec<Signal>) {
        let stuck: Vec<(Arc<str>, Duration)> = self
            .terminating
            .stuck
            .keys()
            .filter_map(|what| match what {
                Deleted::Pod(uid) => {
                    let entry =
                        self.objects.pods.get(uid).filter(|entry| entry.facts.node.as_deref() == Some(node));
                    Some((Arc::clone(uid), entry?.facts.id.deletion.as_ref()?.grace))
                }
                Deleted::Namespace(_) => None,
            })
            .collect();
        for (uid, grace) in stuck {
            let what = Deleted::Pod(Arc::clone(&uid));
            self.terminating.stuck.remove(&what);
            let legal = clock::after(now, grace);
            self.terminating.legal.insert(what.clone(), legal);
            self.terminating.schedule(what, clock::after(legal, CONFIRMED));
            if let Some(entry) = self.objects.pods.get(&uid) {
                let reason = Arc::from("NodeReturned");
                let cleared = Finding::new(Cause::StuckTerminating, Phase::Cleared, &reason);
                out.push(self.pod_signal(now, &entry.facts, &entry.workload, cleared, Source::Status));
            }
        }
    }

    /// What was found overdue, as it is now.
    pub(super) fn stuck_signals(&self, now: Timestamp, out: &mut Vec<Signal>) {
        out.extend(self.terminating.stuck.keys().filter_map(|what| self.stuck_signal(now, what)));
    }

    /// Does the deletion of this object hang?
    pub(super) fn terminating_standing(&self, object: &ObjectRef) -> Standing {
        let (what, kind, there) = if &*object.kind == "Namespace" {
            let there = self.objects.namespaces.get(&object.name);
            let same = there.is_some_and(|space| object.uid.is_empty() || space.id.object.uid == object.uid);
            (Deleted::Namespace(Arc::clone(&object.name)), Kind::Namespace, same)
        } else {
            let there = self.objects.pods.contains_key(&object.uid);
            (Deleted::Pod(Arc::clone(&object.uid)), Kind::Pod, there)
        };
        if !there {
            return self.absent(kind, object.namespace.as_deref());
        }
        if self.is_blind(kind, object.namespace.as_deref()) {
            return Standing::Unknown;
        }
        if self.terminating.stuck.contains_key(&what) { Standing::Raised } else { Standing::Clear(None) }
    }

    /// Takes out, of the signals behind the first `before`, what is raised in a namespace that is being
    /// deleted: all of it goes, and what goes wrong meanwhile (pods that cannot be made, volumes that are
    /// missing) needs nobody. If the deletion hangs, the namespace says so itself.
    pub(super) fn drop_with_namespaces(&self, before: usize, out: &mut Vec<Signal>) {
        if self.terminating.namespaces.is_empty() {
            return;
        }
        let mut place = 0;
        out.retain(|signal| {
            place += 1;
            let raised = matches!(signal.phase, Phase::Raised | Phase::Pulse);
            let inside = &*signal.object.kind != "Namespace"
                && signal
                    .object
                    .namespace
                    .as_ref()
                    .is_some_and(|ns| self.terminating.namespaces.contains(ns));
            place <= before || !raised || !inside
        });
    }

    fn deletion(&self, what: &Deleted) -> Option<&Deletion> {
        let id = match what {
            Deleted::Pod(uid) => &self.objects.pods.get(uid)?.facts.id,
            Deleted::Namespace(name) => &self.objects.namespaces.get(name)?.id,
        };
        id.deletion.as_deref()
    }

    /// Since when it should be gone; may be to come. A pod has its grace period from when its node came
    /// back, and a namespace stays for as long as a pod in it has one.
    fn overdue_since(&self, what: &Deleted) -> Option<Timestamp> {
        let deletion = self.deletion(what)?;
        let legal = match what {
            Deleted::Pod(uid) => {
                let node = self
                    .objects
                    .pods
                    .get(uid)?
                    .facts
                    .node
                    .as_ref()
                    .and_then(|name| self.objects.nodes.get(name));
                node.and_then(|node| node.ready_since).map(|at| clock::after(at, deletion.grace))
            }
            Deleted::Namespace(name) => {
                let inside = |id: &Identity| id.object.namespace.as_ref() == Some(name);
                let pods = self.objects.pods.values().map(|entry| &entry.facts.id).filter(|id| inside(id));
                pods.filter_map(|id| id.deletion.as_ref().map(|deletion| deletion.at)).max()
            }
        };
        let seen = self.terminating.legal.get(what).copied();
        Some(legal.max(seen).map_or(deletion.at, |legal| legal.max(deletion.at)))
    }

    fn stuck_signal(&self, now: Timestamp, what: &Deleted) -> Option<Signal> {
        let since = *self.terminating.stuck.get(what)?;
        let deletion = self.deletion(what)?;
        match what {
            Deleted::Pod(uid) => {
                let entry = self.objects.pods.get(uid)?;
                let host = self.host(entry.facts.node.as_ref());
                let finding = terminating::pod(&entry.facts, deletion, host, since);
                Some(self.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Status))
            }
            Deleted::Namespace(name) => {
                let facts = self.objects.namespaces.get(name)?;
                let finding = terminating::namespace(facts, deletion, since);
                Some(self.plain_signal(now, &facts.id, finding, Source::Status))
            }
        }
    }

    fn host(&self, node: Option<&Arc<str>>) -> Host<'_> {
        let Some(node) = node else { return Host::Unknown };
        match self.objects.nodes.get(node) {
            Some(node) => match &node.not_ready {
                Some(condition) => Host::NotReady(&condition.message),
                None => Host::Ready,
            },
            None if self.absent(Kind::Node, None) == Standing::Gone => Host::Missing,
            None => Host::Unknown,
        }
    }
}
