//! One attempt to call a webhook.

use std::sync::Mutex;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::answer;
use super::config::{WebhookAuth, WebhookBody, WebhookConfig, WebhookError};
use super::preset::Preset;
use super::request::{self, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::clock::Clock;
use crate::message::Notification;
use crate::notify::http::{self, Class};
use crate::notify::secret::SecretError;
use crate::notify::{Attempt, BuildError, Deliver, Outcome, Parts, Secret};
use crate::template::json::Document;

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
    clock: Clock,
    client: http::Client,
    /// The document, where it is not kubeherald's own.
    document: Option<Document>,
    preset: Option<Preset>,
    /// How far a summary came that is told in several requests: the next attempt goes on from there,
    /// or a vendor that takes only so many a minute would never see the rest.
    told: Mutex<Option<(String, usize)>>,
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
        let (document, preset) = match &config.body {
            WebhookBody::Payload => (None, None),
            WebhookBody::Document(document) => (Some(document.clone()), None),
            WebhookBody::Preset(preset) => {
                let document = preset.document().map_err(|e| WebhookError::Preset(preset.name(), e))?;
                (Some(document), Some(*preset))
            }
        };
        let client = http::Client::new(&config.tls, &parts.network)?;
        let told = Mutex::new(None);
        Ok(Self { config, headers, clock: parts.clock.clone(), client, document, preset, told })
    }

    /// The body, and where it goes.
    fn content(
        &self,
        n: &Notification,
        base: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<(Vec<u8>, String), String> {
        let mut body = match &self.document {
            Some(document) => {
                document.render(n, key).map_err(|e| format!("the template cannot be rendered: {e}"))?
            }
            None => request::payload(n),
        };
        let mut url = base.to_owned();
        if let Some(preset) = self.preset {
            preset.sign(&mut body, key, now);
            url = preset.url(base, n, key, now);
        }
        Ok((body.to_string().into_bytes(), url))
    }

    fn request(
        &self,
        n: &Notification,
        url: &str,
        body: Vec<u8>,
        key: &str,
        now: Timestamp,
    ) -> Result<reqwest::RequestBuilder, SecretError> {
        let mut headers = self.headers.clone();
        // JSON has no charset (RFC 8259, section 11), and some vendors compare the whole value.
        let kind = if self.preset.is_some() { "application/json" } else { "application/json; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
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
        headers.insert(HeaderName::from_static(TIMESTAMP_HEADER), HeaderValue::from(now.as_second()));
        if let Some(key) = &self.config.sign {
            let signature = request::sign(key.resolve()?.expose_secret().as_bytes(), now, &body);
            if let Ok(value) = HeaderValue::from_str(&signature) {
                headers.insert(HeaderName::from_static(SIGNATURE_HEADER), value);
            }
        }
        if let Some(value) = self.preset.and_then(|preset| preset.authorization(key))
            && let Ok(mut value) = HeaderValue::from_str(&value)
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
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

    /// One request.
    async fn send(&self, n: &Notification, address: &str, key: &str) -> Outcome {
        let now = self.clock.now();
        let (body, url) = match self.content(n, address, key, now) {
            Ok(content) => content,
            Err(reason) => return Outcome::reject(reason),
        };
        let request = match self.request(n, &url, body, key, now) {
            Ok(request) => request,
            Err(e) => return Outcome::retry(format!("a secret of the webhook is missing: {e}")),
        };
        let answer = match self.client.exchange(request, self.clock.now()).await {
            Ok(answer) => answer,
            Err(reason) => return Outcome::retry(format!("the webhook: {reason}")),
        };
        let mut secrets = http::secret_parts(address);
        secrets.push(key);
        let excerpt = http::excerpt(&answer.body, &secrets);
        let class = http::class(answer.status);
        if class == Class::Taken {
            let said = self.preset.and_then(|preset| answer::verdict(preset, &answer, &excerpt));
            return said.unwrap_or(Outcome::Delivered { handle: None });
        }
        let reason = answer.reason("the webhook", &excerpt, "");
        if self.preset.is_some_and(|preset| answer::passes(preset, &answer)) {
            return Outcome::Retry { after: Some(answer.retry_after.unwrap_or(http::TOO_MANY)), reason };
        }
        if class == Class::Later {
            let after = self.preset.and_then(|preset| answer::wait(preset, &answer)).or(answer.hold());
            Outcome::Retry { after, reason }
        } else {
            Outcome::Reject { reason }
        }
    }

    /// One request for each incident. Alerts are known by their key: telling one again changes nothing.
    async fn send_each(&self, n: &Notification, address: &str, key: &str) -> Outcome {
        let known = |told: &Option<(String, usize)>| {
            told.as_ref().filter(|(of, _)| *of == n.key).map(|(_, done)| *done)
        };
        let done = self.told.lock().ok().and_then(|told| known(&told)).unwrap_or(0);
        let mut refused = None;
        for (place, one) in n.apart().iter().enumerate().skip(done) {
            match self.send(one, address, key).await {
                Outcome::Delivered { .. } => {}
                // The others are told all the same.
                reject @ Outcome::Reject { .. } => refused = Some(reject),
                retry @ Outcome::Retry { .. } => {
                    if let Ok(mut told) = self.told.lock() {
                        *told = Some((n.key.clone(), place));
                    }
                    return retry;
                }
            }
        }
        if let Ok(mut told) = self.told.lock()
            && known(&told).is_some()
        {
            *told = None;
        }
        refused.unwrap_or(Outcome::Delivered { handle: None })
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
        let key = match self.config.key.as_ref().map(Secret::resolve).transpose() {
            Ok(key) => key,
            Err(e) => return Outcome::retry(format!("no key for the webhook: {e}")),
        };
        let key = key.as_ref().map_or("", |key| key.expose_secret().trim());
        if self.preset.is_some_and(Preset::is_pager) && attempt.notification.decision.is_summary() {
            self.send_each(attempt.notification, address, key).await
        } else {
            self.send(attempt.notification, address, key).await
        }
    }
}
