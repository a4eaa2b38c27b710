//! Secrets by reference: the configuration names where a secret is, never what it is.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The largest secret file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where a secret is. It is read anew at every use, so that a rotated file needs no reload.
#[derive(Clone)]
pub enum Secret {
    Env(String),
    /// `{file: PATH}`; one line end at the end of the file is not part of the secret.
    File(PathBuf),
    /// The value itself: an address that a configuration may show, the demo, tests.
    Inline(SecretString),
}

/// A secret is not where it should be. Never contains the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// `{env: …}`, but not text.
    #[error("environment variable {0} is not valid UTF-8")]
    NotText(String),
    #[error("cannot read {path}: {error}", path = .0.display(), error = .1)]
    Unreadable(PathBuf, String),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

impl Secret {
    pub fn resolve(&self) -> Result<SecretString, SecretError> {
        let value = match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(value) => value,
                Err(std::env::VarError::NotPresent) => return Err(SecretError::Unset(name.clone())),
                Err(std::env::VarError::NotUnicode(_)) => return Err(SecretError::NotText(name.clone())),
            },
            Self::File(path) => {
                let unreadable = |e: &dyn fmt::Display| SecretError::Unreadable(path.clone(), e.to_string());
                let file = std::fs::File::open(path).map_err(|e| unreadable(&plain(&e)))?;
                let mut value = String::new();
                let read =
                    file.take(MAX_FILE + 1).read_to_string(&mut value).map_err(|e| unreadable(&plain(&e)))?;
                if read as u64 > MAX_FILE {
                    return Err(unreadable(&format!("larger than {} KiB", MAX_FILE / 1024)));
                }
                if value.ends_with('\n') {
                    value.pop();
                    if value.ends_with('\r') {
                        value.pop();
                    }
                }
                value
            }
            Self::Inline(value) => return Ok(value.clone()),
        };
        if value.is_empty() {
            Err(SecretError::Empty(self.to_string()))
        } else {
            Ok(SecretString::from(value))
        }
    }
}

/// A digest of what secrets are at the moment, also of one that cannot be read; `None` where there are none.
pub fn digest<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Option<super::Credentials> {
    let mut hash = Sha256::new();
    let mut any = false;
    for secret in secrets {
        any = true;
        let value = secret.resolve();
        let value = value.as_ref().map_or("", |value| value.expose_secret());
        // With its length, so that no two lists are one text.
        hash.update(value.len().to_le_bytes());
        hash.update(value.as_bytes());
    }
    any.then(|| hash.finalize().into())
}

/// "No such file or directory", without "(os error 2)".
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Env(a), Self::Env(b)) => a == b,
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Inline(a), Self::Inline(b)) => a.expose_secret() == b.expose_secret(),
            _ => false,
        }
    }
}

impl Eq for Secret {}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Inline(_) => f.write_str("a value given in the program"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_and_loses_one_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secret = Secret::File(path.clone());
        assert_eq!(
            secret.resolve().unwrap_err().to_string(),
            format!("cannot read {}: No such file or directory", path.display())
        );
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(secret.resolve().unwrap().expose_secret(), "one");
        std::fs::write(&path, "two \n\r\n").unwrap();
        assert_eq!(secret.resolve().unwrap().expose_secret(), "two \n");
        std::fs::write(&path, "\n").unwrap();
        assert!(secret.resolve().unwrap_err().to_string().ends_with("is empty"));
    }

    #[test]
    fn a_digest_changes_with_a_secret_and_not_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secrets = [Secret::Inline("other".into()), Secret::File(path.clone())];
        let missing = digest(&secrets);
        assert_eq!(missing, digest(&secrets));
        std::fs::write(&path, "one\n").unwrap();
        let one = digest(&secrets);
        std::fs::write(&path, "two\n").unwrap();
        assert!(missing.is_some() && missing != one && one != digest(&secrets));
        assert_eq!(digest(&[]), None);
    }

    #[test]
    fn a_missing_variable_is_named_and_nothing_is_printed() {
        let secret = Secret::Env("KUBEHERALD_TEST_NO_SUCH".into());
        assert_eq!(
            secret.resolve().unwrap_err().to_string(),
            "environment variable KUBEHERALD_TEST_NO_SUCH is not set"
        );
        let inline = Secret::Inline("hunter2".into());
        assert!(!format!("{inline:?} {inline}").contains("hunter2"));
    }
}
