-- What receivers are owed at their next digest. `incident`: which one the row is about, '' for what is
-- not about a single one. `body`: JSON of the engine's.

CREATE TABLE digests (
    receiver TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (receiver, incident)
) STRICT, WITHOUT ROWID;
