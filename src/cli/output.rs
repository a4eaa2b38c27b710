//! What commands print, and how.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::AutoStream;
use serde_json::{Value, json};

use crate::clock;
use crate::config::Diagnostics;

/// Is everything on stderr one JSON object a line, as the log is with `--log-format json`?
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on everything that is said on stderr is one JSON object a line, with the fields of the log.
pub fn say_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// How a command prints its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// May stderr be coloured?
pub fn color_stderr() -> bool {
    AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// May stdout be coloured?
pub fn color_stdout() -> bool {
    AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Is a person looking at stderr?
pub fn interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// Prints every diagnostic with its frame.
pub fn diagnostics(found: &Diagnostics) {
    if JSON.load(Ordering::Relaxed) {
        let level = if found.has_errors() { "ERROR" } else { "WARN" };
        for text in found.render(false).trim().split("\n\n").filter(|text| !text.is_empty()) {
            line(entry(level, text));
        }
        return;
    }
    let text = found.render(color_stderr());
    if !text.trim().is_empty() {
        line(text.trim_end());
    }
}

/// "Connection refused", without "(os error 111)".
fn without_codes(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(rest.strip_prefix(')').unwrap_or(rest));
    }
    out
}

/// An error with its causes, a line each.
pub fn error(error: &anyhow::Error) {
    let mut causes: Vec<String> = Vec::new();
    let message = without_codes(&error.to_string());
    let mut said = message.clone();
    for cause in error.chain().skip(1) {
        let cause = without_codes(&cause.to_string());
        // Many libraries repeat in their own text what lies beneath.
        if !said.contains(&cause) {
            said.push_str(&cause);
            causes.push(cause);
        }
    }
    if JSON.load(Ordering::Relaxed) {
        let mut entry = entry("ERROR", &message);
        if let Some(map) = entry.as_object_mut().filter(|_| !causes.is_empty()) {
            map.insert("because".to_owned(), json!(causes));
        }
        line(&entry);
        return;
    }
    let bold = if color_stderr() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let causes: String = causes.iter().map(|cause| format!("\n  because: {cause}")).collect();
    line(format!("{}error{}: {message}{causes}", bold.0, bold.1));
}

/// A line to stderr; nobody there to read it is no failure.
pub fn say(text: &str) {
    if JSON.load(Ordering::Relaxed) { line(entry("INFO", text)) } else { line(text) }
}

/// A warning to stderr.
pub fn warn(text: &str) {
    if JSON.load(Ordering::Relaxed) { line(entry("WARN", text)) } else { line(format!("warning: {text}")) }
}

/// As a line of the log has it.
fn entry(level: &str, message: &str) -> Value {
    json!({ "timestamp": clock::now().to_string(), "level": level, "message": message, "target": "kubeherald" })
}

fn line(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_the_system_are_left_out() {
        let text = "a: No such file or directory (os error 2); check b: denied (os error 13)";
        assert_eq!(without_codes(text), "a: No such file or directory; check b: denied");
    }
}
