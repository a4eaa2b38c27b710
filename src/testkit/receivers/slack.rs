//! A Slack workspace: `chat.postMessage`, `chat.update` and an incoming webhook.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Reply, serve};
use super::slack_check::violations;
use super::{Received, Record, Task, lock};

/// A message in a channel.
#[derive(Debug, Clone)]
pub struct SlackMessage {
    /// The channel's id; `WEBHOOK` for the incoming webhook's.
    pub channel: String,
    /// Its id, unique in the channel.
    pub ts: String,
    /// The first message of the thread it is in.
    pub thread_ts: Option<String>,
    /// What it shows now.
    pub payload: Value,
    /// How often it was edited.
    pub edits: u32,
}

#[derive(Debug, Clone)]
struct Channel {
    id: String,
    name: String,
    member: bool,
    archived: bool,
}

#[derive(Debug, Default)]
struct State {
    tokens: Vec<String>,
    channels: Vec<Channel>,
    messages: Vec<SlackMessage>,
    script: VecDeque<(String, Reply)>,
    counter: u32,
}

/// A workspace with the channel `#alerts` (`C0000000001`), the token `xoxb-test` and an incoming
/// webhook.
#[derive(Debug)]
pub struct SlackServer {
    address: SocketAddr,
    requests: Record<Received>,
    changes: Record<SlackMessage>,
    state: Arc<Mutex<State>>,
    _task: Task,
}

/// The path of the incoming webhook.
const WEBHOOK: &str = "/services/T0000/B0000/webhook-secret";

impl SlackServer {
    /// Listens on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let alerts =
            Channel { id: "C0000000001".into(), name: "alerts".into(), member: true, archived: false };
        let state = State { tokens: vec!["xoxb-test".into()], channels: vec![alerts], ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (requests, changes) = (Record::default(), Record::default());
        let (workspace, heard, news) = (Arc::clone(&state), requests.clone(), changes.clone());
        let (address, task) = serve(move |request: Received| {
            let reply = answer(&mut lock(&workspace), &news, &request);
            heard.push(request);
            std::future::ready(reply)
        })
        .await?;
        Ok(Self { address, requests, changes, state, _task: task })
    }

    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// The incoming webhook's URL.
    pub fn webhook_url(&self) -> String {
        format!("http://{}{WEBHOOK}", self.address)
    }

    /// Adds a channel the bot is in (or not), perhaps an archived one.
    pub fn channel(&self, name: &str, member: bool, archived: bool) {
        let mut state = lock(&self.state);
        let id = format!("C{:010}", state.channels.len() + 1);
        state.channels.push(Channel { id, name: name.into(), member, archived });
    }

    /// Does this with the next call of `method` (`chat.postMessage`, `chat.update`, `webhook`).
    pub fn next(&self, method: &str, reply: Reply) {
        lock(&self.state).script.push_back((method.into(), reply));
    }

    /// Removes a message, as a person can.
    pub fn delete(&self, ts: &str) {
        lock(&self.state).messages.retain(|m| m.ts != ts);
    }

    /// All messages as they are now.
    pub fn messages(&self) -> Vec<SlackMessage> {
        lock(&self.state).messages.clone()
    }

    pub fn requests(&self) -> &Record<Received> {
        &self.requests
    }

    /// Messages as they are posted and edited.
    pub fn changes(&self) -> &Record<SlackMessage> {
        &self.changes
    }
}

fn answer(state: &mut State, changes: &Record<SlackMessage>, request: &Received) -> Reply {
    let method = if request.path == WEBHOOK { "webhook" } else { request.path.trim_start_matches("/api/") };
    if let Some(at) = state.script.iter().position(|(m, _)| m == method)
        && let Some((_, reply)) = state.script.remove(at)
    {
        return reply;
    }
    let payload = request.json();
    if method == "webhook" {
        return webhook(state, changes, payload);
    }
    match call(state, changes, method, request, payload) {
        Ok(ok) => Reply::status(200, ok.to_string()),
        Err((error, messages)) => {
            let body = json!({ "ok": false, "error": error, "response_metadata": { "messages": messages } });
            Reply::status(200, body.to_string())
        }
    }
}

type Refused = (&'static str, Vec<String>);

fn call(
    state: &mut State,
    changes: &Record<SlackMessage>,
    method: &str,
    request: &Received,
    payload: Value,
) -> Result<Value, Refused> {
    let refuse = |error| Err((error, Vec::new()));
    match request.header("authorization").and_then(|h| h.strip_prefix("Bearer ")) {
        None => return refuse("not_authed"),
        Some(token) if !state.tokens.iter().any(|t| t == token) => return refuse("invalid_auth"),
        Some(_) => {}
    }
    if !request.header("content-type").is_some_and(|t| t.starts_with("application/json")) {
        return refuse("invalid_form_data");
    }
    let wanted = payload.get("channel").and_then(Value::as_str).unwrap_or_default().to_owned();
    let by_name = wanted.trim_start_matches('#');
    let Some(channel) = state.channels.iter().find(|c| c.id == wanted || c.name == by_name).cloned() else {
        return refuse("channel_not_found");
    };
    if channel.archived {
        return refuse("is_archived");
    }
    if !channel.member {
        return refuse("not_in_channel");
    }
    let wrong = violations(&payload);
    if !wrong.is_empty() {
        return Err(("invalid_blocks", wrong));
    }
    match method {
        "chat.postMessage" => {
            let thread = payload.get("thread_ts").and_then(Value::as_str).map(ToOwned::to_owned);
            if let Some(thread) = &thread
                && !state.messages.iter().any(|m| m.channel == channel.id && m.ts == *thread)
            {
                return refuse("thread_not_found");
            }
            let message = add(state, &channel.id, thread, payload);
            let answer =
                json!({ "ok": true, "channel": channel.id, "ts": message.ts, "message": message.payload });
            changes.push(message);
            Ok(answer)
        }
        "chat.update" => {
            // An update takes the channel's id only.
            let ts = payload.get("ts").and_then(Value::as_str).unwrap_or_default().to_owned();
            let found = state.messages.iter_mut().find(|m| m.channel == wanted && m.ts == ts);
            let Some(message) = found else { return refuse("message_not_found") };
            message.payload = payload;
            message.edits += 1;
            changes.push(message.clone());
            Ok(json!({ "ok": true, "channel": wanted, "ts": ts }))
        }
        _ => refuse("unknown_method"),
    }
}

fn webhook(state: &mut State, changes: &Record<SlackMessage>, payload: Value) -> Reply {
    if !violations(&payload).is_empty() || payload.get("channel").is_some() {
        return Reply::status(400, "invalid_payload");
    }
    changes.push(add(state, "WEBHOOK", None, payload));
    Reply::status(200, "ok")
}

fn add(state: &mut State, channel: &str, thread_ts: Option<String>, payload: Value) -> SlackMessage {
    state.counter += 1;
    let ts = format!("{}.{:06}", crate::clock::now().as_second(), state.counter);
    let message = SlackMessage { channel: channel.into(), ts, thread_ts, payload, edits: 0 };
    state.messages.push(message.clone());
    message
}
