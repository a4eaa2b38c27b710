//! The terminal: where messages go while no receiver is configured.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Arc, Mutex};

use anstyle::{AnsiColor, Color, Style};

use crate::message::text::{self, words};
use crate::message::{Decision, IncidentView, Notification};
use crate::notify::{Attempt, Deliver, Outcome};
use crate::signal::Severity;
use crate::template::{helpers, model};

/// Where lines are printed. Shared, because several receivers may print to one place.
pub type Sink = Arc<Mutex<Box<dyn Write + Send>>>;

/// Printing to a terminal.
#[derive(Clone)]
pub struct TerminalConfig {
    pub sink: Sink,
    pub color: bool,
}

impl TerminalConfig {
    /// Standard output, with colours where it is a terminal and `NO_COLOR` is not set.
    pub fn stdout() -> Self {
        let stdout = std::io::stdout();
        let color = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Self { sink: Arc::new(Mutex::new(Box::new(anstream::AutoStream::auto(stdout)))), color }
    }
}

impl PartialEq for TerminalConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sink, &other.sink) && self.color == other.color
    }
}

impl Eq for TerminalConfig {}

impl fmt::Debug for TerminalConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalConfig").field("color", &self.color).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Terminal {
    config: TerminalConfig,
}

impl Terminal {
    pub const fn new(config: TerminalConfig) -> Self {
        Self { config }
    }
}

impl Deliver for Terminal {
    fn time_limit(&self) -> std::time::Duration {
        // A pipe whose reader does not read.
        std::time::Duration::from_secs(30)
    }

    fn lists(&self) -> usize {
        text::SHOWN_INCIDENTS
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let shown = render(attempt.notification, self.config.color);
        let Ok(mut sink) = self.config.sink.lock() else {
            return Outcome::retry("the terminal is in a broken state");
        };
        match sink.write_all(shown.as_bytes()).and_then(|()| sink.flush()) {
            Ok(()) => Outcome::Delivered { handle: None },
            // A reader that went away (`| head`) does not come back.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                Outcome::reject("nobody reads the output")
            }
            Err(e) => Outcome::retry(format!("cannot print: {e}")),
        }
    }
}

/// A block of lines with an empty line at its end.
pub fn render(n: &Notification, color: bool) -> String {
    let mut out = Block { out: String::new(), color };
    let bold = paint(n.decision, n.severity).bold();
    let head = [model::state(n.decision, n.severity).to_uppercase(), words::one_line(&n.cluster, 120)];
    out.styled(Style::new().dimmed(), &words::time_of_day(n.at));
    out.out.push(' ');
    out.styled(bold, &words::join(&[&head[0], &head[1]], " "));
    out.out.push(' ');
    let title = text::over::without_state(n.decision, &n.title);
    out.styled(Style::new().bold(), &words::one_line(title, text::MAX_TITLE));
    out.out.push('\n');
    out.line("", &n.late().unwrap_or_default(), Style::new().dimmed());
    match n.incident() {
        Some(i) => incident(&mut out, n, i),
        None if n.decision == Decision::Notice => {
            for line in n.text.lines() {
                out.line("", line, Style::new());
            }
        }
        None => {
            let lines = match n.digest.as_deref() {
                Some(digest) => {
                    let lists = text::digest::lists(digest, &n.incidents);
                    let parts = [text::digest::head("", digest), text::digest::pictures(digest), lists];
                    words::join(&[&parts[0], &parts[1], &parts[2]], "\n\n")
                }
                None => text::summary_text("", n.decision, &n.incidents, n.incidents_total, n.at),
            };
            for line in lines.lines() {
                if line.is_empty() {
                    out.out.push('\n');
                }
                out.line("", line, Style::new());
            }
        }
    }
    out.out.push('\n');
    out.out
}

fn incident(out: &mut Block, n: &Notification, i: &IncidentView) {
    let f = text::facts("", n.decision, n.reason, i, n.at);
    out.line("", &words::join(&[&f.how_much, &f.when], ", "), Style::new());
    out.line("", &f.note, Style::new());
    let why = words::join(&[&f.short_why, &f.why], "\n");
    out.line("why", &why, paint(n.decision, n.severity));
    out.line("where", &f.place, Style::new());
    out.line("objects", &f.objects, Style::new());
    out.line("holds", &f.held, Style::new());
    if let Some(log) = i.log_tail.as_deref().filter(|_| text::tells_log(n.decision)) {
        let of = i.log_from.as_deref().map(|from| format!("of {}\n", words::one_line(from, 300)));
        out.line("log", &format!("{}{log}", of.unwrap_or_default()), Style::new().dimmed());
    }
    if !n.decision.is_end() {
        let command = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
        out.line("look", &i.command, command);
        out.line("silence", i.silence.as_deref().unwrap_or_default(), command);
    }
    out.line("runbook", i.runbook.as_deref().unwrap_or_default(), Style::new().underline());
}

fn paint(decision: Decision, severity: Severity) -> Style {
    let color = match (decision, severity) {
        (Decision::Resolved, _) | (Decision::Notice, Severity::Info) => AnsiColor::Green,
        (Decision::Expired, _) => AnsiColor::White,
        (_, Severity::Critical) => AnsiColor::Red,
        (_, Severity::Warning) => AnsiColor::Yellow,
        (_, Severity::Info) => AnsiColor::Blue,
    };
    Style::new().fg_color(Some(Color::Ansi(color)))
}

struct Block {
    out: String,
    color: bool,
}

impl Block {
    fn styled(&mut self, style: Style, text: &str) {
        // Escape sequences of foreign text are taken out here, so that only ours reach the terminal.
        let text = helpers::text(text);
        if self.color && style != Style::new() {
            // Writing to a String cannot fail.
            write!(self.out, "{style}{text}{style:#}").ok();
        } else {
            self.out.push_str(&text);
        }
    }

    fn line(&mut self, label: &str, value: &str, style: Style) {
        if value.trim().is_empty() {
            return;
        }
        for (n, line) in words::cut_chars(value.trim_end(), 4000).lines().enumerate() {
            let label = if n == 0 { label } else { "" };
            self.out.push_str("  ");
            if !label.is_empty() {
                self.styled(Style::new().dimmed(), &format!("{label:<8}"));
            } else if !value.is_empty() && n > 0 {
                self.out.push_str("        ");
            }
            self.styled(style, line);
            self.out.push('\n');
        }
    }
}
