//! That a receiver refuses every message is told to others: it cannot be told itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Announcer, MAX_LINE, Trouble};
use crate::message::Reason;
use crate::message::text::words;
use crate::outbox::{Acceptance, Acceptances};
use crate::store::Refusal;

/// The marks of what was said begin so, and go on with the receiver's name.
const MARK: &str = "notice.refused.";
/// Told when a receiver refused so often in a row: once may be a credential that is being replaced. The second
/// time is half a minute after the first.
const TOLD_AFTER: u32 = 2;

/// What an earlier process said.
pub(super) fn restored(marks: &BTreeMap<String, String>) -> BTreeMap<Arc<str>, Trouble> {
    let said = marks.iter().filter_map(|(mark, body)| {
        let name = mark.strip_prefix(MARK)?;
        Some((Arc::from(name), serde_json::from_str(body).ok()?))
    });
    said.collect()
}

impl Announcer {
    /// Looks at which receivers take messages, and says what is new.
    pub fn receivers(&mut self, now: Timestamp, receivers: &Acceptances) {
        for (name, acceptance) in receivers {
            match acceptance {
                Acceptance::Refusing(refusal) => self.refuses(now, name, refusal, receivers),
                Acceptance::Taking => self.works(now, name),
                Acceptance::Unknown => {}
            }
        }
        let gone: Vec<Arc<str>> =
            self.refusing.keys().filter(|name| !self.known.contains(name)).cloned().collect();
        for name in gone {
            self.end(now, &name, "It is not configured any more.");
        }
    }

    fn refuses(&mut self, now: Timestamp, name: &Arc<str>, refusal: &Refusal, receivers: &Acceptances) {
        let known = self.known.contains(name) && self.refusing.contains_key(name);
        if known || refusal.attempts < TOLD_AFTER {
            return;
        }
        let to = self.others(name, receivers);
        // Looked at again: one may be configured, or begin to work.
        if to.is_empty() {
            return;
        }
        let thread = self.new_thread(now, &format!("refused-{name}"));
        let trouble = Trouble { thread, seq: 1, content: name.to_string(), to };
        let title = format!("Receiver `{name}` refuses every message");
        let text = [
            words::one_line(&refusal.reason, MAX_LINE),
            format!("Refused {} since {}.", words::plural(refusal.attempts.into(), "time"), refusal.since),
            "What it is owed is kept and tried again, less and less often, until the receiver's `max_age`."
                .into(),
        ];
        self.tell(now, &trouble, Reason::ReceiverRefuses, (&title, &text.join("\n")));
        self.keep(name, serde_json::to_string(&trouble).unwrap_or_default());
        self.refusing.insert(Arc::clone(name), trouble);
    }

    fn works(&mut self, now: Timestamp, name: &Arc<str>) {
        if self.refusing.contains_key(name) {
            self.end(now, name, "What it was owed is sent now.");
        }
    }

    fn end(&mut self, now: Timestamp, name: &Arc<str>, text: &str) {
        let Some(mut trouble) = self.refusing.remove(name) else { return };
        trouble.seq += 1;
        trouble.to.retain(|receiver| self.known.contains(receiver));
        let title = format!("Receiver `{name}` does not refuse any more");
        self.tell(now, &trouble, Reason::ReceiverWorks, (&title, text));
        self.keep(name, String::new());
    }

    fn keep(&mut self, name: &str, body: String) {
        self.pending.marks.push((format!("{MARK}{name}"), body));
    }

    /// Who is told about `name`: the default receivers that take messages, or else the first one that does.
    fn others(&self, name: &Arc<str>, receivers: &Acceptances) -> Vec<Arc<str>> {
        let takes = |other: &&Arc<str>| {
            *other != name && !matches!(receivers.get(*other), Some(Acceptance::Refusing(_)))
        };
        let defaults: Vec<Arc<str>> = self.to.iter().filter(takes).cloned().collect();
        if defaults.is_empty() {
            self.known.iter().find(takes).cloned().into_iter().collect()
        } else {
            defaults
        }
    }
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
        Acceptance::Refusing(Refusal {
            since: at(0), attempts, reason: "401 – check the credentials".into()
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
}
