-- Receivers at which every attempt has failed since the last one that was answered. `attempts`: failed in a row.
CREATE TABLE failures (
    receiver TEXT PRIMARY KEY NOT NULL,
    since    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `stays`: 1 for a row that waits for its own receiver although a fallback takes over what the receiver is
-- owed (the end of something that it was told itself, a digest); 2 for the message that shows that the receiver
-- works again, which never grows too old.
ALTER TABLE outbox ADD COLUMN stays INTEGER NOT NULL DEFAULT 0 CHECK (stays IN (0, 1, 2));

-- Threads of which a fallback was told something in the place of a receiver: it is told the end, too. `own`: the
-- receiver was told something itself. `at`: when the fallback was first told.
CREATE TABLE diverted (
    receiver TEXT NOT NULL,
    thread   TEXT NOT NULL,
    fallback TEXT NOT NULL,
    own      INTEGER NOT NULL CHECK (own IN (0, 1)),
    at       INTEGER NOT NULL,
    PRIMARY KEY (receiver, thread, fallback)
) STRICT, WITHOUT ROWID;
