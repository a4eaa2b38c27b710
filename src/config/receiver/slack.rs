//! `slack` of a receiver.

use serde_json::json;

use super::webhook::ENCRYPT;
use crate::config::read::fields::{Head, section};
use crate::config::read::kind::{Kind, text};
use crate::config::read::node::{Node, Value};
use crate::config::read::reader::Reader;
use crate::config::secret::{http_url, secret};
use crate::notify::SlackConfig;
use crate::notify::slack::DEFAULT_API_URL;
use crate::notify::webhook::in_the_open;

pub fn slack<'a>() -> Kind<'a, SlackConfig> {
    let head = Head::new(
        "slack",
        "`{token, channel}` or `{webhook_url}`",
        "Slack: a bot token and a channel, or an incoming webhook.",
    );
    section(head, |fields| {
        let api_url = fields.get("api_url", "The base of the Web API, if it is not Slack's.", http_url());
        let token = fields.get("token", "The bot's token.", secret());
        let channel = fields.get("channel", "`#name` (quoted), or an id.", channel());
        let url = fields.get("webhook_url", "The address of an incoming webhook.", secret());
        fields.condition(
            "oneOf",
            || json!([{"required": ["token", "channel"]}, {"required": ["webhook_url"]}]),
        );
        if let (Some(span), true) = (fields.key("api_url"), api_url.as_deref().is_some_and(in_the_open)) {
            fields.warn(span, "the bot's token is sent without encryption", "", Some(ENCRYPT));
        }
        if fields.has("webhook_url") {
            if let Some(span) = fields.key("token").or_else(|| fields.key("channel")) {
                let help = "a webhook belongs to one channel and needs no token: remove either";
                fields.error(span, "`webhook_url` stands alone", "", Some(help));
            }
            return url.map(SlackConfig::webhook);
        }
        if !fields.is_misspelt("webhook_url") {
            fields.miss("token");
            fields.miss("channel");
        }
        let api_url = api_url.as_deref().unwrap_or(DEFAULT_API_URL).trim_end_matches('/').to_owned();
        Some(SlackConfig { api_url, ..SlackConfig::bot(token?, channel?) })
    })
}

fn channel<'a>() -> Kind<'a, String> {
    let named = text();
    let schema = text();
    Kind::new(
        move |reader: &mut Reader, node: &Node| match node.value {
            Value::Null => {
                reader.expected(node, "a channel", Some("write a name in quotes, `\"#alerts\"`, or an id"));
                None
            }
            _ => named.read(reader, node),
        },
        move |all| schema.schema(all),
    )
}
