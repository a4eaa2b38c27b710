//! Tests written in rule files: read and checked in shape, kept for the command that runs them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::matching::{SOURCE, cause, severity, source};
use super::read::error::At;
use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, boolean, by_key, choice, count, delay, int, list, path, text};
use crate::signal::{Cause, Phase, Severity, Source};

#[derive(Debug, Clone)]
pub struct RuleTest {
    pub name: String,
    /// Where it is written.
    pub at: At,
    pub input: TestInput,
    /// What is said, in order; empty: nothing at all.
    pub expect: Vec<Expect>,
    /// How long the clock runs on after the last line or signal; `None`: see [`Self::GIVEN_THEN`].
    pub then: Option<Duration>,
    /// Nothing else may be said.
    pub only: bool,
}

impl RuleTest {
    /// Default of `then` after `given` signals: long enough for what the usual `for` and
    /// `stable_for` still hold back. A recording ends where it ends, as it does under `replay`.
    pub const GIVEN_THEN: Duration = Duration::from_secs(600);
}

/// What happens in a test.
#[derive(Debug, Clone)]
pub enum TestInput {
    /// A recorded watch stream, and where it is named.
    Recording(PathBuf, At),
    Given(Vec<Given>),
}

/// One signal of a test. What is not given is made up as it would be for a pod of
/// `Deployment/app` in the namespace `default`.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Since the start of the test.
    pub at: Duration,
    pub cause: Option<Cause>,
    /// `phase`; `None`: as the cause is usually told.
    pub phase: Option<Phase>,
    pub source: Option<Source>,
    /// Texts by field: `kind`, `namespace`, `name`, `workload`, `container`, `node`, `reason`,
    /// `message`, `type`, `image`.
    pub texts: Vec<(&'static str, String)>,
    pub count: Option<u32>,
    pub exit_code: Option<i32>,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
}

/// One message that a test expects; what is not given is not compared.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Since the start of the test: since the first signal's zero, or the recording's SYNCED line.
    pub at: Option<Duration>,
    /// How far from `at` it may be; `None`: [`Self::WITHIN`].
    pub within: Option<Duration>,
    pub decision: Option<&'static str>,
    pub cause: Option<Cause>,
    pub severity: Option<Severity>,
    /// Texts by field: `rule`, `workload`, `namespace`, `container`, `node`, which must be equal, and
    /// `title` and `text`, in which they must be found.
    pub texts: Vec<(&'static str, String)>,
    pub members: Option<u32>,
    pub occurrences: Option<u32>,
    /// How many incidents a summary is about.
    pub incidents: Option<u32>,
    pub receivers: Option<Vec<String>>,
}

impl Expect {
    /// Default of `within`: members gather for `group_wait`, 5 s unless configured, and a test need
    /// not repeat that.
    pub const WITHIN: Duration = Duration::from_secs(5);
}

/// The contract names of decisions.
const DECISIONS: [&str; 9] =
    ["first", "grew", "reminder", "reopened", "resolved", "expired", "standing", "storm", "digest"];

const PHASES: [(&str, Phase); 6] = [
    ("raised", Phase::Raised),
    ("cleared", Phase::Cleared),
    ("pulse", Phase::Pulse),
    ("gone", Phase::Gone),
    ("lost", Phase::Lost),
    ("detail", Phase::Detail),
];

pub fn test<'a>() -> Kind<'a, RuleTest> {
    let head = Head::called("test", "a test", "A test: what happens, and which messages are told.");
    section(head, |fields| {
        let at = fields.node("name").map_or_else(|| fields.head(), |node| node.span);
        let at = fields.reader.at(at);
        let name = fields.require("name", "What it shows.", text());
        let recording =
            path().then(|reader, node, path| Some(TestInput::Recording(path, reader.at(node.span))));
        let recording = fields.get(
            "recording",
            "A recorded watch stream (.jsonl, .jsonl.gz), relative to this file.",
            recording,
        );
        let given = "Signals with times, in place of a recording.";
        let given = fields.get("given", given, list("a list of signals", signal()));
        let messages = list("a list of messages", message());
        let expect = fields.require("expect", "The messages, in order; empty: none.", messages);
        let then = "How long the clock runs on: by default 10m after the last signal, not at all after a recording, and in any case until the last expected message is due.";
        let then = fields.get("then", then, delay());
        let only = fields.or("only", "Nothing else may be told.", boolean(), true);
        fields.one_of(&["recording", "given"], "a test has either `recording` or `given`");
        let input = recording.or_else(|| given.map(TestInput::Given))?;
        Some(RuleTest { name: name?, at, input, expect: expect?, then, only })
    })
}

fn signal<'a>() -> Kind<'a, Given> {
    let head = Head::called("given", "a signal", "A signal: one fact about one object.");
    section(head, |fields| {
        let phase = "What is said about it; by default what is usual for the cause: raised, or pulse.";
        let given = Given {
            at: fields.require("at", "Since the start of the test.", delay()).unwrap_or_default(),
            cause: fields.get("cause", "What is wrong.", cause()),
            phase: fields.get("phase", phase, choice("a phase", PHASES)),
            source: fields.get("source", SOURCE, source()),
            texts: texts(
                fields,
                &[
                    ("kind", "The kind of the object; by default the usual one for the cause."),
                    ("namespace", "Its namespace; by default `default`."),
                    ("name", "Its name; by default the workload's with `-1`."),
                    ("workload", "Whose it is, as Kind/name; by default Deployment/app."),
                    ("container", "The container; by default `app`, where the cause is about one."),
                    ("node", "The node."),
                    ("reason", "The raw reason; by default the cause."),
                    ("message", "The explaining text."),
                    ("type", "The type of an Event."),
                    ("image", "The image."),
                ],
            ),
            count: fields.get(
                "count",
                "How often it happened since the signal before.",
                count().with("default", 1),
            ),
            exit_code: fields.get("exit_code", "How the container's last run ended.", int(-1, 255)),
            labels: fields.get("labels", "Labels.", by_key("texts by key", text())).unwrap_or_default(),
            annotations: fields
                .get("annotations", "Annotations.", by_key("texts by key", text()))
                .unwrap_or_default(),
        };
        fields.condition("anyOf", || json!([{"required": ["cause"]}, {"required": ["reason"]}]));
        if !fields.has("cause") && !fields.has("reason") {
            let message = "a signal needs a `cause`, or the `reason` of an Event";
            fields.error(fields.head(), message, "", None);
        }
        Some(given)
    })
}

fn texts(fields: &mut Fields<'_, '_>, keys: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    keys.iter().filter_map(|(key, doc)| Some((*key, fields.get(key, doc, text())?))).collect()
}

fn message<'a>() -> Kind<'a, Expect> {
    let head = Head::new("expect", "a message", "A message; what is not given is not compared.")
        .place("an expected message");
    section(head, |fields| {
        let at = "When, since the start of the test: since the SYNCED line of a recording.";
        let within = delay().with("default", "5s");
        let decisions = choice("a decision", DECISIONS.map(|name| (name, name)));
        let expect = Expect {
            at: fields.get("at", at, delay()),
            within: fields.get("within", "How far from `at` it may be.", within),
            decision: fields.get("decision", "What is said.", decisions),
            cause: fields.get("cause", "What is wrong.", cause()),
            severity: fields.get("severity", "How bad.", severity()),
            members: fields.get("members", "How many objects.", count()),
            occurrences: fields.get("occurrences", "How often it happened.", count()),
            incidents: fields.get("incidents", "How many incidents a summary is about.", count()),
            texts: texts(
                fields,
                &[
                    ("rule", "The rule that speaks."),
                    ("workload", "Whose, as Kind/name."),
                    ("namespace", "The namespace."),
                    ("container", "The container."),
                    ("node", "The node."),
                    ("title", "A part of the title."),
                    ("text", "A part of the text."),
                ],
            ),
            receivers: fields.get("receivers", "Who is told.", list("a list of receivers", text())),
        };
        fields.needs("within", "at");
        Some(expect)
    })
}
