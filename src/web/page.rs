//! The page `/`: what is open now, for whoever names the token. Without scripts, and readable on a phone.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE,
};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use super::WebState;
use super::status::gather;
use crate::message::status::{HeldBack, OpenIncident, Status};
use crate::message::text::words;
use crate::template::helpers::html as escape;

/// So many incidents are listed; the rest is counted.
const ROWS: usize = 200;
/// The longest text of one cell, in characters.
const CELL: usize = 400;
/// What the page may load: nothing, but for its own styles.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--mute:#777;--critical:#c62828;--warning:#b26a00;--info:#1565c0}\
@media(prefers-color-scheme:dark){:root{--mute:#999;--critical:#ff6b6b;--warning:#ffb74d;--info:#64b5f6}}\
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:60rem}\
h1{font-size:1.3rem;margin:0 0 .2rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}p{margin:.2rem 0}\
ul{list-style:none;margin:0;padding:0}li{border-left:4px solid var(--line);margin:.5rem 0;padding:.1rem 0 .1rem .7rem;\
overflow-wrap:anywhere}li.critical{border-color:var(--critical)}li.warning{border-color:var(--warning)}\
li.info{border-color:var(--info)}small{color:var(--mute);display:block;font-size:.85rem}b{font-weight:600}\
.held b{font-weight:400}code{font-size:.85rem}footer{color:var(--mute);font-size:.85rem;margin-top:1.6rem}";

pub(super) async fn page(State(state): State<WebState>, headers: HeaderMap) -> Response {
    // Names of tenants' objects are for nobody who only reaches the port.
    let (status, body) = match state.control().knows(&headers, true) {
        Ok(true) => match gather(&state, ROWS).await {
            Ok(found) => (StatusCode::OK, shown(&found)),
            Err((status, why)) => (status, notice(&why)),
        },
        Ok(false) => (
            StatusCode::UNAUTHORIZED,
            notice(
                "what is open is shown to whoever knows the token: any user name, and the token as the password",
            ),
        ),
        Err((_, _)) if !state.control().has_token() => {
            (StatusCode::OK, notice("set `http.token` in the configuration to see here what is open"))
        }
        Err((status, why)) => (status, notice(why)),
    };
    let document = document(&body, state.0.metrics.started(), state.0.metrics.clock().now());
    let mut response = (status, Html(document)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if status == StatusCode::UNAUTHORIZED {
        let ask = "Basic realm=\"kubeherald: any name, the token as password\", charset=\"UTF-8\"";
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(ask));
    }
    response
}

fn document(body: &str, started: Timestamp, now: Timestamp) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=refresh content=30><title>kubeherald</title><style>{STYLE}</style>\n{body}\
         <footer>kubeherald {version}, running {since} · <a href=livez>livez</a> · <a href=readyz>readyz</a> · \
         <a href=metrics>metrics</a></footer>\n",
        version = env!("CARGO_PKG_VERSION"),
        since = words::since(started, now),
    )
}

fn notice(text: &str) -> String {
    format!("<h1>kubeherald</h1><p>{}\n", escape(text))
}

fn cell(text: &str) -> String {
    escape(&words::one_line(text, CELL))
}

fn shown(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    write(&mut out, status).unwrap_or_default();
    out
}

fn write(out: &mut String, status: &Status) -> std::fmt::Result {
    let now = status.asked_at;
    let cluster = if status.cluster.is_empty() { "kubeherald" } else { &status.cluster };
    writeln!(out, "<h1>{}: {}</h1>", cell(cluster), words::plural(status.incidents_total, "open incident"))?;
    writeln!(out, "<p><small>{} – the page is loaded again every 30 s</small>", words::moment(now, now))?;
    if !status.synced {
        writeln!(out, "<p>The first look at the cluster is not complete yet.")?;
    }
    let (held, open): (Vec<_>, Vec<_>) =
        status.incidents.iter().partition(|incident| incident.state == "held");
    section(out, "", &open, now)?;
    section(out, "Explained by another incident", &held, now)?;
    let more = status.incidents_total.saturating_sub(status.incidents.len() as u64);
    if more > 0 {
        writeln!(
            out,
            "<p>… and {more} more, less severe or younger: <code>kubeherald status -o json</code>"
        )?;
    }
    list(out, "Receivers", status.receivers.iter().map(|trouble| trouble.line(now)))?;
    list(
        out,
        "What keeps the bot from its work",
        status.checks.iter().map(|check| format!("{}: {}", check.check, check.detail)),
    )?;
    list(out, "Annotations that do nothing", status.annotations.iter().map(ToString::to_string))?;
    let more = status.annotations_total.saturating_sub(status.annotations.len() as u64);
    if more > 0 {
        writeln!(out, "<p>… and {more} more")?;
    }
    Ok(())
}

fn list(out: &mut String, title: &str, lines: impl Iterator<Item = String>) -> std::fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        writeln!(out, "<h2>{title}</h2><ul>")?;
        for line in lines {
            writeln!(out, "<li>{}", cell(&line))?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}

fn section(out: &mut String, title: &str, incidents: &[&OpenIncident], now: Timestamp) -> std::fmt::Result {
    if incidents.is_empty() {
        return Ok(());
    }
    if !title.is_empty() {
        writeln!(out, "<h2>{title}</h2>")?;
    }
    writeln!(out, "<ul>")?;
    for incident in incidents {
        let held = if incident.held_back.is_some() { " held" } else { "" };
        let place = incident.namespace.as_deref().map(|ns| format!("{} · ", cell(ns))).unwrap_or_default();
        writeln!(
            out,
            "<li class=\"{}{held}\"><b>{}</b><small>{place}{} · {}</small>",
            incident.severity.as_str(),
            cell(&incident.title),
            cell(&incident.details(now)),
            cell(&incident.incident),
        )?;
        if let Some(why) = incident.held_back.as_ref().map(|held| HeldBack::line(held, now)) {
            writeln!(out, "<small>{}</small>", cell(&why))?;
        }
    }
    writeln!(out, "</ul>")
}
