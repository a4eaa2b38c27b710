//! The first ten minutes: from nothing but the program and a cluster to a message in one's own channel.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kubeherald::testkit::ApiServer;
use kubeherald::testkit::receivers::SlackServer;
use serde_json::Value;

use crate::cli::{crashing, kubeconfig};

const TOKEN: &str = "xoxb-test";

/// What a person typed, and what came of it.
struct Person<'a> {
    dir: &'a Path,
    typed: Vec<Vec<String>>,
}

impl Person<'_> {
    /// `beside` is what only a simulated world needs: nobody types it.
    fn command(&mut self, typed: &[&str], beside: &[&str]) -> Command {
        self.typed.push(typed.iter().map(|word| (*word).to_owned()).collect());
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("SLACK_TOKEN", TOKEN);
        command.env("KUBECONFIG", self.dir.join("kubeconfig")).current_dir(self.dir).stdin(Stdio::null());
        command.args(typed).args(beside);
        command
    }

    async fn types(&mut self, typed: &[&str], beside: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(typed, beside);
        let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains(TOKEN), "a secret is printed: {said}");
        (output.status.code(), said)
    }
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What `kubectl apply -k` reads is there, and complete.
fn builds(dir: &Path) {
    let kustomization = yaml(&dir.join("kustomization.yaml"));
    let names = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut named = names(&kustomization["resources"]);
    for generator in ["configMapGenerator", "secretGenerator"] {
        for one in kustomization[generator].as_array().unwrap() {
            named.extend(names(&one["files"]));
        }
    }
    for name in &named {
        assert!(dir.join(name).is_file(), "{name}");
    }
    let shipped = yaml(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomization.yaml"));
    for key in ["namespace", "labels", "resources", "configMapGenerator", "generatorOptions"] {
        assert_eq!(kustomization[key], shipped[key], "{key}");
    }
    assert_eq!(kustomization["secretGenerator"][0]["name"], "kubeherald-secrets");
    let secrets: BTreeSet<String> =
        names(&kustomization["secretGenerator"][0]["files"]).into_iter().collect();
    assert_eq!(secrets, ["secrets/http-token", "secrets/oncall-token"].map(str::to_owned).into());
    assert_eq!(kustomization["images"][0]["newName"], "registry.example.com/kubeherald");
    assert_eq!(kustomization["images"][0]["newTag"], "0.1.0");
    if let Ok(built) = Command::new("kubectl").arg("kustomize").arg(dir).output() {
        let (text, said) = (String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
        assert!(built.status.success(), "{said}");
        assert!(text.contains("image: registry.example.com/kubeherald:0.1.0"), "{text}");
        assert_eq!(text.matches("\nkind: Secret\n").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_init_to_a_message_in_slack() {
    let (server, slack) = (ApiServer::start().await.unwrap(), SlackServer::start().await.unwrap());
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    kubeconfig(dir, &server.url());
    let mut person = Person { dir, typed: Vec::new() };

    let receiver = format!("oncall=slack,channel=#alerts,token=env:SLACK_TOKEN,api_url={}", slack.api_url());
    let (code, said) = person
        .types(
            &[
                "init",
                "--cluster",
                "prod",
                "--image",
                "registry.example.com/kubeherald:0.1.0",
                "--receiver",
                &receiver,
            ],
            &[],
        )
        .await;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "checked: no errors",
        "kubeherald send --all -c kubeherald/config/kubeherald.yaml",
        "kubectl apply -k kubeherald",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let made = dir.join("kubeherald");
    assert_eq!(std::fs::read_to_string(made.join("secrets/oncall-token")).unwrap(), TOKEN);
    assert_eq!((mode(&made.join("secrets")), mode(&made.join("secrets/oncall-token"))), (0o700, 0o600));
    assert_eq!(std::fs::read_to_string(made.join(".gitignore")).unwrap(), "secrets/\n");
    for file in ["config/kubeherald.yaml", "kustomization.yaml"] {
        assert!(!std::fs::read_to_string(made.join(file)).unwrap().contains(TOKEN), "{file}");
    }
    builds(&made);

    let config = "kubeherald/config/kubeherald.yaml";
    let (code, said) = person.types(&["check", config], &[]).await;
    assert_eq!((code, said.as_str()), (Some(0), "all is well\n"));
    let (code, said) = person.types(&["send", "--all", "-c", config], &[]).await;
    assert_eq!((code, said.as_str()), (Some(0), "delivered to `oncall` (slack)\n"));
    assert!(slack.messages()[0].payload.to_string().contains("Test message"), "{:?}", slack.messages());

    server.apply(crashing()).unwrap();
    let mut run =
        person.command(&["run", "-c", config, "--store", "kubeherald.db"], &["--listen", "127.0.0.1:0"]);
    run.stdout(Stdio::null()).stderr(std::fs::File::create(dir.join("log")).unwrap());
    let _running = Running(run.spawn().unwrap());
    for _ in 0..600 {
        if slack.messages().len() > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let messages = slack.messages();
    assert!(messages.len() > 1, "nothing came: {log}");
    let shown = messages[1].payload.to_string();
    assert!(shown.contains("prod") && shown.contains("crash"), "{shown}");
    assert!(!log.contains(TOKEN), "{log}");

    // Nothing is written over.
    let token = std::fs::read_to_string(made.join("secrets/http-token")).unwrap();
    let (code, said) = person.types(&["init", "--cluster", "other", "--receiver", &receiver], &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("`kustomization.yaml`") && said.contains("replace them with --force"), "{said}");
    assert_eq!(std::fs::read_to_string(made.join("secrets/http-token")).unwrap(), token);
    person.typed.pop();

    let words: usize = person.typed.iter().map(|words| words.len() + 1).sum();
    println!("{} commands, {words} words typed:", person.typed.len());
    for command in &person.typed {
        println!("  kubeherald {}", command.join(" "));
    }
    assert!(person.typed.len() <= 4 && words <= 24, "{words} words: the way became longer");
}

#[tokio::test]
async fn without_a_terminal_all_that_is_missing_is_named_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut person = Person { dir: home.path(), typed: Vec::new() };
    let (code, said) = person.types(&["init"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("  --cluster NAME\n  --receiver NAME=KIND"), "{said}");
    let (code, said) =
        person.types(&["init", "--cluster", "x", "--receiver", "oncall=slack,channel=#a"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("`token=env:VARIABLE` or `token=file:PATH` in --receiver oncall=slack"), "{said}");
    let (code, said) = person
        .types(&["init", "--cluster", "x", "--receiver", "oncall=slack,channel=#a,token=xoxb-test"], &[])
        .await;
    assert_eq!(code, Some(2));
    assert!(said.contains("others can read command lines"), "{said}");
    assert!(!home.path().join("kubeherald").exists(), "nothing is written before all is known");
}
