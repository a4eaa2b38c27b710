use std::sync::Arc;
use std::time::{Duration, Instant};

use kubeherald::message::Decision;
use kubeherald::notify::{Deliver as _, EmailConfig, Notifier, NotifierConfig, Outcome, SmtpConfig, SmtpTls};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer, Stream, Upgrade};

use super::{authority, class, handle, inline, notifier, says, tell, tell_to};

fn config(port: u16, to: &[&str]) -> EmailConfig {
    EmailConfig {
        from: "Kubeherald <kubeherald@example.com>".into(),
        to: to.iter().map(ToString::to_string).collect(),
        reply_to: None,
        smtp: SmtpConfig {
            port,
            tls: SmtpTls::None,
            timeout: Duration::from_secs(5),
            ..SmtpConfig::new("127.0.0.1")
        },
    }
}

fn email(config: EmailConfig) -> Notifier {
    notifier(NotifierConfig::Email(config))
}

fn line(text: &str) -> SmtpReply {
    SmtpReply::Line(text.into())
}

fn upgrade(config: Arc<rustls::ServerConfig>) -> Upgrade {
    Arc::new(move |stream: Box<dyn Stream>| {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        Box::pin(async move {
            let tls = acceptor.accept(stream).await?;
            Ok(Box::new(tls) as Box<dyn Stream>)
        })
    })
}

#[tokio::test]
async fn each_recipient_gets_a_mail_of_its_own_over_one_connection() {
    let server = SmtpServer::start().await.unwrap();
    let to = ["a@example.com", "Bea <b@example.com>", "B <b@example.com>"];
    let mail = email(config(server.port(), &to));
    let recipients: Vec<&str> = mail.recipients().iter().map(|name| &**name).collect();
    assert_eq!(recipients, ["a@example.com", "b@example.com"], "each address once");
    // The second connection would be refused.
    let n = says(Decision::First);
    let first = handle(&tell_to(&mail, &n, None, Some("a@example.com")).await);
    server.next("CONNECT", "", line("421 only one"));
    let second = handle(&tell_to(&mail, &n, None, Some("b@example.com")).await);
    assert_eq!(first, second);
    let mails = server.mails().all();
    assert_eq!(mails.iter().map(|m| m.to.join(",")).collect::<Vec<_>>(), ["a@example.com", "b@example.com"]);
    assert!(mails[1].raw.contains("To: Bea <b@example.com>\r\n"), "{}", mails[1].raw);
    assert_eq!(mails[0].from, "kubeherald@example.com");
    assert!(mails[0].raw.contains(&format!("Message-ID: {first}\r\n")), "{}", mails[0].raw);
    // Closed when there is nothing to send: then a new one is needed.
    mail.rest().await;
    let outcome = tell(&mail, &says(Decision::Resolved), Some(&first)).await;
    assert!(class(&outcome).1.contains("only one"), "{outcome:?}");
    let outcome = tell(&mail, &says(Decision::Resolved), Some(&first)).await;
    assert_eq!(outcome, Outcome::Delivered { handle: Some(first.clone()) });
    assert!(server.mails().all()[2].raw.contains(&format!("In-Reply-To: {first}\r\n")));
}

/// A server may close a connection that is kept: that costs no attempt.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_opened_again() {
    let server = SmtpServer::start().await.unwrap();
    let mail = email(config(server.port(), &["a@example.com"]));
    for reply in [SmtpReply::HangUp, line("421 idle for too long")] {
        handle(&tell(&mail, &says(Decision::First), None).await);
        server.next("MAIL", "", reply);
        handle(&tell(&mail, &says(Decision::First), None).await);
    }
    assert_eq!(server.mails().all().len(), 4);
    // On a new one it is an answer.
    mail.rest().await;
    server.next("MAIL", "", line("421 busy"));
    assert_eq!(class(&tell(&mail, &says(Decision::First), None).await).0, "Retry");
}

#[tokio::test]
async fn every_verb_and_code_has_its_outcome() {
    let server = SmtpServer::start().await.unwrap();
    let mut config = config(server.port(), &["a@example.com"]);
    config.smtp.username = Some("herald".into());
    config.smtp.password = Some(inline("pass"));
    let mail = email(config);
    for (verb, code, expected) in [
        ("CONNECT", "421 busy", "Retry"),
        ("CONNECT", "554 go away", "Retry"),
        ("EHLO", "421 busy", "Retry"),
        ("EHLO", "550 who are you", "Retry"),
        ("AUTH", "454 try later", "Retry"),
        ("AUTH", "535 wrong password", "Refused"),
        ("MAIL", "421 closing", "Retry"),
        ("MAIL", "452 full", "Retry"),
        ("MAIL", "550 not from you", "Refused"),
        ("RCPT", "450 busy", "Retry"),
        ("RCPT", "550 no such user", "Reject"),
        ("DATA", "451 later", "Retry"),
        ("DATA", "554 no", "Reject"),
        ("BODY", "452 full", "Retry"),
        ("BODY", "554 spam", "Reject"),
    ] {
        mail.rest().await;
        server.next(verb, "", line(code));
        let outcome = tell(&mail, &says(Decision::First), None).await;
        assert_eq!(class(&outcome).0, expected, "{verb} {code}: {outcome:?}");
        let word = code.split_once(' ').unwrap().1;
        assert!(class(&outcome).1.contains(word), "{verb} {code}: {outcome:?}");
    }
    for verb in ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY"] {
        mail.rest().await;
        server.next(verb, "", SmtpReply::HangUp);
        let outcome = tell(&mail, &says(Decision::First), None).await;
        assert_eq!(class(&outcome).0, "Retry", "{verb}: {outcome:?}");
    }
    assert!(server.mails().all().is_empty());
    handle(&tell(&mail, &says(Decision::First), None).await);
    assert_eq!(server.mails().all()[0].auth, ["AUTH PLAIN AGhlcmFsZABwYXNz"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = SmtpServer::start().await.unwrap();
    let mut config = config(server.port(), &["a@example.com", "b@example.com"]);
    (config.smtp.timeout, config.smtp.taking) = (Duration::from_millis(300), Duration::from_millis(300));
    let mail = email(config);
    for verb in ["CONNECT", "BODY"] {
        mail.rest().await;
        server.next(verb, "", SmtpReply::Hang);
        let begun = Instant::now();
        let outcome = tell(&mail, &says(Decision::First), None).await;
        assert_eq!(class(&outcome).0, "Retry", "{verb}: {outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{verb}");
    }
}

#[tokio::test]
async fn starttls_is_required_and_its_certificate_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, tls) = authority(dir.path());
    let server = SmtpServer::start_with(Some(upgrade(tls)), false).await.unwrap();
    let mut good = config(server.port(), &["a@example.com"]);
    good.smtp.tls = SmtpTls::StartTls;
    good.smtp.host = "localhost".into();
    good.smtp.ca = Some(ca);
    good.smtp.username = Some("herald".into());
    good.smtp.password = Some(inline("pass"));
    handle(&tell(&email(good.clone()), &says(Decision::First), None).await);
    assert!(server.mails().all()[0].tls);

    let untrusted = EmailConfig { smtp: SmtpConfig { ca: None, ..good.smtp.clone() }, ..good.clone() };
    let outcome = tell(&email(untrusted), &says(Decision::First), None).await;
    assert_eq!(class(&outcome).0, "Retry", "{outcome:?}");
    assert!(class(&outcome).1.contains("certificate"), "{outcome:?}");

    // A server (or somebody in between) that does not offer it gets neither password nor mail.
    let plain = SmtpServer::start().await.unwrap();
    let stripped = EmailConfig { smtp: SmtpConfig { port: plain.port(), ..good.smtp.clone() }, ..good };
    let outcome = tell(&email(stripped), &says(Decision::First), None).await;
    assert_eq!(class(&outcome).0, "Retry", "{outcome:?}");
    assert!(class(&outcome).1.contains("does not offer STARTTLS"), "{outcome:?}");
    assert!(plain.mails().all().is_empty());
}

#[tokio::test]
async fn implicit_tls_speaks_tls_from_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, tls) = authority(dir.path());
    let server = SmtpServer::start_with(Some(upgrade(tls)), true).await.unwrap();
    let mut config = config(server.port(), &["a@example.com"]);
    config.smtp.tls = SmtpTls::Implicit;
    config.smtp.host = "localhost".into();
    config.smtp.ca = Some(ca);
    handle(&tell(&email(config), &says(Decision::First), None).await);
    assert!(server.mails().all()[0].tls);
}

#[tokio::test]
async fn hostile_text_stays_one_mail() {
    let server = SmtpServer::start().await.unwrap();
    let mail = email(config(server.port(), &["a@example.com"]));
    for decision in Decision::ALL {
        let n = sample::notification(*decision, sample::huge());
        handle(&tell(&mail, &n, None).await);
    }
    let mails = server.mails().all();
    assert_eq!(mails.len(), Decision::ALL.len());
    for mail in mails {
        assert_eq!(mail.to, ["a@example.com"]);
        let headers = mail.raw.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|l| l.to_lowercase().starts_with("bcc")), "{headers}");
    }
}
