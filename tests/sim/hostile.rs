//! What somebody tries who may write Events, or run pods, in a namespace of their own.

use kubeherald::testkit::builders::event;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cluster::{NODES, TARGETS, Write, object, wall};
use super::plan::{Hostile, Ms, SECOND};
use super::settings::{MAIL, RECIPIENTS};
use super::stories::canary;
use super::world::{World, lock};

/// The namespace of the tenant who tries.
pub const TENANT: &str = "tenant";
/// Never to be seen outside.
pub const SECRET: &str = "hunter2-of-the-simulation";
/// What a mail must not hold as a part of its own.
pub const INJECTED: &str = "<b>injected-by-a-tenant</b>";
/// The largest name, and the largest reason, that a real API server has accepted in an Event.
const HUGE_NAME: usize = 900 * 1024;
const HUGE_REASON: usize = 300 * 1024;

/// When it is tried, counted from the item's time.
pub const fn times(hostile: Hostile) -> &'static [Ms] {
    match hostile {
        Hostile::ForgedEvent | Hostile::ForgedNodeEvent => {
            &[0, 30 * SECOND, 60 * SECOND, 90 * SECOND, 120 * SECOND]
        }
        Hostile::HugeEvent => &[0, SECOND, 2 * SECOND, 65 * SECOND, 66 * SECOND],
        Hostile::ReasonWithBreaks => &[0],
        Hostile::MailBoundary => &[0, 20 * SECOND, 60 * SECOND, 120 * SECOND],
    }
}

/// A pod of the tenant that crashes; its termination message is theirs to write.
pub const TENANT_POD: &str = "tenant-tool";

pub fn writes(world: &World, hostile: Hostile, target: usize, item: usize, nth: u64) -> Vec<Write> {
    let at = world.now();
    let target = &TARGETS[target % TARGETS.len()];
    let said = format!("create failed: exceeded quota, says {}", canary(TENANT));
    match hostile {
        Hostile::ForgedEvent => {
            let about = |kind: &str, name: &str| json!({ "apiVersion": "v1", "kind": kind, "namespace": target.namespace, "name": name });
            let cron = forged(at, item, nth, &about("CronJob", "nightly"), "FailedCreate", &said);
            let note = forged(at, item + 1000, nth, &about("ConfigMap", "settings"), "SimNote", &said);
            vec![cron, note]
        }
        Hostile::ForgedNodeEvent => {
            let about = json!({ "apiVersion": "v1", "kind": "Node", "name": NODES[0] });
            vec![forged(at, item, nth, &about, "SystemOOM", &format!("System OOM, says {}", canary(TENANT)))]
        }
        Hostile::HugeEvent => {
            let about = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": TENANT,
                "name": "n".repeat(HUGE_NAME) });
            let name = forged(at, item, nth, &about, "FailedCreate", &said);
            let small = json!({ "apiVersion": "v1", "kind": "ConfigMap", "namespace": TENANT, "name": "x" });
            let reason = format!("SimNote{}", "r".repeat(HUGE_REASON));
            vec![name, forged(at, item + 1000, nth, &small, &reason, &said)]
        }
        Hostile::ReasonWithBreaks => {
            let about =
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "namespace": TENANT, "name": "settings" });
            let reason = format!("SimNote\r\nX-Injected: 1\r\npassword={SECRET}");
            vec![forged(at, item, nth, &about, &reason, &said)]
        }
        Hostile::MailBoundary => {
            let text = format!("{}\r\n{}", canary(TENANT), parts(world));
            let restarts = 2 + i64::try_from(nth).unwrap_or(0);
            let pod = kubeherald::testkit::builders::pod(TENANT_POD).namespace(TENANT).node(NODES[3]);
            let pod = pod.last(3, "Error", "-12s", "-10s").said(&text).restarts(restarts);
            let pod = pod.waiting("CrashLoopBackOff", "back-off restarting failed container");
            vec![Write::Apply(object(pod, at))]
        }
    }
}

/// An Event in the tenant's namespace about something else. With `eventTime` set the API server does not
/// compare namespaces.
fn forged(at: Ms, item: usize, nth: u64, about: &Value, reason: &str, message: &str) -> Write {
    let now = wall(at).to_string();
    let first = wall(at.saturating_sub(2 * 60 * SECOND)).to_string();
    let mut made = event("Pod/x", "x", "x").json();
    made["metadata"] = json!({ "name": format!("forged.{item:x}"), "namespace": TENANT,
        "uid": format!("forged-{item}"), "creationTimestamp": first });
    made["involvedObject"] = about.clone();
    made["reason"] = json!(reason);
    made["message"] = json!(message);
    made["eventTime"] = json!(first);
    made["firstTimestamp"] = json!(first);
    made["lastTimestamp"] = json!(now);
    made["count"] = json!(3 + nth);
    made["source"] = json!({ "component": "tool" });
    made["reportingComponent"] = json!("tool");
    Write::Apply(made)
}

/// Parts of mails with every boundary that can be foretold from the headers of those that were sent: the
/// tenant gets them too.
fn parts(world: &World) -> String {
    let record = lock(&world.record);
    let mut threads: Vec<&str> = record.mails.iter().map(|mail| mail.thread.as_str()).collect();
    threads.sort_unstable();
    threads.dedup();
    let mine = |thread: &&str| record.mails.iter().any(|m| m.thread == *thread && m.raw.contains(TENANT_POD));
    let mut out = String::new();
    for thread in threads.into_iter().filter(mine) {
        for seq in 2..=4 {
            let key = format!("{thread}-{seq}-{MAIL}");
            let mut boundary = String::from("kubeherald.");
            for byte in Sha256::digest(format!("{key}/{}", RECIPIENTS[0]).as_bytes()).iter().take(16) {
                boundary.push_str(&format!("{byte:02x}"));
            }
            out.push_str(&format!("\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\n{INJECTED}\r\n"));
        }
    }
    out
}
