//! A rule's `summary`: one line about one incident.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};

use handlebars::{Context, Handlebars, Output, RenderContext, Renderable, Template};
use serde_json::{Value, json};

use super::check::{self, Scope, Walk};
use super::registry::{Source, describe};
use super::{Escaping, TemplateError, helpers, sample};
use crate::message::IncidentView;
use crate::message::text::{self, words};

/// The largest output before it is cut to one line, in bytes.
const MAX_OUTPUT: usize = 16 * 1024;

/// One registry for all summaries: ten thousand rules share its helpers.
static HELPERS: LazyLock<Handlebars<'static>> = LazyLock::new(|| helpers::registry(Escaping::Text));

/// A compiled `summary`. Cheap to clone.
#[derive(Clone)]
pub struct Summary {
    source: Arc<str>,
    template: Arc<Template>,
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Summary").field(&self.source).finish()
    }
}

impl PartialEq for Summary {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Summary {}

/// Compiles a rule's `summary`, such as `{{workload}} keeps crashing ({{exit}})`.
pub fn compile_summary(src: &str) -> Result<Summary, TemplateError> {
    let parsed = check::parse(Source { file: String::new(), name: "summary".into(), text: src.to_owned() })
        .map_err(|e| *e)?;
    let shape = values(&sample::incident());
    let none = BTreeMap::new();
    let mut walk = Walk {
        partials: &none,
        helpers: helpers::NAMES,
        open: Vec::new(),
        errors: Vec::new(),
        found: Vec::new(),
    };
    let scope = Scope { here: Some(&shape), root: Some(&shape), up: None, known: Vec::new() };
    walk.template(&parsed.source, &parsed.template, &scope, 0);
    if let Some(error) = walk.errors.into_iter().next() {
        return Err(error);
    }
    let summary = Summary { source: Arc::from(src), template: Arc::new(parsed.template) };
    for incident in [sample::incident(), sample::node(), sample::bare()] {
        if let Err(e) = summary.try_render(&incident) {
            let message = describe(&e);
            return Err(parsed.source.error(e.line_no.unwrap_or(1), e.column_no, message, None));
        }
    }
    Ok(summary)
}

impl Summary {
    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The line for an incident; the default title where nothing is left of it.
    pub fn render(&self, incident: &IncidentView) -> String {
        match self.try_render(incident).map(|line| words::one_line(&line, text::MAX_TITLE)) {
            Ok(line) if !line.is_empty() => line,
            // It passed the checks, so this is a value of a kind the samples do not have: a message
            // with the default title is better than none.
            _ => text::default_title(incident),
        }
    }

    fn try_render(&self, incident: &IncidentView) -> Result<String, handlebars::RenderError> {
        let context = Context::wraps(values(incident))?;
        let mut out = Capped(String::new());
        let mut state = RenderContext::new(None);
        self.template.render(&HELPERS, &context, &mut state, &mut out)?;
        Ok(out.0)
    }
}

/// The flat names a summary may use.
fn values(i: &IncidentView) -> Value {
    let line = |text: &str| json!(words::one_line(text, 1000));
    let optional = |text: &Option<Arc<str>>| text.as_deref().map_or(Value::Null, line);
    json!({
        "cause": i.cause,
        "container": optional(&i.container),
        "deeper": line(&i.deeper),
        "exit": line(&i.exit),
        "image": optional(&i.image),
        "member_kind": line(&i.member_kind),
        "members_total": i.members_total,
        "namespace": optional(&i.namespace),
        "node": optional(&i.node),
        "occurrences": i.occurrences,
        "reason": line(&i.reason_raw),
        "replicas": i.replicas,
        "rule": line(&i.rule),
        "sentence": line(&text::title::sentence(i)),
        "severity": i.severity,
        "victim": text::oom_victim(&i.why).map(line),
        "short_why": line(&text::short_why(i)),
        "why": line(&i.why),
        "why_line": line(&text::title_why(i)),
        "workload": line(&i.workload),
    })
}

struct Capped(String);

impl Output for Capped {
    fn write(&mut self, seg: &str) -> Result<(), io::Error> {
        if self.0.len().saturating_add(seg.len()) > MAX_OUTPUT {
            return Err(io::Error::other("the summary is too long"));
        }
        self.0.push_str(seg);
        Ok(())
    }
}
