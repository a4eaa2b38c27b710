-- Times are integer microseconds since 1970 UTC. A published file is never edited: its checksum is
-- kept in the database. A change is a new file.

CREATE TABLE incidents (
    id         TEXT PRIMARY KEY NOT NULL,
    rule       TEXT NOT NULL,
    state      TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE marks (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- What is owed to receivers. `seq` is the order of insertion and never given twice.
-- `head`: 1 for the oldest open row (queued or sending) of its thread at its receiver, the only one
-- that may be claimed. Kept rather than searched for, so that a claim costs the same however long
-- the queue behind a stuck row is.
-- `created_at`: when it was decided. `queued_at`: what `max_age` counts from (a re-sent dead letter
-- starts anew). `ended_at`: when it was delivered or given up.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL UNIQUE,
    receiver   TEXT NOT NULL,
    thread     TEXT NOT NULL,
    summary    INTEGER NOT NULL CHECK (summary IN (0, 1)),
    state      TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'delivered', 'dead')),
    head       INTEGER NOT NULL CHECK (head IN (0, 1)),
    attempts   INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    queued_at  INTEGER NOT NULL,
    claimed_at INTEGER,
    ended_at   INTEGER,
    reason     TEXT NOT NULL DEFAULT '',
    body       TEXT NOT NULL
) STRICT;

CREATE INDEX outbox_heads ON outbox (receiver, seq, not_before) WHERE state = 'queued' AND head = 1;
CREATE INDEX outbox_open ON outbox (receiver, thread, seq) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_sizes ON outbox (receiver, state, queued_at) WHERE state <> 'delivered';
CREATE INDEX outbox_delivered ON outbox (ended_at) WHERE state = 'delivered';
CREATE INDEX outbox_dead ON outbox (seq) WHERE state = 'dead';

-- What the first delivery of a thread to a receiver returned.
CREATE TABLE handles (
    receiver TEXT NOT NULL,
    thread   TEXT NOT NULL,
    handle   TEXT NOT NULL,
    used_at  INTEGER NOT NULL,
    PRIMARY KEY (receiver, thread)
) STRICT, WITHOUT ROWID;

CREATE INDEX handles_used ON handles (used_at);

-- Until when a receiver, or all that share a credential, asked to be left alone.
CREATE TABLE receiver_state (
    receiver   TEXT PRIMARY KEY NOT NULL,
    not_before INTEGER NOT NULL,
    reason     TEXT NOT NULL
) STRICT;

-- Each decision, those to say nothing too (`decision` is null then).
CREATE TABLE history (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    incident  TEXT,
    decision  TEXT,
    reason    TEXT NOT NULL,
    rule      TEXT NOT NULL,
    namespace TEXT,
    workload  TEXT NOT NULL,
    title     TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;

CREATE INDEX history_at ON history (at);
CREATE INDEX history_incident ON history (incident, id) WHERE incident IS NOT NULL;
