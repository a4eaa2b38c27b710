//! Pods that do not come into being.

use kubeherald::testkit::builders::{Pod, event};

use super::super::cluster::{NODES, Target};
use super::super::plan::{MINUTE, Ms, SECOND, Story};
use super::{EVENT_NEWS, Present, Span, Teller, Trouble, canary, since};

impl Teller<'_> {
    /// A rollout whose new pod does not come into being until `to`.
    pub(super) fn start_fails(&mut self, span: &Span, target: &Target, there: &mut Present, old: &Pod) {
        let Span { from, to, item, .. } = *span;
        let letters = format!("{item:05}");
        let bare = |place: &str| {
            let made = target.pod(&letters, 0).created(&since(from));
            if place.is_empty() { made } else { made.scheduled(place) }
        };
        let new = bare(&since(from));
        let about = format!("Pod/{}-{letters}", target.set());
        let canary = canary(target.namespace);
        let cause = match span.story {
            Story::ImagePull => {
                let error = format!("failed to resolve reference \"{canary}\": not found");
                self.see(from, new.clone().waiting("ContainerCreating", ""));
                let mut at = from + 2 * SECOND;
                let mut pause = 10 * SECOND;
                while at < to.min(self.ends) {
                    self.see(at, new.clone().waiting("ErrImagePull", &error));
                    let text = format!("Back-off pulling image: ErrImagePull: {error}");
                    if at + 3 * SECOND < to {
                        self.see(at + 3 * SECOND, new.clone().waiting("ImagePullBackOff", &text));
                    }
                    at += pause;
                    pause = (2 * pause).min(5 * MINUTE);
                }
                "ImagePullBackOff"
            }
            Story::MissingConfig => {
                self.see(from, new.clone().waiting("ContainerCreating", ""));
                let text = format!("configmap \"{canary}\" not found");
                self.see(from + 2 * SECOND, new.clone().waiting("CreateContainerConfigError", &text));
                "CreateContainerConfigError"
            }
            Story::NoNode => {
                let text = format!("0/4 nodes are available: 4 Insufficient cpu. {canary}");
                let stuck = kubeherald::testkit::builders::pod(&format!("{}-{letters}", target.set()));
                let stuck =
                    stuck.namespace(target.namespace).owned_by_rs(&target.set()).created(&since(from));
                self.see(from, stuck.unschedulable(&text, &since(from)));
                "FailedScheduling"
            }
            _ => {
                self.see(from, new.clone().waiting("ContainerCreating", ""));
                let text =
                    format!("MountVolume.SetUp failed for volume \"tls\" : secret \"{canary}\" not found");
                let mut at = from + SECOND;
                let (mut count, mut pause) = (1, SECOND);
                while at < to.min(self.ends) {
                    let told = event(&about, "FailedMount", &text).count(count, &since(from + SECOND));
                    let told = told.uid(&format!("mount-{item}")).within(target.namespace);
                    self.event(at, &told, item);
                    at += pause;
                    count += 1;
                    pause = (2 * pause).min(2 * MINUTE);
                }
                "FailedMount"
            }
        };
        let also: &'static [&'static str] =
            if cause == "FailedMount" { &["ContainerStuck"] } else { &["ContainerStuck", "RolloutStuck"] };
        let trouble = span.trouble(target, cause, also);
        // A lost node explains that there is no room.
        let nodes = if cause == "FailedScheduling" { NODES.to_vec() } else { trouble.nodes.clone() };
        self.out.troubles.push(Trouble { from: from + 2 * SECOND, nodes, ..trouble });
        self.see(to, bare(&since(if cause == "FailedScheduling" { to } else { from })).running("-0s"));
        self.see(to + SECOND, old.clone().running("T-1h").deleting("-0s"));
        self.gone(to + 2 * SECOND, old.clone());
        there.pod = letters;
    }

    /// A StatefulSet may not make its pod from `from` to `to`. The count of its Event goes on from
    /// `count`, since `first`; returns how far it came.
    pub(super) fn quota(
        &mut self,
        span: &Span,
        target: &Target,
        there: &mut Present,
        from: Ms,
        to: Ms,
        (mut count, first): (i64, Ms),
    ) -> i64 {
        let item = span.item;
        let name = target.stateful_set();
        let text = format!("create Pod {name}-0 failed: exceeded quota: {}", canary(target.namespace));
        let told =
            event(&format!("StatefulSet/{name}"), "FailedCreate", &text).from("statefulset-controller");
        let told = told.uid(&format!("quota-{item}")).within(target.namespace);
        self.see(from, target.db().available(0));
        self.gone(from, target.db_pod(&there.db));
        let (mut at, mut last) = (from, from);
        while at < to.min(self.ends) {
            self.event(at, &told.clone().count(count, &since(first)), item);
            last = at;
            count += 1;
            at += 20 * SECOND;
        }
        let trouble = span.trouble(target, "FailedCreate", &[]);
        let workload = format!("StatefulSet/{name}");
        let shown_to = last + EVENT_NEWS;
        self.out.troubles.push(Trouble { from, to, shown_to, workload, nodes: vec![], ..trouble });
        let made =
            event(&format!("StatefulSet/{name}"), "SuccessfulCreate", "create Pod successful").normal();
        let made = made.uid(&format!("made-{item}-{from}")).within(target.namespace);
        self.event(to, &made.from("statefulset-controller"), item);
        there.db = format!("db-{item}-{from}-of-{}", target.name);
        let pod = target.db_pod(&there.db).created(&since(to)).scheduled(&since(to));
        self.see(to, pod.clone().waiting("ContainerCreating", ""));
        self.see(to + 2 * SECOND, pod.running("-0s"));
        self.see(to + 2 * SECOND, target.db());
        count - 1
    }
}
