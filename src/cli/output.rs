//! What commands print, and how.

use std::io::{IsTerminal, Write};

use anstream::AutoStream;

use crate::config::Diagnostics;

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
    let text = found.render(color_stderr());
    if !text.trim().is_empty() {
        say(text.trim_end());
    }
}

/// An error with its causes, a line each.
pub fn error(error: &anyhow::Error) {
    let bold = if color_stderr() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let mut text = format!("{}error{}: {error}", bold.0, bold.1);
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many libraries repeat in their own text what lies beneath.
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    say(&text);
}

/// A line to stderr; nobody there to read it is no failure.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
