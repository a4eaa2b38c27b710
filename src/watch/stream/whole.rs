//! Watching whole objects, as recordings keep them: the same requests under the same limits, without the
//! supervision that a bot needs for months.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::Api;
use kube::core::{ApiResource, DynamicResourceScope, GroupVersionKind};
use kube::runtime::watcher;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::guard;
use super::pace::Backoff;
use super::page::LargePages;
use super::remedy::{Remedy, describe, remedy};
use super::{Tuning, WatchStatus};
use crate::watch::Kind;

/// How many changes wait for their writer; a whole pod is some ten KiB.
pub const CAPACITY: usize = 256;

/// What one request lists and watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: Kind,
    /// `None`: all, or a kind without namespaces.
    pub namespace: Option<String>,
    pub field_selector: Option<String>,
    /// Only Events about nodes.
    pub about_nodes: bool,
}

impl Part {
    /// All that is watched: of the whole cluster, or of these namespaces with the nodes and the Events about
    /// them.
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        let all = |kind| Self { kind, namespace: None, field_selector: None, about_nodes: false };
        if namespaces.is_empty() {
            return Kind::ALL.map(all).to_vec();
        }
        let mut parts = Vec::new();
        for kind in Kind::ALL {
            if kind == Kind::Node {
                parts.push(all(kind));
                continue;
            }
            for name in namespaces {
                parts.push(match kind {
                    Kind::Namespace => {
                        Self { field_selector: Some(format!("metadata.name={name}")), ..all(kind) }
                    }
                    _ => Self { namespace: Some(name.clone()), ..all(kind) },
                });
            }
        }
        if !namespaces.iter().any(|name| name == NODE_EVENTS) {
            let namespace = Some(NODE_EVENTS.to_owned());
            parts.push(Self { namespace, about_nodes: true, ..all(Kind::Event) });
        }
        parts
    }
}

/// Where kubelets write Events about their node.
const NODE_EVENTS: &str = "default";

/// What happened to one part.
#[derive(Debug)]
pub enum Whole {
    /// An object that was not known.
    Added(Box<WholeObject>),
    Modified(Box<WholeObject>),
    Deleted(Box<WholeObject>),
    /// The first list is complete.
    Listed,
    /// It cannot be read, and why; `forbidden`: and will not be.
    Unreadable {
        why: String,
        forbidden: bool,
    },
}

/// Watches `parts` until `cancel`. A part waits after its first list until `go`: what changes meanwhile is
/// told after all lists.
pub fn spawn(
    client: &kube::Client,
    parts: &[Part],
    tx: &mpsc::Sender<(usize, Whole)>,
    status: &Arc<WatchStatus>,
    (cancel, go): (&CancellationToken, &CancellationToken),
    tuning: &Tuning,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let large = LargePages::new();
    for (number, part) in parts.iter().enumerate() {
        let Some(entry) = status.entry(part.kind, None) else { continue };
        let watch = Watch {
            number,
            part: part.clone(),
            client: guard(client.clone(), &entry, tuning, &large),
            tx: tx.clone(),
            go: go.clone(),
            tuning: tuning.clone(),
            known: HashMap::new(),
            listed: false,
            page_share: 1,
        };
        let cancel = cancel.clone();
        tasks.spawn(async move {
            // Without a receiver it ends, too.
            cancel.run_until_cancelled(watch.run()).await;
        });
    }
    tasks
}

struct Watch {
    number: usize,
    part: Part,
    client: kube::Client,
    tx: mpsc::Sender<(usize, Whole)>,
    go: CancellationToken,
    tuning: Tuning,
    /// By UID: what a list after a gap is compared with.
    known: HashMap<String, Known>,
    /// The first list was complete.
    listed: bool,
    /// Pages are so many times smaller, because one was too large.
    page_share: u32,
}

struct Known {
    namespace: Option<String>,
    name: Option<String>,
    version: Option<String>,
}

/// Nobody listens any more.
struct Gone;

impl Watch {
    async fn run(mut self) {
        let tuning = &self.tuning;
        let mut pauses = Backoff::new(tuning.backoff_min, tuning.backoff_max, tuning.backoff_reset);
        let mut rng = fastrand::Rng::new();
        loop {
            let Ok(remedy) = self.watch().await else { return };
            if remedy == Remedy::SmallerPages {
                self.page_share = self.page_share.saturating_mul(2);
            }
            let pause = match remedy {
                Remedy::Blind => self.tuning.blind_min,
                _ => pauses.next(&mut rng),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// From a list to the first failure.
    async fn watch(&mut self) -> Result<Remedy, Gone> {
        let kind = self.part.kind;
        let gvk = GroupVersionKind::gvk(kind.group(), "v1", kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let client = self.client.clone();
        let api: Api<WholeObject> = match &self.part.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let page = (self.tuning.page_size(kind) / self.page_share).max(1);
        let seconds = u32::try_from(self.tuning.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut config = watcher::Config::default().timeout(seconds).page_size(page);
        if let Some(selector) = &self.part.field_selector {
            config = config.fields(selector);
        }
        let mut events = std::pin::pin!(watcher(api, config));
        let mut seen = HashSet::new();
        loop {
            let event = match events.next().await {
                None => return Ok(Remedy::Rebuild),
                Some(Err(error)) => {
                    let remedy = remedy(&error);
                    let forbidden = remedy == Remedy::Blind;
                    self.send(Whole::Unreadable { why: describe(&error), forbidden }).await?;
                    return Ok(remedy);
                }
                Some(Ok(event)) => event,
            };
            match event {
                watcher::Event::Init => seen.clear(),
                watcher::Event::InitApply(object) => {
                    seen.extend(object.metadata.uid.clone());
                    self.object(object).await?;
                }
                watcher::Event::Apply(object) => self.object(object).await?,
                watcher::Event::Delete(object) if !self.wants(&object) => {}
                watcher::Event::Delete(object) => {
                    self.known.remove(object.metadata.uid.as_deref().unwrap_or_default());
                    self.send(Whole::Deleted(Box::new(self.typed(object)))).await?;
                }
                watcher::Event::InitDone => self.init_done(&seen).await?,
            }
        }
    }

    fn wants(&self, object: &WholeObject) -> bool {
        let about = object.json.pointer("/involvedObject/kind").and_then(Value::as_str);
        !self.part.about_nodes || about == Some("Node")
    }

    async fn object(&mut self, object: WholeObject) -> Result<(), Gone> {
        if !self.wants(&object) {
            return Ok(());
        }
        let metadata = &object.metadata;
        let known = Known {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            version: metadata.resource_version.clone(),
        };
        let version = known.version.clone();
        let before = self.known.insert(metadata.uid.clone().unwrap_or_default(), known);
        let object = Box::new(self.typed(object));
        match before {
            None => self.send(Whole::Added(object)).await,
            // A list after a gap shows again what has not changed.
            Some(before) if before.version == version => Ok(()),
            Some(_) => self.send(Whole::Modified(object)).await,
        }
    }

    /// What was known and is not in the list went unseen.
    async fn init_done(&mut self, seen: &HashSet<String>) -> Result<(), Gone> {
        let gone: Vec<String> = self.known.keys().filter(|uid| !seen.contains(*uid)).cloned().collect();
        for uid in gone {
            let Some(known) = self.known.remove(&uid) else { continue };
            let mut metadata = Map::new();
            let known = [("name", known.name), ("namespace", known.namespace), ("uid", Some(uid))];
            metadata.extend(
                known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))),
            );
            let object = self.typed(WholeObject::new(json!({ "metadata": metadata })));
            self.send(Whole::Deleted(Box::new(object))).await?;
        }
        if !std::mem::replace(&mut self.listed, true) {
            self.send(Whole::Listed).await?;
            self.go.cancelled().await;
        }
        Ok(())
    }

    /// Items of lists do not say what they are.
    fn typed(&self, mut object: WholeObject) -> WholeObject {
        if let Some(map) = object.json.as_object_mut() {
            let group = self.part.kind.group();
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            map.insert("apiVersion".to_owned(), version.into());
            map.insert("kind".to_owned(), self.part.kind.as_str().into());
        }
        object
    }

    async fn send(&self, whole: Whole) -> Result<(), Gone> {
        self.tx.send((self.number, whole)).await.map_err(|_| Gone)
    }
}

/// An object as it came. Of its metadata only what is needed here is read, and nothing in it can keep the rest
/// of a list from being read.
#[derive(Debug, Clone)]
pub struct WholeObject {
    pub json: Value,
    metadata: ObjectMeta,
}

impl WholeObject {
    fn new(json: Value) -> Self {
        let text = |key: &str| json.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { json, metadata }
    }
}

impl<'de> Deserialize<'de> for WholeObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

impl Resource for WholeObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }
    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }
    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }
    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
