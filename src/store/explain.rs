//! What is known of an object: which incidents it is or was part of, and what became of each.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, named_params};

use super::commit::IncidentRow;
use super::history::{self, HistoryEntry};
use super::listing::{self, OutboxEntry};
use super::value::{count, limit, micros, time};
use super::worker::Session;
use super::{Call, Store, StoreError};

/// Rows of one incident that are looked at, of each kind.
const MAX_OF_ONE: usize = 1_000;

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownObject {
    pub kind: String,
    /// `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    pub name: String,
}

/// An object to remember as a part of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    pub incident: String,
    pub object: KnownObject,
    /// When it was taken in.
    pub at: Timestamp,
}

/// Which objects. Case counts nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of this namespace.
    pub namespace: Option<String>,
    pub name: String,
    /// All whose name begins so.
    pub prefix: bool,
}

/// An incident that has to do with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentMatch {
    pub incident: String,
    /// The last that is known of it.
    pub last: Timestamp,
    /// The object that was asked for.
    pub object: KnownObject,
}

/// Everything the store has on one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRecord {
    /// As the engine wrote it last; `None`: it is over and its window, too.
    pub row: Option<IncidentRow>,
    /// What was decided, newest first; summaries that told it, too.
    pub history: Vec<HistoryEntry>,
    /// There is more than is given.
    pub history_cut: bool,
    /// The objects that were part of it, those that joined first first.
    pub objects: Vec<KnownObject>,
    /// How many there are.
    pub objects_total: u64,
}

/// A notification in whatever state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The row of the outbox.
    pub entry: OutboxEntry,
    /// An older one of the same thread has to go first.
    pub behind: bool,
}

/// A receiver, or a credential, that asked to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    pub name: String,
    pub until: Timestamp,
    pub reason: String,
}

impl Store {
    /// Incidents that the objects are or were part of, or the one with this id; the last one first.
    pub fn concerning(&self, query: ObjectQuery) -> Call<Vec<IncidentMatch>> {
        self.read("look for incidents of an object", move |s| concerning(s, &query))
    }

    /// What is known of one incident, its history cut to `at_most` rows.
    pub fn incident_record(&self, id: &str, at_most: usize) -> Call<IncidentRecord> {
        let id = id.to_owned();
        self.read("read an incident", move |s| record(s, &id, at_most.min(MAX_OF_ONE)))
    }

    /// The rows of the outbox whose key begins so, newest first.
    pub fn deliveries(&self, prefix: &str) -> Call<Vec<Delivery>> {
        let prefix = prefix.to_owned();
        self.read("look for deliveries", move |s| deliveries(s, &prefix))
    }

    /// Problems that became no incident, newest first.
    pub fn unmatched(&self, query: ObjectQuery, since: Option<Timestamp>) -> Call<Vec<HistoryEntry>> {
        self.read("look for what became no incident", move |s| unmatched(s, &query, since))
    }

    /// Objects the store knows, those it learned of last first.
    pub fn known_objects(&self, at_most: usize) -> Call<Vec<KnownObject>> {
        self.read("list objects", move |s| {
            s.conn
                .prepare_cached(
                    "SELECT kind, namespace, name FROM incident_objects
                     GROUP BY kind, namespace, name ORDER BY max(id) DESC LIMIT ?1",
                )
                .and_then(|mut q| q.query_map([limit(at_most)], |r| object(r, 0))?.collect())
                .map_err(s.error("list objects"))
        })
    }

    /// Who asked to be left alone for longer than until `now`.
    pub fn left_alone(&self, now: Timestamp) -> Call<Vec<Throttle>> {
        self.read("read who is left alone", move |s| {
            s.conn
                .prepare_cached(
                    "SELECT receiver, not_before, reason FROM receiver_state WHERE not_before > ?1
                     UNION ALL
                     SELECT receiver, not_before, reason FROM refusals WHERE not_before > ?1",
                )
                .and_then(|mut q| {
                    q.query_map([micros(now)], |r| {
                        Ok(Throttle { name: r.get(0)?, until: time(r, 1)?, reason: r.get(2)? })
                    })?
                    .collect()
                })
                .map_err(s.error("read who is left alone"))
        })
    }

    /// Forgets what waited: at a start, before the first look at the cluster.
    pub fn forget_pending(&self) -> Call<()> {
        self.write("forget what waited", |s| {
            s.conn
                .prepare_cached("DELETE FROM pending")
                .and_then(|mut q| q.execute([]))
                .map_err(s.error("forget what waited"))?;
            Ok(())
        })
    }
}

fn object(r: &Row<'_>, at: usize) -> rusqlite::Result<KnownObject> {
    let namespace: String = r.get(at + 1)?;
    Ok(KnownObject {
        kind: r.get(at)?,
        namespace: (!namespace.is_empty()).then_some(namespace),
        name: r.get(at + 2)?,
    })
}

fn concerning(s: &Session, query: &ObjectQuery) -> Result<Vec<IncidentMatch>, StoreError> {
    // A range and not LIKE: names are data.
    let named = if query.prefix {
        "o.name >= :name COLLATE NOCASE AND o.name < :name || char(1114111) COLLATE NOCASE"
    } else {
        "o.name = :name COLLATE NOCASE"
    };
    let sql = format!(
        "SELECT o.incident,
                max(o.at,
                    coalesce((SELECT h.at FROM history h WHERE h.incident = o.incident ORDER BY h.id DESC LIMIT 1), 0),
                    coalesce((SELECT i.updated_at FROM incidents i WHERE i.id = o.incident), 0),
                    coalesce((SELECT p.updated_at FROM pending p WHERE p.id = o.incident), 0)) AS last,
                o.kind, o.namespace, o.name
         FROM incident_objects o
         WHERE {named}
           AND (:kind IS NULL OR o.kind = :kind COLLATE NOCASE)
           AND (:namespace IS NULL OR o.namespace = :namespace COLLATE NOCASE)
         ORDER BY last DESC, o.incident, o.id LIMIT :limit"
    );
    s.conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map(
                named_params! {
                    ":name": query.name,
                    ":kind": query.kind,
                    ":namespace": query.namespace,
                    ":limit": limit(MAX_OF_ONE),
                },
                |r| Ok(IncidentMatch { incident: r.get(0)?, last: time(r, 1)?, object: object(r, 2)? }),
            )?
            .collect()
        })
        .map_err(s.error("look for incidents of an object"))
}

fn record(s: &Session, id: &str, at_most: usize) -> Result<IncidentRecord, StoreError> {
    let failed = s.error("read an incident");
    let row = |sql: &str| {
        s.conn.prepare_cached(sql).and_then(|mut q| {
            q.query_row([id], |r| {
                let (rule, state): (String, String) = (r.get(1)?, r.get(2)?);
                Ok(IncidentRow {
                    id: r.get(0)?,
                    rule: rule.into(),
                    state: state.into(),
                    body: r.get(3)?,
                    updated_at: time(r, 4)?,
                })
            })
            .optional()
        })
    };
    let mut found =
        row("SELECT id, rule, state, CASE WHEN octet_length(body) <= 1048576 THEN body ELSE '' END, updated_at FROM incidents WHERE id = ?1").map_err(&failed)?;
    if found.is_none() {
        found =
            row("SELECT id, rule, state, CASE WHEN octet_length(body) <= 1048576 THEN body ELSE '' END, updated_at FROM pending WHERE id = ?1").map_err(&failed)?;
    }
    let mut history: Vec<HistoryEntry> = s
        .conn
        .prepare_cached(&format!(
            "SELECT {columns} FROM history WHERE incident = ?1
             UNION ALL
             SELECT {columns} FROM history WHERE id IN (SELECT history FROM history_incidents WHERE incident = ?1)
             ORDER BY 1 DESC LIMIT ?2",
            columns = history::COLUMNS
        ))
        .and_then(|mut q| q.query_map((id, limit(at_most.saturating_add(1))), history::entry)?.collect())
        .map_err(&failed)?;
    let history_cut = history.len() > at_most;
    history.truncate(at_most);
    let objects = s
        .conn
        .prepare_cached(
            "SELECT kind, namespace, name FROM incident_objects WHERE incident = ?1 ORDER BY id LIMIT ?2",
        )
        .and_then(|mut q| q.query_map((id, limit(MAX_OF_ONE)), |r| object(r, 0))?.collect())
        .map_err(&failed)?;
    let objects_total = s
        .conn
        .prepare_cached("SELECT count(*) FROM incident_objects WHERE incident = ?1")
        .and_then(|mut q| q.query_row([id], |r| count(r, 0)))
        .map_err(&failed)?;
    Ok(IncidentRecord { row: found, history, history_cut, objects, objects_total })
}

fn deliveries(s: &Session, prefix: &str) -> Result<Vec<Delivery>, StoreError> {
    s.conn
        .prepare_cached(&listing::rows(
            "key >= ?1 AND key < ?1 || char(1114111)",
            "seq DESC",
            "?2",
            ", state = 'queued' AND head = 0",
        ))
        .and_then(|mut q| {
            q.query_map((prefix, limit(MAX_OF_ONE)), |r| {
                Ok(Delivery { entry: listing::entry(r)?, behind: r.get(14)? })
            })?
            .collect()
        })
        .map_err(s.error("look for deliveries"))
}

fn unmatched(
    s: &Session,
    query: &ObjectQuery,
    since: Option<Timestamp>,
) -> Result<Vec<HistoryEntry>, StoreError> {
    // The object and its workload, each as `Kind/name`.
    let named = |of: &str| {
        let kind = format!("substr({of}, 1, instr({of}, '/') - 1)");
        let name = format!("substr({of}, instr({of}, '/') + 1)");
        let name = if query.prefix {
            format!("lower(substr({name}, 1, length(:name))) = lower(:name)")
        } else {
            format!("lower({name}) = lower(:name)")
        };
        format!("({name} AND (:kind IS NULL OR lower({kind}) = lower(:kind)))")
    };
    let sql = format!(
        "SELECT {columns} FROM (
             SELECT *, CASE WHEN json_valid(detail) THEN coalesce(detail ->> '$.object', '') ELSE '' END AS object
             FROM history WHERE incident IS NULL AND decision IS NULL AND at >= :since)
         WHERE (:namespace IS NULL OR namespace = :namespace COLLATE NOCASE) AND ({object} OR {workload})
         ORDER BY id DESC LIMIT :limit",
        columns = history::COLUMNS,
        object = named("object"),
        workload = named("workload"),
    );
    s.conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map(
                named_params! {
                    ":name": query.name,
                    ":kind": query.kind,
                    ":namespace": query.namespace,
                    ":since": since.map_or(i64::MIN, micros),
                    ":limit": limit(MAX_OF_ONE),
                },
                history::entry,
            )?
            .collect()
        })
        .map_err(s.error("look for what became no incident"))
}

pub(super) fn put_pending(s: &Session, rows: &[IncidentRow]) -> Result<(), StoreError> {
    for row in rows {
        s.conn
            .prepare_cached(
                "INSERT INTO pending (id, rule, state, body, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, state = excluded.state,
                     body = excluded.body, updated_at = excluded.updated_at",
            )
            .and_then(|mut q| {
                q.execute((&row.id, &*row.rule, &*row.state, &row.body, micros(row.updated_at)))
            })
            .map_err(s.error("keep what waits"))?;
    }
    Ok(())
}

/// Takes incidents off the list of what waits. Of one that left no other trace the objects go, too.
/// To be called after the history of the same commit is written.
pub(super) fn settle_pending(s: &Session, ids: &[String]) -> Result<(), StoreError> {
    let failed = s.error("forget what waited");
    for id in ids {
        let waited = s
            .conn
            .prepare_cached("DELETE FROM pending WHERE id = ?1")
            .and_then(|mut q| q.execute([id]))
            .map_err(&failed)?;
        if waited > 0 {
            s.conn
                .prepare_cached(
                    "DELETE FROM incident_objects WHERE incident = ?1
                         AND NOT EXISTS (SELECT 1 FROM incidents WHERE id = ?1)
                         AND NOT EXISTS (SELECT 1 FROM history WHERE incident = ?1)
                         AND NOT EXISTS (SELECT 1 FROM history_incidents WHERE incident = ?1)",
                )
                .and_then(|mut q| q.execute([id]))
                .map_err(&failed)?;
        }
    }
    Ok(())
}

pub(super) fn put_objects(s: &Session, rows: &[ObjectRow]) -> Result<(), StoreError> {
    for ObjectRow { incident, object, at } in rows {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        s.conn
            .prepare_cached(
                "INSERT INTO incident_objects (incident, kind, namespace, name, at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
            )
            .and_then(|mut q| q.execute((incident, &object.kind, namespace, &object.name, micros(*at))))
            .map_err(s.error("keep objects"))?;
    }
    Ok(())
}

/// Removes objects of incidents of which nothing else is kept, and the oldest of more than `most`.
pub(super) fn prune_objects(s: &Session, before: i64, most: usize, step: usize) -> Result<usize, StoreError> {
    let failed = s.error("prune");
    let aged = s
        .conn
        .prepare_cached(
            "DELETE FROM incident_objects WHERE id IN (
                 SELECT o.id FROM incident_objects o
                 WHERE o.at < ?1
                   AND NOT EXISTS (SELECT 1 FROM history h WHERE h.incident = o.incident)
                   AND NOT EXISTS (SELECT 1 FROM history_incidents h WHERE h.incident = o.incident)
                   AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = o.incident)
                   AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.id = o.incident)
                 ORDER BY o.at LIMIT ?2)",
        )
        .and_then(|mut q| q.execute((before, limit(step))))
        .map_err(&failed)?;
    let surplus: Option<i64> = s
        .conn
        .prepare_cached("SELECT max(id) - ?1 FROM incident_objects")
        .and_then(|mut q| q.query_row([limit(most)], |r| r.get(0)))
        .map_err(&failed)?;
    let Some(surplus) = surplus else { return Ok(aged) };
    let many = s
        .conn
        .prepare_cached(
            "DELETE FROM incident_objects WHERE id IN
                 (SELECT id FROM incident_objects WHERE id <= ?1 ORDER BY id LIMIT ?2)",
        )
        .and_then(|mut q| q.execute((surplus, limit(step))))
        .map_err(&failed)?;
    Ok(aged + many)
}
