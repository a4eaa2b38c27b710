use super::*;
use crate::message::{Decision, Notification, Reason};
use crate::template::{Templates, sample};

fn shown(rendered: &Rendered) -> String {
    serde_json::to_string_pretty(&rendered.body()).unwrap()
}

fn whole(n: &Notification) -> String {
    shown(&render(n, &Templates::shipped().unwrap()).unwrap())
}

fn reply(n: &Notification) -> String {
    shown(&render_reply(n, &Templates::shipped().unwrap()).unwrap())
}

#[test]
fn messages_look_like_this() {
    let one = |decision| sample::notification(decision, sample::incident());
    insta::assert_snapshot!("first", whole(&one(Decision::First)));
    insta::assert_snapshot!("resolved", whole(&one(Decision::Resolved)));
    insta::assert_snapshot!("reply_grew", reply(&one(Decision::Grew)));
    insta::assert_snapshot!("reply_reminder", reply(&one(Decision::Reminder)));
    insta::assert_snapshot!("reply_reopened", reply(&one(Decision::Reopened)));
    insta::assert_snapshot!("reply_resolved", reply(&one(Decision::Resolved)));
    insta::assert_snapshot!("standing", whole(&one(Decision::Standing)));
    insta::assert_snapshot!("notice", whole(&one(Decision::Notice)));
    insta::assert_snapshot!(
        "reply_notice",
        reply(&sample::notice(Reason::ConfigMended, &sample::incident()))
    );
    insta::assert_snapshot!("node", whole(&sample::notification(Decision::First, sample::node())));
}

#[test]
fn a_digest_looks_like_this_and_is_cut_and_counted() {
    insta::assert_snapshot!("digest", whole(&sample::digest::day()));
    insta::assert_snapshot!("digest_empty", whole(&sample::digest::empty()));
    let text = whole(&sample::digest::large(&sample::incident(), 4_500));
    assert_eq!(text.matches("Deployment/checkout keeps crashing").count(), 30, "two lists of 15");
    assert_eq!(text.matches("Deployment/checkout runs again").count(), 15);
    assert!(text.contains("… and 4652 more, not listed here"), "{text}");
}

#[test]
fn a_summary_is_cut_and_counted() {
    let mut n = sample::notification(Decision::Storm, sample::incident());
    n.incidents = vec![sample::incident(); 500];
    n.incidents_total = 700;
    let text = whole(&n);
    assert_eq!(text.matches("Deployment/checkout in shop keeps crashing").count(), 60);
    assert!(text.contains("… and 640 more"), "{text}");
}

#[test]
fn a_runbook_is_a_link_only_if_it_is_one() {
    let mut i = sample::incident();
    i.runbook = Some("https://r.example/?a=1&b=<!channel>".into());
    let text = whole(&sample::notification(Decision::First, i.clone()));
    assert!(text.contains("https://r.example/?a=1&amp;b=&lt;!channel&gt;"), "{text}");
    i.runbook = Some("https://r.example/?a=1&b=2".into());
    let text = whole(&sample::notification(Decision::First, i));
    assert!(text.contains("<https://r.example/?a=1&amp;b=2|Open the runbook (r.example)>"), "{text}");
}
