//! The world: it outlives every life of the bot, and is passive: whoever touches it makes it move on.

mod faults;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use kubeherald::clock::Simulated;
use kubeherald::testkit::ApiServer;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance;
use super::plan::{ApiFault, DiskFault, Edge, Ms, Plan, ReceiverFault, Seam};
use super::record::Record;
use super::stories::Script;

/// So many operations without time passing are no progress any more.
const SAME_INSTANT: u64 = 20_000;
/// So many lists and watches of one resource within a minute end the run: it is lost already.
const REQUESTS_LOST: usize = 600;
/// Lines of the trace that are kept.
const TRACE_LINES: usize = 400_000;

pub struct World {
    pub plan: Arc<Plan>,
    pub script: Arc<Script>,
    pub server: Arc<ApiServer>,
    pub record: Mutex<Record>,
    state: Mutex<State>,
    /// Told when the process has to end.
    pub ended: Notify,
    /// Grows with everything that can be seen from outside.
    steps: AtomicU64,
    /// Where the kernel says how long the thread of this world has run.
    thread: Option<PathBuf>,
}

/// The worlds that there are, for whoever looks whether they go on.
static WORLDS: Mutex<Vec<Weak<World>>> = Mutex::new(Vec::new());

/// All worlds, each with how far it has come.
pub fn worlds() -> Vec<(Arc<World>, u64)> {
    let mut worlds = lock(&WORLDS);
    worlds.retain(|world| world.strong_count() > 0);
    let there = worlds.iter().filter_map(Weak::upgrade);
    there.map(|world| (Arc::clone(&world), world.steps.load(Ordering::Relaxed))).collect()
}

/// The hands of the world's clock.
#[derive(Debug, Clone)]
enum Time {
    /// Nobody lives: time passes by decree.
    Stands(Ms),
    /// A runtime measures it: what it was at which instant.
    Goes(Ms, Instant),
}

/// The kill that is to happen at an operation to come.
#[derive(Debug, Clone, Copy)]
struct Armed {
    item: usize,
    seam: Seam,
    left: u64,
    edge: Edge,
}

struct State {
    time: Time,
    life: usize,
    dead: bool,
    /// Why the process has to end, beside being killed.
    lost: bool,
    armed: Option<Armed>,
    /// What the last kill was.
    killed_by: Option<(usize, bool)>,
    clock: Option<Arc<Simulated>>,
    /// The API server's, which is right.
    servers: Option<Arc<Simulated>>,
    /// How far the wall clock is off while nobody lives.
    skew: SignedDuration,
    ppm: i32,
    api: Vec<(usize, ApiFault, Vec<String>)>,
    receivers: Vec<(usize, String, ReceiverFault)>,
    disk: Vec<(usize, DiskFault)>,
    counts: BTreeMap<String, u64>,
    last: (Ms, u64),
    trace: Trace,
}

/// A hash over everything that happened, and the last of it in words.
#[derive(Debug, Clone)]
pub struct Trace {
    pub hash: u64,
    pub count: u64,
    /// Kept where somebody wants to read it.
    pub lines: Option<Vec<String>>,
}

impl Trace {
    fn note(&mut self, at: Ms, text: &str) {
        for byte in at.to_le_bytes().iter().chain(text.as_bytes()) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.count += 1;
        if let Some(lines) = &mut self.lines
            && lines.len() < TRACE_LINES
        {
            lines.push(format!("{:>9.3} {text}", Duration::from_millis(at).as_secs_f64()));
        }
    }
}

/// An operation under way.
#[must_use]
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The process ends when it is over.
    dies: bool,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(plan: Arc<Plan>, script: Arc<Script>, server: Arc<ApiServer>, words: bool) -> Arc<Self> {
        let world = Arc::new(Self {
            steps: AtomicU64::new(0),
            thread: std::fs::read_link("/proc/thread-self").ok(),
            script,
            server,
            record: Mutex::default(),
            state: Mutex::new(State {
                time: Time::Stands(0),
                life: 0,
                dead: true,
                lost: false,
                armed: None,
                killed_by: None,
                clock: None,
                servers: None,
                skew: SignedDuration::ZERO,
                ppm: 0,
                api: Vec::new(),
                receivers: Vec::new(),
                disk: Vec::new(),
                counts: BTreeMap::new(),
                last: (0, 0),
                trace: Trace { hash: 0xcbf2_9ce4_8422_2325, count: 0, lines: words.then(Vec::new) },
            }),
            ended: Notify::new(),
            plan,
        });
        lock(&WORLDS).push(Arc::downgrade(&world));
        world
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    // === Time ===

    pub fn now(&self) -> Ms {
        self.state().now()
    }

    /// Time passes while nobody lives.
    pub fn pass_to(&self, at: Ms) {
        let mut state = self.state();
        if let Time::Stands(now) = state.time {
            state.drift(at.saturating_sub(now));
            state.time = Time::Stands(at.max(now));
        }
    }

    /// The machine sleeps: time passes that the runtime does not measure.
    pub fn sleep(&self, span: Ms) {
        let mut state = self.state();
        let (now, here) = (state.now(), Instant::now());
        state.time = Time::Goes(now + span, here);
        let by = i64::try_from(span).unwrap_or(0);
        state.step(by);
        if let Some(servers) = &state.servers {
            servers.step(SignedDuration::from_millis(by));
        }
    }

    /// The wall clock is set.
    pub fn step(&self, by: i64) {
        self.state().step(by);
        self.skewed();
    }

    pub fn drift(&self, ppm: i32) {
        let mut state = self.state();
        state.ppm = ppm;
        if let Some(clock) = &state.clock {
            clock.drift(ppm);
        }
        drop(state);
        self.skewed();
    }

    /// By how much the wall clock is wrong now, in milliseconds. A machine that slept is not wrong.
    pub fn skew(&self) -> i64 {
        let state = self.state();
        let shown = state
            .clock
            .as_ref()
            .map_or_else(|| super::cluster::wall(state.now()) + state.skew, |clock| clock.now());
        let wrong = shown.duration_since(super::cluster::wall(state.now()));
        i64::try_from(wrong.as_millis()).unwrap_or(0)
    }

    pub fn skewed(&self) {
        let (now, skew) = (self.now(), self.skew());
        lock(&self.record).skews.push((now, skew));
    }

    // === Lives ===

    /// Begins a life inside a runtime, with its clock and the API server's.
    pub fn begin_life(&self) -> (Arc<Simulated>, Arc<Simulated>) {
        let mut state = self.state();
        let now = state.now();
        let clock = Simulated::new(super::cluster::wall(now));
        clock.step(state.skew);
        clock.drift(state.ppm);
        state.time = Time::Goes(now, Instant::now());
        state.clock = Some(Arc::clone(&clock));
        let servers = Simulated::new(super::cluster::wall(now));
        state.servers = Some(Arc::clone(&servers));
        state.dead = false;
        state.last = (now, 0);
        let text = format!("the bot starts, life {}", state.life);
        state.note(&text);
        (clock, servers)
    }

    /// Must be called inside the runtime of the life.
    pub fn end_life(&self) {
        let mut state = self.state();
        let now = state.now();
        if let Some(clock) = state.clock.take() {
            // What it slept is true time as well.
            state.skew = clock.now().duration_since(super::cluster::wall(now));
        }
        state.time = Time::Stands(now);
        state.dead = true;
        state.life += 1;
        state.armed = None;
        state.note("the bot is gone");
    }

    pub fn life(&self) -> usize {
        self.state().life
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// From now on nothing that the process does changes anything.
    pub fn die(&self) {
        let mut state = self.state();
        state.dead = true;
        state.note("killed");
        drop(state);
        self.ended.notify_one();
    }

    pub fn arm(&self, item: usize, seam: Seam, nth: u64, edge: Edge) {
        if seam == Seam::Clock {
            self.state().killed_by = Some((item, true));
            self.die();
        } else {
            self.state().armed = Some(Armed { item, seam, left: nth.max(1), edge });
        }
    }

    /// Kills by time where no operation came.
    pub fn kill_if_armed(&self, item: usize) {
        let mut state = self.state();
        if state.dead || state.armed.is_none_or(|armed| armed.item != item) {
            return;
        }
        state.armed = None;
        state.killed_by = Some((item, false));
        drop(state);
        self.die();
    }

    /// The item of the plan that ended the last life, if one did, and whether it met its operation.
    pub fn take_killer(&self) -> Option<(usize, bool)> {
        self.state().killed_by.take()
    }

    /// The run cannot go on: what is known so far is judged.
    pub fn give_up(&self, check: &'static str, text: String) {
        let mut state = self.state();
        let now = state.now();
        if state.lost {
            return;
        }
        state.lost = true;
        state.note(&format!("given up: {text}"));
        drop(state);
        lock(&self.record).broken.push((now, check, text));
        self.die();
    }

    /// How long the thread of this world has run, where the system says so: on a busy machine that is little.
    pub fn ran(&self) -> Option<Duration> {
        let stat =
            std::fs::read_to_string(Path::new("/proc").join(self.thread.as_ref()?).join("stat")).ok()?;
        // After the name in brackets: user and system time are the 12th and 13th, in hundredths of a second.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        Some(Duration::from_millis((ticks()? + ticks()?) * 10))
    }

    /// Called from another thread: nothing has been seen of this world for long, and its time stands still.
    pub fn stuck(&self) {
        let mut state = self.state();
        let at = state.last.0;
        if !state.lost {
            state.lost = true;
            state.dead = true;
            let text = String::from("a loop goes round without time passing, and touches nothing outside");
            drop(state);
            lock(&self.record).broken.push((at, "progress", text));
            self.ended.notify_one();
        }
    }

    pub fn is_lost(&self) -> bool {
        self.state().lost
    }

    // === Operations at seams ===

    /// An operation begins. `None`: the process is dead, and it must never end.
    pub fn begin(&self, seam: Seam) -> Option<Operation> {
        let mut state = self.state();
        if state.dead {
            return None;
        }
        let now = state.now();
        self.steps.fetch_add(1, Ordering::Relaxed);
        state.last = if state.last.0 == now { (now, state.last.1 + 1) } else { (now, 0) };
        if state.last.1 > SAME_INSTANT {
            drop(state);
            self.give_up(
                "progress",
                format!("{SAME_INSTANT} operations without time passing, last at {seam:?}"),
            );
            return None;
        }
        let mut dies = false;
        if let Some(armed) = state.armed.as_mut().filter(|a| a.seam == Seam::Any || a.seam == seam) {
            armed.left -= 1;
            if armed.left == 0 {
                let Armed { item, edge, .. } = *armed;
                state.armed = None;
                state.killed_by = Some((item, true));
                if edge == Edge::Before {
                    drop(state);
                    self.die();
                    return None;
                }
                dies = true;
            }
        }
        Some(Operation { dies })
    }

    /// It has had its effect. `false`: the process is dead, and must not learn of it.
    #[must_use]
    pub fn end(&self, operation: Operation) -> bool {
        if operation.dies {
            self.die();
        }
        !self.is_dead()
    }

    /// The `nth` of its kind, counted over all lives.
    pub fn nth(&self, name: &str) -> u64 {
        let mut state = self.state();
        let count = state.counts.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// A latency between two bounds (ms), its own for each `nth` of a name.
    pub fn latency(&self, name: &str, nth: u64, from: Ms, to: Ms) -> Duration {
        Duration::from_millis(from + chance::below(self.plan.seed, name, nth, to - from))
    }

    // === Trace ===

    pub fn note(&self, text: &str) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.state().note(text);
    }

    pub fn trace(&self) -> Trace {
        self.state().trace.clone()
    }
}

impl State {
    fn now(&self) -> Ms {
        match &self.time {
            Time::Stands(at) => *at,
            Time::Goes(at, since) => at + Ms::try_from(since.elapsed().as_millis()).unwrap_or(0),
        }
    }

    fn step(&mut self, by: i64) {
        match &self.clock {
            Some(clock) => clock.step(SignedDuration::from_millis(by)),
            None => self.skew += SignedDuration::from_millis(by),
        }
    }

    fn drift(&mut self, passed: Ms) {
        let drifted = i128::from(passed) * i128::from(self.ppm) / 1_000_000;
        self.skew += SignedDuration::from_millis(i64::try_from(drifted).unwrap_or(0));
    }

    fn note(&mut self, text: &str) {
        let now = self.now();
        self.trace.note(now, text);
    }
}
