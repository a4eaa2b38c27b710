use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn announcer(marks: &BTreeMap<String, String>) -> Announcer {
    let config = crate::config::load(None, &[]).unwrap().config;
    Announcer::new(&config, marks)
}

/// What is said, as reason and key, and the marks that are stored with it.
fn said(announcer: &mut Announcer, marks: &mut BTreeMap<String, String>) -> Vec<(Reason, String)> {
    let mut commit = Commit::default();
    announcer.put_into(&mut commit);
    marks.extend(commit.marks);
    commit.notifications.into_iter().map(|n| (n.reason, n.key)).collect()
}

fn reasons(said: &[(Reason, String)]) -> Vec<Reason> {
    said.iter().map(|(reason, _)| *reason).collect()
}

fn full() -> Option<LimitReached> {
    Some(LimitReached {
        limit: 50,
        since: at(0),
        largest: (Some(Arc::from("noisy")), 45),
        left_out: vec![(Some(Arc::from("noisy")), 3), (None, 1)],
    })
}

#[test]
fn the_limit_is_told_once_and_its_end_also_over_a_restart() {
    let mut marks = BTreeMap::new();
    let mut one = announcer(&marks);
    one.limit(at(0), full());
    assert_eq!(said(&mut one, &mut marks), [], "what follows at the same time comes along");
    for second in [10, 11, 500] {
        one.limit(at(second), full());
    }
    assert_eq!(reasons(&said(&mut one, &mut marks)), [Reason::LimitReached]);
    let mut next = announcer(&marks);
    next.limit(at(600), full());
    next.limit(at(700), full());
    assert_eq!(said(&mut next, &mut marks), [], "told before the restart");
    next.limit(at(800), None);
    next.limit(at(801), None);
    assert_eq!(reasons(&said(&mut next, &mut marks)), [Reason::LimitLifted]);
}

#[test]
fn the_limit_is_told_although_it_was_reached_for_a_moment() {
    let (mut marks, mut one) = (BTreeMap::new(), announcer(&BTreeMap::new()));
    one.limit(at(0), full());
    one.limit(at(3), None);
    assert_eq!(reasons(&said(&mut one, &mut marks)), [Reason::LimitReached, Reason::LimitLifted]);
}

/// The clock is set back, and the same moment comes again: another thread, another key.
#[test]
fn threads_of_notices_never_repeat() {
    let mut marks = BTreeMap::new();
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut one = announcer(&marks);
        one.limit(at(0), full());
        one.limit(at(10), full());
        one.limit(at(20), None);
        for (_, key) in said(&mut one, &mut marks) {
            assert!(keys.insert(key.clone()), "{key} twice");
        }
    }
    assert_eq!(keys.len(), 6);
}

#[test]
fn what_was_not_queued_is_told_with_its_keys() {
    let mut marks = BTreeMap::new();
    let mut one = announcer(&marks);
    one.not_queued(at(0), &[]);
    assert!(!one.is_waiting());
    let lost = |n: u8| NotQueued {
        key: format!("key-{n}"),
        receiver: Arc::from("oncall"),
        title: "it crashes".to_owned(),
    };
    one.not_queued(at(1), &[lost(1), lost(2)]);
    let mut commit = Commit::default();
    one.put_into(&mut commit);
    let notice = &commit.notifications[0];
    assert!(notice.title.contains("2 notifications not queued"), "{}", notice.title);
    assert!(notice.text.contains("oncall (key key-1): it crashes"), "{}", notice.text);
    marks.extend(commit.marks);
    one.not_queued(at(2), &[lost(3)]);
    assert_eq!(reasons(&said(&mut one, &mut marks)), [Reason::NotQueued], "each loss is told");
}
