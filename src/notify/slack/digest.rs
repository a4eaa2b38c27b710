//! A digest as Block Kit. Pure; see [`super::request`] for how foreign text is kept text.

use serde_json::Value;

use super::request::{MAX_SECTION, context, fit, rich, section};
use crate::message::text::digest as words;
use crate::message::text::words::join;
use crate::message::{Digest, Notification};
use crate::template::registry::Failed;
use crate::template::{Name, Templates, helpers, model};

/// How many of a section are listed: with their headings they keep far from the 50 blocks a message may
/// have (<https://docs.slack.dev/reference/block-kit/blocks>).
const LISTED: usize = 15;
/// The longest line of an incident, in characters.
const MAX_LINE: usize = 400;

pub(super) fn blocks(
    n: &Notification,
    digest: &Digest,
    templates: &Templates,
    out: &mut Vec<Value>,
) -> Result<(), Failed> {
    out.push(context(&join(&[&words::span(digest), &words::span_more(digest)], " · ")));
    out.extend(section(&helpers::mrkdwn(&words::remark(digest))));
    let pictures = words::pictures(digest);
    if !pictures.is_empty() {
        out.push(rich(&[("", &pictures)]));
    }
    for (name, listed, incidents) in words::sections(digest, &n.incidents) {
        if listed.total == 0 {
            continue;
        }
        let mut text = Sections::new(format!("*{} ({})*", capital(name), listed.total));
        let mut before = None;
        for i in incidents.iter().take(LISTED) {
            let place = words::place(i.namespace.as_deref(), i.team.as_deref());
            if before.as_ref() != Some(&place) {
                text.line(&format!("_{}_", helpers::mrkdwn(&place)), out);
                before = Some(place);
            }
            let values = model::digest::entry(n, digest, i);
            text.line(&fit(templates.render(Name::SlackLine, &values)?.trim(), MAX_LINE), out);
        }
        let shown = u32::try_from(incidents.len().min(LISTED)).unwrap_or(u32::MAX);
        if listed.total > shown {
            text.line(&format!("… and {} more, not listed here", listed.total - shown), out);
        }
        text.end(out);
    }
    if !digest.held.is_empty() {
        let mut text = Sections::new("*Held back*".into());
        for held in &digest.held {
            let line = format!("{} {}: {}", held.count, words::held_why(held), words::held_workloads(held));
            text.line(&fit(&format!("• {}", helpers::mrkdwn(&line)), MAX_LINE), out);
        }
        text.end(out);
    }
    if digest.total() == 0 {
        out.extend(section(words::NOTHING));
    }
    let cluster = if n.cluster.is_empty() { String::new() } else { format!("cluster {}", n.cluster) };
    out.push(context(&join(&["kubeherald", &format!("digest {}", n.seq), &cluster], " · ")));
    Ok(())
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Lines in as few sections as hold them.
struct Sections {
    text: String,
}

impl Sections {
    const fn new(text: String) -> Self {
        Self { text }
    }

    fn line(&mut self, line: &str, out: &mut Vec<Value>) {
        if self.text.chars().count() + line.chars().count() + 1 > MAX_SECTION {
            out.extend(section(&self.text));
            self.text.clear();
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    fn end(self, out: &mut Vec<Value>) {
        out.extend(section(&self.text));
    }
}
