//! Dispatchers that end before the process does.

use tokio::sync::Notify;

use super::*;

/// Takes everything; the first attempt only when it is let go.
#[derive(Clone, Default)]
struct Slow {
    go: Arc<Notify>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Deliver for Slow {
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let first = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(attempt.notification.key.clone());
            seen.len() == 1
        };
        if first {
            self.go.notified().await;
        }
        Outcome::Delivered { handle: None }
    }
}

fn outbox(store: &Store) -> Outbox {
    Outbox::new(store.clone(), clock(), policy())
}

#[tokio::test]
async fn handing_over_ends_the_attempt_under_way_and_repeats_nothing() {
    let store = Store::memory().unwrap();
    let outbox = outbox(&store);
    store.commit(rows(&[("a", "x", "t1"), ("b", "x", "t2"), ("c", "x", "t1")])).await.unwrap();
    let (stop, stop_mode) = (CancellationToken::new(), StopMode::default());
    let (old, new) = (Slow::default(), Script::default());
    let first = tokio::spawn(outbox.dispatcher(spec("x"), old.clone()).run(stop_mode.clone(), stop.clone()));
    until(async || !old.seen.lock().unwrap().is_empty()).await;
    stop_mode.hand_over();
    let second =
        tokio::spawn(outbox.dispatcher(spec("x"), new.clone()).run(StopMode::default(), stop.clone()));
    // Longer than a shutdown would leave it.
    tokio::time::sleep(policy().drain * 3).await;
    assert!(!first.is_finished(), "the attempt is not cut off");
    assert!(new.keys().is_empty(), "one at a time");
    old.go.notify_one();
    within(first).await.unwrap().unwrap();
    new.reached(2).await;
    assert_eq!(
        (old.seen.lock().unwrap().clone(), new.keys()),
        (vec!["a".into()], vec!["b".into(), "c".into()])
    );
    stop.cancel();
    within(second).await.unwrap().unwrap();
    let counters = outbox.counters().remove(0).1;
    assert_eq!(counters.interrupted.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn draining_ends_when_nothing_is_owed_any_more() {
    let store = Store::memory().unwrap();
    let outbox = outbox(&store);
    let wait = || retry(Some(Duration::from_secs(1)));
    let script = Script::default().on("a", [wait()]).on("b", [reject()]);
    store.commit(rows(&[("a", "x", "t1"), ("b", "x", "t2"), ("c", "x", "t1")])).await.unwrap();
    let (stop, stop_mode) = (CancellationToken::new(), StopMode::default());
    stop_mode.drain();
    let task = outbox.dispatcher(spec("x"), script.clone()).run(stop_mode, stop);
    within(task).await.unwrap();
    assert_eq!(script.keys(), ["a", "a", "b", "c"], "also what had to wait");
    // One that is idle is woken.
    let stop_mode = StopMode::default();
    let idle =
        tokio::spawn(outbox.dispatcher(spec("x"), script).run(stop_mode.clone(), CancellationToken::new()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!idle.is_finished());
    stop_mode.drain();
    within(idle).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_rate_limit_goes_on_where_the_last_dispatcher_left_it() {
    let store = Store::memory().unwrap();
    let outbox = outbox(&store);
    let limit = Limit { per: Duration::from_secs(3_600), messages: 1, burst: 3 };
    let slow = |limit| ReceiverSpec { limit, ..spec("x") };
    store.commit(rows(&[("a", "x", "t1"), ("b", "x", "t2")])).await.unwrap();
    let stop = CancellationToken::new();
    let first = StopMode::default();
    let script = Script::default();
    let task = tokio::spawn(outbox.dispatcher(slow(limit), script.clone()).run(first.clone(), stop.clone()));
    script.reached(2).await;
    first.hand_over();
    within(task).await.unwrap().unwrap();
    store.commit(rows(&[("c", "x", "t3"), ("d", "x", "t4")])).await.unwrap();
    let second = StopMode::default();
    let task = tokio::spawn(outbox.dispatcher(slow(limit), script.clone()).run(second.clone(), stop.clone()));
    script.reached(3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(script.keys(), ["a", "b", "c"], "three at once, over both");
    second.hand_over();
    within(task).await.unwrap().unwrap();
    // Another limit is another matter.
    let other = Limit { burst: 2, ..limit };
    let task =
        tokio::spawn(outbox.dispatcher(slow(other), script.clone()).run(StopMode::default(), stop.clone()));
    script.reached(4).await;
    stop.cancel();
    within(task).await.unwrap().unwrap();
}
