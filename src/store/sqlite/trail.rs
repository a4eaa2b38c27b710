//! The trail of decisions: which object was part of which incident, what waits, and what was decided.

use jiff::Timestamp;
use rusqlite::{Row, named_params};

use super::session::Session;
use super::value::{count, limit, micros, time};
use super::{history, listing};
use crate::store::explain::Trail;
use crate::store::{
    Delivery, HistoryEntry, IncidentMatch, IncidentRecord, IncidentRow, KnownObject, ObjectQuery, ObjectRow,
    StoreError,
};

/// Rows of one incident that are looked at, of each kind.
const MAX_OF_ONE: usize = 1_000;

impl Trail for Session {
    fn history(&mut self, before: i64) -> Result<Vec<HistoryEntry>, StoreError> {
        let sql = format!("SELECT {} FROM history WHERE id < ?1 ORDER BY id DESC LIMIT ?2", history::COLUMNS);
        self.all("read history", &sql, (before, limit(MAX_OF_ONE)), history::entry)
    }

    fn concerning(&mut self, query: &ObjectQuery) -> Result<Vec<IncidentMatch>, StoreError> {
        // A range and not LIKE: names are data.
        let named = if query.prefix {
            "o.name >= :name COLLATE NOCASE AND o.name < :name || char(1114111) COLLATE NOCASE"
        } else {
            "o.name = :name COLLATE NOCASE"
        };
        let sql = format!(
            "SELECT o.incident,
                    max(o.at,
                        coalesce((SELECT h.at FROM history h
                            WHERE h.incident = o.incident ORDER BY h.id DESC LIMIT 1), 0),
                        coalesce((SELECT i.updated_at FROM incidents i WHERE i.id = o.incident), 0),
                        coalesce((SELECT p.updated_at FROM pending p WHERE p.id = o.incident), 0)) AS last,
                    o.kind, o.namespace, o.name
             FROM incident_objects o
             WHERE {named}
               AND (:kind IS NULL OR o.kind = :kind COLLATE NOCASE)
               AND (:namespace IS NULL OR o.namespace = :namespace COLLATE NOCASE)
             ORDER BY last DESC, o.incident, o.id LIMIT :limit"
        );
        let params = named_params! {
            ":name": query.name,
            ":kind": query.kind,
            ":namespace": query.namespace,
            ":limit": limit(MAX_OF_ONE),
        };
        self.all("look for incidents of an object", &sql, params, |r| {
            Ok(IncidentMatch { incident: r.get(0)?, last: time(r, 1)?, object: object(r, 2)? })
        })
    }

    fn incident_record(&mut self, id: &str, at_most: usize) -> Result<IncidentRecord, StoreError> {
        let (doing, at_most) = ("read an incident", at_most.min(MAX_OF_ONE));
        let row = match incident(self, "incidents", id)? {
            None => incident(self, "pending", id)?,
            found => found,
        };
        let sql = format!(
            "SELECT {columns} FROM history WHERE incident = ?1
             UNION ALL
             SELECT {columns} FROM history WHERE id IN (SELECT history FROM history_incidents WHERE incident = ?1)
             ORDER BY 1 DESC LIMIT ?2",
            columns = history::COLUMNS
        );
        let mut history = self.all(doing, &sql, (id, limit(at_most.saturating_add(1))), history::entry)?;
        let history_cut = history.len() > at_most;
        history.truncate(at_most);
        let sql =
            "SELECT kind, namespace, name FROM incident_objects WHERE incident = ?1 ORDER BY id LIMIT ?2";
        let objects = self.all(doing, sql, (id, limit(MAX_OF_ONE)), |r| object(r, 0))?;
        let sql = "SELECT count(*) FROM incident_objects WHERE incident = ?1";
        let objects_total = self.one(doing, sql, [id], |r| count(r, 0))?;
        Ok(IncidentRecord { row, history, history_cut, objects, objects_total })
    }

    fn deliveries(&mut self, prefix: &str) -> Result<Vec<Delivery>, StoreError> {
        let sql = listing::select(
            "key >= ?1 AND key < ?1 || char(1114111)",
            "seq DESC",
            "?2",
            ", state = 'queued' AND head = 0",
        );
        self.all("look for deliveries", &sql, (prefix, limit(MAX_OF_ONE)), |r| {
            Ok(Delivery { entry: listing::entry(r)?, behind: r.get(14)? })
        })
    }

    fn unmatched(
        &mut self,
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
        let params = named_params! {
            ":name": query.name,
            ":kind": query.kind,
            ":namespace": query.namespace,
            ":since": since.map_or(i64::MIN, micros),
            ":limit": limit(MAX_OF_ONE),
        };
        self.all("look for what became no incident", &sql, params, history::entry)
    }

    fn known_objects(&mut self, at_most: usize) -> Result<Vec<KnownObject>, StoreError> {
        let sql = "SELECT kind, namespace, name FROM incident_objects
             GROUP BY kind, namespace, name ORDER BY max(id) DESC LIMIT ?1";
        self.all("list objects", sql, [limit(at_most)], |r| object(r, 0))
    }

    fn forget_pending(&mut self) -> Result<(), StoreError> {
        self.change("forget what waited", "DELETE FROM pending", [])?;
        Ok(())
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

/// An incident of `incidents` or of `pending`; its body is left out where it is too large to be read.
fn incident(s: &Session, table: &str, id: &str) -> Result<Option<IncidentRow>, StoreError> {
    let sql = format!(
        "SELECT id, rule, state, CASE WHEN octet_length(body) <= 1048576 THEN body ELSE '' END, updated_at
         FROM {table} WHERE id = ?1"
    );
    s.first("read an incident", &sql, [id], |r| {
        let (rule, state): (String, String) = (r.get(1)?, r.get(2)?);
        Ok(IncidentRow {
            id: r.get(0)?,
            rule: rule.into(),
            state: state.into(),
            body: r.get(3)?,
            updated_at: time(r, 4)?,
        })
    })
}

/// Takes incidents off the list of what waits. Of one that left no other trace the objects go, too.
/// To be called after the history of the same commit is written.
pub(super) fn settle_pending(s: &Session, ids: &[String]) -> Result<(), StoreError> {
    let doing = "forget what waited";
    for id in ids {
        if s.change(doing, "DELETE FROM pending WHERE id = ?1", [id])? > 0 {
            s.change(
                doing,
                "DELETE FROM incident_objects WHERE incident = ?1
                     AND NOT EXISTS (SELECT 1 FROM incidents WHERE id = ?1)
                     AND NOT EXISTS (SELECT 1 FROM history WHERE incident = ?1)
                     AND NOT EXISTS (SELECT 1 FROM history_incidents WHERE incident = ?1)",
                [id],
            )?;
        }
    }
    Ok(())
}

pub(super) fn put_objects(s: &Session, rows: &[ObjectRow]) -> Result<(), StoreError> {
    for ObjectRow { incident, object, at } in rows {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        s.change(
            "keep objects",
            "INSERT INTO incident_objects (incident, kind, namespace, name, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            (incident, &object.kind, namespace, &object.name, micros(*at)),
        )?;
    }
    Ok(())
}

/// Removes objects of incidents of which nothing else is kept, and the oldest of more than `most`.
pub(super) fn prune_objects(s: &Session, before: i64, most: usize, step: usize) -> Result<usize, StoreError> {
    let aged = s.change(
        "prune",
        "DELETE FROM incident_objects WHERE id IN (
             SELECT o.id FROM incident_objects o
             WHERE o.at < ?1
               AND NOT EXISTS (SELECT 1 FROM history h WHERE h.incident = o.incident)
               AND NOT EXISTS (SELECT 1 FROM history_incidents h WHERE h.incident = o.incident)
               AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = o.incident)
               AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.id = o.incident)
             ORDER BY o.at LIMIT ?2)",
        (before, limit(step)),
    )?;
    let sql = "SELECT max(id) - ?1 FROM incident_objects";
    let surplus: Option<i64> = s.one("prune", sql, [limit(most)], |r| r.get(0))?;
    let Some(surplus) = surplus else { return Ok(aged) };
    let many = s.change(
        "prune",
        "DELETE FROM incident_objects WHERE id IN
             (SELECT id FROM incident_objects WHERE id <= ?1 ORDER BY id LIMIT ?2)",
        (surplus, limit(step)),
    )?;
    Ok(aged + many)
}
