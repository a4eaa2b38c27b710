//! Templates: what a notification looks like in each medium.
//!
//! The shipped templates are the files in `templates/`, compiled in; a directory can replace each by
//! its file name and add partials (files whose name begins with `_`). There is one registry per
//! output format, because a registry has one escape function: the same text is escaped differently
//! for Slack, HTML and a mail header. Text from the cluster is only ever a *value*; it is never
//! compiled as a template.
//!
//! Everything that can be wrong with a template is found at load, all at once: syntax, names of
//! helpers, variables and partials, inclusion in a circle, and output without bound. See [`check`].

pub mod check;
pub mod helpers;
pub mod json;
pub mod model;
pub mod registry;
pub mod sample;
pub mod summary;

use std::fmt;

use crate::message::Notification;

pub use registry::{Source, Templates};
pub use summary::{Summary, compile_summary};

/// How values are escaped on their way into the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Escaping {
    Slack,
    /// HTML text and attribute values.
    Html,
    /// Plain text of several lines.
    Text,
    /// One line: mail headers, Slack `plain_text` headers.
    Header,
    /// Markdown that knows the backslash
    /// (<https://support.discord.com/hc/en-us/articles/210298617>,
    /// <https://docs.mattermost.com/collaborate/format-messages.html>).
    Markdown,
    /// Text in which signs mean something and nothing takes their meaning away: Google Chat, Adaptive
    /// Cards, DingTalk, Feishu, WeCom.
    Apart,
}

/// The templates there are. The file name is the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// The header of a Slack message, plain text.
    SlackTitle,
    /// What, how much, since when and why, in a Slack message about one incident.
    SlackBody,
    /// Where, and what else there is to know; left out where it renders empty.
    SlackMore,
    /// One line of a Slack summary; rendered once an incident.
    SlackLine,
    /// The `Subject:` of a mail.
    EmailSubject,
    /// The plain text part of a mail.
    EmailText,
    /// The HTML part of a mail.
    EmailHtml,
    /// The `Subject:` of a digest.
    DigestSubject,
    /// The plain text part of a digest.
    DigestText,
    /// The HTML part of a digest.
    DigestHtml,
}

impl Name {
    pub const ALL: &'static [Self] = &[
        Self::SlackTitle,
        Self::SlackBody,
        Self::SlackMore,
        Self::SlackLine,
        Self::EmailSubject,
        Self::EmailText,
        Self::EmailHtml,
        Self::DigestSubject,
        Self::DigestText,
        Self::DigestHtml,
    ];

    /// The file that replaces it.
    pub const fn file(self) -> &'static str {
        match self {
            Self::SlackTitle => "slack.title.hbs",
            Self::SlackBody => "slack.body.hbs",
            Self::SlackMore => "slack.more.hbs",
            Self::SlackLine => "slack.line.hbs",
            Self::EmailSubject => "email.subject.hbs",
            Self::EmailText => "email.text.hbs",
            Self::EmailHtml => "email.html.hbs",
            Self::DigestSubject => "digest.subject.hbs",
            Self::DigestText => "digest.text.hbs",
            Self::DigestHtml => "digest.html.hbs",
        }
    }

    /// How its values are escaped.
    pub const fn format(self) -> Escaping {
        match self {
            Self::SlackBody | Self::SlackMore | Self::SlackLine => Escaping::Slack,
            Self::SlackTitle | Self::EmailSubject | Self::DigestSubject => Escaping::Header,
            Self::EmailText | Self::DigestText => Escaping::Text,
            Self::EmailHtml | Self::DigestHtml => Escaping::Html,
        }
    }

    /// What it is rendered from.
    pub const fn input(self) -> Input {
        match self {
            Self::SlackBody | Self::SlackMore | Self::SlackLine => Input::Incident,
            Self::DigestSubject | Self::DigestText | Self::DigestHtml => Input::Digest,
            _ => Input::Notification,
        }
    }

    /// Is it used for this notification? Mails have other templates where it is a digest.
    pub const fn is_for(self, n: &Notification) -> bool {
        match self {
            Self::SlackTitle | Self::SlackBody | Self::SlackMore | Self::SlackLine => true,
            Self::EmailSubject | Self::EmailText | Self::EmailHtml => n.digest.is_none(),
            Self::DigestSubject | Self::DigestText | Self::DigestHtml => n.digest.is_some(),
        }
    }

    pub const fn shipped(self) -> &'static str {
        match self {
            Self::SlackTitle => include_str!("../templates/slack.title.hbs"),
            Self::SlackBody => include_str!("../templates/slack.body.hbs"),
            Self::SlackMore => include_str!("../templates/slack.more.hbs"),
            Self::SlackLine => include_str!("../templates/slack.line.hbs"),
            Self::EmailSubject => include_str!("../templates/email.subject.hbs"),
            Self::EmailText => include_str!("../templates/email.text.hbs"),
            Self::EmailHtml => include_str!("../templates/email.html.hbs"),
            Self::DigestSubject => include_str!("../templates/digest.subject.hbs"),
            Self::DigestText => include_str!("../templates/digest.text.hbs"),
            Self::DigestHtml => include_str!("../templates/digest.html.hbs"),
        }
    }
}

/// What a template is rendered from; see [`model`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Notification,
    /// One incident of it, with the notification's own values beside it.
    Incident,
    /// The whole notification, where it is a digest.
    Digest,
}

/// The partials that are compiled in, by the name used in `{{> name}}`.
pub const SHIPPED_PARTIALS: &[(&str, &str)] = &[
    ("_incident_html", include_str!("../templates/_incident_html.hbs")),
    ("_digest_bars_html", include_str!("../templates/_digest_bars_html.hbs")),
    ("_digest_begun_html", include_str!("../templates/_digest_begun_html.hbs")),
    ("_digest_causes_html", include_str!("../templates/_digest_causes_html.hbs")),
    ("_digest_section_html", include_str!("../templates/_digest_section_html.hbs")),
    ("_summary_html", include_str!("../templates/_summary_html.hbs")),
];

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The file as it was named to the compiler; empty for a rule's `summary`.
    pub file: String,
    pub line: usize,
    /// From 1, in characters; `None` where only the line is known.
    pub column: Option<usize>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    pub source_line: String,
}

impl TemplateError {
    /// The byte range in the source that an editor or a code frame would underline: from the
    /// column to the end of the tag (or of the line).
    pub fn span(&self, source: &str) -> std::ops::Range<usize> {
        let mut start = 0;
        for (n, line) in source.split_inclusive('\n').enumerate() {
            if n + 1 == self.line {
                let text = line.trim_end_matches(['\n', '\r']);
                let skip = self.column.unwrap_or(1).saturating_sub(1);
                let from = text.char_indices().nth(skip).map_or(text.len(), |(i, _)| i);
                let rest = text.get(from..).unwrap_or_default();
                let len = rest.find("}}").map_or(rest.len(), |i| i + 2);
                return start + from..start + from + len;
            }
            start += line.len();
        }
        source.len()..source.len()
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
        }
        write!(f, "{}:", self.line)?;
        if let Some(column) = self.column {
            write!(f, "{column}:")?;
        }
        write!(f, " {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests;
