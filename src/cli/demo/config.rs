//! The configuration of the demonstration, as a user would write it. The rules are the shipped ones, as a default
//! installation has them.

use std::path::PathBuf;

use anyhow::Context;

use crate::testkit::story::CLUSTER;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_good_and_leaves_nothing_behind() {
        let addresses = Addresses {
            slack: "http://127.0.0.1:1/api".into(),
            webhook: "http://127.0.0.1:1/".into(),
            smtp: 1,
        };
        let files = Files::write(&addresses).unwrap();
        let loaded = crate::config::load(Some(&files.config()), &[]).map_err(|d| d.render(false)).unwrap();
        assert_eq!(loaded.config.receivers.len(), 3);
        assert!(loaded.warnings.render(false).trim().is_empty(), "{}", loaded.warnings.render(false));
        let directory = files.directory.clone();
        drop(files);
        assert!(!directory.exists());
    }
}
