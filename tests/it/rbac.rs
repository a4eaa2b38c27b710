//! `kubeherald rbac` prints what the bot needs, and the manifests in `deploy/` ask for the same.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kubeherald::testkit::ApiServer;
use kubeherald::watch::Kind;
use serde_json::{Value, json};

fn rbac(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().current_dir(dir).arg("rbac").args(args).output().expect("it runs")
}

fn documents(text: &str) -> Vec<Value> {
    text.split("---\n").map(|part| serde_saphyr::from_str(part).expect("YAML")).collect()
}

fn printed(dir: &Path, args: &[&str]) -> Vec<Value> {
    let output = rbac(dir, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8_lossy(&output.stdout))
}

fn deployed(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let all = documents(&std::fs::read_to_string(path).expect("a manifest"));
    all.into_iter().filter(|one| one["kind"] != "ServiceAccount").collect()
}

fn named(all: &[Value], name: &str) -> Vec<Value> {
    all.iter().filter(|one| one["metadata"]["name"] == name).cloned().collect()
}

fn dir_with(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("kubeherald.yaml"), config).expect("writes");
    dir
}

#[test]
fn the_manifests_ask_for_what_is_printed() {
    let dir = dir_with("overrides: [{rule: crash-loop, log_tail: true}]\n");
    let all = printed(dir.path(), &["--config", "kubeherald.yaml"]);
    assert_eq!(named(&all, "kubeherald"), deployed("rbac.yaml"));
    assert_eq!(named(&all, "kubeherald-logs"), deployed("logs.yaml"));
    assert_eq!(all.len(), 4);
}

#[test]
fn logs_are_asked_for_exactly_where_a_rule_in_force_reads_them() {
    let off = "{rule: crash-loop, log_tail: false}, {rule: job-failed, log_tail: false}";
    for (overrides, expected) in [
        (format!("[{off}, {{rule: oom-killed, match: {{namespace: a}}, log_tail: true}}]"), true),
        (
            format!("[{{rule: oom-killed, log_tail: true}}, {off}, {{rule: oom-killed, log_tail: false}}]"),
            false,
        ),
    ] {
        // Whatever the shipped rules do, here only the overrides matter.
        let rules = "rules: {paths: [own.yaml]}\n";
        let dir = dir_with(&format!("{rules}overrides: {overrides}\n"));
        let own = ["crash-loop", "job-failed", "oom-killed"].map(|name| {
            let cause = match name {
                "crash-loop" => "CrashLoopBackOff",
                "job-failed" => "JobFailed",
                _ => "OOMKilled",
            };
            format!("  - {{name: {name}, match: {{cause: {cause}}}}}\n")
        });
        std::fs::write(dir.path().join("own.yaml"), format!("rules:\n{}", own.concat())).expect("writes");
        let all = printed(dir.path(), &["--config", "kubeherald.yaml"]);
        let shipped = printed(dir.path(), &[]).len() > 2;
        let found = !named(&all, "kubeherald-logs").is_empty();
        assert!(found == expected || (shipped && found), "{overrides}");
    }
}

#[test]
fn a_role_in_each_namespace_has_only_what_lives_in_namespaces() {
    let config = "watch: {namespaces: {include: [shop, team-b]}, kinds: {exclude: [CronJob]}}\n\
                  overrides: [{rule: crash-loop, log_tail: true}]\n";
    let dir = dir_with(config);
    let all = printed(dir.path(), &["--config", "kubeherald.yaml", "--namespaced"]);
    assert_eq!(all.len(), 8);
    let mut resources: Vec<&str> = Vec::new();
    for (one, namespace) in named(&all, "kubeherald").chunks(2).zip(["shop", "team-b"]) {
        let [role, binding] = one else { panic!("a role and its binding: {one:?}") };
        assert_eq!((&role["kind"], &binding["kind"]), (&json!("Role"), &json!("RoleBinding")));
        assert_eq!(role["metadata"]["namespace"], namespace);
        assert_eq!(binding["metadata"]["namespace"], namespace);
        assert_eq!(binding["roleRef"]["kind"], "Role");
        assert_eq!(binding["subjects"][0]["namespace"], "kubeherald", "where the bot runs");
    }
    let role = &named(&all, "kubeherald")[0];
    for rule in role["rules"].as_array().expect("rules") {
        assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
        resources.extend(rule["resources"].as_array().expect("a list").iter().filter_map(Value::as_str));
    }
    resources.sort_unstable();
    let wanted = Kind::ALL.into_iter().filter(|kind| kind.is_namespaced() && *kind != Kind::CronJob);
    let mut wanted: Vec<&str> = wanted.map(Kind::plural).collect();
    wanted.sort_unstable();
    assert_eq!(resources, wanted);

    let all = printed(dir.path(), &["--namespaced", "a,b", "--serviceaccount", "ops:herald"]);
    assert_eq!(all[0]["metadata"]["namespace"], "a");
    let subject = json!([{"kind": "ServiceAccount", "name": "herald", "namespace": "ops"}]);
    assert_eq!(all[1]["subjects"], subject);
    let all = printed(dir.path(), &["--user", "jane@example.com"]);
    assert_eq!(all[1]["subjects"][0]["kind"], "User");
}

#[test]
fn what_cannot_be_printed_is_wrong_usage() {
    let dir = dir_with("cluster: lab\n");
    for (args, expected) in [
        (&["--namespaced"][..], "which namespaces?"),
        (&["--namespaced", "A B"], "this is not the name of a namespace"),
        (&["--serviceaccount", "herald"], "expected NAMESPACE:NAME"),
        (&["--serviceaccount", "a:b\n- x"], "expected NAMESPACE:NAME"),
    ] {
        let output = rbac(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected) && output.stdout.is_empty(), "{args:?}: {said}");
    }
}

/// What the log of a start says of missing permissions can be pasted.
#[tokio::test]
async fn a_missing_permission_is_named_once_with_the_command_that_grants_it() {
    let server = ApiServer::start().await.expect("listens");
    server.only_roles_in(&["shop"]);
    let dir =
        dir_with("watch: {namespaces: {include: [shop, locked, other]}}\nhttp: {listen: \"127.0.0.1:0\"}\n");
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: \"{}\"}}}}]\n\
         users: [{{name: a, user: {{token: t}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n",
        server.url()
    );
    std::fs::write(dir.path().join("kubeconfig"), kubeconfig).expect("writes");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
        .env_clear()
        .env("KUBECONFIG", dir.path().join("kubeconfig"))
        .current_dir(dir.path())
        .args(["run", "--config", "kubeherald.yaml"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(dir.path().join("log")).expect("a file"))
        .spawn()
        .expect("it starts");
    let log = || std::fs::read_to_string(dir.path().join("log")).expect("reads");
    let warned =
        |text: &str| log().lines().filter(|line| line.contains(" WARN ") && line.contains(text)).count();
    for _ in 0..200 {
        if warned("no permission to list") >= 11 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().expect("ends");
    child.wait().expect("ends");
    for kind in Kind::ALL {
        let expected = format!("no permission to list {} ", kind.plural());
        assert_eq!(warned(&expected), 1, "{kind}: once, for two namespaces too:\n{}", log());
    }
    let pods = log().lines().find(|line| line.contains("list pods")).map(str::to_owned).expect("pods");
    let command = pods.split('`').nth(1).expect("a command");
    let args: Vec<&str> = command.split(" | ").next().unwrap_or_default().split(' ').skip(2).collect();
    let all = printed(dir.path(), &args);
    let namespace = all[0]["metadata"]["namespace"].as_str().expect("a Role");
    assert!(["locked", "other"].contains(&namespace), "{command}");
    assert!(log().contains("Nodes are not watched: no permission to list nodes of the whole cluster"));
}
