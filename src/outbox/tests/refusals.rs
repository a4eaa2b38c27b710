//! A receiver that refuses every message.

use super::*;
use crate::clock::Simulated;

/// Lets `seconds` pass, and wakes the dispatcher: nothing is sent to it by that.
async fn pass(bench: &Bench, clock: &Simulated, seconds: i64) {
    clock.step(jiff::SignedDuration::from_secs(seconds));
    for _ in 0..10 {
        bench.store.wakeups(&Arc::from("x")).notify_one();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// With a clock that the test moves.
fn bench(store: Store) -> (Bench, Arc<Simulated>) {
    let clock = Simulated::new(crate::clock::now());
    let outbox = Outbox::new(store.clone(), Clock::Simulated(Arc::clone(&clock)), policy());
    (Bench { store, outbox, stop: CancellationToken::new(), tasks: Vec::new() }, clock)
}

#[tokio::test]
async fn it_is_left_alone_longer_and_longer_and_everything_arrives_in_the_end() {
    let (mut bench, by) = bench(Store::memory().unwrap());
    let script = Script::default().on("a1", [refused(), refused(), refused()]).on("b1", [refused()]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("a2", "x", "a"), ("b1", "x", "b")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    pass(&bench, &by, 25).await;
    assert_eq!(script.keys(), ["a1"], "nothing is sent meanwhile");
    let refusal = bench.outbox.refusals().remove("x").unwrap();
    assert_eq!((refusal.attempts, refusal.reason.as_str()), (1, "401"));
    pass(&bench, &by, 10).await;
    // With another row: it might be the first one's fault.
    script.reached(2).await;
    assert_eq!(script.keys(), ["a1", "b1"]);
    pass(&bench, &by, 50).await;
    assert_eq!(script.keys().len(), 2);
    pass(&bench, &by, 15).await;
    script.reached(3).await;
    pass(&bench, &by, 0).await;
    assert_eq!(bench.outbox.refusals()["x"].attempts, 3);
    pass(&bench, &by, 125).await;
    script.reached(4).await;
    assert_eq!(script.keys()[2..4], ["a1", "b1"]);
    // `b1` was taken: the receiver works, and `a1` is refused a last time after that.
    bench.counted("x", 2, 1).await;
    assert!(bench.outbox.refusals().is_empty());
    let dead = dead_letters(&bench.store).await.unwrap();
    assert_eq!(dead[0].reason, "401 (other messages were taken meanwhile)");
    let counters = bench.outbox.counters();
    assert_eq!(counters[0].1.refused.load(Ordering::Relaxed), 3);
    bench.stop().await;
}

#[tokio::test]
async fn a_secret_that_changes_is_used_at_once() {
    let (mut bench, _) = bench(Store::memory().unwrap());
    let script = Script::default().on("a1", [refused()]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("a2", "x", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    until(async || !bench.outbox.refusals().is_empty()).await;
    script.credentials.store(1, Ordering::Relaxed);
    bench.counted("x", 2, 0).await;
    assert_eq!(script.keys(), ["a1", "a1", "a2"]);
    assert!(bench.outbox.refusals().is_empty());
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_knows_since_when_and_tries_once_at_once() {
    let place = Place::new();
    let (mut first, _) = bench(place.open());
    let script = Script::default().on("a1", [refused(), refused()]);
    first.store.commit(rows(&[("a1", "x", "a")])).await.unwrap();
    first.run(spec("x"), &script);
    script.reached(1).await;
    until(async || !first.outbox.refusals().is_empty()).await;
    let since = first.outbox.refusals()["x"].since;
    drop(first.stop().await);

    let (mut second, by) = bench(place.open());
    second.run(spec("x"), &script);
    script.reached(2).await;
    pass(&second, &by, 0).await;
    let refusal = second.outbox.refusals().remove("x").unwrap();
    assert_eq!((refusal.attempts, refusal.since.as_second()), (2, since.as_second()));
    assert_eq!(script.keys().len(), 2, "then it is paused, for longer");
    pass(&second, &by, 65).await;
    second.counted("x", 1, 0).await;
    second.stop().await;
}

#[tokio::test]
async fn what_grows_too_old_meanwhile_is_a_dead_letter() {
    let (mut bench, by) = bench(Store::memory().unwrap());
    let script = Script::default().on("a1", [refused(), refused(), refused()]);
    bench.store.commit(rows(&[("a1", "x", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    pass(&bench, &by, 3_601).await;
    bench.counted("x", 0, 1).await;
    let dead = dead_letters(&bench.store).await.unwrap();
    assert!(dead[0].reason.starts_with("not delivered within 1h; last: 401"), "{}", dead[0].reason);
    assert!(bench.outbox.refusals().contains_key("x"), "it has not answered yet");
    bench.stop().await;
}
