//! Messages to try templates on, and to send as a test: one of every kind, with everything known
//! and with nothing known that may be missing.

pub mod digest;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Input, model};
use crate::message::text;
use crate::message::{Decision, FirstTold, Held, IncidentView, Notification, Reason};
use crate::signal::{Cause, Severity};

/// 2026-02-03T08:06:24Z, when the sample incident began.
const SINCE: Timestamp = Timestamp::constant(1_770_105_984, 0);

/// Explaining texts are cut to about this many bytes when they are decoded.
const LONG_TEXT: usize = 4 * 1024;

fn later(seconds: u64) -> Timestamp {
    SINCE.checked_add(Duration::from_secs(seconds)).unwrap_or(SINCE)
}

/// A crash loop with everything known.
pub fn incident() -> IncidentView {
    let mut i = IncidentView {
        id: "8c2f6a10".into(),
        rule: "crash-loop".into(),
        cause: Cause::CrashLoopBackOff,
        severity: Severity::Critical,
        was: None,
        seq: 1,
        namespace: Some("shop".into()),
        team: Some("payments".into()),
        workload: "Deployment/checkout".into(),
        container: Some("app".into()),
        node: Some("worker-2".into()),
        image: Some("registry.example.com/shop/checkout:1.42.0".into()),
        member_kind: "Pod".into(),
        members: ["checkout-6d4c9b7f5-2xkqz", "checkout-6d4c9b7f5-9hbtw", "checkout-6d4c9b7f5-lw8rn"]
            .map(Into::into)
            .into(),
        members_total: 3,
        replicas: Some(12),
        occurrences: 14,
        occurrences_new: 5,
        restarts: Some(14),
        since: SINCE,
        since_at_least: false,
        last_seen: later(236),
        ended_at: None,
        end_reason: None,
        left_behind: None,
        gone: Vec::new(),
        reason_raw: "CrashLoopBackOff".into(),
        why: "panic: open /etc/checkout/config.yaml: no such file or directory".into(),
        exit: "exit code 3".into(),
        deeper: "".into(),
        flaps: 0,
        held: vec![Held {
            cause: Cause::Unhealthy,
            namespace: Some("shop".into()),
            workload: "Deployment/checkout".into(),
            members: 3,
        }],
        pods_on_node: None,
        runbook: Some("https://runbooks.example.com/crash-loop".into()),
        command: "kubectl -n shop logs deployment/checkout -c app --tail=50".into(),
        silence: Some("kubeherald silence add incident=8c2f6a10 --for 2h".into()),
        log_tail: Some(
            "08:10:01 loading configuration\n08:10:01 panic: open /etc/checkout/config.yaml".into(),
        ),
        log_from: Some("checkout-6d4c9b7f5-2xkqz".into()),
        title: String::new(),
        first: None,
    };
    i.title = text::default_title(&i);
    i
}

/// A node that is down, the root cause of a storm.
pub fn node() -> IncidentView {
    let mut i = IncidentView {
        id: "51d90b7e".into(),
        rule: "node-not-ready".into(),
        cause: Cause::NodeNotReady,
        namespace: None,
        team: None,
        workload: "Node/worker-2".into(),
        container: None,
        image: None,
        member_kind: "Node".into(),
        members: vec!["worker-2".into()],
        members_total: 1,
        replicas: None,
        occurrences: 1,
        occurrences_new: 0,
        reason_raw: "NodeStatusUnknown".into(),
        why: "Kubelet stopped posting node status.".into(),
        exit: "".into(),
        pods_on_node: Some(31),
        held: ["cart", "checkout", "search"]
            .map(|name| Held {
                cause: Cause::Unhealthy,
                namespace: Some("shop".into()),
                workload: format!("Deployment/{name}").into(),
                members: 4,
            })
            .into(),
        runbook: None,
        restarts: None,
        command: "kubectl describe node worker-2".into(),
        silence: Some("kubeherald silence add incident=51d90b7e --for 2h".into()),
        log_tail: None,
        log_from: None,
        ..incident()
    };
    i.title = text::default_title(&i);
    i
}

/// An incident of which nothing is known that may be missing.
pub fn bare() -> IncidentView {
    let mut i = IncidentView {
        id: "0a1b2c3d".into(),
        rule: "events".into(),
        cause: Cause::Event,
        severity: Severity::Info,
        was: None,
        seq: 1,
        namespace: None,
        team: None,
        workload: "PersistentVolume/pv-7".into(),
        container: None,
        node: None,
        image: None,
        member_kind: "PersistentVolume".into(),
        members: Vec::new(),
        members_total: 0,
        replicas: None,
        occurrences: 0,
        occurrences_new: 0,
        last_seen: SINCE,
        reason_raw: "".into(),
        why: "".into(),
        exit: "".into(),
        held: Vec::new(),
        runbook: None,
        restarts: None,
        command: "".into(),
        silence: None,
        log_tail: None,
        log_from: None,
        ..incident()
    };
    i.title = text::default_title(&i);
    i
}

/// An incident whose every text tries to be something else than text: a mention, a link, markup, a
/// header, a template, a right-to-left override. As long as texts of the cluster get after they are decoded.
pub fn hostile() -> IncidentView {
    hostile_of(LONG_TEXT)
}

/// The same, with an explaining text of a megabyte and 2,000 log lines: what a medium must cut.
pub fn huge() -> IncidentView {
    hostile_of(1_000_000)
}

fn hostile_of(bytes: usize) -> IncidentView {
    let nasty = "<!channel> <@U012> <https://evil.example|click> *bold* _it_ ~st~ `code` ```pre``` \
                 <script>alert(1)</script> \"q\" 'q' &amp; {{boom}} {{{boom}}} {{> _boom}}\r\nBcc: victim@evil.example\r\n\
                 .\r\nDATA \u{202e}desrever\u{1b}[31mred\u{0}";
    IncidentView {
        rule: nasty.into(),
        namespace: Some(nasty.into()),
        team: Some(nasty.into()),
        workload: format!("Deployment/{nasty}").into(),
        container: Some(nasty.into()),
        node: Some(nasty.into()),
        image: Some(nasty.into()),
        member_kind: nasty.into(),
        members: vec![nasty.into(); 50],
        members_total: 50,
        reason_raw: nasty.into(),
        why: format!("{nasty}\n{}", "x<".repeat(bytes / 2)).into(),
        exit: nasty.into(),
        deeper: nasty.into(),
        held: vec![
            Held {
                cause: Cause::Unhealthy,
                namespace: Some(nasty.into()),
                workload: nasty.into(),
                members: 1
            };
            50
        ],
        runbook: Some(format!("javascript:{nasty}").into()),
        command: nasty.into(),
        log_tail: Some(nasty.repeat(bytes / 500).into()),
        log_from: Some(nasty.into()),
        title: nasty.into(),
        ..incident()
    }
}

/// A notification that says `decision` of `incident` (or, for a summary, of several).
pub fn notification(decision: Decision, mut incident: IncidentView) -> Notification {
    if decision == Decision::Digest {
        return digest::around(incident);
    }
    let (reason, seq) = match decision {
        Decision::First => (Reason::First, 1),
        Decision::Grew => (Reason::Grew, 2),
        Decision::Reminder => (Reason::Reminder, 3),
        Decision::Reopened => (Reason::Flapping, 4),
        Decision::Resolved => (Reason::Recovered, 5),
        Decision::Expired => (Reason::StateUnknown, 5),
        Decision::Standing => (Reason::Standing, 1),
        Decision::Storm => (Reason::Storm, 1),
        Decision::Digest => (Reason::Schedule, 1),
        Decision::Notice => (Reason::ConfigBroken, 1),
    };
    let at = later(308);
    match decision {
        Decision::Reopened => incident.flaps = 2,
        Decision::Resolved | Decision::Expired => incident.ended_at = Some(at),
        Decision::Reminder => incident.occurrences_new = incident.occurrences_new.max(1),
        _ => {}
    }
    if !matches!(decision, Decision::First | Decision::Notice) && !decision.is_summary() {
        let title = text::title_for(Decision::First, Reason::First, &incident).into();
        incident.first = Some(FirstTold { title, severity: incident.severity });
    }
    let cluster = "prod-eu-1";
    let key = format!("{}-{seq}-sample", incident.id);
    if decision == Decision::Notice {
        return notice(reason, &incident);
    }
    let (title, text, incidents, total) = if decision.is_summary() {
        let incidents = vec![incident, node()];
        let total = 2 + u32::try_from(incidents.len()).unwrap_or(u32::MAX);
        let title = text::summary_title(decision, &incidents, total);
        (title, text::summary_text(cluster, decision, &incidents, total, at), incidents, total)
    } else {
        let title = text::title_for(decision, reason, &incident);
        (title, text::text(cluster, decision, reason, &incident, at), vec![incident], 1)
    };
    Notification {
        key,
        receiver: "sample".into(),
        decision,
        reason,
        at,
        cluster: cluster.into(),
        severity: incidents.iter().map(|i| i.severity).max().unwrap_or(Severity::Info),
        title,
        text,
        seq,
        incidents,
        incidents_total: total,
        digest: None,
        late_s: None,
    }
}

/// kubeherald about itself; it quotes what the incident has for an explanation.
pub fn notice(reason: Reason, incident: &IncidentView) -> Notification {
    let mended = reason.is_mend();
    let (title, seq) = if mended {
        ("The configuration is in order again", 2)
    } else {
        ("The configuration has 1 error: the last good one goes on", 1)
    };
    let text = if mended {
        "What was written is in force.".to_owned()
    } else {
        format!("rules/own.yaml:12: there is no receiver named `oncal`\n{}", incident.why)
    };
    Notification {
        key: format!("config-1770106292000-{seq}-sample"),
        receiver: "sample".into(),
        decision: Decision::Notice,
        reason,
        at: later(308),
        cluster: "prod-eu-1".into(),
        severity: if mended { Severity::Info } else { Severity::Warning },
        title: title.to_owned(),
        text,
        seq,
        incidents: Vec::new(),
        incidents_total: 0,
        digest: None,
        late_s: None,
    }
}

/// A summary with as many incidents as templates are ever given.
pub fn crowded() -> Notification {
    let mut n = notification(Decision::Storm, incident());
    n.incidents = vec![incident(); model::MAX_INCIDENTS];
    n.incidents_total = 2 * u32::try_from(model::MAX_INCIDENTS).unwrap_or(u32::MAX);
    n
}

/// What every template is tried on: each decision, with everything known and with little known. Made one
/// by one: together they would be the largest thing that the bot ever holds.
pub fn all() -> impl Iterator<Item = Notification> {
    let incidents: [fn() -> IncidentView; 4] = [incident, node, bare, hostile];
    let decisions = Decision::ALL.iter().copied();
    decisions
        .flat_map(move |decision| incidents.into_iter().map(move |of| notification(decision, of())))
        .chain(digest::all())
        .chain(std::iter::once_with(|| notice(Reason::ConfigMended, &incident())))
        .chain(std::iter::once_with(nothing_known))
}

/// No cluster name, and nothing known of what makes a digest.
fn nothing_known() -> Notification {
    Notification {
        incidents: Vec::new(),
        incidents_total: 0,
        cluster: "".into(),
        digest: None,
        ..notification(Decision::Digest, bare())
    }
}

/// Values in which every key a template may name is there and, where it can be, set.
pub fn shape(input: Input) -> Value {
    let n = notification(Decision::First, incident());
    let one = model::incident(&n, &n.incidents.first().cloned().unwrap_or_else(incident));
    match input {
        Input::Incident => one,
        Input::Digest => model::notification(&digest::day()),
        Input::Notification => {
            let mut all = model::notification(&n);
            if let Some(map) = all.as_object_mut() {
                let listed = model::notification(&notification(Decision::Storm, incident()));
                map.insert("incidents".into(), listed.get("incidents").cloned().unwrap_or_default());
                map.insert("digest".into(), model::digest::values(&digest::day(), 1));
            }
            all
        }
    }
}
