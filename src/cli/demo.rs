//! `kubeherald demo`

pub mod config;
pub mod feed;
pub mod page;
pub mod stage;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Failure, output};
use crate::telemetry::{self, LogFormat};
use crate::testkit::story::{SPEED, Tone};
use stage::{News, Stage};

/// See `kubeherald demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The port of the page on 127.0.0.1; 0, and where it is taken, means any.
    #[arg(long, value_name = "PORT", default_value_t = 8420)]
    port: u16,
    /// How fast the half hour is played: 1 takes a minute, 2 half of one, 0.5 two.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// End when the story is over; without it the page stays, and normal life goes on.
    #[arg(long)]
    once: bool,
    /// Print nothing but where the page is.
    #[arg(short, long)]
    quiet: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=10.0).contains(&speed) => Ok(speed),
        _ => Err(String::from("expected a number from 0.1 to 10")),
    }
}

/// Plays the story until its end, or until Ctrl-C.
pub(super) async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    telemetry::init(LogFormat::Text, "warn")?;
    let stop = CancellationToken::new();
    tokio::spawn(super::run::signals(stop.clone(), |_| {}));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 3 to 300")]
    let speed = (args.speed * f64::from(SPEED)).round() as u32;
    let mut stage = Stage::build(args.port, speed).await?;
    let show = Show { color: output::color_stderr(), page: format!("http://{}/", stage.page) };
    output::say(&show.greeting(args.quiet));
    let quiet = args.quiet;
    let once = args.once;
    let played = stage
        .play(once, &stop, move |news| {
            if !quiet {
                output::say(&show.news(&news, once));
            }
        })
        .await;
    stage.close().await;
    Ok(played?)
}

/// How the terminal sees it.
#[derive(Debug, Clone)]
struct Show {
    color: bool,
    page: String,
}

impl Show {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn greeting(&self, quiet: bool) -> String {
        let page = self.paint("1;4", &self.page);
        if quiet {
            return page;
        }
        format!(
            "{} half an hour of a simulated cluster in a minute, watched by the real bot with the shipped rules\n\n  \
             open {page}   what Slack, the webhook and the mailbox receive\n\n  \
             {} in the cluster   {} told   Ctrl-C ends it\n",
            self.paint("1", "kubeherald demo:"),
            self.paint("2", "·"),
            self.paint("1", "▶"),
        )
    }

    fn news(&self, news: &News, once: bool) -> String {
        match news {
            News::Cluster(line) => {
                let (mark, code) = match line.tone {
                    Tone::Trouble => ("✗", "31"),
                    Tone::Mended => ("✓", "32"),
                    Tone::Life => ("·", "2"),
                    Tone::Story => ("·", "36"),
                };
                format!("{}  {}", self.time(line.at), self.paint(code, &format!("{mark} {}", line.text)))
            }
            News::Told(body) => {
                let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
                let at = text("at").parse().unwrap_or(Timestamp::UNIX_EPOCH);
                let code = match (text("decision"), text("severity")) {
                    ("resolved" | "expired", _) => "1;32",
                    (_, "critical") => "1;31",
                    (_, "warning") => "1;33",
                    _ => "1",
                };
                let title = format!("▶ {}", text("title"));
                format!("{}    {}", self.time(at), self.paint(code, &title))
            }
            News::Over { writes, messages } => {
                let numbers = format!("{} API writes, {messages} messages", thousands(*writes));
                let rest = if once { String::new() } else { format!("; the page stays at {}", self.page) };
                format!("\n{}{rest}\n", self.paint("1", &numbers))
            }
        }
    }

    fn time(&self, at: Timestamp) -> String {
        self.paint("2", &at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string())
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_speeds_are_bounded() {
        assert_eq!([thousands(7), thousands(1412), thousands(1_000_000)], ["7", "1,412", "1,000,000"]);
        assert!(
            speed("2.5").is_ok() && speed("0").is_err() && speed("NaN").is_err() && speed("fast").is_err()
        );
    }

    #[test]
    fn what_is_told_names_time_and_title() {
        let show = Show { color: false, page: String::from("http://127.0.0.1:1/") };
        let body = serde_json::json!({ "at": "2026-11-21T09:00:01Z", "decision": "first", "severity": "critical",
            "title": "Node worker-3 is not ready" });
        let told = show.news(&News::Told(body), true);
        assert_eq!(told, "09:00:01    ▶ Node worker-3 is not ready");
        let over = show.news(&News::Over { writes: 1901, messages: 12 }, true);
        assert_eq!(over.trim(), "1,901 API writes, 12 messages");
    }
}
