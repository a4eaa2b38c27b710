//! The receivers that `init` can write: which answers each kind needs, and its part of the configuration.

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

use super::ask::Ask;
use crate::config::suggest;
use crate::notify::Secret;
use crate::notify::webhook::Preset;

/// One thing that a receiver must be told.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub key: &'static str,
    /// As a person is asked for it.
    question: &'static str,
    secret: bool,
    need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Asked for; nothing is an answer, too.
    Optional,
    /// Only asked for where this key was answered.
    With(&'static str),
    /// Never asked for.
    Given,
}

const fn field(key: &'static str, question: &'static str, need: Need) -> Field {
    Field { key, question, secret: false, need }
}

const fn secret(key: &'static str, question: &'static str, need: Need) -> Field {
    Field { key, question, secret: true, need }
}

const SLACK: &[Field] = &[
    field("channel", "Channel (#name or id)", Need::Required),
    secret("token", "Bot token (xoxb-…, with the scope chat:write)", Need::Required),
    field("api_url", "Base of the Web API", Need::Given),
];
const SLACK_WEBHOOK: &[Field] = &[secret("url", "Address of the incoming webhook", Need::Required)];
const EMAIL: &[Field] = &[
    field("to", "Recipients, separated by spaces", Need::Required),
    field("from", "Sender's address", Need::Required),
    field("host", "Mail server", Need::Required),
    field("port", "Port (587 for STARTTLS, 465 for TLS)", Need::Optional),
    field("tls", "Encryption: starttls, implicit or none", Need::Given),
    field("username", "Login name (empty: no login)", Need::Optional),
    secret("password", "Password", Need::With("username")),
];
const WEBHOOK: &[Field] = &[
    secret("url", "Address", Need::Required),
    secret("bearer", "Token for `Authorization: Bearer` (empty: none)", Need::Optional),
];

/// What receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Slack,
    SlackWebhook,
    Email,
    Webhook,
    Preset(Preset),
}

impl Kind {
    pub fn all() -> Vec<Self> {
        let own = [Self::Slack, Self::SlackWebhook, Self::Email, Self::Webhook];
        own.into_iter().chain(Preset::ALL.iter().copied().map(Self::Preset)).collect()
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::SlackWebhook => "slack-webhook",
            Self::Email => "email",
            Self::Webhook => "webhook",
            Self::Preset(preset) => preset.name(),
        }
    }

    pub fn parse(name: &str) -> Result<Self, anyhow::Error> {
        let all = Self::all();
        let names = || all.iter().map(|kind| kind.name());
        all.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
            let help = suggest::nearest(name, names())
                .map_or_else(|| format!("there are {}", suggest::join(names())), suggest::did_you_mean);
            anyhow!("`{}` is no kind of receiver: {help}", name.escape_debug())
        })
    }

    fn fields(self) -> Vec<Field> {
        let preset = match self {
            Self::Slack => return SLACK.to_vec(),
            Self::SlackWebhook => return SLACK_WEBHOOK.to_vec(),
            Self::Email => return EMAIL.to_vec(),
            Self::Webhook => return WEBHOOK.to_vec(),
            Self::Preset(preset) => preset,
        };
        let url = if preset.default_url().is_some() { Need::Given } else { Need::Required };
        let mut fields = vec![secret("url", "Address", url)];
        if preset.takes_key() {
            let need = if preset.needs_key() { Need::Required } else { Need::Optional };
            let question = match preset.key_is() {
                "" => "Key",
                key => key,
            };
            fields.push(secret("key", question, need));
        }
        fields
    }
}

/// One answer.
#[derive(Debug)]
pub enum Answer {
    Text(String),
    Secret(SecretString),
}

/// A receiver as it will be written.
#[derive(Debug)]
pub struct Receiver {
    pub name: String,
    pub kind: Kind,
    answers: Vec<(Field, Answer)>,
}

impl Receiver {
    pub const fn new(name: String, kind: Kind) -> Self {
        Self { name, kind, answers: Vec::new() }
    }

    /// `oncall=slack,channel=#alerts,token=env:SLACK_TOKEN`. No secret is repeated in an error.
    pub fn parse(text: &str) -> Result<Self, anyhow::Error> {
        let mut parts = text.split(',');
        let head = parts.next().unwrap_or_default().split_once('=');
        let (name, kind) = head.filter(|(name, _)| is_name(name)).context(
            "expected NAME=KIND and then KEY=VALUE, separated by commas: `oncall=slack,channel=#alerts,token=env:SLACK_TOKEN`",
        )?;
        let mut receiver = Self::new(name.to_owned(), Kind::parse(kind)?);
        for part in parts {
            let (key, value) = part.split_once('=').with_context(|| {
                format!("`{name}`: expected KEY=VALUE after a comma; the keys are {}", receiver.keys())
            })?;
            let field =
                receiver.kind.fields().into_iter().find(|field| field.key == key).with_context(|| {
                    format!(
                        "`{name}`: there is no key `{}`; the keys are {}",
                        key.escape_debug(),
                        receiver.keys()
                    )
                })?;
            receiver.give(field, value)?;
        }
        Ok(receiver)
    }

    fn keys(&self) -> String {
        let fields = self.kind.fields();
        suggest::join(fields.iter().map(|field| field.key))
    }

    fn give(&mut self, field: Field, value: &str) -> Result<(), anyhow::Error> {
        let name = &self.name;
        if !field.secret {
            match self.answers.iter_mut().find(|(known, _)| known.key == field.key) {
                // Several recipients.
                Some((_, Answer::Text(text))) if field.key == "to" => {
                    text.push(' ');
                    text.push_str(value);
                }
                Some(_) => bail!("`{name}`: `{}` is given twice", field.key),
                None => self.answers.push((field, Answer::Text(value.to_owned()))),
            }
            return Ok(());
        }
        let from = match value.split_once(':') {
            Some(("env", variable)) => Secret::Env(variable.to_owned()),
            Some(("file", path)) => Secret::File(path.into()),
            _ => bail!(
                "`{name}`: `{0}` is a secret, and others can read command lines: write `{0}=env:VARIABLE` or `{0}=file:PATH`",
                field.key
            ),
        };
        let value = from.resolve().with_context(|| format!("`{name}`: `{}` cannot be read", field.key))?;
        self.answers.push((field, Answer::Secret(value)));
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.answers.iter().any(|(field, _)| field.key == key)
    }

    fn wants(&self, field: &Field) -> bool {
        !self.has(field.key)
            && match field.need {
                Need::Required | Need::Optional => true,
                Need::With(other) => self.has(other),
                Need::Given => false,
            }
    }

    /// What must still be said, as it would be on the command line.
    pub fn missing(&self) -> Vec<String> {
        let needed = |field: &Field| self.wants(field) && field.need != Need::Optional;
        let fields = self.kind.fields().into_iter().filter(needed);
        fields
            .map(|field| match field.secret {
                true => format!("`{}=env:VARIABLE` or `{0}=file:PATH`", field.key),
                false => format!("`{}=…`", field.key),
            })
            .collect()
    }

    /// Asks for what is missing.
    pub fn ask(&mut self, ask: &mut dyn Ask) -> Result<(), anyhow::Error> {
        for field in self.kind.fields() {
            if !self.wants(&field) {
                continue;
            }
            let optional = field.need == Need::Optional;
            if field.secret {
                let value = ask.secret(field.question, optional)?;
                self.answers.extend(value.map(|value| (field, Answer::Secret(value))));
            } else {
                let value = ask.line(field.question, optional.then_some(""))?;
                if !value.is_empty() {
                    self.answers.push((field, Answer::Text(value)));
                }
            }
        }
        Ok(())
    }

    /// Names of files, and what belongs into them.
    pub fn secrets(&self) -> impl Iterator<Item = (String, &SecretString)> {
        self.answers.iter().filter_map(|(field, answer)| match answer {
            Answer::Secret(secret) => Some((self.file(field.key), secret)),
            Answer::Text(_) => None,
        })
    }

    fn file(&self, key: &str) -> String {
        format!("{}-{key}", self.name)
    }

    fn value(&self, key: &str) -> Option<String> {
        let (_, answer) = self.answers.iter().find(|(field, _)| field.key == key)?;
        Some(match answer {
            Answer::Secret(_) => format!("{{file: ../secrets/{}}}", self.file(key)),
            Answer::Text(text) => quoted(text),
        })
    }

    /// Its part of the configuration.
    pub fn yaml(&self) -> String {
        let mut out = format!("  {}:\n", self.name);
        let mut put = |indent: usize, key: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push_str(&format!("{}{key}: {value}\n", " ".repeat(indent)));
            }
        };
        let block = Some(String::new());
        match self.kind {
            Kind::Slack | Kind::SlackWebhook => {
                put(4, "slack", block);
                for key in ["token", "channel", "api_url"] {
                    put(6, key, self.value(key));
                }
                put(6, "webhook_url", self.value("url"));
            }
            Kind::Webhook | Kind::Preset(_) => {
                put(4, "webhook", block);
                if let Kind::Preset(preset) = self.kind {
                    put(6, "preset", Some(preset.name().to_owned()));
                }
                for key in ["url", "key", "bearer"] {
                    put(6, key, self.value(key));
                }
            }
            Kind::Email => {
                put(4, "email", block.clone());
                put(6, "from", self.value("from"));
                put(6, "to", Some(self.recipients()));
                put(6, "smtp", block);
                for key in ["host", "port", "tls", "username", "password"] {
                    let number = |text: &String| text.trim_matches('"').bytes().all(|b| b.is_ascii_digit());
                    let value = self.value(key).map(|text| match number(&text) {
                        true => text.trim_matches('"').to_owned(),
                        false => text,
                    });
                    let implied = (key == "tls" && value.is_none() && self.is_port("465"))
                        .then(|| "implicit".to_owned());
                    put(8, key, value.or(implied));
                }
            }
        }
        // A key without a value of its own begins a block.
        out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn is_port(&self, port: &str) -> bool {
        self.answers
            .iter()
            .any(|(field, answer)| field.key == "port" && matches!(answer, Answer::Text(t) if t == port))
    }

    fn recipients(&self) -> String {
        let text = self.answers.iter().find_map(|(field, answer)| match answer {
            Answer::Text(text) if field.key == "to" => Some(text.as_str()),
            _ => None,
        });
        let each: Vec<String> = text.unwrap_or_default().split_whitespace().map(quoted).collect();
        format!("[{}]", each.join(", "))
    }
}

/// As the reader of configurations has it.
pub fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// A text in double quotes: what is one in JSON is one in YAML.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", Receiver::parse(text).unwrap_err())
    }

    #[test]
    fn what_is_wrong_on_the_command_line_is_said_and_no_secret_is_repeated() {
        for (text, part) in [
            ("slack", "expected NAME=KIND"),
            ("a b=slack", "expected NAME=KIND"),
            ("a=slak", "did you mean `slack`?"),
            ("a=carrier-pigeon", "there are `slack`, `slack-webhook`, `email`, `webhook`, `alertmanager`"),
            ("a=slack,chan=x", "there is no key `chan`; the keys are `channel`, `token` and `api_url`"),
            ("a=slack,channel=x,channel=y", "`channel` is given twice"),
            ("a=slack,token=env:KUBEHERALD_NO_SUCH", "environment variable KUBEHERALD_NO_SUCH is not set"),
        ] {
            assert!(error(text).contains(part), "{text}: {}", error(text));
        }
        let literal = error("a=slack,token=xoxb-hunter2");
        assert!(literal.contains("write `token=env:VARIABLE`") && !literal.contains("hunter2"), "{literal}");
    }

    #[test]
    fn what_is_missing_is_named_as_it_would_be_written() {
        let missing = |text: &str| Receiver::parse(text).unwrap().missing();
        assert_eq!(missing("a=slack,channel=#x"), ["`token=env:VARIABLE` or `token=file:PATH`"]);
        assert_eq!(missing("a=email,to=x@example.com,host=h"), ["`from=…`"]);
        assert_eq!(
            missing("a=email,to=x,from=y,host=h,username=u"),
            ["`password=env:VARIABLE` or `password=file:PATH`"]
        );
        assert_eq!(missing("a=pagerduty"), ["`key=env:VARIABLE` or `key=file:PATH`"]);
        assert_eq!(missing("a=dingtalk").len(), 1, "its key is optional");
    }
}
