use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use super::http::{Class, class, excerpt, retry_after, secret_parts};
use crate::message::Decision;
use crate::template::sample;

#[test]
fn every_status_has_its_class() {
    for status in 100..600 {
        let expected = match status {
            200..=299 => Class::Taken,
            408 | 409 | 421 | 423 | 425 | 429 | 500..=599 => Class::Later,
            300..=399 | 401 | 402 | 403 | 404 | 405 | 407 | 410 => Class::Refused,
            _ => Class::Never,
        };
        assert_eq!(class(status), expected, "{status}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_and_is_clamped() {
    let now = "2026-02-03T08:00:00Z".parse().unwrap();
    let of = |value: &str, date: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers, now).map(|d| d.as_secs())
    };
    assert_eq!(of("30", None), Some(30));
    assert_eq!(of(" 0 ", None), Some(1));
    assert_eq!(of("86400", None), Some(3600));
    assert_eq!(of("99999999999999999999999", None), Some(3600));
    assert_eq!(of("Tue, 03 Feb 2026 08:02:00 GMT", None), Some(120));
    assert_eq!(of("Tue, 03 Feb 2026 07:00:00 GMT", None), Some(1));
    // Their clock is an hour ahead: their own Date says how long they mean.
    assert_eq!(of("Tue, 03 Feb 2026 09:02:00 GMT", Some("Tue, 03 Feb 2026 09:00:00 GMT")), Some(120));
    assert_eq!(of("soon", None), None);
    assert_eq!(of("-5", None), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None::<Duration>);
}

#[test]
fn an_excerpt_shows_no_secret() {
    let url = "https://user:hunter22@hooks.example/services/T0000/B0000/s3cr3t-token?key=abcdef123";
    let body = format!("<p>{url}\r\n/services/T0000/B0000/s3cr3t-token was not found, abcdef123");
    let shown = excerpt(&body, &secret_parts(url));
    for secret in ["hunter22", "s3cr3t-token", "abcdef123", "T0000/B0000"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("was not found"), "{shown}");
}

#[test]
fn the_terminal_looks_like_this() {
    for decision in [
        Decision::First,
        Decision::Grew,
        Decision::Reminder,
        Decision::Resolved,
        Decision::Standing,
        Decision::Notice,
    ] {
        let n = sample::notification(decision, sample::incident());
        insta::assert_snapshot!(format!("terminal_{decision}"), super::terminal::render(&n, false));
    }
    let n = sample::notification(Decision::First, sample::incident());
    insta::assert_snapshot!("terminal_digest", super::terminal::render(&sample::digest::day(), false));
    let shown = super::terminal::render(&n, true).replace('\u{1b}', "ESC");
    insta::assert_snapshot!("terminal_color", shown);
}

#[test]
fn nothing_foreign_controls_the_terminal() {
    for decision in Decision::ALL {
        let n = sample::notification(*decision, sample::huge());
        let shown = super::terminal::render(&n, false);
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{0}', '\r']), "{decision}");
        assert!(shown.len() < 60_000, "{decision}: {}", shown.len());
    }
}
