//! Every decision has one fate at each receiver, in order, and is sent twice only where nobody can know.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::super::plan::{Ms, ReceiverFault, SECOND, What};
use super::super::record::LifeEnd;
use super::super::run::Failure;
use super::super::settings::{ALERTS, CHAT, HOOK, MAIL, RECIPIENTS};
use super::told::alive_at_end;
use super::{Case, clock};

/// Between an answer and its row on the disk lies no more than this.
const SETTLING: Ms = 2 * SECOND;
/// A disk that is in order is tried again by then.
const MENDED: Ms = 65 * SECOND;

impl Case<'_> {
    /// May what was answered in this life at this time be unknown to the next life?
    fn ambiguous(&self, life: usize, at: Ms) -> bool {
        let ended = self.record.lives.get(life).is_some_and(|life| {
            at + SETTLING >= life.to && !matches!(life.end, LifeEnd::Over | LifeEnd::Stopped)
        });
        let disk = self.plan.items.iter().any(|item| {
            matches!(item.what, What::Disk { lasts, .. } if item.at <= at + SETTLING && at <= item.at + lasts + SETTLING)
        });
        // What was flushed is not lost, whatever the kill; what was not is.
        ended || disk
    }

    /// Was what was sent in this life at this time decided while nothing could be written, and its row (whose key
    /// `is_it` knows) lost with the process that kept it in memory? What stands then is decided anew, under another
    /// id; what is over by then, nobody knows of.
    pub(super) fn was_lost_with_memory(
        &self,
        (life, at): (usize, Ms),
        receiver: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> bool {
        let Some(life) = self.record.lives.get(life).filter(|life| life.end == LifeEnd::Killed) else {
            return false;
        };
        let failed = self.plan.items.iter().any(|item| {
            let What::Disk { lasts, .. } = item.what else { return false };
            let failed = item.at..item.at + lasts + MENDED;
            failed.contains(&at) && failed.contains(&life.to)
        });
        failed && !self.record.outbox.iter().any(|row| row.receiver == receiver && is_it(&row.key))
    }

    pub(super) fn refuses(&self, receiver: &str) -> bool {
        self.any(|what| {
            matches!(what, What::Receiver { receiver: of, fault, .. }
                if of == receiver && matches!(fault, ReceiverFault::Refused | ReceiverFault::OneRecipient))
        })
    }
}

/// The part of a Message-ID that is made of the key.
fn hashed(key: &str) -> String {
    let hash = Sha256::digest(key.as_bytes());
    hash.iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The same key twice, although its first delivery was known.
pub fn once(case: &Case<'_>, out: &mut Vec<Failure>) {
    let mut known: BTreeMap<(&str, &str), (usize, Ms)> = BTreeMap::new();
    // Alerts are the same however often they are said.
    for taken in case.record.taken.iter().filter(|taken| taken.receiver != ALERTS && !taken.key.is_empty()) {
        let key = (taken.receiver, taken.key.as_str());
        if let Some((life, at)) = known.get(&key)
            && !case.ambiguous(*life, *at)
        {
            out.push(Failure {
                check: "twice",
                at: taken.at,
                text: format!(
                    "{} took {} at {}, was known to have, and took it again",
                    key.0,
                    key.1,
                    clock(*at)
                ),
            });
        }
        if taken.answered {
            known.insert(key, (taken.life, taken.at));
        }
    }
    let mut mails: BTreeMap<(&str, &str), (usize, Ms)> = BTreeMap::new();
    for mail in &case.record.mails {
        let key = (mail.id.as_str(), mail.to.as_str());
        if let Some((life, at)) = mails.get(&key)
            && !case.ambiguous(*life, *at)
        {
            out.push(Failure {
                check: "twice",
                at: mail.at,
                text: format!("{} got {} at {}, and got it again", key.1, key.0, clock(*at)),
            });
        }
        if mail.answered {
            mails.insert(key, (mail.life, mail.at));
        }
    }
}

pub fn order(case: &Case<'_>, out: &mut Vec<Failure>) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for taken in case.record.taken.iter().filter(|taken| taken.receiver == HOOK) {
        if !seen.insert(&taken.key) {
            continue;
        }
        let thread = taken.text("/thread");
        let before = last.insert(thread, taken.seq()).unwrap_or(0);
        if before >= taken.seq() {
            out.push(Failure {
                check: "order",
                at: taken.at,
                text: format!("message {} of {thread} came after message {before}", taken.seq()),
            });
        }
    }
}

/// In the end nothing is owed, and what was given up was refused.
pub fn settled(case: &Case<'_>, out: &mut Vec<Failure>) {
    if !alive_at_end(case) {
        return;
    }
    let ends = case.plan.ends;
    let taken: BTreeSet<(&str, &str)> =
        case.record.taken.iter().map(|t| (t.receiver, t.key.as_str())).collect();
    for row in &case.record.outbox {
        let mut fail = |check, text: String| out.push(Failure { check, at: ends, text });
        match row.state.as_str() {
            "delivered" => {
                let key = row.inside.as_deref().unwrap_or(&row.key);
                let http = [HOOK, CHAT, ALERTS].contains(&row.receiver.as_str());
                if http && !taken.contains(&(row.receiver.as_str(), key)) {
                    fail(
                        "lost",
                        format!("{} counts as delivered to {}, who never got it", row.key, row.receiver),
                    );
                }
            }
            "dead" if case.refuses(&row.receiver) => {}
            "dead" => fail("dead", format!("{} for {} was given up: {}", row.key, row.receiver, row.reason)),
            // The last moments are still on their way.
            state => {
                if !young(case, &row.key) {
                    fail(
                        "owed",
                        format!("{} for {} is {state} in the end: {}", row.key, row.receiver, row.reason),
                    );
                }
            }
        }
    }
}

/// Was it decided in the last two minutes?
fn young(case: &Case<'_>, key: &str) -> bool {
    let thread = key.rsplitn(3, '-').nth(2).unwrap_or(key);
    let began = super::began();
    case.record.history.iter().any(|row| {
        row.incident.as_deref() == Some(thread)
            && row.decision.is_some()
            && row.at.duration_since(began).as_millis() + 120_000 >= i128::from(case.plan.ends)
    })
}

/// As many messages as decisions.
pub fn counted(case: &Case<'_>, out: &mut Vec<Failure>) {
    if !alive_at_end(case) {
        return;
    }
    if let Some(row) = case.record.history.iter().find(|row| row.reason == "not_queued") {
        let text = format!("the bot itself says that a notification was not queued: {}", row.detail);
        out.push(Failure { check: "fate", at: case.plan.ends, text });
    }
    let mut decided: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &case.record.history {
        if let (Some(incident), Some(decision)) = (&row.incident, &row.decision)
            && !young(case, &format!("{incident}-1-{HOOK}"))
            && !matches!(decision.as_str(), "standing" | "storm" | "digest" | "notice")
        {
            *decided.entry(incident).or_default() += 1;
        }
    }
    for (incident, decisions) in decided {
        let prefix = format!("{incident}-");
        let rows: BTreeSet<&str> = case
            .record
            .outbox
            .iter()
            .filter(|row| row.receiver == HOOK && row.key.starts_with(&prefix))
            .map(|row| row.key.as_str())
            .collect();
        let came = case.record.taken.iter().filter(|t| t.receiver == HOOK && t.key.starts_with(&prefix));
        let apart = came.clone().filter(|t| matches!(t.text("/decision"), "standing" | "storm"));
        let summaries: BTreeSet<&str> = apart.map(|t| t.key.as_str()).collect();
        let came: BTreeSet<&str> = came.map(|t| t.key.as_str()).collect();
        let all = rows.union(&came).filter(|key| !summaries.contains(*key)).count();
        if all != decisions {
            out.push(Failure {
                check: "fate",
                at: case.plan.ends,
                text: format!(
                    "of incident {incident} {decisions} decisions are recorded, and {all} notifications for the webhook \
                     were ever kept"
                ),
            });
        }
    }
}

/// Each mail reaches each of its recipients.
pub fn mails(case: &Case<'_>, out: &mut Vec<Failure>) {
    if !alive_at_end(case) || case.refuses(MAIL) {
        return;
    }
    let mut got: BTreeMap<&str, (Ms, BTreeSet<&str>)> = BTreeMap::new();
    for mail in &case.record.mails {
        let entry = got.entry(&mail.id).or_insert((mail.at, BTreeSet::new()));
        entry.1.insert(&mail.to);
    }
    for (id, (at, to)) in got {
        let sent = case.record.mails.iter().find(|mail| mail.id == id).map_or((0, at), |m| (m.life, m.at));
        let is_it = |key: &str| id.contains(&hashed(key.split('/').next().unwrap_or_default()));
        if case.was_lost_with_memory(sent, MAIL, is_it) {
            continue;
        }
        let missing: Vec<&&str> = RECIPIENTS.iter().filter(|who| !to.contains(**who)).collect();
        if !missing.is_empty() && at + 120 * SECOND < case.plan.ends {
            out.push(Failure {
                check: "mails",
                at,
                text: format!("{id} was sent at {}, and {missing:?} never got it", clock(at)),
            });
        }
    }
}
