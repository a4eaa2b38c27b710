//! HTTP: the webhook, Slack's incoming webhook, Slack's Web API with a bot token.

use std::time::Duration;

use kubeherald::clock::Clock;
use kubeherald::message::Decision;
use kubeherald::notify::http::Tls;
use kubeherald::notify::{
    Attempt, Deliver, Notifier, NotifierConfig, Outcome, Parts, Secret, SlackConfig, WebhookConfig,
};
use kubeherald::template::{Templates, sample};
use tokio::time::Instant;

use super::peer::{Act, Peer, answer};
use super::pki::{Pki, Shows};
use super::table::{End, Line, is_documented, markdown, matches, shows_no_secret};
use End::{After, Delivered, Refused, Reject, Retry};

const COLUMNS: &[&str] = &["webhook", "Slack webhook", "Slack bot"];
/// What Slack's Web API says of a message it took; the others take it for an answer, too.
const TAKEN: &str = r#"{"ok":true,"channel":"C0000000001","ts":"1.2"}"#;
const ERROR: &str = r#"{"ok":false,"error":"channel_not_found"}"#;
const PAGE: &str = "<!DOCTYPE html><title>Please log in</title>";
/// A server that tells the whole world which address was asked for.
const ECHO: &str = "cannot POST {path}";

fn clock() -> Clock {
    Clock::Fixed("2026-02-03T08:00:00Z".parse().unwrap())
}

pub fn make(config: NotifierConfig) -> Notifier {
    rustls::crypto::ring::default_provider().install_default().ok();
    Notifier::new(config, &Parts::new(Templates::shipped().unwrap(), clock())).unwrap()
}

pub fn inline(text: impl Into<String>) -> Secret {
    Secret::Inline(text.into().into())
}

/// The three, all at this address.
fn three(base: &str, tls: &Tls) -> [Notifier; 3] {
    let address = format!("{base}/hook/s3cr3t-token?token=s3cr3t-query");
    let hook = WebhookConfig { tls: tls.clone(), ..WebhookConfig::new(inline(&address)) };
    let incoming = SlackConfig { tls: tls.clone(), ..SlackConfig::webhook(inline(&address)) };
    let bot = SlackConfig {
        api_url: format!("{base}/api"),
        tls: tls.clone(),
        ..SlackConfig::bot(inline("xoxb-s3cr3t"), "#alerts")
    };
    [NotifierConfig::Webhook(hook), NotifierConfig::Slack(incoming), NotifierConfig::Slack(bot)].map(make)
}

pub async fn tell(notifier: &Notifier) -> Outcome {
    let n = sample::notification(Decision::First, sample::incident());
    let recipient = notifier.recipients().first().map(|first| &**first);
    notifier.deliver(Attempt { notification: &n, handle: None, recipient, number: 1 }).await
}

pub fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered { .. } => "",
        Outcome::Retry { reason, .. } | Outcome::Refused { reason } | Outcome::Reject { reason } => reason,
    }
}

/// One line against the three. `WHO` in a reason is how each speaks of the other side.
async fn check(line: &Line, notifiers: &[Notifier; 3], wrong: &mut Vec<String>) {
    for ((notifier, end), column) in notifiers.iter().zip(&line.ends).zip(COLUMNS) {
        let begun = Instant::now();
        let outcome = tell(notifier).await;
        let took = begun.elapsed();
        // Virtual time, where it is paused: the limits of the notifiers, and nothing beside.
        assert!(took <= Duration::from_secs(16), "{}: {column}: it took {took:?}", line.case);
        let who = if *column == "webhook" { "the webhook" } else { "Slack" };
        let pattern = if *end == Delivered { String::new() } else { line.reason.replace("WHO", who) };
        let said = reason(&outcome);
        if End::of(&outcome) != *end || !matches(&pattern, said) || !shows_no_secret(said) {
            wrong.push(format!("{}: {column}:\n  {outcome:?}\n  not {end:?} {pattern}", line.case));
        }
    }
}

fn line(case: &'static str, ends: [End; 3], reason: impl Into<String>) -> Line {
    Line { case, ends: ends.into(), reason: reason.into() }
}

/// The cases of one server without encryption.
fn plain() -> Vec<(Act, Line)> {
    let all = |end: End| [end; 3];
    let say = |status: u16, headers: &[(&str, &str)], body: &str| Act::Say(answer(status, headers, body));
    let many =
        |value: &str| say(429, &[("retry-after", value), ("date", "Tue, 03 Feb 2026 08:00:00 GMT")], "");
    let too_many = "WHO answered 429 – too many messages: lower the receiver's rate_limit";
    let redirect = |status: u16| {
        format!(
            "WHO answered {status}: cannot POST … – redirects are not followed: configure the final address"
        )
    };
    let odd = |answer: &str| {
        format!(
            "WHO answered {answer} – the other side does not understand the message: is it the right kind of receiver?"
        )
    };
    let lost = "WHO: the request failed: Connection reset by peer";
    let not_slack = "WHO answered 200 – that is no answer of Slack's: is something in between, a proxy?";
    let page = "WHO answered 200: <!DOCTYPE html><title>Please log in</title> – that is a page for people: is something in between, a proxy or a login?";
    let head = "HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n";
    vec![
        (Act::Reset, line("hangs up at once", all(Retry), lost)),
        (Act::SayAndReset(String::new()), line("hangs up before the answer", all(Retry), lost)),
        (
            Act::SayAndReset(format!("{head}{}", &TAKEN[..20])),
            line("hangs up within a 200 that says it took it", all(Delivered), ""),
        ),
        (
            Act::SayAndReset("HTTP/1.1 503 X\r\ncontent-length: 1000\r\n\r\nsor".into()),
            line("hangs up within a 503", all(Retry), "WHO answered 503: sor"),
        ),
        (Act::SayAndHang(String::new()), line("says nothing", all(Retry), "WHO: no answer in time")),
        (
            Act::SayAndHang(head.into()),
            line("says 200 and then nothing more", [Delivered, Delivered, Retry], not_slack),
        ),
        (
            Act::Drip(answer(200, &[], TAKEN)),
            line("a byte each second", all(Retry), "WHO: no answer in time"),
        ),
        (
            Act::Endless("HTTP/1.1 200 X\r\n\r\n".into()),
            line(
                "a 200 without an end",
                [Delivered, Delivered, Retry],
                not_slack.replace("200 –", "200: … –"),
            ),
        ),
        (say(200, &[], TAKEN), line("200", all(Delivered), "")),
        (
            say(200, &[], ERROR),
            line(
                "200 with an error of Slack's",
                [Delivered, Refused, Refused],
                "Slack…channel_not_found…check the channel's name…",
            ),
        ),
        (say(200, &[], PAGE), line("200 with a page (a login)", [Delivered, Retry, Retry], page)),
        (say(204, &[], ""), line("204", [Delivered, Delivered, Retry], not_slack.replace("200", "204"))),
        (say(301, &[("location", "http://127.0.0.1:1/")], ECHO), line("301", all(Refused), redirect(301))),
        (say(302, &[("location", "http://127.0.0.1:1/")], ECHO), line("302", all(Refused), redirect(302))),
        (say(307, &[("location", "http://127.0.0.1:1/")], ECHO), line("307", all(Refused), redirect(307))),
        (say(308, &[("location", "http://127.0.0.1:1/")], ECHO), line("308", all(Refused), redirect(308))),
        (say(400, &[], ECHO), line("400", all(Reject), odd("400: cannot POST …"))),
        (say(401, &[], ""), line("401", all(Refused), "WHO answered 401 – check the credentials")),
        (
            say(403, &[], ""),
            line("403", all(Refused), "WHO answered 403 – the credentials do not allow this"),
        ),
        (
            say(404, &[], ECHO),
            line("404", all(Refused), "WHO answered 404: cannot POST … – check the address"),
        ),
        (say(408, &[], ""), line("408", all(Retry), "WHO answered 408")),
        (say(410, &[], ""), line("410", all(Refused), "WHO answered 410 – check the address")),
        (
            say(413, &[], ""),
            line("413", all(Reject), "WHO answered 413 – the message is too large for the other side"),
        ),
        (say(422, &[], ""), line("422", all(Reject), odd("422"))),
        (say(429, &[], ""), line("429", all(After(60)), too_many)),
        (many("7"), line("429, `Retry-After: 7`", all(After(7)), too_many)),
        (many("0"), line("429, `Retry-After: 0`", all(After(1)), too_many)),
        (
            many("Tue, 03 Feb 2026 08:02:00 GMT"),
            line("429, a date in two minutes", all(After(120)), too_many),
        ),
        (many("Tue, 03 Feb 2026 07:00:00 GMT"), line("429, a date that has passed", all(After(1)), too_many)),
        (many("315360000"), line("429, in ten years", all(After(3600)), too_many)),
        (many("-5"), line("429, `Retry-After: -5`", all(After(60)), too_many)),
        (many("soon"), line("429, `Retry-After: soon`", all(After(60)), too_many)),
        (say(500, &[], ECHO), line("500", all(Retry), "WHO answered 500: cannot POST …")),
        (say(502, &[], PAGE), line("502", all(Retry), "WHO answered 502: …")),
        (say(503, &[], ""), line("503", all(Retry), "WHO answered 503")),
        (
            say(503, &[("retry-after", "30")], ""),
            line("503, `Retry-After: 30`", all(After(30)), "WHO answered 503"),
        ),
        (
            Act::Say("SSH-2.0-OpenSSH_9.6\r\n".into()),
            line(
                "is no HTTP server",
                all(Retry),
                "WHO: the request failed: invalid HTTP … – that is no HTTP server: check the address and the port",
            ),
        ),
    ]
}

/// Who is not there.
fn nobody() -> Vec<(String, Line)> {
    // A port that was free a moment ago and is nobody's.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    vec![
        (
            format!("http://127.0.0.1:{free}"),
            line(
                "refuses the connection",
                [Retry; 3],
                "WHO: cannot connect to …: … – nothing listens there: check the address and the port",
            ),
        ),
        (
            String::from("http://kubeherald-test.invalid"),
            line(
                "a name that does not exist",
                [Retry; 3],
                "WHO: cannot connect to …: … – check the name of the host",
            ),
        ),
    ]
}

/// What a server shows, whether we trust its authority and show ours, and what comes of it.
fn encrypted() -> Vec<(Option<Shows>, bool, bool, Line)> {
    let fails = |case, reason| line(case, [Retry; 3], reason);
    let unknown = "WHO: cannot connect to …: … – nobody trusted here signed the certificate: if it is right, give its authority as `ca`";
    vec![
        (
            None,
            true,
            false,
            fails(
                "speaks plain HTTP on the TLS port",
                "WHO: cannot connect to …: … – that port does not speak TLS: check the port, and how it is encrypted",
            ),
        ),
        (Some(Shows::SelfSigned), true, false, fails("a self-signed certificate", unknown)),
        (
            Some(Shows::Expired),
            true,
            false,
            fails(
                "an expired certificate",
                "WHO: cannot connect to …: … – the certificate has expired: renew it, or check this machine's clock",
            ),
        ),
        (
            Some(Shows::Early),
            true,
            false,
            fails(
                "a certificate that is not valid yet",
                "WHO: cannot connect to …: … – the certificate is not valid yet: check this machine's clock",
            ),
        ),
        (
            Some(Shows::OtherName),
            true,
            false,
            fails(
                "a certificate for another name",
                "WHO: cannot connect to …: … – the certificate is for another name: check the address",
            ),
        ),
        (Some(Shows::OtherAuthority), true, false, fails("a certificate of an unknown authority", unknown)),
        (Some(Shows::Good), false, false, fails("a private authority that is not configured", unknown)),
        (
            Some(Shows::Good),
            true,
            false,
            line("a private authority that is configured (`ca`)", [Delivered; 3], ""),
        ),
        (
            Some(Shows::AsksForOurs),
            true,
            false,
            fails(
                "asks for a client certificate, none is configured",
                "WHO: … – it asks for a client certificate: configure `client_cert` and `client_key`",
            ),
        ),
        (
            Some(Shows::AsksForOurs),
            true,
            true,
            line("asks for a client certificate, one is configured", [Delivered; 3], ""),
        ),
    ]
}

/// Every line, against real sockets. The clock stands still but for timers: a server that says nothing
/// costs no time, and how long a notifier waits is exact.
#[tokio::test(start_paused = true)]
async fn every_answer_of_every_server_has_its_outcome() {
    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    for (base, line) in nobody() {
        check(&line, &three(&base, &Tls::default()), &mut wrong).await;
        lines.push(line);
    }
    let peer = Peer::start().await;
    let notifiers = three(&format!("http://127.0.0.1:{}", peer.port), &Tls::default());
    for (act, line) in plain() {
        peer.does(act);
        check(&line, &notifiers, &mut wrong).await;
        lines.push(line);
    }
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new(dir.path());
    let base = format!("https://127.0.0.1:{}", peer.port);
    let tls = |ca: bool, ours: bool| Tls {
        ca: ca.then(|| pki.ca.clone()),
        identity: if ours { pki.identity.clone() } else { Vec::new() },
    };
    // Making a client reads all certificates of the system: one for each way to trust.
    let clients =
        [(false, false), (true, false), (true, true)].map(|(ca, ours)| three(&base, &tls(ca, ours)));
    for (shows, trusted, ours, line) in encrypted() {
        peer.shows(shows.map(|shows| pki.server(shows)));
        // In the clear a server does not wait for the end of a request that it does not understand.
        let text = answer(200, &[], TAKEN);
        peer.does(if shows.is_none() { Act::Blurt(text) } else { Act::Say(text) });
        check(&line, &clients[usize::from(trusted) + usize::from(ours)], &mut wrong).await;
        lines.push(line);
    }
    peer.does(Act::Reset);
    let broken = line("breaks off the TLS handshake", [Retry; 3], "WHO: cannot connect to …: …");
    check(&broken, &clients[1], &mut wrong).await;
    lines.push(broken);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    is_documented("http", &markdown(COLUMNS, &lines));
}
