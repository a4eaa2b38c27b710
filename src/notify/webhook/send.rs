//! One attempt to call a webhook.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::answer;
use super::config::{WebhookAuth, WebhookBody, WebhookConfig, WebhookError};
use super::preset::Preset;
use super::request::{self, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use crate::clock::{self, Clock};
use crate::message::Notification;
use crate::notify::http::{self, Class};
use crate::notify::secret::SecretError;
use crate::notify::{Attempt, BuildError, Credentials, Deliver, Outcome, Parts, Secret, secret};
use crate::template::json::Document;

/// For the requests of one summary; what is left is told by the next attempt.
const SEVERAL: Duration = Duration::from_secs(60);

/// An alert is said to stand for so many assertions: it survives an outage of either side that is shorter,
/// two hours by default.
const MISSED: u32 = 24;
/// The watchdog for so many: its end says that nobody watches.
const WATCHDOG_MISSED: u32 = 3;

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
            Some(document) => match self.config.reassert {
                Some(every) => document.render_until(n, key, clock::after(now, every * MISSED)),
                None => document.render(n, key),
            }
            .map_err(|e| format!("the template cannot be rendered: {e}"))?,
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
        idempotency: Option<&str>,
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
        if let Some(Ok(key)) = idempotency.map(HeaderValue::from_str) {
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

    async fn send(&self, n: &Notification, address: &str, key: &str) -> Outcome {
        let now = self.clock.now();
        let (body, url) = match self.content(n, address, key, now) {
            Ok(content) => content,
            Err(reason) => return Outcome::reject(reason),
        };
        self.exchange(Some(&n.key), address, (&url, body), key).await
    }

    /// One request with this body, and what its answer means.
    async fn exchange(
        &self,
        idempotency: Option<&str>,
        address: &str,
        (url, body): (&str, Vec<u8>),
        key: &str,
    ) -> Outcome {
        let request = match self.request(idempotency, url, body, key, self.clock.now()) {
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
        match class {
            Class::Taken | Class::Later => {
                let after = self.preset.and_then(|preset| answer::wait(preset, &answer)).or(answer.hold());
                Outcome::Retry { after, reason }
            }
            Class::Refused => Outcome::Refused { reason },
            Class::Never => Outcome::Reject { reason },
        }
    }

    /// One request for each incident. Alerts are known by their key: telling one again changes nothing.
    async fn send_each(&self, n: &Notification, address: &str, key: &str) -> Outcome {
        let known = |told: &Option<(String, usize)>| {
            told.as_ref().filter(|(of, _)| *of == n.key).map(|(_, done)| *done)
        };
        let done = self.told.lock().ok().and_then(|told| known(&told)).unwrap_or(0);
        let begun = Instant::now();
        let mut rejected = None;
        let each = n.apart();
        for (place, one) in each.iter().enumerate().skip(done) {
            // Kept before each request: an attempt that is cut off goes on from here, too.
            if let Ok(mut told) = self.told.lock() {
                *told = Some((n.key.clone(), place));
            }
            if begun.elapsed() >= SEVERAL {
                let reason = format!("{place} of {} alerts sent within {} s", each.len(), SEVERAL.as_secs());
                return Outcome::retry(reason);
            }
            match self.send(one, address, key).await {
                Outcome::Delivered { .. } => {}
                // The others are told all the same.
                reject @ Outcome::Reject { .. } => rejected = Some(reject),
                other => return other,
            }
        }
        if let Ok(mut told) = self.told.lock()
            && known(&told).is_some()
        {
            *told = None;
        }
        rejected.unwrap_or(Outcome::Delivered { handle: None })
    }
}

impl Webhook {
    /// Where requests go, and the secret that they name.
    fn access(&self) -> Result<(SecretString, SecretString), Outcome> {
        let url = self.config.url.resolve().map_err(|e| Outcome::retry(format!("no webhook URL: {e}")))?;
        let address = url.expose_secret().trim();
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return Err(Outcome::refused(format!("{} holds no http(s) URL", self.config.url)));
        }
        let key = self.config.key.as_ref().map(Secret::resolve).transpose();
        let key = key.map_err(|e| Outcome::retry(format!("no key for the webhook: {e}")))?;
        Ok((url, key.unwrap_or_default()))
    }

    /// Sends alerts that are no notification of their own.
    async fn send_alerts(&self, preset: Preset, alerts: Vec<Value>) -> Outcome {
        let (url, key) = match self.access() {
            Ok(access) => access,
            Err(outcome) => return outcome,
        };
        let address = url.expose_secret().trim();
        let body = Value::Array(alerts).to_string().into_bytes();
        let url = preset.alerts_url(address);
        self.exchange(None, address, (&url, body), key.expose_secret().trim()).await
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
    fn time_limit(&self) -> Duration {
        SEVERAL + http::TOTAL_TIMEOUT
    }

    fn reasserts(&self) -> Option<Duration> {
        self.config.reassert.filter(|_| self.preset.is_some_and(|preset| preset.reassert().is_some()))
    }

    async fn reassert(&self, alerts: &[Notification]) -> Outcome {
        let (Some(preset), Some(document)) = (self.preset, &self.document) else {
            return Outcome::Delivered { handle: None };
        };
        let every = self.config.reassert.unwrap_or_default();
        let until = clock::after(self.clock.now(), every * MISSED);
        let mut all = Vec::new();
        for n in alerts {
            match document.render_until(n, "", until) {
                Ok(Value::Array(several)) => all.extend(several),
                Ok(other) => all.push(other),
                Err(e) => {
                    tracing::warn!(receiver = %n.receiver, key = %n.key, error = %e, "an open alert cannot be rendered");
                }
            }
        }
        self.send_alerts(preset, all).await
    }

    async fn watchdog(&self) -> Outcome {
        let now = self.clock.now();
        let until = clock::after(now, self.config.reassert.unwrap_or_default() * WATCHDOG_MISSED);
        let alert =
            self.preset.and_then(|preset| Some((preset, preset.watchdog(&self.config.cluster, now, until)?)));
        match alert {
            Some((preset, alert)) => self.send_alerts(preset, vec![alert]).await,
            None => Outcome::Delivered { handle: None },
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        let WebhookConfig { url, secret_headers, auth, sign, key, .. } = &self.config;
        let login = match auth {
            WebhookAuth::None => None,
            WebhookAuth::Basic { password: secret, .. } | WebhookAuth::Bearer(secret) => Some(secret),
        };
        let headers = secret_headers.iter().map(|(_, secret)| secret);
        secret::digest([url].into_iter().chain(headers).chain(login).chain(sign).chain(key))
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let (url, key) = match self.access() {
            Ok(access) => access,
            Err(outcome) => return outcome,
        };
        let (address, key) = (url.expose_secret().trim(), key.expose_secret().trim());
        if self.preset.is_some_and(Preset::is_pager) && attempt.notification.decision.is_summary() {
            self.send_each(attempt.notification, address, key).await
        } else {
            self.send(attempt.notification, address, key).await
        }
    }
}
