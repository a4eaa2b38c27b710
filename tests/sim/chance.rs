//! Chance that repeats: every draw is named by what it is for, so a plan that loses an item keeps all
//! draws of the others. One stream for everything would make a different run of each shrunk plan.

/// splitmix64's finalizer.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number made of a seed, a name and a place in the order of that name.
pub fn draw(seed: u64, name: &str, nth: u64) -> u64 {
    let mut state = mix(seed);
    for byte in name.bytes() {
        state = mix(state ^ u64::from(byte));
    }
    mix(state ^ nth.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// Such a number below `end`; 0 if `end` is.
pub fn below(seed: u64, name: &str, nth: u64, end: u64) -> u64 {
    draw(seed, name, nth).checked_rem(end).unwrap_or(0)
}

/// A stream of draws, for the generator alone: what it makes is kept, not how.
#[derive(Debug, Clone)]
pub struct Stream {
    seed: u64,
    nth: u64,
}

impl Stream {
    pub const fn new(seed: u64) -> Self {
        Self { seed, nth: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.nth += 1;
        draw(self.seed, "plan", self.nth)
    }

    /// From `from` up to but without `to`.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next().checked_rem(to.saturating_sub(from)).unwrap_or(0)
    }

    /// `true` once in `of` times.
    pub fn once_in(&mut self, of: u64) -> bool {
        self.range(0, of) == 0
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        let place = usize::try_from(self.range(0, from.len() as u64)).unwrap_or(0);
        &from[place]
    }
}
