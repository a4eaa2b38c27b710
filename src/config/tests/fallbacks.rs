use std::time::Duration;

use super::{Files, config_report, messages};

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
    let report = config_report(&text);
    let circle = messages(&report);
    assert_eq!(
        circle,
        [
            "error: fallbacks in a circle: `one` → `two` → `one`",
            "error: fallbacks in a circle: `two` → `one` → `two`"
        ]
    );
    let text = config([", fallback: one", "", ""]);
    let report = config_report(&text);
    let itself = messages(&report);
    assert_eq!(itself, ["error: fallbacks in a circle: `one` → `one`"]);
    let text = config([", fallback: tow", "", ""]);
    let report = config_report(&text);
    let unknown = messages(&report);
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].contains("tow"), "{unknown:?}");
    let short = config_report("receiver_trouble_after: 5s\n");
    assert!(short.contains("a duration from `1m` to `1d`"), "{short:?}");
}
