//! E-mail: text and HTML in one message, over one connection an attempt, one message a recipient.
//!
//! One recipient a message, because a server that refuses one of several refuses the whole
//! transaction. Which recipients have got a notification is remembered in memory while it is being
//! tried again; after a restart a recipient may get it twice, with the same Message-ID, which mail
//! stores fold. There is no connection pool: a pooled connection that was given up in the middle of a
//! message would be handed out again in that state.

mod config;
mod request;
mod send;

pub use config::{EmailConfig, EmailError, SmtpConfig, SmtpTls, mailbox};
pub use request::{Mail, build};
pub use send::Email;

#[cfg(test)]
mod tests;
