//! All incidents, with the indexes that find them and the timer of each.
//!
//! What an index is made of (members, group, holder) changes through methods of the table only, so an
//! index cannot differ from the incidents. Every set of ids is sorted: decisions do not depend on the
//! order of a hash map.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Incident, Life, Member, MemberKey};
use crate::signal::Workload;

type Ids = BTreeSet<Arc<str>>;
/// A namespace, or `None` for what is cluster-scoped.
pub type Tenant = Option<Arc<str>>;

#[derive(Debug)]
struct Slot {
    incident: Incident,
    timer: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(in crate::engine) struct IncidentTable {
    slots: HashMap<Arc<str>, Slot>,
    by_group: HashMap<u128, Arc<str>>,
    by_object: HashMap<Arc<str>, Ids>,
    by_workload: HashMap<(Tenant, Workload), Ids>,
    by_namespace: BTreeMap<Tenant, Ids>,
    /// Incidents about nodes. Sorted: of several lost nodes the first holds back what could be on any
    /// of them.
    by_node: BTreeMap<Arc<str>, Ids>,
    /// By the incident that holds them back, also for a while after that one is removed.
    by_holder: HashMap<Arc<str>, Ids>,
    timers: BTreeSet<(Timestamp, Arc<str>)>,
}

impl IncidentTable {
    pub fn get(&self, id: &str) -> Option<&Incident> {
        self.slots.get(id).map(|slot| &slot.incident)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Incident> {
        self.slots.get_mut(id).map(|slot| &mut slot.incident)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// In the order of a hash map, which no decision may follow: see [`Self::ids_by`].
    pub fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.slots.values().map(|slot| &slot.incident)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.slots.values_mut().map(|slot| &mut slot.incident)
    }

    pub fn ids_by<K: Ord>(&self, key: impl Fn(&Incident) -> K) -> Vec<Arc<str>> {
        let mut all: Vec<&Incident> = self.iter().collect();
        all.sort_by(|a, b| (key(a), &a.id).cmp(&(key(b), &b.id)));
        all.into_iter().map(|incident| Arc::clone(&incident.id)).collect()
    }

    pub fn of_group(&self, group: u128) -> Option<&Incident> {
        self.get(self.by_group.get(&group)?)
    }

    /// Incidents that have the object as a member.
    pub fn of_object(&self, object: &str) -> impl Iterator<Item = &Incident> {
        self.all(self.by_object.get(object))
    }

    pub fn of_workload(&self, namespace: Tenant, workload: &Workload) -> impl Iterator<Item = &Incident> {
        self.all(self.by_workload.get(&(namespace, workload.clone())))
    }

    pub fn of_namespace(&self, namespace: &Tenant) -> impl Iterator<Item = &Incident> {
        self.all(self.by_namespace.get(namespace))
    }

    pub fn count_of_namespace(&self, namespace: &Tenant) -> usize {
        self.by_namespace.get(namespace).map_or(0, Ids::len)
    }

    /// Which namespaces have incidents, and how many.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Tenant, usize)> {
        self.by_namespace.iter().map(|(namespace, ids)| (namespace, ids.len()))
    }

    /// Incidents about the node.
    pub fn of_node(&self, node: &str) -> impl Iterator<Item = &Incident> {
        self.all(self.by_node.get(node))
    }

    /// Nodes that have incidents.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_node.keys()
    }

    /// Incidents that this one holds back.
    pub fn held_by(&self, holder: &str) -> impl Iterator<Item = &Incident> {
        self.all(self.by_holder.get(holder))
    }

    fn all<'a>(&'a self, ids: Option<&'a Ids>) -> impl Iterator<Item = &'a Incident> {
        ids.into_iter().flatten().filter_map(|id| self.get(id))
    }

    /// Takes an incident in. Its timer is due at once.
    pub fn insert(&mut self, incident: Incident) {
        let id = Arc::clone(&incident.id);
        self.by_group.insert(incident.group, Arc::clone(&id));
        add(&mut self.by_workload, place(&incident), &id);
        self.by_namespace.entry(incident.namespace.clone()).or_default().insert(Arc::clone(&id));
        if let Some(holder) = incident.held_by() {
            add(&mut self.by_holder, Arc::clone(holder), &id);
        }
        for member in incident.members.values() {
            index(&mut self.by_object, &mut self.by_node, &incident, member);
        }
        let soon = incident.last_seen;
        self.slots.insert(Arc::clone(&id), Slot { incident, timer: None });
        self.schedule(&id, Some(soon));
    }

    pub fn remove(&mut self, id: &Arc<str>) -> Option<Incident> {
        self.schedule(id, None);
        let Slot { incident, .. } = self.slots.remove(id)?;
        if self.by_group.get(&incident.group) == Some(id) {
            self.by_group.remove(&incident.group);
        }
        drop_from(&mut self.by_workload, &place(&incident), id);
        drop_from_sorted(&mut self.by_namespace, &incident.namespace, id);
        if let Some(holder) = incident.held_by() {
            drop_from(&mut self.by_holder, holder, id);
        }
        for member in incident.members.values() {
            drop_from(&mut self.by_object, &member.key(), id);
            if let Some(node) = &member.node {
                drop_from_sorted(&mut self.by_node, node, id);
            }
        }
        Some(incident)
    }

    /// Adds a member that is not there yet.
    pub fn add_member(&mut self, id: &str, key: MemberKey, member: Member) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        index(&mut self.by_object, &mut self.by_node, &slot.incident, &member);
        slot.incident.members.entry(key).or_insert(member);
    }

    pub fn remove_member(&mut self, id: &Arc<str>, key: &MemberKey) -> Option<Member> {
        let members = &mut self.get_mut(id)?.members;
        let member = members.remove(key)?;
        // Another part of the object, or another object of the node, may still have the problem.
        let same_object = members.keys().any(|(object, _)| *object == key.0);
        let same_node = members.values().any(|other| other.node == member.node);
        if !same_object {
            drop_from(&mut self.by_object, &key.0, id);
        }
        if let Some(node) = member.node.as_ref().filter(|_| !same_node) {
            drop_from_sorted(&mut self.by_node, node, id);
        }
        Some(member)
    }

    /// The next state of an incident's life.
    pub fn advance(&mut self, id: &Arc<str>, next: impl FnOnce(Life) -> Life) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let before = slot.incident.held_by().cloned();
        slot.incident.life = next(std::mem::take(&mut slot.incident.life));
        let after = slot.incident.held_by().cloned();
        self.index_holder(id, before, after);
    }

    /// Which incident holds one back that waits; `None`: nothing does any more.
    pub fn set_holder(&mut self, id: &Arc<str>, holder: Option<Arc<str>>) {
        let Some(pending) = self.get_mut(id).and_then(|incident| incident.life.pending_mut()) else { return };
        let before = std::mem::replace(&mut pending.held_by, holder.clone());
        self.index_holder(id, before, holder);
    }

    fn index_holder(&mut self, id: &Arc<str>, before: Option<Arc<str>>, after: Option<Arc<str>>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            drop_from(&mut self.by_holder, &before, id);
        }
        if let Some(after) = after {
            add(&mut self.by_holder, after, id);
        }
    }

    /// Puts an incident into another group. The incident that has this group already keeps it, and is
    /// returned.
    pub fn regroup(&mut self, id: &Arc<str>, group: u128) -> Option<Arc<str>> {
        let incident = self.get_mut(id)?;
        let old = std::mem::replace(&mut incident.group, group);
        if self.by_group.get(&old) == Some(id) {
            self.by_group.remove(&old);
        }
        if let Some(other) = self.by_group.get(&group) {
            return Some(Arc::clone(other));
        }
        self.by_group.insert(group, Arc::clone(id));
        None
    }

    /// Sets the one timer of an incident.
    pub fn schedule(&mut self, id: &Arc<str>, at: Option<Timestamp>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.timer == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut slot.timer, at) {
            self.timers.remove(&(old, Arc::clone(id)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Arc::clone(id)));
        }
    }

    pub fn timer(&self, id: &str) -> Option<Timestamp> {
        self.slots.get(id)?.timer
    }

    pub fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Arc<str>> {
        let id = self.timers.first().filter(|(at, _)| *at <= now).map(|(_, id)| Arc::clone(id))?;
        self.schedule(&id, None);
        Some(id)
    }
}

fn place(incident: &Incident) -> (Tenant, Workload) {
    (incident.namespace.clone(), incident.workload.clone())
}

fn index(
    by_object: &mut HashMap<Arc<str>, Ids>,
    by_node: &mut BTreeMap<Arc<str>, Ids>,
    incident: &Incident,
    member: &Member,
) {
    add(by_object, member.key(), &incident.id);
    if let Some(node) = member.node.as_ref().filter(|_| incident.cause.is_node()) {
        by_node.entry(Arc::clone(node)).or_default().insert(Arc::clone(&incident.id));
    }
}

fn add<K: Hash + Eq>(map: &mut HashMap<K, Ids>, key: K, id: &Arc<str>) {
    map.entry(key).or_default().insert(Arc::clone(id));
}

fn drop_from<K: Hash + Eq>(map: &mut HashMap<K, Ids>, key: &K, id: &Arc<str>) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

fn drop_from_sorted<K: Ord>(map: &mut BTreeMap<K, Ids>, key: &K, id: &Arc<str>) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
