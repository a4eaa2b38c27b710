//! Digests to try templates on.

use std::sync::Arc;

use jiff::Timestamp;

use super::{incident, later, node};
use crate::message::text::{self, digest as words};
use crate::message::{
    Decision, Digest, Group, HeldBack, HeldWorkload, IncidentView, Notification, Reason, Section, SpanCount,
};
use crate::signal::{Cause, Severity};

/// Is it new, ongoing or over?
type Listed = (&'static str, IncidentView);

/// After 3 February 2026, 8:00 in Berlin.
fn minutes(n: i64) -> Timestamp {
    let begin = Timestamp::constant(1_770_102_000, 0);
    begin.checked_add(jiff::SignedDuration::from_mins(n)).unwrap_or(begin)
}

/// A digest of these, and of `more` others that are not listed.
pub fn of(listed: Vec<Listed>, more: u32) -> Notification {
    let section = |name: &str| {
        let incidents: Vec<Arc<str>> =
            listed.iter().filter(|(state, _)| *state == name).map(|(_, i)| Arc::clone(&i.id)).collect();
        Section { total: u32::try_from(incidents.len()).unwrap_or(u32::MAX), incidents }
    };
    let (mut new, ongoing, resolved) = (section("new"), section("ongoing"), section("resolved"));
    new.total += more;
    let mut groups: Vec<Group> = Vec::new();
    let mut causes: Vec<(Cause, u32)> = Vec::new();
    let mut severities: Vec<(Severity, u32)> = Vec::new();
    for (state, i) in &listed {
        let at =
            groups.iter().position(|g| g.namespace == i.namespace && g.team == i.team).unwrap_or_else(|| {
                let (namespace, team) = (i.namespace.clone(), i.team.clone());
                groups.push(Group { namespace, team, worst: None, new: 0, ongoing: 0, resolved: 0 });
                groups.len() - 1
            });
        if let Some(group) = groups.get_mut(at) {
            match *state {
                "new" => group.new += 1,
                "ongoing" => group.ongoing += 1,
                _ => group.resolved += 1,
            }
            group.worst = group.worst.max((*state != "resolved").then_some(i.severity));
        }
        add(&mut causes, i.cause);
        if *state != "resolved" {
            add(&mut severities, i.severity);
        }
    }
    severities.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let until = minutes(1440);
    let begun = (0..24).map(|hour| SpanCount { from: minutes(hour * 60), count: 0 });
    let mut begun: Vec<SpanCount> = begun.collect();
    for (_, i) in listed.iter().filter(|(_, i)| i.since >= minutes(0)) {
        let behind = begun.partition_point(|b| b.from <= i.since);
        if let Some(hour) = begun.get_mut(behind.saturating_sub(1)) {
            hour.count += 1;
        }
    }
    let held = |reason, count, workloads: &[(&str, u64)]| HeldBack {
        by: None,
        reason,
        count,
        workloads: workloads
            .iter()
            .map(|(name, count)| HeldWorkload {
                namespace: Some("shop".into()),
                workload: format!("Deployment/{name}").into(),
                count: *count,
            })
            .collect(),
        more: count > 100,
    };
    let something = !listed.is_empty();
    let digest = Digest {
        since: minutes(0),
        until,
        due: until,
        missed: 0,
        timezone: "Europe/Berlin".into(),
        last: false,
        new,
        ongoing,
        resolved,
        unknown: Vec::new(),
        severities,
        causes,
        groups_total: u32::try_from(groups.len()).unwrap_or(u32::MAX),
        groups,
        begun: if something { begun } else { Vec::new() },
        held: if something {
            vec![
                held(Reason::WithinWindow, 128, &[("checkout", 96), ("search", 21), ("cart", 11)]),
                held(Reason::InhibitedBy, 9, &[("cart", 4), ("search", 4), ("checkout", 1)]),
                held(Reason::NeverTold, 2, &[("frontend", 2)]),
            ]
        } else {
            Vec::new()
        },
    };
    let incidents: Vec<IncidentView> = listed.into_iter().map(|(_, i)| i).collect();
    let cluster = "prod-eu-1";
    Notification {
        key: format!("digest-sample-{}-7", until.as_millisecond()),
        receiver: "sample".into(),
        decision: Decision::Digest,
        reason: Reason::Schedule,
        at: until,
        cluster: cluster.into(),
        severity: incidents.iter().map(|i| i.severity).max().unwrap_or(Severity::Info),
        title: words::title(&digest, &incidents),
        text: words::text(cluster, &digest, &incidents),
        seq: 7,
        incidents_total: digest.total(),
        incidents,
        digest: Some(Box::new(digest)),
        late_s: None,
    }
}

fn add<T: PartialEq>(counts: &mut Vec<(T, u32)>, what: T) {
    match counts.iter_mut().find(|(known, _)| *known == what) {
        Some((_, n)) => *n += 1,
        None => counts.push((what, 1)),
    }
}

/// One of each kind, and two that are not listed.
pub fn around(incident: IncidentView) -> Notification {
    let over = IncidentView { ended_at: Some(later(308)), id: "77aa".into(), ..super::incident() };
    of(vec![("new", incident), ("ongoing", node()), ("resolved", over)], 2)
}

pub fn empty() -> Notification {
    of(Vec::new(), 0)
}

/// A day of a middling cluster.
pub fn day() -> Notification {
    let mut count = 0;
    let mut made =
        |base: IncidentView, from: i64, place: (&str, &str), name: &str, cause: Cause, why: &str| {
            count += 1;
            let mut i = IncidentView {
                id: format!("{count:08x}").into(),
                cause,
                namespace: Some(place.0.into()),
                team: (!place.1.is_empty()).then(|| place.1.into()),
                workload: name.into(),
                since: minutes(from),
                last_seen: minutes(1435),
                why: why.into(),
                command: format!("kubectl -n {} describe {}", place.0, name.to_lowercase()).into(),
                held: Vec::new(),
                log_tail: None,
                ..base
            };
            i.title = text::default_title(&i);
            i
        };
    let pods = |total: u32, of: u32, times: u64, severity: Severity| IncidentView {
        members_total: total,
        replicas: Some(of),
        occurrences: times,
        restarts: Some(times),
        severity,
        exit: "".into(),
        deeper: "".into(),
        ..incident()
    };
    let ended = |mut i: IncidentView, at: i64| {
        i.ended_at = Some(minutes(at));
        i
    };
    let mut lost = IncidentView { since: minutes(1130), last_seen: minutes(1435), ..node() };
    lost.title = text::default_title(&lost);
    let crash = IncidentView { exit: "exit code 3".into(), ..pods(3, 12, 97, Severity::Critical) };
    let oom =
        IncidentView { deeper: "OOM-killed at its 512Mi limit".into(), ..pods(2, 4, 22, Severity::Warning) };
    let panic = "panic: open /etc/checkout/config.yaml: no such file or directory";
    let pull = "manifest for registry.example.com/shop/search:2.8.1 not found";
    let quota = "exceeded quota: batch, requested: cpu=2, used: cpu=30, limited: cpu=30";
    let claim = "storageclass.storage.k8s.io \"fast-ssd\" not found";
    let listed = vec![
        ("new", lost),
        (
            "new",
            made(crash, 1128, ("shop", "payments"), "Deployment/checkout", Cause::CrashLoopBackOff, panic),
        ),
        (
            "new",
            made(
                pods(4, 4, 1, Severity::Warning),
                1133,
                ("shop", "search"),
                "Deployment/search",
                Cause::ImagePullBackOff,
                pull,
            ),
        ),
        (
            "new",
            made(
                oom,
                410,
                ("reports", "data"),
                "Deployment/report-writer",
                Cause::OOMKilled,
                "OOM-killed at its 512Mi limit",
            ),
        ),
        (
            "ongoing",
            made(
                pods(1, 1, 1, Severity::Warning),
                -4210,
                ("ml", "data"),
                "StatefulSet/features",
                Cause::ProvisioningFailed,
                claim,
            ),
        ),
        (
            "ongoing",
            made(
                pods(6, 10, 31, Severity::Info),
                -300,
                ("batch", ""),
                "Job/reindex",
                Cause::FailedCreate,
                quota,
            ),
        ),
        (
            "resolved",
            ended(
                made(
                    pods(2, 6, 8, Severity::Critical),
                    512,
                    ("shop", "payments"),
                    "Deployment/ledger",
                    Cause::CrashLoopBackOff,
                    "dial tcp 10.3.0.14:5432: connect: connection refused",
                ),
                531,
            ),
        ),
        (
            "resolved",
            ended(
                made(
                    pods(1, 3, 4, Severity::Warning),
                    515,
                    ("shop", "payments"),
                    "Deployment/invoices",
                    Cause::Unhealthy,
                    "Readiness probe failed: HTTP probe failed with statuscode: 503",
                ),
                529,
            ),
        ),
        (
            "resolved",
            ended(
                made(
                    pods(3, 3, 3, Severity::Warning),
                    511,
                    ("reports", "data"),
                    "CronJob/nightly-export",
                    Cause::JobFailed,
                    "Job has reached the specified backoff limit",
                ),
                960,
            ),
        ),
    ];
    of(listed, 0)
}

/// As many as a message carries, and many more.
pub fn large(base: &IncidentView, count: u32) -> Notification {
    let states = ["new", "ongoing", "resolved"];
    let listed = (0..Notification::MAX_INCIDENTS).map(|n| {
        let state = states.get(n % 3).copied().unwrap_or("new");
        let mut i = IncidentView {
            why: text::words::cut_chars(&base.why, 500).into(),
            title: String::new(),
            log_tail: None,
            ..base.clone()
        };
        i.id = format!("{n:08x}").into();
        i.namespace = i.namespace.map(|ns| Arc::from(format!("{ns}-{}", n % 80)));
        i.ended_at = (state == "resolved").then(|| minutes(900));
        (state, i)
    });
    of(listed.collect(), count)
}

/// What templates are tried on beside the others.
pub fn all() -> Vec<Notification> {
    vec![day(), empty()]
}
