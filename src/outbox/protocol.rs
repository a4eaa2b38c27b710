//! What to do next, and what an outcome means: pure functions of rows, time and limits.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Backoff, ReceiverSpec};
use crate::notify::Outcome;
use crate::store::{Gate, HeadRow, Heads, Settle};

/// The longest that another side is believed when it asks to wait.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
pub const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The first pause of a receiver that refuses every message; twice as long each time it
/// refuses again…
pub const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// … up to this: so late, at most, is it noticed that it was mended. A credential that changes is noticed at
/// once.
pub const MAX_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A receiver that refused so often in a row, over three quarters of an hour at least, is not asked about each
/// row that grows too old: there may be more of them than it is asked in a day.
pub const REFUSES_FOR_GOOD: u32 = 8;
/// How much of a reason is kept.
const MAX_REASON: usize = 500;

/// What a dispatcher does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Claim this row and attempt it; its place in the rate limit is taken.
    Attempt(HeadRow),
    /// Make it a dead letter without an attempt.
    Bury { row: HeadRow, reason: String },
    /// Nothing before this has passed, unless new rows come.
    Wait(Duration),
    /// Nothing until new rows come.
    Idle,
}

/// The timing rules of one receiver.
#[derive(Debug, Clone)]
pub struct Rules {
    /// A row that waited longer is given up.
    pub max_age: Duration,
    pub backoff: Backoff,
    /// Under which name Retry-After is kept.
    pub gate: Arc<str>,
}

impl Rules {
    /// The rules of `spec`.
    pub fn of(spec: &ReceiverSpec, backoff: Backoff) -> Self {
        Self { max_age: spec.max_age, backoff, gate: spec.gate() }
    }

    /// What was queued no later than this is too old at `now`.
    pub fn born_after(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.max_age).unwrap_or(Timestamp::MIN)
    }

    fn expires(&self, queued_at: Timestamp) -> Timestamp {
        later(queued_at, self.max_age)
    }
}

/// So many attempts that were all cut off by the end of the process are enough to give up what is too old: more
/// of them could be what ends it.
const CUT_OFF_FOR_GOOD: u32 = 3;

/// Statement 2. `limit` is asked only where an attempt would be made: asking takes a place.
pub fn next(
    heads: &Heads,
    now: Timestamp,
    rules: &Rules,
    limit: impl FnOnce() -> Result<(), Duration>,
) -> Step {
    let Some(row) = &heads.due else {
        return heads.next_at.map_or(Step::Idle, |at| Step::Wait(until(now, at)));
    };
    // Before the gate: what is too old need not wait for being told so. What was never attempted is not
    // given up: it may look old only because the machine slept or its clock was set.
    if !row.probe && now >= rules.expires(row.queued_at) {
        // An attempt without a reason was cut off by the end of a process, and may have been the only one.
        if row.attempts >= CUT_OFF_FOR_GOOD || (row.attempts > 0 && !row.reason.is_empty()) {
            return Step::Bury { row: row.clone(), reason: too_old(rules.max_age, &row.reason) };
        }
        if heads.refused >= REFUSES_FOR_GOOD {
            let reason = too_old(rules.max_age, "the receiver refuses every message");
            return Step::Bury { row: row.clone(), reason };
        }
    }
    if let Some(wait) = held(heads, now) {
        return Step::Wait(wait);
    }
    match limit() {
        Ok(()) => Step::Attempt(row.clone()),
        Err(wait) => Step::Wait(wait),
    }
}

/// For how long nothing may be sent to the receiver at all.
pub fn held(heads: &Heads, now: Timestamp) -> Option<Duration> {
    let wait = until(now, heads.gate?);
    // A longer wait than was ever accepted means that the clock was set back since.
    (!wait.is_zero() && wait <= MAX_RETRY_AFTER).then_some(wait)
}

/// The pause after a receiver refused that had refused `before` times in a row.
pub fn pause(before: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32 << before.min(16)).min(MAX_PAUSE)
}

/// Statement 6: what becomes of a row whose attempt `number` (from 1) ended so at `now`. `refused`: how often
/// in a row the receiver had refused before.
pub fn after(
    outcome: Outcome,
    queued_at: Timestamp,
    (number, refused): (u32, u32),
    now: Timestamp,
    rules: &Rules,
    rng: &mut fastrand::Rng,
) -> Settle {
    match outcome {
        Outcome::Delivered { handle } => Settle::Delivered { handle },
        Outcome::Refused { reason } => {
            Settle::Refused { until: later(now, pause(refused)), reason: clip(reason) }
        }
        Outcome::Reject { reason } => Settle::Dead { reason: clip(reason) },
        Outcome::Retry { after, reason } => {
            let after = after.map(|a| a.clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER));
            let wait = after.unwrap_or_else(|| rules.backoff.delay(number, rng));
            // Not past its end: it is given up then, and what waits behind it goes on.
            let not_before = later(now, wait).min(rules.expires(queued_at).max(now));
            let gate = after.map(|a| Gate { name: Arc::clone(&rules.gate), until: later(now, a) });
            Settle::Retry { not_before, reason: clip(reason), gate }
        }
    }
}

fn too_old(max_age: Duration, last: &str) -> String {
    let age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    if last.is_empty() {
        format!("not delivered within {age:#}; no attempt was finished")
    } else {
        clip(format!("not delivered within {age:#}; last: {last}"))
    }
}

/// Reasons may quote what the other side said, which may be long.
fn clip(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// From `now` until `at`; zero if that has passed.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::at;

    fn rules() -> Rules {
        Rules { max_age: Duration::from_secs(3_600), backoff: Backoff::default(), gate: Arc::from("x") }
    }

    fn row() -> HeadRow {
        HeadRow {
            seq: 1,
            key: "k".into(),
            recipient: Arc::from(""),
            attempts: 0,
            queued_at: at(0),
            reason: String::new(),
            inside: None,
            probe: false,
            foldable: true,
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[allow(clippy::unnecessary_wraps, reason = "the shape of a limit")]
    fn free() -> Result<(), Duration> {
        Ok(())
    }

    fn unasked() -> Result<(), Duration> {
        panic!("the limit is not to be asked")
    }

    #[test]
    fn nothing_due() {
        let heads = Heads::default();
        assert_eq!(next(&heads, at(0), &rules(), unasked), Step::Idle);
        let heads = Heads { next_at: Some(at(30)), ..Heads::default() };
        assert_eq!(next(&heads, at(10), &rules(), unasked), Step::Wait(secs(20)));
    }

    #[test]
    fn a_due_row_goes_when_gate_and_limit_let_it() {
        let heads = Heads { due: Some(row()), ..Heads::default() };
        assert_eq!(next(&heads, at(0), &rules(), free), Step::Attempt(row()));
        assert_eq!(next(&heads, at(0), &rules(), || Err(secs(3))), Step::Wait(secs(3)));
        let heads = Heads { gate: Some(at(50)), ..heads };
        assert_eq!(next(&heads, at(20), &rules(), unasked), Step::Wait(secs(30)));
        assert_eq!(next(&heads, at(50), &rules(), free), Step::Attempt(row()));
        // The clock was set back by a day.
        assert_eq!(next(&heads, at(-86_400), &rules(), free), Step::Attempt(row()));
    }

    #[test]
    fn too_old_is_buried_even_behind_a_gate() {
        let cut_off = HeadRow { attempts: CUT_OFF_FOR_GOOD, ..row() };
        let heads = Heads { due: Some(cut_off.clone()), gate: Some(at(4_000)), ..Heads::default() };
        let reason = "not delivered within 1h; no attempt was finished".to_owned();
        assert_eq!(next(&heads, at(3_600), &rules(), unasked), Step::Bury { row: cut_off, reason });
        let tried = HeadRow { reason: "HTTP 503".into(), attempts: 9, ..row() };
        let heads = Heads { due: Some(tried.clone()), ..Heads::default() };
        let reason = "not delivered within 1h; last: HTTP 503".to_owned();
        assert_eq!(next(&heads, at(9_000), &rules(), unasked), Step::Bury { row: tried, reason });
    }

    #[test]
    fn what_shows_that_a_receiver_works_again_never_grows_too_old() {
        let probe = HeadRow { reason: "HTTP 503".into(), attempts: 9, probe: true, ..row() };
        let heads = Heads { due: Some(probe.clone()), refused: REFUSES_FOR_GOOD, ..Heads::default() };
        assert_eq!(next(&heads, at(900_000), &rules(), free), Step::Attempt(probe));
    }

    #[test]
    fn what_was_never_attempted_is_attempted_however_old_it_looks() {
        let heads = Heads { due: Some(row()), ..Heads::default() };
        assert_eq!(next(&heads, at(200_000), &rules(), free), Step::Attempt(row()));
        let cut_off = HeadRow { attempts: 1, ..row() };
        let heads = Heads { due: Some(cut_off.clone()), ..heads };
        assert_eq!(next(&heads, at(200_000), &rules(), free), Step::Attempt(cut_off));
        let heads = Heads { due: Some(row()), ..heads };
        let heads = Heads { gate: Some(at(200_010)), ..heads };
        assert_eq!(next(&heads, at(200_000), &rules(), unasked), Step::Wait(secs(10)));
        // Unless nothing was taken for so long that it would never be its turn.
        let heads = Heads { refused: REFUSES_FOR_GOOD - 1, ..heads };
        assert_eq!(next(&heads, at(200_000), &rules(), unasked), Step::Wait(secs(10)));
        let heads = Heads { refused: REFUSES_FOR_GOOD, ..heads };
        let reason = "not delivered within 1h; last: the receiver refuses every message".to_owned();
        assert_eq!(next(&heads, at(200_000), &rules(), unasked), Step::Bury { row: row(), reason });
    }

    #[test]
    fn outcomes() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut after = |outcome, number, now| after(outcome, at(0), (number, 0), now, &rules(), &mut rng);
        let handle = Some("h".to_owned());
        assert_eq!(
            after(Outcome::Delivered { handle: handle.clone() }, 1, at(0)),
            Settle::Delivered { handle }
        );
        assert_eq!(
            after(Outcome::Reject { reason: "no such channel".into() }, 1, at(0)),
            Settle::Dead { reason: "no such channel".into() }
        );
        let retry =
            |secs: Option<u64>| Outcome::Retry { after: secs.map(Duration::from_secs), reason: "r".into() };
        let Settle::Retry { not_before, gate: None, .. } = after(retry(None), 3, at(0)) else { panic!() };
        assert!(not_before > at(0) && not_before <= at(4), "{not_before}");
        // Retry-After holds the receiver; it is clamped to 1 s … 1 h.
        for (asked, given) in [(0, 1), (30, 30), (9_999, 3_600)] {
            let Settle::Retry { not_before, gate: Some(gate), .. } = after(retry(Some(asked)), 1, at(0))
            else {
                panic!()
            };
            assert_eq!((not_before, gate.until, &*gate.name), (at(given), at(given), "x"));
        }
        // Not past the row's end, and never back in time.
        let Settle::Retry { not_before, .. } = after(retry(Some(600)), 1, at(3_500)) else { panic!() };
        assert_eq!(not_before, at(3_600));
        let Settle::Retry { not_before, .. } = after(retry(Some(600)), 1, at(5_000)) else { panic!() };
        assert_eq!(not_before, at(5_000));
    }

    #[test]
    fn a_receiver_that_refuses_is_left_alone_longer_and_longer() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut until = |refused| {
            let outcome = Outcome::Refused { reason: "401".into() };
            match after(outcome, at(0), (9, refused), at(100), &rules(), &mut rng) {
                Settle::Refused { until, .. } => until.as_second() - at(100).as_second(),
                other => panic!("{other:?}"),
            }
        };
        let pauses = [0, 1, 2, 3, 4, 5, 6, 1_000, u32::MAX].map(&mut until);
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900, 900, 900]);
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let mut rng = fastrand::Rng::with_seed(1);
        let reason = "ü".repeat(10_000);
        let Settle::Dead { reason } =
            after(Outcome::Reject { reason }, at(0), (1, 0), at(0), &rules(), &mut rng)
        else {
            panic!()
        };
        assert_eq!(reason.chars().count(), MAX_REASON + 1);
    }
}
