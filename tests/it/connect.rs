//! `kubeherald run` where the cluster, the kubeconfig or something else it needs is not as it should be; and how
//! it ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kubeherald::testkit::ApiServer;
use kubeherald::testkit::receivers::{Reply, WebhookServer};
use serde_json::Value;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(60);
/// What of our own innards no person should have to read.
const INNARDS: [&str; 6] = ["ServiceError", "HyperError", "Status {", "Some(", "kube_client", "os error"];

/// Contexts `sim` (the server, token `right`), `stale` (its token is wrong) and `nowhere` (no such cluster).
fn kubeconfig(dir: &Path, server: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: sim\nclusters:\n- {{name: sim, cluster: {{server: \"{server}\"}}}}\n\
         users:\n- {{name: me, user: {{token: right-SECRET}}}}\n- {{name: old, user: {{token: wrong-SECRET}}}}\n\
         contexts:\n- {{name: sim, context: {{cluster: sim, user: me}}}}\n- {{name: stale, context: {{cluster: sim, user: old}}}}\n\
         - {{name: nowhere, context: {{cluster: gone, user: me}}}}\n"
    );
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KUBECONFIG", dir.join("kubeconfig"));
    command.current_dir(dir).arg("run").args(args).stdin(Stdio::null());
    command
}

/// Runs to its end, which must be a failure; gives what it said on stderr.
async fn failing(dir: &Path, args: &[&str]) -> String {
    let mut command = command(dir, args);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(HANG, output).await.expect("it ends").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(output.stdout, b"", "{said}");
    for innards in INNARDS {
        assert!(!said.contains(innards), "{innards}: {said}");
    }
    assert!(!said.contains("SECRET"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_and_a_wrong_context_are_what_is_said() {
    let server = ApiServer::start().await.unwrap();
    server.require_token("right-SECRET");
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server.url());
    let at = server.url().replace("http://", "");
    let said = failing(dir.path(), &["--context", "stale"]).await;
    assert_eq!(
        said,
        format!(
            "error: the cluster at {at} does not accept these credentials (401: Unauthorized)\n  \
             log in again, or choose another context with --context\n"
        )
    );
    let file = dir.path().join("kubeconfig");
    let said = failing(dir.path(), &["--context", "stal"]).await;
    assert_eq!(
        said,
        format!(
            "error: {} has no context `stal`; did you mean `stale`?\n  there are sim, stale, nowhere\n",
            file.display()
        )
    );
    let said = failing(dir.path(), &["--context", "nowhere"]).await;
    assert_eq!(
        said,
        format!("error: {}: the context is for a cluster `gone`, which is not there\n", file.display())
    );
    std::fs::write(&file, "contexts: [\ntoken: right-SECRET").unwrap();
    let said = failing(dir.path(), &[]).await;
    assert!(said.contains("is no kubeconfig: `kubectl config view` says where"), "{said}");
    std::fs::remove_file(&file).unwrap();
    let said = failing(dir.path(), &["--context", "sim"]).await;
    assert!(said.starts_with(&format!("error: cannot read {}: No such file", file.display())), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_host_and_port_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    kubeconfig(dir.path(), &format!("http://{free}"));
    let said = failing(dir.path(), &[]).await;
    assert_eq!(
        said,
        format!(
            "error: cannot reach the cluster at {free}: connection refused\n  \
             is the cluster running, and is this its address?\n"
        )
    );
    kubeconfig(dir.path(), "https://name.invalid");
    let said = failing(dir.path(), &[]).await;
    assert!(said.starts_with("error: cannot reach the cluster at name.invalid:443: "), "{said}");
    assert!(said.ends_with("\n  check the host's name in the kubeconfig\n"), "{said}");

    // What speaks no TLS, and what is no API server.
    let server = ApiServer::start().await.unwrap();
    let at = server.url().replace("http://", "");
    kubeconfig(dir.path(), &format!("https://{at}"));
    let said = failing(dir.path(), &[]).await;
    assert!(said.starts_with(&format!("error: cannot reach the cluster at {at}: ")), "{said}");
    assert!(said.contains("does not speak TLS there"), "{said}");
    let hook = WebhookServer::start().await.unwrap();
    hook.next(Reply::status(404, "<html>not here"));
    kubeconfig(dir.path(), hook.url().trim_end_matches('/'));
    let said = failing(dir.path(), &[]).await;
    assert!(said.contains("is no Kubernetes API server"), "{said}");
}

/// A process that is ended whatever comes of the test.
struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let log = dir.join("stderr");
        let file = std::fs::File::create(&log).unwrap();
        let child = command(dir, args).stderr(file).stdout(Stdio::null()).spawn().unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn says(&self, part: &str) {
        self.until(part, || self.said().contains(part)).await;
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let wait = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(HANG, wait).await;
        assert!(waited.is_ok(), "never: {what}\n{}", self.said());
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    async fn ended(&mut self) -> Option<i32> {
        for _ in 0..3000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end:\n{}", self.said());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_read_is_one_line_with_the_verb_and_what_grants_it() {
    let server = ApiServer::start().await.unwrap();
    server.forbid("pods");
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server.url());
    let running = Running::start(dir.path(), &[]);
    running.says("cannot list resource").await;
    let said = running.said();
    let line = said.lines().find(|line| line.contains("no permission")).unwrap();
    assert!(
        line.contains("no permission to list pods of the whole cluster; grant it with `kubeherald rbac"),
        "{line}"
    );
    let line = said.lines().find(|line| line.contains("cannot list resource")).unwrap();
    assert!(line.contains("cannot be read kind=Pod error=403: pods is forbidden: User \"system:"), "{line}");
    for innards in INNARDS {
        assert!(!said.contains(innards), "{innards}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_it_watches_when_nothing_can_keep_it_from_that() {
    let server = ApiServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server.url());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = failing(dir.path(), &["--listen", &address]).await;
    assert!(said.contains(&format!("cannot listen on {address}")) && !said.contains("watching"), "{said}");
    let said = failing(dir.path(), &["--store", "no/such/directory/state.db"]).await;
    assert!(said.contains("no/such/directory") && !said.contains("watching"), "{said}");
    let mut running = Running::start(dir.path(), &[]);
    running.says("watching all namespaces at http://").await;
    running.signal("-INT");
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_json_log_everything_said_is_json() {
    let server = ApiServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server.url());
    let lines = |said: &str| -> Vec<Value> {
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    };
    let levels = |said: &str| -> Vec<String> {
        lines(said).iter().map(|line| line["level"].as_str().unwrap().to_owned()).collect()
    };
    std::fs::write(dir.path().join("k.yaml"), "recievers: {}\nclutser: x\n").unwrap();
    let said = failing(dir.path(), &["--log-format", "json", "-c", "k.yaml"]).await;
    assert!(levels(&said).contains(&"ERROR".to_owned()) && said.contains("clutser"), "{said}");
    std::fs::write(
        dir.path().join("k.yaml"),
        "cluster: lab\nreceivers: {hook: {webhook: {url: \"http://127.0.0.1:9/\"}}}\n",
    )
    .unwrap();
    let args = ["--log-format", "json", "-c", "k.yaml"];
    let said = failing(dir.path(), &[&args[..], &["--store", "no/such/directory/state.db"]].concat()).await;
    let last = lines(&said).pop().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["because"][0].as_str().is_some_and(|why| why.contains("no/such/directory")), "{last}");

    let mut running = Running::start(dir.path(), &args);
    running.says("watching all namespaces").await;
    running.says("no `store.path`").await;
    running.signal("-TERM");
    assert_eq!(running.ended().await, Some(0));
    let said = running.said();
    assert!(levels(&said).contains(&"WARN".to_owned()), "{said}");
    assert!(said.contains("\"message\":\"stopped; "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_is_answered_at_once_and_what_is_left_is_counted() {
    let server = ApiServer::start().await.unwrap();
    server.apply(crate::cli::crashing()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server.url());
    let hook = WebhookServer::start().await.unwrap();
    let config = format!(
        "receivers: {{hook: {{webhook: {{url: \"{}\"}}}}}}\nengine: {{group_wait: 0s}}\n",
        hook.url()
    );
    std::fs::write(dir.path().join("k.yaml"), config).unwrap();
    for (store, end) in [
        (
            &["--store", "state.db"][..],
            "1 undelivered message is kept in state.db and sent at the next start",
        ),
        (&[], "1 undelivered message is lost: without `store.path` nothing is kept"),
    ] {
        let before = hook.received().all().len();
        for _ in 0..20 {
            hook.next(Reply::status(500, "not now"));
        }
        let mut running = Running::start(dir.path(), &[&["-c", "k.yaml"], store].concat());
        running.until("an attempt", || hook.received().all().len() > before).await;
        running.signal("-INT");
        running.says("finishing deliveries, up to 10 s; press Ctrl-C again to stop now").await;
        assert_eq!(running.ended().await, Some(0));
        assert!(running.said().trim_end().ends_with(end), "{}", running.said());
    }
}
