//! SECURITY.md promises nothing that no test holds it to.

use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows of the tables that name tests: the cells of each.
fn promises(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            inside = false;
        } else if line == "| abuse | promise | test |" {
            inside = true;
        } else if inside && !line.starts_with("|---") {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
    }
    rows
}

/// ``[`name`](file)``
fn links(cell: &str) -> Vec<(&str, &str)> {
    cell.split("[`")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once("`](").expect("a link");
            (name, rest.split_once(')').expect("a link").0)
        })
        .collect()
}

/// Is `name` a test of this file, that is not ignored?
fn is_test(file: &str, name: &str) -> bool {
    let text = read(file);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    let Some(at) = lines.iter().position(|line| begins.iter().any(|begin| line.starts_with(begin))) else {
        return false;
    };
    let attributes: Vec<&&str> = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
        .collect();
    let marked =
        attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    marked && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

#[test]
fn every_abuse_names_a_test_that_exists() {
    let text = read("SECURITY.md");
    let promises = promises(&text);
    assert!(promises.len() > 15, "{} promises", promises.len());
    for row in &promises {
        let [abuse, promise, tests] = row.as_slice() else { panic!("three cells: {row:?}") };
        assert!(!abuse.is_empty() && !promise.is_empty(), "{row:?}");
        let links = links(tests);
        assert!(!links.is_empty(), "no test: {abuse}");
        for (name, file) in links {
            assert!(is_test(file, name), "{file} has no test `{name}`");
        }
    }
}

#[test]
fn a_test_that_is_missing_or_ignored_is_seen() {
    assert!(is_test("tests/it/security.rs", "every_abuse_names_a_test_that_exists"));
    assert!(!is_test("tests/it/security.rs", "promises"));
    assert!(!is_test("tests/it/security.rs", "no_such_test"));
    assert!(!is_test("tests/it/web.rs", "promtool_finds_nothing_to_complain_about"));
}

/// Files that the document names are there.
#[test]
fn its_links_lead_somewhere() {
    for target in read("SECURITY.md").split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        if !target.starts_with("https://") {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(target).is_file(), "{target}");
        }
    }
}
