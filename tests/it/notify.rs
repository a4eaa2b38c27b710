//! Notifiers against receivers on the wire: the fakes of `testkit`, and real libraries of other
//! people (aiosmtpd, slack_sdk).

mod http;
mod mail;
mod pictures;
mod python;
mod slack;

use std::path::PathBuf;

use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{Attempt, Deliver, Notifier, NotifierConfig, Outcome, Parts, Secret};
use kubeherald::template::{Templates, sample};

fn parts() -> Parts {
    Parts::new(Templates::shipped().unwrap(), kubeherald::clock::Clock::System)
}

fn notifier(config: NotifierConfig) -> Notifier {
    Notifier::new(config, &parts()).unwrap()
}

fn inline(value: impl Into<String>) -> Secret {
    Secret::Inline(value.into().into())
}

fn says(decision: Decision) -> Notification {
    sample::notification(decision, sample::incident())
}

async fn tell(notifier: &Notifier, n: &Notification, handle: Option<&str>) -> Outcome {
    let recipient = notifier.recipients().first().map(|first| &**first);
    tell_to(notifier, n, handle, recipient).await
}

async fn tell_to(
    notifier: &Notifier,
    n: &Notification,
    handle: Option<&str>,
    recipient: Option<&str>,
) -> Outcome {
    notifier.deliver(Attempt { notification: n, handle, recipient, number: 1 }).await
}

/// The name of the outcome, and the reason.
fn class(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Delivered { .. } => ("Delivered", ""),
        Outcome::Retry { reason, .. } => ("Retry", reason),
        Outcome::Refused { reason } => ("Refused", reason),
        Outcome::Reject { reason } => ("Reject", reason),
    }
}

fn handle(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { handle: Some(handle) } => handle.clone(),
        other => panic!("{other:?}"),
    }
}

/// A certificate authority on disk, and a server configuration with a certificate of it.
fn authority(dir: &std::path::Path) -> (PathBuf, std::sync::Arc<rustls::ServerConfig>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (cert, key) = certificate();
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (ca, std::sync::Arc::new(config))
}

fn certificate() -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap(), key)
}
