//! What people get wrong in files and on the command line, and what they are told: one mistake, one text,
//! with what to write instead.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the binary in `dir`: exit code and what it wrote to standard error.
fn said(dir: &Path, variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
    let output = command.current_dir(dir).args(args).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What `check` says of a file with this text, with the count of errors that it ends with.
fn check(text: &str, errors: usize, parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.yaml"), text).unwrap();
    let (code, said) = said(dir.path(), &[], &["check", "k.yaml"]);
    let s = if errors == 1 { "" } else { "s" };
    assert_eq!(code, Some(1), "{text}\n{said}");
    assert!(said.contains(&format!("{errors} error{s}, 0 warnings")), "{text}\n{said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} for\n{text}\n{said}");
    }
}

#[test]
fn a_channel_that_became_a_comment() {
    let help = "`#` begins a comment: write `\"#alerts\"`, in quotes";
    check(
        "receivers:\n  oncall:\n    slack:\n      token: {env: T}\n      channel: #alerts\n",
        1,
        &["expected a channel, found nothing", help, "k.yaml:5:"],
    );
    check(
        "receivers:\n  oncall:\n    slack: {token: {env: T}, channel: #alerts}\nroutes: [{receivers: [oncall]}]\n",
        1,
        &["a comment begins here", "k.yaml:3:39\n", help],
    );
    check("cluster: #prod\n", 1, &["expected a text, found nothing", "write `\"#prod\"`, in quotes"]);
}

#[test]
fn a_misspelt_key_is_one_mistake() {
    let slack = "slack: {token: {env: T}, channel: \"#a\"}";
    check(
        &format!("recievers: {{a: {{{slack}}}}}\nroutes: [{{receivers: [a]}}]\n"),
        1,
        &["unknown key `recievers` in the configuration", "did you mean `receivers`?"],
    );
    check(
        &format!("receivers: {{a: {{{}}}}}\n", slack.replace("slack", "slakc")),
        1,
        &["unknown key `slakc` in a receiver", "did you mean `slack`?"],
    );
    check(
        &format!("receivers: {{a: {{{slack}}}}}\nroutes: [{{recievers: [a]}}]\n"),
        1,
        &["unknown key `recievers` in a route", "did you mean `receivers`?"],
    );
    check("receivers: {a: {slack: {webhok_url: {env: T}}}}\n", 1, &["did you mean `webhook_url`?"]);
    check("receivers: {a: {slack: {token: {evn: T}, channel: x}}}\n", 1, &["did you mean `env`?"]);
    check(
        "receivers: {a: {slack: {tokn: {env: T}, chanel: x}}}\n",
        2,
        &["did you mean `token`?", "did you mean `channel`?"],
    );
    check(
        "receivers: {a: {email: {from: a@b.c, to: a@b.c, smtp: {host: h, username: u, pasword: {env: P}}}}}\n",
        1,
        &["did you mean `password`?"],
    );
    // A key that is missing and nothing that looks like it: that is said.
    check(
        "receivers: {a: {slack: {token: {env: T}, colour: x}}}\n",
        2,
        &["`channel` is missing", "`colour`"],
    );
}

#[test]
fn causes_are_found_by_how_they_begin() {
    for (written, meant) in [
        ("CrashLoop", "CrashLoopBackOff"),
        ("OOM", "OOMKilled"),
        ("ImagePull", "ImagePullBackOff"),
        ("evict", "Evicted"),
    ] {
        check(
            &format!("rules: [{{name: a, match: {{cause: {written}}}}}]\n"),
            1,
            &[&format!("`{written}` is not a cause"), &format!("did you mean `{meant}`?")],
        );
    }
}

#[test]
fn rules_in_the_wrong_shape() {
    let list = "expected a list of rules, found a mapping";
    check(
        "rules:\n  name: a\n  match: {cause: Evicted}\n",
        1,
        &[list, "each item of a list begins with `- `"],
    );
    check("rules:\n  a: {match: {cause: Evicted}}\n", 1, &[list]);
    check(
        "cluster: x\nrules:\n  - {name: a, match: {cause: Evicted}}\n",
        1,
        &[
            "expected where rules are, found a list",
            "rules are written in files of their own: `rules: {dir: rules}`",
        ],
    );
    check(
        "rules: [{name: a, match: {cause: Evicted}, runbook: see the wiki}]\n",
        1,
        &["expected an `http://` or `https://` address, found `see the wiki`"],
    );
}

#[test]
fn tabs_are_seen() {
    check(
        "rules:\n  - name: a\n\tmatch: {}\n",
        1,
        &["a tab cannot indent YAML", "k.yaml:3:1", "3 | →match: {}\n  | ^", "`→` is a tab: write spaces"],
    );
    check(
        "rules:\n  - {name: a,\tmatch: {cause: CrashLop}}\n",
        1,
        &["{name: a,→match: {cause: CrashLop}}\n  |                            ^^^^^^^^"],
    );
}

#[test]
fn nothing_to_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("none")).unwrap();
    std::fs::write(dir.path().join("empty.yaml"), "\n").unwrap();
    std::fs::write(dir.path().join("comment.yaml"), "# rules: []\n").unwrap();
    for (args, code, part) in [
        (&["check", "none"][..], 1, "there is no file to check in this directory"),
        (&["check", "empty.yaml"], 1, "this file is empty"),
        (&["check", "comment.yaml"], 0, "warning: this file configures nothing: it holds only comments"),
        (&["run", "-c", "empty.yaml"], 1, "this file is empty"),
        (&["run", "-r", "empty.yaml"], 1, "this file is empty"),
        (&["run", "-c", "none"], 1, "this is a directory: name a file in it"),
        (&["run", "-c", "gone.yaml"], 1, "there is no such file or directory"),
        (&["check", "gone.yaml"], 1, "there is no such file or directory"),
    ] {
        let (ended, said) = said(dir.path(), &[], args);
        assert_eq!(ended, Some(code), "{args:?} {said}");
        assert!(said.contains(part) && !said.contains("os error"), "{args:?} {said}");
    }
}

#[test]
fn a_missing_secret_is_shown_where_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = "receivers:\n  a:\n    slack:\n      token: {file: token}\n      channel: \"#a\"\n  b: {webhook: {url: {env: B_URL}}}\n";
    std::fs::write(dir.path().join("k.yaml"), text).unwrap();
    let frame = "warning: cannot read token: No such file or directory\n --> k.yaml:4:14\n  |\n4 |       token: {file: token}\n";
    let other = "environment variable B_URL is not set";
    let (code, send) = said(dir.path(), &[], &["send", "a", "-c", "k.yaml"]);
    assert_eq!(code, Some(1));
    assert!(send.contains(frame) && !send.contains(other), "only what this receiver needs: {send}");
    let (_, run) = said(dir.path(), &[], &["run", "-c", "k.yaml"]);
    assert!(run.contains(frame) && run.contains(other), "{run}");
    // Where `check` runs secrets need not be.
    let (code, check) = said(dir.path(), &[], &["check", "k.yaml"]);
    assert!(code == Some(0) && !check.contains("cannot read"), "{check}");
}

#[test]
fn refused_connections_name_host_and_port() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "receivers:\n  hook: {{webhook: {{url: \"http://{free}/hunter2\"}}}}\n  slack: {{slack: {{token: {{env: T}}, channel: x, api_url: \"http://{free}\"}}}}\n  secret: {{slack: {{webhook_url: {{env: U}}}}}}\n  mail: {{email: {{from: a@b.c, to: a@b.c, smtp: {{host: 127.0.0.1, port: {}, tls: none}}}}}}\n",
        free.port()
    );
    std::fs::write(dir.path().join("k.yaml"), text).unwrap();
    let url = format!("http://{free}/services/hunter2");
    let (code, all) =
        said(dir.path(), &[("T", "xoxb-hunter2"), ("U", &url)], &["send", "--all", "-c", "k.yaml"]);
    assert_eq!(code, Some(1), "{all}");
    for name in ["hook", "slack", "secret", "mail"] {
        let line =
            all.lines().find(|line| line.starts_with(&format!("error: `{name}`:"))).unwrap_or_default();
        let part = format!("cannot connect to {free}: Connection refused – nothing listens there");
        assert!(line.contains(&part), "{name}: {all}");
    }
    assert!(!all.contains("hunter2") && !all.contains("os error"), "{all}");
    assert!(all.contains("4 of 4 receivers took no message"), "{all}");
}

#[test]
fn a_word_that_is_no_log_level() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["nonsense", "verbose", "info,loud"] {
        let (code, said) = said(dir.path(), &[("KUBEHERALD_LOG", wrong)], &["run"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("is not a log level: write one of error, warn, info, debug"), "{said}");
    }
}

#[test]
fn a_receiver_that_the_outbox_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let text = "receivers: {oncall: {webhook: {url: \"http://127.0.0.1:9\"}}, mail: {webhook: {url: \"http://127.0.0.1:9\"}}}\nstore: {path: state.db}\n";
    std::fs::write(dir.path().join("k.yaml"), text).unwrap();
    drop(kubeherald::store::Store::open(&dir.path().join("state.db")).unwrap());
    for action in ["resend", "drop"] {
        let (code, near) =
            said(dir.path(), &[], &["outbox", action, "--all", "--receiver", "oncal", "-c", "k.yaml"]);
        assert_eq!(code, Some(1));
        assert!(near.contains("there is no receiver named `oncal`: did you mean `oncall`?"), "{near}");
    }
    let (code, list) = said(dir.path(), &[], &["outbox", "list", "--receiver", "nobody", "-c", "k.yaml"]);
    assert_eq!(code, Some(1));
    assert!(list.contains("the receivers are `mail` and `oncall`"), "{list}");
    let (code, list) = said(dir.path(), &[], &["outbox", "list", "--receiver", "mail", "-c", "k.yaml"]);
    assert_eq!((code, list.as_str()), (Some(0), ""));
}
