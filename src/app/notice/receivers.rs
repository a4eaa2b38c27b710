//! That a receiver does not work is told to others: it cannot be told itself. While it does not, its fallback takes
//! over what it is owed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Announcer, MAX_LINE, Trouble};
use crate::clock;
use crate::message::Reason;
use crate::message::text::words;
use crate::outbox::{Acceptance, Acceptances};
use crate::store::{Fallback, Outage};

/// The marks of what was said begin so, and go on with the receiver's name.
const MARK: &str = "notice.refused.";
/// Told when a receiver refused so often in a row: once may be a credential that is being replaced. The second
/// time is half a minute after the first.
const TOLD_AFTER: u32 = 2;
/// A receiver that does not work is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(3600);

/// The fallback of a receiver that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HandOver {
    to: Arc<str>,
    /// It takes over right now. Not while it does not work itself.
    on: bool,
}

/// What an earlier process said.
pub(super) fn restored(marks: &BTreeMap<String, String>) -> BTreeMap<Arc<str>, Trouble> {
    let said = marks.iter().filter_map(|(mark, body)| {
        let name = mark.strip_prefix(MARK)?;
        Some((Arc::from(name), serde_json::from_str(body).ok()?))
    });
    said.collect()
}

impl Announcer {
    /// Looks at which receivers work, and says what is new.
    pub fn receivers(&mut self, now: Timestamp, receivers: &Acceptances) {
        for (name, acceptance) in receivers {
            if let Some(outage) = acceptance.outage() {
                self.log(now, name, outage);
            }
            match acceptance {
                Acceptance::Refusing(outage) if outage.attempts >= TOLD_AFTER => {
                    self.out_of_order(now, name, (Reason::ReceiverRefuses, outage), receivers);
                }
                Acceptance::Failing(outage) if clock::between(outage.since, now) >= self.trouble_after => {
                    self.out_of_order(now, name, (Reason::ReceiverFails, outage), receivers);
                }
                // A refusal, too, may begin with an attempt that is merely not answered.
                Acceptance::Refusing(_) | Acceptance::Failing(_) | Acceptance::Unknown => {}
                Acceptance::Taking => self.works(now, name),
            }
        }
        let gone: Vec<Arc<str>> =
            self.out_of_order.keys().filter(|name| !self.known.contains(name)).cloned().collect();
        for name in gone {
            let title = format!("Receiver `{name}` is not configured any more");
            self.end(now, &name, &title, "What it was owed is still sent to it, as far as it works.");
        }
    }

    /// Who takes over from whom.
    pub fn fallbacks(&self) -> BTreeMap<Arc<str>, Fallback> {
        let taken_over = self.out_of_order.iter().filter_map(|(name, trouble)| {
            let to = trouble.fallback.as_ref().filter(|fallback| fallback.on)?;
            let apart = !self.policies.get(&to.to).fold;
            Some((Arc::clone(name), Fallback { name: Arc::clone(&to.to), apart }))
        });
        taken_over.collect()
    }

    /// The first failed attempt is logged where it is made.
    fn log(&mut self, now: Timestamp, name: &Arc<str>, outage: &Outage) {
        let last = *self.logged.entry(Arc::clone(name)).or_insert(outage.since);
        if clock::between(last, now) >= LOG_EVERY {
            self.logged.insert(Arc::clone(name), now);
            tracing::warn!(receiver = %name, since = %outage.since, waiting = outage.waiting,
                reason = outage.reason, "the receiver still does not work");
        }
    }

    fn out_of_order(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        (reason, outage): (Reason, &Outage),
        receivers: &Acceptances,
    ) {
        if !self.known.contains(name) {
            return;
        }
        let fallback = self.fallback_of(name, receivers);
        if self.out_of_order.contains_key(name) {
            self.follow_fallback(now, name, outage, fallback);
            return;
        }
        let mut to = self.others(name, receivers);
        // Looked at again: one may be configured, or begin to work.
        if to.is_empty() {
            return;
        }
        if let Some(fallback) = &fallback
            && !to.contains(fallback)
        {
            to.push(Arc::clone(fallback));
        }
        let thread = self.new_thread(now, &format!("refused-{name}"));
        let mut trouble = Trouble { thread, seq: 1, content: name.to_string(), to, fallback: None };
        let (title, text) = out_of_order_words(now, name, (reason, outage), fallback.as_ref());
        self.tell(now, &trouble, reason, (&title, &text));
        if let Some(fallback) = fallback {
            self.hand_over(now, name, outage, &mut trouble, fallback);
        }
        self.keep(name, serde_json::to_string(&trouble).unwrap_or_default());
        self.out_of_order.insert(Arc::clone(name), trouble);
    }

    /// The configured fallback, where it works or hands over in its turn.
    fn fallback_of(&self, name: &Arc<str>, receivers: &Acceptances) -> Option<Arc<str>> {
        let fallback = self.fallbacks.get(name).filter(|fallback| self.known.contains(fallback))?;
        let hands_over = self
            .out_of_order
            .get(fallback)
            .is_some_and(|trouble| trouble.fallback.as_ref().is_some_and(|further| further.on));
        (self.takes(fallback, receivers) || hands_over).then(|| Arc::clone(fallback))
    }

    /// What was told of the receiver stands; its fallback may have changed, or not work itself.
    fn follow_fallback(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        outage: &Outage,
        wanted: Option<Arc<str>>,
    ) {
        let Some(mut trouble) = self.out_of_order.get(name).cloned() else { return };
        let is =
            trouble.fallback.as_ref().filter(|fallback| fallback.on).map(|fallback| Arc::clone(&fallback.to));
        if is == wanted {
            return;
        }
        match wanted {
            Some(fallback) => self.hand_over(now, name, outage, &mut trouble, fallback),
            None => {
                tracing::warn!(receiver = %name, "its fallback does not work either: its messages wait");
                trouble.fallback.iter_mut().for_each(|fallback| fallback.on = false);
            }
        }
        self.keep(name, serde_json::to_string(&trouble).unwrap_or_default());
        self.out_of_order.insert(Arc::clone(name), trouble);
    }

    /// The receiver itself is sent a notice: it shows those who read there where messages went, and its delivery
    /// shows that the receiver works again.
    fn hand_over(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        outage: &Outage,
        trouble: &mut Trouble,
        fallback: Arc<str>,
    ) {
        tracing::warn!(receiver = %name, %fallback, "messages of the receiver go to its fallback");
        if trouble.fallback.is_none() {
            let thread = self.new_thread(now, &format!("fallback-{name}"));
            let to = vec![Arc::clone(name)];
            let notice = Trouble { thread, seq: 1, content: String::new(), to, fallback: None };
            let since = words::moment(outage.since, now);
            let title = format!("Messages from {since} on went to `{fallback}`");
            let text = format!(
                "This receiver (`{name}`) did not work: {}\nFrom now on its messages are sent here again.",
                words::one_line(&outage.reason, MAX_LINE),
            );
            self.tell_all(now, &notice, Reason::HandedOver, (&title, &text));
        }
        trouble.fallback = Some(HandOver { to: fallback, on: true });
    }

    fn works(&mut self, now: Timestamp, name: &Arc<str>) {
        self.logged.remove(name);
        let Some(trouble) = self.out_of_order.get(name) else { return };
        let text = match &trouble.fallback {
            Some(fallback) => format!("Its messages go to it again, and not to `{}`.", fallback.to),
            None => "What it was owed is sent now.".into(),
        };
        self.end(now, name, &format!("Receiver `{name}` works again"), &text);
    }

    fn end(&mut self, now: Timestamp, name: &Arc<str>, title: &str, text: &str) {
        let Some(mut trouble) = self.out_of_order.remove(name) else { return };
        trouble.seq += 1;
        trouble.to.retain(|receiver| self.known.contains(receiver));
        self.tell(now, &trouble, Reason::ReceiverWorks, (title, text));
        self.keep(name, String::new());
    }

    fn keep(&mut self, name: &str, body: String) {
        self.pending.marks.push((format!("{MARK}{name}"), body));
    }

    /// Who is told about `name`: the default receivers that work, or else the first one that does.
    fn others(&self, name: &Arc<str>, receivers: &Acceptances) -> Vec<Arc<str>> {
        let takes = |other: &&Arc<str>| *other != name && self.takes(other, receivers);
        let defaults: Vec<Arc<str>> = self.to.iter().filter(takes).cloned().collect();
        if defaults.is_empty() {
            self.known.iter().find(takes).cloned().into_iter().collect()
        } else {
            defaults
        }
    }

    /// Does a receiver work, as far as is known?
    fn takes(&self, name: &Arc<str>, receivers: &Acceptances) -> bool {
        !self.out_of_order.contains_key(name) && !matches!(receivers.get(name), Some(Acceptance::Refusing(_)))
    }
}

fn out_of_order_words(
    now: Timestamp,
    name: &str,
    (reason, outage): (Reason, &Outage),
    fallback: Option<&Arc<str>>,
) -> (String, String) {
    let since = words::moment(outage.since, now);
    let attempts = words::plural(outage.attempts.into(), "attempt");
    let why = words::one_line(&outage.reason, MAX_LINE);
    let (title, tried) = if reason == Reason::ReceiverRefuses {
        let title = format!("Receiver `{name}` refuses every message");
        (title, format!("{attempts} refused since {since}."))
    } else {
        let span = words::duration(words::seconds_between(outage.since, now));
        (format!("Receiver `{name}` has not worked for {span}"), format!("{attempts} failed since {since}."))
    };
    let wait = match outage.waiting {
        1 => "1 message waits".to_owned(),
        n => format!("{n} messages wait"),
    };
    let then = match fallback {
        Some(fallback) => format!("{wait}. Its messages go to `{fallback}` until it works again."),
        None => format!("{wait}. They are kept and tried again until they are as old as its `max_age`."),
    };
    (title, [why, tried, then].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::message::Notification;
    use crate::store::Commit;

    const CONFIG: &str = "receivers:
  one: {webhook: {url: http://one.test/}}
  two: {webhook: {url: http://two.test/}}
  three: {webhook: {url: http://three.test/}, send_resolved: false}
routes: [{receivers: [one]}]
";

    fn announcer(text: &str, marks: &BTreeMap<String, String>) -> Announcer {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeherald.yaml");
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(Some(&path), &[]).unwrap();
        Announcer::new(&loaded.config, marks)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn refusing(attempts: u32) -> Acceptance {
        Acceptance::Refusing(Outage {
            since: at(0),
            attempts,
            reason: "401 – check the credentials".into(),
            waiting: 2,
        })
    }

    fn state(of: &[(&str, Acceptance)]) -> Acceptances {
        let all = ["one", "two", "three"].map(|name| (Arc::from(name), Acceptance::Taking));
        let mut all: Acceptances = all.into();
        all.extend(of.iter().map(|(name, acceptance)| (Arc::from(*name), acceptance.clone())));
        all
    }

    /// Notices as `receiver: reason`, and the marks.
    fn said(announcer: &mut Announcer, marks: &mut BTreeMap<String, String>) -> Vec<String> {
        let mut commit = Commit::default();
        announcer.put_into(&mut commit);
        marks.extend(commit.marks);
        commit.notifications.iter().map(|n: &Notification| format!("{}: {}", n.receiver, n.reason)).collect()
    }

    #[test]
    fn others_are_told_once_and_of_the_end() {
        let mut marks = BTreeMap::new();
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(1), &state(&[("two", refusing(1))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0], "it may be a rotation");
        it.receivers(at(31), &state(&[("two", refusing(2))]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_refuses"]);
        it.receivers(at(99), &state(&[("two", refusing(3))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        // After a restart nothing is repeated, and nothing is concluded from not knowing yet.
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(100), &state(&[("two", Acceptance::Unknown)]));
        it.receivers(at(101), &state(&[("two", refusing(4))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        it.receivers(at(200), &state(&[]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_works"]);
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(201), &state(&[]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
    }

    #[test]
    fn a_default_receiver_that_refuses_is_told_of_elsewhere() {
        let mut marks = BTreeMap::new();
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(31), &state(&[("one", refusing(2)), ("two", refusing(1))]));
        assert_eq!(said(&mut it, &mut marks), ["three: receiver_refuses"]);
        it.receivers(at(40), &state(&[]));
        assert_eq!(said(&mut it, &mut marks), [""; 0], "it wants no ends");
    }

    #[test]
    fn who_is_alone_is_told_of_when_there_is_somebody_to_tell() {
        let alone = "receivers: {one: {webhook: {url: http://one.test/}}}\n";
        let mut marks = BTreeMap::new();
        let mut it = announcer(alone, &marks);
        let refused: Acceptances = [(Arc::from("one"), refusing(9))].into();
        it.receivers(at(1), &refused);
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(2), &state(&[("one", refusing(9))]));
        assert_eq!(said(&mut it, &mut marks), ["two: receiver_refuses"]);
        // Gone with the next configuration.
        let two = "receivers: {two: {webhook: {url: http://two.test/}}}\n";
        let mut it = announcer(two, &marks);
        it.receivers(at(3), &[(Arc::from("two"), Acceptance::Taking)].into());
        assert_eq!(said(&mut it, &mut marks), ["two: receiver_works"]);
    }

    fn failing(since: i64) -> Acceptance {
        Acceptance::Failing(Outage { since: at(since), attempts: 9, reason: "HTTP 503".into(), waiting: 12 })
    }

    const WITH_FALLBACK: &str = "receivers:
  one: {webhook: {url: http://one.test/}}
  two: {webhook: {url: http://two.test/}, fallback: three}
  three: {webhook: {url: http://three.test/}, send_resolved: false}
routes: [{receivers: [one]}]
receiver_trouble_after: 2m
";

    /// As `FROM -> TO`.
    fn handed_over(announcer: &Announcer) -> Vec<String> {
        announcer.fallbacks().iter().map(|(from, to)| format!("{from} -> {}", to.name)).collect()
    }

    #[test]
    fn others_are_told_once_attempts_have_failed_for_long_enough() {
        let mut marks = BTreeMap::new();
        let mut it = announcer(CONFIG, &marks);
        it.receivers(at(299), &state(&[("two", failing(0))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        it.receivers(at(300), &state(&[("two", failing(0))]));
        let mut commit = Commit::default();
        it.put_into(&mut commit);
        marks.extend(commit.marks);
        let [notice] = commit.notifications.as_slice() else { panic!("{:?}", commit.notifications) };
        assert_eq!((&*notice.receiver, notice.reason), ("one", Reason::ReceiverFails));
        assert_eq!(notice.title, "Receiver `two` has not worked for 5m");
        assert_eq!(
            notice.text,
            "HTTP 503\n9 attempts failed since 08:00:00 UTC.\n12 messages wait. They are kept and tried again \
             until they are as old as its `max_age`."
        );
        // It refuses now: no further news.
        it.receivers(at(400), &state(&[("two", refusing(5))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        assert_eq!(handed_over(&it), [""; 0]);
        it.receivers(at(500), &state(&[]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_works"]);
    }

    #[test]
    fn the_fallback_takes_over_until_the_receiver_works_also_over_a_restart() {
        let mut marks = BTreeMap::new();
        let mut it = announcer(WITH_FALLBACK, &marks);
        it.receivers(at(119), &state(&[("two", failing(0))]));
        assert_eq!((said(&mut it, &mut marks), handed_over(&it)), (vec![], vec![]));
        it.receivers(at(120), &state(&[("two", failing(0))]));
        let told = ["one: receiver_fails", "three: receiver_fails", "two: handed_over"];
        assert_eq!(said(&mut it, &mut marks), told);
        assert_eq!(handed_over(&it), ["two -> three"]);
        let mut it = announcer(WITH_FALLBACK, &marks);
        it.receivers(at(130), &state(&[("two", Acceptance::Unknown)]));
        it.receivers(at(131), &state(&[("two", failing(0))]));
        assert_eq!(said(&mut it, &mut marks), [""; 0]);
        assert_eq!(handed_over(&it), ["two -> three"]);
        it.receivers(at(900), &state(&[]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_works"], "`three` wants no ends");
        assert_eq!(handed_over(&it), [""; 0]);
    }

    #[test]
    fn a_fallback_that_does_not_work_itself_takes_nothing_over() {
        let mut marks = BTreeMap::new();
        let mut it = announcer(WITH_FALLBACK, &marks);
        it.receivers(at(40), &state(&[("three", refusing(2))]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_refuses"]);
        let both = state(&[("two", failing(0)), ("three", refusing(2))]);
        it.receivers(at(120), &both);
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_fails"]);
        assert_eq!(handed_over(&it), [""; 0]);
        it.receivers(at(121), &state(&[("two", failing(0))]));
        it.receivers(at(122), &state(&[("two", failing(0))]));
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_works", "two: handed_over"]);
        assert_eq!(handed_over(&it), ["two -> three"]);
        it.receivers(at(123), &both);
        it.receivers(at(154), &both);
        assert_eq!(said(&mut it, &mut marks), ["one: receiver_refuses"]);
        assert_eq!(handed_over(&it), [""; 0]);
        it.receivers(at(155), &state(&[("two", failing(0))]));
        it.receivers(at(156), &state(&[("two", failing(0))]));
        let told = said(&mut it, &mut marks);
        assert_eq!(told, ["one: receiver_works"], "`two` was sent its notice before");
        assert_eq!(handed_over(&it), ["two -> three"]);
    }
}
