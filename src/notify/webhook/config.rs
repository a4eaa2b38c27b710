//! What a webhook receiver is.

use std::net::IpAddr;
use std::time::Duration;

use super::preset::Preset;
use crate::notify::Secret;
use crate::notify::http::Tls;
use crate::template::json::Document;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where to: `https://…`, or `http://…` where nothing secret travels (loopback, a mesh that
    /// encrypts by itself).
    pub url: Secret,
    /// Headers to add; they cannot replace kubeherald's own.
    pub headers: Vec<(String, String)>,
    /// Headers whose values are secret.
    pub secret_headers: Vec<(String, Secret)>,
    /// How to log in.
    pub auth: WebhookAuth,
    /// The key of the signature; `None`: not signed.
    pub sign: Option<Secret>,
    pub body: WebhookBody,
    /// The secret that the body, or its way to the vendor, names.
    pub key: Option<Secret>,
    /// Certificates beside the system's, and ours for mutual TLS.
    pub tls: Tls,
    /// How often open alerts are sent again; `None`: never. Only for presets that end what is not repeated.
    pub reassert: Option<Duration>,
    /// The cluster that the watchdog is named after.
    pub cluster: String,
}

/// What is sent to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WebhookBody {
    #[default]
    Payload,
    /// A document of the user's own.
    Document(Document),
    /// What a vendor understands.
    Preset(Preset),
}

/// How to log in to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WebhookAuth {
    #[default]
    None,
    Basic {
        username: String,
        password: Secret,
    },
    Bearer(Secret),
}

/// A header that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("`{0}` is not the name of an HTTP header")]
    HeaderName(String),
    #[error("the value of header `{0}` cannot be sent: it has line ends or control characters")]
    HeaderValue(String),
    /// One that kubeherald sets.
    #[error("header `{0}` is set by kubeherald itself")]
    Reserved(String),
    /// A shipped preset that does not compile; tests make sure that there is none.
    #[error("preset `{0}` cannot be used: {1}")]
    Preset(&'static str, String),
}

/// Does it go over the network without encryption?
pub fn in_the_open(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse().map_or(host.eq_ignore_ascii_case("localhost"), |ip: IpAddr| ip.is_loopback());
    uri.scheme_str() == Some("http") && !loopback
}

impl WebhookConfig {
    /// A webhook with nothing but its address.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            headers: Vec::new(),
            secret_headers: Vec::new(),
            auth: WebhookAuth::None,
            sign: None,
            body: WebhookBody::Payload,
            key: None,
            tls: Tls::default(),
            reassert: None,
            cluster: String::new(),
        }
    }
}
