//! `kubeherald explain`

mod story;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::story::{IncidentStory, Object, Sources};
use super::client::options;
use super::output::OutputFormat;
use super::{ConfigArgs, Failure, print};
use crate::app::object::{self, Asked};
use crate::app::run::SEEN_UNTIL;
use crate::app::status::held_back;
use crate::clock;
use crate::config::{Loaded, duration, suggest};
use crate::message::Detail;
use crate::store::{
    HistoryEntry, IncidentMatch, IncidentRecord, KnownObject, ObjectQuery, Retention, SharedAccess, Store,
};

/// So many events of one incident are told.
const EVENTS: usize = 200;
/// Among so many objects near names are looked for.
const NEAR_AMONG: usize = 20_000;
/// So many near names are told.
const NEAR: usize = 5;
/// A bot that runs writes at least every ten seconds.
const ASLEEP: Duration = Duration::from_secs(60);

/// See `kubeherald explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What it is about: KIND/NAME, NAMESPACE/NAME, NAMESPACE/KIND/NAME, NAME, or the id of an
    /// incident. Kinds as kubectl has them (`pod`, `po`, `deploy`, …); `NAME*`: all that begin so.
    object: String,
    /// Only in this namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only incidents of which something was known within this time, such as `24h`.
    #[arg(long, value_name = "DURATION", value_parser = span)]
    since: Option<Duration>,
    /// At most so many incidents, the newest ones.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// The bot's SQLite file; otherwise `store.path` of the configuration.
    #[arg(long, value_name = "FILE", env = "KUBEHERALD_STORE")]
    store: Option<PathBuf>,
    /// The bot's configuration file.
    #[arg(short, long, env = "KUBEHERALD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

impl ExplainArgs {
    /// Options that find the same store, for commands that are printed to be pasted.
    fn again(&self) -> String {
        let store = self.store.as_deref().map(Path::as_os_str);
        let config = self.config.as_deref().map(Path::as_os_str).filter(|_| store.is_none());
        options(&[("--store", store), ("-c", config)])
    }
}

/// A duration as configurations have it.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{error}; {}", duration::HELP))
}

/// Everything there is to say about an object; serialised it is a contract (docs/explain.md).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked for, as it was typed.
    object: String,
    /// When.
    asked_at: Timestamp,
    /// Up to when the bot has taken everything in; `null`: its first look is not complete.
    seen_until: Option<Timestamp>,
    /// The newest first.
    incidents: Vec<IncidentStory>,
    /// How many older ones there are (`--limit`, `--since`).
    older: usize,
    /// Problems of the object that became no incident, newest first.
    #[serde(rename = "unheard")]
    unmatched: Vec<Unmatched>,
    /// Where nothing is known: names that are, and are like it.
    near: Vec<Object>,
    /// The namespace asked for is not watched by this configuration.
    unwatched: Option<String>,
    /// How long anything is kept, in days.
    kept_days: u64,
}

/// A problem that became no incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Unmatched {
    /// When it was first seen; again after six hours at the earliest.
    at: Timestamp,
    /// `no_rule` or `over_limit`.
    reason: String,
    /// What was wrong.
    cause: Option<String>,
    /// Where.
    namespace: Option<String>,
    /// With what, as `Kind/name`.
    object: String,
    /// Whose, as `Kind/name`.
    workload: String,
    /// The explaining text.
    why: String,
}

impl Answer {
    fn is_nothing(&self) -> bool {
        self.incidents.is_empty() && self.unmatched.is_empty()
    }
}

/// Says what is known of an object.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let asked = match object::parse(&args.object, args.namespace.as_deref()) {
        Ok(asked) => asked,
        Err(why) => {
            return Err(Failure::Usage(anyhow!(
                "`{}`: {why}",
                crate::message::text::words::one_line(&args.object, 120)
            )));
        }
    };
    let (store, loaded) = open(args)?;
    let answer = answer(&store, &asked, args, loaded.as_ref(), clock::now())?;
    match args.format {
        OutputFormat::Json => print(&format!("{}\n", serde_json::to_string(&answer)?))?,
        OutputFormat::Text => print(&text::text(&answer, &args.again())?)?,
    }
    if answer.is_nothing() { Err(Failure::Told) } else { Ok(()) }
}

fn open(args: &ExplainArgs) -> Result<(Store, Option<Loaded>), Failure> {
    let loaded = match &args.config {
        Some(config) => Some(super::load(&ConfigArgs { config: Some(config.clone()), rules: Vec::new() })?),
        None => None,
    };
    let configured = loaded.as_ref().and_then(|loaded| loaded.config.store.path.clone());
    let path = match (&args.store, &args.config) {
        (Some(path), _) => path.clone(),
        (None, None) => return Err(anyhow!("which store? Name it with --store, or with --config").into()),
        (None, Some(config)) => {
            configured.ok_or_else(|| anyhow!("{} has no `store.path`: nothing is kept", config.display()))?
        }
    };
    Ok((Store::open_shared(&path, SharedAccess::Reading)?, loaded))
}

fn answer(
    store: &Store,
    asked: &Asked,
    args: &ExplainArgs,
    loaded: Option<&Loaded>,
    now: Timestamp,
) -> Result<Answer, anyhow::Error> {
    let since = args.since.map(|span| clock::before(now, span));
    let found = concerning(store, asked)?;
    let all = found.len();
    let young = found.into_iter().filter(|(_, last, _)| since.is_none_or(|since| *last >= since));
    let chosen: Vec<_> = young.take(args.limit.max(1)).collect();
    let mut answer = Answer {
        object: asked.typed.clone(),
        asked_at: now,
        seen_until: store.mark(SEEN_UNTIL).wait()?.and_then(|at| at.parse().ok()),
        older: all.saturating_sub(chosen.len()),
        kept_days: Retention::default().history_age.as_secs() / 86_400,
        ..Answer::default()
    };
    let mut records = Vec::new();
    for (id, _, objects) in chosen {
        records.push((store.incident_record(&id, EVENTS).wait()?, id, objects));
    }
    let bodies = records.iter().filter_map(|(record, id, _): &(IncidentRecord, String, Vec<KnownObject>)| {
        Some((id.clone(), record.row.as_ref()?.body.clone()))
    });
    let bodies: Vec<(String, String)> = bodies.collect();
    answer.incidents = stories(store, records, now)?;
    put_silences(&mut answer.incidents, bodies, store, loaded, now)?;
    for reading in &asked.readings {
        let rows = store.unmatched(reading.clone(), since).wait()?;
        answer.unmatched.extend(rows.iter().map(unmatched));
    }
    answer.unmatched.dedup();
    if answer.is_nothing() {
        answer.near = near(asked, &store.known_objects(NEAR_AMONG).wait()?);
        let watch = loaded.map(|loaded| &loaded.config.watch);
        let mut namespaces = asked.readings.iter().filter_map(|r| r.namespace.clone());
        // Where it can be read in two ways, the namespace may be none.
        let sure = asked.readings.len() == 1;
        answer.unwatched = namespaces.find(|ns| sure && watch.is_some_and(|watch| !watch.wants(ns)));
    }
    Ok(answer)
}

/// Ids with the last that is known of each, and with the objects that were asked for.
type Matches = Vec<(String, Timestamp, Vec<KnownObject>)>;

fn concerning(store: &Store, asked: &Asked) -> Result<Matches, anyhow::Error> {
    let mut rows: Vec<IncidentMatch> = Vec::new();
    for reading in &asked.readings {
        rows.extend(store.concerning(reading.clone()).wait()?);
    }
    let mut found: Matches = Vec::new();
    for row in rows {
        match found.iter_mut().find(|(id, ..)| *id == row.incident) {
            Some((_, _, objects)) if objects.contains(&row.object) => {}
            Some((_, _, objects)) => objects.push(row.object),
            None => found.push((row.incident, row.last, vec![row.object])),
        }
    }
    if let Some(id) = asked.id.as_ref().filter(|id| !found.iter().any(|(found, ..)| found == *id)) {
        let record = store.incident_record(id, 1).wait()?;
        let last = record.row.as_ref().map(|row| row.updated_at);
        if let Some(last) = last.max(record.history.first().map(|row| row.at)) {
            found.push((id.clone(), last, Vec::new()));
        }
    }
    found.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    Ok(found)
}

fn stories(
    store: &Store,
    records: Vec<(IncidentRecord, String, Vec<KnownObject>)>,
    now: Timestamp,
) -> Result<Vec<IncidentStory>, anyhow::Error> {
    let mut titles: BTreeMap<String, String> = BTreeMap::new();
    let mut deliveries = HashMap::new();
    for (record, id, _) in &records {
        for holder in story::holders(record) {
            if !titles.contains_key(&holder) && object::is_id(&holder) {
                let about = story::about(&store.incident_record(&holder, EVENTS).wait()?);
                titles.extend(about.map(|about| (holder, about)));
            }
        }
        deliveries.insert(id.clone(), store.deliveries(&format!("{id}-")).wait()?);
        // Summaries have keys of their own.
        for key in record.history.iter().filter(|row| row.incident.is_none()).filter_map(story::key_of) {
            if !deliveries.contains_key(&key) {
                deliveries.insert(key.clone(), store.deliveries(&format!("{key}-")).wait()?);
            }
        }
    }
    let throttles = store.throttles(now).wait()?;
    let sources = Sources { deliveries: &deliveries, titles: &titles, throttles: &throttles };
    Ok(records.into_iter().map(|(record, id, asked)| story::story(&id, record, asked, &sources)).collect())
}

/// Says of what is open which silence or mute time holds it back now. Without a configuration only what is in the
/// store is known: silences of the API, and what annotations held.
fn put_silences(
    stories: &mut [IncidentStory],
    bodies: Vec<(String, String)>,
    store: &Store,
    loaded: Option<&Loaded>,
    now: Timestamp,
) -> Result<(), anyhow::Error> {
    if stories.iter().all(|story| story.ended_at.is_some() || story.state == "forgotten") {
        return Ok(());
    }
    let shipped;
    let config = match loaded {
        Some(loaded) => &loaded.config,
        None => {
            shipped = crate::config::load(None, &[]).map_err(|found| anyhow!("{found}"))?;
            &shipped.config
        }
    };
    let held = held_back(store, bodies, config, now)?;
    for story in stories.iter_mut().filter(|story| story.ended_at.is_none()) {
        story.held_back = held.get(&story.incident).cloned();
    }
    Ok(())
}

fn unmatched(row: &HistoryEntry) -> Unmatched {
    let (cause, object) = match Detail::read(&row.detail) {
        Detail::Unmatched { cause, object } => (Some(cause.into_owned()), object),
        _ => (None, row.workload.clone()),
    };
    Unmatched {
        at: row.at,
        reason: row.reason.clone(),
        cause,
        namespace: row.namespace.clone(),
        object,
        workload: row.workload.clone(),
        why: row.title.clone(),
    }
}

/// Names that could have been meant: the same elsewhere or of another kind, the workload of a pod,
/// what begins so, typing errors.
fn near(asked: &Asked, known: &[KnownObject]) -> Vec<Object> {
    let mut found: Vec<(usize, &KnownObject)> = Vec::new();
    for ObjectQuery { name, .. } in &asked.readings {
        let name = name.to_ascii_lowercase();
        for object in known {
            let other = object.name.to_ascii_lowercase();
            let distance = if other == name {
                0
            } else if name.strip_prefix(&other).is_some_and(|rest| rest.starts_with('-')) {
                1
            } else if other.starts_with(&name) {
                2
            } else if suggest::is_near(&name, other.as_str()) {
                3
            } else {
                continue;
            };
            if !found.iter().any(|(_, seen)| *seen == object) {
                found.push((distance, object));
            }
        }
    }
    // Stable: those seen last come first.
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().take(NEAR).map(|(_, object)| Object::from(object.clone())).collect()
}
