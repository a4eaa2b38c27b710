//! Tests written in rule files: read and checked in shape, kept for the command that runs them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::matching::SEVERITIES;
use crate::config::error::At;
use crate::config::raw::Node;
use crate::config::read::Reader;
use crate::config::secret;
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
    /// One of [`DECISIONS`].
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

/// The fields that a signal of a test gives as texts.
pub const GIVEN_TEXTS: &[&str] =
    &["kind", "namespace", "name", "workload", "container", "node", "reason", "message", "type", "image"];

/// The fields that an expected message gives as texts.
pub const EXPECT_TEXTS: &[&str] = &["rule", "workload", "namespace", "container", "node", "title", "text"];

/// The contract names of decisions.
pub const DECISIONS: &[&str] =
    &["first", "grew", "reminder", "reopened", "resolved", "expired", "standing", "storm", "digest"];

/// The names of phases.
pub const PHASES: &[(&str, Phase)] = &[
    ("raised", Phase::Raised),
    ("cleared", Phase::Cleared),
    ("pulse", Phase::Pulse),
    ("gone", Phase::Gone),
    ("lost", Phase::Lost),
    ("detail", Phase::Detail),
];

pub fn read(reader: &mut Reader, node: &Node, directory: &Path) -> Option<RuleTest> {
    let mut map = reader.map(node, "a test")?;
    let mut at = reader.at(map.head());
    let name = map.require(reader, "name", |reader, node| {
        at = reader.at(node.span);
        reader.text(node).map(str::to_owned)
    });
    let recording = map.get(reader, "recording", |reader, node| {
        let path = secret::path(reader, node, directory)?;
        Some(TestInput::Recording(path, reader.at(node.span)))
    });
    let given = map.get(reader, "given", |reader, node| {
        let items = reader.list(node, "a list of signals")?;
        Some(items.iter().filter_map(|item| read_given(reader, item)).collect())
    });
    let expect = map.require(reader, "expect", |reader, node| {
        let items = reader.list(node, "a list of messages")?;
        Some(items.iter().filter_map(|item| read_expect(reader, item)).collect())
    });
    let then = map.get(reader, "then", Reader::duration);
    let only = map.get(reader, "only", Reader::boolean).unwrap_or(true);
    if map.has("recording") == map.has("given") {
        let label = if map.has("given") { "both are given" } else { "neither is given" };
        reader.error(map.head(), "a test has either `recording` or `given`", label, None);
    }
    map.finish(reader, "a test");
    let input = recording.or_else(|| given.map(TestInput::Given))?;
    Some(RuleTest { name: name?, at, input, expect: expect?, then, only })
}

fn causes() -> Vec<(&'static str, Cause)> {
    Cause::ALL.iter().map(|cause| (cause.as_str(), *cause)).collect()
}

fn read_given(reader: &mut Reader, node: &Node) -> Option<Given> {
    let mut map = reader.map(node, "a signal")?;
    let mut given =
        Given { at: map.require(reader, "at", Reader::duration).unwrap_or_default(), ..Given::default() };
    given.cause = map.get(reader, "cause", |r, n| r.choice(n, "a cause", &causes()));
    given.phase = map.get(reader, "phase", |r, n| r.choice(n, "a phase", PHASES));
    let sources = [Source::Status, Source::Event].map(|source| (source.as_str(), source));
    given.source = map.get(reader, "source", |r, n| r.choice(n, "a source", &sources));
    for name in GIVEN_TEXTS {
        given.texts.extend(map.get(reader, name, |r, n| r.text(n).map(|text| (*name, text.to_owned()))));
    }
    given.count = map.get(reader, "count", |r, n| r.count(n, 1_000_000));
    given.exit_code =
        map.get(reader, "exit_code", |r, n| r.int(n, -1, 255)).and_then(|n| i32::try_from(n).ok());
    given.labels = map.get(reader, "labels", text_map).unwrap_or_default();
    given.annotations = map.get(reader, "annotations", text_map).unwrap_or_default();
    if !map.has("cause") && !map.has("reason") {
        reader.error(map.head(), "a signal needs a `cause`, or the `reason` of an Event", "", None);
    }
    map.finish(reader, "a signal");
    Some(given)
}

fn text_map(reader: &mut Reader, node: &Node) -> Option<Vec<(String, String)>> {
    let map = reader.map(node, "texts by key")?;
    Some(
        map.entries()
            .filter_map(|(key, _, value)| Some((key.to_owned(), reader.text(value)?.to_owned())))
            .collect(),
    )
}

fn read_expect(reader: &mut Reader, node: &Node) -> Option<Expect> {
    let mut map = reader.map(node, "a message")?;
    let decisions: Vec<(&str, &'static str)> = DECISIONS.iter().map(|name| (*name, *name)).collect();
    let mut expect = Expect {
        at: map.get(reader, "at", Reader::duration),
        within: map.get(reader, "within", Reader::duration),
        decision: map.get(reader, "decision", |r, n| r.choice(n, "a decision", &decisions)),
        cause: map.get(reader, "cause", |r, n| r.choice(n, "a cause", &causes())),
        severity: map.get(reader, "severity", |r, n| r.choice(n, "a severity", SEVERITIES)),
        members: map.get(reader, "members", |r, n| r.count(n, 1_000_000)),
        occurrences: map.get(reader, "occurrences", |r, n| r.count(n, 1_000_000)),
        incidents: map.get(reader, "incidents", |r, n| r.count(n, 1_000_000)),
        ..Expect::default()
    };
    for name in EXPECT_TEXTS {
        expect.texts.extend(map.get(reader, name, |r, n| r.text(n).map(|text| (*name, text.to_owned()))));
    }
    expect.receivers = map.get(reader, "receivers", |reader, node| {
        let items = reader.list(node, "a list of receivers")?;
        Some(items.iter().filter_map(|item| reader.text(item).map(str::to_owned)).collect())
    });
    if let (Some(span), false) = (map.key_span("within"), map.has("at")) {
        reader.error(span, "`within` needs `at`", "", None);
    }
    map.finish(reader, "an expected message");
    Some(expect)
}
