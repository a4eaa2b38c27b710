//! The demonstration: its story told on virtual time, and the whole of it for real.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kubeherald::app::pipeline::{Output, Pipeline, Start};
use kubeherald::clock::Clock;
use kubeherald::config;
use kubeherald::testkit::recording::{Line, LineKind, changes};
use kubeherald::testkit::story::{Story, Tone, Write};
use kubeherald::watch::Kind;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// The story as a recording.
fn recorded() -> (Vec<Line>, Vec<String>, u64) {
    let began: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
    let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
    let (sink, mut known) = (Arc::clone(&lines), BTreeMap::<(String, String, String), Value>::new());
    let write = move |at, write: Write<'_>| {
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (kind, object) = match write {
            Write::Apply(object) => {
                let key = (
                    text(&object, "/kind"),
                    text(&object, "/metadata/namespace"),
                    text(&object, "/metadata/name"),
                );
                let known = known.insert(key, object.clone()).is_some();
                (if known { LineKind::Modified } else { LineKind::Added }, object)
            }
            Write::Delete { kind, namespace, name } => {
                let found = known.remove(&(kind.into(), namespace.into(), name.into()));
                (
                    LineKind::Deleted,
                    found.unwrap_or_else(|| panic!("{kind} {namespace}/{name} was not there")),
                )
            }
        };
        sink.lock().unwrap().push(Line { at, kind, object: to_raw_value(&object).unwrap() });
        Ok(())
    };
    let mut story = Story::with(write, Clock::played(began, 1)).unwrap();
    let stage = std::mem::take(&mut *lines.lock().unwrap());
    // What stands when the curtain rises.
    let mut standing: BTreeMap<String, Line> = BTreeMap::new();
    for line in stage {
        let object: Value = serde_json::from_str(line.object.get()).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        match line.kind {
            LineKind::Deleted => drop(standing.remove(&uid)),
            _ => drop(standing.insert(uid, Line { at: began, kind: LineKind::Added, ..line })),
        }
    }
    let mut all: Vec<Line> = standing.into_values().collect();
    all.push(Line { at: began, kind: LineKind::Synced, object: to_raw_value(&()).unwrap() });
    while !story.is_over() {
        story.step();
    }
    all.extend(std::mem::take(&mut *lines.lock().unwrap()));
    let told = story.take_lines().into_iter().map(|l| format!("{} {:?} {}", l.at, l.tone, l.text));
    (all, told.collect(), story.writes())
}

#[test]
fn the_story_is_told_once_for_each_trouble_and_never_for_life() {
    let (lines, said, writes) = recorded();
    let config = config::load(None, &[]).unwrap().config;
    let mut pipeline: Option<Pipeline> = None;
    let mut out = Output::default();
    let mut told = Vec::new();
    for change in changes(lines.into_iter().map(Ok)) {
        let (at, change) = change.unwrap();
        let pipeline = pipeline.get_or_insert_with(|| {
            Pipeline::new(&config, &Kind::ALL, at, Start { first: true, ..Start::default() }).0
        });
        pipeline.feed(at, change, &mut out);
        for message in out.messages.drain(..) {
            told.push(format!(
                "{} {} {}\n{}\n",
                message.decided.at, message.decided.decision, message.title, message.text
            ));
        }
        out = Output::default();
    }
    println!("{}\n\n{}\n\n{writes} writes", said.join("\n"), told.join("\n"));
    assert!(writes > 1000);
}
