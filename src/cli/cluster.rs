//! The way to the cluster: the kubeconfig or the pod's service account, and what is said where that does not
//! work.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::config::suggest;
use crate::message::text::words;
use crate::watch::error;

/// For the first answer: a wrong address should be said at once.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many contexts are named.
const CONTEXTS: usize = 20;
/// The longest name that is shown.
const NAME: usize = 120;

/// Signs in an error's text, in lower case, and what to do. The first that is found is given.
const HINTS: &[(&[&str], &str)] = &[
    (&["connection refused"], "is the cluster running, and is this its address?"),
    (&["failed to lookup address", "name or service not known"], "check the host's name in the kubeconfig"),
    (
        &["unknownissuer", "badsignature"],
        "the `certificate-authority` of the kubeconfig did not sign this server's certificate",
    ),
    (&["notvalidforname", "not valid for name"], "the server's certificate is for another name"),
    (&["expired"], "the server's certificate has expired, or this machine's clock is wrong"),
    (
        &["invalidcontenttype", "corrupt message"],
        "the server does not speak TLS there: http:// instead of https://?",
    ),
    (&["login command"], "log in again, or choose another context with --context"),
    (&["no answer in time"], "is there a network (VPN) to it, and does a firewall let it through?"),
];

/// The cluster of a context, of the kubeconfig's current one, or the one this pod runs in.
pub async fn config(context: Option<&str>) -> Result<kube::Config, anyhow::Error> {
    match context {
        None => kube::Config::infer().await.map_err(|error| not_inferred(&error)),
        Some(name) => {
            let options =
                KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
            kube::Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))
        }
    }
}

/// One question before anything else: a wrong address or an expired login should be said at once and
/// clearly, not as eleven failing watches. The answer is the server's version, where it gives it.
pub async fn reach(client: &kube::Client, config: &kube::Config) -> Result<Option<String>, anyhow::Error> {
    let at = place(&config.cluster_url);
    let error = match tokio::time::timeout(PATIENCE, client.apiserver_version()).await {
        Ok(Ok(version)) => return Ok(Some(version.git_version)),
        Err(_) => return Err(cannot_reach(&at, &format!("no answer in time ({} s)", PATIENCE.as_secs()))),
        Ok(Err(error)) => error,
    };
    match &error {
        // The server is there; what it refuses is reported for each kind.
        kube::Error::Api(status) if status.code == 403 => Ok(None),
        kube::Error::Api(status) if status.code == 401 => Err(anyhow!(
            "the cluster at {at} does not accept these credentials (401: {})\n  \
             log in again, or choose another context with --context",
            words::one_line(&status.message, NAME)
        )),
        kube::Error::Api(status) if status.code < 500 => Err(anyhow!(
            "what answers at {at} is no Kubernetes API server ({})",
            words::one_line(&error::describe(&error), 2 * NAME)
        )),
        kube::Error::Api(_) => {
            Err(anyhow!("the cluster at {at} cannot answer ({})", error::describe(&error)))
        }
        kube::Error::SerdeError(_) => {
            Err(anyhow!("what answers at {at} is no Kubernetes API server: its answer is not JSON of one"))
        }
        _ => Err(cannot_reach(&at, &error::describe(&error))),
    }
}

fn cannot_reach(at: &str, why: &str) -> anyhow::Error {
    let lower = why.to_lowercase();
    let hint = HINTS.iter().find(|(signs, _)| signs.iter().any(|sign| lower.contains(sign)));
    let hint = hint.map(|(_, hint)| format!("\n  {hint}")).unwrap_or_default();
    anyhow!("cannot reach the cluster at {at}: {why}{hint}")
}

/// `10.0.0.1:6443`: the port as well where the address leaves it out.
fn place(url: &http::Uri) -> String {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or_default())
}

/// Neither a kubeconfig nor a service account; or a kubeconfig that is there and cannot be used.
fn not_inferred(error: &InferConfigError) -> anyhow::Error {
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<KubeconfigError>());
    match source {
        Some(error) if !is_missing(error) => unusable(error),
        _ => {
            let demo = if cfg!(feature = "demo") { "; `kubeherald demo` needs none" } else { "" };
            let looked = paths().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            anyhow!(
                "found no cluster: neither a kubeconfig (KUBECONFIG, ~/.kube/config) nor a service account{demo}\n  \
                 looked for {}",
                if looked.is_empty() { "a home directory" } else { &looked }
            )
        }
    }
}

fn is_missing(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        // An empty file, as `KUBECONFIG=/dev/null` is.
        KubeconfigError::CurrentContextNotSet => contexts().is_empty(),
        _ => false,
    }
}

/// What is wrong with a kubeconfig. Nothing of its contents but names is shown: it holds credentials.
fn unusable(error: &KubeconfigError) -> anyhow::Error {
    let name = |name: &str| words::one_line(name, NAME);
    let file = paths().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match error {
        KubeconfigError::LoadContext(asked) => {
            let known = contexts();
            let near = suggest::nearest(asked, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            anyhow!("{file} has no context `{}`{near}\n  {}", name(asked), listed(&known))
        }
        KubeconfigError::CurrentContextNotSet => {
            anyhow!("{file} has no current context: name one with --context\n  {}", listed(&contexts()))
        }
        KubeconfigError::LoadClusterOfContext(cluster) => {
            anyhow!("{file}: the context is for a cluster `{}`, which is not there", name(cluster))
        }
        KubeconfigError::ReadConfig(error, path) => anyhow!("cannot read {}: {error}", path.display()),
        KubeconfigError::Parse(_) => {
            anyhow!("{file} is no kubeconfig: `kubectl config view` says where it is wrong")
        }
        other => anyhow!("{file} cannot be used: {}", name(&other.to_string())),
    }
}

fn listed(contexts: &[String]) -> String {
    if contexts.is_empty() {
        return "there is none".to_owned();
    }
    let mut text = String::from(if contexts.len() == 1 { "there is " } else { "there are " });
    let names: Vec<String> = contexts.iter().map(|context| words::one_line(context, NAME)).collect();
    write!(text, "{}", words::list(names.iter().map(String::as_str), CONTEXTS, names.len()))
        .unwrap_or_default();
    text
}

/// The contexts there are.
fn contexts() -> Vec<String> {
    let found = Kubeconfig::read().map(|config| config.contexts).unwrap_or_default();
    found.into_iter().map(|context| context.name).collect()
}

/// Where a kubeconfig is looked for.
fn paths() -> Vec<PathBuf> {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"))
            .into_iter()
            .collect(),
    }
}
