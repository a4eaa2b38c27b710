use super::*;
use crate::message::Decision;

fn source(name: &str, text: &str) -> Source {
    Source { file: format!("dir/{name}"), name: name.into(), text: text.into() }
}

fn errors(sources: &[Source]) -> Vec<String> {
    Templates::compile(sources).expect_err("must be refused").iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_templates_pass_their_own_checks() {
    Templates::shipped().unwrap_or_else(|e| panic!("{e:#?}"));
}

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let found = errors(&[
        source("slack.title.hbs", "{{mark}} {{titel}}\n{{#if is_sumary}}x{{/if}} {{shout title}}"),
        source(
            "slack.body.hbs",
            "{{#each members}}{{this}}{{/each}}\n{{#each held}}{{workload}} {{image}}{{/each}}",
        ),
        source("email.text.hbs", "a\n  {{#if title}}b"),
        source(
            "email.html.hbs",
            "{{{title}}}{{#each incidents}}{{../cluster}}{{@root.cluster}}{{@index}}{{/each}}",
        ),
        source("email.subjekt.hbs", "x"),
    ]);
    let shown = found.join("\n");
    for part in [
        "dir/slack.title.hbs:1:10: there is no variable `titel` (did you mean `title`?)",
        "dir/slack.title.hbs:2:1: there is no variable `is_sumary` (did you mean `is_summary`?)",
        "there is no helper `shout`",
        "dir/slack.body.hbs:2:28: there is no variable `image`",
        "dir/email.text.hbs:2:",
        "dir/email.html.hbs:1:1: values cannot be written unescaped",
        "`email.subjekt.hbs` is not the name of a template (did you mean `email.subject.hbs`?",
    ] {
        assert!(shown.contains(part), "missing: {part}\nin:\n{shown}");
    }
    assert_eq!(found.len(), 7, "{shown}");
}

#[test]
fn inclusion_in_a_circle_is_refused() {
    let found = errors(&[
        source("email.text.hbs", "{{> _a}}"),
        source("_a.hbs", "x\n{{> _b}}"),
        source("_b.hbs", "{{> _a}}"),
        source("_self.hbs", "{{> _self}}"),
    ]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("dir/_b.hbs:1:1: `_a` includes itself: _a → _b → _a"), "{found:#?}");
    assert!(found[1].contains("`_self` includes itself"), "{found:#?}");
}

#[test]
fn what_cannot_be_checked_is_refused() {
    for (text, says) in [
        ("{{> (lookup this \"title\")}}", "the name of a partial cannot be computed"),
        ("{{> _nowhere}}", "there is no partial `_nowhere`"),
        ("{{#*inline \"x\"}}{{/inline}}", "decorators and partial blocks are not supported"),
        ("{{incident.workload}}", "in a message that says `standing`"),
        ("{{duration title}}", "param"),
        ("{{#incidents}}{{/incidents}}", "there is no helper `incidents`"),
    ] {
        let found = errors(&[source("email.text.hbs", text)]);
        assert!(found[0].contains(says), "{text}: {found:#?}");
    }
    let deep = "{{#if title}}".repeat(5000);
    assert!(errors(&[source("email.text.hbs", &deep)])[0].contains("nested deeper"));
    let parens = format!("{{{{eq {}", "(not ".repeat(5000));
    assert!(errors(&[source("email.text.hbs", &parens)])[0].contains("nested deeper"));
    let huge = "x".repeat(registry::MAX_SOURCE + 1);
    assert!(errors(&[source("email.text.hbs", &huge)])[0].contains("larger than 64 KiB"));
}

#[test]
fn output_is_bounded() {
    let text = "{{#each incidents}}{{#each ../incidents}}{{#each ../../incidents}}{{#each ../../../incidents}}\
                0123456789012345678901234567890123456789{{/each}}{{/each}}{{/each}}{{/each}}";
    let refused = errors(&[source("email.text.hbs", text)]);
    assert!(refused[0].contains("larger than 256 KiB"), "{refused:#?}");
    // What no sample has so much of.
    let text =
        "{{#each incidents}}{{#each members}}{{#each ../members}}0123456789{{/each}}{{/each}}{{/each}}";
    let templates = Templates::compile(&[source("email.text.hbs", text)]).expect("samples have few members");
    let mut n = sample::notification(Decision::Storm, sample::incident());
    let members = (0..200).map(|n| format!("pod-{n}").into()).collect();
    n.incidents = vec![crate::message::IncidentView { members, ..sample::incident() }; 90];
    let failed = templates.render(Name::EmailText, &model::notification(&n)).unwrap_err();
    assert!(failed.to_string().contains("larger than 256 KiB"), "{failed}");
}

#[test]
fn cluster_text_is_never_a_template() {
    let templates = Templates::shipped().unwrap();
    let mut i = sample::incident();
    i.why = "{{boom}} {{#each x}} {{> _a}}".into();
    i.workload = "Deployment/{{boom}}".into();
    i.title = "{{boom}}".into();
    for decision in Decision::ALL {
        let n = sample::notification(*decision, i.clone());
        for name in Name::ALL.iter().filter(|name| name.is_for(&n)) {
            // A notice has no incident, and its title is kubeherald's own.
            let Some(values) = model::of(name.input(), &n) else { continue };
            let shown = templates.render(*name, &values).unwrap();
            // The title of a summary names only the first root cause, which is another; `more` says
            // where, not what.
            let whole = !decision.is_summary() && *decision != Decision::Notice;
            let titles = !whole && name.format() == Escaping::Header || *name == Name::SlackMore;
            assert!(titles || shown.contains("{{boom}}"), "{name:?}: {shown}");
        }
    }
    let summary = compile_summary("{{workload}}: {{why}}").unwrap();
    assert_eq!(summary.render(&i), "Deployment/{{boom}}: {{boom}} {{#each x}} {{> _a}}");
}

#[test]
fn a_directory_overrides_by_file_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("slack.title.hbs"), "{{> _sign}}: {{title}}").unwrap();
    std::fs::write(dir.path().join("_sign.hbs"), "prod").unwrap();
    std::fs::write(dir.path().join("README.md"), "not a template").unwrap();
    let templates = Templates::load(dir.path()).unwrap();
    let n = sample::notification(Decision::First, sample::incident());
    let title = templates.render(Name::SlackTitle, &model::notification(&n)).unwrap();
    assert!(title.starts_with("prod: Deployment/checkout in shop keeps crashing"), "{title}");
    let gone = Templates::load(&dir.path().join("nowhere")).unwrap_err();
    assert!(gone[0].message.contains("cannot be read"), "{gone:?}");
}

#[test]
fn summaries_know_their_names() {
    let summary = compile_summary("{{workload}} keeps crashing ({{exit}})").unwrap();
    assert_eq!(summary.render(&sample::incident()), "Deployment/checkout keeps crashing (exit code 3)");
    let with =
        compile_summary("{{#if replicas}}{{members_total}} of {{plural replicas \"pod\"}}{{/if}}").unwrap();
    assert_eq!(with.render(&sample::incident()), "3 of 12 pods");
    assert_eq!(with.render(&sample::bare()), "PersistentVolume/pv-7 has an Event", "never an empty line");
    let e = compile_summary("{{workload}} is {{broken}}").unwrap_err();
    assert_eq!((e.line, e.column, e.message.as_str()), (1, Some(17), "there is no variable `broken`"));
    assert_eq!(e.span("{{workload}} is {{broken}}"), 16..26);
    assert!(compile_summary("{{workload").is_err());
    assert!(compile_summary("{{> _a}}").is_err());
    let long = compile_summary("{{why}}\n{{why}}").unwrap();
    let mut i = sample::incident();
    i.why = "x\n".repeat(10_000).into();
    assert_eq!(long.render(&i).chars().count(), 300);
    assert!(!long.render(&i).contains('\n'));
}

#[test]
fn every_value_is_documented() {
    let doc = include_str!("../../docs/templates.md");
    let digest = sample::shape(Input::Digest)["digest"].clone();
    let mut shapes = vec![sample::shape(Input::Notification), sample::shape(Input::Incident), digest.clone()];
    for list in ["severities", "groups", "causes", "sections", "held"] {
        shapes.push(digest[list][0].clone());
    }
    shapes.push(digest["begun"].clone());
    for shape in shapes {
        for key in shape.as_object().unwrap().keys() {
            assert!(doc.contains(&format!("`{key}`")), "docs/templates.md does not name `{key}`");
        }
    }
    for helper in helpers::NAMES {
        assert!(doc.contains(&format!("`{helper}`")) || doc.contains(&format!("{{{{{helper} ")), "{helper}");
    }
}
