use super::{Files, config_report, messages, rules_report};

#[test]
fn bombs_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        laughs.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    assert!(rules_report(&laughs).contains("anchors and aliases make more than 20000 values"));

    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(messages(&rules_report(&deep)).len(), 1);
    let deep = (0..10_000).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n");
    assert!(rules_report(deep.get(..100_000).unwrap_or(&deep)).starts_with("error: "));

    let anchored = format!("a: {}x{}", "&a [".repeat(40), "]".repeat(40));
    assert!(rules_report(&anchored).starts_with("error: "));
    assert!(rules_report("a: &a [*a]").contains("this alias stands inside its own anchor"));

    let wide = format!("rules: [{}]", "x,".repeat(400_000));
    assert!(rules_report(&wide).contains("more than 300000 values in one file"));
    let large = format!("# {}", "x".repeat(1024 * 1024));
    assert!(rules_report(&large).contains("this file is larger than 1024 KiB"));
}

#[test]
fn a_file_of_nonsense_is_cut_short() {
    let keys = (0..5000).fold(String::new(), |text, n| text + &format!("k{n}: 1\n"));
    let report = rules_report(&keys);
    assert_eq!(messages(&report).len(), 100);
    assert!(report.ends_with("… and 4900 more"), "{report}");
}

#[test]
fn what_yaml_allows_and_we_do_not() {
    for (text, expected) in [
        ("a: 1\na: 2\n", "this key is given twice"),
        ("a: 1\n---\nb: 2\n", "a second document begins here"),
        ("rules: !include x.yaml", "tags (`!…`) are not supported"),
        ("a: &a {b: c}\nd: {<<: *a}", "merge keys (`<<`) are not supported"),
        ("{[a]: b}", "a key must be text"),
        ("rules: [", "this is not valid YAML"),
        ("a:\n\tb: c", "a tab cannot indent YAML"),
        ("just text", "expected a configuration, found `just text`"),
        ("- a", "expected a configuration, found a list"),
        ("cluster: *nobody", "this is not valid YAML"),
    ] {
        let report = config_report(text);
        assert!(report.contains(expected), "{text:?} says\n{report}");
    }
}

#[test]
fn escapes_and_long_lines_do_not_reach_the_terminal() {
    let report = config_report("\"\\e[31mred\": 1\nx: \"\u{202e}\"\n");
    assert!(!report.contains(['\u{1b}', '\u{202e}']), "{report:?}");
    let long = config_report(&format!("{{cluster: {}, nope: 1}}", "x".repeat(50_000)));
    assert!(long.len() < 1000 && long.contains("DIR/kubeherald.yaml:1:50013"), "{long}");
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new(&[("dir/x.txt", "")]);
    std::fs::write(files.path("latin1.yaml"), b"cluster: \xe4").expect("a file");
    assert!(files.load("latin1.yaml").expect_err("an error").contains("this file is not UTF-8"));
    assert!(files.load("missing.yaml").expect_err("an error").contains("there is no such file"));
    assert!(files.load("dir").expect_err("an error").contains("this is a directory: name a file in it"));
    assert!(files.load_rules(&["missing"]).expect_err("an error").contains("there is no such file"));
}
