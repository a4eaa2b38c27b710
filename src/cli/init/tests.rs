use std::collections::VecDeque;

use secrecy::SecretString;

use super::*;

/// Answers in order; what is asked is remembered.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    asked: Vec<String>,
}

impl Ask for Script {
    fn line(&mut self, question: &str, default: Option<&str>) -> Result<String, anyhow::Error> {
        self.asked.push(question.trim().to_owned());
        match self.answers.pop_front() {
            Some("") => Ok(default.expect("a default").to_owned()),
            Some(answer) => Ok(answer.to_owned()),
            None => Err(anyhow!("nothing more to say to {question}")),
        }
    }

    fn secret(&mut self, question: &str, _: bool) -> Result<Option<SecretString>, anyhow::Error> {
        let answer = self.line(question, Some(""))?;
        Ok((!answer.is_empty()).then(|| answer.into()))
    }

    fn say(&mut self, text: &str) {
        self.asked.push(format!("({})", text.trim()));
    }
}

fn args(cluster: Option<&str>, receivers: &[&str]) -> InitArgs {
    InitArgs {
        dir: "kubeherald".into(),
        cluster: cluster.map(str::to_owned),
        receivers: receivers.iter().map(|text| (*text).to_owned()).collect(),
        image: "kubeherald:0.1.0".into(),
        send: false,
        force: false,
    }
}

#[test]
fn a_person_is_asked_for_what_is_needed_and_nothing_else() {
    let answers = [
        "prod",
        "slck",
        "slack",
        "",
        "#alerts",
        "xoxb-hunter2",
        "y",
        "email",
        "oncall",
        "mail",
        "a@example.com b@example.com",
        "k@example.com",
        "smtp.example.com",
        "465",
        "me",
        "hunter2",
        "",
    ];
    let mut script = Script { answers: answers.into(), ..Script::default() };
    let plan = plan(&args(None, &[]), Some(&mut script)).unwrap();
    assert!(script.answers.is_empty(), "{:?} not asked: {:?}", script.answers, script.asked);
    assert!(script.asked.iter().any(|said| said.contains("did you mean `slack`?")), "{:?}", script.asked);
    assert!(script.asked.iter().any(|said| said == "(there is one of that name)"), "{:?}", script.asked);
    let config = plan.config();
    for part in [
        "cluster: \"prod\"\n",
        "  oncall:\n    slack:\n      token: {file: ../secrets/oncall-token}\n      channel: \"#alerts\"\n",
        "  mail:\n    email:\n      from: \"k@example.com\"\n      to: [\"a@example.com\", \"b@example.com\"]\n      smtp:\n        \
         host: \"smtp.example.com\"\n        port: 465\n        tls: implicit\n        username: \"me\"\n        \
         password: {file: ../secrets/mail-password}\n",
        "  - receivers: [oncall, mail]\n",
    ] {
        assert!(config.contains(part), "no {part:?} in\n{config}");
    }
    assert!(!config.contains("hunter2") && !format!("{plan:?}").contains("hunter2"));
}

#[test]
fn every_kind_of_receiver_makes_a_configuration_without_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "https://example.com/hunter2").unwrap();
    let receivers: Vec<String> = Kind::all()
        .into_iter()
        .map(|kind| {
            let text = format!("r-{0}={0}", kind.name());
            let mut missing = Receiver::parse(&text).unwrap().missing();
            let mut parts = vec![text];
            for key in missing.drain(..) {
                let key = key.trim_start_matches('`').split('=').next().unwrap_or_default().to_owned();
                parts.push(match key.as_str() {
                    "to" | "from" => format!("{key}=a@example.com"),
                    "channel" => "channel=#alerts".to_owned(),
                    "host" => "host=smtp.example.com".to_owned(),
                    _ => format!("{key}=file:{}", secret.display()),
                });
            }
            parts.join(",")
        })
        .collect();
    let texts: Vec<&str> = receivers.iter().map(String::as_str).collect();
    let plan = plan(&args(Some("a \"quoted\" #name"), &texts), None).unwrap();
    assert_eq!(plan.receivers.len(), 14);
    let to = dir.path().join("out");
    plan.write(&to, false).unwrap();
    let found = check(&[to.join(CONFIG), to.join("rules")], jiff::Timestamp::MIN).found;
    assert!(found.is_empty(), "{found}");
}
