//! Modules may use what the table allows: in one crate nothing else enforces the direction that
//! data flows in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use what. Everyone may use themselves.
const ALLOWED: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("signal", &["clock"]),
    ("message", &["clock", "signal"]),
    ("rule", &["signal"]),
    ("engine", &["clock", "message", "rule", "signal"]),
    // Of the configuration only which namespaces are wanted; see `violations`.
    ("watch", &["clock", "config", "signal"]),
    ("template", &["clock", "message", "signal"]),
    ("config", &["clock", "engine", "message", "notify", "outbox", "rule", "signal", "template"]),
    ("notify", &["clock", "message", "signal", "template"]),
    ("store", &["clock", "message", "signal"]),
    ("outbox", &["clock", "message", "notify", "store"]),
    ("telemetry", &[]),
    ("metrics", &["clock", "message", "outbox", "signal", "store", "watch"]),
    ("web", &["clock", "message", "metrics", "outbox", "signal", "store", "watch"]),
    ("recording", &["signal", "watch"]),
    ("testkit", &["clock", "config", "message", "notify", "recording", "signal", "template", "watch"]),
    ("app", ANY),
    ("cli", ANY),
];
const ANY: &[&str] = &["*"];

/// What is pure knows no cluster, no runtime, no disk, no network and no clock: only what calculates with
/// times, not [`NOT_PURE`].
const PURE: &[&str] = &["signal", "rule", "engine", "message", "clock"];
/// The files of a pure module that are not: they read the time, of the system and of the runtime.
const NOT_PURE: &[&str] = &["clock/source.rs", "clock/steady.rs"];
/// What it has to give, and nothing pure may take.
const READS_TIME: &[&str] = &["now", "Clock", "Simulated", "Steady"];
const IMPURE: &[&str] = &[
    "kube",
    "tokio",
    "tokio_util",
    "rusqlite",
    "reqwest",
    "axum",
    "hyper",
    "hyper_util",
    "lettre",
    "futures",
    "http",
];

/// Where SQL is: everything else speaks to the store's interface.
const DATABASE: &str = "store/sqlite";

/// A Rust file without comments; strings apart.
#[derive(Debug, Default)]
struct Text {
    code: String,
    strings: Vec<String>,
}

/// Takes comments out, and what is in quotes apart.
fn lex(source: &str) -> Text {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut text = Text::default();
    let mut i = 0;
    while i < chars.len() {
        let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            'r' if !word_before || matches!(at(i.wrapping_sub(1)), 'b' | 'c') => {
                let hashes = (i + 1..chars.len()).take_while(|j| at(*j) == '#').count();
                if at(i + 1 + hashes) != '"' {
                    text.code.push('r');
                    i += 1;
                    continue;
                }
                let start = i + 2 + hashes;
                let closes = |j: usize| at(j) == '"' && (1..=hashes).all(|k| at(j + k) == '#');
                let end = (start..chars.len()).find(|j| closes(*j)).unwrap_or(chars.len());
                text.strings.push(chars[start..end].iter().collect());
                text.code.push_str("\"\"");
                i = end + 1 + hashes;
            }
            '"' => {
                let start = i + 1;
                i = start;
                while i < chars.len() && at(i) != '"' {
                    i += 1 + usize::from(at(i) == '\\');
                }
                text.strings.push(chars[start..i.min(chars.len())].iter().collect());
                text.code.push_str("\"\"");
                i += 1;
            }
            // A character, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += 2 + usize::from(at(i + 1) == '\\');
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                text.code.push_str("' '");
                i += 1;
            }
            other => {
                text.code.push(other);
                i += 1;
            }
        }
    }
    text
}

/// The code without its tests, and the names of the test modules that are files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut kept, mut files) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let body = item.find('{').unwrap_or(item.len());
        let end = item.find(';').unwrap_or(item.len());
        if end < body {
            if let Some(name) = item[..end].split_whitespace().skip_while(|word| *word != "mod").nth(1) {
                files.push(name.to_owned());
            }
            rest = &item[end..];
            continue;
        }
        let mut depth = 0_usize;
        let close = item[body..].char_indices().find_map(|(i, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(body + i + 1)
        });
        rest = &item[close.unwrap_or(item.len())..];
    }
    kept.push_str(rest);
    (kept, files)
}

/// Identifiers and punctuation, `::` as one.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The top modules named by paths from the crate's root; `depth` is how many modules down the file is.
fn edges(code: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(code);
    let at = |i: usize| tokens.get(i).copied().unwrap_or_default();
    let mut found = BTreeSet::new();
    for i in 0..tokens.len() {
        if i > 0 && at(i - 1) == "::" {
            continue;
        }
        let mut next = i;
        while at(next) == "super" && at(next + 1) == "::" {
            next += 2;
        }
        let root = if at(i) == "crate" && at(i + 1) == "::" {
            i + 2
        } else if depth > 0 && (next - i) / 2 >= depth {
            next
        } else {
            continue;
        };
        if at(root) != "{" {
            found.insert(at(root).to_owned());
            continue;
        }
        let mut open = 0;
        for j in root.. {
            match at(j) {
                "{" => open += 1,
                "}" => open -= 1,
                "" => break,
                name if open == 1 && matches!(at(j - 1), "{" | ",") => {
                    found.insert(name.to_owned());
                }
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
    }
    found
}

/// One file that is no test.
struct File {
    path: PathBuf,
    /// The top module it belongs to.
    module: String,
    depth: usize,
    is_database: bool,
    text: Text,
}

/// All files under `root`, tests left out.
fn files(root: &Path) -> Vec<File> {
    fn visit(root: &Path, folder: &Path, out: &mut Vec<File>, tests: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, out, tests);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(root).unwrap().with_extension("");
                let names: Vec<_> = inside.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
                let mut text = lex(&fs::read_to_string(&path).unwrap());
                let (code, test_files) = without_tests(&text.code);
                text.code = code;
                let folder = path.with_extension("");
                tests.extend(test_files.iter().map(|name| folder.join(name)));
                let is_root = matches!(inside.to_str(), Some("lib" | "main"));
                let depth = if is_root { 0 } else { names.len() };
                let is_database = inside.starts_with(DATABASE);
                out.push(File { path, module: names[0].clone(), depth, is_database, text });
            }
        }
    }
    let (mut found, mut tests) = (Vec::new(), BTreeSet::new());
    visit(root, root, &mut found, &mut tests);
    found.retain(|file| !tests.iter().any(|test| file.path.with_extension("").starts_with(test)));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn ours() -> Vec<File> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// What the table forbids.
fn violations(files: &[File]) -> Vec<String> {
    let table: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.depth > 0) {
        let Some(allowed) = table.get(file.module.as_str()) else {
            wrong.push(format!("{}: `{}` is not in the table", file.path.display(), file.module));
            continue;
        };
        for used in edges(&file.text.code, file.depth) {
            let known = table.contains_key(used.as_str());
            let fine = used == file.module || allowed.contains(&used.as_str()) || *allowed == ANY;
            if known && !fine {
                wrong.push(format!("{}: `{}` may not use `{used}`", file.path.display(), file.module));
            }
        }
        if PURE.contains(&file.module.as_str()) && !NOT_PURE.iter().any(|path| file.path.ends_with(path)) {
            let tokens = tokens(&file.text.code);
            for path in tokens.windows(3).filter(|path| path[0] == "clock" && path[1] == "::") {
                if READS_TIME.contains(&path[2]) {
                    wrong.push(format!(
                        "{}: `{}` is pure and may not use `clock::{}`",
                        file.path.display(),
                        file.module,
                        path[2]
                    ));
                }
            }
            for used in roots(&file.text.code).filter(|used| IMPURE.contains(used)) {
                wrong.push(format!(
                    "{}: `{}` is pure and may not use `{used}`",
                    file.path.display(),
                    file.module
                ));
            }
        }
        if file.module == "watch" {
            let tokens = tokens(&file.text.code);
            for path in tokens.windows(3).filter(|path| path[0] == "config" && path[1] == "::") {
                if path[2] != "WatchConfig" {
                    wrong.push(format!("{}: `watch` may not use `config::{}`", file.path.display(), path[2]));
                }
            }
        }
        if file.module != "cli" && roots(&file.text.code).any(|used| used == "anyhow") {
            wrong.push(format!("{}: `anyhow` is for `cli` only", file.path.display()));
        }
        if !file.is_database {
            for string in file.text.strings.iter().filter(|string| is_sql(string)) {
                wrong.push(format!("{}: SQL is for `{DATABASE}` only: {string}", file.path.display()));
            }
            if roots(&file.text.code).any(|used| used == "rusqlite") {
                wrong.push(format!("{}: `rusqlite` is for `{DATABASE}` only", file.path.display()));
            }
        }
    }
    wrong
}

/// The first names of paths: crates, modules and types.
fn roots(code: &str) -> impl Iterator<Item = &str> {
    let tokens = tokens(code);
    let first = (0..tokens.len())
        .filter(|i| tokens.get(i + 1) == Some(&"::") && (*i == 0 || tokens[i - 1] != "::"))
        .map(|i| tokens[i])
        .collect::<Vec<_>>();
    first.into_iter()
}

fn is_sql(string: &str) -> bool {
    const STATEMENTS: &[(&str, &str)] = &[
        ("SELECT ", " FROM "),
        ("INSERT ", " INTO "),
        ("UPDATE ", " SET "),
        ("DELETE ", " FROM "),
        ("CREATE ", "TABLE "),
        ("PRAGMA ", ""),
    ];
    let flat = string.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    STATEMENTS.iter().any(|(begin, then)| {
        flat.find(begin)
            .is_some_and(|at| flat.get(at + begin.len() - 1..).is_some_and(|rest| rest.contains(then)))
    })
}

#[test]
fn modules_use_what_the_table_allows() {
    let files = ours();
    assert!(files.len() > 100, "{}", files.len());
    let wrong = violations(&files);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn an_injected_violation_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod engine; pub mod store;");
    write(
        "signal.rs",
        "use super::store::Store; // crate::web::no\n#[cfg(test)]\nmod tests { use crate::app::x; }",
    );
    write(
        "engine.rs",
        "use crate::{\n    clock, message::{self, Reason},\n    outbox::Outbox,\n};\n#[cfg(test)] mod tests;",
    );
    write("engine/tests.rs", "use crate::cli::main;");
    write(
        "engine/step.rs",
        "fn f() { let q = '\"'; let s = \"crate::web\"; tokio::spawn(super::super::web::x()); crate::clock::now(); }",
    );
    write(
        "web.rs",
        "use anyhow::Context; const Q: &str = r#\"SELECT a\n  FROM \"b\"\"#; const NO: &str = \"INSERT coin\";",
    );
    write("watch.rs", "use crate::config::WatchConfig; use crate::config::Receiver;");
    write("store.rs", "use rusqlite::Connection; mod sqlite;");
    write("store/sqlite.rs", "use rusqlite::Connection; const Q: &str = \"SELECT a FROM b\";");
    write("store/sqlite/rows.rs", "const Q: &str = \"SELECT a FROM b\";");
    write("extra.rs", "");
    let wrong: Vec<_> = violations(&files(folder.path()))
        .iter()
        .map(|line| line.split('/').skip_while(|part| !part.contains(".rs: ")).collect::<Vec<_>>().join("/"))
        .collect();
    assert_eq!(
        wrong,
        [
            "step.rs: `engine` may not use `web`",
            "step.rs: `engine` is pure and may not use `clock::now`",
            "step.rs: `engine` is pure and may not use `tokio`",
            "engine.rs: `engine` may not use `outbox`",
            "extra.rs: `extra` is not in the table",
            "signal.rs: `signal` may not use `store`",
            "store.rs: `rusqlite` is for `store/sqlite` only",
            "watch.rs: `watch` may not use `config::Receiver`",
            "web.rs: `anyhow` is for `cli` only",
            "web.rs: SQL is for `store/sqlite` only: SELECT a\n  FROM \"b\"",
        ]
    );
}
