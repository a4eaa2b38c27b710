use super::session::Session;
use super::value::limit;
use crate::store::alerts::{AlertRow, Alerts};
use crate::store::{OpenAlert, StoreError};

/// Of an alert that stands: its incident fires, or its notice is not taken back.
const STANDS: &str = "CASE incident
     WHEN 1 THEN EXISTS (SELECT 1 FROM incidents i WHERE i.id = open_alerts.thread AND i.state = 'firing')
     ELSE EXISTS (SELECT 1 FROM marks m WHERE m.name >= 'notice.' AND m.name < 'notice/'
         AND CASE WHEN json_valid(m.value) THEN m.value ->> '$.thread' END = open_alerts.thread)
     END";

impl Alerts for Session {
    fn keep_alerts(
        &mut self,
        receiver: &str,
        opened: &[AlertRow],
        ended: &[String],
    ) -> Result<(), StoreError> {
        for row in opened {
            self.change(
                "keep open alerts",
                "INSERT INTO open_alerts (receiver, thread, incident, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (receiver, thread) DO UPDATE
                     SET incident = excluded.incident, body = excluded.body",
                (receiver, &row.thread, row.incident, &row.body),
            )?;
        }
        for thread in ended {
            let sql = "DELETE FROM open_alerts WHERE receiver = ?1 AND thread = ?2";
            self.change("keep open alerts", sql, (receiver, thread))?;
        }
        Ok(())
    }

    fn open_alerts(
        &mut self,
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
        let found: Vec<(String, String)> =
            self.all("read open alerts", &sql, (receiver, after, limit(at_most)), |r| {
                Ok((r.get(0)?, r.get(1)?))
            })?;
        let read = |(thread, body): (String, String)| {
            Some(OpenAlert { thread, notification: serde_json::from_str(&body).ok()?, bytes: body.len() })
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    fn prune_alerts(&mut self, receiver: &str) -> Result<usize, StoreError> {
        let sql = format!("DELETE FROM open_alerts WHERE receiver = ?1 AND NOT ({STANDS})");
        self.change("forget alerts that are over", &sql, [receiver])
    }
}
