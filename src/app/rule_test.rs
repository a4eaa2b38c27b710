//! Runs the tests written in rule files: recordings through the whole pipeline, `given` signals
//! through the engine, both on virtual time.
//!
//! A test passes when exactly the expected messages are decided, in that order, from its start until
//! its end. The start is zero of the `given` signals, or the SYNCED line of a recording. The end is
//! `then` after the last signal or line, and not before the last expected message is due.

mod compare;
mod given;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

pub use compare::{Field, Row, fields, got};

use super::pipeline::{Message, Output, Pipeline, Start};
use crate::clock;
use crate::config::{Config, Expect, Given, RuleTest, TestInput};
use crate::engine::Note;
use crate::message::Reason;
use crate::recording::{RecordingError, RecordingFile, changes};
use crate::watch::{Change, Kind};

/// Where virtual time begins for `given` signals. Any moment would do.
const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// What a test came to.
#[derive(Debug)]
pub struct Report {
    /// Zero of all times in the test.
    pub start: Timestamp,
    /// Everything that was told.
    pub told: Vec<Message>,
    /// Expected and told, side by side.
    pub rows: Vec<Row>,
    /// What was not told, and why: `25s rollout-stuck Deployment/web: inhibited_by image-pull`.
    pub silent: Vec<String>,
}

impl Report {
    /// Was it as expected?
    pub fn passed(&self) -> bool {
        self.rows.iter().all(Row::is_good)
    }
}

pub fn run(test: &RuleTest, config: &Config) -> Result<Report, RecordingError> {
    let expected = test.expect.iter().filter_map(|e| Some(e.at? + e.within.unwrap_or(Expect::WITHIN))).max();
    let until = expected.unwrap_or_default();
    let (start, told, silent) = match &test.input {
        TestInput::Recording(path, _) => {
            recorded(RecordingFile::open(path)?, test.then.unwrap_or_default(), until, config)?
        }
        TestInput::Given(signals) => {
            signalled(signals, test.then.unwrap_or(RuleTest::GIVEN_THEN), until, config)
        }
    };
    let rows = compare::align(&test.expect, &told, start, test.only);
    Ok(Report { start, told, rows, silent })
}

type Told = (Timestamp, Vec<Message>, Vec<String>);

fn recorded(
    lines: RecordingFile,
    then: Duration,
    until: Duration,
    config: &Config,
) -> Result<Told, RecordingError> {
    let mut out = Output::default();
    let mut pipeline: Option<Pipeline> = None;
    let mut start = None;
    let mut now = Timestamp::MIN;
    for change in changes(lines) {
        let (at, change) = change?;
        now = now.max(at);
        if matches!(change, Change::Listed(_)) {
            start.get_or_insert(now);
        }
        let first = Start { first: true, ..Start::default() };
        let pipeline = pipeline.get_or_insert_with(|| Pipeline::new(config, &Kind::ALL, now, first).0);
        pipeline.feed(now, change, &mut out);
    }
    let start = start.unwrap_or(now);
    let mut silent = Vec::new();
    if let Some(mut pipeline) = pipeline {
        pipeline.tick_until(clock::after(now, then).max(clock::after(start, until)), &mut out);
        silent = silence(&pipeline, &out.effects.notes, start);
    }
    Ok((start, out.messages, silent))
}

fn signalled(signals: &[Given], then: Duration, until: Duration, config: &Config) -> Told {
    let mut out = Output::default();
    let mut world = given::World::new(EPOCH);
    let (mut pipeline, _) = Pipeline::new(config, &Kind::ALL, EPOCH, Start::default());
    pipeline.begin(EPOCH, &world, &mut out);
    let tick_until = |pipeline: &mut Pipeline, world: &mut given::World, now, out: &mut Output| {
        while let Some(at) = pipeline.next_deadline().filter(|at| *at <= now) {
            world.set_now(at);
            pipeline.tick_in(at, world, out);
        }
        world.set_now(now);
    };
    let mut ordered: Vec<&Given> = signals.iter().collect();
    ordered.sort_by_key(|given| given.at);
    let mut last = EPOCH;
    for given in ordered {
        last = clock::after(EPOCH, given.at);
        tick_until(&mut pipeline, &mut world, last, &mut out);
        let signal = given::signal(given, last);
        let resolve_after = config.rules.first_match(&signal).map(|rule| rule.resolve_after);
        world.take(&signal, resolve_after.unwrap_or_default());
        pipeline.signal(last, &signal, &world, &mut out);
        if let Some(health) = given::health(&signal) {
            pipeline.signal(last, &health, &world, &mut out);
        }
    }
    let end = clock::after(last, then).max(clock::after(EPOCH, until));
    tick_until(&mut pipeline, &mut world, end, &mut out);
    let silent = silence(&pipeline, &out.effects.notes, EPOCH);
    (EPOCH, out.messages, silent)
}

/// Why something expected may not have been told.
fn silence(pipeline: &Pipeline, notes: &[Note], start: Timestamp) -> Vec<String> {
    let engine = pipeline.engine();
    let mut lines = Vec::new();
    for note in notes {
        let at = compare::short(clock::between(start, note.at));
        let by = note.detail.as_deref().map(|id| match engine.incident(id) {
            Some(holder) => format!(" {} {}", holder.rule, holder.workload),
            None => format!(" {id}"),
        });
        let (rule, workload) = (&note.rule, &note.workload);
        lines.push(format!("{at} {rule} {workload}: {}{}", note.reason, by.unwrap_or_default()));
    }
    let mut waiting: Vec<String> = engine
        .incidents()
        .filter(|incident| incident.state() == "pending")
        .map(|incident| format!("at the end {} {}: {}", incident.rule, incident.workload, Reason::NotYetFor))
        .collect();
    waiting.sort();
    lines.extend(waiting);
    if let Some(count) = engine.held_counts().get(&Reason::NoRule) {
        lines.push(format!("signals that no rule matches: {count}"));
    }
    lines
}
