use jiff::Timestamp;

use super::super::check::check;
use super::super::load;
use super::{Files, messages};

const RULE: &str = "rules: [{name: NAME, match: {cause: Evicted}}]\n";

fn rule(name: &str) -> String {
    RULE.replace("NAME", name)
}

#[test]
fn errors_of_several_files_come_together() {
    let files = Files::new(&[
        (
            "kubeherald.yaml",
            "clustr: x\nrules: {dir: rules}\nreceivers: {a: {webhook: {url: https://example.com}}}\n",
        ),
        ("rules/a.yaml", "rules: [{name: a, match: {cause: Evicted}, receivers: [b]}]\n"),
        ("rules/b.yml", "rules: [{name: a, match: {cause: Evictd}}]\n"),
        ("rules/note.txt", "not a rule"),
    ]);
    insta::assert_snapshot!(files.load("kubeherald.yaml").expect_err("errors"));
}

#[test]
fn a_mounted_config_map_is_read_once() {
    let files = Files::new(&[("mount/..2026_01/a.yaml", &rule("a")), ("mount/..2026_01/b.yaml", &rule("b"))]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("..2026_01", files.path("mount/..data")).expect("a link");
        symlink("..data/a.yaml", files.path("mount/a.yaml")).expect("a link");
        symlink("..data/b.yaml", files.path("mount/b.yaml")).expect("a link");
        symlink("nowhere", files.path("mount/c.yaml")).expect("a link");
        let loaded = files.load_rules(&["mount"]).expect("no error");
        assert_eq!(loaded.files, [files.path("mount/a.yaml"), files.path("mount/b.yaml")]);
    }
}

#[test]
fn the_hash_changes_with_every_file_and_only_then() {
    let files = Files::new(&[("r/a.yaml", &rule("a")), ("c.yaml", "rules: {dir: r}")]);
    let hash = || files.load("c.yaml").expect("no error").hash;
    let first = hash();
    assert_eq!(first.len(), 64);
    assert_eq!(first, hash());
    files.write("r/a.yaml", &rule("b"));
    let second = hash();
    assert_ne!(first, second);
    files.write("r/b.yaml", "rules: []");
    assert_ne!(second, hash());
}

#[test]
fn templates_and_documents_belong_to_it() {
    let config = "templates: {dir: tpl}\nrules: {dir: r}\nreceivers:\n  a: {webhook: {url: https://example.com, template: hook.yaml, ca: ca.pem}}\n";
    let files = Files::new(&[
        ("c.yaml", config),
        ("r/a.yaml", &rule("a")),
        ("tpl/slack.title.hbs", "{{title}}"),
        ("hook.yaml", "{what: \"{{title}}\"}"),
    ]);
    let attempt = || super::super::attempt(Some(&files.path("c.yaml")), &[], Timestamp::MIN);
    let roots = ["c.yaml", "r", "hook.yaml", "tpl", "ca.pem"].map(|name| files.path(name));
    assert_eq!(attempt().roots, roots);
    let hash = || attempt().outcome.expect("no error").hash;
    let mut last = hash();
    for (name, text) in [("tpl/slack.title.hbs", "{{mark}}"), ("hook.yaml", "{who: x}"), ("tpl/_a.hbs", "a")]
    {
        files.write(name, text);
        let now = hash();
        assert_ne!(now, last, "{name}");
        last = now;
    }
    // What is wrong is said with everything else, and what to look at is known all the same.
    files.write("tpl/_a.hbs", "{{> _a}}");
    files.write("hook.yaml", "{who: \"{{titel}}\"}");
    let attempt = attempt();
    let found = attempt.outcome.expect_err("errors").to_string();
    assert!(
        found.contains("`_a` includes itself") && found.contains("there is no variable `titel`"),
        "{found}"
    );
    assert_eq!(attempt.roots, roots);
    // `check` finds them as well, and says each once.
    for paths in [vec![files.path("c.yaml")], vec![files.path("c.yaml"), files.path("tpl")]] {
        let found = check(&paths, Timestamp::MIN).found.to_string();
        assert_eq!(found.matches("includes itself").count(), 1, "{found}");
    }
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let loaded = load(None, &[]).expect("no error");
    assert!(loaded.config.receivers.is_empty() && loaded.files.is_empty() && loaded.tests.is_empty());
    assert!(loaded.config.rules.len() > 20);
}

#[test]
fn without_receivers_rules_may_name_any() {
    let files = Files::new(&[("r.yaml", "rules: [{name: a, match: {cause: Evicted}, receivers: [team-a]}]")]);
    let loaded = files.load_rules(&["r.yaml"]).expect("no error");
    assert_eq!(loaded.config.rules.get("a").map(|rule| rule.receivers.is_none()), Some(true));
}

#[test]
fn an_empty_directory_is_suspicious() {
    let files = Files::new(&[("rules/x.txt", "")]);
    let loaded = files.load_rules(&["rules"]).expect("no error");
    assert_eq!(
        messages(&files.report(&loaded.warnings)),
        ["warning: there is no rule file (`.yaml`, `.yml`) in this directory"]
    );
}

#[test]
fn check_knows_files_by_their_content() {
    let files = Files::new(&[
        ("kubeherald.yaml", "receivers: {a: {webhook: {url: https://example.com}}}\nrules: {dir: rules}\n"),
        ("rules/a.yaml", &rule("a")),
        ("extra.yaml", "rules: [{name: b, match: {cause: Evictd}, receivers: [c]}]"),
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n"),
        ("other.yaml", "foo: bar"),
        ("slack.hbs", "{{title}"),
    ]);
    let found = check(&[files.root().to_owned(), files.path("rules")], Timestamp::MIN).found;
    assert_eq!(
        messages(&files.report(&found)),
        [
            "error: `Evictd` is not a cause",
            "error: there is no receiver named `c`",
            "error: this is neither a configuration nor a rule file",
            "error: `slack.hbs` is not the name of a template",
        ]
    );
    assert!(check(&[files.path("kubeherald.yaml")], Timestamp::MIN).found.is_empty());
    assert!(check(&[files.path("slack.hbs")], Timestamp::MIN).found.has_errors());
    assert!(check(&[files.path("deployment.yaml")], Timestamp::MIN).found.has_errors());
    assert!(check(&[files.path("missing.yaml")], Timestamp::MIN).found.has_errors());
}

#[test]
fn color_is_only_added() {
    let found = check(&[Files::new(&[]).path("missing.yaml")], Timestamp::MIN).found;
    assert!(found.render(true).contains("\u{1b}[") && !found.render(false).contains('\u{1b}'));
}
