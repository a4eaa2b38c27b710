//! A notification as a mail. Pure: the same notification gives the same bytes at every attempt.

use std::fmt::Write as _;
use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use crate::message::Notification;
use crate::message::text::{self, words};
use crate::signal::Severity;
use crate::template::{Name, Templates, model};

/// The longest subject, in characters. Longer ones are valid, but nobody sees their end.
const MAX_SUBJECT: usize = 240;

/// What is longer is clipped, in bytes.
const SHOWN_BY_GMAIL: usize = 100_000;

/// What does not depend on the recipient.
#[derive(Debug, Clone)]
pub struct Mail {
    pub subject: String,
    /// The plain text part.
    pub text: String,
    pub html: String,
    /// `<…>`, stable for the notification.
    pub message_id: String,
    /// `<…>`, the same for all mails of one incident; may name a mail that never was.
    pub thread_id: String,
}

impl Mail {
    /// Renders it. `domain` is the right side of its ids: the sender's.
    pub fn render(
        n: &Notification,
        templates: &Templates,
        domain: &str,
    ) -> Result<Self, crate::template::registry::Failed> {
        let values = model::notification(n);
        let (subject, text, html) = match n.digest {
            Some(_) => (Name::DigestSubject, Name::DigestText, digest_html(n, templates)?),
            None => (Name::EmailSubject, Name::EmailText, templates.render(Name::EmailHtml, &values)?),
        };
        let subject = templates.render(subject, &values)?;
        let thread = format!("{}/{}", n.receiver, n.thread());
        Ok(Self {
            subject: words::cut_middle(&words::one_line(&subject, 4 * MAX_SUBJECT), MAX_SUBJECT),
            text: templates.render(text, &values)?,
            html,
            message_id: format!("<{}@{domain}>", digest(&n.key)),
            thread_id: format!("<{}@{domain}>", digest(&thread)),
        })
    }
}

/// A digest that is too large is told with fewer incidents rather than not at all, and so that Gmail
/// shows all of it: <https://support.google.com/mail/thread/6187016>.
fn digest_html(n: &Notification, templates: &Templates) -> Result<String, crate::template::registry::Failed> {
    let mut last = Err(None);
    for most in [text::digest::LISTED, 15, 8, 3] {
        last = templates.render(Name::DigestHtml, &model::listing(n, most)).map_err(Some);
        if last.as_ref().is_ok_and(|html| html.len() <= SHOWN_BY_GMAIL) {
            break;
        }
    }
    last.or_else(|failed| failed.map_or(Ok(String::new()), Err))
}

/// Keys are made of names; an id must be made of few characters only (RFC 5322, section 3.6.4).
fn digest(text: &str) -> String {
    let mut out = String::from("kubeherald.");
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
    }
    out
}

/// Builds the message for one recipient. `first` is the Message-ID of the first mail of the thread.
pub fn build(
    n: &Notification,
    mail: &Mail,
    from: &Mailbox,
    reply_to: Option<&Mailbox>,
    to: &Mailbox,
    first: Option<&str>,
) -> Result<Message, lettre::error::Error> {
    // Every mail of an incident refers to one id, so that they are one thread even where the first
    // was sent by an earlier installation; the first one's own id is named where it is known.
    let mut references = mail.thread_id.clone();
    if let Some(first) = first {
        references.push(' ');
        references.push_str(first);
    }
    let mut builder = Message::builder()
        .from(from.clone())
        .to(to.clone())
        .subject(mail.subject.clone())
        // When it was decided, not when it was sent: a late mail shows how late it is.
        .date(SystemTime::from(n.at))
        .message_id(Some(mail.message_id.clone()));
    // Each digest stands for itself: in one thread for ever, yesterday's would hide today's.
    if n.digest.is_none() {
        builder = builder.references(references);
    }
    if !n.decision.is_summary() {
        builder = builder.in_reply_to(first.unwrap_or(&mail.thread_id).to_owned());
    }
    if let Some(reply_to) = reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    let mut header = |name: &'static str, value: String| {
        let header = HeaderValue::new(HeaderName::new_from_ascii_str(name), words::one_line(&value, 200));
        builder = std::mem::replace(&mut builder, Message::builder()).raw_header(header);
    };
    // No out-of-office answers to a machine (RFC 3834; the second is Exchange's own).
    header("Auto-Submitted", "auto-generated".into());
    header("X-Auto-Response-Suppress", "All".into());
    header("X-Kubeherald-Decision", n.decision.to_string());
    header("X-Kubeherald-Thread", n.thread().to_owned());
    if let Some(late) = n.late_s {
        header("X-Kubeherald-Late", format!("{late} s"));
    }
    if n.severity == Severity::Critical && !n.is_end() && !n.decision.is_summary() {
        header("Importance", "high".into());
    }
    let body = MultiPart::builder()
        .kind(lettre::message::MultiPartKind::Alternative)
        .boundary(boundary(&format!("{}/{}", n.key, to.email)))
        .singlepart(part(ContentType::TEXT_PLAIN, &mail.text))
        .singlepart(part(ContentType::TEXT_HTML, &mail.html));
    builder.multipart(body)
}

/// The boundary can be computed from the headers, and the text comes from the cluster. It is safe all the
/// same: every part is quoted-printable ([`part`]), where `=` is always followed by two hexadecimal digits
/// or a line end, so no text can encode to `=_`
/// (<https://www.rfc-editor.org/rfc/rfc2045#section-6.7>, the last note).
fn boundary(of: &str) -> String {
    format!("=_{}", digest(of))
}

/// Always encoded: lettre would send plain ASCII as it is, and with it a boundary written by hand.
fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(text.to_owned())
}
