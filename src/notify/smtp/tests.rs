use super::*;
use crate::clock::Clock;
use crate::message::{Decision, Notification};
use crate::notify::{BuildError, Parts, Secret};
use crate::template::{Templates, sample};

fn parts() -> Parts {
    Parts::new(Templates::shipped().unwrap(), Clock::Fixed(jiff::Timestamp::UNIX_EPOCH))
}

fn mail(n: &Notification) -> Mail {
    static SHIPPED: std::sync::LazyLock<Templates> =
        std::sync::LazyLock::new(|| Templates::shipped().unwrap());
    Mail::render(n, &SHIPPED, "example.com").unwrap()
}

fn raw(n: &Notification, first: Option<&str>) -> String {
    let from = mailbox("Kubeherald <kubeherald@example.com>").unwrap();
    let to = mailbox("platform@example.com").unwrap();
    String::from_utf8(build(n, &mail(n), &from, None, &to, first).unwrap().formatted()).unwrap()
}

#[test]
fn mails_look_like_this() {
    for decision in [
        Decision::First,
        Decision::Grew,
        Decision::Reminder,
        Decision::Resolved,
        Decision::Standing,
        Decision::Notice,
    ] {
        let n = sample::notification(decision, sample::incident());
        let mail = mail(&n);
        insta::assert_snapshot!(
            format!("{decision}_text"),
            format!("Subject: {}\n\n{}", mail.subject, mail.text)
        );
        insta::assert_snapshot!(format!("{decision}_html"), mail.html);
    }
    let n = sample::notification(Decision::First, sample::incident());
    let raw = raw(&n, None);
    insta::assert_snapshot!("headers", raw.split("\r\n\r\n").next().unwrap().replace("\r\n", "\n"));
}

#[test]
fn digests_look_like_this() {
    for (name, n) in [("digest", sample::digest::day()), ("digest_empty", sample::digest::empty())] {
        let mail = mail(&n);
        insta::assert_snapshot!(
            format!("{name}_text"),
            format!("Subject: {}\n\n{}", mail.subject, mail.text)
        );
        insta::assert_snapshot!(format!("{name}_html"), mail.html);
    }
    let raw = raw(&sample::digest::day(), None);
    insta::assert_snapshot!("digest_headers", raw.split("\r\n\r\n").next().unwrap().replace("\r\n", "\n"));
}

/// Nothing that mail programs are known to drop, and small enough for all of it to be shown.
#[test]
fn digests_are_made_for_mail_programs() {
    for n in [
        sample::digest::day(),
        sample::digest::large(&sample::incident(), 4_500),
        sample::digest::large(&sample::huge(), 4_500),
        sample::digest::around(sample::huge()),
    ] {
        let mail = mail(&n);
        assert!(mail.html.len() <= 100_000, "{}", mail.html.len());
        for dropped in
            ["<style", "<img", "<svg", "flex", "grid", "position:", "class=", "<script", "href=\"javascript"]
        {
            assert!(!mail.html.contains(dropped), "{dropped}: {}", mail.html);
        }
        assert_eq!(mail.html.matches("<table").count(), mail.html.matches("</table>").count());
        assert_eq!(mail.html.matches("<td").count(), mail.html.matches("</td>").count());
        assert!(mail.text.len() < 200_000, "{}", mail.text.len());
        assert!(raw(&n, None).split("\r\n").all(|line| line.len() <= 998));
    }
    let n = sample::digest::large(&sample::incident(), 4_500);
    let mail = mail(&n);
    // 500 are carried, a third of them new, and 30 of a section are listed.
    assert!(mail.html.contains("… and 4637 more, not listed here"), "{}", mail.html);
    assert!(mail.text.contains("… and 4637 more, not listed here"), "{}", mail.text);
    assert!(mail.html.contains("… and 68 more groups"), "{}", mail.html);
    assert!(mail.text.contains("68 more "), "{}", mail.text);
    assert_eq!(mail.text.matches("\n- critical: Deployment/checkout keeps crashing").count(), 60);
}

#[test]
fn mails_of_one_incident_are_one_thread_and_attempts_are_equal() {
    let first = sample::notification(Decision::First, sample::incident());
    let later = sample::notification(Decision::Resolved, sample::incident());
    assert_eq!(raw(&first, None), raw(&first, None), "the same bytes at every attempt");
    let (a, b) = (mail(&first), mail(&later));
    assert_eq!(a.thread_id, b.thread_id);
    assert_ne!(a.message_id, b.message_id);
    let second = raw(&later, Some(&a.message_id)).replace("\r\n ", " ");
    assert!(second.contains(&format!("In-Reply-To: {}\r\n", a.message_id)), "{second}");
    assert!(second.contains(&format!("References: {} {}\r\n", a.thread_id, a.message_id)), "{second}");
}

#[test]
fn no_text_becomes_a_header_or_markup() {
    for decision in Decision::ALL {
        let n = sample::notification(*decision, sample::huge());
        let mail = mail(&n);
        assert!(!mail.subject.contains(['\r', '\n']), "{:?}", mail.subject);
        assert!(!mail.html.contains("<script"), "{decision}");
        assert!(!mail.html.contains("href=\"javascript"), "{decision}");
        assert!(mail.html.len() < 200_000 && mail.text.len() < 100_000, "{decision}");
        assert!(mail.html.contains("{{boom}}") || decision.is_summary(), "no template was evaluated");
        let raw = raw(&n, None);
        let headers = raw.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|l| l.to_lowercase().starts_with("bcc")), "{headers}");
        assert!(
            raw.split("\r\n").all(|l| l.len() <= 998 && !l.contains('\n')),
            "no line is too long or broken"
        );
    }
}

#[test]
fn what_cannot_work_is_refused_when_it_is_made() {
    let good = EmailConfig {
        from: "kubeherald@example.com".into(),
        to: vec!["a@example.com".into()],
        reply_to: None,
        smtp: SmtpConfig::new("mail.example.com"),
    };
    let refused = |config: EmailConfig| match Email::new(config, &parts()) {
        Err(BuildError::Email(e)) => e.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(Email::new(good.clone(), &parts()).is_ok());
    assert_eq!(refused(EmailConfig { to: vec![], ..good.clone() }), "`to` has no recipients");
    let said = refused(EmailConfig { to: vec!["a b".into()], ..good.clone() });
    assert!(said.starts_with("`a b` is not an e-mail address"), "{said}");
    let said = refused(EmailConfig { from: "X\r\nBcc: y <a@b.c>".into(), ..good.clone() });
    assert!(said.contains("line end"), "{said}");
    let mut login = good.clone();
    login.smtp.username = Some("herald".into());
    assert_eq!(refused(login.clone()), "`username` and `password` go together");
    login.smtp.password = Some(Secret::Inline("x".into()));
    login.smtp.tls = SmtpTls::None;
    assert!(refused(login.clone()).contains("would travel unencrypted to mail.example.com"));
    login.smtp.host = "127.0.0.1".into();
    assert!(Email::new(login, &parts()).is_ok());
    let mut ca = good;
    ca.smtp.ca = Some("/nowhere/ca.pem".into());
    assert!(refused(ca).contains("cannot use /nowhere/ca.pem: No such file"));
}

/// Parts of a `multipart/alternative`, split as RFC 2046 says: at lines that begin with the boundary.
fn parts_of(raw: &str) -> Vec<String> {
    let (_, after) = raw.split_once("boundary=\"").unwrap();
    let (boundary, _) = after.split_once('"').unwrap();
    let (_, body) = raw.split_once("\r\n\r\n").unwrap();
    let body = format!("\r\n{body}");
    let mark = format!("\r\n--{boundary}");
    body.split(&mark).skip(1).take_while(|part| !part.starts_with("--")).map(str::to_owned).collect()
}

/// Who writes the text of a mail may know every other mail of the thread, so every string that can be
/// made of its headers.
#[test]
fn text_that_knows_every_header_cannot_add_a_part() {
    let mut n = sample::notification(Decision::First, sample::incident());
    let innocent = raw(&n, None);
    let head = innocent.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
    let mut known: Vec<String> = head
        .split([' ', '\r', '\n', '"', '<', '>', ';'])
        .flat_map(|word| [word.to_owned(), word.split_once('=').map_or("", |(_, value)| value).to_owned()])
        .chain([n.key.clone(), format!("{}/platform@example.com", n.key)])
        .filter(|word| !word.is_empty())
        .collect();
    known.extend(
        parts_of(&innocent).iter().flat_map(|part| part.lines().map(str::to_owned).collect::<Vec<_>>()),
    );
    let boundary = head.split("boundary=\"").nth(1).unwrap().trim_end_matches('"');
    known.push(boundary.to_owned());
    let forged = known.iter().fold(String::new(), |text, word| {
        text + &format!("\r\n--{word}\r\nContent-Type: text/html\r\n\r\n<b>forged</b>\r\n--{word}--\r\n")
    });
    let mut mail = mail(&n);
    for text in [&mut mail.text, &mut mail.html] {
        *text = forged.clone();
    }
    n.title.clone_from(&forged);
    let from = mailbox("kubeherald@example.com").unwrap();
    let to = mailbox("platform@example.com").unwrap();
    let built = build(&n, &mail, &from, None, &to, None).unwrap().formatted();
    let built = String::from_utf8(built).unwrap();
    let parts = parts_of(&built);
    let kinds: Vec<&str> = parts.iter().filter_map(|part| part.trim_start().lines().next()).collect();
    assert_eq!(kinds, ["Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"]);
    assert_eq!(built.matches(&format!("--{boundary}")).count(), 3, "two parts and the end");
    assert_eq!(build(&n, &mail, &from, None, &to, None).unwrap().formatted(), built.as_bytes());
}
