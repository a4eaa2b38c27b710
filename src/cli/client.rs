//! Asks the running bot over its API, for `silence` and `reload`.
//!
//! The token goes to one address and nowhere else: no redirect is followed, no proxy is used, and
//! where others could read it on the way that is said.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{ConfigArgs, Failure, output};
use crate::clock;
use crate::config::Config;
use crate::message::text::words;
use crate::notify::Secret;
use crate::notify::http::{Answer, chain, exchange};

/// Where a token is looked for beside files.
const TOKEN: &str = "KUBEHERALD_TOKEN";
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// From the first byte sent to the last byte read; longer than the bot takes to give up (10 s).
const TOTAL: Duration = Duration::from_secs(15);
/// The longest text of the other side that is shown, in lines and in characters each.
const SHOWN: (usize, usize) = (60, 300);

/// Where the bot is, and what opens its API.
#[derive(Debug, Clone, Args)]
pub struct BotArgs {
    /// Where the bot is, such as `http://127.0.0.1:8080`; otherwise `http.listen` of the
    /// configuration, on this machine.
    #[arg(long, value_name = "URL", env = "KUBEHERALD_URL")]
    url: Option<String>,
    /// A file with the token of the bot's API; otherwise the variable `KUBEHERALD_TOKEN`, otherwise
    /// `http.token` of the configuration.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The bot's configuration file.
    #[arg(short, long, env = "KUBEHERALD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A bot that can be asked.
pub struct Bot {
    base: Url,
    token: SecretString,
    client: reqwest::Client,
}

impl Bot {
    /// Finds out where the bot is and what its token is; asks nothing yet.
    pub fn find(args: &BotArgs) -> Result<Self, Failure> {
        let from_env = std::env::var_os(TOKEN).is_some_and(|token| !token.is_empty());
        let complete = args.url.is_some() && (args.token_file.is_some() || from_env);
        let config = match args.config.as_ref().filter(|_| !complete) {
            Some(path) => {
                let from = ConfigArgs { config: Some(path.clone()), rules: Vec::new() };
                Some((super::load(&from)?.config, path.display().to_string()))
            }
            None => None,
        };
        let config = config.as_ref().map(|(config, path)| (&**config, path.as_str()));
        let base = base(args.url.as_deref(), config)?;
        let token = token(args.token_file.clone(), from_env, config)?;
        if base.scheme() == "http" && !is_local(&base) {
            output::say(&format!(
                "warning: the token goes to {} without encryption: who can listen on the way can use it",
                words::one_line(base.host_str().unwrap_or_default(), 120)
            ));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("kubeherald/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| anyhow!("cannot set up HTTP: {}", chain(error)))?;
        Ok(Self { base, token, client })
    }

    /// Asks, and gives the answer; everything but an answer to the question is an error.
    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, anyhow::Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow!("this is no address of a bot"))?
            .pop_if_empty()
            .extend(path);
        url.set_query(query);
        let mut request = self.client.request(method, url).bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = exchange(request, clock::now()).await.map_err(|why| {
            anyhow!(
                "cannot reach the bot at {}: {why}\n  is it running, and does it listen there (`http.listen`)? \
                 --url names another place",
                self.shown()
            )
        })?;
        self.understand(&answer)
    }

    fn shown(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    fn understand(&self, answer: &Answer) -> Result<Value, anyhow::Error> {
        let at = self.shown();
        let json: Option<Value> = serde_json::from_str(&answer.body).ok();
        let told = json.as_ref().and_then(|json| json.get("error")?.as_str()).map(|text| {
            // A token that the other side repeats is not shown.
            lines(&text.replace(self.token.expose_secret(), "***"))
        });
        let status = answer.status;
        match (status, told) {
            (200..300, _) => json.with_context(|| format!("what answers at {at} is no kubeherald: no JSON")),
            (300..400, _) => Err(anyhow!(
                "what answers at {at} points elsewhere (status {status}), and is not followed: \
                 name the bot's own address with --url"
            )),
            (401, _) => Err(anyhow!(
                "the bot at {at} does not know this token\n  it knows the one of its `http.token`; \
                 give that with --token-file, {TOKEN}, or --config"
            )),
            (403, Some(told)) => Err(anyhow!("{at}: {told}")),
            (400..500, Some(told)) => Err(anyhow!("the bot refuses it: {told}")),
            (_, Some(told)) => Err(anyhow!("the bot at {at} could not do it (status {status}): {told}")),
            (_, None) => Err(anyhow!(
                "what answers at {at} is no kubeherald, or an older one: status {status}; \
                 --url names another place"
            )),
        }
    }
}

/// Text of the other side: its lines are kept, and nothing in them may move a terminal's cursor.
pub fn lines(text: &str) -> String {
    let (most, width) = SHOWN;
    let mut shown: Vec<String> = Vec::new();
    for line in text.trim().lines().take(most) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        shown.push(format!("{}{}", " ".repeat(indent.min(20)), words::one_line(line, width)));
    }
    if text.trim().lines().count() > most {
        shown.push("…".to_owned());
    }
    shown.join("\n")
}

fn base(given: Option<&str>, config: Option<(&Config, &str)>) -> Result<Url, Failure> {
    let text = match (given, config) {
        (Some(url), _) => url.to_owned(),
        (None, Some((config, path))) => {
            let mut address = config.http.with_context(|| {
                format!("{path} names no `http.listen`: the bot can only be asked over HTTP")
            })?;
            if address.ip().is_unspecified() {
                // It listens everywhere, so also here.
                address.set_ip(match address.ip() {
                    std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                });
            }
            format!("http://{address}")
        }
        (None, None) => {
            return Err(
                anyhow!("where is the bot? Name it with --url, or its configuration with --config").into()
            );
        }
    };
    let wrong = |why: &str| {
        // It may hold a password: only its beginning can be shown.
        Failure::Usage(anyhow!("--url: {why}; write it as http://127.0.0.1:8080"))
    };
    let mut url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("expected http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("nothing may follow the path"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// On this machine: nobody else is on the way.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn token(
    file: Option<PathBuf>,
    from_env: bool,
    config: Option<(&Config, &str)>,
) -> Result<SecretString, Failure> {
    let secret = match (file, from_env, config) {
        (Some(path), ..) => Secret::File(path),
        (None, true, _) => Secret::Env(TOKEN.to_owned()),
        (None, false, Some((config, path))) => match &config.api_token {
            Some(token) => token.clone(),
            None => {
                return Err(
                    anyhow!("{path} names no `http.token`: without one the bot accepts no commands").into()
                );
            }
        },
        (None, false, None) => {
            return Err(anyhow!(
                "which token? Name its file with --token-file, set {TOKEN}, or name the bot's configuration with --config"
            )
            .into());
        }
    };
    let token = secret.resolve().context("cannot read the token")?;
    if reqwest::header::HeaderValue::from_str(token.expose_secret()).is_err() {
        return Err(
            anyhow!("the token ({secret}) holds line ends or other characters that no header can").into()
        );
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn based(url: &str) -> Option<String> {
        base(Some(url), None).ok().map(|url| url.to_string())
    }

    #[test]
    fn addresses() {
        assert_eq!(based("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080/"));
        assert_eq!(
            based("https://bots.example.com/herald").as_deref(),
            Some("https://bots.example.com/herald/")
        );
        for wrong in ["127.0.0.1:8080", "ftp://x", "http://a:b@x", "http://x/?y", "http://", "nonsense"] {
            assert_eq!(based(wrong), None, "{wrong}");
        }
        for (url, local) in [
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:80", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_local(&url.parse().unwrap()), local, "{url}");
        }
    }

    #[test]
    fn lines_of_the_other_side_are_kept_and_made_harmless() {
        assert_eq!(lines("a\u{1b}[31m\n  --> x:1\n\n"), "a [31m\n  --> x:1");
        assert_eq!(lines(&"x\n".repeat(1000)).lines().count(), SHOWN.0 + 1);
    }
}
