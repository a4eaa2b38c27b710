//! One attempt to reach every recipient that has not got the notification yet.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Mutex;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;

use super::config::{EmailConfig, EmailError, SmtpTls, mailbox};
use super::request::{self, Mail};
use crate::message::text::words;
use crate::notify::{Attempt, BuildError, Deliver, Network, Outcome, Parts, hint};
use crate::template::{Templates, model};

/// For how many notifications it is remembered who has got them.
const MAX_REMEMBERED: usize = 1000;
/// The longest attempt, whatever the number of recipients.
const MAX_ATTEMPT: Duration = Duration::from_secs(300);

/// Writes mails.
pub struct Email {
    config: EmailConfig,
    from: Mailbox,
    to: Vec<Mailbox>,
    reply_to: Option<Mailbox>,
    templates: Templates,
    /// Made once: it reads all certificates that the system trusts.
    tls: Option<TlsParameters>,
    network: Network,
    done: Mutex<Progress>,
}

/// Who has got what, for notifications that are being tried again.
#[derive(Debug, Default)]
struct Progress {
    entries: VecDeque<(String, BTreeSet<String>)>,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Taken,
    Later(String),
    Never(String),
}

/// Why a session ended. `verb` is what the server was asked.
#[derive(Debug)]
struct Fault {
    verb: &'static str,
    /// Is it about this message or recipient, so that the next one may still be asked?
    permanent: bool,
    /// Is the connection of no use any more?
    broken: bool,
    reason: String,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Email {
    /// Makes the notifier; reads no secret and connects to nothing.
    pub fn new(config: EmailConfig, parts: &Parts) -> Result<Self, BuildError> {
        config.smtp.check()?;
        let from = mailbox(&config.from)?;
        let to = config.to.iter().map(|t| mailbox(t)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err(EmailError::Nobody.into());
        }
        let reply_to = config.reply_to.as_deref().map(mailbox).transpose()?;
        let tls = match config.smtp.tls {
            SmtpTls::None => None,
            // A simulated connection begins inside of TLS: see `Network`.
            SmtpTls::Implicit if matches!(parts.network, Network::Simulated(_)) => None,
            _ => Some(tls(&config)?),
        };
        let templates = parts.templates.clone();
        let network = parts.network.clone();
        Ok(Self { config, from, to, reply_to, templates, tls, network, done: Mutex::default() })
    }

    async fn session(&self, mails: &[(Mailbox, lettre::Message)], fates: &mut [Fate]) {
        let limit = self.config.smtp.timeout;
        let connected = tokio::time::timeout(limit, self.connect()).await.unwrap_or_else(|_| {
            Err(Fault::line("connect", format!("no answer within {} s", limit.as_secs())))
        });
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(fault) => return fates.fill(fault.fate()),
        };
        for ((to, message), fate) in mails.iter().zip(fates.iter_mut()) {
            let sent = tokio::time::timeout(limit, transfer(&mut connection, to, message)).await;
            let fault = match sent {
                Ok(Ok(())) => {
                    *fate = Fate::Taken;
                    continue;
                }
                Ok(Err(fault)) => fault,
                // After the final dot nobody knows whether it was taken: the same Message-ID is
                // sent again, and mail stores fold the two.
                Err(_) => Fault::line("DATA", format!("no answer within {} s", limit.as_secs())),
            };
            let broken = fault.broken;
            *fate = fault.fate();
            if broken {
                // The others keep "not tried yet" and are tried again. The connection is dropped:
                // lettre's own `abort` waits for an answer to QUIT without a limit.
                return;
            }
            if tokio::time::timeout(limit, connection.command(Rset)).await.is_err() {
                return;
            }
        }
        // The mails are taken; how the goodbye goes is of no interest.
        tokio::time::timeout(Duration::from_secs(2), connection.quit()).await.ok();
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Fault> {
        let smtp = &self.config.smtp;
        let hello = smtp.hello.clone().map_or_else(ClientId::default, ClientId::Domain);
        let params = self.tls.clone();
        let implicit = params.clone().filter(|_| smtp.tls == SmtpTls::Implicit);
        let address = (smtp.host.as_str(), smtp.port);
        let connected = match &self.network {
            Network::Real => {
                AsyncSmtpConnection::connect_tokio1(address, Some(smtp.timeout), &hello, implicit, None).await
            }
            Network::Simulated(network) => {
                let stream = network.connect(&smtp.host, smtp.port).await;
                let stream = stream.map_err(|e| Fault::line("connect", format!("Connection error: {e}")))?;
                AsyncSmtpConnection::connect_with_transport(stream, &hello).await
            }
        };
        let mut connection = connected.map_err(|e| Fault::of("connect", &e).lasting())?;
        if let (SmtpTls::StartTls, Some(params)) = (smtp.tls, params) {
            if !connection.can_starttls() {
                let reason = "the server does not offer STARTTLS: use `tls: implicit` (port 465), or `tls: none` \
                              where the network itself is trusted";
                return Err(Fault::line("STARTTLS", reason.into()));
            }
            connection.starttls(params, &hello).await.map_err(|e| Fault::of("STARTTLS", &e).lasting())?;
        }
        if let (Some(username), Some(password)) = (&smtp.username, &smtp.password) {
            let password =
                password.resolve().map_err(|e| Fault::line("AUTH", format!("no password: {e}")))?;
            let credentials = Credentials::new(username.clone(), password.expose_secret().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|e| {
                let mut fault = Fault::of("AUTH", &e);
                fault.broken = true;
                if fault.permanent {
                    fault.reason.push_str(" – check username and password");
                }
                fault
            })?;
        }
        Ok(connection)
    }

    fn remembered(&self, key: &str) -> BTreeSet<String> {
        let Ok(done) = self.done.lock() else { return BTreeSet::new() };
        done.entries.iter().find(|(k, _)| k == key).map(|(_, who)| who.clone()).unwrap_or_default()
    }

    /// Remembers who has got it; forgets the notification with an empty set.
    fn remember(&self, key: &str, who: BTreeSet<String>) {
        if let Ok(mut done) = self.done.lock() {
            done.entries.retain(|(k, _)| k != key);
            if !who.is_empty() {
                if done.entries.len() >= MAX_REMEMBERED {
                    done.entries.pop_front();
                }
                done.entries.push_back((key.to_owned(), who));
            }
        }
    }
}

/// The messages for one recipient, verb by verb, so that a refusal says what was refused.
async fn transfer(
    connection: &mut AsyncSmtpConnection,
    to: &Mailbox,
    message: &lettre::Message,
) -> Result<(), Fault> {
    let envelope: &Envelope = message.envelope();
    let from = MailFrom::new(envelope.from().cloned(), Vec::new());
    connection.command(from).await.map_err(|e| Fault::of("MAIL FROM", &e))?;
    connection
        .command(Rcpt::new(to.email.clone(), Vec::new()))
        .await
        .map_err(|e| Fault::of("RCPT TO", &e))?;
    connection.command(Data).await.map_err(|e| Fault::of("DATA", &e))?;
    connection.message(&message.formatted()).await.map_err(|e| Fault::of("the message", &e))?;
    Ok(())
}

fn tls(config: &EmailConfig) -> Result<TlsParameters, EmailError> {
    let mut builder = TlsParameters::builder(config.smtp.host.clone());
    if let Some(path) = &config.smtp.ca {
        let failed = |e: &dyn std::fmt::Display| EmailError::Ca(path.clone(), e.to_string());
        let pem = std::fs::read(path).map_err(|e| failed(&e))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|e| failed(&e))?);
    }
    builder.build().map_err(|e| EmailError::Tls(chain(&e)))
}

impl Fault {
    fn line(verb: &'static str, reason: String) -> Self {
        Self { verb, permanent: false, broken: true, reason }
    }

    /// A 5yz answer is permanent, a 4yz one is not, and neither breaks the connection, except 421
    /// (RFC 5321, sections 4.2.1 and 3.8). Everything else is about the line.
    fn of(verb: &'static str, e: &lettre::transport::smtp::Error) -> Self {
        let answered = e.status().is_some();
        let closing = e.status().is_some_and(|code| code.to_string() == "421");
        Self { verb, permanent: e.is_permanent(), broken: !answered || closing, reason: chain(e) }
    }

    /// Whatever the server said: it is not about this message, so another attempt may go well.
    fn lasting(mut self) -> Self {
        self.permanent = false;
        self.broken = true;
        self
    }

    fn fate(self) -> Fate {
        let said = words::one_line(&self.reason, 300);
        let reason = format!("{}: {}", self.verb, words::join(&[&said, hint::of(&said)], " – "));
        if self.permanent { Fate::Never(reason) } else { Fate::Later(reason) }
    }
}

/// An error with its innermost cause, which says most about TLS and connections.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut inner = e.source();
    while let Some(cause) = inner {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        inner = cause.source();
    }
    text
}

impl Deliver for Email {
    fn lists(&self) -> usize {
        model::MAX_INCIDENTS
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let n = attempt.notification;
        let domain = self.from.email.domain();
        let mail = match Mail::render(n, &self.templates, domain) {
            Ok(mail) => mail,
            Err(e) => return Outcome::reject(e.to_string()),
        };
        let mut done = self.remembered(&n.key);
        let mut mails = Vec::new();
        for to in self.to.iter().filter(|t| !done.contains(&t.email.to_string())) {
            match request::build(n, &mail, &self.from, self.reply_to.as_ref(), to, attempt.handle) {
                Ok(message) => mails.push((to.clone(), message)),
                Err(e) => return Outcome::reject(format!("no mail can be made of it: {e}")),
            }
        }
        let mut fates = vec![Fate::Later("not tried yet: the attempt ended before".into()); mails.len()];
        if !mails.is_empty() {
            // Dropping the session closes its connection.
            tokio::time::timeout(MAX_ATTEMPT, self.session(&mails, &mut fates)).await.ok();
        }
        let (mut later, mut never) = (Vec::new(), Vec::new());
        for ((to, _), fate) in mails.iter().zip(fates) {
            match fate {
                Fate::Taken => {
                    done.insert(to.email.to_string());
                }
                Fate::Later(reason) => later.push((to.email.to_string(), reason)),
                Fate::Never(reason) => never.push((to.email.to_string(), reason)),
            }
        }
        let taken = done.len();
        if later.is_empty() && never.is_empty() {
            self.remember(&n.key, BTreeSet::new());
            let handle = attempt.handle.map_or(mail.message_id, ToOwned::to_owned);
            return Outcome::Delivered { handle: Some(handle) };
        }
        self.remember(&n.key, done);
        let mut reason = told(if later.is_empty() { &never } else { &later });
        if taken > 0 {
            // Writing to a String cannot fail.
            write!(reason, "; delivered to {taken} of {}", self.to.len()).ok();
        }
        if later.is_empty() { Outcome::reject(reason) } else { Outcome::retry(reason) }
    }
}

/// `a@x, b@x: RCPT TO: 550 …`, once per reason.
fn told(failed: &[(String, String)]) -> String {
    let mut out: Vec<(String, Vec<&str>)> = Vec::new();
    for (who, reason) in failed {
        match out.iter_mut().find(|(r, _)| r == reason) {
            Some((_, all)) => all.push(who),
            None => out.push((reason.clone(), vec![who])),
        }
    }
    let parts: Vec<String> = out
        .into_iter()
        .take(3)
        .map(|(reason, who)| format!("{}: {reason}", words::list(who.iter().copied(), 3, who.len())))
        .collect();
    parts.join("; ")
}
