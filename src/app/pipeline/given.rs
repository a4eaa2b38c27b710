//! Signals by themselves, in a world that is not the memory: how tests of rules drive the engine.

use jiff::Timestamp;

use super::{Output, Pipeline};
use crate::signal::{Signal, World};

impl Pipeline {
    /// Begins with a cluster in which everything is well.
    pub fn begin(&mut self, now: Timestamp, world: &dyn World, out: &mut Output) {
        self.engine.synced(now, world, &mut out.effects);
        self.settle(out);
    }

    /// Takes one signal in. What is due before it has to be done before: [`Self::tick_in`].
    pub fn signal(&mut self, now: Timestamp, signal: &Signal, world: &dyn World, out: &mut Output) {
        self.engine.signal(now, signal, world, &mut out.effects);
        self.settle(out);
    }

    /// Does what is due at `now`.
    pub fn tick_in(&mut self, now: Timestamp, world: &dyn World, out: &mut Output) {
        self.engine.tick(now, world, &mut out.effects);
        self.settle(out);
    }
}
