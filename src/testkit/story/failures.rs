//! What goes wrong, as it shows on a real cluster: which fields, which Events, in which order.

use super::Story;
use super::cluster::{Fate, Key};
use super::objects::{running, waiting};

/// What the crashing program says at its end.
pub const PANIC: &str = "panic: open /etc/checkout/config.yaml: no such file or directory";

impl Story {
    // === A crash loop ===

    /// A run that ends soon; without a readiness probe the pod is ready for that moment.
    pub(super) fn crash_run(&mut self, pod: &Key) {
        if !self.is_alive(pod) {
            return;
        }
        let again = self.pods.get(pod).is_some_and(|p| {
            p.state.as_ref().is_some_and(|s| s.get("terminated").is_some() || p.restarts > 0)
        });
        let image = self.pods.get(pod).map(|p| p.template.image.clone()).unwrap_or_default();
        let text =
            format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
        self.kubelet_event(pod, false, "Pulled", text);
        self.kubelet_event(pod, false, "Created", String::from("Container created"));
        self.kubelet_event(pod, false, "Started", String::from("Container started"));
        let time = self.time();
        self.change(pod, |p| {
            if let Some(state) = p.state.take().filter(|s| s.get("terminated").is_some()) {
                p.last = state;
            }
            p.restarts += u32::from(again);
            p.phase = "Running";
            p.sandbox = true;
            p.state = Some(running(&time));
            p.ready = true;
        });
        let pod = pod.clone();
        self.after(1.1, move |s| s.crash_end(&pod));
    }

    fn crash_end(&mut self, pod: &Key) {
        if !self.is_alive(pod) {
            return;
        }
        self.end_run(pod, 3, "Error", PANIC);
        self.change(pod, |p| p.ready = false);
        let Some(found) = self.pods.get(pod) else { return };
        let (restarts, container) = (found.restarts, found.template.container.clone());
        let full = format!("{}_{}({})", found.meta.name, found.meta.namespace, found.meta.uid);
        let pod = pod.clone();
        if restarts == 0 {
            // The first restart is immediate.
            self.after(0.1, move |s| s.crash_run(&pod));
            return;
        }
        let text = format!("Back-off restarting failed container {container} in pod {full}");
        self.kubelet_event(&pod, true, "BackOff", text.clone());
        let pause = 10_u32.saturating_mul(2_u32.saturating_pow(restarts - 1)).min(300);
        let next = pod.clone();
        self.after(0.9, move |s| {
            if !s.is_alive(&pod) {
                return;
            }
            // The status lags behind the Events: the waiting reason comes with the next sync.
            s.change(&pod, |p| {
                if let Some(state) = p.state.take() {
                    p.last = state;
                }
                let text = format!("back-off {pause}s restarting failed container={container} pod={full}");
                p.state = Some(waiting("CrashLoopBackOff", Some(text)));
            });
            s.kubelet_event(&pod, true, "BackOff", text);
        });
        self.after(f64::from(pause) + 1.0, move |s| s.crash_run(&next));
    }

    // === An image that is not there ===

    pub(super) fn pull_fails(&mut self, pod: &Key, tries: u32) {
        if !self.is_alive(pod) {
            return;
        }
        let image = self.pods.get(pod).map(|p| p.template.image.clone()).unwrap_or_default();
        let error = format!(
            "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
        );
        self.change(pod, |p| p.sandbox = true);
        self.kubelet_event(pod, false, "Pulling", format!("Pulling image \"{image}\""));
        self.kubelet_event(
            pod,
            true,
            "Failed",
            format!("Failed to pull image \"{image}\": rpc error: code = NotFound desc = {error}"),
        );
        self.kubelet_event(pod, true, "Failed", String::from("Error: ErrImagePull"));
        let message = format!("rpc error: code = NotFound desc = {error}");
        self.change(pod, |p| p.state = Some(waiting("ErrImagePull", Some(message.clone()))));
        let (backing, next) = (pod.clone(), pod.clone());
        self.after(3.0, move |s| {
            if !s.is_alive(&backing) {
                return;
            }
            s.kubelet_event(&backing, false, "BackOff", format!("Back-off pulling image \"{image}\""));
            s.kubelet_event(&backing, true, "Failed", String::from("Error: ImagePullBackOff"));
            let text = format!("Back-off pulling image \"{image}\": ErrImagePull: {message}");
            s.change(&backing, |p| p.state = Some(waiting("ImagePullBackOff", Some(text))));
        });
        self.after(f64::from(10 * 2_u32.pow(tries.min(4))), move |s| s.pull_fails(&next, tries + 1));
    }

    // === A volume that cannot be mounted ===

    /// No field of the pod tells: there is only the Event, until somebody makes the Secret.
    pub(super) fn mount_fails(&mut self, pod: &Key, tries: u32) {
        if !self.is_alive(pod) {
            return;
        }
        let secret = self.pods.get(pod).and_then(|p| p.template.volumes.first()).and_then(|v| {
            Some((v.get("name")?.as_str()?.to_owned(), v.pointer("/secret/secretName")?.as_str()?.to_owned()))
        });
        let Some((volume, secret)) = secret else { return };
        if self.secrets.contains(&secret) {
            self.start(pod, true);
            return;
        }
        let text =
            format!("MountVolume.SetUp failed for volume \"{volume}\" : secret \"{secret}\" not found");
        self.kubelet_pod_event(pod, true, "FailedMount", text);
        let pod = pod.clone();
        // 0.5, 1, 2, 4 s … at most 2 min 2 s apart.
        self.after((0.5 * f64::from(2_u32.pow(tries.min(8)))).min(122.0), move |s| {
            s.mount_fails(&pod, tries + 1);
        });
    }

    // === A pod that no node takes ===

    pub(super) fn no_node(&mut self, pod: &Key) {
        if !self.is_alive(pod) {
            return;
        }
        let nodes = self.nodes.len();
        let text = format!(
            "0/{nodes} nodes are available: {nodes} node(s) didn't match Pod's node affinity/selector. \
             no new claims to deallocate, preemption: 0/{nodes} nodes are available: \
             {nodes} Preemption is not helpful for scheduling."
        );
        let message = text.clone();
        self.change(pod, |p| p.unschedulable = Some(message));
        self.scheduler_event(pod, true, "FailedScheduling", text);
    }

    /// Somebody labels a node, and what waited for it is bound.
    pub(super) fn label_node(&mut self, name: &'static str, label: (&'static str, &str), workload: &Key) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.meta.labels.push((label.0, label.1.to_owned()));
        }
        self.put_node(name);
        let hash = self
            .workloads
            .get(workload)
            .and_then(|w| w.sets.last())
            .map(|s| s.hash.clone())
            .unwrap_or_default();
        for pod in self.pods_of_set(workload, &hash) {
            self.bind(&pod, &[name]);
            self.after(0.05, move |s| s.admit(&pod, Fate::Runs(5)));
        }
    }

    // === An eviction ===

    /// The kubelet evicts a pod that has written past the limit of its emptyDir: first the Event,
    /// then the end of its containers, then the verdict. The controller makes another.
    pub(super) fn evict(&mut self, workload: &Key) -> bool {
        let hash = self
            .workloads
            .get(workload)
            .and_then(|w| w.sets.last())
            .map(|s| s.hash.clone())
            .unwrap_or_default();
        let Some(pod) = self.pods_of_set(workload, &hash).into_iter().next() else { return false };
        let text = String::from("Usage of EmptyDir volume \"cache\" exceeds the limit \"2Gi\". ");
        self.kubelet_pod_event(&pod, true, "Evicted", text.clone());
        let container = self.pods.get(&pod).map(|p| p.template.container.clone()).unwrap_or_default();
        self.kubelet_event(&pod, false, "Killing", format!("Stopping container {container}"));
        let workload = workload.clone();
        self.after(2.0, move |s| {
            s.end_run(&pod, 137, "Error", "");
            s.change(&pod, |p| {
                p.ready = false;
                p.phase = "Failed";
                p.verdict = Some(("Evicted", text));
            });
            s.add_pod(&workload, Fate::Runs(2));
        });
        true
    }
}
