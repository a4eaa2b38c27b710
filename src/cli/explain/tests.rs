//! Recordings through the real pipeline into a real store, and what `explain` says of them; the
//! times are those of the recordings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::app::commit::commit;
use crate::app::pipeline::{Output, Pipeline, Start};
use crate::config::{Config, load};
use crate::recording::{RecordingFile, changes};
use crate::store::fixture::note;
use crate::store::{Claim, Commit, OutboxQuery, Settle};
use crate::watch::Kind;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: ExplainArgs,
}

/// A bot without its I/O: committed after every change, as the loop does at the latest.
struct Bot {
    store: Store,
    pipeline: Pipeline,
    changes: std::vec::IntoIter<(Timestamp, crate::watch::Change)>,
    now: Timestamp,
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

impl Bot {
    fn new(recording: &str, config: &Config) -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/recordings/{recording}.jsonl.gz"));
        let changes: Vec<_> =
            changes(RecordingFile::open(&path).unwrap()).map(|change| change.unwrap()).collect();
        let now = changes[0].0;
        let (pipeline, _) = Pipeline::new(config, &Kind::ALL, now, Start { first: true, ..Start::default() });
        Self { store: Store::memory().unwrap(), pipeline, changes: changes.into_iter(), now }
    }

    /// Goes on until then; what is still to come of the recording comes later.
    fn until(&mut self, time: &str) -> &mut Self {
        let end = at(time);
        let mut out = Output::default();
        while self.changes.as_slice().first().is_some_and(|(at, _)| *at <= end) {
            let Some((at, change)) = self.changes.next() else { break };
            self.now = self.now.max(at);
            self.pipeline.feed(self.now, change, &mut out);
            self.keep(&mut out);
        }
        self.now = end;
        self.pipeline.tick_until(end, &mut out);
        self.keep(&mut out);
        self
    }

    fn keep(&self, out: &mut Output) {
        let out = std::mem::take(out);
        let mut commit = commit(&self.pipeline, &out, self.now);
        commit.marks.push((SEEN_UNTIL.into(), self.now.to_string()));
        self.store.commit(commit).wait().unwrap();
    }

    /// Delivers what waits, ten seconds ago.
    fn deliver(&self) -> &Self {
        let query = OutboxQuery { limit: 100, ..OutboxQuery::default() };
        for row in self.store.outbox(query).wait().unwrap() {
            let then = clock::before(self.now, Duration::from_secs(10));
            assert!(matches!(self.store.claim(row.seq, then).wait().unwrap(), Claim::Claimed { .. }));
            self.store.settle(row.seq, Settle::Delivered { handle: None }, then).wait().unwrap();
        }
        self
    }

    fn answer(&self, line: &str) -> Answer {
        let args = Line::parse_from(["explain"].into_iter().chain(line.split(' '))).args;
        let asked = object::parse(&args.object, args.namespace.as_deref()).unwrap();
        super::answer(&self.store, &asked, &args, None, self.now).unwrap()
    }

    fn text(&self, line: &str) -> String {
        text::text(&self.answer(line), "").unwrap()
    }

    fn history(&self) -> Vec<HistoryEntry> {
        self.store.history(None).wait().unwrap()
    }
}

fn shipped() -> Arc<Config> {
    load(None, &[]).unwrap().config
}

fn with_rules(text: &str) -> Arc<Config> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("rules.yaml");
    std::fs::write(&path, text).unwrap();
    load(None, &[path]).map_err(|found| found.render(false)).unwrap().config
}

const POD: &str = "Pod/checkout-688988776f-kqtml";

#[test]
fn what_is_told_is_explained_while_it_goes_on_and_after_it_ended() {
    let mut bot = Bot::new("crashloop", &shipped());
    bot.until("08:08:00").deliver();
    assert_eq!(
        bot.text(POD),
        "\
Pod/checkout-688988776f-kqtml: 1 incident

gye1pzhv3a Deployment/checkout in s-crashloop: CrashLoopBackOff, container checkout
  state    firing since 08:06:20 UTC (2 min ago), 10 times, last at 08:07:43 UTC (17 s ago)
  rule     crash-loop (critical)
  quiet    until 09:06:28 UTC (in 58 min): repeats are counted, not told, unless it grows; 8 so far
  objects  Pod/checkout-688988776f-kqtml, Pod/checkout-688988776f-lgmp4, Pod/checkout-688988776f-jrsbl
  why      the container exited with code 3 within a second of its start
  08:06:37 UTC (1 min ago)  happened again; repeats are counted, not told until 09:06:28 UTC
  08:06:28 UTC (2 min ago)  told: Deployment/checkout in s-crashloop keeps crashing: exit code 3
      terminal: delivered at 08:07:50 UTC
"
    );
    // Over, and its window, too: nothing but history is left of it.
    bot.until("09:40:00");
    let text = bot.text(POD);
    for part in [
        "state    over at 08:11:3",
        "seen since 08:06:20 UTC",
        "rule     crash-loop (critical)",
        "told that it is over (the objects are gone, the workload is well): Resolved: ",
        "terminal: waits – next attempt as soon as possible",
        "terminal: delivered at 08:07:50 UTC",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(bot.store.load_incidents().wait().unwrap(), []);
    assert_eq!(bot.answer(POD).incidents[0].state, "resolved");
}

#[test]
fn however_it_is_called_it_is_found() {
    let mut bot = Bot::new("crashloop", &shipped());
    bot.until("08:07:00");
    let id = bot.answer(POD).incidents[0].incident.clone();
    for asked in [
        "deploy/checkout",
        "DEPLOYMENTS/Checkout",
        "checkout",
        "s-crashloop/checkout",
        "s-crashloop/pod/checkout-688988776f-kqtml",
        "po/checkout-688988776f-kqtml -n s-crashloop",
        "checkout-688988776f-*",
        "incident/ID",
        "ID",
    ] {
        let answer = bot.answer(&asked.replace("ID", &id));
        let found: Vec<&str> = answer.incidents.iter().map(|story| story.incident.as_str()).collect();
        assert!(found.contains(&id.as_str()), "{asked}: {found:?}");
    }
    for asked in ["checkout -n default", "sts/checkout", "default/checkout", "check*out"] {
        assert!(bot.answer(asked).is_nothing(), "{asked}");
    }
    assert_eq!(bot.answer("checkout --since 1s").older, 0, "it goes on");
    bot.now = at("23:00:00");
    let later = bot.answer("checkout --since 1h");
    assert!(later.is_nothing() && later.older > 0);
    assert!(text::text(&later, "").unwrap().contains("leave out --since"));
}

#[test]
fn what_waits_says_for_what_and_until_when() {
    let mut bot = Bot::new("scheduling", &shipped());
    bot.until("08:06:30");
    let waits = bot.text("deploy/ranker");
    assert!(waits.contains("state    not told yet; seen since 08:05:55 UTC (35 s ago)"), "{waits}");
    assert!(
        waits.contains("waits    it is told if it lasts until 08:06:55 UTC (in 25 s): the rule's `for`"),
        "{waits}"
    );
    assert_eq!(bot.history(), [], "what waits is no history");

    bot.until("08:06:57");
    let waits = bot.answer("deploy/ranker").incidents[0].waits.clone().unwrap();
    assert_eq!((waits.reason.as_str(), waits.until), ("group_wait", Some(at("08:07:00"))));

    bot.until("08:09:00");
    let told = bot.answer("deploy/ranker");
    let of = |rule: &str| told.incidents.iter().find(|story| story.rule == rule).unwrap();
    let (held, firing) = (of("rollout-stuck"), of("unschedulable"));
    assert_eq!(held.state, "held");
    assert_eq!((firing.state, &firing.waits), ("firing", &None));
    assert_eq!(held.waits.as_ref().unwrap().by.as_ref(), Some(&firing.incident));
    assert_eq!(held.events.len(), 1, "written down once, not at each look: {:?}", held.events);
    let text = bot.text("deploy/ranker");
    let holder = format!("incident {} (Deployment/ranker: FailedScheduling) explains it", firing.incident);
    assert!(text.contains(&format!("waits    {holder}")), "{text}");
    assert!(text.contains(&format!("not told: {holder}")), "{text}");

    bot.until("08:12:00");
    let over = bot.answer("deploy/ranker");
    let held = over.incidents.iter().find(|story| story.rule == "rollout-stuck").unwrap();
    assert_eq!(held.state, "never_told");
    let text = bot.text("deploy/ranker");
    assert!(text.contains("over; not told by itself, since incident "), "{text}");
}

#[test]
fn the_summary_that_told_it_is_shown() {
    let mut bot = Bot::new("node-down", &shipped());
    bot.until("08:18:12");
    let gathers = bot.answer("deploy/broken");
    assert_eq!(gathers.incidents[0].state, "gathering", "{gathers:?}");
    bot.until("08:19:00").deliver();
    let text = bot.text("deploy/broken");
    assert!(
        text.contains("told in the summary of a first start: 1 problem was already open at startup"),
        "{text}"
    );
    assert!(text.contains("      terminal: delivered at 08:18:50 UTC"), "{text}");
    bot.until("08:30:00");
    let node = bot.text("node/lab-node");
    assert!(node.contains("Node/lab-node: NodeNotReady"), "{node}");
    assert!(node.contains("(Node/lab-node: NodeNotReady) explains it and counts it"), "{node}");
}

#[test]
fn forty_pods_are_each_found() {
    let mut bot = Bot::new("storm", &shipped());
    bot.until("08:18:00");
    let all = bot.answer("deploy/crawler");
    let story = all.incidents.iter().find(|story| story.rule == "crash-loop").unwrap();
    assert_eq!(story.objects_total, 41, "forty pods and their workload");
    for object in story.objects.iter().filter(|object| object.kind == "Pod") {
        let one = bot.answer(&format!("pod/{}", object.name));
        assert_eq!(one.incidents.len(), 1, "{object:?}");
        assert_eq!(one.incidents[0].asked, std::slice::from_ref(object));
    }
}

/// Pods that start, run and end as they should leave nothing behind, and cost few writes.
#[test]
fn normal_life_leaves_no_trace() {
    let mut bot = Bot::new("quiet", &shipped());
    bot.until("09:00:00");
    assert_eq!(bot.history(), []);
    assert_eq!(bot.store.known_objects(10).wait().unwrap(), []);
    assert!(bot.answer("deploy/web").is_nothing());
}

#[test]
fn what_no_rule_wants_is_said_once_for_each_object() {
    let rules = "rules:\n  - {name: crash-loop, severity: critical, match: {cause: CrashLoopBackOff, namespace: payments}}\n";
    let mut bot = Bot::new("crashloop", &with_rules(rules));
    bot.until("08:12:00");
    let rows: Vec<_> = bot.history().into_iter().filter(|row| row.reason == "no_rule").collect();
    assert_eq!(rows.len(), 3, "three pods crash again and again: {rows:?}");
    let answer = bot.answer(POD);
    assert_eq!((answer.incidents.len(), answer.unmatched.len()), (0, 1));
    let text = text::text(&answer, "").unwrap();
    assert!(
        text.contains("Pod/checkout-688988776f-kqtml in s-crashloop: CrashLoopBackOff, no rule matches it"),
        "{text}"
    );
    assert_eq!(bot.answer("deploy/checkout -n s-crashloop").unmatched.len(), 3, "by the workload, too");
    assert_eq!(bot.answer("checkout -n default").unmatched.len(), 0);
}

#[test]
fn a_rule_that_counts_says_that_it_counts() {
    let rules = "rules:\n  - {name: crash-loop, severity: critical, match: {cause: CrashLoopBackOff, count: {at_least: 50, within: 10m}}}\n";
    let mut bot = Bot::new("crashloop", &with_rules(rules));
    bot.until("08:08:00");
    let text = bot.text(POD);
    assert!(text.contains("waits    it has not happened as often as the rule's `count` asks"), "{text}");
    bot.until("08:30:00");
    let story = &bot.answer(POD).incidents[0];
    assert_eq!(story.state, "never_told", "{story:?}");
    assert_eq!(story.events[0].waited.as_ref().unwrap().reason, "below_count");
}

/// The rows of a step are bounded by what changes, not by how much is heard.
#[test]
fn no_row_is_written_for_each_signal() {
    for name in ["crashloop", "evict", "flap", "jobs", "node-down", "oom", "probes", "storm"] {
        let mut bot = Bot::new(name, &shipped());
        bot.until("10:00:00");
        let signals: u64 = bot.pipeline.engine().signal_counts().values().sum();
        let (told, held): (Vec<_>, Vec<_>) =
            bot.history().into_iter().partition(|row| row.decision.is_some());
        let ids: std::collections::BTreeSet<_> = held.iter().filter_map(|row| row.incident.clone()).collect();
        // Of each incident: one for each window, one that holds it, one for its end.
        assert!(held.len() <= told.len() + 2 * ids.len(), "{name}: {held:#?}");
        assert!(u64::try_from(held.len()).unwrap() * 4 < signals, "{name}: {} of {signals}", held.len());
    }
}

#[test]
fn near_names_are_told_where_nothing_is_known() {
    let mut bot = Bot::new("crashloop", &shipped());
    bot.until("08:07:00");
    let near = |asked: &str| -> Vec<String> {
        let answer = bot.answer(asked);
        assert!(answer.is_nothing(), "{asked}");
        answer.near.iter().map(|o| format!("{}/{}", o.kind, o.name)).collect()
    };
    assert_eq!(near("deploy/chekout"), ["Deployment/checkout"]);
    assert_eq!(near("checkout -n default")[0], "Deployment/checkout");
    assert_eq!(near("pod/checkout-688988776f-zzzzz")[0], "Deployment/checkout", "its workload");
    assert_eq!(near("pod/checkout-6889").len(), 4, "its workload, and what begins so");
    assert_eq!(near("pod/something-else"), [""; 0]);
    let text = bot.text("deploy/chekout");
    assert!(text.starts_with("nothing is known of deploy/chekout\n"), "{text}");
    assert!(text.contains("  Deployment/checkout -n s-crashloop\n"), "{text}");
    assert!(text.contains("longer ago than 30 days"), "{text}");
}

/// A delivery from before the decision is another message's, whatever its key is.
#[test]
fn a_delivery_is_never_shown_before_its_decision() {
    let mut bot = Bot::new("crashloop", &shipped());
    bot.until("08:07:00");
    let rows = bot.store.outbox(OutboxQuery { limit: 1, ..OutboxQuery::default() }).wait().unwrap();
    let key = rows[0].key.clone();
    let mut bot = Bot::new("crashloop", &shipped());
    let taken = note(&key, "terminal", "another", at("07:00:00"));
    bot.store.commit(Commit { notifications: vec![taken], ..Commit::default() }).wait().unwrap();
    bot.deliver();
    bot.until("08:07:00");
    let answer = bot.answer(POD);
    let receipts: Vec<_> = answer.incidents[0].events.iter().flat_map(|event| &event.receivers).collect();
    let states: Vec<(&str, Option<Timestamp>)> =
        receipts.iter().map(|receipt| (receipt.state.as_str(), receipt.at)).collect();
    assert_eq!(states, [("not_queued", None)]);
    let text = bot.text(POD);
    assert!(text.contains("terminal: not queued: another message has its key"), "{text}");
    assert!(text.contains("a notification was not queued, since another message has its key"), "{text}");
}
