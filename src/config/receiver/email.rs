//! `email` of a receiver.

use crate::config::read::fields::{Head, section};
use crate::config::read::kind::{Kind, choice, int, one_or_more, path, text};
use crate::config::secret::secret;
use crate::notify::{EmailConfig, SmtpConfig, SmtpTls};

pub fn email<'a>() -> Kind<'a, EmailConfig> {
    let head = Head::new("email", "`{from, to, smtp}`", "Mailboxes.");
    section(head, |fields| {
        let from = fields.require("from", "`name@example.com` or `Name <name@example.com>`.", mailbox());
        let to = fields.require("to", "The recipients.", one_or_more(mailbox()));
        let smtp = fields.require("smtp", "The server.", smtp());
        Some(EmailConfig { from: from?, to: to?, reply_to: None, smtp: smtp? })
    })
}

fn smtp<'a>() -> Kind<'a, SmtpConfig> {
    let head = Head::new("smtp", "`{host, port, tls, …}`", "The mail server.");
    section(head, |fields| {
        let host = fields.require("host", "Its name.", host());
        let modes =
            [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
        let tls =
            fields.or("tls", "How it is encrypted.", choice("a way to encrypt", modes), SmtpTls::StartTls);
        let port = fields.get("port", "Its port; by default 587, 465 or 25, as `tls` says.", int(1, 65_535));
        let username = fields.get("username", "The login name.", text());
        let password = fields.get("password", "The password.", secret());
        fields.needs("username", "password");
        fields.needs("password", "username");
        if let (SmtpTls::None, Some(span)) = (tls, fields.key("password")) {
            fields.warn(span, "the password is sent without encryption", "", Some("use `tls: starttls`"));
        }
        let ca = "Certificates trusted besides the system's (PEM). A path, relative to this file.";
        let ca = fields.get("ca", ca, path());
        let port = port.unwrap_or(tls.port());
        Some(SmtpConfig { port, tls, username, password, ca, ..SmtpConfig::new(host?) })
    })
}

fn host<'a>() -> Kind<'a, String> {
    text().check(|reader, node, host| {
        let bad = host.contains([':', '/', '@']) || host.contains(char::is_whitespace);
        if bad {
            reader.expected(node, "the name of a host", Some("the port has a key of its own"));
        }
        !bad
    })
}

fn mailbox<'a>() -> Kind<'a, String> {
    text().check(|reader, node, text| {
        let good = text.parse::<lettre::message::Mailbox>().is_ok();
        if !good {
            let help = "write `name@example.com` or `Name <name@example.com>`";
            reader.expected(node, "a mail address", Some(help));
        }
        good
    })
}
