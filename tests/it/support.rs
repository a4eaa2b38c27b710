//! What tests of the whole program share: its process, and waiting for what is to happen.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longer than anything takes unless it hangs, on a machine that has much else to do.
pub const HANG: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `done`.
pub async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    assert!(tokio::time::timeout(HANG, waiting).await.is_ok(), "it never happened: {what}");
}

/// `kubeherald run` as a process of its own, in a directory with its files. Ended when the test is.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it against the API server at `server`. Standard error goes to `log` in the directory, after what is
    /// there from processes before.
    pub fn start(dir: &Path, server: &str, env: &[(&str, &str)], args: &[&str]) -> Self {
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sim\nclusters:\n- {{name: sim, cluster: {{server: \"{server}\"}}}}\n\
             users:\n- {{name: me, user: {{token: t}}}}\ncontexts:\n- {{name: sim, context: {{cluster: sim, user: me}}}}\n"
        );
        std::fs::write(dir.join("kubeconfig"), kubeconfig).unwrap();
        let log = dir.join("log");
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            // What it has in memory is measured, and must not depend on the number of cores.
            .env("MALLOC_ARENA_MAX", "2")
            .env("KUBECONFIG", dir.join("kubeconfig"))
            .envs(env.iter().copied())
            .current_dir(dir)
            .arg("run")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn says(&self, what: &str) {
        until(what, async || self.log().contains(what)).await;
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until `done`; that it ends meanwhile is a failure.
    pub async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !done(self) {
            assert!(self.ended().is_none(), "it ended: {}", self.log());
            assert!(began.elapsed() < HANG, "it never happened: {what}\n{}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks it to stop, and waits until it has, in order.
    pub async fn stop(mut self) {
        self.signal("-TERM");
        let began = std::time::Instant::now();
        while self.ended().is_none() {
            assert!(began.elapsed() < HANG, "it does not stop: {}", self.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        assert!(self.ended().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
