-- `recipient`: whom of its receiver a row is for. Empty where the receiver is one destination (a channel,
-- an address of a webhook), and in rows of a mail receiver that have not been given out to its recipients
-- yet. The key of a row with a recipient is the notification's key, `/`, and the recipient.
ALTER TABLE outbox ADD COLUMN recipient TEXT NOT NULL DEFAULT '';

-- As before, by recipient: the order of a thread is kept for each of them.
DROP INDEX outbox_heads;
CREATE INDEX outbox_heads ON outbox (receiver, recipient, seq, not_before) WHERE state = 'queued' AND head = 1;
DROP INDEX outbox_open;
CREATE INDEX outbox_open ON outbox (receiver, thread, recipient, seq) WHERE state IN ('queued', 'sending');

-- What several recipients are told, once; `key` is the notification's. A row with a recipient whose own
-- `body` is empty reads it here. Pruned when no row with a recipient needs it any more.
CREATE TABLE bodies (
    key  TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Receivers that refuse every message (a revoked token, a channel that is gone). `attempts`: refused in a
-- row. Nothing is sent to the receiver before `not_before`.
CREATE TABLE refusals (
    receiver   TEXT PRIMARY KEY NOT NULL,
    since      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    reason     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Alerts that are open at receivers which end what is not repeated. `thread`: the incident, or the notice
-- (`incident` = 0). `body`: the last notification that was delivered about it.
CREATE TABLE open_alerts (
    receiver TEXT NOT NULL,
    thread   TEXT NOT NULL,
    incident INTEGER NOT NULL CHECK (incident IN (0, 1)),
    body     TEXT NOT NULL,
    PRIMARY KEY (receiver, thread)
) STRICT;
