//! What waits beyond the rate limit is told together.

use super::*;
use crate::store::HistoryRow;

/// Everything a receiver was told, as whole notifications.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Notification>>>, Arc<Mutex<Vec<Outcome>>>);

impl Told {
    fn all(&self) -> Vec<Notification> {
        self.0.lock().unwrap().clone()
    }

    /// Next answers, in order; then it takes everything.
    fn then(self, answers: impl IntoIterator<Item = Outcome>) -> Self {
        let mut answers: Vec<Outcome> = answers.into_iter().collect();
        answers.reverse();
        *self.1.lock().unwrap() = answers;
        self
    }

    fn incidents(&self) -> Vec<String> {
        self.all().iter().flat_map(|n| n.incidents.iter().map(|i| i.id.to_string())).collect()
    }
}

impl Deliver for Told {
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        assert!(!attempt.notification.decision.is_summary() || attempt.handle.is_none());
        self.0.lock().unwrap().push(attempt.notification.clone());
        let answer = self.1.lock().unwrap().pop();
        answer.unwrap_or(Outcome::Delivered { handle: Some("handle".to_owned()) })
    }
}

fn every(per: u64, burst: u32) -> ReceiverSpec {
    ReceiverSpec { limit: Limit { per: Duration::from_millis(per), messages: 1, burst }, ..spec("x") }
}

impl Bench {
    fn run_told(&mut self, spec: ReceiverSpec, told: &Told) {
        let dispatcher = self.outbox.dispatcher(spec, told.clone());
        self.tasks.push(tokio::spawn(dispatcher.run(StopMode::default(), self.stop.clone())));
    }

    async fn commit(&self, keys: &[(&str, &str, &str)]) {
        self.store.commit(rows(keys)).await.unwrap();
    }
}

/// 500 incidents in 10 s to a receiver that is limited to a message a second, five times as fast.
#[tokio::test]
async fn a_flood_is_told_in_few_messages_that_list_every_incident() {
    const PER: Duration = Duration::from_millis(200);
    let mut bench = Bench::memory();
    let told = Told::default();
    bench.run_told(every(200, 5), &told);
    let start = std::time::Instant::now();
    for batch in 0..50 {
        let notifications = (0..10)
            .map(|i| {
                let n = batch * 10 + i;
                note(&format!("k{n:03}"), "x", &format!("t{n:03}"), crate::clock::now())
            })
            .collect();
        bench.store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
        tokio::time::sleep(PER / 5).await;
    }
    bench.counted("x", 500, 0).await;
    let took = start.elapsed();
    let mut incidents = told.incidents();
    incidents.sort();
    let expected: Vec<String> = (0..500).map(|n| format!("t{n:03}")).collect();
    assert_eq!(incidents, expected, "each once");
    // On a machine that is busy the flood takes longer, and that many more messages are allowed.
    let allowed = 5 + usize::try_from(took.as_millis() / PER.as_millis()).unwrap() + 1;
    let messages = told.all().len();
    println!("500 incidents in {took:.2?} (a message each {PER:?}): {messages} messages");
    assert!(messages <= allowed, "{messages} in {took:?}");
    let folded: u64 = bench.outbox.counters()[0].1.folded.load(Ordering::Relaxed);
    assert!(folded >= 480, "{folded}");
    let summaries: Vec<Notification> = told.all().into_iter().filter(|n| n.decision.is_summary()).collect();
    let history = bench.store.history(None).await.unwrap();
    assert_eq!(history.len(), summaries.len());
    for (entry, n) in history.iter().rev().zip(&summaries) {
        assert!(entry.detail.contains(&n.key) && entry.title == n.title, "{entry:?}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn first_and_end_of_an_incident_are_one_line_and_leave_no_handle() {
    let mut bench = Bench::memory();
    let told = Told::default();
    bench.run_told(every(300, 1), &told);
    bench.commit(&[("z1", "x", "z")]).await;
    bench.counted("x", 1, 0).await;
    bench.commit(&[("a1", "x", "a"), ("b1", "x", "b"), ("a2", "x", "a"), ("c1", "x", "c")]).await;
    bench.counted("x", 5, 0).await;
    bench.commit(&[("a3", "x", "a")]).await;
    bench.counted("x", 6, 0).await;
    let all = told.all();
    assert_eq!(all.len(), 3);
    let ids: Vec<&str> = all[1].incidents.iter().map(|i| &*i.id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(all[2].key, "a3");
    let store = bench.stop().await;
    assert_eq!(store.sizes().await.unwrap().receivers, []);
}

#[tokio::test]
async fn two_that_wait_are_told_one_by_one() {
    let mut bench = Bench::memory();
    let told = Told::default();
    bench.commit(&[("a1", "x", "a"), ("b1", "x", "b"), ("c1", "x", "c")]).await;
    bench.run_told(every(50, 1), &told);
    bench.counted("x", 3, 0).await;
    assert_eq!(told.all().iter().map(|n| n.key.as_str()).collect::<Vec<_>>(), ["a1", "b1", "c1"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_summary_that_fails_is_repeated_as_it_was() {
    let mut bench = Bench::memory();
    let later = || Outcome::Retry { after: None, reason: "HTTP 503".into() };
    let told = Told::default().then([Outcome::Delivered { handle: None }, later(), later()]);
    bench.commit(&[("z", "x", "z"), ("a1", "x", "a"), ("b1", "x", "b"), ("c1", "x", "c")]).await;
    bench.run_told(every(250, 1), &told);
    while told.all().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.commit(&[("a2", "x", "a"), ("d1", "x", "d")]).await;
    bench.counted("x", 6, 0).await;
    let all = told.all();
    let summaries: Vec<&Notification> = all.iter().filter(|n| n.decision.is_summary()).collect();
    assert!(summaries.len() >= 3 && summaries[..3].iter().all(|n| *n == summaries[0]), "{all:#?}");
    let place = |key: &str| all.iter().position(|n| n.key == key);
    assert!(place("a2") > all.iter().rposition(|n| n.key == summaries[0].key), "order");
    bench.stop().await;
}

#[tokio::test]
async fn a_summary_that_is_refused_leaves_dead_letters_that_are_sent_again_each_by_itself() {
    let mut bench = Bench::memory();
    let no = Outcome::Reject { reason: "too large".into() };
    let told = Told::default().then([Outcome::Delivered { handle: None }, no]);
    bench.commit(&[("z", "x", "z"), ("a", "x", "a"), ("b", "x", "b"), ("c", "x", "c")]).await;
    bench.run_told(every(250, 1), &told);
    bench.counted("x", 1, 3).await;
    for letter in dead_letters(&bench.store).await.unwrap() {
        assert_eq!(letter.reason, "too large");
        assert!(bench.store.resend_dead(&letter.key, crate::clock::now()).await.unwrap());
    }
    bench.counted("x", 4, 3).await;
    assert_eq!(told.all()[2..].iter().map(|n| n.key.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    bench.stop().await;
}

/// The process ends at each point of the protocol while a summary is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_around_a_summary_repeats_at_most_that_summary_under_its_key() {
    let mut cases: Vec<(Point, &str)> =
        [Point::Chosen, Point::Claimed, Point::Attempted, Point::Settled].map(|p| (p, "dispatch")).into();
    for point in [Point::Applied, Point::Committing, Point::Committed] {
        cases.extend(["claim a summary", "settle a summary"].map(|job| (point, job)));
    }
    for (point, job) in cases {
        let place = Place::new();
        let told = Told::default();
        let keys = [("z", "x", "z"), ("a1", "x", "a"), ("b1", "x", "b"), ("a2", "x", "a"), ("c1", "x", "c")];
        let seen = Arc::clone(&told.0);
        // The first message goes by itself; crash from the second on.
        let settled = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let crash = Faults::new(move |p, j| {
            if (p, j) == (Point::Settled, "dispatch") && !settled.swap(true, Ordering::Relaxed) {
                return;
            }
            let armed = settled.load(Ordering::Relaxed) && !seen.lock().unwrap().is_empty();
            assert!(!armed || (p, j) != (point, job), "crash");
        });
        let store = place.open_with(crash);
        store.commit(rows(&keys)).await.unwrap();
        let outbox = Outbox::new(store.clone(), clock(), policy());
        let task = tokio::spawn(
            outbox.dispatcher(every(150, 1), told.clone()).run(StopMode::default(), CancellationToken::new()),
        );
        match within(task).await {
            Ok(result) => assert!(result.is_err(), "{point:?} {job}"),
            Err(panic) => assert!(panic.is_panic(), "{point:?} {job}"),
        }
        drop((outbox, store));

        let mut bench = Bench::over(place.open(), policy());
        bench.run_told(every(150, 1), &told);
        bench.commit(&keys).await;
        until(async || bench.store.sizes().await.unwrap().receivers.is_empty()).await;
        bench.stop().await;
        let all = told.all();
        let ambiguous = point == Point::Attempted
            || (job == "settle a summary" && matches!(point, Point::Applied | Point::Committing));
        let summaries: Vec<&Notification> = all.iter().filter(|n| n.decision.is_summary()).collect();
        let mut once: Vec<&str> = summaries.iter().map(|n| n.key.as_str()).collect();
        once.dedup();
        // After a crash before the claim the limit is full again, and one goes by itself.
        let folds = usize::from(
            !(point == Point::Chosen
                || (job == "claim a summary" && matches!(point, Point::Applied | Point::Committing))),
        );
        if folds == 1 {
            assert_eq!(once.len(), 1, "{point:?} {job}: {once:?}");
            assert_eq!(summaries.len(), 1 + usize::from(ambiguous), "{point:?} {job}");
            assert!(summaries.iter().all(|n| n.incidents.len() == 3));
        }
        let mut incidents = told.incidents();
        incidents.sort();
        incidents.dedup();
        assert_eq!(incidents, ["a", "b", "c", "z"], "{point:?} {job}");
    }
}

/// The rows of a summary become too old one by one: what is left is not that summary any more.
#[tokio::test]
async fn a_row_that_grows_too_old_leaves_its_summary() {
    let store = Store::memory().unwrap();
    store.commit(rows(&[("a", "x", "a"), ("b", "x", "b"), ("c", "x", "c")])).await.unwrap();
    let x: Arc<str> = Arc::from("x");
    let now = crate::clock::now();
    let query = crate::store::FoldQuery {
        recipient: Arc::from(""),
        receiver: Arc::clone(&x),
        now,
        queued_after: now - jiff::SignedDuration::from_hours(1),
        threads: 500,
    };
    let found = store.foldable(query.clone()).await.unwrap();
    assert_eq!(found.len(), 3);
    let key = fold::key(&x, "", &found);
    let seqs: Vec<i64> = found.iter().map(|r| r.seq).collect();
    store.claim_fold(&key, seqs.clone(), now).await.unwrap().unwrap();
    // All or none.
    assert_eq!(store.claim_fold("other", seqs, now).await.unwrap(), None);
    let retry = crate::store::Settle::Retry { not_before: now, reason: "r".into(), gate: None };
    let none: Option<HistoryRow> = None;
    assert_eq!(store.settle_fold(&x, &key, retry, none, now).await.unwrap(), 3);
    let head = store.heads(&x, &x, Vec::new(), now).await.unwrap().due.unwrap();
    assert_eq!(head.inside.as_deref(), Some(key.as_str()));
    assert!(store.settle(head.seq, crate::store::Settle::Dead { reason: "old".into() }, now).await.unwrap());
    let head = store.heads(&x, &x, Vec::new(), now).await.unwrap().due.unwrap();
    assert_eq!((head.key.as_str(), head.inside), ("b", None));
    assert_eq!(store.foldable(query).await.unwrap().len(), 2);
}
