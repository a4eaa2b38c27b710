//! `http`: health, metrics and API.

use std::net::SocketAddr;

use serde_json::json;

use super::read::fields::{Head, section};
use super::read::kind::Kind;
use super::secret::secret;
use crate::notify::Secret;

/// The address, and the token that requests to change something must name.
pub fn http<'a>() -> Kind<'a, (Option<SocketAddr>, Option<Secret>)> {
    let head = Head::new("http", "`{listen}`", "Health, metrics and API.");
    section(head, |fields| {
        let listen = fields.require("listen", "Address and port.", listen());
        let token = fields.get("token", "What requests to change something must name.", secret());
        Some((listen, token))
    })
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
