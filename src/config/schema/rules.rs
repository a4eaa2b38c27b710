//! Rule files.

use serde_json::{Value, json};

use super::matching::{self, cause, severity, source};
use super::{
    Defs, NAME, boolean, by_key, count, default, document, duration, int, list, object, of, one_of,
    one_or_more, text, written,
};
use crate::config::compile::cases::{DECISIONS, EXPECT_TEXTS, GIVEN_TEXTS, PHASES};
use crate::config::compile::matching::Scope;
use crate::config::{Expect, RuleTest};
use crate::engine::Settings;
use crate::rule::{GroupBy, Matcher, Rule};
use crate::signal::Severity;
use crate::signal::log::LogTail;

/// The schema of rule files.
#[must_use]
pub fn rules() -> Value {
    let mut defs = Defs::new();
    let keys = vec![
        ("rules", list("Rules; the first that matches a problem speaks for it.", &of("rule", "A rule."))),
        ("tests", list("Tests, run by `kubeherald test`.", &of("test", "A test."))),
    ];
    defs.insert("file".into(), object("A rule file of kubeherald.", keys));
    defs.insert("rule".into(), rule());
    defs.insert(
        "log_tail".into(),
        object(
            "How much of the log.",
            vec![
                ("lines", default(int("Lines.", 1, LogTail::MAX_LINES.into()), LogTail::default().lines)),
                (
                    "bytes",
                    default(
                        int("Bytes.", LogTail::MIN_BYTES.into(), LogTail::MAX_BYTES.into()),
                        LogTail::default().bytes,
                    ),
                ),
            ],
        ),
    );
    matching::add(&mut defs, Scope::Rule);
    defs.insert("test".into(), test());
    defs.insert("given".into(), given());
    defs.insert("expect".into(), expect());
    document("kubeherald rules", "file", defs)
}

fn rule() -> Value {
    let it = Rule::new("", Matcher::default(), Severity::Warning);
    let fields = GroupBy::NAMES.iter().map(|(name, _)| *name);
    let grouping: Vec<&str> = GroupBy::NAMES
        .iter()
        .filter(|(_, by)| GroupBy::DEFAULT.contains(by))
        .map(|(name, _)| *name)
        .collect();
    let mut rule = object(
        "A rule. One with the name of a shipped rule replaces it.",
        vec![
            ("name!", json!({"description": "Unique.", "type": ["string", "number"], "pattern": NAME})),
            ("enabled", boolean("`false` switches a shipped rule of this name off.", true)),
            ("match", of("match", "Which problems.")),
            ("severity", default(severity("How bad."), it.severity.as_str())),
            ("for", default(duration("How long it must last before it is told."), written(it.for_duration))),
            ("count", of("count", "How often it must happen before it is told.")),
            (
                "group_wait",
                default(
                    duration("How long members gather before the first message."),
                    written(Settings::default().group_wait),
                ),
            ),
            (
                "group_by",
                default(
                    list("What the members of one incident share.", &one_of("A field.", fields)),
                    grouping,
                ),
            ),
            (
                "window",
                default(
                    duration("No more of the same for so long after a message; doubles with each reminder."),
                    written(it.window),
                ),
            ),
            ("max_window", default(duration("The window never grows past this."), written(it.max_window))),
            (
                "stable_for",
                default(
                    duration(
                        "Recovery needs so long without a new occurrence; of JobFailed a success is enough.",
                    ),
                    written(it.stable_for),
                ),
            ),
            (
                "resolve_after",
                default(
                    duration("A problem known from Events alone is over after so long without one."),
                    written(it.resolve_after),
                ),
            ),
            ("send_resolved", boolean("Tell the end.", it.send_resolved)),
            ("receivers", one_or_more("Who is told, in place of the routes.", &text("A receiver."))),
            ("summary", text("The template of the title: \"{{workload}} keeps crashing ({{exit}})\".")),
            ("runbook", text("Where to read on.")),
            (
                "log_tail",
                json!({
                    "description": "Tell the last log lines of the run that ended. kubeherald must be allowed to `get` `pods/log`.",
                    "default": false,
                    "anyOf": [{"type": "boolean"}, of("log_tail", "How much.")],
                }),
            ),
        ],
    );
    if let Some(map) = rule.as_object_mut() {
        let off = json!({"required": ["enabled"], "properties": {"enabled": {"const": false}}});
        map.insert("anyOf".into(), json!([{"required": ["match"]}, off]));
    }
    rule
}

fn test() -> Value {
    let mut test = object(
        "A test: what happens, and which messages are told.",
        vec![
            ("name!", text("What it shows.")),
            ("recording", text("A recorded watch stream (.jsonl, .jsonl.gz), relative to this file.")),
            ("given", list("Signals with times, in place of a recording.", &of("given", "A signal."))),
            ("expect!", list("The messages, in order; empty: none.", &of("expect", "A message."))),
            (
                "then",
                duration(&format!(
                    "How long the clock runs on: by default {} after the last signal, not at all after a recording, and in any case until the last expected message is due.",
                    written(RuleTest::GIVEN_THEN)
                )),
            ),
            ("only", boolean("Nothing else may be told.", true)),
        ],
    );
    if let Some(map) = test.as_object_mut() {
        map.insert("oneOf".into(), json!([{"required": ["recording"]}, {"required": ["given"]}]));
    }
    test
}

fn given() -> Value {
    let about = |field: &str| match field {
        "kind" => "The kind of the object; by default the usual one for the cause.",
        "namespace" => "Its namespace; by default `default`.",
        "name" => "Its name; by default the workload's with `-1`.",
        "workload" => "Whose it is, as Kind/name; by default Deployment/app.",
        "container" => "The container; by default `app`, where the cause is about one.",
        "node" => "The node.",
        "reason" => "The raw reason; by default the cause.",
        "message" => "The explaining text.",
        "type" => "The type of an Event.",
        _ => "The image.",
    };
    let phases = PHASES.iter().map(|(name, _)| *name);
    let mut keys = vec![
        ("at!", duration("Since the start of the test.")),
        ("cause", cause("What is wrong.")),
        (
            "phase",
            one_of(
                "What is said about it; by default what is usual for the cause: raised, or pulse.",
                phases,
            ),
        ),
        ("source", source()),
        ("count", default(count("How often it happened since the signal before."), 1)),
        ("exit_code", int("How the container's last run ended.", -1, 255)),
        ("labels", by_key("Labels.", &text("The value."))),
        ("annotations", by_key("Annotations.", &text("The value."))),
    ];
    keys.extend(GIVEN_TEXTS.iter().map(|field| (*field, text(about(field)))));
    let mut given = object("A signal: one fact about one object.", keys);
    if let Some(map) = given.as_object_mut() {
        map.insert("anyOf".into(), json!([{"required": ["cause"]}, {"required": ["reason"]}]));
    }
    given
}

fn expect() -> Value {
    let about = |field: &str| match field {
        "rule" => "The rule that speaks.",
        "workload" => "Whose, as Kind/name.",
        "namespace" => "The namespace.",
        "container" => "The container.",
        "node" => "The node.",
        "title" => "A part of the title.",
        _ => "A part of the text.",
    };
    let within = duration("How far from `at` it may be.");
    let mut keys = vec![
        ("at", duration("When, since the start of the test: since the SYNCED line of a recording.")),
        ("within", default(within, written(Expect::WITHIN))),
        ("decision", one_of("What is said.", DECISIONS.iter().copied())),
        ("cause", cause("What is wrong.")),
        ("severity", severity("How bad.")),
        ("members", count("How many objects.")),
        ("occurrences", count("How often it happened.")),
        ("incidents", count("How many incidents a summary is about.")),
        ("receivers", list("Who is told.", &text("A receiver."))),
    ];
    keys.extend(EXPECT_TEXTS.iter().map(|field| (*field, text(about(field)))));
    let mut expect = object("A message; what is not given is not compared.", keys);
    if let Some(map) = expect.as_object_mut() {
        map.insert("dependentRequired".into(), json!({"within": ["at"]}));
    }
    expect
}
