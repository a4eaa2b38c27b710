//! What is linked in: `deny.toml`, held to without `cargo deny`, which takes longer to build than
//! everything else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The lines of one list in `deny.toml`.
fn list(name: &str) -> Vec<String> {
    let text = read("deny.toml");
    let begin = format!("\n{name} = [\n");
    let rest = &text[text.find(&begin).unwrap_or_else(|| panic!("no list `{name}`")) + begin.len()..];
    let lines: Vec<_> =
        rest.lines().take_while(|line| *line != "]").map(|line| line.trim().to_owned()).collect();
    assert!(!lines.is_empty());
    lines
}

fn quoted(line: &str) -> String {
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn nothing_that_is_banned_is_locked() {
    let lock = read("Cargo.lock");
    let locked: BTreeSet<_> =
        lock.lines().filter_map(|line| line.strip_prefix("name = ")).map(quoted).collect();
    assert!(locked.contains("kubeherald") && locked.len() > 100);
    for line in list("deny") {
        assert!(line.starts_with("{ crate = \"") && line.contains(", reason = \""), "{line}");
        assert!(!locked.contains(&quoted(&line)), "banned: {line}");
    }
}

#[test]
fn every_second_version_has_a_reason() {
    let lock = read("Cargo.lock");
    let mut found = BTreeSet::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            let name = name.trim_matches('"').to_owned();
            if !seen.insert(name.clone()) {
                found.insert(name);
            }
        }
    }
    let skipped: BTreeSet<_> =
        list("skip").iter().map(|line| quoted(line).split('@').next().unwrap().to_owned()).collect();
    for name in &skipped {
        assert!(found.contains(name), "`{name}` has one version only: no need to skip it");
    }
    // Other systems are not built for, and not checked.
    let elsewhere = ["core-foundation", "r-efi", "windows-sys"];
    let unexplained: Vec<_> = found.iter().filter(|name| !elsewhere.contains(&name.as_str())).collect();
    assert!(unexplained.iter().all(|name| skipped.contains(*name)), "{unexplained:?}");
}

/// Is there a choice of licences that is allowed?
fn allowed(expression: &str, licences: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    let fine = either(&words, &mut at, licences);
    assert_eq!(at, words.len(), "{expression}");
    fine
}

fn either(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut fine = all(words, at, licences);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fine |= all(words, at, licences);
    }
    fine
}

fn all(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut fine = single(words, at, licences);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fine &= single(words, at, licences);
    }
    fine
}

fn single(words: &[&str], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    if words.get(*at) == Some(&"(") {
        *at += 1;
        let fine = either(words, at, licences);
        assert_eq!(words.get(*at), Some(&")"));
        *at += 1;
        return fine;
    }
    let mut name = words[*at].to_owned();
    *at += 1;
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words[*at + 1]);
        *at += 2;
    }
    licences.contains(&name)
}

#[test]
fn licence_expressions_are_understood() {
    let licences: BTreeSet<_> = ["MIT", "ISC", "X WITH e"].map(String::from).into();
    for (expression, fine) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("X WITH e", true),
        ("X", false),
    ] {
        assert_eq!(allowed(expression, &licences), fine, "{expression}");
    }
}

/// As it is built here; other targets are for `cargo deny`.
#[test]
fn every_licence_is_allowed() {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let licences: BTreeSet<_> = list("allow").iter().map(|line| quoted(line)).collect();
    let resolved: BTreeSet<_> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let mut packages = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if resolved.contains(package["id"].as_str().unwrap()) {
            packages += 1;
            let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or_default());
            assert!(!licence.is_empty() && allowed(licence, &licences), "{name}: {licence}");
        }
    }
    assert!(packages > 100, "{packages}");
}
