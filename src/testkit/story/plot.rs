//! Who lives in the cluster, and what happens in its half an hour.

use std::time::Duration;

use serde_json::json;

use super::cluster::{Fate, Key, key};
use super::objects::{Node, Template};
use super::{Story, Tone};
use crate::clock;

/// What the cluster is called.
pub const CLUSTER: &str = "demo-eu-1";
/// How long the story is, on the cluster's clock.
pub const LENGTH: Duration = Duration::from_secs(30 * 60);

static NODES: [&str; 4] = ["worker-1", "worker-2", "worker-3", "worker-4"];
/// The node that dies.
const DOOMED: &str = "worker-3";
/// What fails for a reason of its own runs elsewhere: one trouble at a time.
static SAFE: &[&str] = &["worker-1", "worker-2", "worker-4"];

const REGISTRY: &str = "registry.example.com";
/// How long everything has been running when the story begins.
const AGE: Duration = Duration::from_secs(3 * 24 * 3600);

/// Kind, namespace, name, replicas, version, nodes.
type Resident = (&'static str, &'static str, &'static str, usize, &'static str, &'static [&'static str]);

const RESIDENTS: &[Resident] = &[
    ("DaemonSet", "kube-system", "kube-proxy", 4, "v1.36.0", &[]),
    ("Deployment", "kube-system", "coredns", 2, "v1.12.1", &["worker-1", "worker-2"]),
    ("DaemonSet", "monitoring", "node-exporter", 4, "1.9.1", &[]),
    ("StatefulSet", "monitoring", "prometheus", 2, "3.5.0", &["worker-2", "worker-3"]),
    ("Deployment", "monitoring", "grafana", 1, "12.1.0", SAFE),
    ("Deployment", "shop", "frontend", 6, "2.8.0", &[]),
    ("Deployment", "shop", "checkout", 3, "1.41.3", SAFE),
    ("Deployment", "shop", "cart", 3, "4.2.1", &["worker-1", "worker-3", "worker-4"]),
    ("Deployment", "shop", "catalog", 4, "0.19.6", &[]),
    ("StatefulSet", "shop", "postgres", 3, "17.5", &["worker-1", "worker-3", "worker-4"]),
    ("Deployment", "media", "thumbs", 2, "3.3.0", SAFE),
    ("Deployment", "media", "transcoder", 2, "7.1.0", &["worker-3", "worker-4"]),
    ("Deployment", "platform", "api", 3, "5.4.0", SAFE),
    ("Deployment", "platform", "gateway", 3, "1.12.0", &["worker-1", "worker-2", "worker-3"]),
    ("Deployment", "ml", "features", 2, "0.8.2", SAFE),
];

fn image(namespace: &str, name: &str, version: &str) -> String {
    format!("{REGISTRY}/{namespace}/{name}:{version}")
}

impl Story {
    /// The cluster as it has been for days.
    pub(super) fn set_the_stage(&mut self) {
        let now = self.began;
        self.began = clock::before(now, AGE);
        let mut namespaces: Vec<&str> = RESIDENTS.iter().map(|r| r.1).collect();
        namespaces.extend(["default", "security", "data"]);
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            let meta = self.meta("", namespace.to_owned(), None);
            self.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": meta.json(),
                "status": { "phase": "Active" } }));
        }
        for name in NODES {
            let mut meta = self.meta("", name.to_owned(), None);
            meta.labels =
                vec![("kubernetes.io/hostname", name.to_owned()), ("kubernetes.io/arch", "amd64".to_owned())];
            let time = self.time();
            let boot_id = self.uid();
            let node =
                Node { meta, boot_id, heartbeat: time.clone(), since: time, lost: false, silent: false };
            self.nodes.insert(name.to_owned(), node);
            self.put_node(name);
        }
        for (kind, namespace, name, replicas, version, nodes) in RESIDENTS {
            let mut template = Template::new(name, &image(namespace, name, version));
            if *name == "thumbs" {
                template.volumes = vec![json!({ "name": "cache", "emptyDir": { "sizeLimit": "2Gi" } })];
            }
            let workload = self.make_workload(kind, namespace, name, template, nodes);
            if *name == "checkout"
                && let Some(found) = self.workloads.get_mut(&workload)
            {
                found.surge = *replicas;
            }
            self.populate(&workload, *replicas, Fate::Runs(1));
            if *kind == "StatefulSet" {
                self.claims(namespace, name, *replicas);
            }
        }
        let report = self.make_cron(
            "data",
            "report",
            Template {
                restart_policy: "Never",
                ..Template::new("report", &image("data", "report", "1.6.0"))
            },
        );
        // Three days pass.
        while self.next_at().is_some() {
            self.step();
        }
        for (_, event) in std::mem::take(&mut self.events) {
            self.remove("Event", &event.namespace, &event.name);
        }
        self.event_order.clear();
        self.now = Duration::ZERO;
        self.began = now;
        self.write_the_plot(report);
    }

    /// The first pods of a workload.
    fn populate(&mut self, workload: &Key, replicas: usize, fate: Fate) {
        if let Some(found) = self.workloads.get_mut(workload) {
            found.replicas = replicas;
            found.settled = true;
            if let Some(set) = found.sets.last_mut() {
                set.wanted = replicas;
            }
        }
        self.sync_workload(workload);
        for _ in 0..replicas {
            self.add_pod(workload, fate);
        }
    }

    /// A new Deployment, as `kubectl apply` and its controller make it.
    fn deploy(&mut self, namespace: &str, template: Template, replicas: usize, fate: Fate) -> Key {
        let name = template.container.clone();
        let workload = self.make_workload("Deployment", namespace, &name, template, SAFE);
        self.sync_workload(&workload);
        if let Some(found) = self
            .workloads
            .get(&workload)
            .and_then(|w| Some((w.meta.clone(), w.sets.last()?.meta.name.clone())))
        {
            let text = format!("Scaled up replica set {} from 0 to {replicas}", found.1);
            self.controller_event("Deployment", &found.0, "deployment-controller", "ScalingReplicaSet", text);
        }
        self.populate(&workload, replicas, fate);
        workload
    }

    fn claims(&mut self, namespace: &str, name: &str, replicas: usize) {
        for ordinal in 0..replicas {
            let meta = self.meta(namespace, format!("data-{name}-{ordinal}"), None);
            self.apply(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta.json(),
                "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                    "resources": { "requests": { "storage": "20Gi" } } },
                "status": { "phase": "Bound", "capacity": { "storage": "20Gi" } } }));
        }
    }

    /// Pods of a DaemonSet have a node each.
    pub(super) fn daemon_node(existing: usize) -> &'static [&'static str] {
        NODES.get(existing..=existing).unwrap_or_default()
    }

    fn write_the_plot(&mut self, report: Key) {
        self.normal_life(report);
        self.crash_loop();
        self.eviction();
        self.no_room();
        self.missing_secret();
        self.wrong_image();
        self.dead_node();
        self.at(LENGTH.as_secs_f64(), |s| {
            s.over = true;
            s.say(Tone::Story, "that was the story; life goes on");
            s.idle(0);
        });
    }

    fn crash_loop(&mut self) {
        let checkout = || key("shop", "checkout");
        self.at(120.0, move |s| {
            s.say(Tone::Trouble, "shop/checkout 1.42.0 is rolled out; it cannot find its configuration");
            s.roll_out(&checkout(), &image("shop", "checkout", "1.42.0"), Fate::Crashes);
        });
        self.at(600.0, move |s| {
            s.say(Tone::Mended, "shop/checkout is rolled back to 1.41.3");
            s.roll_out(&checkout(), &image("shop", "checkout", "1.41.3"), Fate::Runs(3));
        });
    }

    fn eviction(&mut self) {
        for (seconds, text) in [
            (255.0, "a pod of media/thumbs fills its cache volume and is evicted"),
            (465.0, "the next pod of media/thumbs is evicted, too"),
        ] {
            self.at(seconds, move |s| {
                s.evict(&key("media", "thumbs"));
                s.say(Tone::Trouble, text);
            });
        }
        self.at(510.0, |s| {
            s.say(Tone::Mended, "media/thumbs 3.3.1 cleans its cache up");
            s.roll_out(&key("media", "thumbs"), &image("media", "thumbs", "3.3.1"), Fate::Runs(3));
        });
    }

    fn no_room(&mut self) {
        self.at(330.0, |s| {
            let mut template = Template::new("ranker", &image("ml", "ranker", "0.1.0"));
            template.node_selector = Some(("accelerator", "gpu"));
            s.say(Tone::Trouble, "ml/ranker is deployed; it asks for a node with a GPU, and there is none");
            let ranker = s.deploy("ml", template, 2, Fate::NoNode);
            s.at(750.0, move |s| {
                s.say(Tone::Mended, "worker-4 is labelled accelerator=gpu");
                s.label_node("worker-4", ("accelerator", "gpu"), &ranker);
            });
        });
    }

    fn missing_secret(&mut self) {
        self.at(405.0, |s| {
            let mut template = Template::new("vault-agent", &image("security", "vault-agent", "1.20.0"));
            template.volumes = vec![json!({ "name": "tls", "secret": { "secretName": "vault-agent-tls" } })];
            s.say(Tone::Trouble, "security/vault-agent is deployed before its Secret");
            s.deploy("security", template, 1, Fate::NoSecret);
        });
        self.at(675.0, |s| {
            s.say(Tone::Mended, "Secret security/vault-agent-tls is created");
            s.secrets.insert(String::from("vault-agent-tls"));
        });
    }

    fn wrong_image(&mut self) {
        self.at(540.0, |s| {
            s.say(Tone::Trouble, "platform/api 5.5.0-rc is rolled out; nobody has pushed that image");
            s.roll_out(&key("platform", "api"), &image("platform", "api", "5.5.0-rc"), Fate::NoImage);
        });
        self.at(810.0, |s| {
            s.say(Tone::Mended, "platform/api is rolled out with the image that exists, 5.5.0");
            s.roll_out(&key("platform", "api"), &image("platform", "api", "5.5.0"), Fate::Runs(3));
        });
    }

    fn dead_node(&mut self) {
        self.at(960.0, |s| {
            s.say(Tone::Trouble, format!("node {DOOMED} stops answering"));
            if let Some(node) = s.nodes.get_mut(DOOMED) {
                node.silent = true;
            }
        });
        // `node-monitor-grace-period`
        self.at(1010.0, |s| s.lose_node(DOOMED));
        self.at(1260.0, |s| {
            s.node_returns(DOOMED);
            s.say(Tone::Mended, format!("node {DOOMED} is back, its pods ran all the time"));
        });
    }

    fn normal_life(&mut self, report: Key) {
        self.at(12.0, |s| {
            let (pods, nodes) = (s.pods(), s.nodes());
            s.say(Tone::Story, format!("{pods} pods on {nodes} nodes, all is well"));
            s.keep_beating();
        });
        self.at(60.0, move |s| {
            s.say(Tone::Life, "data/report: the CronJob's next Job runs, as every two minutes");
            s.keep_reporting(report);
        });
        for (seconds, namespace, name, version) in [
            (36.0, "shop", "frontend", "2.9.0"),
            (195.0, "shop", "catalog", "0.20.0"),
            (435.0, "kube-system", "coredns", "v1.12.2"),
            (705.0, "shop", "frontend", "2.9.1"),
            (1110.0, "kube-system", "coredns", "v1.12.3"),
            (1350.0, "shop", "cart", "4.3.0"),
            (1455.0, "platform", "gateway", "1.13.0"),
            (1560.0, "shop", "catalog", "0.20.1"),
        ] {
            self.at(seconds, move |s| {
                s.say(Tone::Life, format!("{namespace}/{name} {version} is rolled out, pod by pod"));
                s.roll_out(&key(namespace, name), &image(namespace, name, version), Fate::Runs(3));
            });
        }
        self.at(285.0, |s| {
            s.say(Tone::Life, "data/import: the first pod of a Job fails, the Job tries again");
            let template = Template {
                restart_policy: "Never",
                ..Template::new("import", &image("data", "import", "2.0.0"))
            };
            s.run_job("data", "import", template, 1);
        });
        for (seconds, replicas, text) in [
            (525.0, 6, "shop/catalog is scaled up from 4 to 6 by its autoscaler"),
            (1500.0, 4, "shop/catalog is scaled down from 6 to 4 again"),
        ] {
            self.at(seconds, move |s| {
                s.say(Tone::Life, text);
                let meta = s.workloads.get(&key("shop", "catalog")).map(|w| w.meta.clone());
                if let Some(meta) = meta {
                    let text = format!("New size: {replicas}; reason: cpu resource utilization (percentage of request) has changed");
                    s.controller_event("HorizontalPodAutoscaler", &meta, "horizontal-pod-autoscaler", "SuccessfulRescale", text);
                }
                s.scale(&key("shop", "catalog"), replicas);
            });
        }
        for (seconds, name) in [(870.0, "frontend"), (1425.0, "cart")] {
            self.at(seconds, move |s| s.slow_moment(name));
        }
    }

    /// A readiness probe fails once or twice under load.
    fn slow_moment(&mut self, name: &'static str) {
        let Some(pod) = self
            .pods
            .values()
            .find(|p| p.available() && p.meta.namespace == "shop" && p.template.container == name)
            .map(|p| key(&p.meta.namespace, &p.meta.name))
        else {
            return;
        };
        self.say(Tone::Life, format!("a pod of shop/{name} is not ready for a moment"));
        self.change(&pod, |p| p.ready = false);
        let text = String::from("Readiness probe failed: HTTP probe failed with statuscode: 503");
        self.kubelet_event(&pod, true, "Unhealthy", text);
        let again = pod.clone();
        self.after(10.0, move |s| {
            let text = String::from("Readiness probe failed: HTTP probe failed with statuscode: 503");
            s.kubelet_event(&again, true, "Unhealthy", text);
        });
        self.after(20.0, move |s| s.change(&pod, |p| p.ready = p.meta.deleted.is_none()));
    }

    fn keep_beating(&mut self) {
        // `nodeStatusReportFrequency`; in between there are only leases.
        self.heartbeats();
        self.after(300.0, Self::keep_beating);
    }

    fn keep_reporting(&mut self, report: Key) {
        self.fire(&report);
        self.after(120.0, move |s| s.keep_reporting(report));
    }

    /// What goes on after the story.
    fn idle(&mut self, turn: u32) {
        self.after(600.0, move |s| {
            let version = format!("2.{}.0", 10 + turn);
            s.say(Tone::Life, format!("shop/frontend {version} is rolled out, pod by pod"));
            s.roll_out(&key("shop", "frontend"), &image("shop", "frontend", &version), Fate::Runs(3));
            s.idle(turn.wrapping_add(1));
        });
    }
}
