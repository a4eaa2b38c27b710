//! Objects of incidents, what waits, and what is read of both.

use super::*;

fn object(incident: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectRow {
    let namespace = namespace.map(str::to_owned);
    let object = KnownObject { kind: kind.to_owned(), namespace, name: name.to_owned() };
    ObjectRow { incident: incident.to_owned(), object, at: at(0) }
}

fn found(store: &Store, query: ObjectQuery) -> Vec<String> {
    store.concerning(query).wait().unwrap().into_iter().map(|row| row.incident).collect()
}

fn named(name: &str) -> ObjectQuery {
    ObjectQuery { name: name.to_owned(), ..ObjectQuery::default() }
}

#[test]
fn objects_are_found_by_name_whatever_their_case() {
    let store = store();
    let objects = vec![
        object("a", "Pod", Some("shop"), "api-1"),
        object("b", "Pod", Some("shop"), "api-1"),
        object("b", "Pod", Some("dev"), "api-10"),
        object("c", "Node", None, "api-1"),
        // Known already.
        object("a", "Pod", Some("shop"), "api-1"),
    ];
    let history = vec![decided(5, "a", None, Reason::NeverTold), decided(9, "b", None, Reason::NeverTold)];
    store.commit(Commit { history, objects, ..Commit::default() }).wait().unwrap();
    assert_eq!(found(&store, named("API-1")), ["b", "a", "c"], "the last one first");
    assert_eq!(found(&store, ObjectQuery { kind: Some("pod".into()), ..named("api-1") }), ["b", "a"]);
    assert_eq!(found(&store, ObjectQuery { namespace: Some("DEV".into()), ..named("api-1") }), [""; 0]);
    assert_eq!(found(&store, ObjectQuery { prefix: true, ..named("Api-1") }).len(), 4);
    assert_eq!(found(&store, ObjectQuery { prefix: true, ..named("api_") }), [""; 0], "no pattern");
    let known: Vec<String> = store
        .known_objects(2)
        .wait()
        .unwrap()
        .into_iter()
        .map(|o| format!("{}/{}", o.kind, o.name))
        .collect();
    assert_eq!(known, ["Node/api-1", "Pod/api-10"]);
}

#[test]
fn what_waits_is_no_incident_that_is_loaded_and_leaves_no_trace_of_itself() {
    let place = Place::new();
    let store = place.open();
    store
        .commit(Commit {
            pending: vec![incident("a", "{}"), incident("b", "{}")],
            objects: vec![object("a", "Pod", None, "x"), object("b", "Pod", None, "x")],
            ..Commit::default()
        })
        .wait()
        .unwrap();
    assert_eq!(store.load_incidents().wait().unwrap(), []);
    assert!(store.incident_record("a", 9).wait().unwrap().row.is_some());
    // One is over without a word, the other with a line in the history.
    store
        .commit(Commit {
            settled: vec!["a".into(), "b".into(), "never there".into()],
            history: vec![decided(1, "b", None, Reason::NeverTold)],
            ..Commit::default()
        })
        .wait()
        .unwrap();
    assert_eq!(found(&store, named("x")), ["b"]);
    let record = store.incident_record("b", 9).wait().unwrap();
    assert_eq!((record.row, record.history.len(), record.objects_total), (None, 1, 1));
    store.commit(Commit { pending: vec![incident("c", "{}")], ..Commit::default() }).wait().unwrap();
    store.forget_pending().wait().unwrap();
    assert_eq!(store.incident_record("c", 9).wait().unwrap().row, None);
}

#[test]
fn a_summary_belongs_to_each_incident_that_it_told() {
    let store = store();
    let mut row = decided(3, "a", Some(Decision::Storm), Reason::Storm);
    row.incident = None;
    let summaries = vec![(row, vec![name("a"), name("b")])];
    let history = vec![decided(1, "a", None, Reason::InhibitedBy), decided(9, "a", None, Reason::NeverTold)];
    store.commit(Commit { history, summaries, ..Commit::default() }).wait().unwrap();
    let reasons = |id: &str, most: usize| {
        let record = store.incident_record(id, most).wait().unwrap();
        (record.history.into_iter().map(|row| row.reason).collect::<Vec<_>>(), record.history_cut)
    };
    assert_eq!(reasons("a", 9), (vec!["storm".into(), "never_told".into(), "inhibited_by".into()], false));
    assert_eq!(reasons("a", 2), (vec!["storm".into(), "never_told".into()], true));
    assert_eq!(reasons("b", 9), (vec!["storm".into()], false));
    // What is read of it is pruned with it.
    let keep = Retention { history_age: Duration::from_secs(60), ..Retention::default() };
    assert_eq!(store.prune(keep, at(1_000)).wait().unwrap().history, 3);
    assert_eq!(reasons("b", 9), (vec![], false));
}

#[test]
fn objects_are_kept_as_long_as_anything_of_their_incident_is() {
    let store = store();
    let ids = ["open", "told", "waits", "gone"];
    store
        .commit(Commit {
            incidents: vec![incident("open", "{}")],
            pending: vec![incident("waits", "{}")],
            history: vec![decided(500, "told", Some(Decision::First), Reason::First)],
            objects: ids.map(|id| object(id, "Pod", None, "x")).into(),
            ..Commit::default()
        })
        .wait()
        .unwrap();
    let keep = Retention { history_age: Duration::from_secs(100), ..Retention::default() };
    let pruned = store.prune(keep, at(550)).wait().unwrap();
    assert_eq!((pruned.objects, pruned.history), (1, 0));
    let mut left = found(&store, named("x"));
    left.sort();
    assert_eq!(left, ["open", "told", "waits"]);
    assert_eq!(store.prune(keep, at(700)).wait().unwrap().objects, 1, "the history of one has gone");
    // By number, the oldest first.
    let objects = (0..50).map(|i| object("open", "Pod", None, &format!("y{i}"))).collect();
    store.commit(Commit { objects, ..Commit::default() }).wait().unwrap();
    let keep = Retention { history_rows: 20, ..keep };
    assert_eq!(store.prune(keep, at(700)).wait().unwrap().objects, 32);
    assert_eq!(store.incident_record("open", 9).wait().unwrap().objects_total, 20);
}

#[test]
fn what_became_no_incident_is_found_by_object_and_by_workload() {
    let store = store();
    let mut row = decided(3, "a", None, Reason::NoRule);
    row.incident = None;
    row.detail = r#"{"object":"Pod/checkout-1"}"#.to_owned();
    let broken = HistoryRow { detail: "{".to_owned(), ..row.clone() };
    store.commit(Commit { history: vec![row, broken], ..Commit::default() }).wait().unwrap();
    let count = |query: ObjectQuery, since| store.unmatched(query, since).wait().unwrap().len();
    assert_eq!(count(named("CHECKOUT-1"), None), 1);
    assert_eq!(count(named("checkout"), None), 2);
    assert_eq!(count(ObjectQuery { prefix: true, ..named("check") }, None), 2);
    assert_eq!(count(ObjectQuery { kind: Some("pod".into()), ..named("checkout") }, None), 0);
    assert_eq!(count(ObjectQuery { namespace: Some("dev".into()), ..named("checkout") }, None), 0);
    assert_eq!(count(named("checkout"), Some(at(4))), 0);
}
