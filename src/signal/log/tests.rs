use super::*;
use crate::signal::redact::MASK;

const FROM: &str = "2026-11-21T08:30:36Z";
const TO: &str = "2026-11-21T08:30:37Z";

fn span() -> Span {
    Span { from: FROM.parse().unwrap(), to: TO.parse().unwrap() }
}

/// Lines as the kubelet writes them, all of the run.
fn stamped(text: &str) -> String {
    let lines: Vec<String> =
        text.split('\n').map(|line| format!("2026-11-21T08:30:36.273464295Z {line}\n")).collect();
    lines.concat()
}

fn tail_of(text: &str, wanted: LogTail) -> Result<String, NoTail> {
    read(stamped(text).as_bytes(), false, span(), wanted, &Redactor::default()).map(|t| t.to_string())
}

fn tail(text: &str) -> String {
    tail_of(text, LogTail::default()).unwrap()
}

#[test]
fn the_last_lines_without_their_times() {
    assert_eq!(tail("loading\npanic: no config"), "loading\npanic: no config");
    let many: Vec<String> = (1..=90).map(|n| format!("line {n}")).collect();
    let shown = tail(&many.join("\n"));
    assert_eq!(shown.lines().count(), 20);
    assert!(shown.starts_with("line 71\n") && shown.ends_with("line 90"), "{shown}");
    // Empty lines inside stay, those around do not.
    assert_eq!(tail("\na\n\nb\n"), "a\n\nb");
}

#[test]
fn limits_cut_with_a_mark_and_keep_the_end() {
    let wanted = LogTail { lines: 20, bytes: 100 };
    let text = "the first of three lines, which is too much\nthe second line, which is as long as the first is\nthe last line";
    assert_eq!(
        tail_of(text, wanted).unwrap(),
        "…\nthe second line, which is as long as the first is\nthe last line"
    );
    for bytes in [100, 300, 2048, 4000] {
        for text in ["ü".repeat(9000), "word ".repeat(2000), vec!["ä line of text"; 500].join("\n")] {
            let shown = tail_of(&text, LogTail { lines: 100, bytes }).unwrap();
            assert!(shown.len() <= usize::try_from(bytes).unwrap(), "{bytes}: {}", shown.len());
            assert!(shown.contains(CUT) || shown.lines().count() == 100, "{bytes}: {shown}");
        }
    }
    // One huge line leaves room for the others, and keeps its beginning.
    let shown = tail(&format!("starting\nquery {}\nexit", "xxx ".repeat(3000)));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!((lines[0], lines[2]), ("starting", "exit"));
    assert!(lines[1].starts_with("query xxx") && lines[1].ends_with(CUT) && lines[1].len() <= 512);
}

#[test]
fn another_run_is_not_shown() {
    let read = |stamp: &str| {
        let line = format!("{stamp} panic\n{stamp} more\n");
        read(line.as_bytes(), false, span(), LogTail::default(), &Redactor::default())
    };
    for own in ["2026-11-21T08:30:35.9Z", "2026-11-21T08:30:36Z", "2026-11-21T08:30:37.999999999Z"] {
        assert_eq!(&*read(own).unwrap(), "panic\nmore", "{own}");
    }
    // The run that began meanwhile, and the one before.
    for other in ["2026-11-21T08:30:38Z", "2026-11-21T08:30:47.1Z", "2026-11-21T08:30:26.5Z"] {
        assert_eq!(read(other), Err(NoTail::OtherRun), "{other}");
    }
    let shifted = read("2026-11-21T10:30:36.5+02:00");
    assert_eq!(&*shifted.unwrap(), "panic\nmore");
}

#[test]
fn what_is_no_log_is_not_shown() {
    let raw = |text: &str| read(text.as_bytes(), false, span(), LogTail::default(), &Redactor::default());
    assert_eq!(raw("unable to retrieve container logs for containerd://aa4a493af8a2"), Err(NoTail::NoLog));
    assert_eq!(raw("<html>a proxy</html>\n"), Err(NoTail::NoLog));
    assert_eq!(raw(""), Err(NoTail::Empty));
    assert_eq!(raw("2026-11-21T08:30:36Z \n2026-11-21T08:30:36Z\n"), Err(NoTail::Empty));
    assert_eq!(tail_of("\u{1b}[0m\n\u{200b}", LogTail::default()), Err(NoTail::Empty));
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let mut bytes = b"2026-11-21T08:30:36Z a\xff\xfeb\0c\n".to_vec();
    bytes.extend(b"2026-11-21T08:30:36Z \xf0\x9f");
    let shown = read(&bytes, false, span(), LogTail::default(), &Redactor::default()).unwrap();
    assert_eq!(&*shown, "a\u{fffd}\u{fffd}bc\n\u{fffd}");
}

#[test]
fn what_does_not_show_is_taken_out() {
    for (raw, shown) in [
        ("\u{1b}[1;31mred\u{1b}[0m", "red"),
        ("\u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{7}!", "link!"),
        ("\u{9b}31mred\u{1b}(B\u{1b}=x", "redx"),
        ("a\u{1b}]0;a title that never ends\nb", "a\nb"),
        ("10%\r50%\r100%\r\ndone", "10%\n50%\n100%\ndone"),
        ("a\u{200b}b\u{202e}c\u{8}d\u{0}e\u{ad}f", "abcdef"),
        ("tab\tstays ü 🎉", "tab\tstays ü 🎉"),
        ("\u{1b}", ""),
        ("\u{1b}[", ""),
        ("\u{1b}[31", ""),
        ("x\u{1b}P1;2|secret", "x"),
    ] {
        assert_eq!(plain(raw), shown, "{raw:?}");
    }
}

#[test]
fn no_secret_is_left() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5NXgL0n3I9P";
    for (text, secret) in [
        (format!("got {jwt}"), "dozjgNry"),
        ("connecting to postgres://app:hunter2@db:5432/shop".into(), "hunter2"),
        ("DB_PASSWORD=hunter2".into(), "hunter2"),
        ("key AKIAIOSFODNN7EXAMPLE".into(), "IOSFODNN"),
        // Colours, and characters that do not show, inside.
        ("DB_PASS\u{1b}[31mWORD=\u{1b}[0mhun\u{1b}[1mter2".into(), "ter2"),
        ("key AKIA\u{200b}IOSFODNN7\u{1b}]0;x\u{7}EXAMPLE".into(), "IOSFODNN"),
        ("token eyJhbGciOiJI\u{0}UzI1NiJ9.eyJz\u{8}dWIiOiIxIn0.dozjgNryP4J3".into(), "dozjgNry"),
    ] {
        let shown = tail(&text);
        assert!(!shown.contains(secret) && shown.contains(MASK), "{shown}");
    }
}

const KEY: [&str; 4] = [
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
    "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu",
    "NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ",
    "qgtzJ6GR3eqoYSW9b9UMvkBpZODSctWSNGj3P7jRFDO5",
];

#[test]
fn a_key_is_masked_whole_or_in_part() {
    let begin = "-----BEGIN PRIVATE KEY-----";
    let end = "-----END PRIVATE KEY-----";
    let key = KEY.join("\n");
    for text in [
        format!("loaded:\n{begin}\n{key}\n{end}\npanic"),
        format!("loaded:\n{begin}\n{key}"),
        format!("{key}\n{end}\npanic"),
        format!("{}\n{end}\npanic", KEY[3]),
        format!("{key}\npanic: x"),
        key.clone(),
        KEY[1..].join("\n"),
        KEY.map(|line| format!("2026-11-21 INFO key: {line}")).join("\n"),
        KEY.map(|line| format!("  \"{line}\\n\",")).join("\n"),
        format!("{}\nqgtzJ6GR3e==", KEY[0]),
        // In one line.
        format!("key=\"{begin}\\n{}\\n{end}\\n\"", KEY.join("\\n")),
    ] {
        let shown = tail(&text);
        for line in KEY {
            assert!(!shown.contains(line.get(..12).unwrap()), "{text}\n→\n{shown}");
        }
        assert!(shown.contains(MASK), "{text}\n→\n{shown}");
        assert_eq!(text.contains("panic"), shown.contains("panic"), "{text}\n→\n{shown}");
    }
}

#[test]
fn a_key_that_began_before_the_lines_shown_is_masked() {
    let rest = vec!["waiting"; 18].join("\n");
    let text =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n{rest}", KEY.join("\n"));
    let shown = tail(&text);
    assert_eq!(shown.lines().count(), 19, "masked as one: {shown}");
    assert!(!shown.contains("MIIE"), "{shown}");
}

#[test]
fn a_line_whose_beginning_was_dropped_is_not_shown() {
    // The second half of a token looks like nothing in particular.
    let mut bytes = b"3jVmNHl0w5N-rest-of-a-token\n".to_vec();
    bytes.extend(stamped("panic").bytes());
    let shown = read(&bytes, true, span(), LogTail::default(), &Redactor::default()).unwrap();
    assert_eq!(&*shown, "panic");
    let one = read(b"rest of one huge line", true, span(), LogTail::default(), &Redactor::default());
    assert_eq!(one, Err(NoTail::NoLog));
}

#[test]
fn ones_own_patterns_are_applied() {
    let own = Redactor::new(vec![redact::compile("cust-[0-9]+").unwrap()]);
    let shown =
        read(stamped("order of cust-4711 failed").as_bytes(), false, span(), LogTail::default(), &own);
    assert_eq!(&*shown.unwrap(), "order of [masked] failed");
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "pulled registry.example.com/shop/checkout@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "  at github.com/Example/Shop1/internal/checkout/handlers/payments.go:42",
        "Caused by: com.example.shop.checkout.internal.PaymentGatewayAutoConfiguration$InnerBean2",
        "open /usr/local/lib/python3/site-packages/ShopCheckout/Handlers/PaymentGateway7",
        "panic: runtime error: invalid memory address or nil pointer dereference",
        "-----BEGIN CERTIFICATE----- expected",
    ] {
        assert_eq!(tail(text), text);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_within_the_limits(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
        cut: bool,
        lines in 1_u32..100,
        max in LogTail::MIN_BYTES..=LogTail::MAX_BYTES,
    ) {
        let wanted = LogTail { lines, bytes: max };
        if let Ok(shown) = read(&bytes, cut, span(), wanted, &Redactor::default()) {
            assert!(shown.len() <= usize::try_from(max).unwrap());
        }
        let mut whole = Vec::new();
        for line in bytes.split(|b| *b == b'\n') {
            whole.extend(b"2026-11-21T08:30:36Z ");
            whole.extend(line);
            whole.push(b'\n');
        }
        if let Ok(shown) = read(&whole, cut, span(), wanted, &Redactor::default()) {
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
            assert!(shown.lines().count() <= usize::try_from(lines).unwrap() + 1);
        }
    }
}
