-- Silences that requests to the running bot brought, also those that are over for a while. Those of
-- the configuration are not here. `until`: the first moment after it, for people who look.
CREATE TABLE silences (
    id    TEXT PRIMARY KEY NOT NULL,
    until INTEGER NOT NULL,
    body  TEXT NOT NULL
) STRICT;
