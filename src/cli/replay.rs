//! `kubeherald replay`

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use super::output::OutputFormat;
use super::{ConfigArgs, Failure, output};
use crate::app::pipeline::{Message, Output, Pipeline, Start};
use crate::clock;
use crate::config::Config;
use crate::message::{Decision, Reason};
use crate::notify::terminal;
use crate::recording::{Recording, changes};
use crate::signal::{Cause, Severity};
use crate::watch::Kind;

/// See `kubeherald replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings: `.jsonl`, `.jsonl.gz`, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Let the clock run on for this long after the last line, for messages that are due later (90s, 10m).
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    then: Duration,
    /// For people, or one JSON object a line for programs.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    from: ConfigArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration::parse(text).map_err(|error| error.to_string())
}

/// Replays each file by itself: a recording is a cluster seen for the first time.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let loaded = super::load(&args.from)?;
    let several = args.files.len() > 1;
    for file in &args.files {
        if several && args.format == OutputFormat::Text {
            writeln!(std::io::stdout(), "── {} ──\n", file.display())?;
        }
        one(file, args, &loaded.config)?;
    }
    Ok(())
}

fn one(path: &Path, args: &ReplayArgs, config: &Config) -> Result<(), Failure> {
    let (reader, bar) = open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let mut pipeline: Option<Pipeline> = None;
    let mut out = Output::default();
    let mut now = Timestamp::MIN;
    let mut told = 0_usize;
    for change in changes(Recording::new(reader, path.display().to_string())) {
        let (at, change) = change?;
        now = now.max(at);
        let pipeline = pipeline.get_or_insert_with(|| {
            Pipeline::new(config, &Kind::ALL, now, Start { first: true, ..Start::default() }).0
        });
        pipeline.feed(now, change, &mut out);
        told += write(&mut stdout, &mut out, args.format)?;
    }
    if let Some(pipeline) = &mut pipeline {
        pipeline.tick_until(clock::after(now, args.then), &mut out);
        told += write(&mut stdout, &mut out, args.format)?;
        if !pipeline.synced() {
            output::say(&format!(
                "warning: {} has no SYNCED line: the initial lists never ended, so nothing could be said",
                path.display()
            ));
        }
    }
    bar.finish_and_clear();
    if args.format == OutputFormat::Text && told == 0 {
        writeln!(stdout, "no messages\n")?;
    }
    stdout.flush()?;
    Ok(())
}

/// A reader that decompresses, and a bar that follows it where a person looks on.
fn open(path: &Path) -> std::io::Result<(Box<dyn BufRead>, ProgressBar)> {
    if path == Path::new("-") {
        return Ok((unpacked(Box::new(std::io::stdin()))?, ProgressBar::hidden()));
    }
    let file = File::open(path)?;
    let bar = if output::interactive() {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(file.metadata()?.len()).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    Ok((unpacked(Box::new(bar.wrap_read(file)))?, bar))
}

/// Compressed or not: the first bytes tell, whatever the name says.
fn unpacked(reader: Box<dyn Read>) -> std::io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

fn write(to: &mut impl Write, out: &mut Output, format: OutputFormat) -> std::io::Result<usize> {
    let messages = std::mem::take(out).messages;
    for message in &messages {
        match format {
            OutputFormat::Json => {
                serde_json::to_writer(&mut *to, &Line::of(message))?;
                writeln!(to)?;
            }
            OutputFormat::Text => {
                for notification in message.whole().take(1) {
                    writeln!(to, "{}", terminal::render(&notification, output::color_stdout()))?;
                }
            }
        }
    }
    Ok(messages.len())
}

/// One decision as `--format json` prints it. The shape is a contract.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    at: Timestamp,
    decision: Decision,
    incident: Option<&'a str>,
    rule: Option<&'a str>,
    cause: Option<Cause>,
    severity: Severity,
    namespace: Option<&'a str>,
    workload: Option<&'a str>,
    container: Option<&'a str>,
    node: Option<&'a str>,
    members: Option<&'a [Arc<str>]>,
    occurrences: Option<u64>,
    since: Option<Timestamp>,
    reason: Reason,
    receivers: &'a [Arc<str>],
    title: &'a str,
    text: &'a str,
    incidents: Option<Vec<&'a str>>,
}

impl<'a> Line<'a> {
    /// The line for a message.
    pub fn of(message: &'a Message) -> Self {
        let decided = &message.decided;
        let summary = decided.decision.is_summary();
        let one = decided.incidents.first().filter(|_| !summary);
        Self {
            at: decided.at,
            decision: decided.decision,
            incident: one.map(|i| &*i.id),
            rule: one.map(|i| &*i.rule),
            cause: one.map(|i| i.cause),
            severity: decided.severity(),
            namespace: one.and_then(|i| i.namespace.as_deref()),
            workload: one.map(|i| &*i.workload),
            container: one.and_then(|i| i.container.as_deref()),
            node: one.and_then(|i| i.node.as_deref()),
            members: one.map(|i| i.members.as_slice()),
            occurrences: one.map(|i| i.occurrences),
            since: one.map(|i| i.since),
            reason: decided.reason,
            receivers: &decided.receivers,
            title: &message.title,
            text: &message.text,
            incidents: summary.then(|| decided.incidents.iter().map(|i| &*i.id).collect()),
        }
    }
}
