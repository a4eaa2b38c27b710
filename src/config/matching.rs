//! `match`, of rules, of routes and of silences.

use std::sync::Arc;

use regex::Regex;

use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, by_key, choice, count, int, one_or_more, span, text};
use super::read::node::Node;
use super::read::reader::Reader;
use super::read::schema::Schema;
use super::read::suggest::{self, did_you_mean};
use crate::rule::matcher::{self, Field, IntMatch, Matcher, SeverityMatch, TextMatch};
use crate::rule::{CountMatch, Filter};
use crate::signal::{Cause, Severity, Source};

/// Whose `match` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A rule's: about signals, with a count.
    Rule,
    /// An override's: about what its rule matches.
    Override,
    /// A route's: about incidents, with the severity and name of the rule.
    Route,
    /// Of a silence or a mute time: as a route's.
    Silence,
}

#[derive(Debug, Default)]
pub struct Match {
    /// Conditions on the signal.
    pub matcher: Matcher,
    pub count: Option<CountMatch>,
    /// Conditions on the severity (routes).
    pub severity: SeverityMatch,
    /// Conditions on the rule's name (routes).
    pub rule: TextMatch,
    /// No condition at all.
    pub is_empty: bool,
}

impl Match {
    pub fn filter(self) -> Filter {
        Filter::new(self.matcher, self.severity, self.rule)
    }
}

/// Conditions by field. The rules that they name are left to [`Reader::references`].
pub fn matching<'a>(scope: Scope) -> Kind<'a, Match> {
    let doc = "Conditions by field; all of them must hold.";
    let head = match scope {
        // Both kinds of `match` are in the schema of the configuration.
        Scope::Override => Head::new("override_match", "conditions by field", doc).place("`match`"),
        _ => Head::new("match", "conditions by field", doc),
    };
    section(head, move |fields| {
        let mut found = Match { is_empty: fields.is_empty(), matcher: matcher(fields), ..Match::default() };
        if scope == Scope::Rule {
            found.count = fields.get("count", "How often it must happen before it is told.", occurrences());
            let message = "a rule gives a severity instead of matching one";
            fields.refuse("severity", message, "move `severity` out of `match`");
            if found.matcher.causes == [Cause::Event] && found.matcher.texts.is_empty() {
                let help = "name the reasons: `reason: [Preempting, NodeShutdown]`";
                let message = "this matches every Event that has no cause of its own";
                fields.warn(fields.head(), message, "", Some(help));
            }
        } else if scope == Scope::Override {
            let help = "put `count` beside `match`: there it changes what the rule counts";
            fields.refuse("count", "the `match` of an override does not count", help);
            let message = "an override gives a severity instead of matching one";
            fields.refuse("severity", message, "move `severity` out of `match`");
            fields.refuse("rule", "the rule is named beside `match`", "move `rule` out of `match`");
        } else {
            found.severity = fields.get("severity", "How bad.", severities()).unwrap_or_default();
            found.rule =
                fields.get("rule", "The name of the rule.", text_match(About::Rule)).unwrap_or_default();
            let message = if scope == Scope::Route {
                "`count` is not a condition of routes"
            } else {
                "`count` is not a condition of silences"
            };
            fields.refuse("count", message, "move `count` into a rule");
        }
        Some(found)
    })
}

fn matcher(fields: &mut Fields<'_, '_>) -> Matcher {
    let mut found = Matcher {
        causes: fields.get("cause", "What is wrong, by its stable name.", causes()).unwrap_or_default(),
        ..Matcher::default()
    };
    for (name, field) in Field::NAMES {
        let given = fields.get(name, about(*field), text_match(About::Field(*field)));
        found.texts.extend(given.map(|text| (*field, text)));
    }
    found.source = fields.get("source", SOURCE, source());
    let labels = "Labels: of the object, its workload, its namespace.";
    found.labels = fields.get("labels", labels, texts_by_key()).unwrap_or_default();
    let annotations = "Annotations, in the same order as labels.";
    found.annotations = fields.get("annotations", annotations, texts_by_key()).unwrap_or_default();
    let exit_code = "How the container's last run ended.";
    found.exit_code = fields.get("exit_code", exit_code, exit_codes()).unwrap_or_default();
    found
}

const fn about(field: Field) -> &'static str {
    match field {
        Field::Reason => "The raw reason as Kubernetes spells it.",
        Field::Namespace => "The namespace of the object.",
        Field::Kind => "The kind of the object: Pod, Node, Job, …",
        Field::Name => "The name of the object.",
        Field::Workload => "The top owner, as Kind/name: Deployment/web.",
        Field::Container => "The container.",
        Field::Node => "The node.",
        Field::Message => "The explaining text.",
        Field::Type => "The type of an Event: Warning or Normal.",
    }
}

pub const SOURCE: &str = "Where it was read: the status of an object, or an Event.";

pub fn source<'a>() -> Kind<'a, Source> {
    choice("a source", [Source::Status, Source::Event].map(|source| (source.as_str(), source)))
}

pub fn severity<'a>() -> Kind<'a, Severity> {
    let names = [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];
    choice("a severity", names)
}

/// `{at_least: 3, within: 10m}`
pub fn occurrences<'a>() -> Kind<'a, CountMatch> {
    let head = Head::new("count", "`{at_least, within}`", "So many occurrences in a span of time.");
    section(head, |fields| {
        let at_least = fields.require("at_least", "How many.", count());
        let within = fields.require("within", "In which span of time.", span());
        Some(CountMatch { at_least: at_least?, within: within? })
    })
}

/// What a text is about.
#[derive(Debug, Clone, Copy)]
enum About {
    Field(Field),
    /// The name of a rule, which there must be.
    Rule,
    /// A label or an annotation.
    Value,
}

const fn condition(name: &'static str, doc: &'static str) -> Head {
    Head::new(name, "conditions", doc).place("a condition")
}

/// A text, a list, or `{any_of, none_of, regex, not_regex}`.
fn text_match<'a>(about: About) -> Kind<'a, TextMatch> {
    const FORMS: &str = "write a text, a list of texts, or `{any_of, none_of, regex, not_regex}`";
    let head = condition("text_condition", "Conditions; all given ones must hold.");
    let conditions = section(head, move |fields| {
        let none_of = if matches!(about, About::Rule) { About::Value } else { about };
        let found = TextMatch {
            any_of: fields.get("any_of", ANY_OF, texts(about)).unwrap_or_default(),
            none_of: fields.get("none_of", NONE_OF, texts(none_of)).unwrap_or_default(),
            regex: fields.get("regex", REGEX, regexes()).unwrap_or_default(),
            not_regex: fields.get("not_regex", REGEX, regexes()).unwrap_or_default(),
        };
        if fields.is_empty() {
            fields.error(fields.span(), "this condition is empty", "", Some(FORMS));
        }
        Some(found)
    });
    conditions.or(texts(about).map(|any_of| TextMatch { any_of, ..TextMatch::default() })).named("text_match")
}

const ANY_OF: &str = "Equal to one of these.";
const NONE_OF: &str = "Equal to none of these.";
const REGEX: &str = "Regular expressions, found anywhere in it.";

fn texts<'a>(about: About) -> Kind<'a, Vec<String>> {
    let item = text().then(move |reader, node, text| {
        match about {
            About::Field(field) => check_exact(reader, node, &text, field),
            About::Rule => {
                let at = reader.at(node.span);
                reader.references.rules.push((Arc::from(text.as_str()), at));
            }
            About::Value => {}
        }
        Some(text)
    });
    one_or_more(item)
}

/// A condition that can never hold is a typing error, and a rule that stays silent for ever is the
/// worst way to learn of it.
fn check_exact(reader: &mut Reader, node: &Node, text: &str, field: Field) {
    use Field::{Container, Kind, Name, Namespace, Node as OnNode, Type, Workload};
    let named = matches!(field, Kind | Name | Namespace | OnNode | Workload | Container);
    if named && text.contains('*') {
        let pattern = text.replace('.', "\\.").replace('*', ".*");
        let help = format!("`*` stands for itself here; write `{{regex: \"^{pattern}$\"}}`");
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} can never match"), "no such name exists", Some(&help));
    } else if field == Workload && !text.contains('/') {
        let help = format!("a workload is written as `Kind/name`: `Deployment/{text}`");
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} can never match"), "", Some(&help));
    } else if field == Type {
        let _ = choice("a type of Events", [("Warning", ()), ("Normal", ())]).read(reader, node);
    }
}

fn regexes<'a>() -> Kind<'a, Vec<Regex>> {
    let pattern = text().then(|reader, node, text| match matcher::regex(&text) {
        Ok(regex) => Some(regex),
        Err(wrong) => {
            let wrong = wrong.to_string();
            // The crate draws a frame of its own; its last line says what is wrong.
            let line = wrong.lines().last().unwrap_or_default();
            let line = line.strip_prefix("error: ").unwrap_or(line);
            let message = format!("{} is not a regular expression", reader.show(node));
            reader.error(node.span, message, line, None);
            None
        }
    });
    one_or_more(pattern)
}

fn texts_by_key<'a>() -> Kind<'a, Vec<(String, TextMatch)>> {
    by_key("conditions by key", text_match(About::Value))
}

fn exit_codes<'a>() -> Kind<'a, IntMatch> {
    let codes = || one_or_more(int::<i32>(-1, 255));
    let conditions = section(condition("exit_code_condition", "Conditions."), move |fields| {
        let any_of = fields.get("any_of", "Exit codes.", codes()).unwrap_or_default();
        let none_of = fields.get("none_of", "Exit codes.", codes()).unwrap_or_default();
        Some(IntMatch { any_of, none_of })
    });
    conditions.or(codes().map(|any_of| IntMatch { any_of, none_of: Vec::new() })).named("exit_code_match")
}

fn severities<'a>() -> Kind<'a, SeverityMatch> {
    let conditions = section(condition("severity_condition", "Conditions."), |fields| {
        let any_of = fields.get("any_of", "One of these.", one_or_more(severity())).unwrap_or_default();
        let at_least = fields.get("at_least", "This or worse.", severity());
        Some(SeverityMatch { any_of, at_least })
    });
    let plain = one_or_more(severity()).map(|any_of| SeverityMatch { any_of, at_least: None });
    conditions.or(plain).named("severity_match")
}

/// The causes that meet a condition. `Event` is only taken by name.
fn causes<'a>() -> Kind<'a, Vec<Cause>> {
    let head = condition("cause_condition", "Conditions; all given ones must hold.");
    let conditions = section(head, |fields| {
        let any_of = fields.get("any_of", ANY_OF, one_or_more(cause()));
        let none_of = fields.get("none_of", NONE_OF, one_or_more(cause())).unwrap_or_default();
        let negative = TextMatch {
            none_of: none_of.iter().map(|cause| cause.as_str().to_owned()).collect(),
            regex: fields.get("regex", REGEX, regexes()).unwrap_or_default(),
            not_regex: fields.get("not_regex", REGEX, regexes()).unwrap_or_default(),
            ..TextMatch::default()
        };
        let all = || Cause::ALL.iter().copied().filter(|cause| *cause != Cause::Event).collect();
        let mut causes = any_of.unwrap_or_else(all);
        causes.retain(|cause| negative.matches(Some(cause.as_str())));
        Some(causes)
    });
    let several = conditions.or(one_or_more(cause())).named("cause_match");
    several.watch_errors(|reader, node, causes, wrong| {
        if causes.is_empty() && !wrong {
            reader.error(node.span, "no cause meets this condition", "", None);
        }
    })
}

pub fn cause<'a>() -> Kind<'a, Cause> {
    let schema = |_: &mut Schema| {
        let names: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        serde_json::json!({"type": "string", "enum": names})
    };
    Kind::new(one_cause, schema)
}

fn one_cause(reader: &mut Reader, node: &Node) -> Option<Cause> {
    let text = reader.text(node)?;
    if let Ok(cause) = text.parse() {
        return Some(cause);
    }
    let all = || Cause::ALL.iter().map(|cause| cause.as_str());
    let help = match (of_raw_reason(text), suggest::nearest(text, all())) {
        (Some(cause), _) => format!("that is a raw reason: write `cause: {cause}`, or `reason: {text}`"),
        (None, Some(name)) => did_you_mean(name),
        (None, None) => format!("the causes are {}; raw reasons belong under `reason`", suggest::join(all())),
    };
    let shown = reader.show(node);
    reader.error(node.span, format!("{shown} is not a cause"), "", Some(&help));
    None
}

/// What people write who know Kubernetes better than they know us.
fn of_raw_reason(reason: &str) -> Option<Cause> {
    Some(match reason {
        "BackOff" => Cause::CrashLoopBackOff,
        "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" => {
            Cause::ImagePullBackOff
        }
        "FailedMapVolume" => Cause::FailedMount,
        "Unschedulable" => Cause::FailedScheduling,
        "ContainerCreating" | "FailedCreatePodSandBox" => Cause::ContainerStuck,
        "NotReady" => Cause::NodeNotReady,
        "MemoryPressure" | "DiskPressure" | "PIDPressure" | "NetworkUnavailable" => Cause::NodePressure,
        "BackoffLimitExceeded" => Cause::JobFailed,
        "ProgressDeadlineExceeded" => Cause::RolloutStuck,
        "NodePorts" | "OutOfcpu" | "OutOfmemory" | "OutOfpods" | "NodeAffinity" => Cause::PodRejected,
        "FailedBinding" => Cause::ProvisioningFailed,
        "Terminating" => Cause::StuckTerminating,
        _ => return None,
    })
}
