//! The binary: SIGHUP, and an end in the middle of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kubeherald::testkit::receivers::{Reply, WebhookServer};

use super::{CRASH, QUIET, Site, crashing, told, until};

struct Process {
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    fn start(site: &Site, args: &[&str]) -> Self {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\ncurrent-context: c\n",
            site.server.url()
        );
        site.write("kubeconfig", &kubeconfig);
        let log = site.path("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("KUBECONFIG", site.path("kubeconfig"))
            .env("KUBEHERALD_LOG", "info")
            .current_dir(site.dir.path())
            .arg("run")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// `before`: how many were up before it.
    async fn up(&self, before: u32) {
        until("it is up", || self.log().matches("health and metrics").count() > before as usize).await;
    }

    async fn says(&self, what: &str) {
        until(what, || self.log().contains(what)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn broken(path: &Path) {
    let text = "rules:\n  - {name: crash, match: {cause: CrashLopBackOff}, for: 1 minute}\n  - {name: other, mtach: {cause: Evicted}}\n";
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_loads_again_and_errors_are_logged_with_their_frames() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    site.write("rules/own.yaml", &format!("rules:\n{QUIET}"));
    let mut process = Process::start(&site, &["--config", "kubeherald.yaml"]);
    site.server.apply(crashing("a")).unwrap();
    process.says("health and metrics").await;
    site.write("rules/own.yaml", &format!("{CRASH}{QUIET}"));
    process.signal("-HUP");
    process.says("configuration loaded").await;
    until("what stands", || !told(&hook).is_empty()).await;
    broken(&site.path("rules/own.yaml"));
    process.signal("-HUP");
    process.says("the configuration cannot be used, the last good one stays in force").await;
    until("a notice", || told(&hook).iter().any(|t| t.reason == "config_broken")).await;
    let log = process.log();
    for frame in ["rules/own.yaml:2:", "rules/own.yaml:3:", "^^^^^^^^^^^^^^^", "did you mean"] {
        assert!(log.contains(frame), "{frame} in {log}");
    }
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success(), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_configuration_sighup_ends_nothing() {
    let site = Site::new().await;
    let mut process = Process::start(&site, &["--listen", "127.0.0.1:0"]);
    process.says("watching ").await;
    process.says("health and metrics").await;
    process.signal("-HUP");
    process.says("there is nothing to reload").await;
    assert!(process.child.try_wait().unwrap().is_none(), "it still runs");
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
}

/// Killed at any moment of many reloads: whatever was owed to a receiver that is still there arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_the_middle_of_a_reload_loses_nothing() {
    let site = Site::new().await;
    let (hook, other) = (WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap());
    let configure = |n: usize| {
        let names: &[(&str, &str)] = if n.is_multiple_of(2) {
            &[("hook", &hook.url()), ("other", &other.url())]
        } else {
            &[("hook", &hook.url())]
        };
        site.configure(
            names,
            if n.is_multiple_of(2) { "routes: [{receivers: [hook, other]}]\n" } else { "" },
        );
    };
    configure(0);
    for n in 0..200_u32 {
        if n.is_multiple_of(4) {
            hook.next(Reply::status(503, ""));
        } else {
            hook.next(Reply::status(200, ""));
        }
    }
    let mut count = 0;
    for life in 0..6_u32 {
        let mut process = Process::start(&site, &["--config", "kubeherald.yaml"]);
        process.up(life).await;
        for n in 0..10 {
            site.server.apply(crashing(&format!("l{life}-{n}"))).unwrap();
            count += 1;
            configure(n);
            process.signal("-HUP");
            tokio::time::sleep(Duration::from_millis(20 + u64::from(life) * 7)).await;
        }
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    configure(1);
    let mut process = Process::start(&site, &["--config", "kubeherald.yaml"]);
    process.up(6).await;
    let all = || -> BTreeSet<String> {
        // What was wrong at the first start comes as a summary.
        let bodies = hook.received().all();
        let named = |body: &serde_json::Value| {
            let all = body["incidents"].as_array().cloned().unwrap_or_default();
            all.iter().map(|i| i["workload"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        bodies.iter().flat_map(|got| named(&got.json())).collect()
    };
    until("all of them", || all().len() == count).await;
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
}
