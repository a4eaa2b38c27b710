//! What a failed request or watch asks for, and how it is described.

use kube::runtime::watcher;

use super::guard::NoAnswer;
use crate::watch::error;

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// kube goes on where it was.
    Resume,
    /// The same, unless it happens again and again: the version asked for may be what is wrong.
    ResumeAtFirst,
    Rebuild,
    /// A new start; until a watch lasts, lists are all that can be had.
    ByLists,
    /// A new start with smaller pages.
    SmallerPages,
    /// The kind may not be read: announced at once, tried again slowly.
    Blind,
}

/// What an error asks for.
pub(super) fn remedy(error: &watcher::Error) -> Remedy {
    use watcher::Error as E;
    let (code, source) = match error {
        E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => match error {
            kube::Error::Api(status) => (status.code, Some(error)),
            // A line that is no watch event. Which object it was about is unknown, so it is missed.
            kube::Error::SerdeError(_) => return Remedy::Rebuild,
            _ => (0, Some(error)),
        },
        E::WatchError(status) => (status.code, None),
        E::NoResourceVersion => return Remedy::Rebuild,
    };
    match source.and_then(|error| no_answer(error)) {
        Some(NoAnswer::EmptyWatches) => return Remedy::ByLists,
        Some(NoAnswer::PageSize(_)) => return Remedy::SmallerPages,
        Some(NoAnswer::DeadWatch | NoAnswer::LineLength) => return Remedy::Rebuild,
        Some(NoAnswer::Headers(_) | NoAnswer::Page(_)) | None => {}
    }
    match code {
        403..=405 => Remedy::Blind,
        410 | 504 => Remedy::Rebuild,
        // Credentials that are being rotated come back. Overload: a new list is the last thing the server
        // needs.
        401 | 429 | 503 => Remedy::Resume,
        // No connection, or a broken one: a restart of the API server must not make every kind
        // list anew. That version and server no longer fit is found out by the other means.
        0 if source.is_some_and(|error| cause::<std::io::Error>(error)) => Remedy::Resume,
        _ => Remedy::ResumeAtFirst,
    }
}

/// What the guard says among the causes. An I/O error does not give what it wraps as its source.
fn no_answer<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a NoAnswer> {
    let wrapped = |e: &'a (dyn std::error::Error + 'static)| {
        let inner = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        e.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()))
    };
    std::iter::successors(Some(error), |e| e.source()).take(16).find_map(wrapped)
}

/// Is there such an error among the causes?
fn cause<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    // A bound, should a chain be a circle.
    std::iter::successors(Some(error), |e| e.source()).take(16).any(<dyn std::error::Error>::is::<E>)
}

/// An error for people: what the server said, or why there was no answer.
pub(super) fn describe(error: &watcher::Error) -> String {
    use watcher::Error as E;
    match error {
        E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
            error::describe(error)
        }
        E::WatchError(status) => error::refused(status),
        E::NoResourceVersion => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn status(code: u16) -> Box<Status> {
        Box::new(Status::failure("said", "Reason").with_code(code))
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let start = |code| watcher::Error::WatchStartFailed(kube::Error::Api(status(code)));
        assert_eq!(remedy(&start(403)), Remedy::Blind);
        assert_eq!(remedy(&start(410)), Remedy::Rebuild);
        assert_eq!(remedy(&start(429)), Remedy::Resume);
        assert_eq!(remedy(&start(500)), Remedy::ResumeAtFirst);
        assert_eq!(remedy(&watcher::Error::WatchError(status(504))), Remedy::Rebuild);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            remedy(&watcher::Error::WatchStartFailed(kube::Error::Service(refused.into()))),
            Remedy::Resume
        );
        assert_eq!(describe(&start(500)), "500: said");
    }
}
