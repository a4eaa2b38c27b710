//! A notification as Block Kit. Pure.
//!
//! Text from the cluster reaches Slack in three ways only: as `plain_text`, as the literal text of a
//! `rich_text` element (neither is parsed by Slack), or escaped inside a template's mrkdwn.

use serde_json::{Value, json};

use super::digest;

use crate::message::text::{self, words};
use crate::message::{Decision, IncidentView, Notification, Reason};
use crate::template::registry::Failed;
use crate::template::{Name, Templates, helpers, model};

const MAX_HEADER: usize = 150;
pub(super) const MAX_SECTION: usize = 3000;
/// Slack names no limit for the text of a `rich_text` element; a section's is known to be taken.
const MAX_PREFORMATTED: usize = 2900;
/// The text shown in notifications. Slack advises 4,000 characters
/// (<https://docs.slack.dev/reference/methods/chat.postMessage#truncating>).
const MAX_FALLBACK: usize = 600;
/// How many incidents a summary lists: people scroll no further, and it keeps far from the 50 blocks
/// a message may have (<https://docs.slack.dev/reference/block-kit/blocks>).
pub(super) const MAX_LINES: usize = 60;

/// What is shown: the same for the Web API and for an incoming webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// For notifications and screen readers; mrkdwn, escaped.
    pub text: String,
    /// Above the coloured part.
    pub blocks: Vec<Value>,
    pub attachments: Vec<Value>,
}

pub type Message = Value;

impl Rendered {
    /// The body for an incoming webhook; the other calls add to it.
    pub fn body(&self) -> Message {
        json!({
            "text": self.text,
            "blocks": self.blocks,
            "attachments": self.attachments,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }
}

/// The whole message: the first of a thread, or its edited state.
pub fn render(n: &Notification, templates: &Templates) -> Result<Rendered, Failed> {
    let title = templates.render(Name::SlackTitle, &model::notification(n))?;
    let mut inner = Vec::new();
    match n.incident() {
        Some(i) => incident(n, i, templates, &mut inner)?,
        None if n.decision == Decision::Notice => notice(n, &mut inner),
        None => match n.digest.as_deref() {
            Some(digest) => digest::blocks(n, digest, templates, &mut inner)?,
            None => summary(n, templates, &mut inner)?,
        },
    }
    Ok(Rendered {
        text: fallback(n),
        blocks: vec![header(&title)],
        attachments: vec![json!({ "color": model::color(n.decision, n.severity), "blocks": inner })],
    })
}

/// A reply in the thread: what is new, in short.
pub fn render_reply(n: &Notification, templates: &Templates) -> Result<Rendered, Failed> {
    let Some(i) = n.incident() else { return render(n, templates) };
    let title = templates.render(Name::SlackTitle, &model::notification(n))?;
    let facts = text::facts("", n.decision, n.reason, i, n.at);
    let mut inner = vec![section_plain(&title)];
    let late = n.late().unwrap_or_default();
    let detail = words::join(&[&facts.how_much, &facts.when, &facts.note, &late], " · ");
    inner.push(context(&detail));
    if speaks_again(n) && !facts.why.is_empty() {
        inner.push(rich(&[("", &facts.why)]));
    }
    inner.extend(log(i).filter(|_| text::tells_log(n.decision)));
    Ok(Rendered {
        text: fallback(n),
        blocks: Vec::new(),
        attachments: vec![json!({ "color": model::color(n.decision, n.severity), "blocks": inner })],
    })
}

fn log(i: &IncidentView) -> Option<Value> {
    let log = i.log_tail.as_deref().filter(|log| !log.trim().is_empty())?;
    Some(rich(&[(&text::log_label(i), &words::keep_end(log, MAX_PREFORMATTED))]))
}

/// Is this reply news for the whole channel, not only for who follows the thread?
pub fn speaks_again(n: &Notification) -> bool {
    n.decision == Decision::Reopened || n.reason == Reason::Escalated
}

fn incident(
    n: &Notification,
    i: &IncidentView,
    templates: &Templates,
    out: &mut Vec<Value>,
) -> Result<(), Failed> {
    let values = model::incident(n, i);
    out.extend(section(&templates.render(Name::SlackBody, &values)?));
    if !i.why.trim().is_empty() {
        out.push(rich(&[("", &i.why)]));
    }
    out.extend(section(&templates.render(Name::SlackMore, &values)?));
    out.extend(log(i));
    if !n.decision.is_end() && !i.command.is_empty() {
        out.push(rich(&[("Look further", &i.command)]));
    }
    if let Some(silence) = i.silence.as_deref().filter(|_| !n.decision.is_end()) {
        out.push(rich(&[("Silence this incident", silence)]));
    }
    if let Some(runbook) = i.runbook.as_deref() {
        out.extend(section(&link(runbook, "Open the runbook")));
    }
    let from = format!("kubeherald · rule {} · incident {}", words::one_line(&i.rule, 200), i.id);
    out.push(context(&words::join(&[&from, &n.late().unwrap_or_default()], " · ")));
    Ok(())
}

/// kubeherald about itself. Not a template: it may be the templates that it is about.
fn notice(n: &Notification, out: &mut Vec<Value>) {
    if !n.text.trim().is_empty() {
        out.push(rich(&[("", &n.text)]));
    }
    let cluster = words::one_line(&n.cluster, 120);
    let cluster = if cluster.is_empty() { cluster } else { format!("cluster {cluster}") };
    let late = n.late().unwrap_or_default();
    out.push(context(&words::join(&["kubeherald about itself", &cluster, &late], " · ")));
}

fn summary(n: &Notification, templates: &Templates, out: &mut Vec<Value>) -> Result<(), Failed> {
    let mut block = String::new();
    let sorted = text::root_causes_first(&n.incidents);
    let shown = sorted.len().min(MAX_LINES);
    for i in sorted.into_iter().take(MAX_LINES) {
        let line = fit(templates.render(Name::SlackLine, &model::incident(n, i))?.trim(), 500);
        if block.chars().count() + line.chars().count() + 1 > MAX_SECTION {
            out.extend(section(&block));
            block.clear();
        }
        block.push_str(&line);
        block.push('\n');
    }
    out.extend(section(&block));
    let total = usize::try_from(n.incidents_total).unwrap_or(usize::MAX).max(n.incidents.len());
    let more = total - shown;
    let cluster = words::one_line(&n.cluster, 120);
    let cluster = if cluster.is_empty() { cluster } else { format!("cluster {cluster}") };
    let more = if more == 0 { String::new() } else { format!("… and {more} more, not listed here") };
    let late = n.late().unwrap_or_default();
    out.push(context(&words::join(&[&more, "kubeherald", &cluster, &late], " · ")));
    Ok(())
}

/// What a phone shows: the title and the shortest why.
fn fallback(n: &Notification) -> String {
    let stands = n.incident().filter(|_| !n.decision.is_end());
    let why = stands.map(|i| words::one_line(&i.why, 200)).unwrap_or_default();
    let cluster = if n.cluster.is_empty() { String::new() } else { format!("[{}]", n.cluster) };
    let mark = model::mark(n.decision, n.severity);
    let title = words::one_line(&n.title, text::MAX_TITLE);
    let line = words::join(&[mark, &words::one_line(&cluster, 120), &title], " ");
    fit(&helpers::mrkdwn(&words::join(&[&line, &why], " — ")), MAX_FALLBACK)
}

fn header(title: &str) -> Value {
    json!({ "type": "header", "text": plain_text(title, MAX_HEADER) })
}

fn plain_text(title: &str, max: usize) -> Value {
    let line = words::cut_middle(&words::one_line(title, max.max(text::MAX_TITLE)), max);
    json!({ "type": "plain_text", "text": line, "emoji": false })
}

fn section_plain(text: &str) -> Value {
    json!({ "type": "section", "text": plain_text(text, MAX_SECTION) })
}

/// A section of mrkdwn that is escaped already; nothing for an empty one, which Slack refuses.
pub(super) fn section(mrkdwn: &str) -> Option<Value> {
    let text = mrkdwn.trim();
    (!text.is_empty())
        .then(|| json!({ "type": "section", "text": { "type": "mrkdwn", "text": fit(text, MAX_SECTION) } }))
}

pub(super) fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [plain_text(text, 1000)] })
}

/// Preformatted, literal text, each part under a label.
pub(super) fn rich(parts: &[(&str, &str)]) -> Value {
    let mut elements = Vec::new();
    for (label, text) in parts {
        if !label.is_empty() {
            let label = json!({ "type": "text", "text": label, "style": { "bold": true } });
            elements.push(json!({ "type": "rich_text_section", "elements": [label] }));
        }
        let text = words::cut_chars(helpers::text(text).trim_end(), MAX_PREFORMATTED);
        elements.push(
            json!({ "type": "rich_text_preformatted", "elements": [{ "type": "text", "text": text }] }),
        );
    }
    json!({ "type": "rich_text", "elements": elements })
}

/// A link that says where it leads, if it is one; else the text, inert.
fn link(url: &str, label: &str) -> String {
    match text::link::host(url).filter(|_| model::is_web_link(url)) {
        // Inside a link only these three need escaping; `&` is the one that is left.
        Some(host) => format!("<{}|{label} ({host})>", url.replace('&', "&amp;")),
        None => helpers::mrkdwn(url),
    }
}

/// Cuts escaped mrkdwn to `max` characters, never inside an entity, and marks the cut.
pub(super) fn fit(mrkdwn: &str, max: usize) -> String {
    let mut cut = words::cut_chars(mrkdwn, max);
    if cut.len() != mrkdwn.len()
        && let Some(at) = cut.rfind('&')
        && !cut.get(at..).is_some_and(|rest| rest.contains(';'))
    {
        cut.truncate(at);
        cut.push('…');
    }
    cut
}
