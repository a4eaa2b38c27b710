//! Mail servers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubeherald::notify::{EmailConfig, Notifier, NotifierConfig, SmtpConfig, SmtpTls};
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer, Stream, Upgrade};

use super::http::{inline, make, reason, tell};
use super::pki::{Pki, Shows};
use super::table::{End, Line, is_documented, markdown, matches, shows_no_secret};
use End::{Delivered, Refused, Reject, Retry};
use SmtpReply::{Drip, Hang, HangUp};

/// The time limit where it must not matter, and where nothing comes until it ends. Time cannot be
/// stopped here: a mail client may wait for the kernel (the last bytes of a mail for an
/// acknowledgement), and a clock that stands still but for timers takes that for silence.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(2);

/// One thing that goes wrong, and what it comes to.
struct Case {
    verb: &'static str,
    reply: SmtpReply,
    line: Line,
    /// So many mails were taken.
    mails: usize,
}

fn case(verb: &'static str, reply: SmtpReply, name: &'static str, end: End, reason: &'static str) -> Case {
    let mails = usize::from(end == Delivered);
    Case { verb, reply, line: Line { case: name, ends: vec![end], reason: reason.into() }, mails }
}

fn says(text: &str) -> SmtpReply {
    SmtpReply::Line(text.into())
}

impl Case {
    fn is_silent(&self) -> bool {
        matches!(self.reply, Hang | Drip(_))
    }

    /// Without encryption. On a machine that is very busy a short limit may end before the server has
    /// come to where it falls silent: then it is asked again with more patience.
    async fn check(&self) -> Vec<String> {
        let limits = if self.is_silent() { vec![SHORT, SHORT * 5, SHORT * 15] } else { vec![LONG] };
        let mut wrong = Vec::new();
        for limit in limits {
            wrong = self.check_within(limit).await;
            if wrong.is_empty() {
                break;
            }
        }
        wrong
    }

    async fn check_within(&self, limit: Duration) -> Vec<String> {
        let mut wrong = Vec::new();
        let server = SmtpServer::start().await.unwrap();
        server.next(self.verb, "", self.reply.clone());
        let mut config = config(server.port());
        (config.smtp.timeout, config.smtp.taking) = (limit, limit);
        check(config, &self.line, &mut wrong).await;
        let mails = server.mails().all().len();
        if mails != self.mails {
            wrong.push(format!("{}: {mails} mails were taken, not {}", self.line.case, self.mails));
        }
        wrong
    }
}

/// Without encryption, with a login. `WHO` in a reason is the recipient.
fn plain() -> Vec<Case> {
    let silent = "WHO: cannot connect to …: no answer within … s";
    let lost = "WHO: …";
    let nothing = "WHO: the message: no answer within … s";
    let mut cases = vec![
        case("CONNECT", says("421 busy"), "greets with 421", Retry, "WHO: cannot connect to …: …busy"),
        case("CONNECT", says("554 go away"), "greets with 554", Retry, "WHO: cannot connect to …: …go away"),
        case("CONNECT", HangUp, "hangs up at once", Retry, lost),
        case("CONNECT", Hang, "never greets", Retry, silent),
        case(
            "CONNECT",
            Drip("220 mail.test ESMTP, ready at your service".into()),
            "greets a byte each second",
            Retry,
            silent,
        ),
        case("EHLO", says("421 busy"), "EHLO: 421", Retry, "WHO: cannot connect to …: …busy"),
        case("EHLO", says("550 who are you"), "EHLO: 550", Retry, "WHO: cannot connect to …: …who are you"),
        case("EHLO", HangUp, "EHLO: hangs up", Retry, lost),
        case("EHLO", Hang, "EHLO: says nothing", Retry, silent),
        case(
            "EHLO",
            says("250-mail.test\r\n250 8BITMIME"),
            "AUTH is not offered",
            Retry,
            "WHO: AUTH: … – it offers neither PLAIN nor LOGIN: check the port and `tls`, or leave out `username`",
        ),
        case(
            "EHLO",
            says("250-mail.test\r\n250 AUTH XOAUTH2 GSSAPI"),
            "AUTH by ways that are not known",
            Retry,
            "WHO: AUTH: … – it offers neither PLAIN nor LOGIN: check the port and `tls`, or leave out `username`",
        ),
        case("AUTH", says("454 try later"), "AUTH: 454", Retry, "WHO: AUTH: …try later"),
        case(
            "AUTH",
            says("535 5.7.8 wrong"),
            "AUTH: 535",
            Refused,
            "WHO: AUTH: …wrong – check username and password",
        ),
        case("AUTH", HangUp, "AUTH: hangs up", Retry, lost),
        case("AUTH", Hang, "AUTH: says nothing", Retry, silent),
        case("MAIL", says("421 closing"), "MAIL FROM: 421", Retry, "WHO: MAIL FROM: …closing"),
        case("MAIL", says("452 full"), "MAIL FROM: 452", Retry, "WHO: MAIL FROM: …full"),
        case("MAIL", says("550 not from you"), "MAIL FROM: 550", Refused, "WHO: MAIL FROM: …not from you"),
        case("MAIL", HangUp, "MAIL FROM: hangs up", Retry, lost),
        case("MAIL", Hang, "MAIL FROM: says nothing", Retry, "WHO: MAIL FROM: no answer within … s"),
        case(
            "MAIL",
            says("530 5.7.0 log in first"),
            "MAIL FROM: 530, a login is missing",
            Refused,
            "WHO: MAIL FROM: …log in first",
        ),
        case(
            "RCPT",
            says("451 4.7.1 greylisted"),
            "RCPT TO: 451, greylisting",
            Retry,
            "WHO: RCPT TO: …greylisted",
        ),
        case("RCPT", says("550 5.1.1 no such user"), "RCPT TO: 550", Reject, "WHO: RCPT TO: …no such user"),
        case("RCPT", HangUp, "RCPT TO: hangs up", Retry, lost),
        case("DATA", says("451 later"), "DATA: 451", Retry, "WHO: DATA: …later"),
        case("DATA", says("554 no"), "DATA: 554", Reject, "WHO: DATA: …no"),
        case("DATA", HangUp, "DATA: hangs up", Retry, lost),
        case("BODY", says("452 full"), "the final dot: 452", Retry, "WHO: the message: …full"),
        case("BODY", says("554 5.7.1 spam"), "the final dot: 554", Reject, "WHO: the message: …spam"),
        case("BODY", HangUp, "the final dot: hangs up", Retry, lost),
        case(
            "BODY",
            Drip("250 2.0.0 taken at last, after a long while".into()),
            "the final dot: a byte each second",
            Retry,
            nothing,
        ),
        case("QUIT", says("421 closing"), "QUIT: 421", Delivered, ""),
        case("QUIT", says("500 what?"), "QUIT: 500", Delivered, ""),
        case("QUIT", HangUp, "QUIT: hangs up", Delivered, ""),
        case("QUIT", Hang, "QUIT: says nothing", Delivered, ""),
    ];
    // Nobody knows whether they were taken: they were, and come again with the same Message-ID.
    for (reply, name, reason) in
        [(HangUp, "takes the mail and hangs up", lost), (Hang, "takes the mail and says nothing", nothing)]
    {
        cases.push(Case { mails: 1, ..case("TAKEN", reply, name, Retry, reason) });
    }
    cases
}

/// What STARTTLS leads to.
#[derive(Clone, Copy)]
enum Upgraded {
    Not,
    To(Shows),
    /// The handshake breaks off.
    Broken,
}

/// With STARTTLS; `true`: our authority is configured.
fn encrypted() -> Vec<(Upgraded, Option<SmtpReply>, bool, Case)> {
    let fails = |name, reason| case("", Hang, name, Retry, reason);
    vec![
        (
            Upgraded::Not,
            None,
            true,
            fails(
                "STARTTLS is not offered, or somebody takes it out",
                "WHO: STARTTLS: the server does not offer STARTTLS: use `tls: implicit` (port 465), or `tls: none` where the network itself is trusted",
            ),
        ),
        (
            Upgraded::To(Shows::Good),
            Some(says("454 TLS not available")),
            true,
            fails("STARTTLS: 454", "WHO: STARTTLS: …TLS not available"),
        ),
        (Upgraded::To(Shows::Good), Some(says("501 no")), true, fails("STARTTLS: 501", "WHO: STARTTLS: …no")),
        (Upgraded::To(Shows::Good), Some(HangUp), true, fails("STARTTLS: hangs up", "WHO: STARTTLS: …")),
        (
            Upgraded::To(Shows::Good),
            Some(Hang),
            true,
            fails("STARTTLS: says nothing", "WHO: cannot connect to …: no answer within … s"),
        ),
        (Upgraded::Broken, None, true, fails("breaks off the TLS handshake", "WHO: STARTTLS: …")),
        (
            Upgraded::To(Shows::Expired),
            None,
            true,
            fails(
                "an expired certificate",
                "WHO: STARTTLS: … – the certificate has expired: renew it, or check this machine's clock",
            ),
        ),
        (
            Upgraded::To(Shows::OtherName),
            None,
            true,
            fails(
                "a certificate for another name",
                "WHO: STARTTLS: … – the certificate is for another name: check the address",
            ),
        ),
        (
            Upgraded::To(Shows::OtherAuthority),
            None,
            true,
            fails(
                "a certificate of an unknown authority",
                "WHO: STARTTLS: … – nobody trusted here signed the certificate: if it is right, give its authority as `ca`",
            ),
        ),
        (
            Upgraded::To(Shows::Good),
            None,
            false,
            fails(
                "a private authority that is not configured",
                "WHO: STARTTLS: … – nobody trusted here signed the certificate: if it is right, give its authority as `ca`",
            ),
        ),
        (
            Upgraded::To(Shows::Good),
            None,
            true,
            case("", Hang, "a private authority that is configured (`ca`)", Delivered, ""),
        ),
    ]
}

fn config(port: u16) -> EmailConfig {
    EmailConfig {
        from: "kubeherald@example.com".into(),
        to: vec!["a@example.com".into()],
        reply_to: None,
        smtp: SmtpConfig {
            port,
            tls: SmtpTls::None,
            username: Some("herald".into()),
            password: Some(inline("hunter2")),
            timeout: LONG,
            ..SmtpConfig::new("127.0.0.1")
        },
    }
}

async fn check(config: EmailConfig, line: &Line, wrong: &mut Vec<String>) {
    let who = config.to.first().cloned().unwrap_or_default();
    told(&make(NotifierConfig::Email(config)), &who, line, wrong).await;
}

async fn told(mail: &Notifier, who: &str, line: &Line, wrong: &mut Vec<String>) {
    let outcome = tell(mail).await;
    let (said, pattern) = (reason(&outcome), line.reason.replace("WHO", who));
    if End::of(&outcome) != line.ends[0] || !matches(&pattern, said) || !shows_no_secret(said) {
        wrong.push(format!("{}:\n  {outcome:?}\n  not {:?} {pattern}", line.case, line.ends[0]));
    }
}

#[tokio::test]
async fn every_verb_of_every_mail_server_has_its_outcome() {
    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let line = |case, end, reason: &str| Line { case, ends: vec![end], reason: reason.into() };
    let refuses = line(
        "refuses the connection",
        Retry,
        "WHO: cannot connect to …: … – nothing listens there: check the address and the port",
    );
    check(config(free), &refuses, &mut wrong).await;
    lines.push(refuses);
    let unknown =
        line("a name that does not exist", Retry, "WHO: cannot connect to …: … – check the name of the host");
    let mut nowhere = config(25);
    nowhere.smtp.host = "kubeherald-test.invalid".into();
    nowhere.smtp.tls = SmtpTls::StartTls;
    check(nowhere, &unknown, &mut wrong).await;
    lines.push(unknown);
    let cases = plain();
    for case in cases.iter().filter(|case| !case.is_silent()) {
        wrong.extend(case.check().await);
    }
    // They wait side by side.
    let silent = cases.iter().filter(|case| case.is_silent()).map(Case::check);
    wrong.extend(futures::future::join_all(silent).await.into_iter().flatten());
    lines.extend(cases.into_iter().map(|case| case.line));

    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new(dir.path());
    let shows: Shown = Arc::default();
    let server = SmtpServer::start_with(Some(upgrade(&shows)), false).await.unwrap();
    // Making one reads all certificates of the system: one for each way to trust, and an impatient one.
    let [stranger, friend, impatient] =
        [(false, LONG), (true, LONG), (true, SHORT)].map(|(trusts, timeout)| {
            let mut config = config(server.port());
            config.smtp.tls = SmtpTls::StartTls;
            config.smtp.ca = trusts.then(|| pki.ca.clone());
            config.smtp.timeout = timeout;
            make(NotifierConfig::Email(config))
        });
    for (upgraded, reply, trusted, case) in encrypted() {
        *shows.lock().unwrap() = match upgraded {
            Upgraded::To(shows) => Some(pki.server(shows)),
            Upgraded::Not | Upgraded::Broken => None,
        };
        if matches!(upgraded, Upgraded::Not) {
            server.next("EHLO", "", says("250-mail.test\r\n250 AUTH PLAIN LOGIN"));
        }
        let mail = match (&reply, trusted) {
            (Some(Hang), _) => &impatient,
            (_, true) => &friend,
            (_, false) => &stranger,
        };
        if let Some(reply) = reply {
            server.next("STARTTLS", "", reply);
        }
        let before = server.mails().all().len();
        told(mail, "a@example.com", &case.line, &mut wrong).await;
        let mails = server.mails().all();
        if mails.len() - before != case.mails {
            wrong.push(format!("{}: not {} mails were taken", case.line.case, case.mails));
        }
        assert!(mails.iter().all(|mail| mail.tls));
        lines.push(case.line);
    }

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    is_documented("smtp", &markdown(&["outcome"], &lines));
}

/// What the server shows; without anything its handshake breaks off.
type Shown = Arc<Mutex<Option<Arc<rustls::ServerConfig>>>>;

fn upgrade(shown: &Shown) -> Upgrade {
    let shown = Arc::clone(shown);
    Arc::new(move |stream: Box<dyn Stream>| {
        let config = shown.lock().unwrap().clone();
        Box::pin(async move {
            let Some(config) = config else { return Err(std::io::ErrorKind::ConnectionReset.into()) };
            let tls = tokio_rustls::TlsAcceptor::from(config).accept(stream).await?;
            Ok(Box::new(tls) as Box<dyn Stream>)
        })
    })
}
