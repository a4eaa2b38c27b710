//! What a client can ask the running bot to do. Every request names the token of `http.token`:
//! anyone who can reach the port could silence alerts otherwise.
//!
//! | request | does |
//! |---|---|
//! | `POST /-/reload` | reads configuration, rules and templates again |
//! | `GET /api/v1/silences` | the silences; `?all=true`: also those that have ended |
//! | `POST /api/v1/silences` | adds one; the body is JSON |
//! | `DELETE /api/v1/silences/ID` | ends one now |
//!
//! Answers are JSON: what was asked for, or `{"error": TEXT}` with a status of 4xx or 5xx.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};

use super::WebState;

/// So many requests wait for the bot, at most; more are refused with 503.
pub const WAITING: usize = 16;
/// The largest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// From a request to its answer; less than what the server gives a request in all.
const ANSWER: Duration = Duration::from_secs(8);

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read configuration, rules and templates again.
    Reload,
    Silences {
        /// Also those that have ended.
        all: bool,
    },
    AddSilence {
        /// As it came: JSON, unchecked.
        body: String,
    },
    ExpireSilence {
        id: String,
    },
}

/// Why a request was not carried out. The text is shown to the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The bot could not do it.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What became of a [`Command`].
pub type Answer = Result<Value, Refusal>;

/// A command on its way to the bot.
#[derive(Debug)]
pub struct Ask {
    /// What is asked for.
    pub command: Command,
    /// Where the answer goes; nobody waits any more if it cannot be sent.
    pub answer: oneshot::Sender<Answer>,
}

/// Reads the token anew at every request, so that a rotated one needs no restart. An error says why
/// there is none, without any secret.
pub type Token = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// The way from the server to the bot. Without a token everything is refused.
#[derive(Clone)]
pub struct Control {
    token: Option<Token>,
    asks: mpsc::Sender<Ask>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

impl Control {
    /// Requests that name `token` go to the holder of the other end of `asks`.
    pub fn new(token: Option<Token>, asks: mpsc::Sender<Ask>) -> Self {
        Self { token, asks }
    }

    async fn ask(&self, command: Command) -> Response {
        let (answer, answered) = oneshot::channel();
        if self.asks.try_send(Ask { command, answer }).is_err() {
            return error(StatusCode::SERVICE_UNAVAILABLE, "the bot is busy or stopping; ask again");
        }
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(Ok(value))) => (StatusCode::OK, axum::Json(value)).into_response(),
            Ok(Ok(Err(refusal))) => error(refusal.status(), &refusal.to_string()),
            Ok(Err(_)) => error(StatusCode::SERVICE_UNAVAILABLE, "the bot is stopping"),
            Err(_) => error(StatusCode::GATEWAY_TIMEOUT, "no answer in time; it may still be carried out"),
        }
    }
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({ "error": text }))).into_response()
}

pub(super) fn routes(state: &WebState) -> Router<WebState> {
    Router::new()
        .route("/-/reload", post(reload))
        .route("/api/v1/silences", get(silences).post(add_silence))
        .route("/api/v1/silences/{id}", delete(expire_silence))
        .route_layer(DefaultBodyLimit::max(MAX_BODY))
        .route_layer(middleware::from_fn_with_state(state.clone(), authorised))
}

async fn authorised(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let Some(token) = &state.control().token else {
        return error(StatusCode::FORBIDDEN, "this bot accepts no commands: set `http.token`");
    };
    let expected = match token() {
        Ok(expected) => expected,
        Err(why) => {
            tracing::error!(%why, "the token of the API cannot be read");
            return error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the token of the API cannot be read; see the log",
            );
        }
    };
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(expected.as_bytes()))) {
        return next.run(request).await;
    }
    let mut response = error(StatusCode::UNAUTHORIZED, "expected `Authorization: Bearer TOKEN`");
    response.headers_mut().insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
    response
}

async fn reload(State(state): State<WebState>) -> Response {
    state.control().ask(Command::Reload).await
}

#[derive(Debug, serde::Deserialize)]
struct Which {
    #[serde(default)]
    all: bool,
}

async fn silences(State(state): State<WebState>, Query(which): Query<Which>) -> Response {
    state.control().ask(Command::Silences { all: which.all }).await
}

async fn add_silence(State(state): State<WebState>, body: Bytes) -> Response {
    match String::from_utf8(body.into()) {
        Ok(body) => state.control().ask(Command::AddSilence { body }).await,
        Err(_) => error(StatusCode::BAD_REQUEST, "the body is not UTF-8"),
    }
}

async fn expire_silence(State(state): State<WebState>, Path(id): Path<String>) -> Response {
    state.control().ask(Command::ExpireSilence { id }).await
}
