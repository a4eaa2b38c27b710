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
use super::health::Health;
use super::trouble::{Keeper, Tried};

/// At most this many jobs share a transaction…
const GROUP_JOBS: usize = 256;
/// …and none is added once one has been open for this long by the clock of the runtime, where there
/// is one: virtual time stands still meanwhile. Nobody waits for a group to fill: what
/// piles up during one flush makes the next group.
const GROUP_TIME: Duration = Duration::from_millis(5);

/// A connection at work.
pub(super) struct Session {
    pub conn: Connection,
    pub path: PathBuf,
    /// Receivers that have new rows once this transaction is on disk.
    pub woken: BTreeSet<Arc<str>>,
    /// What is done when the disk fails; `None`: errors are returned.
    pub keeper: Option<Keeper>,
    /// Shared with whoever looks at the store.
    pub health: Arc<Health>,
}

impl Session {
    /// What is to be done before the connection is closed.
    pub fn close(&mut self) {
        if self.health.is_in_memory() {
            // The last chance for what is only in memory.
            self.mend();
        }
        self.conn.execute_batch("PRAGMA optimize").ok();
    }

    /// Turns an error of a statement into ours.
    pub fn error(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |error| StoreError::sqlite(doing, &path, error)
    }

    /// Runs `work` in a transaction of its own.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.begin()?;
        let result = work(self).and_then(|value| {
            self.conn.execute_batch("COMMIT").map_err(self.error("commit"))?;
            Ok(value)
        });
        self.roll_back_unless_done();
        result
    }

    fn begin(&self) -> Result<(), StoreError> {
        // While changes are kept in memory only, nothing is to be written to the file.
        let begin = if self.health.is_in_memory() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        self.conn.execute_batch(begin).map_err(self.error("begin a transaction"))
    }

    fn roll_back_unless_done(&self) {
        if !self.conn.is_autocommit() {
            // It failed already; if this fails too, the next BEGIN will say so.
            self.conn.execute_batch("ROLLBACK").ok();
        }
    }

    /// Runs `work` again as long as something can be done about the disk trouble that it met.
    pub fn insist<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tried = Tried::default();
        loop {
            match work(self) {
                Err(error) if self.remedy(&error, &mut tried) => {}
                done => return done,
            }
        }
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

/// Serves jobs until the queue is closed and empty, or the file is found damaged.
pub(super) fn write_loop(
    session: &mut Session,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    wakers: &Wakers,
    faults: &Faults,
) {
    while let Some(first) = queue.blocking_recv() {
        serve(session, first, queue, wakers, faults);
        if session.health.is_damaged() {
            return;
        }
    }
}

/// Serves a job and, where it shares its transaction, what waits behind it.
pub(super) fn serve(
    session: &mut Session,
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    wakers: &Wakers,
    faults: &Faults,
) {
    let mut next = Some(first);
    while let Some(mut job) = next.take() {
        session.woken.clear();
        if job.is_alone() {
            let outcome = session.insist(|s| job.run(s));
            session.roll_back_unless_done();
            job.finish(outcome);
            continue;
        }
        let mut group = vec![job];
        let mut drawn = Drawn::More(&mut next);
        let outcome = session.insist(|s| {
            s.woken.clear();
            let result = run_group(s, &mut group, &mut drawn, queue, faults);
            s.roll_back_unless_done();
            // What is run again is run with the same jobs.
            drawn = Drawn::Enough;
            result
        });
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
    session.measure_memory();
}

/// May a group grow? A job that runs alone ends it and is next.
enum Drawn<'a> {
    More(&'a mut Option<Box<dyn Job>>),
    Enough,
}

fn run_group(
    session: &mut Session,
    group: &mut Vec<Box<dyn Job>>,
    drawn: &mut Drawn<'_>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    faults: &Faults,
) -> Result<(), StoreError> {
    session.begin()?;
    let begun = Instant::now();
    let mut done = 0;
    while let Some(job) = group.get_mut(done) {
        run_alone(session, job.as_mut())?;
        faults.at(Point::Applied, job.name());
        done += 1;
        if let Drawn::More(after) = drawn
            && after.is_none()
            && group.len() < GROUP_JOBS
            && begun.elapsed() < GROUP_TIME
            && let Ok(next) = queue.try_recv()
        {
            if next.is_alone() {
                **after = Some(next);
            } else {
                group.push(next);
            }
        }
    }
    for job in group.iter() {
        faults.at(Point::Committing, job.name());
    }
    session.conn.execute_batch("COMMIT").map_err(session.error("commit"))
}

/// One job inside the transaction. Its error undoes it alone, unless the disk is the trouble or
/// SQLite gave up the transaction: then the whole group has failed.
fn run_alone(session: &mut Session, job: &mut dyn Job) -> Result<(), StoreError> {
    session.conn.execute_batch("SAVEPOINT job").map_err(session.error("begin a savepoint"))?;
    let result = job.run(session);
    if session.conn.is_autocommit() {
        return Err(result.err().unwrap_or(StoreError::Stopped));
    }
    if let Err(error) = &result
        && error.trouble().is_some()
    {
        return Err(error.clone());
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
        session.roll_back_unless_done();
        if let Err(error) = &outcome {
            session.note_damage(error);
        }
        job.finish(outcome);
    }
}
