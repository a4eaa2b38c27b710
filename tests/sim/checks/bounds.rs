//! Requests, sizes, whose text is shown to whom, and that the process does not end by itself.

use super::super::cluster::TARGETS;
use super::super::hostile::{INJECTED, SECRET, TENANT};
use super::super::plan::{Ms, SECOND};
use super::super::record::LifeEnd;
use super::super::run::Failure;
use super::super::settings::HOOK;
use super::super::stories::canary;
use super::Case;

/// Lists and watches of one resource within a minute, whatever the answers.
const REQUESTS: usize = 60;
/// A request body, or a mail.
const BODY: usize = 300 * 1024;
/// What a row of the history says beside its title.
const DETAIL: usize = 64 * 1024;
/// All files of the store.
const DISK: u64 = 64 * 1024 * 1024;

pub fn exits(case: &Case<'_>, out: &mut Vec<Failure>) {
    for life in &case.record.lives {
        if let LifeEnd::Exited(why) = &life.end {
            out.push(Failure {
                check: "exit",
                at: life.to,
                text: format!("the process ended by itself: {why}"),
            });
            return;
        }
    }
}

pub fn requests(case: &Case<'_>, out: &mut Vec<Failure>) {
    for (resource, times) in &case.record.requests {
        let mut from = 0;
        for (place, at) in times.iter().enumerate() {
            while times[from] + 60 * SECOND <= *at {
                from += 1;
            }
            if place - from >= REQUESTS {
                out.push(Failure {
                    check: "requests",
                    at: *at,
                    text: format!("{resource}: more than {REQUESTS} requests within a minute"),
                });
                break;
            }
        }
    }
}

pub fn sizes(case: &Case<'_>, out: &mut Vec<Failure>) {
    let ends: Ms = case.plan.ends;
    for (receiver, bytes) in &case.record.largest {
        if *bytes > BODY {
            out.push(Failure {
                check: "size",
                at: ends,
                text: format!("{receiver} was sent {bytes} bytes at once"),
            });
        }
    }
    if let Some(row) = case.record.history.iter().find(|row| row.detail.len() > DETAIL) {
        let text = format!("a row of the history ({}) has {} bytes", row.reason, row.detail.len());
        out.push(Failure { check: "size", at: ends, text });
    }
    let (_, most) = case.record.disk;
    if most > DISK {
        out.push(Failure { check: "size", at: ends, text: format!("the store has {most} bytes") });
    }
}

/// Nobody is shown what somebody of another namespace wrote.
pub fn taint(case: &Case<'_>, out: &mut Vec<Failure>) {
    let mut namespaces: Vec<&str> = TARGETS.iter().map(|target| target.namespace).collect();
    namespaces.push(TENANT);
    for message in case.record.taken.iter().filter(|taken| taken.receiver == HOOK) {
        let text = message.body.to_string();
        let about = message.text("/incidents/0/namespace");
        for other in namespaces.iter().filter(|namespace| **namespace != about) {
            if text.contains(&canary(other)) {
                let text = format!(
                    "a message about {about:?} shows what was written in {other}: {}",
                    message.text("/title")
                );
                out.push(Failure { check: "taint", at: message.at, text });
                return;
            }
        }
        let reason = message.text("/incidents/0/reason");
        if reason.contains(['\r', '\n']) {
            out.push(Failure {
                check: "taint",
                at: message.at,
                text: format!("line breaks in a reason: {reason:?}"),
            });
            return;
        }
    }
    for taken in &case.record.taken {
        if taken.body.to_string().contains(SECRET) {
            let text = format!("a secret reaches {}", taken.receiver);
            out.push(Failure { check: "secret", at: taken.at, text });
            return;
        }
    }
    if case.record.history.iter().any(|row| row.detail.contains(SECRET)) {
        out.push(Failure { check: "secret", at: case.plan.ends, text: "a secret is in the database".into() });
    }
    for mail in &case.record.mails {
        let boundary = mail.raw.lines().find_map(|line| line.split("boundary=\"").nth(1)?.split('"').next());
        let Some(boundary) = boundary else { continue };
        let line = format!("--{boundary}");
        let parts = mail.raw.lines().filter(|text| text.starts_with(&line)).count();
        if parts != 3 || mail.raw.contains(INJECTED) && parts > 3 {
            let text = format!("a mail for {} has {parts} boundaries in the place of 3", mail.to);
            out.push(Failure { check: "injection", at: mail.at, text });
            return;
        }
    }
}
