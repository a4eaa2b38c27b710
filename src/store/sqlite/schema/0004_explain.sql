-- What `explain` reads beside history and outbox.

-- Incidents that are not told: what they wait for. Live state, not history: emptied at each start,
-- since the first look at the cluster brings them back.
CREATE TABLE pending (
    id         TEXT PRIMARY KEY NOT NULL,
    rule       TEXT NOT NULL,
    state      TEXT NOT NULL,
    body       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Which object was part of which incident; the workload is one of them. Kept as long as anything
-- else is known of the incident. `namespace` is empty for cluster-scoped objects.
CREATE TABLE incident_objects (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    incident  TEXT NOT NULL,
    kind      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    UNIQUE (incident, kind, namespace, name)
) STRICT;

CREATE INDEX incident_objects_name ON incident_objects (name COLLATE NOCASE);
CREATE INDEX incident_objects_at ON incident_objects (at);

-- Which incidents a summary in the history told.
CREATE TABLE history_incidents (
    incident TEXT NOT NULL,
    history  INTEGER NOT NULL REFERENCES history (id) ON DELETE CASCADE,
    PRIMARY KEY (incident, history)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_incidents_history ON history_incidents (history);

-- Problems that became no incident.
CREATE INDEX history_unheard ON history (id) WHERE incident IS NULL AND decision IS NULL;

-- What was known before: the workloads of what was decided, the objects of what is open.
INSERT OR IGNORE INTO incident_objects (incident, kind, namespace, name, at)
    SELECT incident, substr(workload, 1, instr(workload, '/') - 1), coalesce(namespace, ''),
           substr(workload, instr(workload, '/') + 1), min(at)
    FROM history
    WHERE incident IS NOT NULL AND instr(workload, '/') > 1
    GROUP BY incident, workload, namespace;

INSERT OR IGNORE INTO incident_objects (incident, kind, namespace, name, at)
    SELECT i.id, m.value ->> '$.object.kind', coalesce(m.value ->> '$.object.namespace', ''),
           m.value ->> '$.object.name', i.updated_at
    FROM incidents i, json_each(CASE WHEN json_valid(i.body) THEN i.body ELSE '{}' END, '$.members') m
    WHERE m.value ->> '$.object.kind' IS NOT NULL AND m.value ->> '$.object.name' IS NOT NULL;
