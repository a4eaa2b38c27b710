//! The Helm chart: what it renders is what `deploy/` asks for, is valid, and loads.
//!
//! What needs `helm` (`KUBEHERALD_TEST_HELM`) is ignored without it; `.ci/run` has it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kubeherald::config::{self, schema};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn chart(name: &str) -> PathBuf {
    root().join("deploy/chart").join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

// === The schema of the values ===

/// References of a schema lead into definitions of another prefix.
fn prefixed(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        *text = text.replace("#/$defs/", &format!("#/$defs/{prefix}"));
                    }
                    value => prefixed(value, prefix),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| prefixed(value, prefix)),
        _ => {}
    }
}

/// The schema of the values with those of the configuration and of rules in it: `helm` finds a mistake in a
/// receiver before anything is applied.
fn expected_schema() -> Value {
    let mut values: Value = serde_json::from_str(&read(&chart("values.schema.json"))).unwrap();
    let mut definitions = serde_json::Map::new();
    for (prefix, mut schema) in [("config.", schema::config()), ("rules.", schema::rules())] {
        prefixed(&mut schema, prefix);
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            definitions.insert(format!("{prefix}{name}"), definition.clone());
        }
    }
    let config = definitions["config.file"]["properties"].clone();
    for key in ["receivers", "routes", "overrides"] {
        values["properties"][key] = config[key].clone();
    }
    values["properties"]["rules"] = definitions["rules.file"]["properties"]["rules"].clone();
    values["properties"]["config"] = json!({"$ref": "#/$defs/config.file"});
    values["$defs"] = Value::Object(definitions);
    values
}

#[test]
fn the_schema_of_the_values_has_that_of_the_configuration() {
    let path = chart("values.schema.json");
    let expected = expected_schema();
    if std::env::var_os("KUBEHERALD_UPDATE").is_some() {
        std::fs::write(&path, format!("{expected:#}\n")).unwrap();
    }
    let found: Value = serde_json::from_str(&read(&path)).unwrap();
    assert!(found == expected, "KUBEHERALD_UPDATE=1 cargo test --test it -- chart:: writes it");
}

#[test]
fn every_value_is_in_the_schema_and_the_chart_is_of_this_version() {
    let schema = expected_schema();
    let values = yaml(&read(&chart("values.yaml")));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let mut known = keys(&schema["properties"]);
    known.remove("global");
    assert_eq!(keys(&values), known);
    for (key, value) in values.as_object().unwrap() {
        if let Some(properties) = schema["properties"][key]["properties"].as_object() {
            assert_eq!(keys(value), properties.keys().cloned().collect(), "{key}");
        }
    }
    let meta = yaml(&read(&chart("Chart.yaml")));
    for key in ["version", "appVersion"] {
        assert_eq!(meta[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

/// An alert on a metric that does not exist never fires.
#[test]
fn alerts_are_about_metrics_that_there_are() {
    let rules = read(&chart("templates/prometheusrule.yaml"));
    let families = read(&root().join("src/metrics/families.rs"));
    let names: BTreeSet<&str> = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("kubeherald_"))
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        // Counters are named without what the format adds.
        let name = name.trim_end_matches("_total");
        assert!(families.contains(&format!("\"{name}\"")), "{name}");
    }
}

// === What it renders ===

fn helm(args: &[&str]) -> Output {
    let helm = std::env::var_os("KUBEHERALD_TEST_HELM").expect("KUBEHERALD_TEST_HELM names helm");
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(helm);
    // No plugins and no settings of whoever runs the tests.
    for name in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME", "HOME"] {
        command.env(name, dir.path());
    }
    command.args(args).output().expect("helm runs")
}

fn rendered_with(name: &str, namespace: &str, more: &[&str]) -> Result<Vec<Value>, String> {
    let path = chart("");
    let mut args = vec!["template", name, path.to_str().unwrap(), "--namespace", namespace];
    args.extend(["--kube-version", "1.33.0"]);
    args.extend(more);
    let output = helm(&args);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let documents = text.split("\n---\n").map(|part| part.trim_start_matches("---\n"));
    Ok(documents.map(yaml).filter(|one| !one.is_null()).collect())
}

fn values(name: &str) -> String {
    chart("ci").join(name).to_str().unwrap().to_owned()
}

/// As it is installed without a thought.
fn default_chart() -> Vec<Value> {
    rendered_with("kubeherald", "kubeherald", &[]).unwrap()
}

fn full_chart() -> Vec<Value> {
    rendered_with("kubeherald", "kubeherald", &["-f", &values("full-values.yaml")]).unwrap()
}

fn namespaced_chart() -> Vec<Value> {
    rendered_with("kh", "ops", &["-f", &values("namespaced-values.yaml")]).unwrap()
}

fn of<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = all
        .iter()
        .filter(|one| one["kind"] == kind && one["metadata"]["annotations"]["helm.sh/hook"].is_null())
        .collect();
    let [one] = found.as_slice() else { panic!("{} of {kind}", found.len()) };
    one
}

fn kustomized() -> Vec<Value> {
    let output = Command::new("kubectl").args(["kustomize", "deploy"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split("\n---\n").map(yaml).collect()
}

#[test]
#[ignore = "needs helm"]
fn it_has_no_lint() {
    for more in [
        vec![],
        vec!["-f".to_owned(), values("full-values.yaml")],
        vec!["-f".to_owned(), values("namespaced-values.yaml")],
    ] {
        let path = chart("");
        let mut args = vec!["lint", "--strict", path.to_str().unwrap()];
        args.extend(more.iter().map(String::as_str));
        let output = helm(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
#[ignore = "needs helm"]
fn it_asks_for_what_kustomize_asks_for() {
    let (chart, kustomize) = (default_chart(), kustomized());
    let pod = |all: &[Value]| {
        let mut pod = of(all, "Deployment")["spec"]["template"]["spec"].clone();
        // The tag is the version in both.
        assert_eq!(pod["containers"][0]["image"], format!("kubeherald:{}", env!("CARGO_PKG_VERSION")));
        pod["containers"][0]["env"].as_array_mut().unwrap().sort_by_key(|one| one["name"].to_string());
        pod
    };
    assert_eq!(pod(&chart), pod(&kustomize));
    for (kind, pointer) in [
        ("Deployment", "/spec/replicas"),
        ("Deployment", "/spec/strategy"),
        ("Deployment", "/spec/template/metadata/annotations"),
        ("ClusterRole", "/rules"),
        ("ClusterRole", "/metadata/name"),
        ("ClusterRoleBinding", "/roleRef"),
        ("ClusterRoleBinding", "/subjects"),
        ("ServiceAccount", "/automountServiceAccountToken"),
        ("PersistentVolumeClaim", "/spec"),
        ("PersistentVolumeClaim", "/metadata/name"),
        ("Service", "/spec/ports"),
        ("NetworkPolicy", "/spec/ingress"),
        ("NetworkPolicy", "/spec/policyTypes"),
        ("PriorityClass", "/value"),
        ("PriorityClass", "/globalDefault"),
    ] {
        let find = |all: &[Value]| of(all, kind).pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(find(&chart), find(&kustomize), "{kind}{pointer}");
    }
    let config = |all: &[Value], name: &str, key: &str| {
        let maps = all.iter().filter(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == name);
        yaml(maps.map(|map| map["data"][key].as_str().unwrap()).next().expect(name))
    };
    for (name, key) in [("kubeherald-config", "kubeherald.yaml"), ("kubeherald-rules", "own.yaml")] {
        assert_eq!(config(&chart, name, key), config(&kustomize, name, key));
    }
    let kinds = |all: &[Value]| -> BTreeSet<String> {
        let main = all.iter().filter(|one| one["metadata"]["annotations"]["helm.sh/hook"].is_null());
        main.map(|one| one["kind"].as_str().unwrap().to_owned()).filter(|kind| kind != "Namespace").collect()
    };
    assert_eq!(kinds(&chart), kinds(&kustomize), "helm makes no namespace");
}

/// What the API server would drop without a word is lost on the way through Kubernetes' own types.
fn survives<T: DeserializeOwned + Serialize>(document: &Value) {
    let typed: T = serde_json::from_value(document.clone()).unwrap_or_else(|e| panic!("{e}: {document:#}"));
    let mut again = serde_json::to_value(typed).unwrap();
    for key in ["apiVersion", "kind"] {
        again[key] = document[key].clone();
    }
    assert_eq!(&without_empty(again), &without_empty(document.clone()));
}

/// Absent and empty are the same to Kubernetes.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, without_empty(value)));
            Value::Object(kept.filter(|(_, value)| !value.is_null() && *value != json!([])).collect())
        }
        Value::Array(list) => list.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[test]
#[ignore = "needs helm"]
fn every_object_is_one_of_kubernetes() {
    let mut seen = BTreeSet::new();
    for document in default_chart().iter().chain(&full_chart()).chain(&namespaced_chart()) {
        let kind = document["kind"].as_str().unwrap();
        seen.insert(kind.to_owned());
        match kind {
            "ClusterRole" => survives::<ClusterRole>(document),
            "ClusterRoleBinding" => survives::<ClusterRoleBinding>(document),
            "ConfigMap" => survives::<ConfigMap>(document),
            "Deployment" => survives::<Deployment>(document),
            "NetworkPolicy" => survives::<NetworkPolicy>(document),
            "PersistentVolumeClaim" => survives::<PersistentVolumeClaim>(document),
            "Pod" => survives::<Pod>(document),
            "PodDisruptionBudget" => survives::<PodDisruptionBudget>(document),
            "PriorityClass" => survives::<PriorityClass>(document),
            "Role" => survives::<Role>(document),
            "RoleBinding" => survives::<RoleBinding>(document),
            "Service" => survives::<Service>(document),
            "ServiceAccount" => survives::<ServiceAccount>(document),
            // Of the Prometheus operator.
            "ServiceMonitor" | "PrometheusRule" => {}
            other => panic!("{other} is checked against nothing"),
        }
        for name in [&document["metadata"]["name"], &document["metadata"]["namespace"]] {
            let text = name.as_str().unwrap_or("a");
            assert!(
                text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{text}"
            );
        }
    }
    assert_eq!(seen.len(), 15, "{seen:?}");
}

fn written(all: &[Value]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (folder, suffix) in [("config", "-config"), ("rules", "-rules")] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        let map = all.iter().find(|one| {
            one["kind"] == "ConfigMap" && one["metadata"]["name"].as_str().unwrap().ends_with(suffix)
        });
        for (name, text) in map.unwrap()["data"].as_object().unwrap() {
            std::fs::write(dir.path().join(folder).join(name), text.as_str().unwrap()).unwrap();
        }
    }
    dir
}

#[test]
#[ignore = "needs helm"]
fn the_configuration_it_writes_loads_without_a_warning() {
    for all in [default_chart(), full_chart(), namespaced_chart()] {
        let dir = written(&all);
        let path = dir.path().join("config/kubeherald.yaml");
        let loaded = config::load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
    let full = written(&full_chart());
    let loaded = config::load(Some(&full.path().join("config/kubeherald.yaml")), &[]).unwrap();
    assert_eq!(loaded.config.receivers.len(), 2);
    assert!(loaded.config.rules.get("payments-crash-loop").is_some());
    assert_eq!(loaded.config.rules.overrides("crash-loop").len(), 1);
    let text = read(&full.path().join("rules/own.yaml"));
    assert!(text.contains("{{workload}}"), "a template of ours is not helm's: {text}");
}

#[test]
#[ignore = "needs helm"]
fn roles_are_those_that_the_program_prints() {
    let rules = |all: &[Value], kind: &str| -> BTreeSet<String> {
        let roles = all.iter().filter(|one| one["kind"] == kind);
        roles.map(|one| format!("{} {}", one["metadata"]["namespace"], one["rules"])).collect()
    };
    for (all, kind) in [(full_chart(), "ClusterRole"), (namespaced_chart(), "Role")] {
        let dir = written(&all);
        // The chart is told that logs are to be read; the program sees it in the rules.
        let tail = dir.path().join("rules/tail.yaml");
        std::fs::write(&tail, "overrides: [{rule: oom-killed, log_tail: true}]\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
        command.env_clear().args(["rbac", "--config"]).arg(dir.path().join("config/kubeherald.yaml"));
        if kind == "Role" {
            command.arg("--namespaced");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed: Vec<Value> = String::from_utf8_lossy(&output.stdout).split("---\n").map(yaml).collect();
        assert_eq!(rules(&all, kind), rules(&printed, kind));
        let account = of(&all, "ServiceAccount")["metadata"].clone();
        for binding in all.iter().filter(|one| one["kind"] == format!("{kind}Binding")) {
            let subject = &binding["subjects"][0];
            assert_eq!((&subject["name"], &subject["namespace"]), (&account["name"], &account["namespace"]));
        }
    }
    assert!(namespaced_chart().iter().all(|one| one["kind"] != "ClusterRole"));
}

#[test]
#[ignore = "needs helm"]
fn an_upgrade_changes_no_secret_and_keeps_the_volume() {
    let newer = ["--set", "image.tag=9.9.9", "--set", "cluster=other", "--is-upgrade"];
    let newer = rendered_with("kubeherald", "kubeherald", &newer).unwrap();
    for all in [&default_chart(), &full_chart(), &namespaced_chart(), &newer] {
        assert!(all.iter().all(|one| one["kind"] != "Secret"));
    }
    let before = default_chart();
    let claim = |all: &[Value]| of(all, "PersistentVolumeClaim").clone();
    assert_eq!(claim(&before), claim(&newer), "nothing to change in place");
    assert_eq!(claim(&before)["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(of(&before, "Deployment")["spec"]["selector"], of(&newer, "Deployment")["spec"]["selector"]);
    assert_ne!(of(&before, "Deployment")["spec"]["template"], of(&newer, "Deployment")["spec"]["template"]);
    assert!(claim(&full_chart())["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep");
    let own = ["--set", "store.existingClaim=mine"];
    let own = rendered_with("kubeherald", "kubeherald", &own).unwrap();
    assert!(own.iter().all(|one| one["kind"] != "PersistentVolumeClaim"));
    let volumes = of(&own, "Deployment")["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains("\"claimName\":\"mine\""), "{volumes}");
}

#[test]
#[ignore = "needs helm"]
fn helm_test_checks_the_configuration_and_sends_to_every_receiver() {
    let test = |all: &[Value]| {
        let hook = all.iter().find(|one| one["metadata"]["annotations"]["helm.sh/hook"] == "test");
        let spec = hook.expect("a test")["spec"].clone();
        let args = |key: &str| -> Vec<String> {
            let containers = spec[key].as_array().cloned().unwrap_or_default();
            let line = |one: &Value| {
                let args = one["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
                args.collect::<Vec<_>>().join(" ")
            };
            containers.iter().map(line).collect()
        };
        assert_eq!(spec["automountServiceAccountToken"], false);
        (args("initContainers"), args("containers"))
    };
    let config = "/etc/kubeherald/config/kubeherald.yaml";
    assert_eq!(test(&default_chart()), (vec![], vec![format!("check {config}")]));
    let sends = ["oncall", "platform-mail"].map(|name| format!("send {name} --config {config}"));
    assert_eq!(test(&full_chart()), (vec![format!("check {config}")], sends.to_vec()));
}

#[test]
#[ignore = "needs helm"]
fn a_mistake_in_the_values_is_found_before_anything_is_applied() {
    for (set, expected) in [
        ("receivers.a.slak.channel=x", "slak"),
        ("recievers.a=1", "recievers"),
        ("config.storm.incidents=many", "incidents"),
        ("overrides[0].severity=info", "rule"),
        ("store.size=big", "size"),
        ("namespaces[0]=Team_A", "namespaces"),
    ] {
        let refused = rendered_with("kubeherald", "kubeherald", &["--set", set]).expect_err(set);
        assert!(refused.contains(expected), "{set}: {refused}");
    }
}

/// promtool knows the expressions.
#[test]
#[ignore = "needs helm and promtool"]
fn prometheus_takes_the_alerts() {
    let promtool = std::env::var_os("KUBEHERALD_TEST_PROMTOOL").expect("KUBEHERALD_TEST_PROMTOOL names it");
    let full = full_chart();
    let groups = json!({"groups": of(&full, "PrometheusRule")["spec"]["groups"]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let output = Command::new(promtool).args(["check", "rules"]).arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("5 rules found"), "{said}");
}
