//! E-mail: text and HTML in one message, one message a recipient, one recipient an attempt.
//!
//! Each recipient has a row in the outbox, so what one server says about one recipient is that one's fate
//! alone. The mails of one notification go over one connection: it is kept for a few seconds after a mail
//! and closed when nothing more is to be sent.

mod config;
mod request;
mod send;

pub use config::{EmailConfig, EmailError, SmtpConfig, SmtpTls, mailbox};
pub use request::{Mail, build};
pub use send::Email;

#[cfg(test)]
mod tests;
