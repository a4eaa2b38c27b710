//! The threads that own the connections, and group commit.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::StoreError;
use super::call::Job;
use super::fault::{Faults, Point};

/// At most this many jobs share a transaction…
const GROUP_JOBS: usize = 256;
/// …and none is added once one has been open for this long by the clock of the runtime, where there
/// is one: virtual time stands still meanwhile. Nobody waits for a group to fill: what
/// piles up during one flush makes the next group.
const GROUP_TIME: Duration = Duration::from_millis(5);

/// A connection at work.
pub(super) struct Session {
    pub conn: Connection,
    /// For error messages.
    pub path: PathBuf,
    /// Receivers that have new rows once this transaction is on disk.
    pub woken: BTreeSet<Arc<str>>,
}

impl Session {
    /// What is to be done before the connection is closed.
    pub fn close(&self) {
        self.conn.execute_batch("PRAGMA optimize").ok();
    }

    /// Turns an error of a statement into ours.
    pub fn error(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |error| StoreError::sqlite(doing, &path, error)
    }
}

/// Who waits for rows of which receiver.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<HashMap<Arc<str>, Arc<Notify>>>);

impl Wakers {
    /// Bounded by the number of receivers ever configured in this process.
    pub fn of(&self, receiver: &Arc<str>) -> Arc<Notify> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(map.entry(Arc::clone(receiver)).or_default())
    }

    /// For the end: whoever sleeps shall find out.
    pub fn wake_all(&self) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.values().for_each(|notify| notify.notify_one());
    }

    fn wake(&self, receivers: &BTreeSet<Arc<str>>) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in receivers.iter().filter_map(|r| map.get(r)) {
            notify.notify_one();
        }
    }
}

/// Serves jobs until the queue is closed and empty.
pub(super) fn write_loop(
    session: &mut Session,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    wakers: &Wakers,
    faults: &Faults,
) {
    while let Some(first) = queue.blocking_recv() {
        serve_group(session, first, queue, wakers, faults);
    }
}

/// Serves a job and what waits behind it in one transaction.
pub(super) fn serve_group(
    session: &mut Session,
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    wakers: &Wakers,
    faults: &Faults,
) {
    session.woken.clear();
    let mut group = vec![first];
    let outcome = transact(session, &mut group, queue, faults);
    if outcome.is_ok() {
        for job in &group {
            faults.at(Point::Committed, job.name());
        }
        wakers.wake(&session.woken);
    }
    for job in group {
        job.finish(outcome.clone());
    }
}

/// Runs the group, drawing more of what is queued into it, in one transaction.
fn transact(
    session: &mut Session,
    group: &mut Vec<Box<dyn Job>>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    faults: &Faults,
) -> Result<(), StoreError> {
    let result = run_group(session, group, queue, faults);
    if result.is_err() && !session.conn.is_autocommit() {
        // It failed already; if this fails too, the next BEGIN will say so.
        session.conn.execute_batch("ROLLBACK").ok();
    }
    result
}

fn run_group(
    session: &mut Session,
    group: &mut Vec<Box<dyn Job>>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    faults: &Faults,
) -> Result<(), StoreError> {
    session.conn.execute_batch("BEGIN IMMEDIATE").map_err(session.error("begin a transaction"))?;
    let begun = Instant::now();
    let mut done = 0;
    while let Some(job) = group.get_mut(done) {
        run_alone(session, job.as_mut())?;
        faults.at(Point::Applied, job.name());
        done += 1;
        if group.len() < GROUP_JOBS
            && begun.elapsed() < GROUP_TIME
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
    }
    for job in group.iter() {
        faults.at(Point::Committing, job.name());
    }
    session.conn.execute_batch("COMMIT").map_err(session.error("commit"))
}

/// One job inside the transaction. Its error undoes it alone, unless it made SQLite give up the
/// transaction (disk full, I/O error): then the whole group has failed.
fn run_alone(session: &mut Session, job: &mut dyn Job) -> Result<(), StoreError> {
    session.conn.execute_batch("SAVEPOINT job").map_err(session.error("begin a savepoint"))?;
    let result = job.run(session);
    if session.conn.is_autocommit() {
        return Err(result.err().unwrap_or(StoreError::Stopped));
    }
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    session.conn.execute_batch(end).map_err(session.error("end a savepoint"))
}

/// Serves queries, each in its own read transaction: several statements see one state.
pub(super) fn read_loop(session: &mut Session, queue: &Mutex<mpsc::Receiver<Box<dyn Job>>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(mut job) = next else { return };
        let outcome = session
            .conn
            .execute_batch("BEGIN DEFERRED")
            .map_err(session.error("begin to read"))
            .and_then(|()| job.run(session));
        if !session.conn.is_autocommit() {
            session.conn.execute_batch("ROLLBACK").ok();
        }
        job.finish(outcome);
    }
}
