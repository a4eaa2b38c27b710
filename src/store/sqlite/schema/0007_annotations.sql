-- When annotations that silence were first seen: they count for so long from then on. `place`: the object they
-- stand on, or a workload for all its pods together. `key` and `value`: the annotation; another value is
-- another annotation.
CREATE TABLE annotations (
    place TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (place, key)
) STRICT, WITHOUT ROWID;
