//! The files of an installation, and how they are written.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret as _, SecretString};

use super::receiver::{Receiver, quoted};
use crate::config::suggest;

/// Manifests as they are shipped: whoever has only the program has all of them.
pub const MANIFESTS: &[(&str, &str)] = &[
    ("namespace.yaml", include_str!("../../../deploy/namespace.yaml")),
    ("priority.yaml", include_str!("../../../deploy/priority.yaml")),
    ("rbac.yaml", include_str!("../../../deploy/rbac.yaml")),
    ("logs.yaml", include_str!("../../../deploy/logs.yaml")),
    ("store.yaml", include_str!("../../../deploy/store.yaml")),
    ("deployment.yaml", include_str!("../../../deploy/deployment.yaml")),
    ("service.yaml", include_str!("../../../deploy/service.yaml")),
    ("networkpolicy.yaml", include_str!("../../../deploy/networkpolicy.yaml")),
    ("rules/own.yaml", include_str!("../../../deploy/rules/own.yaml")),
];
const KUSTOMIZATION: &str = include_str!("../../../deploy/kustomization.yaml");
/// The token of the bot's API.
const HTTP_TOKEN: &str = "http-token";
pub const CONFIG: &str = "config/kubeherald.yaml";

/// What `init` was told.
#[derive(Debug)]
pub struct Plan {
    pub cluster: String,
    pub receivers: Vec<Receiver>,
    /// As `registry.example.com/kubeherald:0.1.0`.
    pub image: String,
}

/// A file, relative to the directory, and what belongs into it.
enum Content<'a> {
    Text(String),
    Secret(&'a SecretString),
}

impl Plan {
    pub fn config(&self) -> String {
        let receivers: String = self.receivers.iter().map(Receiver::yaml).collect();
        let names: Vec<&str> = self.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        format!(
            "# Paths are relative to this file. `kubeherald check` finds mistakes in it, `kubeherald schema config` has all\n\
             # of its keys, and a running bot takes changes over by itself.\n\
             \n\
             # Shown in every message.\n\
             cluster: {cluster}\n\
             \n\
             # Who can be told. Secrets stand in files of their own; `kubeherald send --all` tries each receiver.\n\
             receivers:\n\
             {receivers}\n\
             # Who is told what: the first route that matches decides, and the next is asked too where it says\n\
             # `continue: true`. For example, first in this list:\n\
             #   - {{match: {{severity: critical}}, receivers: [pager], continue: true}}\n\
             routes:\n\
             \x20 - receivers: [{names}]\n\
             \n\
             # Rules of your own; without any, those that come with kubeherald.\n\
             rules: {{dir: ../rules}}\n\
             \n\
             # Incidents, silences and unsent messages outlast a restart here.\n\
             store: {{path: /var/lib/kubeherald/kubeherald.db}}\n\
             \n\
             # /livez, /readyz, /metrics, and what `kubeherald silence` and `kubeherald reload` ask.\n\
             http: {{listen: \"0.0.0.0:8080\", token: {{file: ../secrets/{HTTP_TOKEN}}}}}\n",
            cluster = quoted(&self.cluster),
            names = names.join(", "),
        )
    }

    fn kustomization(&self) -> String {
        let (name, tag) = split_image(&self.image);
        let mut out = String::from("# kubectl apply -k .\n");
        for line in KUSTOMIZATION.lines().skip_while(|line| line.starts_with('#')) {
            let indent = line.len() - line.trim_start().len();
            let indent = " ".repeat(indent);
            match line.trim_start() {
                text if text.starts_with("newName:") => out.push_str(&format!("{indent}newName: {name}\n")),
                text if text.starts_with("newTag:") => {
                    out.push_str(&format!("{indent}newTag: {}\n", quoted(tag)))
                }
                _ => out.push_str(&format!("{line}\n")),
            }
        }
        out.push_str("secretGenerator:\n  - name: kubeherald-secrets\n    files:\n");
        for file in self.secret_names() {
            out.push_str(&format!("      - secrets/{file}\n"));
        }
        out
    }

    fn secret_names(&self) -> Vec<String> {
        let receivers = self.receivers.iter().flat_map(|receiver| receiver.secrets().map(|(name, _)| name));
        std::iter::once(HTTP_TOKEN.to_owned()).chain(receivers).collect()
    }

    /// Writes all of it, or nothing where one of the files is there and must not be replaced.
    pub fn write(&self, dir: &Path, replace: bool) -> Result<(), anyhow::Error> {
        let token = SecretString::from(token()?);
        let mut files: Vec<(String, Content<'_>)> = vec![
            ("kustomization.yaml".into(), Content::Text(self.kustomization())),
            (CONFIG.into(), Content::Text(self.config())),
            (".gitignore".into(), Content::Text("secrets/\n".into())),
            (format!("secrets/{HTTP_TOKEN}"), Content::Secret(&token)),
        ];
        files.extend(
            MANIFESTS.iter().map(|(name, text)| ((*name).to_owned(), Content::Text((*text).to_owned()))),
        );
        for receiver in &self.receivers {
            files.extend(
                receiver.secrets().map(|(name, secret)| (format!("secrets/{name}"), Content::Secret(secret))),
            );
        }
        let there: Vec<&str> = files
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| fs::symlink_metadata(dir.join(name)).is_ok())
            .collect();
        if !there.is_empty() && !replace {
            return Err(anyhow!(
                "{} holds {} already; name another directory, or replace them with --force",
                dir.display(),
                suggest::join(there)
            ));
        }
        for (name, content) in &files {
            let path = dir.join(name);
            write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn write(path: &PathBuf, content: &Content<'_>) -> std::io::Result<()> {
    let (mode, dir_mode, bytes) = match content {
        Content::Text(text) => (0o644, 0o755, text.as_bytes()),
        Content::Secret(secret) => (0o600, 0o700, secret.expose_secret().as_bytes()),
    };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(dir_mode).create(parent)?;
    }
    // Replaced and not written over: what is there may be a link, or readable by others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}

/// `registry:5000/a/b:tag` in two; a digest stays with the name.
fn split_image(image: &str) -> (&str, &str) {
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(last..).and_then(|name| name.rfind(':')) {
        Some(colon) => image
            .split_at_checked(last + colon)
            .map_or((image, "latest"), |(name, tag)| (name, tag.trim_start_matches(':'))),
        None => (image, env!("CARGO_PKG_VERSION")),
    }
}

/// 256 bits that nobody can guess, as hexadecimal text.
fn token() -> Result<String, anyhow::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_name_and_a_tag() {
        for (image, parts) in [
            ("kubeherald", ("kubeherald", env!("CARGO_PKG_VERSION"))),
            ("kubeherald:1", ("kubeherald", "1")),
            (
                "r.example.com:5000/a/kubeherald",
                ("r.example.com:5000/a/kubeherald", env!("CARGO_PKG_VERSION")),
            ),
            ("r.example.com:5000/a/kubeherald:1.2", ("r.example.com:5000/a/kubeherald", "1.2")),
        ] {
            assert_eq!(split_image(image), parts);
        }
    }

    #[test]
    fn tokens_differ() {
        let (a, b) = (token().unwrap(), token().unwrap());
        assert!(a != b && a.len() == 64);
    }
}
