//! What receivers are told about the store's disk.

use std::time::Duration;

use jiff::Timestamp;

use super::{Announcer, MAX_LINE};
use crate::clock;
use crate::message::Reason;
use crate::message::text::words;
use crate::store::{SetAside, StoreHealth};

/// Marks of these names hold what was said.
pub(super) const MARK_DISK: &str = "notice.disk";
pub(super) const MARK_DAMAGE: &str = "notice.damage";

/// A disk that fails for less is only logged.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so long without a failure the disk is said to work again.
const STEADY: Duration = Duration::from_secs(60);

/// Since when the disk has been as it is, where that differs from what was said.
#[derive(Debug, Default)]
pub(super) struct Changed(Option<Timestamp>);

impl Changed {
    /// Has it been so for `span`?
    fn for_long(&mut self, now: Timestamp, span: Duration) -> bool {
        clock::between(*self.0.get_or_insert(now), now) >= span
    }
}

impl Announcer {
    /// Looks at how the store keeps things. To be called every second or so.
    pub fn store(&mut self, now: Timestamp, health: &StoreHealth) {
        if let Some(aside) = &health.set_aside {
            self.set_aside(now, aside);
        }
        let said = self.troubles.contains_key(MARK_DISK);
        match (&health.in_memory, said) {
            (None, false) | (Some(_), true) => self.disk = Changed::default(),
            (Some(why), false) if self.disk.for_long(now, PATIENCE) => {
                let title = "Nothing can be written to the store: decisions are kept in memory only";
                let lines = [
                    words::one_line(why, MAX_LINE),
                    "Messages are still sent. If kubeherald is restarted before this is over, those of this time \
                     may be sent again."
                        .to_owned(),
                    "Look at the volume of `store.path`: is it full, read-only, or failing?".to_owned(),
                ];
                self.say(now, MARK_DISK, Reason::StoreInMemory, "in memory", (title, &lines.join("\n")));
            }
            (None, true) if self.disk.for_long(now, STEADY) => {
                let text = "Everything that was decided meanwhile is stored.";
                self.say(now, MARK_DISK, Reason::StoreOnDisk, "", ("The store is on its disk again", text));
            }
            _ => {}
        }
    }

    /// Told once for each file that was set aside.
    fn set_aside(&mut self, now: Timestamp, aside: &SetAside) {
        let path = aside.path.display().to_string();
        if self.troubles.get(MARK_DAMAGE).is_some_and(|trouble| trouble.content == path) {
            return;
        }
        let kept: Vec<String> = aside
            .kept
            .iter()
            .filter(|(_, rows)| **rows > 0)
            .map(|(table, rows)| format!("{table} {rows}"))
            .collect();
        let mut lines =
            vec![words::one_line(&format!("It was set aside as {path}: {}", aside.why), MAX_LINE)];
        lines.push(match kept.len() {
            0 => "Nothing could be read of it: what receivers were owed is lost, and what stands in the cluster \
                  may be told again."
                .to_owned(),
            all => format!(
                "Rows that could be read and were kept: {}. History stays in the old file.",
                words::list(kept.iter().map(String::as_str), all, all)
            ),
        });
        if !aside.incomplete.is_empty() {
            let all = aside.incomplete.len();
            let tables = words::list(aside.incomplete.iter().map(String::as_str), all, all);
            lines.push(format!("Not everything could be read of: {tables}. What is missing there is lost."));
        }
        let title = "The store was damaged: kubeherald continues with a new one";
        self.say(now, MARK_DAMAGE, Reason::StoreSetAside, &path, (title, &lines.join("\n")));
    }
}
