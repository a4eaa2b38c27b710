//! `kubeherald status`, `silence add` and the page `/`, beside a bot that watches the simulated API server; and
//! commands that are printed, as they are pasted.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use kubeherald::testkit::builders::{namespace, pod};
use kubeherald::testkit::receivers::Reply;
use serde_json::{Value, json};

use crate::silences::{Bot, Cluster, TOKEN, crashing, text};
use crate::support::until;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary in the directory of the bot's configuration.
async fn kubeherald(dir: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().current_dir(dir).args(args).stdin(Stdio::null());
    ended(command).await
}

/// Runs a line as a shell does.
async fn pasted(dir: &Path, line: &str) -> Ended {
    let line = line.replacen("kubeherald", env!("CARGO_BIN_EXE_kubeherald"), 1);
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(dir)
        .args(["-c", &line])
        .stdin(Stdio::null());
    ended(command).await
}

async fn ended(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{out}{err}");
    assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "{out}{err}");
    Ended { code: output.status.code().unwrap(), out, err }
}

/// The configuration with the port that the bot listens on.
fn config_with_port(cluster: &Cluster, bot: &Bot) {
    let path = cluster.dir.path().join("kubeherald.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("127.0.0.1:0", &bot.address.to_string());
    std::fs::write(cluster.dir.path().join("my bot.yaml"), text).unwrap();
}

const CONFIG: [&str; 2] = ["-c", "my bot.yaml"];

async fn get(bot: &Bot, authorization: Option<&str>) -> (u16, String, String) {
    let mut request = reqwest::Client::new().get(format!("http://{}/", bot.address));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.unwrap();
    let headers = format!("{:?}", answer.headers());
    (answer.status().as_u16(), headers, text(answer).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_is_shown_with_why_it_is_silent_and_what_is_wrong() {
    let cluster = Cluster::new("").await;
    cluster.apply(namespace("other").annotation("kubeherald.io/mute", "yes"));
    cluster.apply(namespace("third").annotation("kubeherald.io/silence-untill", "2999-01-01T00:00:00Z"));
    let bot = cluster.start().await;
    config_with_port(&cluster, &bot);
    let dir = cluster.dir.path();
    let none = kubeherald(dir, &[&["status"][..], &CONFIG].concat()).await;
    assert_eq!((none.code, none.err.as_str()), (0, ""), "{}", none.out);
    assert!(none.out.starts_with("lab: nothing is open at "), "{}", none.out);

    cluster.hook.next(Reply::status(500, "not now"));
    cluster.apply(crashing("a"));
    until("told", async || !cluster.told().is_empty()).await;
    let silence = kubeherald(
        dir,
        &[&["silence", "add", "pod/b", "-n", "shop", "--for", "2h", "--comment", "known"][..], &CONFIG]
            .concat(),
    )
    .await;
    assert_eq!(silence.code, 0, "{}", silence.err);
    assert!(silence.err.contains("warning: nothing that is open now matches it"), "{}", silence.err);
    cluster.apply(crashing("b").namespace("shop"));
    let list = async || -> Value {
        let found = kubeherald(dir, &[&["incidents", "-o", "json"][..], &CONFIG].concat()).await;
        assert_eq!(found.code, 0, "{}", found.err);
        serde_json::from_str(&found.out).unwrap()
    };
    until("both are open", async || list().await["incidents_total"] == 2).await;
    until("one is silenced", async || {
        let found = list().await;
        found["incidents"].as_array().unwrap().iter().any(|i| i["state"] == "silenced")
    })
    .await;
    let found = list().await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&found),
        "annotations annotations_total asked_at checks cluster critical incidents incidents_total info receivers \
         synced warning"
    );
    let silent = found["incidents"].as_array().unwrap().iter().find(|i| i["state"] == "silenced").unwrap();
    assert_eq!(
        keys(silent),
        "cause container explains held_back incident last_seen members_total namespace notified occurrences \
         replicas rule severity since size state title workload"
    );
    assert_eq!(silent["held_back"]["reason"], "silenced_by");
    assert_eq!(silent["held_back"]["comment"], "known");
    let docs =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md")).unwrap();
    for key in
        keys(&found).split(' ').chain(keys(silent).split(' ')).chain(keys(&silent["held_back"]).split(' '))
    {
        assert!(docs.contains(&format!("`{key}`")), "docs/commands.md does not tell of `{key}`");
    }
    let mistakes: Vec<_> =
        found["annotations"].as_array().unwrap().iter().map(|m| m["problem"].as_str().unwrap()).collect();
    assert_eq!(
        mistakes,
        ["expected \"true\" or \"false\"", "unknown annotation: did you mean `kubeherald.io/silence-until`?"]
    );

    let shown = kubeherald(dir, &[&["status"][..], &CONFIG].concat()).await;
    for part in [
        "lab: 2 open incidents (",
        "Pod/a",
        "silenced until ",
        ": known",
        "annotations that do nothing",
        "kubeherald.io/mute of Namespace/other is \"yes\": expected",
    ] {
        assert!(shown.out.contains(part), "{part:?}: {}", shown.out);
    }
    // What explain says of it agrees.
    let explained = kubeherald(dir, &[&["explain", "pod/b", "-n", "shop"][..], &CONFIG].concat()).await;
    assert!(explained.out.contains("  state    silenced"), "{}", explained.out);
    bot.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_takes_what_explain_takes_and_says_what_it_holds() {
    let cluster = Cluster::new("").await;
    let bot = cluster.start().await;
    config_with_port(&cluster, &bot);
    let dir = cluster.dir.path();
    let run = async |args: &[&str]| kubeherald(dir, &[args, &CONFIG].concat()).await;
    cluster.apply(crashing("a"));
    cluster.apply(crashing("a").namespace("stage"));
    until("told", async || cluster.told().len() == 2).await;

    let several = run(&["silence", "add", "pod/a", "--for", "2h"]).await;
    assert_eq!(several.code, 1);
    assert!(
        several.err.contains("in several namespaces (shop, stage): say which with -n"),
        "{}",
        several.err
    );
    let unknown = run(&["silence", "add", "checkout", "--for", "2h"]).await;
    assert!(
        unknown.code == 1 && unknown.err.contains("name its kind, such as deploy/NAME"),
        "{}",
        unknown.err
    );

    let added = run(&["silence", "add", "pod/a", "-n", "shop", "--for", "2h"]).await;
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    assert!(
        added.out.contains(": namespace=shop workload=Pod/a\nit holds 1 open incident now:\n  "),
        "{}",
        added.out
    );
    let line = added.out.lines().find_map(|line| line.split_once("end it with: ")).unwrap().1;
    assert!(line.ends_with(" -c 'my bot.yaml'"), "{line}");

    let listed = run(&["silence", "list"]).await;
    let lines: Vec<&str> = listed.out.lines().collect();
    assert!(
        lines.len() == 3 && lines[2].starts_with("  "),
        "the incident it holds stands below it: {}",
        listed.out
    );
    assert!(lines[2].contains("Pod/a"), "{}", listed.out);
    let explained = run(&["explain", "pod/a", "-n", "shop"]).await;
    assert!(explained.out.contains("\n  silence  silenced until "), "{}", explained.out);
    let status = run(&["status"]).await;
    assert!(status.out.contains("silenced until "), "{}", status.out);

    // What is printed works as it is pasted.
    let done = pasted(dir, line).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("ended: "), "{}", done.out);

    // An incident by its id: everything that would be in one with it.
    let open: Value = serde_json::from_str(&run(&["status", "-o", "json"]).await.out).unwrap();
    let incidents = open["incidents"].as_array().unwrap();
    let of_stage = incidents.iter().find(|incident| incident["namespace"] == "stage").unwrap();
    let id = of_stage["incident"].as_str().unwrap();
    let added = run(&["silence", "add", &format!("incident={id}"), "--for", "2h", "--format", "json"]).await;
    let added: Value = serde_json::from_str(&added.out).unwrap();
    assert_eq!(added["matches"], 1);
    assert_eq!(added["incidents"][0]["incident"], id);
    assert_eq!(
        added["match"],
        json!({ "rule": "crash-loop", "cause": "CrashLoopBackOff", "namespace": "stage", "workload": "Pod/a", "container": "app" })
    );
    let gone = run(&["silence", "add", "incident=zzzzzzzzzz", "--for", "2h"]).await;
    assert!(gone.code == 1 && gone.err.contains("there is no open incident `zzzzzzzzzz`"), "{}", gone.err);

    // One of several pods: the incident is not held, and that is said, with what holds it.
    let owned = |name: &str| {
        let pod = pod(name).owned_by_rs("web-1").node("worker-1");
        pod.last(3, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", "back-off").restarts(3)
    };
    cluster.apply(owned("web-1-x"));
    cluster.apply(owned("web-1-y"));
    until("told", async || cluster.told().len() >= 3).await;
    until("both pods are in it", async || {
        let open: Value = serde_json::from_str(&run(&["status", "-o", "json"]).await.out).unwrap();
        open["incidents"].as_array().unwrap().iter().any(|incident| incident["members_total"] == 2)
    })
    .await;
    let one = run(&["silence", "add", "pod/web-1-x", "-n", "shop", "--for", "2h"]).await;
    assert!(one.err.contains("others have the same problem"), "{}", one.err);
    let line = one.err.lines().find_map(|line| line.split_once("to silence that: ")).unwrap().1;
    let done = pasted(dir, line).await;
    assert!(done.code == 0 && done.out.contains("it holds 1 open incident now"), "{}{}", done.out, done.err);
    bot.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_is_open_to_whoever_knows_the_token() {
    let cluster = Cluster::new("").await;
    cluster.apply(namespace("shop").annotation("kubeherald.io/<script>alert(1)</script>", "x"));
    let bot = cluster.start().await;
    cluster.apply(crashing("a"));
    until("told", async || !cluster.told().is_empty()).await;
    let basic = |password: &str| {
        let given = base64::engine::general_purpose::STANDARD.encode(format!("anna:{password}"));
        format!("Basic {given}")
    };
    for wrong in [None, Some(basic("guess")), Some("Bearer guess".to_owned()), Some("Basic %%%".to_owned())] {
        let (status, headers, page) = get(&bot, wrong.as_deref()).await;
        assert_eq!(status, 401, "{wrong:?}");
        assert!(headers.contains("Basic realm="), "a browser asks for it: {headers}");
        assert!(!page.contains("Pod/a") && !page.contains("shop"), "{page}");
    }
    for right in [basic(TOKEN), format!("Bearer {TOKEN}")] {
        let (status, headers, page) = get(&bot, Some(&right)).await;
        assert_eq!(status, 200);
        assert!(headers.contains("default-src 'none'"), "{headers}");
        for part in [
            "lab: 1 open incident</h1>",
            "Pod/a",
            "shop · critical, since ",
            "width=device-width",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "{part:?}: {page}");
        }
        assert!(page.contains("kubeherald.io/&lt;script&gt;") && !page.contains("<script"), "{page}");
    }
    // What a browser sends with every request opens the page and nothing else.
    let client = reqwest::Client::new();
    let request = client.get(format!("http://{}/api/v1/silences", bot.address));
    let answer = request.header("authorization", basic(TOKEN)).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    bot.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bot_its_store_is_looked_into() {
    let cluster = Cluster::new("").await;
    let bot = cluster.start().await;
    config_with_port(&cluster, &bot);
    let dir = cluster.dir.path();
    cluster.apply(crashing("a"));
    until("told", async || !cluster.told().is_empty()).await;
    let added = bot.add(&json!({ "match": { "namespace": "shop" }, "for": "2h", "comment": "known" })).await;
    assert_eq!(added.0, 200);
    let refused = kubeherald(
        dir,
        &["status", "--url", &format!("http://{}", bot.address), "--token-file", "my bot.yaml"],
    )
    .await;
    assert!(refused.code == 1 && refused.err.contains("token"), "{}", refused.err);
    bot.stopped().await;

    let found = kubeherald(dir, &[&["status"][..], &CONFIG].concat()).await;
    assert_eq!(found.code, 1, "no bot runs");
    for part in ["1 open incident (1 critical)", "Pod/a", "silenced until ", ": known"] {
        assert!(found.out.contains(part), "{part:?}: {}", found.out);
    }
    for part in [
        "warning: cannot reach the bot at http://127.0.0.1:",
        "this is what its store ",
        "the bot wrote to it last at ",
    ] {
        assert!(found.err.contains(part), "{part:?}: {}", found.err);
    }
    let explained = kubeherald(dir, &[&["explain", "pod/a"][..], &CONFIG].concat()).await;
    assert!(explained.out.contains("\n  silence  silenced until "), "{}", explained.out);
    let by_file = kubeherald(dir, &["status", "--store", "state.db", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&by_file.out).unwrap();
    assert_eq!(json["incidents"][0]["workload"], "Pod/a");
    assert_eq!(by_file.code, 0, "it was written a moment ago: {}", by_file.err);

    let gone = "http: {listen: \"127.0.0.1:9\", token: {file: token}}\nstore: {path: nowhere.db}\n";
    std::fs::write(dir.join("gone.yaml"), gone).unwrap();
    let neither = kubeherald(dir, &["status", "-c", "gone.yaml"]).await;
    assert_eq!(neither.code, 1);
    for part in ["cannot reach the bot at http://127.0.0.1:9", "and its store cannot be read: "] {
        assert!(neither.err.contains(part), "{part:?}: {}", neither.err);
    }

    std::fs::write(dir.join("bare.yaml"), "http: {listen: \"127.0.0.1:9\", token: {file: token}}\n").unwrap();
    let none = kubeherald(dir, &["status", "-c", "bare.yaml"]).await;
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    assert!(
        none.err.contains("cannot reach the bot at http://127.0.0.1:9") && none.err.contains("--store"),
        "{}",
        none.err
    );
    let none = kubeherald(dir, &["status"]).await;
    assert!(none.code == 1 && none.err.contains("where is the bot?"), "{}", none.err);
    let watched = kubeherald(dir, &["status", "--watch", "-c", "bare.yaml"]).await;
    assert!(watched.code == 2 && watched.err.contains("--watch is for terminals"), "{}", watched.err);
}
