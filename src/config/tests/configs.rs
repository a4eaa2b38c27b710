use std::sync::Arc;
use std::time::Duration;

use super::super::HeartbeatMethod;
use super::{Files, config_report, messages};
use crate::notify::webhook::{Preset, WebhookBody};
use crate::notify::{EmailConfig, NotifierConfig, Secret, SlackTarget, SmtpTls};
use crate::rule::RouteFacts;
use crate::rule::testing::signal;
use crate::signal::Cause;

#[test]
fn three_mistakes_make_three_frames() {
    let report = config_report(
        "cluster: prod\n\
         recievers:\n  oncall: {}\n\
         engine: {group_wait: 5}\n\
         routes:\n  - {match: {cause: CrashLoopBackof}, receivers: [oncall]}\n",
    );
    insta::assert_snapshot!(report);
}

#[test]
fn the_example_of_the_design_loads() {
    let files = Files::new(&[("kubeherald.yaml", EXAMPLE)]);
    let loaded = files.load("kubeherald.yaml").expect("no error");
    assert_eq!(files.report(&loaded.warnings), "");
    let config = &loaded.config;
    assert_eq!(&*config.cluster, "prod-eu-1");
    assert!(!config.watch.wants("kube-node-lease") && config.watch.wants("shop"));
    let [oncall, mail, hook] = config.receivers.as_slice() else { panic!("three receivers") };
    let NotifierConfig::Slack(slack) = &oncall.notifier else { panic!("Slack") };
    let SlackTarget::Bot { token, channel } = &slack.target else { panic!("a bot") };
    assert_eq!(*token, Secret::File("/etc/kubeherald/secrets/slack-token".into()));
    assert_eq!(channel, "#alerts");
    assert_eq!((oncall.spec.limit.messages, oncall.spec.limit.burst), (1, 5));
    let NotifierConfig::Email(EmailConfig { from, to, smtp, .. }) = &mail.notifier else { panic!("mail") };
    assert_eq!(
        (from.as_str(), to.as_slice()),
        ("kubeherald@example.com", &["platform@example.com".to_owned()][..])
    );
    assert_eq!((smtp.port, smtp.tls), (587, SmtpTls::StartTls));
    assert_eq!(smtp.password, Some(Secret::Env("SMTP_PASSWORD".into())));
    assert_eq!(mail.digest.as_ref().map(|digest| &**digest.schedule.zone_name()), Some("Europe/Berlin"));
    let NotifierConfig::Webhook(hook) = &hook.notifier else { panic!("a webhook") };
    assert_eq!(hook.url, Secret::File(files.path("hook-url")));
    assert_eq!(hook.headers, [("X-Env".to_owned(), "prod".to_owned())]);
    assert_eq!(hook.sign, Some(Secret::File(files.path("hook-secret"))));

    let told = |cause: Cause, namespace: &str| {
        let signal = signal(cause, namespace, "Deployment/web");
        let rule = config.rules.first_match(&signal).expect("a rule");
        config
            .routes
            .receivers(RouteFacts { signal: &signal, rule: &rule, severity: rule.severity })
            .join(" ")
    };
    assert_eq!(told(Cause::CrashLoopBackOff, "team-a-web"), "oncall hook");
    assert_eq!(told(Cause::Evicted, "shop"), "platform-mail");
}

const EXAMPLE: &str = r##"
cluster: prod-eu-1
watch: {namespaces: {exclude: [kube-node-lease]}}
receivers:
  oncall:
    slack: {token: {file: /etc/kubeherald/secrets/slack-token}, channel: "#alerts"}   # or webhook_url
    rate_limit: {per: 1s, messages: 1, burst: 5}
  platform-mail:
    email: {from: kubeherald@example.com, to: [platform@example.com],
            smtp: {host: smtp.example.com, port: 587, tls: starttls, username: herald, password: {env: SMTP_PASSWORD}}}
    digest: {cron: "0 8 * * 1-5", timezone: Europe/Berlin}
  hook:
    webhook: {url: {file: hook-url}, headers: {X-Env: prod}, sign: {secret: {file: hook-secret}}}
routes:                                # first match wins unless `continue`
  - {match: {severity: critical}, receivers: [oncall], continue: true}
  - {match: {namespace: {regex: "^team-a-"}}, receivers: [hook]}
  - {receivers: [platform-mail]}
"##;

#[test]
fn without_routes_everybody_is_told_and_without_receivers_nobody_by_name() {
    let text =
        "receivers:\n  b: {webhook: {url: https://example.com/b}}\n  a: {slack: {webhook_url: {env: A}}}\n";
    let files = Files::new(&[("c.yaml", text), ("empty.yaml", "# nothing\n")]);
    let signal = signal(Cause::Evicted, "shop", "Deployment/web");
    for (config, expected) in [("c.yaml", "b a"), ("empty.yaml", "")] {
        let config = files.load(config).expect("no error").config;
        let rule = config.rules.first_match(&signal).expect("a rule");
        let told: Vec<Arc<str>> =
            config.routes.receivers(RouteFacts { signal: &signal, rule: &rule, severity: rule.severity });
        assert_eq!(told.join(" "), expected);
    }
}

#[test]
fn a_secret_in_the_open_is_refused_and_not_repeated() {
    for text in [
        "receivers: {a: {slack: {token: xoxb-hunter2, channel: x}}}",
        "receivers: {a: {slack: {webhook_url: https://hooks.slack.com/services/hunter2}}}",
        "receivers: {a: {webhook: {url: https://example.com, sign: {secret: hunter2}}}}",
        "receivers: {a: {webhook: {url: https://example.com, bearer: hunter2}}}",
        "receivers: {a: {webhook: {url: https://example.com, headers: {Authorization: hunter2}}}}",
        "receivers: {a: {webhook: {url: https://example.com, basic: {username: me, password: hunter2}}}}",
        "receivers: {a: {email: {from: a@b.c, to: a@b.c, smtp: {host: h, username: u, password: hunter2}}}}",
    ] {
        let report = config_report(text);
        assert!(!report.contains("hunter2"), "{report}");
        assert!(report.contains("error: a secret must not stand in the configuration"), "{report}");
        assert!(report.contains("name where it is: `{env: NAME}` or `{file: PATH}`"), "{report}");
    }
    // Mistakes beside a secret, in it, or in the YAML itself.
    for text in [
        "receivers: {a: {slack: {token: xoxb-hunter2, chanel: x}}}",
        "receivers: {a: {slack: {token: [hunter2], channel: x}}}",
        "receivers: {a: {slack: {token: {hunter2: x}, channel: x}}}",
        "receivers: {a: {slack: {token: {env: {x: hunter2}}, channel: x}}}",
        "receivers: {a: {slack: {token: hunter2, channel: x}",
        "receivers: {a: {slack: {token: \"hunter2, channel: x}}}",
        "receivers:\n  a:\n    slack:\n      token: hunter2: x\n",
        "receivers: {a: {webhook: {url: hunter2}}}",
        "receivers: {a: {slack: {token: *hunter2}}}",
        "receivers: {a: {slack: {token: !hunter2 x}}}",
        "receivers: {a: {slack: {token: {env: \"$hunter2\"}, channel: x}}, b: {slack: {token: hunter2, channel: x}}}",
        "token: hunter2",
        "receivers: {a: {api_token: hunter2}}",
    ] {
        let report = config_report(text);
        let shown = report.replace("\"$hunter2\"", "").replace("`$hunter2`", "");
        assert!(!shown.contains("hunter2"), "{report}");
    }
}

#[test]
fn what_is_wrong_with_receivers() {
    let report = config_report(
        r##"
receivers:
  one: {}
  two: {slack: {webhook_url: {env: A}, channel: "#x"}}
  three: {slack: {token: {env: A}, channel: #x
    }}
  four: {webhook: {url: ftp://example.com, headers: {"a b": c}, client_cert: x.pem}}
  five: {email: {from: nobody, to: [a@b.c], smtp: {host: "smtp:25", tls: ssl, port: 70000, username: u}}}
  six: {webhook: {url: https://example.com}, rate_limit: {per: 0s, messages: 0, brust: 1}, digest: {cron: "0 8 * *"}}
  "a b": {webhook: {url: https://example.com}}
"##,
    );
    assert_eq!(
        messages(&report),
        [
            "error: a receiver is one of `slack`, `webhook` and `email`",
            "error: `webhook_url` stands alone",
            "error: expected a channel, found nothing",
            "error: expected an `http://` or `https://` address, found a text",
            "error: `a b` cannot be the name of a header",
            "error: `client_cert` needs `client_key`",
            "error: expected a mail address, found `nobody`",
            "error: expected the name of a host, found `smtp:25`",
            "error: `ssl` is not a way to encrypt",
            "error: expected a whole number from 1 to 65535, found `70000`",
            "error: `username` needs `password`",
            "error: this must be more than zero",
            "error: expected a whole number from 1 to 10000, found `0`",
            "error: unknown key `brust` in `rate_limit`",
            "error: this is not a cron schedule",
            "error: `a b` cannot be the name of a receiver",
        ]
    );
}

#[test]
fn what_is_wrong_elsewhere() {
    let report = config_report(
        r#"
watch: {namespaces: {include: ["team-*"]}}
receivers: {a: {webhook: {url: https://example.com}}, b: {webhook: {url: https://example.com}}}
routes:
  - {receivers: [aa]}
  - {match: {count: {at_least: 1, within: 1m}, rule: crash-lop, severity: fatal}, receivers: []}
inhibit: []
http: {listen: ":8080"}
engine: {growth_steps: [5, 1], max_members: many}
storm: {incidents: 5, window: 1 minute}
store: {max_bytes: 1Mi}
"#,
    );
    assert_eq!(
        messages(&report),
        [
            "error: expected the name of a namespace, found `team-*`",
            "warning: nothing is ever sent to `a`",
            "warning: nothing is ever sent to `b`",
            "warning: the routes after this one are never used",
            "error: there is no receiver named `aa`",
            "error: `count` is not a condition of routes",
            "error: there is no rule named `crash-lop`",
            "error: `fatal` is not a severity",
            "error: this list is empty",
            "error: `inhibit` is not supported yet",
            "error: expected an address and a port, found `:8080`",
            "error: growth steps must grow",
            "error: expected a whole number from 1 to 1000000, found `many`",
            "error: expected a duration, found `1 minute`",
            "error: `path` is missing",
            "error: expected a size from `64Mi` to `1Ti`, found `1Mi`",
        ]
    );
    assert!(
        report.contains("did you mean `crash-loop`?") && report.contains("did you mean `a`?"),
        "{report}"
    );
}

#[test]
fn fallbacks_are_receivers_and_no_circle() {
    let config = |fallbacks: [&str; 3]| {
        let [one, two, three] = fallbacks;
        format!(
            "receivers:\n  \
             one: {{webhook: {{url: http://one.test/}}{one}}}\n  \
             two: {{webhook: {{url: http://two.test/}}{two}}}\n  \
             three: {{webhook: {{url: http://three.test/}}{three}}}\n"
        )
    };
    let files = Files::new(&[("kubeherald.yaml", &config([", fallback: two", ", fallback: three", ""]))]);
    let loaded = files.load("kubeherald.yaml").expect("a chain is no circle");
    let fallbacks: Vec<Option<&str>> =
        loaded.config.receivers.iter().map(|receiver| receiver.spec.fallback.as_deref()).collect();
    assert_eq!(fallbacks, [Some("two"), Some("three"), None]);
    assert_eq!(loaded.config.trouble_after, Duration::from_secs(300));

    let text = config([", fallback: two", ", fallback: one", ", fallback: one"]);
    let circle = messages(&text);
    assert_eq!(
        circle,
        ["fallbacks in a circle: `one` → `two` → `one`", "fallbacks in a circle: `two` → `one` → `two`"]
    );
    let text = config([", fallback: one", "", ""]);
    let itself = messages(&text);
    assert_eq!(itself, ["fallbacks in a circle: `one` → `one`"]);
    let text = config([", fallback: tow", "", ""]);
    let unknown = messages(&text);
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].contains("tow"), "{unknown:?}");
    let short = messages("receiver_trouble_after: 5s\n");
    assert!(short[0].contains("a duration from `1m` to `1d`"), "{short:?}");
}

#[test]
fn settings_arrive() {
    let text = "
engine: {group_wait: 10s, growth_steps: [1, 10], max_incidents: 5, max_members: 7}
storm: {incidents: 3, window: 2m}
store: {path: state.db, max_bytes: 2Gi}
http: {listen: '127.0.0.1:8080'}
templates: {dir: tpl}
receivers: {a: {webhook: {url: https://example.com}, max_age: 1h, send_resolved: false}}
";
    let files = Files::new(&[("c.yaml", text), ("tpl/email.subject.hbs", "{{title}}")]);
    let config = files.load("c.yaml").expect("no error").config;
    assert_eq!(config.engine.group_wait, Duration::from_secs(10));
    assert_eq!(config.engine.growth_steps, [1, 10]);
    assert_eq!((config.engine.max_incidents, config.engine.max_members), (5, 7));
    assert_eq!((config.engine.storm_incidents, config.engine.storm_window), (3, Duration::from_secs(120)));
    assert_eq!((config.store.path.clone(), config.store.max_bytes), (Some(files.path("state.db")), 2 << 30));
    assert_eq!(config.http.map(|address| address.port()), Some(8080));
    assert_eq!(config.templates, Some(files.path("tpl")));
    assert_eq!(
        config.receivers.first().map(|r| (r.spec.max_age, r.send_resolved)),
        Some((Duration::from_secs(3600), false))
    );
}

#[test]
fn patterns_of_secrets_are_compiled_when_loaded() {
    let files = Files::new(&[("kubeherald.yaml", "redact: {patterns: ['ACME-[0-9]+', 'pin (\\d+)']}\n")]);
    let config = files.load("kubeherald.yaml").expect("no error").config;
    assert_eq!(config.redact.redact("ACME-1 pin 22"), "[masked] pin [masked]");
    let report = config_report("redact:\n  patterns: ['(', 'a*', '']\n  pattern: x\n");
    assert_eq!(
        messages(&report),
        [
            "error: `(` cannot be a pattern for secrets",
            "error: `a*` cannot be a pattern for secrets",
            "error: expected a text, found an empty one",
            "error: unknown key `pattern` in `redact`",
        ],
        "{report}"
    );
    assert!(report.contains("unclosed group") && report.contains("it matches the empty text"), "{report}");
}

#[test]
fn presets_and_templates_of_webhooks() {
    let files = Files::new(&[
        (
            "kubeherald.yaml",
            "receivers:\n  pager: {webhook: {preset: pagerduty, key: {env: KEY}}}\n  \
             own: {webhook: {url: https://example.com, template: {text: '{{title}}', n: 3}}}\n  \
             file: {webhook: {url: https://example.com, template: doc.json}}\n",
        ),
        ("doc.json", r#"{"text": "{{title}}", "all": [{"$each": "incidents", "$item": "{{workload}}"}]}"#),
    ]);
    let config = files.load("kubeherald.yaml").expect("no error").config;
    let webhooks: Vec<_> = config
        .receivers
        .iter()
        .map(|receiver| match &receiver.notifier {
            NotifierConfig::Webhook(webhook) => webhook,
            _ => panic!("a webhook"),
        })
        .collect();
    assert_eq!(webhooks[0].body, WebhookBody::Preset(Preset::PagerDuty));
    assert_eq!(webhooks[0].url, Secret::Inline("https://events.pagerduty.com/v2/enqueue".into()));
    assert!(webhooks[1..].iter().all(|webhook| matches!(webhook.body, WebhookBody::Document(_))));
}

#[test]
fn a_rate_limit_may_be_written_short() {
    let limit = |limit: &str| {
        let text =
            format!("receivers: {{a: {{webhook: {{url: https://example.com}}, rate_limit: {limit}}}}}");
        let loaded = Files::new(&[("c.yaml", &text)]).load("c.yaml");
        loaded.map(|loaded| loaded.config.receivers[0].spec.limit).map_err(|report| report.replace(&text, ""))
    };
    for (short, long) in [
        ("60/m", "{messages: 60, per: 1m}"),
        ("1/s", "{}"),
        ("10/30s", "{messages: 10, per: 30s, burst: 5}"),
        ("1/1h30m", "{per: 90m}"),
    ] {
        assert_eq!(limit(short), limit(long), "{short}");
    }
    for wrong in ["60", "60/", "/m", "0/m", "60/0s", "60/month", "99999/m", "[60]"] {
        let report = limit(wrong).expect_err("an error");
        assert!(report.contains("error: expected a rate limit, found "), "{report}");
        assert!(report.contains("write `60/m`, or `{per: 1m, messages: 60, burst: 5}`"), "{report}");
    }
}

#[test]
fn a_preset_without_an_address_of_its_own_needs_one() {
    let report = config_report("receivers: {a: {webhook: {preset: discord}}}");
    assert_eq!(messages(&report), ["error: `url` is missing"]);
}

#[test]
fn what_logs_in_over_plain_http_is_warned_of() {
    let warned = |webhook: &str| {
        let text = format!("receivers:\n  hook: {{webhook: {{{webhook}}}}}\n");
        let files = Files::new(&[("kubeherald.yaml", &text)]);
        let loaded = files.load("kubeherald.yaml").unwrap_or_else(|found| panic!("{webhook}: {found}"));
        loaded.warnings.iter().any(|warning| warning.message.contains("is sent without encryption"))
    };
    for login in [
        "bearer: {env: T}",
        "basic: {username: u, password: {env: T}}",
        "headers: {Authorization: {env: T}}",
        "preset: opsgenie, key: {env: T}",
    ] {
        assert!(warned(&format!("url: \"http://hook.example.com/x\", {login}")), "{login}");
        assert!(warned(&format!("url: \"http://10.1.2.3/x\", {login}")), "{login}");
        for url in
            ["https://hook.example.com/x", "http://127.0.0.1:8080/x", "http://[::1]/x", "http://localhost/x"]
        {
            assert!(!warned(&format!("url: \"{url}\", {login}")), "{url} {login}");
        }
    }
    // The signature is no secret.
    assert!(!warned("url: \"http://hook.example.com/x\", sign: {secret: {env: T}}"));
}

#[test]
fn what_a_preset_brings_can_be_replaced() {
    let files = Files::new(&[(
        "kubeherald.yaml",
        "receivers:\n  hook: {webhook: {url: https://example.com}}\n  \
         each: {webhook: {url: https://example.com}, fold: false}\n  \
         pager: {webhook: {preset: pagerduty, key: {env: KEY}}}\n  \
         other: {webhook: {preset: pagerduty, key: {env: KEY}}, fold: true, rate_limit: {burst: 7}}\n  \
         robot: {webhook: {preset: dingtalk, url: {env: URL}}}\n",
    )]);
    let config = files.load("kubeherald.yaml").expect("loads").config;
    let brought: Vec<_> = config
        .receivers
        .iter()
        .map(|r| {
            (
                &*r.spec.name,
                r.spec.fold,
                r.spec.limit.per.as_secs(),
                r.spec.limit.messages,
                r.spec.limit.burst,
            )
        })
        .collect();
    assert_eq!(
        brought,
        [
            ("hook", true, 1, 1, 5),
            ("each", false, 1, 1, 5),
            ("pager", false, 60, 100, 20),
            ("other", true, 60, 100, 7),
            ("robot", true, 60, 15, 5),
        ]
    );
}

#[test]
fn alerts_are_repeated_where_they_end_by_themselves() {
    let files = Files::new(&[(
        "kubeherald.yaml",
        "receivers:\n  am: {webhook: {preset: alertmanager, url: https://example.com}}\n  \
         often: {webhook: {preset: alertmanager, url: https://example.com}, reassert: 1m}\n  \
         hook: {webhook: {url: https://example.com}}\n",
    )]);
    let config = files.load("kubeherald.yaml").expect("loads").config;
    let every: Vec<_> =
        config.receivers.iter().map(|r| r.notifier.reassert().map(|every| every.as_secs())).collect();
    assert_eq!(every, [Some(300), Some(60), None]);
    let report = config_report(
        "receivers:\n  am: {webhook: {preset: alertmanager, url: https://example.com}, reassert: 30s}\n  \
         pager: {webhook: {preset: pagerduty, key: {env: KEY}}, reassert: 5m}\n\
         routes: [{receivers: [am, pager]}]\n",
    );
    assert_eq!(
        messages(&report),
        [
            "error: expected between `1m` and `1h`, found `30s`",
            "error: this receiver keeps alerts until they are ended",
        ]
    );
}

#[test]
fn a_heartbeat_has_an_address_in_the_open_or_as_a_secret() {
    let load = |text: &str| Files::new(&[("kubeherald.yaml", text)]).load("kubeherald.yaml");
    let of = |text: &str| load(text).expect("loads").config.heartbeat.clone().expect("a heartbeat");
    let plain = of("heartbeat: {url: \"https://hc-ping.com/0\"}\n");
    assert_eq!(plain.url, Secret::Inline("https://hc-ping.com/0".into()));
    assert_eq!((plain.every.as_secs(), plain.method), (60, HeartbeatMethod::Get));
    let secret = of("heartbeat: {url: {env: HEARTBEAT}, every: 5m, method: POST}\n");
    assert_eq!(secret.url, Secret::Env("HEARTBEAT".into()));
    assert_eq!((secret.every.as_secs(), secret.method), (300, HeartbeatMethod::Post));
    assert!(load("cluster: a\n").expect("loads").config.heartbeat.is_none());
    let report = config_report("heartbeat: {url: hc-ping.com, every: 2h, method: PUT, to: x}\n");
    assert_eq!(
        messages(&report),
        [
            "error: expected an `http://` or `https://` address, found a text",
            "error: expected between `10s` and `1h`, found `2h`",
            "error: `PUT` is not a method",
            "error: unknown key `to` in `heartbeat`",
        ]
    );
    assert_eq!(messages(&config_report("heartbeat: {every: 1m}\n")), ["error: `url` is missing"]);
}

#[test]
fn mistakes_in_documents_have_frames() {
    let files = Files::new(&[
        (
            "kubeherald.yaml",
            "receivers:\n  a: {webhook: {preset: pagerdty}}\n  b: {webhook: {preset: pagerduty}}\n  \
             c: {webhook: {url: https://example.com, key: {env: K}}}\n  \
             d: {webhook: {url: https://example.com, preset: discord, key: {env: K}}}\n  \
             e:\n    webhook:\n      url: https://example.com\n      template:\n        list:\n          - '{{titel}}'\n        \
             $eech: 1\n  f: {webhook: {url: https://example.com, template: doc.yaml}}\n  \
             g: {webhook: {url: https://example.com, template: none.yaml}}\n  \
             h: {webhook: {url: https://example.com, template: {x: {$secret: key}}}}\n  \
             i: {webhook: {url: https://example.com, template: {x: 1}, preset: discord}}\n",
        ),
        ("doc.yaml", "text: ok\nmore:\n  - a: '{{#if is_sumary}}x{{/if}}'\n"),
    ]);
    insta::assert_snapshot!(files.load("kubeherald.yaml").expect_err("errors"));
}

/// A page of the documentation. Read when the test runs: what the image is built from has no `docs`.
fn page(name: &str) -> String {
    let path = format!("{}/docs/{name}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("the page")
}

#[test]
fn what_the_documents_about_webhooks_show_can_be_loaded() {
    let mut seen = 0;
    for text in [page("presets"), page("webhook"), page("heartbeat")] {
        // What begins with `route` is Alertmanager's.
        for block in text.split("```yaml\n").skip(1).filter(|block| !block.starts_with("route:")) {
            let example = block.split("```").next().expect("an end");
            let files = Files::new(&[("kubeherald.yaml", example)]);
            files.load("kubeherald.yaml").unwrap_or_else(|report| panic!("{example}\n{report}"));
            seen += 1;
        }
    }
    assert!(seen > Preset::ALL.len());
    for preset in Preset::ALL {
        let named = page("presets").contains(&format!("preset: {}", preset.name()));
        assert!(named, "{}", preset.name());
    }
}

#[test]
fn namespaces_are_listed_one_by_one_up_to_a_hundred_and_kinds_can_be_left_out() {
    let load = |names: &[String]| {
        let text = format!(
            "watch: {{namespaces: {{include: [{}], exclude: [x]}}, kinds: {{exclude: [Node]}}}}\n",
            names.join(", ")
        );
        let files = Files::new(&[("c.yaml", &text)]);
        let loaded = files.load("c.yaml").expect("no error");
        (loaded.config.watch.clone(), files.report(&loaded.warnings))
    };
    let (watch, warnings) = load(&["b".into(), "a".into(), "x".into(), "a".into()]);
    assert_eq!((watch.one_by_one(), warnings.as_str()), (vec!["a", "b"], ""));
    assert!(!watch.wants_kind("Node") && watch.wants_kind("Pod"));
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let (watch, warnings) = load(&many(100));
    assert_eq!((watch.one_by_one().len(), warnings.as_str()), (100, ""));
    let (watch, warnings) = load(&many(101));
    assert!(watch.one_by_one().is_empty());
    assert_eq!(
        messages(&warnings),
        ["warning: more than 100 namespaces: the whole cluster is listed instead"]
    );
    assert!(watch.wants("n7") && !watch.wants("other"), "what is told of stays the same");
    let report = config_report("watch: {kinds: {exclude: [Nodes]}}\n");
    assert!(
        report.contains("`Nodes` is not a kind that is watched") && report.contains("did you mean `Node`?")
    );
}
