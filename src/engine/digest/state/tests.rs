use super::*;
use crate::template::sample;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
}

fn view(id: u32, since: i64) -> IncidentView {
    IncidentView { id: format!("{id:05}").into(), since: at(since), ..sample::incident() }
}

fn book() -> DigestState {
    DigestState::new("mail".into(), "UTC".into(), at(0))
}

/// What an entry says: id, told before, over.
fn entries(book: &DigestState) -> Vec<(&str, bool, bool)> {
    book.entries.iter().map(|(id, e)| (&**id, e.told, e.end.is_some())).collect()
}

#[test]
fn decisions_become_entries() {
    let mut book = book();
    book.decided(&view(1, 1), Decision::First, Reason::First, true);
    book.decided(&view(1, 1), Decision::Grew, Reason::Grew, true);
    book.decided(&view(2, 1), Decision::Storm, Reason::Storm, true);
    book.decided(&view(2, 1), Decision::Resolved, Reason::Recovered, true);
    // Told one by one before there was a book; and told by a digest that forgot it by now.
    book.decided(&view(3, -5), Decision::Reminder, Reason::Reminder, true);
    book.decided(&view(4, -5), Decision::Expired, Reason::StateUnknown, true);
    book.decided(&view(5, -5), Decision::Reopened, Reason::Flapping, true);
    assert_eq!(
        entries(&book),
        [
            ("00001", false, false),
            ("00002", false, true),
            ("00003", true, false),
            ("00004", true, true),
            ("00005", false, false),
        ]
    );
    book.decided(&view(2, 1), Decision::Reopened, Reason::Flapping, true);
    assert_eq!(entries(&book)[1], ("00002", false, false), "it came back");
}

#[test]
fn without_ends_only_what_is_not_known_ends() {
    let mut book = book();
    book.decided(&view(1, 1), Decision::First, Reason::First, false);
    book.decided(&view(1, 1), Decision::Resolved, Reason::Recovered, false);
    book.decided(&view(2, -5), Decision::Resolved, Reason::Recovered, false);
    book.decided(&view(3, -5), Decision::Reminder, Reason::Reminder, false);
    book.decided(&view(3, -5), Decision::Resolved, Reason::Recovered, false);
    assert_eq!(entries(&book), [("00001", false, true)]);
}

#[test]
fn a_full_book_counts() {
    let mut book = book();
    let all = u32::try_from(MAX_ENTRIES).unwrap() + 1000;
    for n in 0..all {
        book.decided(&view(n, 1), Decision::First, Reason::First, true);
    }
    for n in 0..all {
        book.decided(&view(n, 1), Decision::Resolved, Reason::Recovered, true);
    }
    assert_eq!((book.entries.len(), book.more_resolved), (MAX_ENTRIES, 1000));
    for n in 0..1000_u32 {
        book.hold_back(Reason::NeverTold, None, &format!("Pod/{n}").into(), 1);
    }
    let held = book.held[0].shown(3);
    assert_eq!((held.count, held.workloads.len(), held.more), (1000, 3, true));
    assert_eq!(book.held[0].workloads.len(), MAX_WORKLOADS);
}

#[test]
fn what_is_stored_is_small_and_comes_back() {
    let mut book = book();
    book.decided(&sample::huge(), Decision::First, Reason::First, true);
    book.hold_back(Reason::InhibitedBy, None, &"Pod/a".into(), 2);
    let entry = book.entries.values().next().unwrap();
    let body = serde_json::to_string(entry).unwrap();
    assert!(body.len() < 40_000, "{}", body.len());
    let back: Entry = serde_json::from_str(&body).unwrap();
    assert_eq!((back.view, back.told, back.end), (entry.view.clone(), false, None));
    let head = serde_json::to_string(&book).unwrap();
    assert!(!head.contains("entries"), "{head}");
    let back: DigestState = serde_json::from_str(&head).unwrap();
    assert_eq!((back.receiver, back.since, back.held), (book.receiver, book.since, book.held));
}
