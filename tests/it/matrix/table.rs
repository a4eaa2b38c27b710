//! The one table of outcomes: what each bad receiver comes to. docs/delivery.md shows it, and a test
//! compares the two.

use kubeherald::notify::Outcome;

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Delivered,
    /// Tried again when the outbox thinks fit.
    Retry,
    /// Tried again, and nothing else sent before, after so many seconds.
    After(u64),
    /// The receiver as such takes nothing: held longer and longer.
    Refused,
    Reject,
}

impl End {
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Delivered { .. } => Self::Delivered,
            Outcome::Retry { after: None, .. } => Self::Retry,
            Outcome::Retry { after: Some(after), .. } => {
                assert_eq!(after.subsec_nanos(), 0);
                Self::After(after.as_secs())
            }
            Outcome::Refused { .. } => Self::Refused,
            Outcome::Reject { .. } => Self::Reject,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Delivered => String::from("delivered"),
            Self::Retry => String::from("retry"),
            Self::After(3600) => String::from("retry, held 1 h"),
            Self::After(seconds) => format!("retry, held {seconds} s"),
            Self::Refused => String::from("refused"),
            Self::Reject => String::from("reject"),
        }
    }
}

/// A line of the table: a case, what it comes to in each column, and what is said of it. In a reason
/// `…` stands for anything.
#[derive(Debug, Clone)]
pub struct Line {
    pub case: &'static str,
    pub ends: Vec<End>,
    pub reason: String,
}

impl Line {
    fn markdown(&self) -> String {
        // One word where all columns agree would hide that they were all tried.
        let ends: Vec<String> = self.ends.iter().map(|end| end.words()).collect();
        let reason = match self.reason.as_str() {
            "" => String::new(),
            with if with.contains('`') => format!("`` {with} ``"),
            other => format!("`{other}`"),
        };
        format!("| {} | {} | {reason} |\n", self.case, ends.join(" | "))
    }
}

/// A table as docs/delivery.md shows it.
pub fn markdown(columns: &[&str], lines: &[Line]) -> String {
    let head = format!("| the other side | {} | the reason given |\n", columns.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(columns.len() + 2));
    head + &rule + &lines.iter().map(Line::markdown).collect::<String>()
}

/// Is the text what the pattern says? `…` is anything, and not nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (n, part) in parts.iter().enumerate() {
        let last = n + 1 == parts.len();
        let found = if last && part.is_empty() {
            return !rest.is_empty();
        } else if last {
            rest.strip_suffix(part).filter(|before| !before.is_empty()).map(|_| "")
        } else {
            rest.char_indices().skip(1).find_map(|(at, _)| rest[at..].strip_prefix(part))
        };
        let Some(found) = found else { return false };
        rest = found;
    }
    rest.is_empty()
}

#[test]
fn patterns() {
    for (pattern, text, fits) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a…", "abc", true),
        ("a…", "a", false),
        ("a…c", "abc", true),
        ("a…c", "ac", false),
        ("a…c…e", "abcde", true),
        ("a…c…e", "abde", false),
        ("…", "x", true),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}

/// A reason may be shown to anybody who reads the log: nothing of an address but its host, and no key.
pub fn shows_no_secret(reason: &str) -> bool {
    !["s3cr3t", "/hook", "token=", "xoxb", "0123456789abcdef", "hunter2"]
        .iter()
        .any(|bad| reason.contains(bad))
}

/// Compares with what stands between `<!-- name -->` and `<!-- end -->` in docs/delivery.md.
#[track_caller]
pub fn is_documented(name: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/delivery.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mark = format!("<!-- {name} -->\n");
    let (before, rest) =
        text.split_once(&mark).unwrap_or_else(|| panic!("{mark} is not in docs/delivery.md"));
    let (shown, after) = rest.split_once("<!-- end -->").expect("an end mark");
    if shown != table && std::env::var_os("KUBEHERALD_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{mark}{table}<!-- end -->{after}")).unwrap();
        return;
    }
    assert_eq!(shown, table, "docs/delivery.md: KUBEHERALD_TEST_WRITE_DOCS=1 brings it up to date");
}
