//! What kubeherald says of itself: that its configuration is broken or mended, that it is blind or
//! sees again.
//!
//! A notice is decided once: what was said is a mark in the store, written in the transaction that
//! queues it, so a restart repeats nothing. All notices about one trouble are one thread, which the
//! last of them closes. They go to the *default receivers*; who was told of a trouble is told of its
//! end as well.

pub mod blindness;
mod disk;
mod receivers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::blindness::{Blindness, Sight, Span};
use self::receivers::HandOver;
use super::commit::put_message;
use super::pipeline::{Message, Policies, TERMINAL, receivers as receivers_of};
use crate::clock;
use crate::config::{Config, Receiver};
use crate::engine::Decided;
use crate::engine::room::{LimitReached, Tenant};
use crate::message::text::{self as message_text, words};
use crate::message::{Decision, Reason};
use crate::store::{Commit, NotQueued};
use crate::watch::{Change, Kind};

/// Marks of these names hold what was said.
const MARK_CONFIG: &str = "notice.config";
const MARK_BLIND: &str = "notice.blind";
/// Since when kinds could not be seen: JSON, kinds to RFC 3339. Also of those that were not told yet.
const MARK_UNSEEN: &str = "notice.unseen";
const MARK_LIMIT: &str = "notice.limit";
const MARK_NOT_QUEUED: &str = "notice.not_queued";
/// How many threads of notices there were. Times repeat after a step of the clock, this number does not.
const MARK_THREADS: &str = "notice.threads";
/// That the limit on incidents is reached is told after so long: what finds no room at the same time comes
/// along.
const GATHER_LIMIT: Duration = Duration::from_secs(10);
/// How many errors a notice lists.
const MAX_LINES: usize = 10;
/// The longest line of a notice, in characters.
const MAX_LINE: usize = 500;

/// Who is told what is about kubeherald itself: the receivers of the last route without conditions,
/// or else the first receiver; the terminal where none is configured.
pub fn default_receivers(config: &Config) -> Vec<Arc<str>> {
    let open = config.routes.routes.iter().rev().find(|route| route.takes_everything());
    match (open.map(|route| route.receivers.clone()), config.receivers.first()) {
        (_, None) => vec![Arc::from(TERMINAL)],
        (Some(receivers), _) if !receivers.is_empty() => receivers,
        (_, Some(first)) => vec![Arc::clone(&first.spec.name)],
    }
}

/// A configuration that cannot be used, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What was read, hashed: the same errors in the same files are told once.
    pub content: String,
    /// One line for each error, without the source.
    pub lines: Vec<String>,
}

/// What was said about one trouble so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trouble {
    thread: String,
    seq: u64,
    /// What the last notice was about.
    content: String,
    to: Vec<Arc<str>>,
    /// Of a receiver that does not work: its fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<HandOver>,
}

/// What was decided and is not stored yet.
#[derive(Debug, Default)]
struct Pending {
    messages: Vec<Message>,
    marks: Vec<(String, String)>,
}

/// Decides notices and keeps them until they are stored.
#[derive(Debug)]
pub struct Announcer {
    cluster: Arc<str>,
    to: Vec<Arc<str>>,
    known: Vec<Arc<str>>,
    policies: Policies,
    troubles: BTreeMap<&'static str, Trouble>,
    /// See [`MARK_THREADS`].
    threads: u64,
    blindness: Blindness,
    /// The limit on incidents was reached then, and how it was last seen; not told yet.
    limit: Option<(Timestamp, LimitReached)>,
    disk: disk::Changed,
    pending: Pending,
    counts: BTreeMap<(Decision, Reason), u64>,
    /// Receivers of which it was said that they do not work.
    out_of_order: BTreeMap<Arc<str>, Trouble>,
    /// When it was last logged that a receiver does not work.
    logged: BTreeMap<Arc<str>, Timestamp>,
    trouble_after: Duration,
    /// The configured fallbacks, by receiver.
    fallbacks: BTreeMap<Arc<str>, Arc<str>>,
}

impl Announcer {
    /// Goes on from the marks of the store.
    pub fn new(config: &Config, marks: &BTreeMap<String, String>) -> Self {
        let marked =
            [MARK_CONFIG, MARK_BLIND, MARK_LIMIT, MARK_NOT_QUEUED, disk::MARK_DISK, disk::MARK_DAMAGE];
        let troubles: BTreeMap<&'static str, Trouble> = marked
            .into_iter()
            .filter_map(|name| Some((name, serde_json::from_str(marks.get(name)?).ok()?)))
            .collect();
        let told = troubles.get(MARK_BLIND).map_or("", |trouble| trouble.content.as_str());
        let unseen =
            marks.get(MARK_UNSEEN).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let mut announcer = Self {
            cluster: Arc::from(""),
            to: Vec::new(),
            known: Vec::new(),
            policies: Policies::default(),
            threads: marks.get(MARK_THREADS).and_then(|count| count.parse().ok()).unwrap_or(0),
            blindness: Blindness::restored(told, &unseen),
            limit: None,
            disk: disk::Changed::default(),
            troubles,
            pending: Pending::default(),
            counts: BTreeMap::new(),
            out_of_order: receivers::restored(marks),
            logged: BTreeMap::new(),
            trouble_after: config.trouble_after,
            fallbacks: BTreeMap::new(),
        };
        announcer.configure(config);
        announcer
    }

    /// The process before did not stop in order: up to so many notices of each trouble may have been sent that
    /// were not stored.
    pub fn skip_numbers(&mut self, lost: u64) {
        for trouble in self.troubles.values_mut().chain(self.out_of_order.values_mut()) {
            trouble.seq = trouble.seq.saturating_add(lost);
        }
    }

    /// Goes on under another configuration.
    pub fn configure(&mut self, config: &Config) {
        self.blindness.set_blind_after(config.watch.blind_after);
        self.cluster = Arc::clone(&config.cluster);
        self.to = default_receivers(config);
        self.known = receivers_of(config);
        self.policies = Policies::of(config);
        self.trouble_after = config.trouble_after;
        let fallback =
            |receiver: &Receiver| Some((Arc::clone(&receiver.spec.name), receiver.spec.fallback.clone()?));
        self.fallbacks = config.receivers.iter().filter_map(fallback).collect();
    }

    /// The configuration on disk cannot be used. Told once for each content.
    pub fn broken(&mut self, now: Timestamp, broken: &Broken) {
        if self.troubles.get(MARK_CONFIG).is_some_and(|trouble| trouble.content == broken.content) {
            return;
        }
        let count = broken.lines.len();
        let errors = words::plural(u64::try_from(count).unwrap_or(u64::MAX), "error");
        let title = format!("The configuration has {errors}: the last good one goes on");
        let mut lines: Vec<String> =
            broken.lines.iter().take(MAX_LINES).map(|line| words::one_line(line, MAX_LINE)).collect();
        if count > MAX_LINES {
            lines.push(format!("… and {} more", count - MAX_LINES));
        }
        lines.push("`kubeherald check` shows each in its place.".into());
        self.say(now, MARK_CONFIG, Reason::ConfigBroken, &broken.content, (&title, &lines.join("\n")));
    }

    /// The configuration on disk is in force.
    pub fn in_order(&mut self, now: Timestamp) {
        if self.troubles.contains_key(MARK_CONFIG) {
            let title = "The configuration is in order again";
            self.say(now, MARK_CONFIG, Reason::ConfigMended, "", (title, "What is written is in force."));
        }
    }

    /// Looks at whether the limit on incidents is reached. Told once, also where it was only for a moment, and
    /// told once more when it is over.
    pub fn limit(&mut self, now: Timestamp, reached: Option<LimitReached>) {
        let over = reached.is_none();
        match (reached, &mut self.limit) {
            (Some(_), None) if self.troubles.contains_key(MARK_LIMIT) => return,
            (Some(reached), None) => {
                tracing::warn!(
                    limit = reached.limit,
                    "the limit on incidents is reached: not all problems are followed"
                );
                self.limit = Some((now, reached));
            }
            (Some(reached), Some((_, last))) => *last = reached,
            (None, _) => {}
        }
        let due = |since: Timestamp| over || clock::between(since, now) >= GATHER_LIMIT;
        if let Some((_, reached)) = self.limit.take_if(|(since, _)| due(*since)) {
            let (title, text) = limit_words(&reached);
            self.say(now, MARK_LIMIT, Reason::LimitReached, "reached", (&title, &text));
        }
        if over && self.troubles.contains_key(MARK_LIMIT) {
            let text = "What found no room before is followed now, as far as it still stands.";
            self.say(
                now,
                MARK_LIMIT,
                Reason::LimitLifted,
                "",
                ("Incidents are below their limit again", text),
            );
        }
    }

    /// Notifications were not queued, because other messages have their keys: whoever should have them is
    /// not told by them.
    pub fn not_queued(&mut self, now: Timestamp, lost: &[NotQueued]) {
        if lost.is_empty() {
            return;
        }
        let count = u64::try_from(lost.len()).unwrap_or(u64::MAX);
        let title =
            format!("{} not queued: another message has the key", words::plural(count, "notification"));
        let mut lines: Vec<String> =
            vec!["This is a defect of kubeherald; please report it. Not sent:".into()];
        for one in lost.iter().take(MAX_LINES) {
            lines.push(words::one_line(
                &format!("{} (key {}): {}", one.receiver, one.key, one.title),
                MAX_LINE,
            ));
        }
        if lost.len() > MAX_LINES {
            lines.push(format!("… and {} more", lost.len() - MAX_LINES));
        }
        let content = lost.iter().take(MAX_LINES).map(|one| one.key.as_str()).collect::<Vec<_>>().join(" ");
        self.say(now, MARK_NOT_QUEUED, Reason::NotQueued, &content, (&title, &lines.join("\n")));
    }

    /// Looks at what the watches say of themselves.
    pub fn change(&mut self, now: Timestamp, change: &Change) {
        self.blindness.change(now, change);
    }

    /// Requests for a kind fail; `since`: when it was seen last.
    pub fn failing(&mut self, kind: Kind, since: Timestamp) {
        self.blindness.failing(kind, since);
    }

    /// The clock was set by `by` and shows `now`.
    pub fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        self.blindness.clock_set(by, now);
        if let Some((since, _)) = &mut self.limit {
            *since = clock::moved(*since, by);
        }
        self.logged.values_mut().for_each(|at| *at = clock::moved(*at, by));
    }

    /// Says what is due.
    pub fn tick(&mut self, now: Timestamp) {
        let sight = self.blindness.tick(now);
        if let Some(unseen) = self.blindness.take_changed() {
            let unseen = serde_json::to_string(&unseen).unwrap_or_default();
            self.pending.marks.push((MARK_UNSEEN.into(), unseen));
        }
        let Some(Sight { blind, again }) = sight else { return };
        let names = |spans: &[Span]| {
            let names: Vec<String> = spans.iter().map(|span| span.kind.to_string()).collect();
            words::list(names.iter().map(String::as_str), 5, names.len())
        };
        let back =
            if again.is_empty() { String::new() } else { format!("{} can be read again", names(&again)) };
        let spans = |spans: &[Span]| {
            let mut lines: Vec<String> = spans.iter().take(MAX_LINES).map(|span| line(span, now)).collect();
            if spans.len() > MAX_LINES {
                lines.push(format!("… and {} more", spans.len() - MAX_LINES));
            }
            lines
        };
        if blind.is_empty() {
            let mut lines = spans(&again);
            lines.push("What it did not see meanwhile is told now, as far as it still stands.".into());
            let title = format!("No longer blind: {back}");
            self.say(now, MARK_BLIND, Reason::SeesAgain, "", (&title, &lines.join("\n")));
            return;
        }
        let kinds = words::plural(u64::try_from(blind.len()).unwrap_or(u64::MAX), "kind");
        let over = blind.iter().all(|span| span.until.is_some());
        let could = if over { "could not be read for a time" } else { "cannot be read" };
        let title = format!("Blind: {kinds} of objects {could}: {}", names(&blind));
        let mut lines = spans(&blind);
        lines.push(
            "Problems that only these show are not seen; what is open and shows in them stays open.".into(),
        );
        if !back.is_empty() {
            lines.push(back);
        }
        let content: Vec<String> = blind.iter().map(|span| span.kind.to_string()).collect();
        self.say(now, MARK_BLIND, Reason::Blind, &content.join(" "), (&title, &lines.join("\n")));
    }

    /// Is something waiting to be stored?
    pub const fn is_waiting(&self) -> bool {
        !self.pending.messages.is_empty() || !self.pending.marks.is_empty()
    }

    /// Puts what waits into a transaction.
    pub fn put_into(&mut self, commit: &mut Commit) {
        let mut pending = std::mem::take(&mut self.pending);
        commit.marks.append(&mut pending.marks);
        for message in &pending.messages {
            put_message(commit, message, None);
        }
    }

    /// How many notices were decided.
    pub const fn counts(&self) -> &BTreeMap<(Decision, Reason), u64> {
        &self.counts
    }

    fn say(
        &mut self,
        now: Timestamp,
        mark: &'static str,
        reason: Reason,
        content: &str,
        (title, text): (&str, &str),
    ) {
        let mut trouble = self.troubles.remove(mark).unwrap_or_else(|| Trouble {
            thread: self.new_thread(now, mark.trim_start_matches("notice.")),
            seq: 0,
            content: String::new(),
            to: Vec::new(),
            fallback: None,
        });
        trouble.seq += 1;
        content.clone_into(&mut trouble.content);
        trouble.to.retain(|receiver| self.known.contains(receiver));
        for receiver in &self.to {
            if !trouble.to.contains(receiver) {
                trouble.to.push(Arc::clone(receiver));
            }
        }
        self.tell(now, &trouble, reason, (title, text));
        let over = reason.is_mend();
        let kept = if over { String::new() } else { serde_json::to_string(&trouble).unwrap_or_default() };
        self.pending.marks.push((mark.to_owned(), kept));
        if !over {
            self.troubles.insert(mark, trouble);
        }
    }

    fn new_thread(&mut self, now: Timestamp, subject: &str) -> String {
        self.threads += 1;
        self.pending.marks.push((MARK_THREADS.to_owned(), self.threads.to_string()));
        format!("{subject}-{}-{}", now.as_millisecond(), self.threads)
    }

    /// Queues a notice for everybody who is told of a trouble.
    fn tell(&mut self, now: Timestamp, trouble: &Trouble, reason: Reason, words: (&str, &str)) {
        let policies = self.policies.clone();
        self.queue(now, trouble, reason, words, policies);
    }

    /// The same, whether or not a receiver wants to be told of ends.
    fn tell_all(&mut self, now: Timestamp, trouble: &Trouble, reason: Reason, words: (&str, &str)) {
        self.queue(now, trouble, reason, words, Policies::default());
    }

    fn queue(
        &mut self,
        now: Timestamp,
        trouble: &Trouble,
        reason: Reason,
        (title, text): (&str, &str),
        policies: Policies,
    ) {
        self.pending.messages.push(Message {
            decided: Decided {
                at: now,
                decision: Decision::Notice,
                reason,
                thread: Arc::from(trouble.thread.as_str()),
                seq: trouble.seq,
                number: 0,
                receivers: trouble.to.clone(),
                incidents: Vec::new(),
                total: 0,
                digest: None,
            },
            title: words::one_line(title, message_text::MAX_TITLE),
            text: text.to_owned(),
            cluster: Arc::clone(&self.cluster),
            policies,
            log: None,
        });
        *self.counts.entry((Decision::Notice, reason)).or_default() += 1;
    }
}

/// `Pod: from 08:06:24 UTC to 08:07:40 UTC (76 s): 500: …`
fn line(span: &Span, now: Timestamp) -> String {
    let when = match (span.since, span.until) {
        (Some(since), Some(until)) => {
            let lasted = words::duration(words::seconds_between(since, until));
            format!("from {} to {} ({lasted})", words::moment(since, now), words::moment(until, now))
        }
        (Some(since), None) => words::since(since, now),
        (None, Some(until)) => format!("until {}", words::moment(until, now)),
        (None, None) => "still".into(),
    };
    let why = if span.why.is_empty() { String::new() } else { format!(": {}", span.why) };
    words::one_line(&format!("{}: {when}{why}", span.kind), MAX_LINE)
}

/// `shop`, or `the cluster` for what belongs to no namespace.
pub fn tenant(of: &Tenant) -> &str {
    of.as_deref().unwrap_or("the cluster")
}

fn limit_words(reached: &LimitReached) -> (String, String) {
    let (of, count) = (tenant(&reached.largest.0), reached.largest.1);
    let title = format!("Incidents are at their limit of {}: most are of {of} ({count})", reached.limit);
    let left = reached.left_out.iter().map(|(of, count)| format!("{} {count}", tenant(of)));
    let left: Vec<String> = left.collect();
    let not_followed = match left.len() {
        0 => String::from("Some problems were not followed for a moment."),
        all => format!(
            "Problems that are not followed: {}.",
            words::list(left.iter().map(String::as_str), MAX_LINES, all)
        ),
    };
    let text = [
        words::one_line(&not_followed, MAX_LINE),
        "What is silenced, held back or less severe, and what the largest namespace has too much of, gives way first."
            .into(),
        "What found no room is looked for again and told as soon as there is some. The limit is `engine.max_incidents`."
            .into(),
    ];
    (title, text.join("\n"))
}

#[cfg(test)]
mod tests;
