//! What an e-mail receiver is.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

use crate::notify::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailConfig {
    /// `kubeherald@example.com` or `Kubeherald <kubeherald@example.com>`.
    pub from: String,
    /// Each gets a message of its own.
    pub to: Vec<String>,
    pub reply_to: Option<String>,
    /// The way to the mail server.
    pub smtp: SmtpConfig,
}

/// The way to a mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Its name, which its certificate must carry.
    pub host: String,
    /// 587 for submission, 465 for implicit TLS, 25 for relays.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// Logs in with this name.
    pub username: Option<String>,
    /// … and this password.
    pub password: Option<Secret>,
    /// A PEM file of a certificate authority to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// The name told in EHLO; `None`: the host's.
    pub hello: Option<String>,
    /// For the connection with its login, and again for each command.
    pub timeout: Duration,
    /// For the answer to a whole message. A server may work on it for long once it has all of it, and giving
    /// up then makes copies: RFC 5321 asks for ten minutes
    /// (<https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.6>).
    pub taking: Duration,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpTls {
    /// Begins in the clear and must be upgraded before anything is said (RFC 3207).
    #[default]
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Never. A password is then sent to a loopback address only.
    None,
}

/// An e-mail receiver cannot work as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    #[error("`{0}` is not an e-mail address: {1}")]
    Address(String, String),
    /// Nobody to write to.
    #[error("`to` has no recipients")]
    Nobody,
    /// A name without a password or the reverse.
    #[error("`username` and `password` go together")]
    HalfLogin,
    /// Would send a password in the clear.
    #[error("the password would travel unencrypted to {0}: use `tls: starttls` or `tls: implicit`")]
    PlainPassword(String),
    #[error("cannot use {0}: {1}")]
    Ca(PathBuf, String),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Parses an address as it stands in a configuration.
pub fn mailbox(text: &str) -> Result<Mailbox, EmailError> {
    // A line end in a display name would be the end of the header.
    if text.contains(['\r', '\n', '\0']) {
        return Err(EmailError::Address(text.escape_debug().to_string(), "it has a line end in it".into()));
    }
    text.parse()
        .map_err(|e: lettre::address::AddressError| EmailError::Address(text.to_owned(), e.to_string()))
}

impl SmtpTls {
    /// Where a server expects connections that are encrypted like this.
    pub const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

impl SmtpConfig {
    /// The submission port of a server, with STARTTLS and no login.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 587,
            tls: SmtpTls::StartTls,
            username: None,
            password: None,
            ca: None,
            hello: None,
            timeout: Duration::from_secs(30),
            taking: Duration::from_secs(5 * 60),
        }
    }

    /// May a password be sent over this connection?
    pub(super) fn check(&self) -> Result<(), EmailError> {
        if self.username.is_some() != self.password.is_some() {
            return Err(EmailError::HalfLogin);
        }
        let loopback = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if self.tls == SmtpTls::None && self.password.is_some() && !loopback {
            return Err(EmailError::PlainPassword(self.host.clone()));
        }
        Ok(())
    }
}
