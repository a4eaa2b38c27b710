//! One attempt to call a webhook.

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::config::{WebhookAuth, WebhookConfig, WebhookError};
use super::request::{self, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::message::text::words;
use crate::notify::http::{self, Class};
use crate::notify::secret::SecretError;
use crate::notify::{Attempt, BuildError, Deliver, Outcome, Parts};

/// Headers that are ours to set.
const RESERVED: &[&str] = &[
    "content-type",
    "content-length",
    "host",
    "transfer-encoding",
    "connection",
    "idempotency-key",
    TIMESTAMP_HEADER,
    SIGNATURE_HEADER,
];

/// Calls a webhook.
#[derive(Debug)]
pub struct Webhook {
    config: WebhookConfig,
    headers: HeaderMap,
    clock: fn() -> Timestamp,
    client: reqwest::Client,
}

impl Webhook {
    /// Makes the notifier; reads no secret.
    pub fn new(config: WebhookConfig, parts: &Parts) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let value = HeaderValue::from_str(value).map_err(|_| WebhookError::HeaderValue(name.clone()))?;
            headers.append(header_name(name)?, value);
        }
        for (name, _) in &config.secret_headers {
            header_name(name)?;
        }
        let client = http::client(&config.tls)?;
        Ok(Self { config, headers, clock: parts.clock, client })
    }

    fn request(&self, attempt: Attempt<'_>, url: &str) -> Result<reqwest::RequestBuilder, SecretError> {
        let n = attempt.notification;
        let body = request::payload(n).to_string().into_bytes();
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        for (name, value) in &self.config.secret_headers {
            let value = value.resolve()?;
            if let (Ok(name), Ok(mut value)) =
                (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value.expose_secret()))
            {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        if let Ok(key) = HeaderValue::from_str(&n.key) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        let now = (self.clock)();
        headers.insert(HeaderName::from_static(TIMESTAMP_HEADER), HeaderValue::from(now.as_second()));
        if let Some(key) = &self.config.sign {
            let signature = request::sign(key.resolve()?.expose_secret().as_bytes(), now, &body);
            if let Ok(value) = HeaderValue::from_str(&signature) {
                headers.insert(HeaderName::from_static(SIGNATURE_HEADER), value);
            }
        }
        let request = self.client.post(url).headers(headers).body(body);
        Ok(match &self.config.auth {
            WebhookAuth::None => request,
            WebhookAuth::Basic { username, password } => {
                request.basic_auth(username, Some(password.resolve()?.expose_secret()))
            }
            WebhookAuth::Bearer(token) => request.bearer_auth(token.resolve()?.expose_secret()),
        })
    }
}

fn header_name(name: &str) -> Result<HeaderName, WebhookError> {
    let parsed = HeaderName::try_from(name).map_err(|_| WebhookError::HeaderName(name.to_owned()))?;
    if RESERVED.contains(&parsed.as_str()) {
        return Err(WebhookError::Reserved(name.to_owned()));
    }
    Ok(parsed)
}

impl Deliver for Webhook {
    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let url = match self.config.url.resolve() {
            Ok(url) => url,
            Err(e) => return Outcome::retry(format!("no webhook URL: {e}")),
        };
        let address = url.expose_secret().trim();
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return Outcome::reject(format!("{} holds no http(s) URL", self.config.url));
        }
        let request = match self.request(attempt, address) {
            Ok(request) => request,
            Err(e) => return Outcome::retry(format!("a secret of the webhook is missing: {e}")),
        };
        let answer = match http::exchange(request, (self.clock)()).await {
            Ok(answer) => answer,
            Err(reason) => return Outcome::retry(format!("webhook: {reason}")),
        };
        let class = http::class(answer.status);
        if class == Class::Taken {
            return Outcome::Delivered { handle: None };
        }
        let excerpt = http::excerpt(&answer.body, &http::secret_parts(address));
        let head = words::join(&[&format!("the webhook answered {}", answer.status), &excerpt], ": ");
        let reason = words::join(&[&head, http::advice(answer.status)], " – ");
        if class == Class::Later {
            Outcome::Retry { after: answer.retry_after, reason }
        } else {
            Outcome::Reject { reason }
        }
    }
}
