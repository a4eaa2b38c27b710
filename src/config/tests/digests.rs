//! `digest:` of a receiver.

use std::time::Duration;

use super::{Files, config_report, messages};
use crate::config::Receiver;

fn receiver(keys: &str) -> Receiver {
    let text = format!("receivers: {{a: {{webhook: {{url: https://example.com}}{keys}}}}}");
    let files = Files::new(&[("c.yaml", &text)]);
    let loaded = files.load("c.yaml").unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(files.report(&loaded.warnings), "");
    loaded.config.receivers[0].clone()
}

#[test]
fn a_digest_is_sent_late_rather_than_never_and_empty_ones_only_if_wanted() {
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(receiver("").spec.max_age, day);
    let daily = receiver(", digest: {cron: '0 8 * * 1-5', timezone: Europe/Berlin}");
    assert_eq!(daily.spec.max_age, 7 * day);
    let digest = daily.digest.unwrap();
    assert!(!digest.empty);
    let next = digest.schedule.next_after("2026-02-06T08:00:00Z".parse().unwrap());
    assert_eq!(next, Some("2026-02-09T07:00:00Z".parse().unwrap()), "Monday, 8:00 in Berlin");
    let hourly = receiver(", max_age: 2h, digest: {every: 1h, empty: true}");
    assert_eq!((hourly.spec.max_age, hourly.digest.unwrap().empty), (Duration::from_secs(7200), true));
}

#[test]
fn what_is_wrong_with_digests() {
    let report = config_report(
        r#"
receivers:
  one: {webhook: {url: https://example.com}, digest: {cron: "0 0 30 2 *"}}
  two: {webhook: {url: https://example.com}, digest: {cron: "0 8 * * *", every: 1h, timezone: Mars/Olympus}}
  three: {webhook: {url: https://example.com}, digest: {}}
  four: {webhook: {url: https://example.com}, digest: {every: 30s, emty: true}}
  five: {webhook: {preset: pagerduty, key: {env: A}}, digest: {every: 1h}}
  six: {webhook: {preset: alertmanager, url: https://example.com}, digest: {every: 1h}}
  seven: {webhook: {preset: teams, url: https://example.com}, digest: {every: 1h}}
  eight: {webhook: {url: https://example.com}, digest: {evry: 1h}}
"#,
    );
    assert_eq!(
        messages(&report),
        [
            "error: this is not a cron schedule",
            "error: a digest has either `cron` or `every`",
            "error: expected a time zone, found `Mars/Olympus`",
            "error: a digest has either `cron` or `every`",
            "error: a digest is sent at most once a minute",
            "error: unknown key `emty` in `digest`",
            "error: `pagerduty` opens and closes alerts: it cannot be told in digests",
            "error: `alertmanager` opens and closes alerts: it cannot be told in digests",
            "error: unknown key `evry` in `digest`",
        ]
    );
    assert!(report.contains("there is no such day"), "{report}");
    assert!(report.contains("remove `digest`, or send the digest to a receiver of another kind"), "{report}");
}
