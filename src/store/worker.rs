//! The threads that own the connections, and group commit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::backend::{Backend, Opened, Woken};
use super::call::{Job, Lane};
use super::fault::{Faults, Point};
use super::health::Health;
use super::inline::Inline;
use super::{Driver, StoreError};

/// Jobs waiting for the writer; a full queue makes callers wait.
const WRITE_QUEUE: usize = 1024;
/// Queries waiting for a reader.
const READ_QUEUE: usize = 64;
/// At most this many jobs share a transaction…
const GROUP_JOBS: usize = 256;
/// …and none is added once one has been open for this long by the clock of the runtime, where there
/// is one: virtual time stands still meanwhile. Nobody waits for a group to fill: what
/// piles up during one flush makes the next group.
const GROUP_TIME: Duration = Duration::from_millis(5);

pub(super) type Queue = mpsc::Sender<Box<dyn Job>>;

/// The queues, and the threads that serve them.
pub(super) struct Workers {
    /// `None`: only for reading.
    writer: Option<Queue>,
    /// `None`: queries take their turn with the writes.
    reader: Option<Queue>,
    write_thread: Option<JoinHandle<()>>,
    read_threads: Vec<JoinHandle<()>>,
    pub inline: Option<Arc<Inline>>,
    pub health: Arc<Health>,
    pub wakers: Arc<Wakers>,
}

impl Workers {
    pub fn start(opened: Opened, driver: Driver, faults: &Faults, path: &Path) -> Result<Self, StoreError> {
        let Opened { writer, readers, health } = opened;
        let mut workers = Self {
            writer: None,
            reader: None,
            write_thread: None,
            read_threads: Vec::new(),
            inline: None,
            health,
            wakers: Arc::default(),
        };
        if !readers.is_empty() {
            let (reader, queue) = mpsc::channel(READ_QUEUE);
            let queue = Arc::new(Mutex::new(queue));
            for mut backend in readers {
                let queue = Arc::clone(&queue);
                let run = move || read_loop(&mut *backend, &queue);
                workers.read_threads.push(spawn("store-reader", path, run)?);
            }
            workers.reader = Some(reader);
        }
        let Some(backend) = writer else { return Ok(workers) };
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        workers.writer = Some(writer);
        let writer = Writer {
            queue,
            backend,
            health: Arc::clone(&workers.health),
            wakers: Arc::clone(&workers.wakers),
            faults: faults.clone(),
        };
        match driver {
            Driver::Inline => workers.inline = Some(Inline::start(writer, path)?),
            Driver::Threads => workers.write_thread = Some(spawn("store-writer", path, || writer.run())?),
        }
        Ok(workers)
    }

    pub fn is_stopped(&self) -> bool {
        self.health.is_damaged() || self.writer.as_ref().is_none_or(Queue::is_closed)
    }

    pub fn lane(&self, lane: Lane) -> Option<&Queue> {
        if self.health.is_damaged() {
            return None;
        }
        match lane {
            // What is kept in memory only its owner sees.
            Lane::Read if self.health.is_in_memory() => self.writer.as_ref(),
            Lane::Read => self.reader.as_ref().or(self.writer.as_ref()),
            Lane::Write => self.writer.as_ref(),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Readers first: the last connection to close folds the write-ahead log into the file, and
        // only the writer can. A thread that panicked has nothing left to finish.
        drop(self.reader.take());
        for thread in self.read_threads.drain(..) {
            thread.join().ok();
        }
        drop(self.writer.take());
        if let Some(inline) = self.inline.take() {
            inline.finish();
        }
        if let Some(thread) = self.write_thread.take() {
            thread.join().ok();
        }
    }
}

fn spawn(name: &str, path: &Path, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    Builder::new().name(name.to_owned()).spawn(run).map_err(|error| StoreError::Open {
        path: path.to_path_buf(),
        why: format!("cannot start a thread: {error}"),
        help: "check the process's thread limit",
    })
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

    fn wake_all(&self) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.values().for_each(|notify| notify.notify_one());
    }

    fn wake(&self, receivers: &Woken) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in receivers.iter().filter_map(|r| map.get(r)) {
            notify.notify_one();
        }
    }
}

/// What the writer owns, in the order in which it is dropped: no new jobs, then the database closed and free
/// for its next owner.
pub(super) struct Writer {
    pub queue: mpsc::Receiver<Box<dyn Job>>,
    backend: Box<dyn Backend>,
    pub health: Arc<Health>,
    wakers: Arc<Wakers>,
    faults: Faults,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who sleeps until new rows come would sleep for ever: awake, it asks again, and finds it closed.
        self.queue.close();
        self.wakers.wake_all();
    }
}

impl Writer {
    /// Serves jobs until the queue is closed and empty, or the database is found damaged.
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            self.serve(first);
            if self.health.is_damaged() {
                break;
            }
        }
        self.backend.close();
    }

    /// Serves all that waits, and closes the database.
    pub fn finish(mut self) {
        self.serve_all();
        self.backend.close();
    }

    pub fn serve_all(&mut self) {
        while let Ok(job) = self.queue.try_recv() {
            self.serve(job);
        }
    }

    /// Serves a job and, where it shares its transaction, what waits behind it.
    pub fn serve(&mut self, first: Box<dyn Job>) {
        let Self { queue, backend, wakers, faults, .. } = self;
        let mut next = Some(first);
        while let Some(mut job) = next.take() {
            if job.is_alone() {
                let outcome = backend.alone(&mut |backend| job.run(backend));
                job.finish(outcome);
                continue;
            }
            let mut group = vec![job];
            let mut drawn = Drawn::More(&mut next);
            let outcome = backend.transaction(&mut |backend| {
                let result = run_group(backend, &mut group, &mut drawn, queue, faults);
                // What is run again is run with the same jobs.
                drawn = Drawn::Enough;
                result
            });
            if let Ok(woken) = &outcome {
                for job in &group {
                    faults.at(Point::Committed, job.name());
                }
                wakers.wake(woken);
            }
            for job in group {
                job.finish(outcome.as_ref().map(|_| ()).map_err(Clone::clone));
            }
        }
    }
}

/// May a group grow? A job that runs alone ends it and is next.
enum Drawn<'a> {
    More(&'a mut Option<Box<dyn Job>>),
    Enough,
}

fn run_group(
    backend: &mut dyn Backend,
    group: &mut Vec<Box<dyn Job>>,
    drawn: &mut Drawn<'_>,
    queue: &mut mpsc::Receiver<Box<dyn Job>>,
    faults: &Faults,
) -> Result<(), StoreError> {
    let begun = Instant::now();
    let mut done = 0;
    while let Some(job) = group.get_mut(done) {
        backend.nested(&mut |backend| job.run(backend))?;
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
    Ok(())
}

/// Serves queries, each in a snapshot of its own.
fn read_loop(backend: &mut dyn Backend, queue: &Mutex<mpsc::Receiver<Box<dyn Job>>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(mut job) = next else { return };
        let outcome = backend.snapshot(&mut |backend| job.run(backend));
        job.finish(outcome);
    }
}
