//! Alerts that are open at receivers which end what is not repeated.
//!
//! A row is kept before the delivery that opened the alert is recorded, and removed before the delivery that
//! ended it is: a crash in between repeats that delivery. Whether it is still to be repeated is not decided
//! here but read from what the engine keeps: its incident fires, or its notice is not taken back.

use std::sync::Arc;

use super::value::{json, limit};
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// An alert that is to be repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAlert {
    /// The incident, or the notices, it is about.
    pub thread: String,
    /// What was delivered about it last.
    pub notification: Box<Notification>,
    /// How large that is as it is stored.
    pub bytes: usize,
}

/// Of an alert that stands: its incident fires, or its notice is not taken back.
const STANDS: &str = "CASE incident
     WHEN 1 THEN EXISTS (SELECT 1 FROM incidents i WHERE i.id = open_alerts.thread AND i.state = 'firing')
     ELSE EXISTS (SELECT 1 FROM marks m WHERE m.name >= 'notice.' AND m.name < 'notice/'
         AND CASE WHEN json_valid(m.value) THEN m.value ->> '$.thread' END = open_alerts.thread)
     END";

impl Store {
    /// Keeps alerts that a delivery opens (or says more of), and forgets those it ends, by thread.
    pub fn keep_alerts(&self, receiver: &Arc<str>, opened: &[Notification], ended: Vec<String>) -> Call<()> {
        let receiver = Arc::clone(receiver);
        let rows: Result<Vec<(String, bool, String)>, StoreError> = opened
            .iter()
            .map(|n| Ok((n.thread().to_owned(), n.incident().is_some(), json("notification", n)?)))
            .collect();
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Call::failed(self, error),
        };
        self.write("keep open alerts", move |s| {
            let failed = s.error("keep open alerts");
            for (thread, incident, body) in &rows {
                s.conn
                    .prepare_cached(
                        "INSERT INTO open_alerts (receiver, thread, incident, body) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (receiver, thread) DO UPDATE
                             SET incident = excluded.incident, body = excluded.body",
                    )
                    .and_then(|mut q| q.execute((&*receiver, thread, incident, body)))
                    .map_err(&failed)?;
            }
            for thread in &ended {
                s.conn
                    .prepare_cached("DELETE FROM open_alerts WHERE receiver = ?1 AND thread = ?2")
                    .and_then(|mut q| q.execute((&*receiver, thread)))
                    .map_err(&failed)?;
            }
            Ok(())
        })
    }

    /// Open alerts to repeat, by thread, after the thread `after`. Left out are those about which something
    /// newer waits to be sent, and those that this version cannot read.
    pub fn open_alerts(&self, receiver: &Arc<str>, after: &str, at_most: usize) -> Call<Vec<OpenAlert>> {
        let (receiver, after) = (Arc::clone(receiver), after.to_owned());
        self.read("read open alerts", move |s| open_alerts(s, &receiver, &after, at_most))
    }

    /// Forgets alerts that do not stand any more. Returns how many.
    pub fn prune_alerts(&self, receiver: &Arc<str>) -> Call<usize> {
        let receiver = Arc::clone(receiver);
        self.write("forget alerts that are over", move |s| {
            s.conn
                .prepare_cached(&format!("DELETE FROM open_alerts WHERE receiver = ?1 AND NOT ({STANDS})"))
                .and_then(|mut q| q.execute([&*receiver]))
                .map_err(s.error("forget alerts that are over"))
        })
    }
}

fn open_alerts(
    s: &Session,
    receiver: &str,
    after: &str,
    at_most: usize,
) -> Result<Vec<OpenAlert>, StoreError> {
    let sql = format!(
        "SELECT thread, body FROM open_alerts
         WHERE receiver = ?1 AND thread > ?2 AND {STANDS}
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.receiver = ?1 AND o.thread = open_alerts.thread
                 AND o.state IN ('queued', 'sending'))
         ORDER BY thread LIMIT ?3"
    );
    let found: Vec<(String, String)> = s
        .conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map((receiver, after, limit(at_most)), |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
        })
        .map_err(s.error("read open alerts"))?;
    let read = |(thread, body): (String, String)| {
        Some(OpenAlert { thread, notification: serde_json::from_str(&body).ok()?, bytes: body.len() })
    };
    Ok(found.into_iter().filter_map(read).collect())
}

/// Of receivers that are gone nothing is repeated.
pub(super) fn forget(s: &Session, known: &[String]) -> Result<(), StoreError> {
    let failed = s.error("forget alerts of unknown receivers");
    let owners: Vec<String> = s
        .conn
        .prepare_cached("SELECT DISTINCT receiver FROM open_alerts")
        .and_then(|mut q| q.query_map([], |r| r.get(0))?.collect())
        .map_err(&failed)?;
    for owner in owners.iter().filter(|owner| !known.contains(owner)) {
        s.conn
            .prepare_cached("DELETE FROM open_alerts WHERE receiver = ?1")
            .and_then(|mut q| q.execute([owner]))
            .map_err(&failed)?;
    }
    Ok(())
}
