//! A permission that the API server says is missing, and the command that grants it.

use std::fmt;
use std::sync::Arc;

use kube::runtime::watcher;

use super::group::Member;
use crate::watch::Kind;

/// `cannot list pods in the namespace shop; to allow it: kubeherald rbac … | kubectl apply -f -`
#[derive(Debug)]
pub(super) struct Missing {
    verb: &'static str,
    plural: &'static str,
    namespace: Option<Arc<str>>,
    /// Whom to grant it, as arguments of `kubeherald rbac`.
    account: String,
}

impl Missing {
    /// `None`: it is something else that is wrong.
    pub fn of(kind: Kind, member: Option<&Member>, error: &watcher::Error) -> Option<Self> {
        use watcher::Error as E;
        let (verb, error) = match error {
            E::InitialListFailed(error) => ("list", error),
            E::WatchStartFailed(error) | E::WatchFailed(error) => ("watch", error),
            E::WatchError(_) | E::NoResourceVersion => return None,
        };
        let kube::Error::Api(status) = error else { return None };
        (status.code == 403).then(|| Self {
            verb,
            plural: kind.plural(),
            namespace: member.map(|member| Arc::clone(&member.namespace)),
            account: account(&status.message).unwrap_or_default(),
        })
    }
}

/// From `… User "system:serviceaccount:monitoring:herald" cannot list resource …`.
fn account(message: &str) -> Option<String> {
    let user = message.split_once("User \"")?.1.split_once('"')?.0;
    let name = |text: &str| {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b".-_@:/".contains(&b);
        !text.is_empty() && text.bytes().all(safe)
    };
    if !name(user) || user == "system:anonymous" {
        return None;
    }
    match user.strip_prefix("system:serviceaccount:") {
        Some(account) => Some(format!(" --serviceaccount {account}")),
        None => Some(format!(" --user {user}")),
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, plural, namespace, account } = self;
        write!(f, "no permission to {verb} {plural}")?;
        let mut scope = String::new();
        match namespace {
            Some(namespace) => {
                write!(f, " in the namespace {namespace}")?;
                scope = format!(" --namespaced {namespace}");
            }
            None => write!(f, " of the whole cluster")?,
        }
        write!(f, "; grant it with `kubeherald rbac{scope}{account} | kubectl apply -f -`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_grant_it_is_in_the_answer_and_only_plain_names_are_taken_over() {
        for (user, expected) in [
            ("system:serviceaccount:monitoring:herald", Some(" --serviceaccount monitoring:herald")),
            ("jane@example.com", Some(" --user jane@example.com")),
            ("system:anonymous", None),
            ("x; rm -rf /", None),
            ("$(id)", None),
        ] {
            let message = format!("pods is forbidden: User \"{user}\" cannot list resource \"pods\"");
            assert_eq!(account(&message).as_deref(), expected, "{user}");
        }
        assert_eq!(account("no"), None);
    }
}
