//! The manifests in `deploy/` ask for what the program needs, and for no more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kubeherald::config;
use kubeherald::watch::Kind;
use serde_json::{Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// The documents of one file.
fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let parse = |text| serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split("\n---\n").map(parse).collect()
}

fn kustomization() -> Value {
    documents(&deploy().join("kustomization.yaml")).remove(0)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// What `kubectl apply -k deploy/` reads, generators aside.
fn resources() -> Vec<Value> {
    strings(&kustomization()["resources"]).iter().flat_map(|name| documents(&deploy().join(name))).collect()
}

fn one(kind: &str) -> Value {
    let mut found: Vec<_> = resources().into_iter().filter(|r| r["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

#[test]
fn the_role_allows_exactly_what_is_watched() {
    let mut allowed = BTreeSet::new();
    for rule in one("ClusterRole")["rules"].as_array().unwrap() {
        let keys: Vec<_> = rule.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["apiGroups", "resources", "verbs"]);
        assert_eq!(strings(&rule["verbs"]), ["get", "list", "watch"]);
        for group in strings(&rule["apiGroups"]) {
            for plural in strings(&rule["resources"]) {
                assert!(allowed.insert((group.clone(), plural.clone())), "twice: {group}/{plural}");
            }
        }
    }
    let needed: BTreeSet<_> =
        Kind::ALL.map(|kind| (kind.group().to_owned(), kind.plural().to_owned())).into();
    assert_eq!(allowed, needed);
    assert!(resources().iter().all(|r| !matches!(r["kind"].as_str(), Some("Role" | "RoleBinding"))));
}

#[test]
fn logs_are_read_only_where_somebody_adds_the_permission() {
    assert!(!strings(&kustomization()["resources"]).contains(&"logs.yaml".to_owned()));
    for resource in resources() {
        assert!(!resource.to_string().contains("pods/log"), "{resource}");
    }
    let optional = documents(&deploy().join("logs.yaml"));
    let [role, binding] = optional.as_slice() else { panic!("a role and its binding") };
    assert_eq!(role["rules"], json!([{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]));
    assert_eq!((&role["kind"], &binding["kind"]), (&json!("ClusterRole"), &json!("ClusterRoleBinding")));
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(binding["subjects"], one("ClusterRoleBinding")["subjects"]);
}

#[test]
fn the_role_is_bound_to_the_account_that_the_pod_runs_as() {
    let namespace = kustomization()["namespace"].clone();
    assert_eq!(one("Namespace")["metadata"]["name"], namespace);
    let account = one("ServiceAccount")["metadata"]["name"].clone();
    let binding = one("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], one("ClusterRole")["metadata"]["name"]);
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": account, "namespace": namespace}])
    );
    let pod = &one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], account);
    assert_eq!(pod["automountServiceAccountToken"], true);
}

fn container() -> Value {
    let containers = one("Deployment")["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(containers.as_array().unwrap().len(), 1);
    containers[0].clone()
}

#[test]
fn the_pod_has_no_privileges_and_is_alone_with_its_store() {
    let spec = &one("Deployment")["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["strategy"], json!({"type": "Recreate"}), "two pods cannot share the store");
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["securityContext"]["runAsUser"].as_u64().unwrap() > 10_000);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null());
    }
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|volume| volume["hostPath"].is_null()));
    let claim = one("PersistentVolumeClaim");
    assert!(volumes.iter().any(|v| v["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]));

    let container = container();
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(container["resources"]["requests"]["cpu"].is_string());
    let env = container["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "MALLOC_ARENA_MAX", "value": "2"})));
}

#[test]
fn a_change_of_a_config_map_reaches_the_running_pod() {
    assert_eq!(kustomization()["generatorOptions"]["disableNameSuffixHash"], true);
    let pod = &one("Deployment")["spec"]["template"]["spec"];
    for map in kustomization()["configMapGenerator"].as_array().unwrap() {
        let volume =
            pod["volumes"].as_array().unwrap().iter().find(|v| v["configMap"]["name"] == map["name"]);
        let name = &volume.expect("mounted")["name"];
        let container = container();
        let mount =
            container["volumeMounts"].as_array().unwrap().iter().find(|m| m["name"] == *name).unwrap();
        // The kubelet never refreshes a file that is mounted by itself.
        assert!(mount["subPath"].is_null(), "{mount}");
    }
}

#[test]
fn the_image_is_this_version() {
    let image = &kustomization()["images"][0];
    assert_eq!(image["name"], container()["image"]);
    assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn both_configurations_load_without_a_warning_and_name_what_is_mounted() {
    let container = container();
    let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().clone();
    let writable: Vec<_> = mounts.iter().filter(|m| m["readOnly"] != true).collect();
    assert_eq!(writable.len(), 1, "only the store");
    let secret = documents(&deploy().join("examples/secret.yaml")).remove(0);
    let pod = &one("Deployment")["spec"]["template"]["spec"];
    assert!(pod["volumes"].as_array().unwrap().iter().any(|v| {
        v["secret"]["secretName"] == secret["metadata"]["name"] && v["secret"]["optional"] == true
    }));
    for name in ["config/kubeherald.yaml", "examples/kubeherald.yaml"] {
        let path = deploy().join(name);
        let loaded = config::load(Some(&path), &[]).unwrap_or_else(|found| {
            panic!("{name}: {:?}", found.iter().map(|d| &d.message).collect::<Vec<_>>())
        });
        assert!(loaded.warnings.iter().next().is_none(), "{name}");
        assert!(loaded.config.rules.iter().count() > 20, "{name}: the shipped rules are there");
        let store = loaded.config.store.path.clone().unwrap();
        assert!(store.starts_with(writable[0]["mountPath"].as_str().unwrap()), "{name}");
        // Some of a volume is the file system's own, and a damaged file that is set aside stays on it.
        let claim = &one("PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"];
        let volume = config::bytes::parse(claim.as_str().unwrap()).unwrap();
        assert!(loaded.config.store.max_bytes <= volume / 4 * 3, "{name}");
        let listen = loaded.config.http.unwrap();
        assert!(listen.ip().is_unspecified(), "{name}");
        assert_eq!(Value::from(listen.port()), container["ports"][0]["containerPort"]);
        let text = std::fs::read_to_string(&path).unwrap();
        for key in text.split("../secrets/").skip(1).map(|rest| rest.split('}').next().unwrap()) {
            assert!(secret["stringData"][key].is_string(), "{name}: {key} is not in examples/secret.yaml");
        }
    }
    // The pod sees the same tree: config/ and rules/ side by side.
    let args = strings(&container["args"]);
    assert_eq!(args[..2], ["run", "--config"]);
    for generated in kustomization()["configMapGenerator"].as_array().unwrap() {
        let name = &generated["name"];
        let volume =
            pod["volumes"].as_array().unwrap().iter().find(|v| v["configMap"]["name"] == *name).unwrap();
        let mount =
            mounts.iter().find(|m| m["name"] == volume["name"]).unwrap()["mountPath"].as_str().unwrap();
        for file in strings(&generated["files"]) {
            assert!(deploy().join(&file).is_file(), "{file}");
            let folder = Path::new(&file).parent().unwrap();
            assert_eq!(Path::new("/etc/kubeherald").join(folder), Path::new(mount));
            if file.ends_with("kubeherald.yaml") {
                assert_eq!(Path::new("/etc/kubeherald").join(&file), Path::new(&args[2]));
            }
        }
    }
}

#[test]
fn probes_and_the_service_meet_the_server() {
    let container = container();
    let port = &container["ports"][0]["name"];
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": port}));
    }
    // A start may take minutes; what has started and is stuck is ended within one.
    let patience = |probe: &str| {
        let number = |key: &str| container[probe][key].as_u64().unwrap();
        number("periodSeconds") * number("failureThreshold")
    };
    assert!(patience("startupProbe") >= 300 && patience("livenessProbe") <= 60);
    assert_eq!(one("Service")["spec"]["ports"][0]["targetPort"], *port);
}

/// Who may not reach the port cannot ask for anything there, nor keep others from asking.
#[test]
fn the_network_policy_lets_scrapers_in_and_nobody_else() {
    let policy = one("NetworkPolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy["spec"]["podSelector"], json!({}), "every pod of the namespace");
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let [rule] = rules.as_slice() else { panic!("one rule: {rules:?}") };
    let port = container()["ports"][0]["name"].clone();
    assert_eq!(rule["ports"], json!([{"protocol": "TCP", "port": port}]));
    let from = rule["from"].as_array().unwrap();
    // An empty selector of namespaces would be everybody.
    assert!(from.iter().all(|peer| peer["namespaceSelector"] != json!({}) && peer["ipBlock"].is_null()));
    assert!(!from.is_empty());
}

#[test]
fn it_goes_after_ordinary_workloads_where_a_node_has_no_room() {
    let class = one("PriorityClass");
    let pod = &one("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["priorityClassName"], class["metadata"]["name"]);
    let value = class["value"].as_u64().unwrap();
    assert!(value > 0 && value <= 1_000_000_000, "what users may have");
    assert_eq!(class["globalDefault"], false);
}

/// The image cannot be built in a test; that it is built from all that the build needs can be seen.
#[test]
fn the_image_is_built_from_everything_that_the_build_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let dockerfile = read("Dockerfile");
    let copied: Vec<_> = dockerfile
        .lines()
        .take_while(|line| !line.starts_with("RUN cargo build"))
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| line.split(' ').rev().skip(1))
        .collect();
    let ignore = read(".dockerignore");
    let kept: BTreeSet<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.starts_with("*\n") && kept.contains("LICENSE"));
    for name in &copied {
        assert!(root.join(name).exists() && kept.contains(name), "{name}");
    }
    let is_copied = |path: &Path| copied.iter().any(|name| path.starts_with(root.join(name)));

    // Cargo refuses a manifest whose targets are not all there.
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    for target in metadata["packages"][0]["targets"].as_array().unwrap() {
        let source = Path::new(target["src_path"].as_str().unwrap());
        assert!(is_copied(source), "{}", source.display());
    }
    for dependency in metadata["packages"][0]["dependencies"].as_array().unwrap() {
        if let Some(path) = dependency["path"].as_str() {
            assert!(is_copied(Path::new(path)), "{path}");
        }
    }
    // And the compiler refuses to include a file that is not there; tests are not compiled.
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for included in text.split("include_str!(\"").skip(1) {
                    let name = included.split('"').next().unwrap();
                    let included = path.parent().unwrap().join(name).canonicalize().unwrap();
                    assert!(is_copied(&included), "{} includes {name}", path.display());
                }
            }
        }
    }
}
