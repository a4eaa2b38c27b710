//! Reads the log of the run of a container that ended.
//!
//! Which log that is, the API server does not say. While a container waits for its next run, its
//! current log is that of the run that ended, and `previous` is the one before, mostly gone already;
//! once the next run has begun, `previous` is the one that ended. So the pod is asked before, for
//! which of the two, and after, for whether that still holds; what moved meanwhile is asked for once
//! more. A status may lag behind its kubelet: the time stamps in front of the lines have the last
//! word ([`log::read`]). If it cannot be known, there is no log: one of another run would be worse.
//!
//! Three small requests for each log, bounded in bytes; the caller bounds them in time and number.

mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use kube::core::subresource::LogParams;

use self::status::{Ended, Status};
use crate::signal::log::{self, LogTail, NoTail};
use crate::signal::redact::Redactor;

/// More of one log is not asked for. So many lines of the usual longest (16 KiB) fit.
const MAX_BYTES: usize = 1024 * 1024;
/// Where the lines are longer: the last few are better than none.
const FEW_LINES: u32 = 8;
/// A pod may be so large: etcd takes no larger request.
const MAX_POD: usize = 3 * 1024 * 1024;
/// How often a status that moved while its log was read is followed.
const TRIES: usize = 2;

/// Whose log, and how much of it.
#[derive(Debug, Clone)]
pub struct LogRequest {
    pub namespace: Arc<str>,
    pub pod: Arc<str>,
    /// It, and no other of its name.
    pub uid: Arc<str>,
    pub container: Arc<str>,
    /// Only a run that ended so.
    pub run: WhichRun,
    pub tail: LogTail,
    pub redactor: Redactor,
}

/// Which run is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichRun {
    /// The last one that ended, however it did.
    Last,
    Failed,
    /// One that ended for want of memory. Some runtimes tell the kill alone (exit code 137).
    Killed,
    /// One that ended after this moment.
    EndedAfter(Timestamp),
}

/// Why a message goes without the log it should have, or that it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogOutcome {
    Added,
    /// The log came when the message was on its way already.
    Late,
    /// Too many others were being read.
    Crowded,
    /// It was not read in time.
    Timeout,
    /// `pods/log` may not be read.
    Forbidden,
    /// The pod is gone.
    Gone,
    /// The container has no run that ended like that.
    NoRun,
    /// The container went on while its log was read, again and again; or the lines are of another run.
    Moved,
    /// The run wrote nothing.
    Empty,
    /// The node has no log of that run any more.
    Unavailable,
    /// Its lines are too long.
    TooLong,
    /// The API server did not answer, or refused for another reason.
    Failed,
}

impl LogOutcome {
    pub const ALL: &'static [Self] = &[
        Self::Added,
        Self::Late,
        Self::Crowded,
        Self::Timeout,
        Self::Forbidden,
        Self::Gone,
        Self::NoRun,
        Self::Moved,
        Self::Empty,
        Self::Unavailable,
        Self::TooLong,
        Self::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Late => "late",
            Self::Crowded => "crowded",
            Self::Timeout => "timeout",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::NoRun => "no_run",
            Self::Moved => "moved",
            Self::Empty => "empty",
            Self::Unavailable => "unavailable",
            Self::TooLong => "too_long",
            Self::Failed => "failed",
        }
    }
}

/// How often which outcome was.
#[derive(Debug, Default)]
pub struct LogStats([AtomicU64; LogOutcome::ALL.len()]);

impl LogStats {
    pub fn count(&self, outcome: LogOutcome) {
        let place = LogOutcome::ALL.iter().position(|o| *o == outcome);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> Vec<(LogOutcome, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        LogOutcome::ALL.iter().copied().zip(counts).collect()
    }
}

/// A log that was not read.
#[derive(Debug, thiserror::Error)]
#[error("{}", .detail)]
pub struct NoLog {
    pub outcome: LogOutcome,
    /// Why, for people. Nothing of the log.
    pub detail: String,
}

impl NoLog {
    fn new(outcome: LogOutcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }
}

/// Reads the last lines of the log of the run that ended, fit to be shown.
pub async fn read(client: &kube::Client, ask: &LogRequest) -> Result<Arc<str>, NoLog> {
    if ![&ask.namespace, &ask.pod, &ask.container].into_iter().all(|name| is_dns(name)) {
        return Err(NoLog::new(LogOutcome::Gone, "no such name is possible"));
    }
    let mut before = ended(client, ask).await?;
    for _ in 0..TRIES {
        let read = tail(client, ask, &before).await;
        if let Err(NoLog { outcome: LogOutcome::Forbidden | LogOutcome::Failed, .. }) = read {
            return read;
        }
        let after = ended(client, ask).await?;
        if after == before {
            return read;
        }
        before = after;
    }
    Err(NoLog::new(LogOutcome::Moved, "the container went on while its log was read"))
}

/// Names are put into addresses.
fn is_dns(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The run that ended, as the pod shows it now.
async fn ended(client: &kube::Client, ask: &LogRequest) -> Result<Ended, NoLog> {
    let path = format!("/api/v1/namespaces/{}/pods/{}", ask.namespace, ask.pod);
    let request = Request::get(path).body(Body::empty()).map_err(|e| failed(&e))?;
    let answer = exchange(client, request, MAX_POD).await?;
    if !answer.status.is_success() {
        return Err(answer.refused("the pod"));
    }
    let pod: Status = serde_json::from_slice(&answer.end).map_err(|e| failed(&e))?;
    if pod.metadata.uid != *ask.uid {
        return Err(NoLog::new(LogOutcome::Gone, "another pod has its name"));
    }
    let run = pod.ended(&ask.container).filter(|run| run.is(ask.run));
    run.ok_or_else(|| NoLog::new(LogOutcome::NoRun, "no such run of the container has ended"))
}

async fn tail(client: &kube::Client, ask: &LogRequest, run: &Ended) -> Result<Arc<str>, NoLog> {
    for lines in [ask.tail.to_read(), FEW_LINES] {
        let params = LogParams {
            container: Some(ask.container.to_string()),
            previous: run.previous,
            tail_lines: Some(lines.into()),
            // Cuts the end off, not the beginning.
            limit_bytes: i64::try_from(MAX_BYTES).ok(),
            timestamps: true,
            ..LogParams::default()
        };
        let pods = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", ask.namespace));
        let request = pods.logs(&ask.pod, &params).map_err(|e| failed(&e))?.map(Body::from);
        let answer = exchange(client, request, log::WINDOW).await?;
        if !answer.status.is_success() {
            return Err(answer.refused("the log"));
        }
        // "Slightly more or slightly less" says the API.
        if answer.length + 1024 >= MAX_BYTES {
            continue;
        }
        let cut = answer.length > answer.end.len();
        return log::read(&answer.end, cut, run.span, ask.tail, &ask.redactor).map_err(|none| match none {
            NoTail::Empty => NoLog::new(LogOutcome::Empty, "the run wrote nothing"),
            NoTail::NoLog => NoLog::new(LogOutcome::Unavailable, "the node has no log of that run"),
            NoTail::OtherRun => NoLog::new(LogOutcome::Moved, "the log is of another run"),
        });
    }
    Err(NoLog::new(LogOutcome::TooLong, "the last lines are too long"))
}

/// The end of what was answered.
struct Answer {
    status: StatusCode,
    /// How long it was.
    length: usize,
    end: Vec<u8>,
}

impl Answer {
    fn refused(&self, what: &str) -> NoLog {
        let outcome = match self.status {
            StatusCode::FORBIDDEN => LogOutcome::Forbidden,
            StatusCode::NOT_FOUND => LogOutcome::Gone,
            // The kubelet knows of no such run, or the container is not that far.
            StatusCode::BAD_REQUEST => LogOutcome::Unavailable,
            _ => LogOutcome::Failed,
        };
        NoLog::new(outcome, format!("asked for {what}, the API server answered {}", self.status.as_u16()))
    }
}

/// Keeps the last `keep` bytes of the answer, and does not read on past [`MAX_BYTES`] of it, give or
/// take: a server that ignores the limit is not followed.
async fn exchange(client: &kube::Client, request: Request<Body>, keep: usize) -> Result<Answer, NoLog> {
    let answer = client.send(request).await.map_err(|e| failed(&e))?;
    let status = answer.status();
    let mut body = answer.into_body();
    let (mut length, mut end) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| failed(&e))?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        end.extend_from_slice(data);
        if end.len() > 2 * keep {
            end.drain(..end.len() - keep);
        }
        if length > keep.max(2 * MAX_BYTES) {
            break;
        }
    }
    end.drain(..end.len().saturating_sub(keep));
    Ok(Answer { status, length, end })
}

fn failed(error: &dyn std::error::Error) -> NoLog {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        detail = format!("{detail}: {error}");
        source = error.source();
    }
    NoLog::new(LogOutcome::Failed, detail)
}
