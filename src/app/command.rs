//! How people reach this process with kubeherald's command line: through kubectl where it runs in a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::message::CommandLine;

/// Where a pod finds the name of its namespace
/// (<https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>).
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The command line of this process, which reads `config`.
pub fn detect(config: Option<&Path>) -> CommandLine {
    // The kubelet gives every container this variable, and names its host after the pod.
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let namespace = in_cluster.then(|| std::fs::read_to_string(NAMESPACE).ok()).flatten();
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    let program = namespace.and_then(|namespace| in_pod(namespace.trim(), &host));
    let config = config.map(|path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)));
    CommandLine {
        program: Arc::from(program.as_deref().unwrap_or("kubeherald")),
        config: config.and_then(|path| Some(Arc::from(path.to_str()?))),
    }
}

/// `kubectl -n kubeherald exec deploy/kubeherald -- kubeherald`. A pod's name changes with each restart of a
/// Deployment, the Deployment's name does not.
fn in_pod(namespace: &str, pod: &str) -> Option<String> {
    let name = |text: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        !text.is_empty() && !text.starts_with('-') && text.len() <= 253 && text.bytes().all(plain)
    };
    if !name(namespace) || !name(pod) {
        return None;
    }
    let target = deployment(pod).map_or_else(|| pod.to_owned(), |name| format!("deploy/{name}"));
    Some(format!("kubectl -n {namespace} exec {target} -- kubeherald"))
}

/// The Deployment whose pod has this name: `NAME-HASH-xxxxx`, in the letters that Kubernetes makes up names from
/// (<https://github.com/kubernetes/apimachinery/blob/master/pkg/util/rand/rand.go>).
fn deployment(pod: &str) -> Option<&str> {
    let made_up = |text: &str| text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b));
    let (rest, suffix) = pod.rsplit_once('-')?;
    let (name, hash) = rest.rsplit_once('-')?;
    let fits = suffix.len() == 5 && (5..=10).contains(&hash.len()) && made_up(suffix) && made_up(hash);
    (fits && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_reached_through_its_deployment() {
        let reached = |pod| in_pod("ops", pod).unwrap_or_default();
        assert_eq!(
            reached("kubeherald-688988776f-2xkqz"),
            "kubectl -n ops exec deploy/kubeherald -- kubeherald"
        );
        assert_eq!(reached("my-bot-5d9c7b4c8-lw8rn"), "kubectl -n ops exec deploy/my-bot -- kubeherald");
        assert_eq!(reached("kubeherald-0"), "kubectl -n ops exec kubeherald-0 -- kubeherald");
        assert_eq!(reached("one-two-three"), "kubectl -n ops exec one-two-three -- kubeherald");
        for (namespace, pod) in [("", "x"), ("ops", ""), ("ops; reboot", "x"), ("ops", "$(x)"), ("-n", "x")] {
            assert_eq!(in_pod(namespace, pod), None, "{namespace} {pod}");
        }
    }

    #[test]
    fn outside_of_a_cluster_it_is_called_by_its_name() {
        let found = detect(Some(Path::new("kubeherald.yaml")));
        assert!(found.config.as_deref().is_some_and(|path| path.starts_with('/')), "{found:?}");
        assert_eq!(detect(None).config, None);
    }
}
