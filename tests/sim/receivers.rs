//! Receivers: a webhook, Alertmanager and Slack behind HTTP, and the way to the mail server.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kubeherald::notify::http::TransportError;
use kubeherald::notify::network::{AsyncTokioStream, HttpAnswer, HttpRequest, SimulatedNetwork};
use serde_json::{Value, json};

use super::mail;
use super::plan::{ReceiverFault, Seam};
use super::record::{Alert, Taken};
use super::settings::{ALERTS, CHAT, DOMAIN, HOOK, RECEIVERS};
use super::world::{World, lock};

/// The way of one life to the receivers.
pub struct Network(pub Arc<World>);

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl SimulatedNetwork for Network {
    fn http(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>> {
        answer(&self.0, request).boxed()
    }

    fn connect<'a>(
        &'a self,
        host: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn AsyncTokioStream>>> {
        mail::connect(&self.0, host).boxed()
    }
}

async fn answer(world: &Arc<World>, request: HttpRequest) -> Result<HttpAnswer, TransportError> {
    let host = request.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let name = host.strip_suffix(DOMAIN).unwrap_or(host);
    let Some(receiver) = RECEIVERS.iter().copied().find(|receiver| *receiver == name) else {
        return Err(TransportError::Connect(format!("{host} is not known")));
    };
    let Some(operation) = world.begin(Seam::Receiver) else { return pending().await };
    let nth = world.nth(receiver);
    tokio::time::sleep(world.latency(receiver, nth, 5, 200)).await;
    let fault = world.receiver_fault(receiver);
    if fault == Some(ReceiverFault::Slow) {
        tokio::time::sleep(world.latency("slow", nth, 4_000, 9_000)).await;
    }
    if world.is_dead() {
        return pending().await;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let key = key_of(&request, &body);
    world.note(&format!("{receiver} is sent {key} {} bytes, {fault:?}", request.body.len()));
    let status = |status: u16| Ok(HttpAnswer { status, ..HttpAnswer::default() });
    let reset = || Err(TransportError::Request("Connection reset by peer".into()));
    let said = match fault {
        Some(ReceiverFault::Status429) => Ok(HttpAnswer {
            status: 429,
            headers: vec![("retry-after".into(), "20".into())],
            body: Vec::new(),
        }),
        Some(ReceiverFault::Status500) => status(500),
        Some(ReceiverFault::Status503) => status(503),
        Some(ReceiverFault::Unauthorized) => status(401),
        Some(ReceiverFault::Forbidden) => status(403),
        Some(ReceiverFault::Refused) => status(400),
        Some(ReceiverFault::Hang) => {
            let _never = world.end(operation);
            return pending().await;
        }
        Some(ReceiverFault::Reset) => reset(),
        taking => {
            let place = take(world, receiver, key, body);
            if !world.end(operation) {
                return pending().await;
            }
            let taken = taken(receiver, &request, nth);
            match taking {
                Some(ReceiverFault::HangTaken) => return pending().await,
                Some(ReceiverFault::ResetTaken) => return reset(),
                Some(ReceiverFault::HalfAnswer) => {
                    let half = taken.body.len() / 2;
                    return Ok(HttpAnswer { body: taken.body[..half].to_vec(), ..taken });
                }
                _ => {}
            }
            if let Some(place) = place {
                lock(&world.record).taken[place].answered = true;
            }
            return Ok(taken);
        }
    };
    if world.end(operation) { said } else { pending().await }
}

fn key_of(request: &HttpRequest, body: &Value) -> String {
    let header = request.headers.iter().find(|(name, _)| name == "idempotency-key");
    let inside = || body.pointer("/metadata/event_payload/key").and_then(Value::as_str);
    header.map(|(_, key)| key.as_str()).or_else(inside).unwrap_or_default().to_owned()
}

/// Keeps what was taken; its place in the record.
fn take(world: &Arc<World>, receiver: &'static str, key: String, body: Value) -> Option<usize> {
    let (at, life) = (world.now(), world.life());
    let mut record = lock(&world.record);
    let size = body.to_string().len();
    let largest = record.largest.entry(receiver).or_default();
    *largest = size.max(*largest);
    if receiver == ALERTS {
        for alert in body.as_array().into_iter().flatten() {
            let labels: BTreeMap<String, String> = alert
                .get("labels")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect();
            let ends_at = alert.get("endsAt").and_then(Value::as_str).and_then(|at| at.parse().ok());
            record.alerts.push(Alert { at, labels, ends_at });
        }
    }
    // An edit of an earlier message tells nothing new.
    if receiver == CHAT && key.is_empty() {
        return None;
    }
    record.taken.push(Taken { at, life, receiver, key, body, answered: false });
    Some(record.taken.len() - 1)
}

fn taken(receiver: &str, request: &HttpRequest, nth: u64) -> HttpAnswer {
    let body = match receiver {
        CHAT if request.url.ends_with("/chat.update") => {
            json!({ "ok": true, "channel": "C1", "ts": "1" }).to_string()
        }
        CHAT => json!({ "ok": true, "channel": "C1", "ts": format!("{nth}.000100") }).to_string(),
        HOOK | ALERTS => String::new(),
        _ => String::from("ok"),
    };
    HttpAnswer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}
