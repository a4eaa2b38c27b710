//! kubeherald and the cluster it watches, while a story is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Output, Pipeline, Start};
use kubeherald::config::Config;
use kubeherald::engine::digest::DigestState;
use kubeherald::engine::{Identity, Incident, Numbers};
use kubeherald::rule::Silence;
use kubeherald::rule::silence::Origin;
use kubeherald::testkit::builders;
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, Kind};
use serde_json::Value;

use super::{Step, Way};

/// What is not about a single incident, and the incidents.
type StoredBook = (String, Vec<(Arc<str>, String)>);

pub(super) struct Run {
    config: Config,
    pub(super) next_config: Option<Config>,
    start: Timestamp,
    pub(super) now: Timestamp,
    way: Way,
    pub(super) pipeline: Option<Pipeline>,
    gap: bool,
    stored: Vec<String>,
    silences: Vec<Silence>,
    /// Digests to come.
    books: Vec<StoredBook>,
    seen_until: Option<Timestamp>,
    numbers: Numbers,
    annotations: Vec<(String, String, String, Timestamp)>,
    world: BTreeMap<(Kind, String, String), Value>,
    pub(super) out: Output,
}

impl Run {
    pub(super) fn new(config: Config, start: Timestamp, way: Way, first: bool) -> Self {
        let begin = Start { first, news_since: (!first).then(|| start.into()), ..Start::default() };
        let pipeline = Pipeline::new(&config, &Kind::ALL, start, begin).0;
        Self {
            config,
            next_config: None,
            start,
            now: start,
            way,
            pipeline: Some(pipeline),
            gap: false,
            stored: Vec::new(),
            silences: Vec::new(),
            books: Vec::new(),
            seen_until: None,
            numbers: Numbers::default(),
            annotations: Vec::new(),
            world: BTreeMap::new(),
            out: Output::default(),
        }
    }

    pub(super) fn put(&mut self, object: Value) {
        self.world.insert(place(&object), object);
    }

    fn feed(&mut self, change: Change) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.feed(self.now, change, &mut self.out);
        }
    }

    pub(super) fn relist(&mut self, kinds: &[Kind]) {
        self.gap = false;
        for kind in kinds {
            self.feed(Change::Listing(*kind));
            let of_kind: Vec<Value> =
                self.world.iter().filter(|((k, ..), _)| k == kind).map(|(_, o)| o.clone()).collect();
            for object in of_kind {
                self.feed(Change::Initial(object_of(&object)));
            }
            self.feed(Change::Listed(*kind));
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        let seen = self.pipeline.is_some() && !self.gap;
        match step {
            Step::Applied(object) => {
                let object = builders::at(object, self.start, self.now);
                self.put(object.clone());
                if seen {
                    self.feed(Change::Applied(object_of(&object)));
                    if self.way == Way::Twice {
                        self.feed(Change::Applied(object_of(&object)));
                    }
                }
            }
            Step::Deleted(object) => {
                let object = builders::at(object, self.start, self.now);
                self.world.remove(&place(&object));
                if seen {
                    self.feed(Change::Deleted(object_of(&object)));
                }
            }
            Step::Relist => self.relist(&Kind::ALL),
            Step::Listing(kind) => self.feed(Change::Listing(kind)),
            Step::List(kind) => self.relist(&[kind]),
            Step::Failing(kind) => {
                let since = tokio::time::Instant::now();
                self.feed(Change::Failing { kind, since, why: String::from("connection reset") });
            }
            Step::Contact(kind) => {
                self.gap = false;
                self.feed(Change::Contact(kind, tokio::time::Instant::now()));
            }
            Step::Blind(kind) => self.feed(Change::Blind(kind, String::from("forbidden"))),
            Step::Gap => self.gap = true,
            Step::Silence(body) => {
                let pipeline = self.pipeline.as_mut().unwrap();
                pipeline.tick_until(self.now, &mut self.out);
                pipeline.add_silence(body, self.now, &mut self.out).unwrap();
                pipeline.tick_until(self.now, &mut self.out);
            }
            Step::Unsilence => {
                let pipeline = self.pipeline.as_mut().unwrap();
                pipeline.tick_until(self.now, &mut self.out);
                let ids = pipeline.engine().silences().all().filter(|s| s.origin == Origin::Api);
                let ids: Vec<Arc<str>> = ids.filter(|s| self.now < s.until).map(|s| s.id.clone()).collect();
                for id in ids {
                    pipeline.expire_silence(&id, self.now, &mut self.out).unwrap();
                }
                pipeline.tick_until(self.now, &mut self.out);
            }
            Step::Down => self.down(),
            Step::DownUnheard(since) => {
                self.down();
                self.seen_until = Some(self.start + super::span(since));
            }
            Step::Up => self.up(None),
            Step::UpBlind(kind) => self.up(Some(kind)),
            Step::Reload(config) => {
                self.config = Config::clone(&config);
                self.reload();
            }
        }
        if self.way == Way::Reloaded {
            self.reload();
        }
        if self.way == Way::Restarted && self.pipeline.is_some() && !self.gap {
            self.down();
            self.up(None);
        }
        if self.way == Way::Relisted && self.pipeline.is_some() && !self.gap {
            self.relist(&Kind::ALL);
        }
    }

    fn reload(&mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.reload(self.now, &self.config, &mut self.out);
        }
    }

    /// What `run` stores: the incidents that must survive, and the silences of the API.
    fn down(&mut self) {
        let Some(mut pipeline) = self.pipeline.take() else { return };
        pipeline.tick_until(self.now, &mut self.out);
        self.stored = pipeline
            .engine()
            .incidents()
            .filter(|incident| incident.recorded.kept)
            .map(|incident| serde_json::to_string(incident).unwrap())
            .collect();
        let silences = pipeline.engine().silences().all();
        self.silences = silences.filter(|silence| silence.origin == Origin::Api).cloned().collect();
        self.books = self
            .config
            .receivers
            .iter()
            .filter_map(|receiver| pipeline.engine().digest_state(&receiver.spec.name))
            .map(|book| {
                let entries = book
                    .entries
                    .iter()
                    .map(|(id, entry)| (Arc::clone(id), serde_json::to_string(entry).unwrap()))
                    .collect();
                (serde_json::to_string(book).unwrap(), entries)
            })
            .collect();
        self.seen_until = Some(self.now);
        self.numbers = pipeline.engine().numbers();
        let annotations = pipeline.engine().annotations();
        self.annotations = annotations
            .map(|((place, key), seen)| {
                (place.to_string(), (*key).to_owned(), seen.value.to_string(), seen.since)
            })
            .collect();
    }

    fn up(&mut self, blind: Option<Kind>) {
        let incidents: Vec<Incident> =
            self.stored.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        let digests = self.books.iter().map(|(head, entries)| {
            let mut book: DigestState = serde_json::from_str(head).unwrap();
            book.entries = entries
                .iter()
                .map(|(id, body)| (Arc::clone(id), serde_json::from_str(body).unwrap()))
                .collect();
            book
        });
        let begin = Start {
            first: false,
            news_since: self.seen_until.map(Into::into),
            identity: Identity { numbers: self.numbers, ..Identity::default() },
            incidents,
            silences: self.silences.clone(),
            annotations: self.annotations.clone(),
            digests: digests.collect(),
        };
        if let Some(config) = self.next_config.take() {
            self.config = config;
        }
        self.pipeline = Some(Pipeline::new(&self.config, &Kind::ALL, self.now, begin).0);
        let readable: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| Some(*kind) != blind).collect();
        self.relist(&readable);
        if let Some(kind) = blind {
            self.feed(Change::Blind(kind, String::from("forbidden")));
        }
    }
}

fn place(object: &Value) -> (Kind, String, String) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    (Kind::parse(&text("/kind")).unwrap(), text("/metadata/namespace"), text("/metadata/name"))
}

fn object_of(json: &Value) -> kubeherald::watch::Object {
    decode(place(json).0, &json.to_string()).unwrap()
}
