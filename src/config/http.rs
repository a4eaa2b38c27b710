//! `http`: health, metrics and API.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, text};
use super::secret::secret;
use crate::notify::Secret;

const MAX_COMMAND: usize = 300;

/// The section.
#[derive(Debug, Default)]
pub struct Http {
    pub listen: Option<SocketAddr>,
    pub token: Option<Secret>,
    pub command: Option<Arc<str>>,
}

/// The address, and the token that requests to change something must name.
pub fn http<'a>() -> Kind<'a, Http> {
    let head = Head::new("http", "`{listen}`", "Health, metrics and API.");
    section(head, |fields| {
        let listen = fields.require("listen", "Address and port.", listen());
        let token = fields.get("token", "What requests to change something must name.", secret());
        let doc = "How people call kubeherald so that it reaches this bot, for the commands in messages: \
                   `kubectl -n ops exec deploy/kubeherald -- kubeherald`.";
        let command = fields.get("command", doc, command());
        Some(Http { listen, token, command })
    })
}

/// It is put into messages as it is, for people to paste.
fn command<'a>() -> Kind<'a, Arc<str>> {
    text()
        .check(|reader, node, command: &String| {
            let fine = !command.trim().is_empty()
                && command.len() <= MAX_COMMAND
                && !command.chars().any(char::is_control);
            if !fine {
                let help = "such as `kubectl -n ops exec deploy/kubeherald -- kubeherald`";
                reader.error(node.span, "expected one line of at most 300 bytes", "", Some(help));
            }
            fine
        })
        .map(|command| Arc::from(command.trim()))
}

fn listen<'a>() -> Kind<'a, SocketAddr> {
    Kind::new(
        |reader, node| {
            let text = reader.text(node)?;
            let address = text.parse().ok();
            if address.is_none() {
                let given = if text.starts_with(':') { text } else { ":8080" };
                reader.expected(node, "an address and a port", Some(&format!("write `0.0.0.0{given}`")));
            }
            address
        },
        |_| json!({"type": "string", "examples": ["0.0.0.0:8080"]}),
    )
}
