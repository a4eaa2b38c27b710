//! What the simulated API server knows: objects, one global resourceVersion, the history that
//! watches resume from, and snapshots for paged lists.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::resource::Resource;

/// How many writes a watch can lag behind before the server cuts it: the buffer of a real cache
/// watcher (`staging/src/k8s.io/apiserver/pkg/storage/cacher/watch_cache.go`).
const WATCH_BUFFER: usize = 1000;
/// How many writes are kept for watches to resume from.
const HISTORY: usize = 100_000;
/// How many paged lists can be under way before the oldest expires.
const SNAPSHOTS: usize = 64;

/// What can be wrong with an object given to [`super::ApiServer::apply`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidObject {
    /// It is no JSON object.
    #[error("an object is expected, not {0}")]
    NotAnObject(String),
    /// Its kind is missing or not served.
    #[error("kind {0:?} is not one of those served")]
    UnknownKind(String),
    /// It has no name.
    #[error("metadata.name is missing")]
    NoName,
}

/// One version of one object.
#[derive(Debug)]
pub(super) struct Stored {
    pub resource: &'static Resource,
    /// Empty for cluster-scoped objects.
    pub namespace: Box<str>,
    pub name: Box<str>,
    uid: Box<str>,
    created: Box<str>,
    /// The JSON text behind the opening brace and without `kind` and `apiVersion`: items of lists
    /// do not have them, everything else puts them in front.
    rest: Box<str>,
}

#[derive(Deserialize)]
struct MetaOnly {
    metadata: Box<RawValue>,
}

impl Stored {
    /// The object as a list item.
    pub fn item(&self) -> String {
        format!("{{{}", self.rest)
    }

    /// The object on its own or in a watch.
    pub fn full(&self) -> String {
        let (kind, version) = (self.resource.kind, self.resource.api_version());
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}",{}"#, self.rest)
    }

    /// The object as PartialObjectMetadata.
    pub fn partial(&self) -> String {
        let metadata = serde_json::from_str::<MetaOnly>(&self.item());
        let metadata = metadata.as_ref().map_or("{}", |m| m.metadata.get());
        format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#)
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.full()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Added,
    Modified,
    Deleted,
}

impl Write {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

#[derive(Debug)]
pub(super) struct Event {
    pub version: u64,
    pub write: Write,
    pub object: Arc<Stored>,
}

/// Which objects a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub namespace: Option<String>,
    /// `(value, wanted)` of `metadata.name` selectors.
    pub names: Vec<(String, bool)>,
    /// The same for `metadata.namespace`.
    pub namespaces: Vec<(String, bool)>,
}

impl Filter {
    pub fn matches(&self, object: &Stored) -> bool {
        self.namespace.as_deref().is_none_or(|ns| ns == &*object.namespace)
            && self.names.iter().all(|(name, wanted)| (name == &*object.name) == *wanted)
            && self.namespaces.iter().all(|(ns, wanted)| (ns == &*object.namespace) == *wanted)
    }

    pub fn selects(&self) -> bool {
        !self.names.is_empty() || !self.namespaces.is_empty()
    }
}

struct Watcher {
    resource: &'static Resource,
    filter: Filter,
    /// Only later writes are sent. A version not reached yet is accepted, and silent until then.
    from: u64,
    tx: mpsc::Sender<Arc<Event>>,
}

type Objects = BTreeMap<(Box<str>, Box<str>), Arc<Stored>>;

/// Objects at one moment, for the pages of one list.
pub(super) type Snapshot = Arc<Vec<Arc<Stored>>>;

/// A copy of the whole state, to go back to as after an etcd restore.
#[derive(Debug, Clone)]
pub struct Backup {
    version: u64,
    objects: BTreeMap<&'static str, Objects>,
}

#[derive(Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<&'static str, Objects>,
    history: VecDeque<Arc<Event>>,
    /// Watches from before this version are too old.
    compacted: u64,
    watchers: Vec<Watcher>,
    snapshots: VecDeque<(&'static str, u64, Snapshot)>,
    uids: u64,
}

/// Where a watch starts.
pub(super) enum From {
    /// The state as synthetic ADDED first.
    State,
    /// Whatever comes after this version.
    Version(u64),
}

/// A watch: what it missed, and what comes.
pub(super) type Opened = (VecDeque<Arc<Event>>, mpsc::Receiver<Arc<Event>>);

/// The requested version is older than the history; the oldest one possible.
pub(super) struct TooOld(pub u64);

impl Store {
    pub fn new() -> Self {
        // A real server is never at 0, and 0 and 1 mean "any" to clients.
        Self { version: 1000, compacted: 1000, ..Self::default() }
    }

    pub const fn version(&self) -> u64 {
        self.version
    }

    pub fn apply(&mut self, value: Value, now: jiff::Timestamp) -> Result<u64, InvalidObject> {
        let Value::Object(mut map) = value else {
            return Err(InvalidObject::NotAnObject(value.to_string()));
        };
        map.remove("apiVersion");
        let kind = map.remove("kind");
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        let resource = Resource::by_kind(kind).ok_or_else(|| InvalidObject::UnknownKind(kind.to_owned()))?;
        let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(InvalidObject::NoName);
        };
        let text =
            |m: &Map<String, Value>, field: &str| m.get(field).and_then(Value::as_str).map(str::to_owned);
        let name = text(metadata, "name").filter(|n| !n.is_empty()).ok_or(InvalidObject::NoName)?;
        let namespace = if resource.namespaced {
            text(metadata, "namespace").unwrap_or_else(|| String::from("default"))
        } else {
            String::new()
        };

        let key = (namespace.clone().into_boxed_str(), name.clone().into_boxed_str());
        let mut old = self.objects.get(resource.plural).and_then(|objects| objects.get(&key)).cloned();
        let given = text(metadata, "uid");
        if let Some(was) = &old
            && given.as_deref().is_some_and(|given| given != &*was.uid)
        {
            // An object never changes its UID: it was deleted and created again.
            self.delete(resource, &namespace, &name);
            old = None;
        }
        self.version += 1;
        self.uids += 1;
        let uid = given
            .or_else(|| old.as_ref().map(|was| was.uid.to_string()))
            .unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012x}", self.uids));
        let created = text(metadata, "creationTimestamp")
            .or_else(|| old.as_ref().map(|was| was.created.to_string()))
            .unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        metadata.insert("uid".into(), uid.clone().into());
        metadata.insert("creationTimestamp".into(), created.clone().into());
        metadata.insert("resourceVersion".into(), self.version.to_string().into());
        if resource.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }

        let object = Arc::new(Stored {
            resource,
            namespace: key.0.clone(),
            name: key.1.clone(),
            uid: uid.into(),
            created: created.into(),
            rest: rest(&map),
        });
        self.objects.entry(resource.plural).or_default().insert(key, Arc::clone(&object));
        self.push(if old.is_some() { Write::Modified } else { Write::Added }, object);
        Ok(self.version)
    }

    /// Deletes; the object sent carries the version of the deletion, as a real one does.
    pub fn delete(&mut self, resource: &'static Resource, namespace: &str, name: &str) -> Option<u64> {
        let objects = self.objects.get_mut(resource.plural)?;
        let last = objects.remove(&(namespace.into(), name.into()))?;
        self.version += 1;
        let mut map = match serde_json::from_str(&last.item()) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), self.version.to_string().into());
        }
        let object = Stored {
            resource,
            namespace: last.namespace.clone(),
            name: last.name.clone(),
            uid: last.uid.clone(),
            created: last.created.clone(),
            rest: rest(&map),
        };
        self.push(Write::Deleted, Arc::new(object));
        Some(self.version)
    }

    fn push(&mut self, write: Write, object: Arc<Stored>) {
        let event = Arc::new(Event { version: self.version, write, object });
        // A watch whose buffer is full is dropped: its stream ends without an ERROR, as the real
        // server does with slow readers.
        self.watchers.retain(|w| {
            if w.resource != event.object.resource
                || event.version <= w.from
                || !w.filter.matches(&event.object)
            {
                return !w.tx.is_closed();
            }
            w.tx.try_send(Arc::clone(&event)).is_ok()
        });
        self.history.push_back(event);
        if self.history.len() > HISTORY
            && let Some(dropped) = self.history.pop_front()
        {
            self.compacted = dropped.version;
        }
    }

    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.objects.get(resource.plural)?.get(&(namespace.into(), name.into())).cloned()
    }

    pub fn objects(&self, resource: &Resource) -> Snapshot {
        Arc::new(self.objects.get(resource.plural).map(|o| o.values().cloned().collect()).unwrap_or_default())
    }

    /// Keeps the objects for further pages of a list that begins now.
    pub fn keep(&mut self, resource: &Resource, objects: &Snapshot) {
        if self
            .snapshots
            .iter()
            .any(|(plural, version, _)| *plural == resource.plural && *version == self.version)
        {
            return;
        }
        self.snapshots.push_back((resource.plural, self.version, Arc::clone(objects)));
        if self.snapshots.len() > SNAPSHOTS {
            self.snapshots.pop_front();
        }
    }

    /// The objects as they were when a list began; `None`: expired.
    pub fn kept(&self, resource: &Resource, version: u64) -> Option<Snapshot> {
        let found = self.snapshots.iter().find(|(plural, v, _)| *plural == resource.plural && *v == version);
        found.map(|(.., objects)| Arc::clone(objects))
    }

    pub fn expire_pages(&mut self) {
        self.snapshots.clear();
    }

    pub fn watch(
        &mut self,
        resource: &'static Resource,
        filter: &Filter,
        from: &From,
    ) -> Result<Opened, TooOld> {
        let (replay, from) = match *from {
            From::State => {
                let state = self.objects(resource);
                let added = state.iter().filter(|o| filter.matches(o)).map(|object| {
                    let object = Arc::clone(object);
                    Arc::new(Event { version: self.version, write: Write::Added, object })
                });
                (added.collect(), self.version)
            }
            From::Version(version) if version < self.compacted => return Err(TooOld(self.compacted)),
            From::Version(version) => {
                let start = self.history.partition_point(|event| event.version <= version);
                let missed = self
                    .history
                    .range(start..)
                    .filter(|event| event.object.resource == resource && filter.matches(&event.object));
                (missed.cloned().collect(), version)
            }
        };
        let (tx, rx) = mpsc::channel(WATCH_BUFFER);
        self.watchers.push(Watcher { resource, filter: filter.clone(), from, tx });
        Ok((replay, rx))
    }

    /// Ends the watches of one resource, or all.
    pub fn close_watches(&mut self, plural: Option<&str>) {
        self.watchers.retain(|w| plural.is_some_and(|plural| w.resource.plural != plural));
    }

    pub fn open_watches(&self, plural: &str) -> usize {
        self.watchers.iter().filter(|w| w.resource.plural == plural && !w.tx.is_closed()).count()
    }

    /// Forgets the history and the snapshots; open watches go on.
    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
        self.expire_pages();
    }

    pub fn backup(&self) -> Backup {
        Backup { version: self.version, objects: self.objects.clone() }
    }

    /// Goes back; watches end, as the API servers are restarted after an etcd restore.
    pub fn restore(&mut self, backup: &Backup) {
        self.version = backup.version;
        self.objects.clone_from(&backup.objects);
        self.compact();
        self.close_watches(None);
    }
}

fn rest(map: &Map<String, Value>) -> Box<str> {
    let json = serde_json::to_string(map).unwrap_or_default();
    json.strip_prefix('{').unwrap_or("}").into()
}
