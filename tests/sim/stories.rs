//! Stories: the writes that a failure is made of, as a cluster makes them, and what of it is true when.

mod starts;

use std::collections::BTreeMap;

use kubeherald::testkit::builders::{Event, Pod, event, job, node};
use serde_json::Value;

use super::cluster::{NODES, TARGETS, Target, Write, object};
use super::hostile::SECRET;
use super::plan::{MINUTE, Ms, Plan, SECOND, Story, What};

/// A problem that the world has. The oracle knows nothing else of what should be told.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub story: Story,
    /// `None`: of the cluster.
    pub namespace: Option<&'static str>,
    /// `Deployment/checkout`
    pub workload: String,
    /// The cause it has to be told by, and those that it may be told by as well.
    pub cause: &'static str,
    pub also: &'static [&'static str],
    /// From when to when it is there. A moment where something only happened.
    pub from: Ms,
    pub to: Ms,
    /// Until when the API server shows that it is, or was, there.
    pub shown_to: Ms,
    /// The nodes whose loss explains it.
    pub nodes: Vec<&'static str>,
}

/// All writes of a plan, in order of time, and what is true.
#[derive(Debug, Default)]
pub struct Script {
    pub writes: Vec<(Ms, Write)>,
    pub troubles: Vec<Trouble>,
    /// Kubelets that restart, and when: too short to be told, and long enough to be waited for.
    pub kubelet_restarts: Vec<(&'static str, Ms)>,
}

/// Writes of one item.
struct Teller<'s> {
    out: &'s mut Script,
    ends: Ms,
}

/// What is left of a target by the stories before.
#[derive(Debug, Clone)]
struct Present {
    /// The letters of its first pod.
    pod: String,
    db: String,
}

/// Crashing programs say this, with the name of who runs them: nobody else may be told it.
pub fn canary(namespace: &str) -> String {
    format!("canary-of-{namespace}")
}

/// How long what happened is left for everybody to see before its pod is replaced.
pub const LINGER: Ms = 5 * MINUTE;
/// The API server keeps an Event for an hour.
const EVENT_LIFE: Ms = 60 * MINUTE;
/// What only Events tell is news for so long after the last.
const EVENT_NEWS: Ms = 2 * MINUTE;

pub fn script(plan: &Plan) -> Script {
    let mut script = Script::default();
    let mut present: BTreeMap<usize, Present> = BTreeMap::new();
    for item in &plan.items {
        let What::Story { story, target, lasts } = &item.what else { continue };
        // Names stay the same whatever else is taken out of a plan.
        let number = usize::try_from(item.at / SECOND).unwrap_or(0) * 10 + target % 10;
        let mut teller = Teller { out: &mut script, ends: plan.ends };
        let span = Span { item: number, story: *story, from: item.at, to: item.at.saturating_add(*lasts) };
        if story.is_node() {
            teller.node(&span, NODES[target % NODES.len()]);
        } else {
            let place = target % TARGETS.len();
            let there = present.entry(place).or_insert_with(|| Present {
                pod: "aaaaa".into(),
                db: format!("db-of-{}", TARGETS[place].name),
            });
            teller.workload(&span, &TARGETS[place], there);
        }
    }
    script.writes.sort_by_key(|(at, _)| *at);
    script
}

/// Of one item.
struct Span {
    /// Makes names of what the story brings.
    item: usize,
    story: Story,
    from: Ms,
    to: Ms,
}

impl Span {
    fn trouble(&self, target: &Target, cause: &'static str, also: &'static [&'static str]) -> Trouble {
        Trouble {
            story: self.story,
            namespace: Some(target.namespace),
            workload: target.workload(),
            cause,
            also,
            from: self.from,
            to: self.to,
            shown_to: self.to,
            nodes: target.nodes.to_vec(),
        }
    }
}

impl Teller<'_> {
    fn write(&mut self, at: Ms, write: Write) {
        if at < self.ends {
            self.out.writes.push((at, write));
        }
    }

    fn see(&mut self, at: Ms, what: impl Into<Value>) {
        self.write(at, Write::Apply(object(what, at)));
    }

    /// The run that ends now has written this a second ago.
    fn log(&mut self, at: Ms, target: &Target, pod: &str, run: i64) {
        let line = format!("{} could not log in with password={SECRET}", canary(target.namespace));
        let pod = format!("{}-{pod}", target.set());
        self.write(at, Write::Log { namespace: target.namespace, pod, run, line });
    }

    fn gone(&mut self, at: Ms, what: impl Into<Value>) {
        self.write(at, Write::delete(&what.into()));
    }

    /// Names of Events end in what makes them differ.
    fn event(&mut self, at: Ms, what: &Event, item: usize) {
        let mut what = what.json();
        if let Some(Value::String(name)) = what.pointer_mut("/metadata/name") {
            name.push_str(&format!(".{item:x}"));
        }
        self.see(at, what);
    }

    /// The pod makes way for a new one, which is well.
    fn replace(&mut self, at: Ms, old: &Pod, target: &Target, there: &mut Present, item: usize) {
        there.pod = format!("{item:05}");
        let new = target.pod(&there.pod, 0).created(&since(at)).scheduled(&since(at));
        self.see(at, new.clone().waiting("ContainerCreating", ""));
        self.see(at + 2 * SECOND, new.running("-0s"));
        self.see(at + 3 * SECOND, old.clone().deleting("-0s"));
        self.gone(at + 4 * SECOND, old.clone());
    }

    fn workload(&mut self, span: &Span, target: &Target, there: &mut Present) {
        let Span { from, to, item, .. } = *span;
        let pod = target.pod(&there.pod, 0);
        let said = format!("panic: {}: no such file", canary(target.namespace));
        match span.story {
            Story::CrashLoop => {
                let letters = there.pod.clone();
                self.log(from, target, &letters, 0);
                self.see(from, pod.clone().terminated(3, "Error", "-2s", "-0s").said(&said));
                self.see(
                    from + SECOND,
                    pod.clone().last(3, "Error", "-3s", "-1s").said(&said).running("-0s").restarts(1),
                );
                let mut at = from + 3 * SECOND;
                let mut restarts = 1;
                let mut pause = 10 * SECOND;
                while at < to.min(self.ends) {
                    self.log(at, target, &letters, restarts);
                    let dead = pod.clone().last(3, "Error", "-5s", "-3s").said(&said).restarts(restarts);
                    self.see(at, dead.terminated(3, "Error", "-2s", "-0s").said(&said));
                    let waits = pod.clone().last(3, "Error", "-3s", "-1s").said(&said).restarts(restarts);
                    self.see(
                        at + SECOND,
                        waits.waiting("CrashLoopBackOff", "back-off restarting failed container"),
                    );
                    self.see(at + SECOND, target.deployment().available(1));
                    at += pause;
                    restarts += 1;
                    pause = (2 * pause).min(5 * MINUTE);
                    if at < to {
                        let again = pod.clone().last(3, "Error", "-12s", "-10s").said(&said).running("-0s");
                        self.see(at, again.restarts(restarts));
                        at += 2 * SECOND;
                    }
                }
                let trouble = span.trouble(target, "CrashLoopBackOff", &[]);
                self.out.troubles.push(Trouble { from: from + 4 * SECOND, ..trouble });
                self.replace(to, &pod, target, there, item);
                self.see(to + 5 * SECOND, target.deployment());
            }
            Story::OomKill => {
                self.see(from, pod.clone().memory("64Mi").terminated(137, "OOMKilled", "T-1h", "-0s"));
                let again = pod.clone().memory("64Mi").last(137, "OOMKilled", "T-1h", "-1s").restarts(1);
                self.see(from + SECOND, again.running("-0s"));
                let trouble = span.trouble(target, "OOMKilled", &["CrashLoopBackOff"]);
                self.out.troubles.push(Trouble { to: from, shown_to: from + LINGER, ..trouble });
                self.replace(from + LINGER, &pod, target, there, item);
            }
            Story::Eviction => {
                let why = format!("The node was low on resource: memory. {} ", canary(target.namespace));
                let about = format!("Pod/{}-{}", target.set(), there.pod);
                let told = event(&about, "Evicted", &why).uid(&format!("evicted-{item}"));
                self.event(from, &told.within(target.namespace), item);
                let dead = pod.clone().terminated(137, "Error", "T-1h", "-0s").failed("Evicted", &why);
                self.see(from + 2 * SECOND, dead.clone());
                there.pod = format!("{item:05}");
                let new = target.pod(&there.pod, 0).created(&since(from)).scheduled(&since(from));
                self.see(from + 3 * SECOND, new.running("-0s"));
                let trouble = span.trouble(target, "Evicted", &[]);
                self.out.troubles.push(Trouble { to: from, shown_to: from + LINGER, ..trouble });
                self.gone(from + LINGER, dead);
            }
            Story::ImagePull | Story::MissingConfig | Story::NoNode | Story::NoVolume => {
                self.start_fails(span, target, there, &pod);
            }
            Story::Quota => {
                self.quota(span, target, there, from, to, (1, from));
            }
            Story::QuotaAgain => {
                // It is over, told so and forgotten before it comes again.
                let count = self.quota(span, target, there, from, to, (1, from));
                let again = to + 9 * MINUTE;
                self.quota(span, target, there, again, again + 3 * MINUTE, (count + 1, from));
            }
            Story::StuckRollout => {
                self.see(from, target.deployment().generation(2).available(1).stuck("-0s"));
                self.out.troubles.push(span.trouble(target, "RolloutStuck", &[]));
                self.see(to, target.deployment().generation(2));
            }
            Story::FailedJob => {
                let name = format!("{}-import-{item}", target.name);
                let import = || job(&name).namespace(target.namespace).created(&since(from));
                self.see(from, import());
                self.see(from + 5 * SECOND, import().tries(7).backoff_limit("-0s"));
                let trouble = span.trouble(target, "JobFailed", &[]);
                let workload = format!("Job/{name}");
                self.out.troubles.push(Trouble {
                    from: from + 5 * SECOND,
                    workload,
                    nodes: vec![],
                    ..trouble
                });
                self.gone(to, import());
            }
            Story::Blip => {
                self.see(from, pod.clone().running("T-1h").unready());
                let about = format!("Pod/{}-{}", target.set(), there.pod);
                let text = "Readiness probe failed: HTTP probe failed with statuscode: 503";
                let told = event(&about, "Unhealthy", text).container("app").uid(&format!("blip-{item}"));
                self.event(from, &told.within(target.namespace), item);
                self.see(from + 10 * SECOND, pod.running("T-1h"));
            }
            Story::RestartOnce => {
                self.see(from, pod.clone().terminated(1, "Error", "T-1h", "-0s"));
                self.see(
                    from + SECOND,
                    pod.clone().last(1, "Error", "T-1h", "-1s").running("-0s").restarts(1),
                );
                self.replace(from + LINGER, &pod, target, there, item);
            }
            Story::Drain => {
                let going = pod.running("T-1h").disrupted("EvictionByEvictionAPI");
                self.see(from, going.clone());
                self.see(from + SECOND, going.clone().deleting("-0s"));
                there.pod = format!("{item:05}");
                let new = target.pod(&there.pod, 0).created(&since(from)).scheduled(&since(from));
                self.see(from + 2 * SECOND, new.running("-0s"));
                self.gone(from + 6 * SECOND, going);
            }
            Story::NodeLost | Story::SystemOom | Story::KubeletRestart => {}
        }
    }

    fn node(&mut self, span: &Span, name: &'static str) {
        let Span { from, to, item, .. } = *span;
        let trouble = |cause| Trouble {
            story: span.story,
            namespace: None,
            workload: format!("Node/{name}"),
            cause,
            also: &[],
            from,
            to,
            shown_to: to,
            nodes: vec![],
        };
        let text = format!("Node {name} status is now: NodeNotReady");
        let told = event(&format!("Node/{name}"), "NodeNotReady", &text).normal().from("node-controller");
        match span.story {
            Story::NodeLost => {
                self.see(from, node(name).lost("-0s"));
                self.event(from, &told.uid(&format!("lost-{item}")), item);
                self.out.troubles.push(trouble("NodeNotReady"));
                self.see(to, node(name).ready("-0s"));
            }
            Story::KubeletRestart => {
                self.see(from, node(name).not_ready("PLEG is not healthy", "-0s"));
                self.event(from, &told.uid(&format!("restart-{item}")), item);
                self.out.kubelet_restarts.push((name, from));
                self.see(from + 8 * SECOND, node(name).ready("-0s"));
            }
            _ => {
                let text = "System OOM encountered, victim process: python, pid: 4242";
                let told = event(&format!("Node/{name}"), "SystemOOM", text);
                self.event(from, &told.uid(&format!("oom-{item}")), item);
                let shown_to = from + EVENT_LIFE;
                self.out.troubles.push(Trouble { to: from, shown_to, ..trouble("OOMKilled") });
            }
        }
    }
}

/// `T+61s`: an offset from the beginning of the world.
fn since(at: Ms) -> String {
    format!("T+{}s", at / SECOND)
}
