//! Every recording through the pipeline with the shipped rules: exactly these messages, and each
//! inside what tests/data/recordings/README.md says happened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Message, Output, Pipeline, Start};
use kubeherald::clock;
use kubeherald::config::{Config, load};
use kubeherald::engine::Incident;
use kubeherald::recording::{RecordingFile, changes};
use kubeherald::watch::{Change, Kind};

/// What the recordings are followed by: long enough for every resolve that is to come.
const THEN: Duration = Duration::from_secs(600);

/// All of them.
pub const RECORDINGS: [&str; 15] = [
    "config",
    "crashloop",
    "evict",
    "flap",
    "hostport",
    "imagepull",
    "init",
    "jobs",
    "mount",
    "node-down",
    "oom",
    "probes",
    "quiet",
    "scheduling",
    "storm",
];

pub fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/recordings/{name}.jsonl.gz"))
}

pub fn shipped() -> Arc<Config> {
    load(None, &[]).expect("the shipped rules load").config
}

pub fn read(name: &str) -> Vec<(Timestamp, Change)> {
    let file = RecordingFile::open(&recording(name)).expect("the recording opens");
    changes(file).map(|change| change.expect("every line decodes")).collect()
}

fn replay(name: &str) -> Vec<Message> {
    replay_with(name, &shipped())
}

fn replay_with(name: &str, config: &Config) -> Vec<Message> {
    let changes = read(name);
    let start = Start { first: true, ..Start::default() };
    let (mut pipeline, _) = Pipeline::new(config, &Kind::ALL, changes[0].0, start);
    let mut out = Output::default();
    let mut now = changes[0].0;
    for (at, change) in changes {
        now = now.max(at);
        pipeline.feed(now, change, &mut out);
    }
    pipeline.tick_until(clock::after(now, THEN), &mut out);
    out.messages
}

/// `08:06:28 first crash-loop Deployment/checkout [names]`
fn line(message: &Message) -> String {
    let decided = &message.decided;
    let at = decided.at.to_string();
    let at = &at[11..19];
    if decided.decision.is_summary() {
        let what: Vec<String> =
            decided.incidents.iter().map(|i| format!("{} {}", i.rule, i.workload)).collect();
        return format!("{at} {} {}", decided.decision, what.join(", "));
    }
    let i = &decided.incidents[0];
    // The suffixes of pod names mean nothing: what counts is how many there are.
    format!("{at} {} {} {} {}", decided.decision, i.rule, i.workload, i.members_total)
}

fn lines(name: &str) -> Vec<String> {
    replay(name).iter().map(line).collect()
}

/// Everything a person would read in the message.
fn words(message: &Message) -> String {
    format!("{}\n{}", message.title, message.text)
}

#[test]
fn crashloop() {
    assert_eq!(
        lines("crashloop"),
        [
            "08:06:28 first crash-loop Deployment/checkout 3",
            "08:12:03 resolved crash-loop Deployment/checkout 3"
        ]
    );
    let messages = replay("crashloop");
    assert!(words(&messages[0]).contains("exit code 3"), "{}", words(&messages[0]));
    assert_eq!(messages[0].decided.incidents[0].members.len(), 3);
    assert_eq!(messages[1].decided.incidents[0].members, messages[0].decided.incidents[0].members);
}

#[test]
fn flap_is_one_incident_without_a_false_resolve() {
    assert_eq!(lines("flap"), ["08:06:43 first crash-loop Deployment/worker 1"]);
    assert!(words(&replay("flap")[0]).contains("exit code 5"));
}

#[test]
fn storm_is_one_message_for_forty_pods() {
    assert_eq!(
        lines("storm"),
        [
            "08:06:08 first crash-loop Deployment/crawler 40",
            "08:13:19 resolved crash-loop Deployment/crawler 40"
        ]
    );
    assert!(words(&replay("storm")[0]).contains("40 of 40 pods"));
}

#[test]
fn oom_is_one_story_that_names_the_limit() {
    assert_eq!(lines("oom"), ["08:06:03 first oom-killed Deployment/memhog 1"]);
    let words = words(&replay("oom")[0]);
    assert!(words.contains("OOM-killed at its 20Mi memory limit"), "{words}");
    assert!(words.contains("crash-looping"), "{words}");
}

#[test]
fn init_names_the_init_container() {
    assert_eq!(lines("init"), ["08:06:05 first crash-loop Deployment/migrator 1"]);
    let words = words(&replay("init")[0]);
    assert!(words.contains("migrate") && words.contains("the init container exited with code 1"), "{words}");
}

#[test]
fn probes_are_one_story_that_names_the_liveness_probe() {
    assert_eq!(lines("probes"), ["08:06:31 first probe-restarts Deployment/frozen 1"]);
    assert!(words(&replay("probes")[0]).contains("failed liveness probe"));
}

#[test]
fn imagepull_names_image_and_registry_error() {
    assert_eq!(
        lines("imagepull"),
        ["08:06:31 first image-pull Deployment/api 2", "08:11:33 resolved image-pull Deployment/api 2"]
    );
    let words = words(&replay("imagepull")[0]);
    assert!(words.contains("connection refused"), "{words}");
    let image = replay("imagepull")[0].decided.incidents[0].image.clone().expect("an image");
    assert!(words.contains(&*image), "{words}");
}

#[test]
fn config_names_the_config_map() {
    assert_eq!(
        lines("config"),
        [
            "08:06:31 first container-config Deployment/mailer 1",
            "08:10:35 resolved container-config Deployment/mailer 1"
        ]
    );
    assert!(words(&replay("config")[0]).contains("configmap"), "{}", words(&replay("config")[0]));
}

#[test]
fn mount_names_the_secret_and_waits_for_the_pod_to_run() {
    assert_eq!(
        lines("mount"),
        [
            "08:06:45 first failed-mount Deployment/vault-agent 1",
            "08:12:37 resolved failed-mount Deployment/vault-agent 1"
        ]
    );
    assert!(words(&replay("mount")[0]).contains("secret \"creds\" not found"));
}

#[test]
fn scheduling_says_why_no_node_fits() {
    assert_eq!(
        lines("scheduling"),
        [
            "08:07:00 first unschedulable Deployment/ranker 2",
            "08:10:31 resolved unschedulable Deployment/ranker 2"
        ]
    );
    assert!(words(&replay("scheduling")[0]).contains("0/1 nodes are available"));
}

#[test]
fn hostport_says_ports() {
    assert_eq!(lines("hostport"), ["08:07:03 first unschedulable Pod/port-b 1"]);
    assert!(words(&replay("hostport")[0]).contains("free ports"));
}

#[test]
fn evictions_are_one_incident_that_grows() {
    assert_eq!(
        lines("evict"),
        ["08:06:54 first evicted Deployment/thumbs 1", "08:10:46 grew evicted Deployment/thumbs 5"]
    );
    let messages = replay("evict");
    assert!(words(&messages[0]).contains("exceeds the limit"), "{}", words(&messages[0]));
    assert_eq!(messages[1].decided.incidents[0].occurrences, 5);
}

#[test]
fn jobs_are_one_incident_of_the_cron_job() {
    assert_eq!(lines("jobs"), ["08:06:13 first job-failed CronJob/report 1"]);
    assert!(words(&replay("jobs")[0]).contains("backoff limit"));
}

#[test]
fn quiet_is_silent() {
    assert_eq!(lines("quiet"), [""; 0]);
}

#[test]
fn node_down_is_one_message_that_counts_its_pods() {
    assert_eq!(
        lines("node-down"),
        [
            "08:18:14 standing crash-loop Deployment/broken",
            "08:19:13 first node-not-ready Node/lab-node 1",
            "08:28:15 resolved node-not-ready Node/lab-node 1"
        ]
    );
    let messages = replay("node-down");
    assert!(words(&messages[1]).contains("7 pods"), "{}", words(&messages[1]));
    assert!(words(&messages[2]).contains("Rebooted"), "the reboot is told with it: {}", words(&messages[2]));
}

#[test]
fn a_receiver_can_do_without_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kubeherald.yaml");
    let hook = "webhook: {url: \"https://example.com\"}";
    let text = format!("receivers:\n  all: {{{hook}}}\n  beginnings: {{{hook}, send_resolved: false}}\n");
    std::fs::write(&path, text).expect("writes");
    let config = load(Some(&path), &[]).expect("loads").config;
    let told: Vec<String> = replay_with("crashloop", &config)
        .iter()
        .flat_map(|m| m.notifications().collect::<Vec<_>>())
        .map(|n| format!("{} {}", n.decision, n.receiver))
        .collect();
    assert_eq!(told, ["first all", "first beginnings", "resolved all"]);
}

/// A store in the smallest form: what `run` keeps of told incidents, as JSON.
fn kept(pipeline: &Pipeline) -> Vec<Incident> {
    pipeline
        .engine()
        .incidents()
        .filter(|incident| incident.recorded.kept)
        .map(|incident| {
            let json = serde_json::to_string(incident).expect("an incident is JSON");
            serde_json::from_str(&json).expect("and back")
        })
        .collect()
}

/// What the API server would list at this moment: the last state of everything not deleted.
struct Cluster(std::collections::BTreeMap<(Kind, String), kubeherald::watch::Object>);

impl Cluster {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Initial(object) | Change::Applied(object) => {
                let meta = object.metadata();
                let key = (object.kind(), meta.uid.clone().unwrap_or_default());
                self.0.insert(key, object.clone());
            }
            Change::Deleted(object) => {
                let meta = object.metadata();
                self.0.remove(&(object.kind(), meta.uid.clone().unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn list(&self) -> Vec<Change> {
        let mut out: Vec<Change> = Kind::ALL.into_iter().map(Change::Listing).collect();
        out.extend(self.0.values().cloned().map(Change::Initial));
        out.extend(Kind::ALL.into_iter().map(Change::Listed));
        out
    }
}

/// Stops after `stop` of the changes and starts anew from what was kept, a list, and the rest.
fn with_restart(name: &str, stop: f64, down: Duration) -> Vec<String> {
    let changes = read(name);
    let config = shipped();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a few thousand"
    )]
    let cut = {
        let listed = changes.iter().rposition(|(_, c)| matches!(c, Change::Listed(_))).expect("SYNCED");
        listed + 1 + ((changes.len() - listed - 1) as f64 * stop) as usize
    };
    let mut cluster = Cluster(std::collections::BTreeMap::new());
    let mut out = Output::default();
    let mut now = changes[0].0;
    let start = Start { first: true, ..Start::default() };
    let (mut pipeline, _) = Pipeline::new(&config, &Kind::ALL, now, start);
    for (at, change) in &changes[..cut] {
        now = now.max(*at);
        cluster.take(change);
        pipeline.feed(now, change.clone(), &mut out);
    }
    assert!(pipeline.synced(), "cut after the initial lists");
    let begun = !pipeline.engine().is_gathering_standing();
    let start = Start {
        first: !begun,
        news_since: Some(if begun { now } else { changes[0].0 }.into()),
        incidents: kept(&pipeline),
        ..Start::default()
    };
    drop(pipeline);
    let back = clock::after(now, down);
    let (mut pipeline, orphaned) = Pipeline::new(&config, &Kind::ALL, back, start);
    assert!(orphaned.is_empty());
    let mut rest = changes[cut..].iter().peekable();
    while let Some((_, change)) = rest.next_if(|(at, _)| *at <= back) {
        cluster.take(change);
    }
    for change in cluster.list() {
        pipeline.feed(back, change, &mut out);
    }
    now = back;
    for (at, change) in rest {
        now = now.max(*at);
        pipeline.feed(now, change.clone(), &mut out);
    }
    pipeline.tick_until(clock::after(now, THEN), &mut out);
    out.messages.iter().map(brief).collect()
}

/// `first crash-loop Deployment/checkout`: without times, which a restart or a live run move a bit.
fn brief(message: &Message) -> String {
    let decided = &message.decided;
    let incident = &decided.incidents[0];
    format!("{} {} {}", decided.decision, incident.rule, incident.workload)
}

/// What a replay tells, in brief.
pub fn replayed(name: &str) -> Vec<String> {
    replay(name).iter().map(brief).collect()
}

#[test]
fn a_restart_anywhere_repeats_nothing_and_misses_nothing() {
    let mut wrong = Vec::new();
    for name in RECORDINGS {
        // Stopped before it had told what it found at first, it finds it at first again.
        let plain = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().map(|line| line.replace("standing ", "first ")).collect()
        };
        let expected = plain(replayed(name));
        for step in 1..20 {
            let stop = f64::from(step) / 20.0;
            let told = with_restart(name, stop, Duration::from_secs(3));
            // Cut off before it told the kill, it hears of the kill and of the loop at once.
            let told: Vec<String> =
                plain(told).into_iter().filter(|line| name != "oom" || !line.starts_with("grew")).collect();
            if told != expected {
                wrong.push(format!("{name} stopped after {stop}: {told:#?} instead of {expected:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
