//! The configuration of the demonstration: the shipped rules, only faster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::config::{self, Config, EngineConfig};
use crate::rule::{Rule, RuleSet};
use crate::testkit::story::{CLUSTER, PACE};

/// Where the fakes listen.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The base of the Slack API.
    pub slack: String,
    /// The webhook.
    pub webhook: String,
    /// The port of the mail server.
    pub smtp: u16,
}

/// The files of the demonstration, gone when this is dropped.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left is a few lines in the directory for such things.
        std::fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

impl Files {
    /// Writes the configuration that a user would write, and the secrets it names.
    pub fn write(addresses: &Addresses) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("kubeherald-demo-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let files = Self { directory };
        files.put("kubeherald.yaml", &yaml(addresses))?;
        files.put("slack-token", "xoxb-test\n")?;
        files.put("hook-secret", "a secret that both sides know\n")?;
        Ok(files)
    }

    fn put(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("kubeherald.yaml")
    }
}

/// The configuration as a file.
fn yaml(addresses: &Addresses) -> String {
    let Addresses { slack, webhook, smtp } = addresses;
    format!(
        r##"cluster: {CLUSTER}
receivers:
  slack:
    slack: {{token: {{file: slack-token}}, channel: "#alerts", api_url: "{slack}"}}
  webhook:
    webhook: {{url: "{webhook}", sign: {{secret: {{file: hook-secret}}}}}}
  mail:
    email:
      from: Kubeherald <kubeherald@example.com>
      to: [oncall@example.com]
      smtp: {{host: 127.0.0.1, port: {smtp}, tls: none}}
"##
    )
}

/// Loads it, and makes every time of every rule shorter.
pub fn load(path: &Path, speed: f64) -> Result<Config, config::Diagnostics> {
    let loaded = config::load(Some(path), &[])?;
    Ok(hurry(&loaded.config, speed))
}

/// The same rules for a cluster that lives [`PACE`] times as fast (times `speed`).
#[must_use]
pub fn hurry(config: &Config, speed: f64) -> Config {
    let rules = config.rules.iter().map(|rule| faster(rule, speed)).collect();
    let mut config = Config::clone(config);
    config.rules = RuleSet::new(rules);
    config.engine = EngineConfig { group_wait: shorter(config.engine.group_wait, speed), ..config.engine };
    for receiver in &mut config.receivers {
        receiver.rate_limit.per = shorter(receiver.rate_limit.per, speed).min(receiver.rate_limit.per);
    }
    config
}

fn faster(rule: &Rule, speed: f64) -> Rule {
    let mut rule = rule.clone();
    for time in
        [&mut rule.hold, &mut rule.window, &mut rule.max_window, &mut rule.stable_for, &mut rule.resolve_after]
    {
        *time = shorter(*time, speed);
    }
    rule.group_wait = rule.group_wait.map(|wait| shorter(wait, speed));
    if let Some(count) = &mut rule.count {
        count.within = shorter(count.within, speed);
    }
    rule
}

/// The API's times are whole seconds, so that nothing below one means anything.
fn shorter(time: Duration, speed: f64) -> Duration {
    if time.is_zero() { time } else { (time / PACE).max(Duration::from_secs(1)).div_f64(speed.max(0.01)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_rule_is_there_and_none_is_slower() {
        let addresses =
            Addresses { slack: "http://127.0.0.1:1/api".into(), webhook: "http://127.0.0.1:1/".into(), smtp: 1 };
        let files = Files::write(&addresses).unwrap();
        let shipped = config::load(None, &[]).unwrap().config;
        let fast = load(&files.config(), 1.0).map_err(|d| d.render(false)).unwrap();
        assert_eq!(fast.rules.len(), shipped.rules.len());
        for (fast, slow) in fast.rules.iter().zip(shipped.rules.iter()) {
            assert_eq!(fast.name, slow.name);
            assert!(fast.hold <= slow.hold && fast.stable_for < slow.stable_for && fast.window < slow.window);
            assert_eq!(fast.hold.is_zero(), slow.hold.is_zero());
        }
        let directory = files.config();
        drop(files);
        assert!(!directory.exists());
    }
}
