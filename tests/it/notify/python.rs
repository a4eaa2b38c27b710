//! Against other people's implementations. Run with `--include-ignored` and a Python that has
//! `tests/py/requirements.txt` installed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{Deliver as _, EmailConfig, Notifier, NotifierConfig, SmtpConfig, SmtpTls, slack};
use kubeherald::template::{Templates, sample};
use serde_json::Value;

use super::{authority, class, handle, inline, notifier, says, tell, tell_to};

fn python(script: &str) -> Command {
    let python = std::env::var_os("KUBEHERALD_TEST_PYTHON")
        .expect("KUBEHERALD_TEST_PYTHON names a Python with tests/py/requirements.txt installed");
    let mut command = Command::new(python);
    command.arg(format!("{}/tests/py/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}

#[test]
#[ignore = "needs slack_sdk: set KUBEHERALD_TEST_PYTHON, see .ci/run"]
fn slack_sdk_takes_every_payload() {
    let dir = tempfile::tempdir().unwrap();
    let templates = Templates::shipped().unwrap();
    for (n, notification) in sample::all().enumerate() {
        for (kind, rendered) in [
            ("whole", slack::render(&notification, &templates).unwrap()),
            ("reply", slack::render_reply(&notification, &templates).unwrap()),
        ] {
            let path = dir.path().join(format!("{n:03}-{kind}-{}.json", notification.decision));
            std::fs::write(path, rendered.body().to_string()).unwrap();
        }
    }
    let output = python("slack_blocks.py").arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{} payloads are valid", sample::all().count() * 2));
}

/// A running server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
#[ignore = "needs aiosmtpd: set KUBEHERALD_TEST_PYTHON, see .ci/run"]
async fn aiosmtpd_takes_a_mail_over_starttls_with_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, _) = authority(dir.path());
    let mut server = python("smtp_server.py");
    server.arg(&ca).arg(dir.path().join("key.pem")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Server(server.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let port: u16 = lines.next().unwrap().unwrap().trim_start_matches("PORT ").parse().unwrap();

    let config = |password: &str| EmailConfig {
        from: "Kubeherald <kubeherald@example.com>".into(),
        to: vec!["Plattform Süd <platform@example.com>".into(), "second@example.com".into()],
        reply_to: Some("oncall@example.com".into()),
        smtp: SmtpConfig {
            port,
            tls: SmtpTls::StartTls,
            username: Some("herald".into()),
            password: Some(inline(password)),
            ca: Some(ca.clone()),
            timeout: Duration::from_secs(10),
            ..SmtpConfig::new("localhost")
        },
    };
    let wrong = notifier(NotifierConfig::Email(config("wrong")));
    let outcome = tell(&wrong, &says(Decision::First), None).await;
    assert_eq!(class(&outcome).0, "Refused", "{outcome:?}");
    assert!(class(&outcome).1.contains("check username and password"), "{outcome:?}");

    let right = notifier(NotifierConfig::Email(config("hunter2")));
    let first = to_all(&right, &says(Decision::First), None).await;
    to_all(&right, &says(Decision::Resolved), Some(&first)).await;
    to_all(&right, &sample::notification(Decision::Storm, sample::huge()), None).await;
    for n in [sample::digest::day(), sample::digest::around(sample::huge())] {
        to_all(&right, &n, None).await;
    }
    server.0.stdin.take().unwrap().write_all(b"end\n").unwrap();
    let mails: Vec<Value> = lines.map(|l| serde_json::from_str(&l.unwrap()).unwrap()).collect();
    assert_eq!(mails.len(), 10);
    let one = &mails[0];
    assert_eq!(one["tls"], true);
    assert_eq!(one["user"], "herald");
    assert_eq!(one["to"], "Plattform Süd <platform@example.com>");
    assert_eq!(one["reply_to"], "oncall@example.com");
    assert_eq!(one["message_id"], first.as_str());
    assert_eq!(one["defects"], 0);
    assert_eq!(one["types"], serde_json::json!(["text/plain", "text/html"]));
    assert_eq!(
        one["subject"],
        "[critical] prod-eu-1: Deployment/checkout in shop keeps crashing (container app): exit code 3: panic: open /etc/checkout/config.yaml: no such file or directory"
    );
    assert!(one["text"].as_str().unwrap().contains("Why: exit code 3"), "{one}");
    assert!(one["html"].as_str().unwrap().contains("kubectl -n shop logs deployment/checkout"), "{one}");
    assert_eq!(mails[2]["in_reply_to"], first.as_str());
    for mail in &mails {
        assert_eq!(mail["defects"], 0, "{mail}");
        assert_eq!(mail["bcc"], Value::Null, "{mail}");
        assert_eq!(mail["rcpts"].as_array().unwrap().len(), 1);
        assert_eq!(mail["page"]["wrong"], serde_json::json!([]), "{mail}");
        let tags = mail["page"]["tags"].as_array().unwrap();
        assert!(!tags.iter().any(|tag| ["script", "style", "img", "svg"].contains(&tag.as_str().unwrap())));
    }
    digest_as_read_by_python(&mails[6]);
    let hostile = mails[8]["page"]["text"].as_array().unwrap();
    assert!(hostile.iter().any(|t| t.as_str().unwrap().contains("<script>alert(1)</script>")), "as text");
}

/// One mail to each recipient; their common `Message-ID`.
async fn to_all(mail: &Notifier, n: &Notification, thread: Option<&str>) -> String {
    let mut ids = Vec::new();
    for recipient in mail.recipients() {
        ids.push(handle(&tell_to(mail, n, thread, Some(recipient)).await));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.remove(0)
}

/// The facts of the sample digest in both parts of a mail.
fn digest_as_read_by_python(mail: &Value) {
    assert_eq!(
        mail["subject"],
        "[digest] prod-eu-1: 4 new, 2 ongoing, 3 resolved – first: Node worker-2 is not ready: the kubelet stopped answering"
    );
    assert_eq!((&mail["in_reply_to"], &mail["references"]), (&Value::Null, &Value::Null));
    let read = |v: &Value| -> Vec<String> {
        v.as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
    };
    let (page, text) = (read(&mail["page"]["text"]), mail["text"].as_str().unwrap());
    for fact in [
        "Tue 3 Feb 08:00 to Wed 4 Feb 08:00",
        "shop · team payments",
        "Deployment/checkout keeps crashing (container app): exit code 3: panic: open /etc/checkout/config.yaml: no such file or directory",
        "repeats, counted with their problem",
    ] {
        assert!(page.iter().any(|line| line == fact), "{fact}: {page:#?}");
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let after = |title: &str| {
        let at = page.iter().position(|line| line == title).unwrap();
        page[at + 1].clone()
    };
    assert_eq!(["New", "Ongoing", "Resolved"].map(after), ["(4)", "(2)", "(3)"]);
    for head in ["NEW (4)", "ONGOING (2)", "RESOLVED (3)", "HELD BACK"] {
        assert!(text.lines().any(|line| line == head), "{head}: {text}");
    }
    // Two critical, three warnings, one info: the first bars of both parts.
    let bars: Vec<Vec<String>> = mail["page"]["bars"].as_array().unwrap().iter().map(read).collect();
    assert_eq!(bars[..3], [["#b3261e", "67%"], ["#a85a00", "100%"], ["#0a58b0", "34%"]]);
    assert!(text.lines().any(|line| line == "  warning   ████████████████████████ 3"), "{text}");
    assert!(read(&mail["page"]["links"]).iter().all(|l| l == "https://runbooks.example.com/crash-loop"));
}
