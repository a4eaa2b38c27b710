//! What is open now, for those who ask.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use super::silence::BY_ANNOTATION;
use super::{Engine, Incident};
use crate::message::status::{HeldBack, OpenIncident};
use crate::message::{IncidentView, Reason};
use crate::rule::silence::Filter;
use crate::signal::{Severity, World};

/// How many incidents are open, by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenCount {
    pub critical: u64,
    pub warning: u64,
    pub info: u64,
}

impl OpenCount {
    pub const fn total(self) -> u64 {
        self.critical + self.warning + self.info
    }
}

impl Engine {
    /// Incidents that are not over: the most severe first, of the same severity the oldest first, at most `most`.
    /// Each without its title, and as a message would show it.
    pub fn open(&self, most: usize, now: Timestamp, world: &dyn World) -> Vec<(OpenIncident, IncidentView)> {
        let mut open: Vec<&Incident> = self.not_ended().collect();
        open.sort_by_key(|incident| order(incident));
        open.into_iter().take(most).filter_map(|incident| self.shown_open(incident, now, world)).collect()
    }

    /// One of them.
    pub fn open_one(
        &self,
        id: &str,
        now: Timestamp,
        world: &dyn World,
    ) -> Option<(OpenIncident, IncidentView)> {
        self.shown_open(self.incidents.get(id).filter(|incident| !incident.is_ended())?, now, world)
    }

    pub fn open_count(&self) -> OpenCount {
        let mut count = OpenCount::default();
        for incident in self.not_ended() {
            match incident.severity {
                Severity::Critical => count.critical += 1,
                Severity::Warning => count.warning += 1,
                Severity::Info => count.info += 1,
            }
        }
        count
    }

    /// The incidents that are not over and that a silence would hold back, the most severe first.
    pub fn open_that_match(&self, filter: &Filter) -> Vec<Arc<str>> {
        let mut found: Vec<&Incident> =
            self.not_ended().filter(|incident| Self::filter_matches(filter, incident)).collect();
        found.sort_by_key(|incident| order(incident));
        found.into_iter().map(|incident| Arc::clone(&incident.id)).collect()
    }

    fn not_ended(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().filter(|incident| !incident.is_ended())
    }

    fn shown_open(
        &self,
        incident: &Incident,
        now: Timestamp,
        world: &dyn World,
    ) -> Option<(OpenIncident, IncidentView)> {
        let view = self.view(&incident.id, now, world)?;
        let held_back = self.held_back(incident, now, world);
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let open = OpenIncident {
            incident: incident.id.to_string(),
            title: String::new(),
            severity: incident.severity,
            state: state(incident, held_back.as_ref()).to_owned(),
            rule: incident.rule.to_string(),
            cause: incident.cause.as_str().to_owned(),
            namespace: text(&incident.namespace),
            workload: incident.workload.to_string(),
            container: text(&view.container),
            since: view.since,
            last_seen: incident.last_seen,
            size: String::new(),
            members_total: view.members_total,
            replicas: view.replicas,
            occurrences: view.occurrences,
            explains: u64::try_from(self.incidents.held_by(&incident.id).count()).unwrap_or(u64::MAX),
            notified: incident.is_open(),
            held_back,
        };
        Some((open, view))
    }

    /// Why nothing is sent of it now. Of what was notified only silences and mute times say so: that its window has
    /// not ended is no news.
    fn held_back(&self, incident: &Incident, now: Timestamp, world: &dyn World) -> Option<HeldBack> {
        let text = |text: &Arc<str>| text.to_string();
        if let Some(by) = incident.held_by() {
            let reason = Reason::InhibitedBy.as_str().to_owned();
            return Some(HeldBack { reason, by: Some(text(by)), comment: None, until: None });
        }
        if let Some(quiet) = self.quiet(incident, now, world) {
            let until = quiet.until;
            let (reason, by) = (quiet.reason.as_str().to_owned(), Some(text(&quiet.by)));
            return Some(HeldBack { reason, by, comment: quiet.comment.as_ref().map(text), until });
        }
        // Where the objects are not known (nobody looks at the cluster) what was recorded counts.
        let recorded = incident.quiet.as_ref().filter(|q| self.looking && q.by.starts_with(BY_ANNOTATION));
        if let Some(quiet) = recorded {
            let (reason, by) = (quiet.reason.as_str().to_owned(), Some(text(&quiet.by)));
            return Some(HeldBack { reason, by, comment: None, until: None });
        }
        let silent = |reason| matches!(reason, Reason::SilencedBy | Reason::Muted | Reason::InhibitedBy);
        let waits = incident.waits.as_ref().filter(|waits| !silent(waits.reason))?;
        Some(HeldBack {
            reason: waits.reason.as_str().to_owned(),
            by: waits.by.as_ref().map(text),
            comment: None,
            until: waits.until,
        })
    }
}

/// Kind, namespace and name.
type Name<'a> = (&'a str, Option<&'a str>, &'a str);

impl Incident {
    /// Its workload and the objects that have the problem; `true`: it is the workload. With repetitions.
    pub fn objects(&self) -> impl Iterator<Item = (bool, Name<'_>)> {
        let namespace = self.namespace.as_deref();
        let workloads = [&self.workload, &self.signal.workload];
        let workloads = workloads.into_iter().map(move |w| (true, (w.kind(), namespace, w.name())));
        let members = self.members.values().map(|member| &member.object);
        let objects = std::iter::once(&self.signal.object).chain(members);
        workloads.chain(objects.map(|o| (false, (&*o.kind, o.namespace.as_deref(), &*o.name))))
    }
}

fn order(incident: &Incident) -> (Reverse<Severity>, Timestamp, Arc<str>) {
    (Reverse(incident.severity), incident.since, Arc::clone(&incident.id))
}

/// The states of [`super::ExplainedIncident`], by what holds now.
fn state(incident: &Incident, held_back: Option<&HeldBack>) -> &'static str {
    let recovering = incident.raised().next().is_none();
    match held_back.map(|held| held.reason.as_str()) {
        Some("inhibited_by") => "held",
        Some("standing" | "storm") => "gathering",
        _ if incident.gathers() => "gathering",
        _ if incident.is_open() && recovering => "recovering",
        _ if incident.is_open() => "firing",
        Some("silenced_by") => "silenced",
        Some("muted") => "muted",
        _ => "pending",
    }
}
