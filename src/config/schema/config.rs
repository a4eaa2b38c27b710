//! The configuration file.

use serde_json::{Value, json};

use super::{
    Defs, NAME, boolean, by_key, count, default, document, duration, int, list, object, of, one_of,
    one_or_more, size, text, written,
};
use super::{matching, silences};
use crate::config::compile::log_tail;
use crate::config::compile::matching::Scope;
use crate::config::{HeartbeatConfig, Receiver, StoreConfig, WatchConfig, bytes};
use crate::engine::Settings;
use crate::notify::webhook::Preset;
use crate::outbox::Limit;

/// The schema of the configuration file.
#[must_use]
pub fn config() -> Value {
    let mut defs = Defs::new();
    let receivers = json!({
        "description": "Who can be told, by name; without any: the terminal.",
        "type": ["object", "null"],
        "additionalProperties": of("receiver", "A receiver."),
        "propertyNames": {"pattern": NAME},
    });
    let root = object(
        "The configuration of kubeherald.",
        vec![
            ("cluster", text("Shown in every message.")),
            ("watch", of("watch", "What is watched.")),
            ("receivers", receivers),
            (
                "routes",
                list(
                    "Who is told what: the first that matches, and on where it says `continue`.",
                    &of("route", "A route."),
                ),
            ),
            ("engine", of("engine", "How incidents behave where a rule does not say.")),
            ("storm", of("storm", "When single messages give way to one summary.")),
            ("store", of("store", "Where state is kept; without it: in memory, gone at exit.")),
            ("http", of("http", "Health, metrics and API.")),
            ("rules", of("rule_files", "Rules beside the shipped ones.")),
            ("templates", of("templates", "Templates in place of the shipped ones.")),
            ("redact", of("redact", "Further secrets to mask in text from the cluster.")),
            ("silences", list("What is not told until a moment.", &of("silence", "A silence."))),
            (
                "mute_times",
                list("What is not told at some hours of the week.", &of("mute_time", "A mute time.")),
            ),
            (
                "annotations",
                of("annotations", "What annotations of objects, workloads and namespaces may silence."),
            ),
            ("log_tail", of("log_tail", "Log tails, where rules ask for them.")),
            ("heartbeat", of("heartbeat", "Requests to a dead man's switch outside of the cluster.")),
        ],
    );
    let mut add = |name: &str, schema: Value| defs.insert(name.into(), schema);
    add("file", root);
    let names = |description| {
        let name = json!({"type": ["string", "number", "boolean"], "pattern": "^[a-z0-9-]+$"});
        list(description, &name)
    };
    let after = "A kind that could not be seen for so long is announced, and /readyz fails; `10s` to `1h`.";
    let after = default(duration(after), written(WatchConfig::default().blind_after));
    let keys = vec![("namespaces", of("namespaces", "Which namespaces.")), ("blind_after", after)];
    add("watch", object("What is watched.", keys));
    let keys = vec![("include", names("Only these; empty: all.")), ("exclude", names("Never these."))];
    add("namespaces", object("Which namespaces, by full name.", keys));
    let keys = vec![
        ("match", of("match", "Which incidents; without it: all.")),
        ("receivers!", one_or_more("Who is told.", &text("The name of a receiver."))),
        ("continue", boolean("Ask the next routes too.", false)),
    ];
    add("route", object("Who is told of what.", keys));
    settings(&mut add);
    receiver(&mut add);
    silences::add(&mut add);
    matching::add(&mut defs, Scope::Route);
    document("kubeherald configuration", "file", defs)
}

fn settings(add: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let it = Settings::default();
    let keys = vec![
        (
            "group_wait",
            default(duration("How long members gather before the first message."), written(it.group_wait)),
        ),
        (
            "growth_steps",
            default(list("How many members break through a window.", &count("Members.")), it.growth_steps),
        ),
        (
            "max_incidents",
            default(
                count(
                    "At most this many incidents are followed; some room is kept for nodes, namespaces share the rest.",
                ),
                it.max_incidents,
            ),
        ),
        ("max_members", default(count("At most this many members are known by name."), it.max_members)),
    ];
    add("engine", object("How incidents behave where a rule does not say.", keys));
    let keys = vec![
        ("incidents", default(count("So many new ones are still told one by one."), it.storm_incidents)),
        ("window", default(duration("In which span of time."), written(it.storm_window))),
    ];
    add("storm", object("When single messages give way to one summary.", keys));
    let path = || text("A path, relative to this file.");
    let it = StoreConfig::default();
    let keys = vec![
        ("path!", path()),
        (
            "max_bytes",
            default(
                size(
                    "The file, its log and its reserve take at most so many bytes; the oldest history goes first.",
                ),
                bytes::written(it.max_bytes),
            ),
        ),
    ];
    add("store", object("Where state is kept.", keys));
    add("templates", object("A directory of templates.", vec![("dir!", path())]));
    let patterns = list("Regular expressions of what is to be masked.", &text("A regular expression."));
    add("redact", object("Further secrets to mask.", vec![("patterns!", patterns)]));
    let timeout = duration("A message waits so long for its log, at most `10s`; then it goes without.");
    let timeout = default(timeout, written(log_tail::TIMEOUT));
    add("log_tail", object("Log tails, where rules ask for them.", vec![("timeout", timeout)]));
    let url = json!({
        "description": "Where to: in the open, or a secret.",
        "anyOf": [{"type": "string", "pattern": "^https?://"}, of("secret", "A secret.")],
    });
    let method = json!({"description": "`GET` or `POST`.", "enum": ["GET", "POST"], "default": "GET"});
    let keys = vec![
        ("url!", url),
        ("every", default(duration("How often, `10s` to `1h`."), written(HeartbeatConfig::USUAL))),
        ("method", method),
    ];
    add("heartbeat", object("Requests to a dead man's switch outside of the cluster.", keys));
    let listen = json!({"description": "Address and port.", "type": "string", "examples": ["0.0.0.0:8080"]});
    add(
        "http",
        object(
            "Health, metrics and API.",
            vec![
                ("listen!", listen),
                ("token", of("secret", "What requests to change something must name.")),
            ],
        ),
    );
    let keys = vec![("dir", path()), ("paths", list("Files and directories.", &path()))];
    add("rule_files", object("Where rules are.", keys));
}

fn receiver(add: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let secret = |description| of("secret", description);
    let path = |description: &str| text(&format!("{description} A path, relative to this file."));
    // No default is written down: it depends on `preset`.
    let text_of_fold = json!({
        "description": "Several incidents in one message, where many come at once; by default not for the presets pagerduty, opsgenie and alertmanager.",
        "type": "boolean",
    });
    let text_of_reassert = duration(
        "How often open alerts are sent again, `1m` to `1h`; only for the preset alertmanager, where it is `5m` unless given.",
    );
    let mut it = object(
        "One destination: one of `slack`, `webhook` and `email`.",
        vec![
            ("slack", of("slack", "A Slack channel.")),
            ("webhook", of("webhook", "An HTTP endpoint.")),
            ("email", of("email", "Mailboxes.")),
            ("rate_limit", of("rate_limit", "At most this many messages.")),
            (
                "max_age",
                default(
                    duration("What is older is not sent any more; seven days where there is a digest."),
                    written(Receiver::MAX_AGE),
                ),
            ),
            ("send_resolved", boolean("Tell ends.", true)),
            ("fold", text_of_fold),
            ("digest", of("digest", "When digests are sent in place of single messages.")),
            ("reassert", text_of_reassert),
        ],
    );
    if let Some(map) = it.as_object_mut() {
        let kinds = ["slack", "webhook", "email"].map(|kind| json!({"required": [kind]}));
        map.insert("oneOf".into(), json!(kinds));
    }
    add("receiver", it);
    let mut it = object(
        "Where a secret is; never the secret itself.",
        vec![("env", text("The name of an environment variable.")), ("file", path("A file."))],
    );
    if let Some(map) = it.as_object_mut() {
        map.insert("oneOf".into(), json!([{"required": ["env"]}, {"required": ["file"]}]));
    }
    add("secret", it);
    let mut it = object(
        "Slack: a bot token and a channel, or an incoming webhook.",
        vec![
            ("token", secret("The bot's token.")),
            ("channel", text("`#name` (quoted), or an id.")),
            ("webhook_url", secret("The address of an incoming webhook.")),
            ("api_url", text("The base of the Web API, if it is not Slack's.")),
        ],
    );
    if let Some(map) = it.as_object_mut() {
        map.insert(
            "oneOf".into(),
            json!([{"required": ["token", "channel"]}, {"required": ["webhook_url"]}]),
        );
    }
    add("slack", it);
    let header = json!({"anyOf": [text("The value."), secret("A secret value.")]});
    let address = json!({"type": "string", "pattern": "^https?://"});
    let url = json!({"description": "Where.", "anyOf": [address, secret("A secret address.")]});
    let presets = Preset::ALL.iter().map(|preset| preset.name());
    let template = json!({
        "description": "A JSON document whose texts are templates, or the path of a file with one.",
        "type": ["object", "array", "string"],
    });
    let keys = vec![
        // A preset may know its address by itself.
        ("url", url),
        ("preset", one_of("Speaks the language of a vendor.", presets)),
        ("template", template),
        ("key", secret("The secret that the preset or the template names.")),
        ("headers", by_key("Further headers.", &header)),
        ("basic", of("basic", "User and password.")),
        ("bearer", secret("A token for `Authorization: Bearer`.")),
        ("sign", of("sign", "Signs each request.")),
        ("ca", path("Certificates trusted besides the system's (PEM).")),
        ("client_cert", path("The certificate shown to the server (PEM).")),
        ("client_key", path("Its key (PEM).")),
    ];
    let mut it = object("An HTTP endpoint.", keys);
    if let Some(map) = it.as_object_mut() {
        map.insert("anyOf".into(), json!([{"required": ["url"]}, {"required": ["preset"]}]));
    }
    add("webhook", it);
    let keys = vec![("username!", text("The name.")), ("password!", secret("The password."))];
    add("basic", object("User and password.", keys));
    add("sign", object("HMAC-SHA256 over time and body.", vec![("secret!", secret("The key."))]));
    let mailbox = || text("`name@example.com` or `Name <name@example.com>`.");
    let keys = vec![
        ("from!", mailbox()),
        ("to!", one_or_more("The recipients.", &mailbox())),
        ("smtp!", of("smtp", "The server.")),
    ];
    add("email", object("Mailboxes.", keys));
    let tls = one_of("How it is encrypted.", ["starttls", "implicit", "none"]);
    let keys = vec![
        ("host!", text("Its name.")),
        ("port", int("Its port; by default 587, 465 or 25, as `tls` says.", 1, 65_535)),
        ("tls", default(tls, "starttls")),
        ("username", text("The login name.")),
        ("password", secret("The password.")),
        ("ca", path("Certificates trusted besides the system's (PEM).")),
    ];
    add("smtp", object("The mail server.", keys));
    let it = Limit::default();
    let keys = vec![
        ("per", default(duration("The span."), written(it.per))),
        ("messages", default(int("Messages in it.", 1, 10_000), it.messages)),
        ("burst", default(int("How many may go at once.", 1, 10_000), it.burst)),
    ];
    add("rate_limit", object("At most this many messages.", keys));
    let mut it = object(
        "When a receiver is told everything at once, in place of one by one.",
        vec![
            ("cron", text("Five fields: `0 8 * * 1-5` is 8:00 on workdays.")),
            ("every", duration("Again and again.")),
            (
                "timezone",
                default(text("In which a cron schedule is read and times are shown; an IANA name."), "UTC"),
            ),
            ("empty", boolean("Also when there is nothing to say.", false)),
        ],
    );
    if let Some(map) = it.as_object_mut() {
        map.insert("oneOf".into(), json!([{"required": ["cron"]}, {"required": ["every"]}]));
    }
    add("digest", it);
}
