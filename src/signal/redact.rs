//! Takes secrets out of text from the cluster before anything is stored or sent.
//!
//! Programs print what they were given: connection strings in a panic, tokens in a log line, signed
//! addresses in the error of an image pull. What looks like a secret by its shape (a JWT, an AWS key)
//! or by its label (`password=`, `"token":`) is replaced by [`MASK`]; the label stays, so that one
//! can see what was there. What Kubernetes itself says must stay readable: names, digests, UIDs, and
//! sentences that merely *speak* of tokens and secrets.
//!
//! Healthy text costs one scan for the few letters that every pattern needs (a fraction of a microsecond
//! for a usual message); text that has them is asked of all patterns at once (some ten microseconds), and
//! only those that match are searched for. All expressions are
//! linear in the length of the text, and no more than [`MAX_INPUT`] of it is looked at.

mod fragments;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::{Captures, Regex, RegexBuilder, RegexSet};

pub use fragments::fragments;

use super::{Exit, Signal, text};

/// What stands in the place of a secret.
pub const MASK: &str = "[masked]";
/// The longest text looked at, in bytes; more than is kept of any text. What lies beyond is cut off,
/// never passed on unseen.
pub const MAX_INPUT: usize = 16 * 1024;
/// How many patterns of one's own there may be.
pub const MAX_PATTERNS: usize = 100;
/// How large one of them may become when compiled, in bytes.
const MAX_COMPILED: usize = 256 * 1024;
/// Masking moves what stands beside each other; it is repeated until nothing new is found, but not for
/// ever.
const MAX_PASSES: usize = 4;

/// Masks what the built-in patterns find.
pub fn redact(text: &str) -> Cow<'_, str> {
    let bounded = text::cut(text, MAX_INPUT);
    let Some(hints) = HINTS.as_ref() else {
        // A test compiles the patterns: this cannot happen. If it did, nothing may pass unseen.
        return Cow::Borrowed(MASK);
    };
    if !hints.is_match(&bounded) {
        return bounded;
    }
    repeat(bounded, |text| {
        let mut spans = Vec::new();
        // One scan says which patterns match at all: mostly one or none.
        let which = SET.as_ref().map(|set| set.matches(text));
        for (n, (pattern, accept)) in PATTERNS.iter().enumerate() {
            if which.as_ref().is_some_and(|which| !which.matched(n)) {
                continue;
            }
            for found in pattern.captures_iter(text) {
                if let Some(span) = secret(&found, *accept, text) {
                    spans.push(span);
                }
            }
        }
        spans
    })
}

/// Patterns of one's own, applied after the built-in ones. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    extra: Arc<[Regex]>,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no regular expression, or too large a one.
    #[error("{0}")]
    Syntax(String),
    /// It would mask nothing, everywhere.
    #[error("it matches the empty text")]
    MatchesNothing,
}

/// Compiles one pattern of one's own.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let regex = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build().map_err(|error| {
        // The last line says what is wrong; those before it repeat the pattern.
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        PatternError::Syntax(last.trim_start_matches("error: ").to_owned())
    })?;
    if regex.is_match("") { Err(PatternError::MatchesNothing) } else { Ok(regex) }
}

impl PartialEq for Redactor {
    fn eq(&self, other: &Self) -> bool {
        self.extra.iter().map(Regex::as_str).eq(other.extra.iter().map(Regex::as_str))
    }
}

impl Redactor {
    /// With these patterns. Of each the group `secret` is masked, or else its first group, or else all
    /// of it.
    pub fn new(extra: Vec<Regex>) -> Self {
        Self { extra: extra.into() }
    }

    /// Are there any patterns of one's own?
    pub fn is_empty(&self) -> bool {
        self.extra.is_empty()
    }

    /// Masks what the built-in patterns and one's own find.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match redact(text) {
            Cow::Borrowed(text) => self.own(text),
            Cow::Owned(text) => Cow::Owned(self.own(&text).into_owned()),
        }
    }

    /// Masks what one's own patterns find in text that the built-in ones have seen already.
    fn own<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.extra.iter().any(|pattern| pattern.is_match(text)) {
            return Cow::Borrowed(text);
        }
        repeat(Cow::Borrowed(text), |text| {
            let found = self.extra.iter().flat_map(|pattern| pattern.captures_iter(text));
            found.filter_map(|found| secret(&found, |_| true, text)).collect()
        })
    }

    /// Masks every text of a signal.
    pub fn signal(&self, signal: &mut Signal) {
        if self.extra.is_empty() {
            return;
        }
        self.kept(&mut signal.message);
        self.kept(&mut signal.reason);
        if let Some(exit) = &mut signal.exit {
            self.exit(exit);
        }
    }

    /// Masks the texts about the end of a run in place.
    pub fn exit(&self, exit: &mut Exit) {
        for text in [&mut exit.message, &mut exit.ended_by].into_iter().flatten() {
            self.kept(text);
        }
    }

    /// Masks kept text in place. Text that was cut may end inside a secret that no pattern knows any
    /// more: its last word goes.
    pub fn kept(&self, text: &mut Arc<str>) {
        if self.extra.is_empty() || text.is_empty() {
            return;
        }
        let mut whole: &str = text;
        if let Some(cut) = whole.strip_suffix(text::CUT).filter(|cut| cut.len() > text::MAX_TEXT / 2) {
            whole = cut.trim_end_matches(|c: char| !c.is_whitespace());
        }
        let mut masked = self.own(whole);
        if whole.len() != text.len() {
            masked.to_mut().push(text::CUT);
        }
        if *masked != **text {
            *text = Arc::from(text::cut(&masked, text::MAX_TEXT));
        }
    }
}

/// Replaces what `find` finds, until it finds nothing more.
fn repeat(text: Cow<'_, str>, find: impl Fn(&str) -> Vec<Range<usize>>) -> Cow<'_, str> {
    let mut text = text;
    for _ in 0..MAX_PASSES {
        let spans = find(&text);
        if spans.is_empty() {
            break;
        }
        text = Cow::Owned(mask(&text, spans));
    }
    text
}

/// Which part of a match is the secret; `None` if it is none, or is masked already.
fn secret(found: &Captures<'_>, accept: Accept, text: &str) -> Option<Range<usize>> {
    let groups = || found.iter().skip(1).flatten();
    let named = || found.name("secret").or_else(|| found.name("run"));
    let group = named().or_else(|| groups().next()).or_else(|| found.get(0))?;
    let value = if found.name("run").is_some() { until_next(group.as_str()) } else { group.as_str() };
    let range = group.start()..group.start() + value.len();
    let fresh = !value.trim().is_empty() && !value.trim_start().starts_with(MASK) && !within(text, &range);
    let after = text.get(range.end..).unwrap_or_default();
    (fresh && accept(&Found { value, label: labelled(found), after })).then_some(range)
}

/// A value without quotes ends where the next setting begins: a password may hold these signs, too.
fn until_next(run: &str) -> &str {
    let setting = |rest: &str| {
        let name = rest.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        rest.is_empty() || (name.len() < rest.len() && name.starts_with('='))
    };
    let next = run.char_indices().filter(|(_, c)| matches!(c, '&' | ';' | ',')).map(|(at, _)| at);
    let end = next.into_iter().find(|at| run.get(at + 1..).is_some_and(setting));
    end.and_then(|at| run.get(..at)).unwrap_or(run)
}

/// Does this lie inside a mask?
fn within(text: &str, span: &Range<usize>) -> bool {
    let from = span.start.saturating_sub(MASK.len());
    let window = (from..=span.start).find_map(|at| text.get(at..)?.starts_with(MASK).then_some(at));
    window.is_some_and(|at| span.end <= at + MASK.len())
}

fn labelled<'t>(found: &Captures<'t>) -> &'t str {
    found.name("label").map_or("", |label| label.as_str())
}

/// Masks the spans; those that touch or overlap become one.
fn mask(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            if span.start > done || done == 0 {
                out.push_str(text.get(done..span.start).unwrap_or_default());
                out.push_str(MASK);
            }
            done = span.end;
        } else {
            done = done.max(span.end);
        }
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// What a pattern found.
struct Found<'t> {
    value: &'t str,
    label: &'t str,
    after: &'t str,
}

/// Is it a secret? What an expression alone cannot tell.
type Accept = fn(&Found<'_>) -> bool;

/// A shape that is a secret wherever it stands.
fn always(_: &Found<'_>) -> bool {
    true
}

/// Not a word of a sentence ("bearer authentication").
fn no_word(found: &Found<'_>) -> bool {
    let tail = found.value.trim_end_matches(['=', '.', ':', ',']);
    let mut rest = tail.chars();
    rest.next();
    tail.len() >= 24 || !rest.all(|c| c.is_ascii_lowercase() || c == '-')
}

/// Digits and letters, or letters of both cases, or signs: nothing that a sentence is made of.
fn opaque(value: &str) -> bool {
    let has = |kind: fn(&char) -> bool| value.chars().any(|c| kind(&c));
    let digit = has(char::is_ascii_digit);
    let lower = has(char::is_ascii_lowercase);
    let upper = value.chars().skip(1).any(|c| c.is_ascii_uppercase());
    let sign = has(|c| matches!(c, '!' | '#' | '$' | '%' | '^' | '*' | '+' | '=' | '?' | '~' | '@'));
    (digit && (lower || upper || sign)) || (upper && lower) || sign
}

/// So long and so mixed that no name or word looks like it.
fn strong(value: &str) -> bool {
    let has = |kind: fn(&char) -> bool| value.chars().any(|c| kind(&c));
    let classes = [has(char::is_ascii_digit), has(char::is_ascii_lowercase), has(char::is_ascii_uppercase)];
    let mixed = classes.iter().filter(|class| **class).count();
    (value.len() >= 16 && mixed == 3)
        || (value.len() >= 20 && mixed >= 2 && value.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Values that say nothing.
fn empty_word(value: &str) -> bool {
    const WORDS: &[&str] =
        &["true", "false", "null", "nil", "none", "undefined", "<nil>", "(none)", "***", "****"];
    WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// `password=…`: whatever it is. `PWD=/app` is where a process works.
fn assigned(found: &Found<'_>) -> bool {
    let path = found.label.eq_ignore_ascii_case("pwd") && found.value.starts_with('/');
    !path && !empty_word(found.value)
}

/// `token: …` in running text, where sentences look the same ("failed to fetch token: pod not found").
fn is_secret_value(found: &Found<'_>) -> bool {
    let value = found.value;
    if empty_word(value) || value.ends_with(':') || value.contains("://") || value.starts_with('/') {
        return false;
    }
    let ends = found.after.trim_start_matches(['"', '\'', '\\', ')', '}', ']']);
    let ends = ends.is_empty() || ends.starts_with(['\n', ',', ';', '.', '&', '}', ']']);
    let label = found.label.to_ascii_lowercase();
    if label.starts_with("pass") || label == "pwd" {
        // A sentence about a password goes on ("password: authentication failed"), or ends in a word
        // about passwords.
        const WORDS: &[&str] = &[
            "incorrect",
            "invalid",
            "required",
            "expired",
            "denied",
            "missing",
            "empty",
            "wrong",
            "failed",
            "unauthorized",
        ];
        let word = WORDS.iter().any(|word| value.eq_ignore_ascii_case(word));
        return !word && (ends || opaque(value) || value.bytes().all(|b| b.is_ascii_digit()));
    }
    (value.len() >= 5 && opaque(value) && ends && !value.contains('/')) || strong(value)
}

/// The password of a database address may hold slashes; a port and a path are none.
fn no_port(found: &Found<'_>) -> bool {
    let digits = found.value.trim_start_matches(|c: char| c.is_ascii_digit());
    digits.len() == found.value.len() || !digits.starts_with(['/', '?'])
}

/// A user name that is a token (`https://0123456789abcdef…@sentry.example.com`).
fn token_user(found: &Found<'_>) -> bool {
    strong(found.value)
}

/// What every built-in pattern needs, in one expression.
static HINTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let hints = r"(?i-u)eyj|bearer|authoriz|basic |://(?u:[^/\s])*@|pass|pwd|secret|token|(?:api|access|account|private|auth|sign\w*|encrypt\w*|license|data|shared\w*)[_.-]?key|credential|a[a-z]{2}a[a-z2-7]{12}|gh[a-z]_|github_pat|gl[a-z]{2,5}-|xox|xapp-|[srp]k_|sk-|whsec_|npm_|aiza|ya29|gocspx-|SG\.|dckr_|hv[sbr]\.|pypi-|dop_v1|shp|private key|sig=|signature=|@tcp|@unix|:thin:|auth|cookie|hooks\.slack|api/webhooks";
    Regex::new(hints).ok()
});

/// The built-in patterns. A test checks that each compiles.
static PATTERNS: LazyLock<Vec<(Regex, Accept)>> = LazyLock::new(|| {
    SOURCES.iter().filter_map(|(source, accept)| Some((Regex::new(source).ok()?, *accept))).collect()
});

/// All of them at once.
static SET: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSet::new(PATTERNS.iter().map(|(pattern, _)| pattern.as_str())).ok());

/// Labels whose values are secrets: what an unbounded name may begin with, and must end in.
macro_rules! label {
    () => {
        r"(?P<label>passw(?:or)?d|passphrase|(?:\b|[_-])pass|\bpwd|[_-]pwd|secret(?:[_.-]?key(?:[_-]?base)?)?|token|(?:api|access|account|private|auth|sign(?:ing|ature)?|encryption|master|license|shared[_-]?access)[_.-]?key|key[_-]data|credentials?)"
    };
}

const SOURCES: &[(&str, Accept)] = &[
    // JSON Web Tokens and what else is JSON in base64 (docker configurations, continue tokens).
    // <https://www.rfc-editor.org/rfc/rfc7519#section-3>
    (r"eyJ[A-Za-z0-9_+/=-]{12,}(?:\.[A-Za-z0-9_=-]*)*", always),
    // <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
    (r#"(?i)\bbearer[ \t:=]+["']?([A-Za-z0-9._~+/=-]{4,})"#, no_word),
    (r"(?i)\bbasic +([A-Za-z0-9+/]{6,}={0,2})", no_word),
    (
        r#"(?i)authorization\\*["']?\s*[:=]\s*\\*["']?(?:bearer|basic|token|digest|negotiate|apikey|api-key|aws4-hmac-sha256|splunk|key)\s+([^\n"'\\]{2,})"#,
        always,
    ),
    (r#"(?i)(?P<label>authorization)\\*["']?\s*[:=]\s*\\*["']?(?P<secret>[^\s"',;\\]{6,})"#, is_secret_value),
    // Addresses with a password. The scheme, the user and the host stay.
    (r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@"'<>]*:([^\s/"'<>]+)@"#, always),
    (
        r#"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|clickhouse|nats|kafka|ldaps?|smtps?)://[^\s/:@"'<>]*:([^\s"'<>]+)@"#,
        no_port,
    ),
    (r"://([A-Za-z0-9_.~%+=-]{16,})@", token_user),
    // The address forms of database drivers: `user:secret@tcp(host:3306)`, `jdbc:oracle:thin:user/secret@`.
    (r#"[\w.%+-]+:([^\s@"']+)@(?:tcp|unix)\("#, always),
    (r#":thin:[^\s/"']+/([^\s@"']+)@"#, always),
    // `PASSWORD=…`, `password = '…'`, `?token=…&`, `--api-key=…`, `{"secret": "…"}`, also inside JSON
    // that is itself a JSON string.
    (concat!("(?i)", label!(), r#"\\*["']?\s*(?:=|=>|:=)\s*"(?P<secret>(?:[^"\\\n]|\\.)+)"#), assigned),
    (concat!("(?i)", label!(), r#"\\*["']?\s*(?:=|=>|:=)\s*'(?P<secret>[^'\n]+)"#), assigned),
    (
        concat!("(?i)", label!(), r#"\\+["']\s*[:=]\s*\\+["'](?P<secret>(?:[^"'\\\n]|\\+[^"'\\\n])+)"#),
        assigned,
    ),
    (concat!("(?i)", label!(), r#""\s*:\s*"(?P<secret>(?:[^"\\\n]|\\.)+)"#), assigned),
    (concat!("(?i)", label!(), r#"'\s*:\s*'(?P<secret>[^'\n]+)"#), assigned),
    (
        concat!(
            "(?i)",
            label!(),
            r#"\\*["']?(?:\s*=\s*|\s*=>\s*|\s*:=\s*)(?P<run>[^\s"'<>&;,\\][^\s"'<>]*)"#
        ),
        assigned,
    ),
    (concat!("(?i)", label!(), r#""\s*:\s*(?P<secret>[^\s"'{\[<>&;,}]+)"#), assigned),
    // `password: …` of YAML and of logs.
    (concat!("(?i)", label!(), r#"\s*:\s*["']?(?P<secret>[^\s"'{\[<>&;,}]+)"#), is_secret_value),
    // `--token …`
    (concat!("(?i)--?[a-z-]*", label!(), r#"\s+["']?(?P<secret>[^\s"'<>&;,]{4,})"#), |found| {
        opaque(found.value)
    }),
    (r#"(?i)\\*"auth\\*"\s*:\s*\\*"([A-Za-z0-9+/=_-]{6,})"#, always),
    (r#"(?i)cookie["']?\s*[:=]\s*["']?([^\s=;"']+=[^\n"']+)"#, always),
    // Signed addresses: Azure SAS, AWS and Google presigned requests.
    (
        r#"(?i)(?:[?&]|\b)(?:sig|signature|x-amz-signature|x-amz-credential|x-goog-signature)=([^\s&"'<>,;]{8,})"#,
        always,
    ),
    // Access keys of AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    (r"\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{12,128}\b", always),
    // Tokens that say by their beginning what they are: GitHub, GitLab, Slack, Stripe, npm, Google,
    // SendGrid, Docker Hub, Vault, PyPI, DigitalOcean, Shopify, OpenAI, Anthropic.
    (r"\b(?:gh[a-z]_[A-Za-z0-9]{16,}|github_pat_\w{16,})", always),
    (r"\bgl(?:pat|ptt|dt|rt|rtr|cbt|soat|ffct|imt|agent|oas)-[A-Za-z0-9_.-]{16,}", always),
    (r"\b(?:xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{6,}|xapp-[A-Za-z0-9-]{6,})", always),
    (r"(?i)\bhooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)", always),
    (r"(?i)\bdiscord(?:app)?\.com/api/webhooks/([0-9]+/[A-Za-z0-9_-]+)", always),
    (r"\b(?:[srp]k_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{16,})", always),
    (r"\bnpm_[A-Za-z0-9]{20,}", always),
    (r"\b(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{16,}|GOCSPX-[A-Za-z0-9_-]{16,})", always),
    (r"\bSG\.[A-Za-z0-9_-]{12,}\.[A-Za-z0-9_-]{12,}", always),
    (
        r"\b(?:dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}|hv[sbr]\.[A-Za-z0-9_-]{20,}|pypi-AgE[A-Za-z0-9_-]{16,}|dop_v1_[a-f0-9]{32,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,})",
        always,
    ),
    (r"\bsk-(?:(?:proj|ant|svcacct|admin)[A-Za-z0-9_-]{32,}|[A-Za-z0-9]{32,})", always),
    // Private keys, also cut ones: <https://www.rfc-editor.org/rfc/rfc7468#section-10>
    (
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(.+?)(?:-----END [A-Z0-9 ]*PRIVATE KEY|\z)",
        always,
    ),
    // What is left of one whose beginning was cut off.
    (r"(?s)\A(.+?)-----END [A-Z0-9 ]*PRIVATE KEY", |found| !found.value.contains("-----BEGIN ")),
];

#[cfg(test)]
mod tests;
