//! What the watches of one kind have in common where namespaces are listed one by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Shared by the watches of one kind, one for each namespace.
#[derive(Debug)]
pub(super) struct Group {
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    all: Vec<Part>,
    /// Every part was listed once, or is known to be unreadable, and that was said.
    settled: bool,
    /// What [`Group::contact`] gave last.
    contact: Option<Instant>,
    /// A namespace that may not be read was named in the log.
    named: bool,
}

#[derive(Debug, Clone, Default)]
struct Part {
    settled: bool,
    /// Nobody waits for what it may not show.
    forbidden: bool,
    contact: Option<Instant>,
}

/// One namespace of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub namespace: Arc<str>,
    number: usize,
    group: Arc<Group>,
}

/// The members of a new group.
pub(super) fn members(namespaces: &[&str]) -> Vec<Member> {
    let all = vec![Part::default(); namespaces.len()];
    let parts = Parts { all, settled: false, contact: None, named: false };
    let group = Arc::new(Group { parts: Mutex::new(parts) });
    let member = |(number, namespace): (usize, &&str)| Member {
        namespace: Arc::from(*namespace),
        number,
        group: Arc::clone(&group),
    };
    namespaces.iter().enumerate().map(member).collect()
}

impl Member {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        // Nothing is left half-done by a panic in between.
        self.group.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Differs between the members, and from a watch of a whole kind.
    pub fn salt(&self) -> u64 {
        u64::try_from(self.number).unwrap_or(u64::MAX).wrapping_add(1) << 16
    }

    /// It was listed, or may not be read (`forbidden`), or could not be for too long. True once: when the last
    /// one of the group is.
    pub fn settle(&self, forbidden: bool) -> bool {
        let mut parts = self.lock();
        if let Some(part) = parts.all.get_mut(self.number) {
            part.settled = true;
            part.forbidden = forbidden;
        }
        let all = parts.all.iter().all(|part| part.settled);
        all && !std::mem::replace(&mut parts.settled, true)
    }

    /// Everything of it was passed on up to `at`. Gives up to when everything of the group was, if that
    /// advanced; what may not be read does not hold it up.
    pub fn contact(&self, at: Instant) -> Option<Instant> {
        let mut parts = self.lock();
        if let Some(part) = parts.all.get_mut(self.number) {
            part.contact = Some(at);
        }
        let seen = parts.all.iter().filter(|part| !part.forbidden);
        let least = seen.map(|part| part.contact).min().flatten()?;
        let advanced = parts.contact.is_none_or(|before| before < least);
        parts.contact = parts.contact.max(Some(least));
        advanced.then_some(least)
    }

    /// Is it the first of its group that is named in the log as one that may not be read?
    pub fn first_to_be_named(&self) -> bool {
        !std::mem::replace(&mut self.lock().named, true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_group_is_settled_once_and_goes_by_its_slowest_readable_member() {
        let [a, b, c] = members(&["a", "b", "c"]).try_into().unwrap();
        let at = |second| Instant::now() + Duration::from_secs(second);
        assert!(!a.settle(false));
        assert_eq!(a.contact(at(5)), None, "the others are not listed yet");
        assert!(!b.settle(true) && c.settle(false) && !c.settle(false));
        let (ten, twenty) = (at(10), at(20));
        assert_eq!(c.contact(ten), a.lock().all[0].contact, "`b` may not be read and holds nothing up");
        assert_eq!(a.contact(twenty), Some(ten));
        assert_eq!(a.contact(twenty + Duration::from_secs(5)), None, "`c` stands still");
        assert!(!b.settle(false));
        assert_eq!(c.contact(twenty), None, "`b` can be read now, and was not seen yet");
        assert_eq!(b.contact(twenty), Some(twenty));
    }
}
