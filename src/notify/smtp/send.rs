//! One attempt to reach one recipient.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials as Login, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::config::{EmailConfig, EmailError, SmtpConfig, SmtpTls, mailbox};
use super::request::{self, Mail};
use crate::message::text::words;
use crate::notify::{Attempt, BuildError, Credentials, Deliver, Network, Outcome, Parts, hint, secret};
use crate::template::{Templates, model};

/// The commands of one attempt, each with the limit for a command: MAIL FROM on a connection that turned out
/// to be closed, connecting with its login, MAIL FROM, RCPT TO, DATA, RSET.
const COMMANDS: u32 = 6;
/// A connection is kept for the next mail for so long.
const KEPT: Duration = Duration::from_secs(5);
/// Mails over one connection, at most; some servers allow a hundred.
const MAX_MAILS: u32 = 50;
/// For a polite end; how it goes is of no interest.
const GOODBYE: Duration = Duration::from_secs(2);

pub struct Email {
    config: EmailConfig,
    from: Mailbox,
    to: Vec<Mailbox>,
    recipients: Vec<Arc<str>>,
    reply_to: Option<Mailbox>,
    templates: Templates,
    /// Made once: it reads all certificates that the system trusts.
    tls: Option<TlsParameters>,
    network: Network,
    session: Mutex<Option<Session>>,
}

/// A connection with its login, between two mails. It is taken out while a mail is sent, so one that was
/// given up in the middle of a message is never used again.
struct Session {
    connection: AsyncSmtpConnection,
    mails: u32,
    used: Instant,
}

/// Why a mail was not taken. `verb` is what the server was asked.
#[derive(Debug)]
struct Fault {
    verb: Cow<'static, str>,
    sort: Sort,
    /// Is the connection of no use any more?
    broken: bool,
    reason: String,
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Passing,
    /// This mail, or this recipient.
    Mail,
    /// Us: no mail of ours is taken.
    Sender,
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
        let mut to: Vec<Mailbox> = Vec::new();
        for text in &config.to {
            let mailbox = mailbox(text)?;
            if !to.iter().any(|known| known.email == mailbox.email) {
                to.push(mailbox);
            }
        }
        if to.is_empty() {
            return Err(EmailError::Nobody.into());
        }
        let recipients = to.iter().map(|mailbox| Arc::from(mailbox.email.to_string())).collect();
        let reply_to = config.reply_to.as_deref().map(mailbox).transpose()?;
        let tls = match config.smtp.tls {
            SmtpTls::None => None,
            // A simulated connection begins inside of TLS: see `Network`.
            SmtpTls::Implicit if matches!(parts.network, Network::Simulated(_)) => None,
            _ => Some(tls(&config)?),
        };
        let templates = parts.templates.clone();
        let network = parts.network.clone();
        let session = Mutex::new(None);
        Ok(Self { config, from, to, recipients, reply_to, templates, tls, network, session })
    }

    /// Sends one mail, over the connection of the one before where that is recent.
    async fn send(&self, to: &Mailbox, message: &lettre::Message) -> Result<(), Fault> {
        let kept = self.session.lock().await.take();
        if let Some(session) = kept.filter(|kept| kept.used.elapsed() < KEPT && kept.mails < MAX_MAILS) {
            match self.transfer(session, to, message).await {
                // The server had closed it meanwhile. Nothing of the mail was sent.
                Err(fault) if fault.broken && fault.verb == MAIL_FROM => {}
                other => return other,
            }
        }
        let limit = self.config.smtp.timeout;
        let connected = timeout(limit, self.connect()).await;
        let connection = connected.unwrap_or_else(|_| Err(Fault::silent(CONNECT, limit)));
        let connection = connection.map_err(|fault| fault.at(&self.config.smtp))?;
        self.transfer(Session { connection, mails: 0, used: Instant::now() }, to, message).await
    }

    /// The commands for one mail; keeps the connection where it can be used again. A connection that is not
    /// kept is dropped: lettre's own `abort` waits for an answer to QUIT without a limit.
    async fn transfer(
        &self,
        mut session: Session,
        to: &Mailbox,
        message: &lettre::Message,
    ) -> Result<(), Fault> {
        let limit = self.config.smtp.timeout;
        let limits = (limit, self.config.smtp.taking);
        let sent = transfer(&mut session.connection, to, message, limits).await;
        let usable = match &sent {
            Ok(()) => true,
            Err(fault) if fault.broken => false,
            Err(_) => matches!(timeout(limit, session.connection.command(Rset)).await, Ok(Ok(_))),
        };
        if usable {
            session.mails += 1;
            session.used = Instant::now();
            *self.session.lock().await = Some(session);
        }
        sent
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
                let stream = stream.map_err(|e| Fault::line(CONNECT, e.to_string()))?;
                AsyncSmtpConnection::connect_with_transport(stream, &hello).await
            }
        };
        let mut connection = connected.map_err(|e| Fault::of(CONNECT, &e).lasting())?;
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
            let credentials = Login::new(username.clone(), password.expose_secret().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|e| {
                let mut fault = Fault::of("AUTH", &e);
                fault.broken = true;
                if fault.sort == Sort::Sender {
                    fault.reason.push_str(" – check username and password");
                }
                fault
            })?;
        }
        Ok(connection)
    }
}

const MAIL_FROM: &str = "MAIL FROM";
/// What comes before the first command.
const CONNECT: &str = "cannot connect";

/// The commands for one recipient, one by one, so that a refusal says what was refused.
async fn transfer(
    connection: &mut AsyncSmtpConnection,
    to: &Mailbox,
    message: &lettre::Message,
    (limit, taking): (Duration, Duration),
) -> Result<(), Fault> {
    let envelope: &Envelope = message.envelope();
    let from = MailFrom::new(envelope.from().cloned(), Vec::new());
    within(limit, MAIL_FROM, connection.command(from)).await?;
    within(limit, "RCPT TO", connection.command(Rcpt::new(to.email.clone(), Vec::new()))).await?;
    within(limit, "DATA", connection.command(Data)).await?;
    // After the final dot nobody knows whether it was taken: the same Message-ID is sent again, and mail
    // stores fold the two.
    within(taking, "the message", connection.message(&message.formatted())).await
}

async fn within<T>(
    limit: Duration,
    verb: &'static str,
    command: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<(), Fault> {
    match timeout(limit, command).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Fault::of(verb, &error)),
        Err(_) => Err(Fault::silent(verb, limit)),
    }
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
    const fn line(verb: &'static str, reason: String) -> Self {
        Self { verb: Cow::Borrowed(verb), sort: Sort::Passing, broken: true, reason }
    }

    fn silent(verb: &'static str, limit: Duration) -> Self {
        Self::line(verb, format!("no answer within {} s", limit.as_secs()))
    }

    /// A connection that does not come about names the server.
    fn at(mut self, smtp: &SmtpConfig) -> Self {
        if self.verb == CONNECT {
            self.verb = format!("{CONNECT} to {}:{}", smtp.host, smtp.port).into();
        }
        self
    }

    /// A 5yz answer is permanent, a 4yz one is not, and neither breaks the connection, except 421
    /// (RFC 5321, sections 4.2.1 and 3.8). Everything else is about the line. To AUTH and MAIL FROM a
    /// server says 5yz before it knows anything of the mail but the sender, and 530 (RFC 4954, section 6)
    /// says that it wants a login.
    fn of(verb: &'static str, e: &lettre::transport::smtp::Error) -> Self {
        let code = e.status().map(|code| code.to_string());
        let is = |this: &str| code.as_deref() == Some(this);
        let sort = match e.is_permanent() {
            false => Sort::Passing,
            true if matches!(verb, "AUTH" | MAIL_FROM) || is("530") => Sort::Sender,
            true => Sort::Mail,
        };
        Self { verb: Cow::Borrowed(verb), sort, broken: code.is_none() || is("421"), reason: chain(e) }
    }

    /// Whatever the server said: it is not about this message, so another attempt may go well.
    const fn lasting(mut self) -> Self {
        self.sort = Sort::Passing;
        self.broken = true;
        self
    }

    fn outcome(self, recipient: &str) -> Outcome {
        let said = words::one_line(&self.reason, 300);
        let reason = format!("{recipient}: {}: {}", self.verb, words::join(&[&said, hint::of(&said)], " – "));
        match self.sort {
            Sort::Passing => Outcome::retry(reason),
            Sort::Mail => Outcome::reject(reason),
            Sort::Sender => Outcome::refused(reason),
        }
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
    // "Connection refused", without "(os error 111)" behind it and what lettre says before it.
    text.truncate(text.find(" (os error").unwrap_or(text.len()));
    text.strip_prefix("Connection error: ").map_or(text.clone(), str::to_owned)
}

impl Deliver for Email {
    fn lists(&self) -> usize {
        model::MAX_INCIDENTS
    }

    fn time_limit(&self) -> Duration {
        self.config.smtp.timeout * COMMANDS + self.config.smtp.taking
    }

    fn recipients(&self) -> &[Arc<str>] {
        &self.recipients
    }

    fn credentials(&self) -> Option<Credentials> {
        secret::digest(&self.config.smtp.password)
    }

    async fn rest(&self) {
        if let Some(mut session) = self.session.lock().await.take() {
            timeout(GOODBYE, session.connection.quit()).await.ok();
        }
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let n = attempt.notification;
        let Some(recipient) = attempt.recipient else {
            return Outcome::reject("a mail needs a recipient, and none was named");
        };
        let named = self.to.iter().zip(&self.recipients).find(|(_, address)| ***address == *recipient);
        let Some((to, _)) = named else {
            return Outcome::reject(format!("{recipient} is not among the recipients (`to`)"));
        };
        let mail = match Mail::render(n, &self.templates, self.from.email.domain()) {
            Ok(mail) => mail,
            Err(e) => return Outcome::reject(e.to_string()),
        };
        let reply_to = self.reply_to.as_ref();
        let message = match request::build(n, &mail, &self.from, reply_to, to, attempt.handle) {
            Ok(message) => message,
            Err(e) => return Outcome::reject(format!("no mail can be made of it: {e}")),
        };
        match self.send(to, &message).await {
            Ok(()) => {
                let handle = attempt.handle.map_or(mail.message_id, ToOwned::to_owned);
                Outcome::Delivered { handle: Some(handle) }
            }
            Err(fault) => fault.outcome(recipient),
        }
    }
}
