//! A notification of bounded size.

use super::{IncidentView, Notification, text::words};

/// Names of members that each incident keeps, step by step, until all of it fits.
const NAMES: [usize; 3] = [20, 3, 1];
/// The longest explaining text and log that are left then, in characters.
const SHORT: usize = 500;

impl Notification {
    /// Shortens it until it takes no more than `max` bytes as JSON, where `size` is what it takes now:
    /// first names of members, then explaining texts, then incidents of a summary. Totals stay.
    /// `size_of` gives the size after each step.
    pub fn fit<E>(
        &mut self,
        max: usize,
        mut size: usize,
        size_of: impl Fn(&Self) -> Result<usize, E>,
    ) -> Result<(), E> {
        for names in NAMES {
            if size <= max {
                return Ok(());
            }
            self.incidents.iter_mut().for_each(|view| view.members.truncate(names));
            size = size_of(self)?;
        }
        if size > max {
            self.text = words::cut_chars(&self.text, max / 16);
            self.title = words::cut_chars(&self.title, SHORT);
            self.incidents.iter_mut().for_each(shorten);
            size = size_of(self)?;
        }
        while size > max && self.incidents.len() > 1 {
            self.incidents.truncate(self.incidents.len() / 2);
            size = size_of(self)?;
        }
        Ok(())
    }
}

fn shorten(view: &mut IncidentView) {
    view.why = words::cut_chars(&view.why, SHORT).into();
    view.log_tail = view.log_tail.take().map(|log| words::keep_end(&log, SHORT).into());
    view.held.truncate(1);
}
