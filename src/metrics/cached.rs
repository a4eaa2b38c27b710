//! One answer for all who ask within a moment.

use std::fmt;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer that is asked for anew when it is old; one asks, the others wait for it.
pub(crate) struct Cached<T> {
    max_age: Duration,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Cached<T> {
    pub fn new(max_age: Duration) -> Self {
        Self { max_age, last: Mutex::new(None) }
    }

    /// The last answer, or a new one. `ask` must end by itself.
    pub async fn get<F: Future<Output = T>>(&self, ask: impl FnOnce() -> F) -> T {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < self.max_age
        {
            return answer.clone();
        }
        let answer = ask().await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asks_once_for_many_and_again_when_old() {
        let cached = Cached::new(Duration::from_secs(5));
        let asked = AtomicU32::new(0);
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.fetch_add(1, Ordering::Relaxed) + 1
        };
        let both = tokio::join!(cached.get(ask), cached.get(ask));
        assert_eq!(both, (1, 1));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(cached.get(ask).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get(ask).await, 2);
    }
}
