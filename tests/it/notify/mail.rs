use std::sync::Arc;
use std::time::{Duration, Instant};

use kubeherald::message::Decision;
use kubeherald::notify::{EmailConfig, Notifier, NotifierConfig, Outcome, SmtpConfig, SmtpTls};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer, Stream, Upgrade};

use super::{authority, class, handle, inline, notifier, says, tell};

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
async fn each_recipient_gets_a_mail_of_its_own() {
    let server = SmtpServer::start().await.unwrap();
    let mail = email(config(server.port(), &["a@example.com", "Bea <b@example.com>"]));
    let first = handle(&tell(&mail, &says(Decision::First), None).await);
    let mails = server.mails().all();
    assert_eq!(mails.iter().map(|m| m.to.join(",")).collect::<Vec<_>>(), ["a@example.com", "b@example.com"]);
    assert_eq!(mails[0].from, "kubeherald@example.com");
    assert!(mails[0].raw.contains(&format!("Message-ID: {first}\r\n")), "{}", mails[0].raw);
    let outcome = tell(&mail, &says(Decision::Resolved), Some(&first)).await;
    assert_eq!(outcome, Outcome::Delivered { handle: Some(first.clone()) });
    assert!(server.mails().all()[2].raw.contains(&format!("In-Reply-To: {first}\r\n")));
}

#[tokio::test]
async fn a_refused_recipient_does_not_stop_the_others_nor_repeat_them() {
    let server = SmtpServer::start().await.unwrap();
    let mail = email(config(server.port(), &["a@example.com", "b@example.com", "c@example.com"]));
    server.next("RCPT", "b@example.com", line("451 4.7.1 greylisted"));
    let n = says(Decision::First);
    let outcome = tell(&mail, &n, None).await;
    let (kind, reason) = class(&outcome);
    assert_eq!(kind, "Retry");
    assert!(reason.starts_with("b@example.com: RCPT TO: "), "{reason}");
    assert!(reason.contains("greylisted") && reason.ends_with("; delivered to 2 of 3"), "{reason}");
    assert_eq!(server.mails().all().len(), 2);
    // Only the one who is missing.
    handle(&tell(&mail, &n, None).await);
    assert_eq!(server.mails().all().last().unwrap().to, ["b@example.com"]);
    assert_eq!(server.mails().all().len(), 3);

    server.next("RCPT", "c@example.com", line("550 5.1.1 no such user"));
    let n = says(Decision::Grew);
    let outcome = tell(&mail, &n, None).await;
    assert_eq!(class(&outcome).0, "Reject", "{outcome:?}");
    assert!(class(&outcome).1.contains("no such user; delivered to 2 of 3"), "{outcome:?}");
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
        ("AUTH", "535 wrong password", "Reject"),
        ("MAIL", "421 closing", "Retry"),
        ("MAIL", "452 full", "Retry"),
        ("MAIL", "550 not from you", "Reject"),
        ("RCPT", "450 busy", "Retry"),
        ("RCPT", "550 no such user", "Reject"),
        ("DATA", "451 later", "Retry"),
        ("DATA", "554 no", "Reject"),
        ("BODY", "452 full", "Retry"),
        ("BODY", "554 spam", "Reject"),
    ] {
        server.next(verb, "", line(code));
        let outcome = tell(&mail, &says(Decision::First), None).await;
        assert_eq!(class(&outcome).0, expected, "{verb} {code}: {outcome:?}");
        let word = code.split_once(' ').unwrap().1;
        assert!(class(&outcome).1.contains(word), "{verb} {code}: {outcome:?}");
    }
    for verb in ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY"] {
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
    config.smtp.timeout = Duration::from_millis(300);
    let mail = email(config);
    for verb in ["CONNECT", "BODY"] {
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
        let n = sample::notification(*decision, sample::hostile());
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
