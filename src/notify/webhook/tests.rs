use super::*;
use crate::clock::Clock;
use crate::message::Decision;
use crate::notify::{BuildError, Parts, Secret};
use crate::template::{Templates, sample};

#[test]
fn documents_look_like_this() {
    for decision in [
        Decision::First,
        Decision::Grew,
        Decision::Reminder,
        Decision::Resolved,
        Decision::Standing,
        Decision::Notice,
    ] {
        let n = sample::notification(decision, sample::incident());
        insta::assert_snapshot!(decision.as_str(), serde_json::to_string_pretty(&payload(&n)).unwrap());
    }
}

#[test]
fn a_digest_looks_like_this() {
    let payload = payload(&sample::digest::day());
    insta::assert_snapshot!("digest", serde_json::to_string_pretty(&payload["digest"]).unwrap());
    let ids = |v: &serde_json::Value| -> Vec<String> {
        let list = v.as_array().unwrap().iter();
        list.map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    let carried: Vec<&str> =
        payload["incidents"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    for section in ["new", "ongoing", "resolved"] {
        for id in ids(&payload["digest"][section]["incidents"]) {
            assert!(carried.contains(&id.as_str()), "{section}: {id}");
        }
    }
    let doc = include_str!("../../../docs/webhook.md");
    for key in payload["digest"].as_object().unwrap().keys() {
        assert!(doc.contains(&format!("`{key}`")), "docs/webhook.md does not name `{key}`");
    }
}

#[test]
fn the_documented_example_is_what_is_sent() {
    let doc = include_str!("../../../docs/webhook.md");
    let example = doc.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let documented: serde_json::Value = serde_json::from_str(example).unwrap();
    assert_eq!(documented, payload(&sample::notification(Decision::First, sample::incident())));
}

#[test]
fn the_signature_is_hmac_over_timestamp_and_body() {
    // printf '1770106292.{"a":1}' | openssl dgst -sha256 -hmac secret
    let at = "2026-02-03T08:11:32Z".parse().unwrap();
    assert_eq!(
        sign(b"secret", at, br#"{"a":1}"#),
        "v1=94984be36644afda7b8e89e2ae7f8a13e0dfce0e068a5026dc45bfce8a2bf47e"
    );
}

#[test]
fn headers_are_checked_when_it_is_made() {
    let parts = Parts::new(Templates::shipped().unwrap(), Clock::Fixed(jiff::Timestamp::UNIX_EPOCH));
    for (name, value, says) in [
        ("X Y", "v", "`X Y` is not the name of an HTTP header"),
        ("X-Y", "a\r\nb", "the value of header `X-Y` cannot be sent"),
        ("Idempotency-Key", "v", "header `Idempotency-Key` is set by kubeherald itself"),
    ] {
        let mut config = WebhookConfig::new(Secret::Inline("http://127.0.0.1:1/".into()));
        config.headers.push((name.into(), value.into()));
        let Err(e @ BuildError::Webhook(_)) = Webhook::new(config, &parts) else { panic!("{name}") };
        assert!(e.to_string().contains(says), "{e}");
    }
}
