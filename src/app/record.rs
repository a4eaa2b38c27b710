//! Records a live cluster: what is watched, masked, as a file that `replay` and `test` read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, moved};
use crate::recording::LineKind;
use crate::recording::mask::Masker;
use crate::recording::writer::{Full, RecordingWriter};
use crate::watch::Kind;
use crate::watch::stream::whole::{self, Part, Whole};
use crate::watch::stream::{Tuning, WatchStatus};

/// How often what is waiting is written: what a killed process loses.
const FLUSH: Duration = Duration::from_secs(2);
/// A kind that could not be listed for so long is left out, so that the others can begin.
const LISTS: Duration = Duration::from_secs(60);
/// Clocks that differ by less are taken for equal; `Date` has whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

pub struct Options {
    pub client: kube::Client,
    /// Only these namespaces, with the nodes; empty: all.
    pub namespaces: Vec<String>,
    pub masker: Masker,
    pub clock: Clock,
    pub tuning: Tuning,
}

/// Why a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Asked,
    /// The file is as large as it may be.
    Full,
}

/// What was recorded.
#[derive(Debug)]
pub struct Summary {
    pub ended: Ended,
    /// From the first line to the last.
    pub span: SignedDuration,
    pub lines: u64,
    pub bytes: u64,
    /// Kinds that could not be listed, and why.
    pub unreadable: BTreeMap<Kind, String>,
    /// How far this machine's clock is ahead of the API server's, where it differs: times are recorded by
    /// the server's.
    pub ahead: Option<SignedDuration>,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot write the recording: {0}")]
    Write(#[from] io::Error),
    #[error("no kind of objects can be read; the first reason: {0}")]
    Nothing(String),
}

/// Records until `stop`, or until the file is full. `news` is told once, when all lists are complete.
pub async fn record(
    options: Options,
    writer: RecordingWriter,
    stop: CancellationToken,
    news: impl FnOnce(&BTreeMap<Kind, String>),
) -> Result<Summary, RecordError> {
    let Options { client, namespaces, masker, clock, tuning } = options;
    let parts = Part::of(&namespaces);
    let status = WatchStatus::with_clock(&Kind::ALL, &clock);
    let (tx, mut rx) = mpsc::channel(whole::CAPACITY);
    let (cancel, go) = (CancellationToken::new(), CancellationToken::new());
    let _end = cancel.clone().drop_guard();
    let _tasks = whole::spawn(&client, &parts, &tx, &status, (&cancel, &go), &tuning);
    drop(tx);
    let waiting = (0..parts.len()).collect();
    let mut state = Recorder {
        parts,
        status,
        clock,
        masker,
        writer,
        waiting,
        go,
        began: None,
        last: None,
        ahead: None,
        unreadable: BTreeMap::new(),
    };
    let mut news = Some(news);
    let mut flush = tokio::time::interval(FLUSH);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut late = Some(Instant::now() + LISTS);
    let ended = loop {
        let full = tokio::select! {
            biased;
            () = stop.cancelled() => break Ended::Asked,
            _ = flush.tick() => state.writer.flush()?,
            () = at(late) => {
                late = None;
                state.give_up()?
            }
            change = rx.recv() => match change {
                Some((number, whole)) => state.change(number, whole)?,
                None => break Ended::Asked,
            },
        };
        if full == Err(Full) {
            break Ended::Full;
        }
        if state.go.is_cancelled() && news.is_some() {
            late = None;
            if state.unreadable.len() == Kind::ALL.len() {
                return Err(RecordError::Nothing(state.unreadable.into_values().next().unwrap_or_default()));
            }
            if let Some(news) = news.take() {
                news(&state.unreadable);
            }
        }
    };
    state.end(ended)
}

/// Never, without a time.
async fn at(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Recorder {
    parts: Vec<Part>,
    status: Arc<WatchStatus>,
    clock: Clock,
    masker: Masker,
    writer: RecordingWriter,
    /// Parts whose first list is not complete.
    waiting: BTreeSet<usize>,
    /// All lists are complete: watches go on.
    go: CancellationToken,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Measured when the first object came.
    ahead: Option<SignedDuration>,
    unreadable: BTreeMap<Kind, String>,
}

type Written = Result<Result<(), Full>, RecordError>;

impl Recorder {
    fn change(&mut self, number: usize, whole: Whole) -> Written {
        let (kind, object) = match whole {
            Whole::Added(object) => (LineKind::Added, object),
            Whole::Modified(object) => (LineKind::Modified, object),
            Whole::Deleted(object) => (LineKind::Deleted, object),
            Whole::Listed => return self.listed(number),
            Whole::Unreadable { why, forbidden } => {
                if let Some(part) = self.parts.get(number).filter(|_| self.waiting.contains(&number)) {
                    self.unreadable.insert(part.kind, why);
                    if forbidden {
                        return self.listed_without(number);
                    }
                }
                return Ok(Ok(()));
            }
        };
        let mut json = object.json;
        self.masker.object(&mut json);
        self.line(kind, Some(&json))
    }

    fn listed(&mut self, number: usize) -> Written {
        if let Some(part) = self.parts.get(number) {
            self.unreadable.remove(&part.kind);
        }
        self.listed_without(number)
    }

    fn listed_without(&mut self, number: usize) -> Written {
        if !self.waiting.remove(&number) || !self.waiting.is_empty() {
            return Ok(Ok(()));
        }
        self.synced()
    }

    /// Lists that are not complete by now will not hold up the others.
    fn give_up(&mut self) -> Written {
        if self.go.is_cancelled() {
            return Ok(Ok(()));
        }
        for number in std::mem::take(&mut self.waiting) {
            if let Some(part) = self.parts.get(number) {
                self.unreadable.entry(part.kind).or_insert_with(|| "its list is not complete".to_owned());
            }
        }
        self.synced()
    }

    fn synced(&mut self) -> Written {
        self.go.cancel();
        match self.line(LineKind::Synced, None)? {
            Ok(()) => Ok(self.writer.flush()?),
            full => Ok(full),
        }
    }

    /// Times are the server's, as those in objects are: whoever replays knows no other clock.
    fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        let ahead = *self.ahead.get_or_insert_with(|| {
            let Some(time) = self.status.server_time() else { return SignedDuration::ZERO };
            let since = self.clock.unscaled(time.answered.elapsed());
            let ahead = crate::clock::before(now, since).duration_since(time.date);
            if ahead.abs() < SKEW { SignedDuration::ZERO } else { ahead }
        });
        moved(now, -ahead)
    }

    fn line(&mut self, kind: LineKind, object: Option<&Value>) -> Written {
        let now = self.now();
        // The wall clock may be set back.
        let at = self.last.map_or(now, |last| last.max(now));
        self.began.get_or_insert(at);
        self.last = Some(at);
        Ok(self.writer.line(at, kind, object)?)
    }

    fn end(mut self, ended: Ended) -> Result<Summary, RecordError> {
        let mut ended = ended;
        if ended == Ended::Asked && self.began.is_some() {
            // Up to here nothing more came.
            let last = self.line(LineKind::Bookmark, None)?;
            if last.and(self.writer.flush()?).is_err() {
                ended = Ended::Full;
            }
        }
        let span = self.began.zip(self.last).map(|(began, last)| last.duration_since(began));
        Ok(Summary {
            ended,
            span: span.unwrap_or_default(),
            lines: self.writer.lines(),
            bytes: self.writer.written(),
            unreadable: self.unreadable,
            ahead: self.ahead.filter(|ahead| !ahead.is_zero()),
        })
    }
}
